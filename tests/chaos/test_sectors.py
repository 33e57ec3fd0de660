"""Ingest and preprocess under fire: the stores are the same bytes as if nothing had happened."""

import pytest

from catalogs.folder import Folder
from pipeline import recipes
from pipeline.settings import IngestSettings, PreprocessSettings
from pipeline.simulate.spoc import write_archive
from tests.chaos.killing import Chaos, content, dask_workers, job


@pytest.mark.parametrize(
    ("stars", "drivers", "workers"),
    [(40, 1, 3), pytest.param(512, 20, 40, marks=pytest.mark.chaos)],
    ids=["fast", "full"],
)
def test_stores_survive_kills(tmp_path, dask_client, stars, drivers, workers):
    write_archive(tmp_path / "archive", [1, 2], stars, seed=4)
    calm = undisturbed(dask_client, Folder(tmp_path / "archive"), Folder(tmp_path / "calm"))
    left = {"driver": drivers, "worker": workers}
    rounds = 0
    while any(left.values()):
        rounds += 1
        stormy = run(tmp_path, f"stormy-{rounds}", left)
        assert stormy.keys() == calm.keys()
        assert [path for path in calm if calm[path] != stormy[path]] == []
    print(f"{drivers} drivers and {workers} workers killed in {rounds} rounds, {len(calm)} files each the same")


def undisturbed(client, archive, workspace):
    """Ingest and preprocess in peace; return what the workspace holds then."""
    list(recipes.ingest_sectors(client, workspace, archive, None, IngestSettings()))
    list(recipes.preprocess_sectors(client, workspace, None, PreprocessSettings(recipe="calnet")))
    return content(workspace)


def run(folder, name, left):
    """Ingest and preprocess into a new workspace under fire; return what it holds in the end."""
    workspace = Folder(folder / name)
    # Kills meet the same commits whatever the recipe: the quick one leaves time for more of them.
    steps = {"ingest_sectors": ["--archive", str(folder / "archive")], "preprocess_sectors": ["--recipe", "calnet"]}
    for seed, (step, options) in enumerate(steps.items(), start=sum(left.values())):
        options = ["--workspace", workspace.root, "--workers", "2", *options]
        Chaos(lambda step=step, options=options: job(step, *options), dask_workers, left, seed).until_done()
    return content(workspace)
