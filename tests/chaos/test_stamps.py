"""Stamps under fire, from files to the catalogue: the same bytes as if nothing had happened."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from catalogs.folder import Folder
from cluster.head import ray_head
from models.visual_catalogue import catalogue, planned
from pipeline.settings import VisualScoreSettings
from tests.chaos.killing import Chaos, compare, content, dask_workers, job
from tests.chaos.test_scoring import worker_pids
from tests.models import toy_visual
from tests.pipeline.stamps import toy_archive

_SCORING = VisualScoreSettings(runtime="torch", precision="fp32", batch_size=4)


class Killed(BaseException):
    """What no step may catch."""


@contextmanager
def killed(at: int, before: bool) -> Iterator[None]:
    """Raise before or after a file is written, made or removed for the `at`-th time, counted from 1."""
    count, real = 0, {name: getattr(Folder, name) for name in ("write", "create", "remove")}

    def deadly(verb: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any) -> Any:
            nonlocal count
            count += 1
            if count >= at and before:
                raise Killed
            done = verb(*args)
            if count >= at:
                raise Killed
            return done

        return act

    with pytest.MonkeyPatch.context() as patch:
        for name, verb in real.items():
            patch.setattr(Folder, name, deadly(verb))
        yield


def go(workspace: Folder, archive: Any) -> None:
    """Go all the way in this process, as the three jobs do."""
    toy_archive.fill(workspace, archive)
    stage = planned(workspace, "visualbinary", _SCORING)
    for key in stage.keys():  # noqa: SIM118
        stage.execute(key)
    catalogue(workspace, stage.entry, _SCORING)


@pytest.mark.parametrize(
    ("rounds", "longest"), [(1, 16), pytest.param(12, 12, marks=pytest.mark.chaos)], ids=["fast", "full"]
)
def test_whatever_file_was_the_last_one_the_rest_follows(tmp_path, rounds, longest):
    """Killed again and again just before or behind a write, at random, and each time gone on with."""
    archive = toy_archive.write(tmp_path / "archive", range(5))
    calm = Folder(tmp_path / "calm")
    toy_visual.save(calm)
    go(calm, archive)
    wanted, kills = content(calm), 0
    assert "catalogs/visual_binaries.parquet" in wanted and "reports/visual_binaries.html" in wanted
    for number in range(rounds):
        rng, workspace = random.Random(number), Folder(tmp_path / f"stormy-{number}")
        toy_visual.save(workspace)
        while True:
            try:
                # A partition is six files: some instants have to lie further apart.
                with killed(rng.randint(1, longest), rng.random() < 0.5):
                    go(workspace, archive)
                break
            except Killed:
                kills += 1
        found = content(workspace)
        assert found.keys() == wanted.keys()
        assert [path for path in wanted if wanted[path] != found[path]] == []
    print(f"{kills} kills in {rounds} rounds, {len(wanted)} files each the same")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sources", "drivers", "workers"),
    [(3, 1, 1), pytest.param(120, 20, 40, marks=pytest.mark.chaos)],
    ids=["fast", "full"],
)
def test_stores_and_measures_survive_kills(tmp_path, sources, drivers, workers):
    """Stacks too: ingest_stamps makes both."""
    archive = toy_archive.write(tmp_path / "archive", range(sources))
    toy_archive.fill(Folder(tmp_path / "calm"), archive)
    calm, left, rounds = content(Folder(tmp_path / "calm")), {"driver": drivers, "worker": workers}, 0
    steps = {"ingest_stamps": ["--archive", str(archive)], "measure_stamps": []}
    while any(left.values()):
        rounds += 1
        workspace = Folder(tmp_path / f"stormy-{rounds}")
        for seed, (step, own) in enumerate(steps.items(), start=sum(left.values())):
            options = ["--workspace", workspace.root, "--workers", "2", *own]
            Chaos(lambda step=step, options=options: job(step, *options), dask_workers, left, seed).until_done()
        stormy = content(workspace)
        assert stormy.keys() == calm.keys()
        assert [path for path in calm if calm[path] != stormy[path]] == []
    print(f"{drivers} drivers and {workers} workers killed in {rounds} rounds, {len(calm)} files each the same")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("partitions", "drivers", "workers"),
    [(2, 1, 1), pytest.param(40, 10, 30, marks=pytest.mark.chaos)],
    ids=["fast", "full"],
)
def test_scores_and_catalogue_survive_kills(tmp_path, partitions, drivers, workers):
    workspace = Folder(tmp_path / "workspace")
    toy_visual.save(workspace)
    for part in range(partitions):
        numbers = range(part * toy_visual.PARTITION, (part + 1) * toy_visual.PARTITION)
        sources = {f"s{number:04d}": number if number % 7 else -1 for number in numbers}
        for survey in toy_visual.SURVEYS:
            toy_visual.stacked(workspace, survey, part, sources)
        toy_visual.measured(workspace, part, list(sources)[::2])
    with ray_head(cpus=2) as head:
        options = ["--workspace", workspace.root, "--ray-address", head.address, "--workers", "2"]
        options += ["--precision", "fp32", "--runtime", "torch"]

        def run(left):
            Chaos(
                lambda: job("score_stamps", *options, env=head.environ),
                lambda driver: worker_pids(head.process.pid),
                left,
                seed=sum(left.values()),
            ).until_done(longest_s=3.0)
            found = content(workspace)
            _forget(workspace)
            return found

        compare(run, drivers, workers)


def _forget(workspace):
    """Forget all scores and the catalogue."""
    stages = ("score_stamps", "combine", "again")
    for path in ("catalogs", "reports", *(f"{top}/{stage}" for top in ("manifest", "outcomes") for stage in stages)):
        workspace.remove_tree(path)
