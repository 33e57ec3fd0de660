"""Scoring under fire on one running Ray: scores and star table are the same bytes as if nothing had happened."""

import psutil
import pytest
import torch

from catalogs.folder import Folder
from cluster.head import ray_head
from models.registry import Registry
from models.spec import get_spec
from pipeline import recipes
from pipeline.partition import parse_sectors
from pipeline.settings import IngestSettings, PreprocessSettings
from pipeline.simulate.spoc import write_archive
from pipeline.simulate.stars import simulated_tic_id
from tests.chaos.killing import Chaos, compare, content, job


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sectors", "stars", "drivers", "workers"),
    [
        pytest.param(["1-2"], 5, 1, 1, id="fast"),
        # Several snapshots, each of them the same in every round.
        pytest.param(["1", "2", "1-3"], 512, 10, 30, id="full", marks=pytest.mark.chaos),
    ],
)
def test_catalogues_survive_kills(tmp_path, dask_client, sectors, stars, drivers, workers):
    workspace = Folder(tmp_path / "workspace")
    prepare(tmp_path, workspace, dask_client, parse_sectors(sectors[-1]), stars)
    with ray_head(cpus=2) as head:
        options = [
            "--workspace",
            workspace.root,
            "--ray-address",
            head.address,
            "--workers",
            "2",
            "--precision",
            "fp32",
            "--model",
            "calnet",
            *few_ephemerides(tmp_path),
        ]

        def run(left):
            for sector in sectors:
                start = [*options, "--sectors", sector]
                Chaos(
                    lambda start=start: job("score_sectors", *start, env=head.environ),
                    lambda driver: worker_pids(head.process.pid),
                    left,
                    seed=sum(left.values()),
                ).until_done(longest_s=3.0)
            found = content(workspace)
            clear(workspace)
            return found

        compare(run, drivers, workers)


def prepare(folder, workspace, client, sectors, stars):
    """Preprocess simulated sectors and put random weights into production."""
    write_archive(folder / "archive", sectors, stars, seed=8)
    list(recipes.ingest_sectors(client, workspace, Folder(folder / "archive"), None, IngestSettings()))
    list(recipes.preprocess_sectors(client, workspace, None, PreprocessSettings(recipe="calnet")))
    torch.manual_seed(1)
    registry = Registry(workspace)
    registry.set_alias(
        "calnet", "production", registry.save("calnet", get_spec("calnet").network().state_dict(), {}, {})
    )


def few_ephemerides(folder):
    """Return options by which ephemerides are looked for of a few stars: random weights make all stars candidates."""
    (folder / "few.toml").write_text("[systems]\nmin_p = 1.0\n")
    stars = [str(simulated_tic_id(number, 8)) for number in range(16)]
    (folder / "few.csv").write_text("\n".join(["tic_id", *stars]) + "\n")
    return ["--config", str(folder / "few.toml"), "--stars", str(folder / "few.csv")]


def worker_pids(head):
    """Return the pids of the processes that run Ray Data's map actors, or a partition in a plain task."""
    children = psutil.Process(head).children(recursive=True)
    return [child.pid for child in children if any(name in name_of(child) for name in ("MapWorker", "ray::_execute"))]


def name_of(process):
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


_STAGES = ("score", "systems", "combine")


def clear(workspace):
    """Forget all scores."""
    for path in ("catalogs", "systems", *(f"{top}/{stage}" for top in ("manifest", "outcomes") for stage in _STAGES)):
        workspace.remove_tree(path)
