"""The three jobs on a real Ray cluster through ``ray job submit``, on real files, on disk and on S3.

On disk they start a Dask each, with S3 they find one that runs.
"""

import subprocess
import sys
import tempfile

import pandas as pd
import pytest

from catalogs.folder import Folder
from cluster.head import ray_head
from pipeline.lightcurves import combine, status


@pytest.fixture(scope="module")
def head():
    """Yield a Ray head of its own processes, as a cluster has; its folder's name is short for Unix sockets."""
    with ray_head(cpus=2) as head:
        yield head


def submit(head, tree, *command):
    """Submit a job and return what it printed; it must end well."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", head.dashboard]
    done = subprocess.run(
        [*ray, "--working-dir", ".", "--", "python", "-m", *command],
        cwd=tree,
        env=head.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("where", ["disk", "s3"])
def test_all_real_files_go_through(head, tree, shared_data, where, request, tmp_path):
    source = shared_data / "lightcurves" / "tess_2min"
    dask = []
    if where == "disk":
        archive, workspace = Folder(source), Folder(tmp_path / "workspace")
    else:
        dask = ["--dask-address", request.getfixturevalue("dask_client").scheduler.address]
        bucket = request.getfixturevalue("s3_folder")
        archive, workspace = bucket.child("archive"), bucket.child("workspace")
        for path in sorted(source.rglob("*.fits")):
            archive.write(str(path.relative_to(source)), path.read_bytes())
    submit(head, tree, "jobs.ingest_sectors", "--archive", archive.root, "--workspace", workspace.root, *dask)
    submit(head, tree, "jobs.preprocess_sectors", "--workspace", workspace.root, *dask)
    submit(head, tree, "jobs.score_sectors", "--workspace", workspace.root)
    table = status.status(workspace)
    assert table[table["stage"] == "ingest"]["done"].sum() == 27
    assert (table["planned"] == table["committed"]).all() and table["rejected"].sum() == 0
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(workspace.read(combine.CURRENT))
        file.flush()
        stars = pd.read_parquet(file.name)
    assert stars["tic_id"].nunique() == 23 and stars["p_eb"].between(0, 1).all()
    # the model that ships has seen none of these
    p_eb = stars.groupby("tic_id")["p_eb"].max()
    binaries, quiet = [117544915, 98853987, 118313102, 26801525, 103098373], [92873799, 126890217, 270501383]
    assert p_eb[binaries].min() > p_eb[quiet].max()
    assert stars.drop_duplicates("tic_id")["n_segments"].sum() == table[table["stage"] == "preprocess"]["rows"].sum()
