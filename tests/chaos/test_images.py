"""Images, differences, candidates and objects under fire: the same bytes as if nothing had happened."""

import pytest

from catalogs.folder import Folder
from pipeline.simulate.demo import write_demo_images
from tests.chaos.killing import Chaos, content, dask_workers, job


@pytest.mark.chaos
def test_differences_survive_kills(tmp_path):
    write_demo_images(tmp_path / "archive")
    calm = run(tmp_path, "calm", {"driver": 0, "worker": 0})
    assert any(path.startswith("catalogs/supernova_candidates") for path in calm)
    left, rounds = {"driver": 20, "worker": 40}, 0
    while any(left.values()):
        rounds += 1
        stormy = run(tmp_path, f"stormy-{rounds}", left)
        assert stormy.keys() == calm.keys()
        assert [path for path in calm if calm[path] != stormy[path]] == []
    print(f"20 drivers and 40 workers killed in {rounds} rounds, {len(calm)} files each the same")


def run(folder, name, left):
    """Go from images to objects in a new workspace under fire; return what it holds in the end."""
    workspace = Folder(folder / name)
    steps = {
        "ingest_images": ["--archive", str(folder / "archive")],
        "difference_images": [],
        "select_supernovae": ["--pages", "0"],
    }
    for seed, (step, options) in enumerate(steps.items(), start=sum(left.values())):
        options = ["--workspace", workspace.root, "--workers", "2", *options]
        Chaos(lambda step=step, options=options: job(step, *options), dask_workers, left, seed).until_done()
    return content(workspace)
