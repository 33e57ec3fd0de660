"""From files to segments on Dask: what a sector's store promises."""

import os
import shutil

import numpy as np
import pytest
from astropy.io import fits

from catalogs.folder import Folder
from pipeline import manifest, recipes, stores
from pipeline.errors import Mismatch, Missing, Refused, Stale, UsageError
from pipeline.lightcurves import lineage, plan, status
from pipeline.settings import IngestSettings, PreprocessSettings
from pipeline.simulate.spoc import write_archive

CALNET = PreprocessSettings(recipe="calnet")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Return a folder with sectors 1 and 2 of six simulated stars each."""
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder, [1, 2], 6, seed=5)
    return folder


def ingest(client, workspace, archive, sectors=None, **options):
    settings = IngestSettings()
    return list(recipes.ingest_sectors(client, workspace, Folder(archive), sectors, settings, **options))


def preprocess(client, workspace, sectors=None, settings=CALNET, **options):
    return list(recipes.preprocess_sectors(client, workspace, sectors, settings, **options))


def content(workspace, *tops):
    tops = tops or ("lightcurves", "curves", "outcomes")
    return {entry.path: workspace.read(entry.path) for top in tops for entry in workspace.list(top)}


def files(archive, sector=1):
    return sorted((archive / f"s{sector:03d}").glob("*.fits"))


def test_the_store_holds_every_bit(dask_client, workspace, archive):
    (report,) = ingest(dask_client, workspace, archive, [1])
    assert report.exit_status == 0 and report.counts["done"] == 6 and report.rows == 6
    seen = stores.open(workspace, "lightcurves/s0001.zarr", "ingest")
    assert seen["tic_id"].to_numpy().tolist() == sorted(seen["tic_id"].to_numpy().tolist())
    numbers = seen["cadenceno"].to_numpy()
    for path in files(archive):
        with fits.open(path) as file:
            header, data = file[0].header, file[1].data
        row = seen.isel(target=int(np.flatnonzero(seen["tic_id"] == header["TICID"])[0]))
        where = np.searchsorted(numbers, data["CADENCENO"])
        names = {"time": "TIME", "flux": "PDCSAP_FLUX", "flux_err": "PDCSAP_FLUX_ERR", "quality": "QUALITY"}
        for ours, theirs in names.items():
            there = data[theirs].astype(data[theirs].dtype.newbyteorder("="))
            assert row[ours].to_numpy()[where].tobytes() == there.tobytes(), ours
        assert np.array_equal(row["centroid_col"].to_numpy()[where], data["MOM_CENTR1"].astype("f4"), equal_nan=True)
        pos = row["pos_corr_row"].to_numpy()[where] - data["POS_CORR2"]
        assert np.nanmax(np.abs(pos)) <= 1e-4
        absent = np.setdiff1d(np.arange(len(numbers)), where)
        assert (row["quality"].to_numpy()[absent] == -1).all() and np.isnan(row["time"].to_numpy()[absent]).all()
        assert float(row["ra"]) == header["RA_OBJ"] and float(row["tmag"]) == np.float32(header["TESSMAG"])


def test_any_order_and_again_give_the_same_bytes(dask_client, tmp_path, archive):
    orders = {"once": [None], "forth": [[1], [2]], "back": [[2], [1]]}
    made = {}
    for name, order in orders.items():
        workspace = Folder(tmp_path / name)
        for sectors in order:
            ingest(dask_client, workspace, archive, sectors)
            preprocess(dask_client, workspace, sectors)
        made[name] = content(workspace)
    assert made["once"] == made["forth"] == made["back"]
    reports = [*ingest(dask_client, workspace, archive), *preprocess(dask_client, workspace)]
    assert all(report.skipped == report.partitions == 1 for report in reports)
    assert content(workspace) == made["once"]


def test_new_files_are_added_at_the_end(dask_client, workspace, tmp_path, archive):
    growing = tmp_path / "archive"
    (growing / "s001").mkdir(parents=True)
    for path in files(archive)[:4]:
        shutil.copy(path, growing / "s001")
    ingest(dask_client, workspace, growing)
    before = content(workspace, "lightcurves")
    for path in files(archive)[4:]:
        shutil.copy(path, growing / "s001")
    (report,) = ingest(dask_client, workspace, growing)
    assert (report.partitions, report.skipped, report.counts["done"]) == (2, 1, 6)
    after = content(workspace, "lightcurves")
    assert all(after[name] == data for name, data in before.items() if "/c/" in name)
    assert stores.open(workspace, "lightcurves/s0001.zarr", "ingest").sizes["target"] == 6


def test_what_would_change_rows_is_refused_with_the_cure(dask_client, workspace, tmp_path, archive):
    changing = tmp_path / "archive"
    shutil.copytree(archive / "s001", changing / "s001")
    ingest(dask_client, workspace, changing)
    before = content(workspace)
    path = files(changing)[2]
    with fits.open(path, mode="update") as file:
        file[1].header["TEST"] = 1
    with pytest.raises(Refused, match=r"has changed.*--sectors 1 --overwrite"):
        ingest(dask_client, workspace, changing)
    assert content(workspace) == before
    preprocess(dask_client, workspace)
    fits.setval(path, "TELAPSE", value=1.0, ext=1)
    (report,) = ingest(dask_client, workspace, changing, overwrite=True)
    assert report.exit_status == 0
    with pytest.raises(Stale, match="--overwrite"):
        preprocess(dask_client, workspace)
    assert status.status(workspace)["stale"].tolist() == [0, 1]
    preprocess(dask_client, workspace, overwrite=True)
    assert status.status(workspace)["stale"].sum() == 0


def test_one_file_a_star_the_best(dask_client, workspace, tmp_path, archive):
    doubled = tmp_path / "archive"
    shutil.copytree(archive / "s001", doubled / "s001")
    first = files(doubled)[0]
    newer = first.with_name("newer.fits")
    shutil.copy(first, newer)
    fits.setval(newer, "DATA_REL", value=99)
    shutil.copy(first, first.with_name("zz-same.fits"))
    (report,) = ingest(dask_client, workspace, doubled)
    assert report.counts == {"done": 6, "nothing": 0, "rejected": 2, "failed": 0}
    found = status.outcomes(workspace, "ingest").set_index("input")
    assert found.loc["s001/newer.fits", "state"] == "done"
    assert set(found[found["state"] == "rejected"]["reason"]) == {"duplicate"}
    better = first.with_name("better.fits")
    shutil.copy(first, better)
    fits.setval(better, "DATA_REL", value=100)
    with pytest.raises(Refused, match=r"better light curve"):
        ingest(dask_client, workspace, doubled)


def test_bad_files_stop_nothing(dask_client, workspace, tmp_path, archive):
    mixed = tmp_path / "archive"
    shutil.copytree(archive / "s001", mixed / "s001")
    (mixed / "s001" / "empty.fits").write_bytes(b"")
    (mixed / "s001" / "text.fits").write_text("no FITS at all" * 999)
    good = files(mixed)[1]
    (mixed / "s001" / "cut.fits").write_bytes(good.read_bytes()[:500_000])
    shutil.copy(files(archive, 2)[0], mixed / "s001" / "other-sector.fits")
    os.symlink("/etc/hostname", mixed / "s001" / "link.fits")
    (report,) = ingest(dask_client, workspace, mixed)
    assert report.exit_status == 0 and report.counts["rejected"] == 5 and report.counts["done"] == 6
    reasons = status.outcomes(workspace, "ingest").dropna(subset=["reason"]).set_index("input")["reason"]
    assert reasons.to_dict() == {
        "s001/cut.fits": "truncated",
        "s001/empty.fits": "empty",
        "s001/link.fits": "escapes_archive",
        "s001/other-sector.fits": "sector_mismatch",
        "s001/text.fits": "not_fits",
    }


def test_a_light_curve_that_fails_keeps_its_row(dask_client, workspace, tmp_path, archive):
    changing = tmp_path / "archive"
    shutil.copytree(archive / "s001", changing / "s001")
    folder = Folder(changing)
    for name, change in recipes.plan_sectors(dask_client, workspace, folder, [1], IngestSettings()):
        plan.save(workspace, name, change)
    gone = files(changing)[0]
    gone.unlink()
    (report,) = ingest(dask_client, workspace, changing)
    assert report.counts["done"] == 5 and report.counts["rejected"] == 1
    seen = stores.open(workspace, "lightcurves/s0001.zarr", "ingest")
    assert seen.sizes["target"] == 5
    (report,) = preprocess(dask_client, workspace)
    assert report.counts["done"] == 5


def test_overwriting_with_a_wrong_archive_loses_nothing(dask_client, workspace, tmp_path, archive):
    ingest(dask_client, workspace, archive)
    before = content(workspace)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Missing, match="--archive"):
        ingest(dask_client, workspace, tmp_path / "empty", overwrite=True)
    (tmp_path / "bad" / "s001").mkdir(parents=True)
    (tmp_path / "bad" / "s001" / "x.fits").write_bytes(b"")
    with pytest.raises(Refused, match="no file of it is of use"):
        ingest(dask_client, workspace, tmp_path / "bad", overwrite=True)
    assert content(workspace) == before


def test_a_sector_of_bad_files_stops_no_other(dask_client, workspace, tmp_path, archive):
    mixed = tmp_path / "archive"
    shutil.copytree(archive / "s002", mixed / "s002")
    (mixed / "s001").mkdir()
    for path in (mixed / "s001" / "bad.fits", mixed / "stray.fits"):
        path.write_bytes(b"no FITS")
    shutil.copy(files(archive)[0], mixed / "loose.fits")  # its header says sector 1
    reports = ingest(dask_client, workspace, mixed)
    reports += preprocess(dask_client, workspace)
    assert [report.exit_status for report in reports] == [0] * 6
    assert [(r.label, r.counts["done"], r.counts["rejected"]) for r in reports[:3]] == [
        ("s0001", 1, 1),
        ("s0002", 6, 0),
        ("s0000", 0, 1),
    ]
    assert set(status.outcomes(workspace, "ingest")["input"]) >= {"s001/bad.fits", "stray.fits", "loose.fits"}


def test_rejected_files_are_not_forgotten_but_tried_again_when_they_change(dask_client, workspace, tmp_path, archive):
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(archive / "s001", first / "s001")
    repaired = files(first)[0]
    whole = repaired.read_bytes()
    repaired.write_bytes(whole[:100_000])
    (report,) = ingest(dask_client, workspace, first)
    assert report.counts["rejected"] == 1
    (second / "s001").mkdir(parents=True)
    shutil.copy(files(first)[1], second / "s001")
    ingest(dask_client, workspace, second)
    assert len(status.outcomes(workspace, "ingest")) == 6
    repaired.write_bytes(whole)
    (report,) = ingest(dask_client, workspace, first)
    assert report.counts["rejected"] == 0 and report.counts["done"] == 6 and report.partitions == 2


def test_stale_curves_are_seen_two_steps_on(dask_client, workspace, archive):
    ingest(dask_client, workspace, archive, [1])
    preprocess(dask_client, workspace)
    path = manifest.path("ingest", "lightcurves/s0001/part-00000")
    workspace.write(path, workspace.read(path).replace(b'"rows": 6', b'"rows": 7'))
    record = manifest.read(workspace, "preprocess", "curves/s0001/part-00000")
    assert manifest.stale(workspace, record) == path
    with pytest.raises(Stale, match="--overwrite"):
        preprocess(dask_client, workspace)


def test_another_pattern_is_no_other_setting(dask_client, workspace, archive):
    ingest(dask_client, workspace, archive, [1])
    settings = IngestSettings(pattern="s{sector:03d}/*.fits")
    (report,) = recipes.ingest_sectors(dask_client, workspace, Folder(archive), [1], settings)
    assert report.skipped == 1
    with pytest.raises(UsageError, match="--pattern"):
        list(recipes.ingest_sectors(dask_client, workspace, Folder(archive), [1], IngestSettings(pattern="s{x}")))


def test_settings_are_not_mixed(dask_client, workspace, archive):
    ingest(dask_client, workspace, archive, [1])
    preprocess(dask_client, workspace)
    before = content(workspace)
    with pytest.raises(Mismatch, match="--overwrite"):
        preprocess(dask_client, workspace, settings=PreprocessSettings(recipe="robust"))
    assert content(workspace) == before
    (report,) = preprocess(dask_client, workspace, settings=PreprocessSettings(recipe="robust"), overwrite=True)
    assert report.exit_status == 0
    assert stores.open(workspace, "curves/s0001.zarr", "preprocess").attrs["recipe"] == "robust"


def test_what_is_missing_is_named(dask_client, workspace, archive):
    with pytest.raises(Missing, match="ingest_sectors"):
        preprocess(dask_client, workspace)
    ingest(dask_client, workspace, archive, [1])
    with pytest.raises(Missing, match="sectors 7"):
        preprocess(dask_client, workspace, [1, 7])
    manifest.discard(workspace, "ingest", "lightcurves/s0001/part-00000")
    with pytest.raises(Missing, match="lightcurves/s0001/part-00000"):
        preprocess(dask_client, workspace)
    assert preprocess(dask_client, workspace, allow_missing=True)[0].partitions == 0


def test_explain_walks_back_to_the_file(dask_client, workspace, archive):
    ingest(dask_client, workspace, archive)
    preprocess(dask_client, workspace)
    with fits.open(files(archive)[0]) as file:
        tic_id = file[0].header["TICID"]
    found = lineage.explain(workspace, tic_id)
    assert [source["store"] for source in found["sources"]] == ["s0001", "s0002"]
    source = found["sources"][0]
    assert source["sha256"] and source["preprocess"]["settings"]["recipe"] == "calnet"
    assert all(segment["tic_id"] == tic_id for segment in source["segments"])
    with pytest.raises(Missing, match="TIC 12"):
        lineage.explain(workspace, 12)


def test_the_same_on_s3(dask_client, s3_folder, tmp_path, archive):
    for path in files(archive):
        s3_folder.write(f"archive/s001/{path.name}", path.read_bytes())
    remote, local = s3_folder.child("workspace"), Folder(tmp_path / "local")
    for workspace, source in ((remote, s3_folder.child("archive")), (local, Folder(archive))):
        list(recipes.ingest_sectors(dask_client, workspace, source, [1], IngestSettings()))
        preprocess(dask_client, workspace)
    assert content(remote) == content(local)
    assert stores.open(remote, "curves/s0001.zarr", "preprocess").sizes["row"] > 0
