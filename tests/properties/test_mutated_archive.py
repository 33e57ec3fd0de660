"""Whatever an archive holds: ingest goes through, and every file stands in the outcome table."""

import numpy as np

from catalogs.folder import Folder
from pipeline import recipes, stores
from pipeline.fits import printable
from pipeline.lightcurves import status
from pipeline.settings import IngestSettings
from tests.properties import mutate


def test_every_hostile_file_is_accounted_for(dask_client, workspace, tmp_path):
    folder = tmp_path / "archive" / "s001"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    names = mutate.write(folder, mutate.good(), 520, rng)
    for tic_id in (11, 12, 13):
        (folder / f"good-{tic_id}.fits").write_bytes(mutate.good(tic_id=tic_id))
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "good.fits").write_bytes(mutate.good(tic_id=14))
    (folder / "linked").symlink_to(tmp_path / "far")
    settings = IngestSettings(pattern="**/*")
    reports = list(recipes.ingest_sectors(dask_client, workspace, Folder(tmp_path / "archive"), None, settings))
    assert sum(report.exit_status for report in reports) == 0
    outcomes = status.outcomes(workspace, "ingest")
    wanted = {printable(f"s001/{name}") for name in names} | {f"s001/good-{tic_id}.fits" for tic_id in (11, 12, 13)}
    wanted.add("s001/linked/good.fits")
    assert len(wanted) >= 500 and set(outcomes["input"]) == wanted and outcomes["input"].is_unique
    rejected = outcomes[outcomes["state"] == "rejected"]
    assert (rejected["reason"].notna() & rejected["message"].notna()).all() and len(rejected) > 300
    assert rejected.set_index("input").loc["s001/linked/good.fits", "reason"] == "escapes_archive"
    stored = stores.open(workspace, "lightcurves/s0001.zarr", "ingest")["tic_id"].to_numpy()
    assert {11, 12, 13} <= set(stored.tolist())
