"""Archives of stamps → stores and indices: every file accounted for, places shared, growth, refusals, same bytes."""

import bz2
import shutil

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

from catalogs.folder import Folder
from catalogs.stamps import StampFlag
from pipeline import manifest, stores
from pipeline.errors import Missing, Refused, UsageError
from pipeline.partition import Key
from pipeline.settings import StampSettings
from pipeline.stamps import ingest, plan, recipe, stacks, status
from pipeline.stamps.surveys import get
from tests.pipeline.stamps.files import DEC, RA, stamp, stars, wcs, write


def made(workspace, archive, overwrite=False, **settings):
    """Ingest and stack an archive here; return reports by stage and survey."""
    reports = recipe.ingest_stamps(None, workspace, Folder(archive), StampSettings(**settings), overwrite)
    return {(report.stage, report.label): report for report in reports}


def reasons(workspace):
    """Return reason by file of what was rejected."""
    table = status.outcomes(workspace, "ingest_stamps")
    table = table[table["state"] == "rejected"]
    return dict(zip(table["input"], table["reason"], strict=True))


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    for number in range(3):
        for k, name in enumerate("gri"):
            stamp(folder, f"star{number}", "SDSS", name, size=80, seed=10 * number + k, offset=(0.3 * k, -0.2 * k))
    stamp(folder, "star0", "HST", "F814W", size=160)
    return folder


def test_stamps_become_stores_with_indices(workspace, archive):
    reports = made(workspace, archive)
    assert reports["ingest_stamps", "sdss"].counts["done"] == 9 and reports["stack_stamps", "sdss"].counts["done"] == 3
    index = ingest.read_index(workspace, Key("stamps", "sdss", 0))
    assert list(index["source_id"]) == ["star0"] * 3 + ["star1"] * 3 + ["star2"] * 3
    assert list(index["filter"]) == list("gri") * 3
    assert (index["ra"] == RA).all() and (index["dec"] == DEC).all()
    # The image's middle differs from the source's place, and it is the place that is kept.
    assert np.abs(index["x0"].to_numpy()[:3] - 31.5).max() <= 0.5
    data = stores.open(workspace, ingest.store_path("sdss"), "ingest_stamps")
    assert data["stamp"].shape == (9, 64, 64)
    for row in index.itertuples():
        peak = np.unravel_index(np.nanargmax(data["stamp"].to_numpy()[row.row]), (64, 64))
        assert np.hypot(peak[1] - row.x0, peak[0] - row.y0) < 1.5
    found = stacks.read_index(workspace, Key("stacks", "sdss", 0))
    assert list(found["filters"]) == ["g,r,i"] * 3 and (found["method"] == "weighted").all()
    whole = xr.open_zarr(workspace.local("stacks/sdss.zarr"), consolidated=False)
    assert whole["stack"].shape[1:] == (64, 64) and np.isfinite(whole["stack"][:3]).all()
    fine = stacks.read_index(workspace, Key("stacks", "hst", 0))
    assert (fine["method"] == "single").all()
    assert stores.open(workspace, "stacks/hst.zarr", "stack_stamps")["stack"].shape == (1, 128, 128)


def test_filters_lie_on_each_other_by_the_place_of_the_source(workspace, tmp_path):
    """Without a word for the source its place is the median of the middles: one place for all filters."""
    for name, offset in (("g", 0.0), ("r", 1.0), ("i", 0.0)):
        stamp(tmp_path / "a", "s", "SDSS", name, size=80, offset=(offset, 0.0), RA_OBJ=None, DEC_OBJ=None)
    made(workspace, tmp_path / "a")
    index = ingest.read_index(workspace, Key("stamps", "sdss", 0))
    assert index["ra"].nunique() == 1 and index["ra"][0] == pytest.approx(RA, abs=1e-6)
    stack = stacks.read_index(workspace, Key("stacks", "sdss", 0)).iloc[0]
    assert stack["centroid_shift"] < 0.02 and not stack["flags"] & StampFlag.SHIFTED


def test_of_a_file_without_a_wcs_it_is_said_that_north_is_not_known(workspace, tmp_path):
    stamp(tmp_path / "a", "s", "SDSS", "r")
    stamp(tmp_path / "a", "u", "SDSS", "g")
    for name in "tu":
        write(tmp_path / "a" / f"{name}_SDSS_r.fits", stars((64, 64), [(31, 31, 1e4)], 3), {"PIXSCALE": 0.396})
    made(workspace, tmp_path / "a")
    # What may be turned is not stacked with what is not.
    assert stacks.read_index(workspace, Key("stacks", "sdss", 0)).set_index("source_id")["filters"]["u"] == "g"
    for read, kind in ((ingest.read_index, "stamps"), (stacks.read_index, "stacks")):
        flags = read(workspace, Key(kind, "sdss", 0)).set_index("source_id")["flags"] & int(StampFlag.UNORIENTED)
        assert flags["s"] == 0 and flags["t"] == StampFlag.UNORIENTED


def test_the_finest_survey_tells_the_place_unless_it_looks_elsewhere(workspace, tmp_path):
    """The middle of unWISE is as good as its pixels; a frame of HST far from all others is not on the source."""
    plain = {"RA_OBJ": None, "DEC_OBJ": None}
    for source, wide in (("near", 0.0), ("far", 160.0)):
        stamp(tmp_path / "a", source, "HST", "F814W", size=400, offset=(wide, 0.0), **plain)
        stamp(tmp_path / "a", source, "unWISE", "W1", offset=(0.3, 0.1), **plain)
        stamp(tmp_path / "a", source, "SDSS", "r", offset=(0.4, 0.0), **plain)
    archive, settings = Folder(tmp_path / "a"), StampSettings()
    rows = plan.inspect(archive, settings, plan.find(archive))
    told = {(row["source_id"], row["survey"]): (row["told_ra"], row["told_dec"]) for row in rows}
    for order in (rows, rows[::-1]):
        changes = plan.changes(workspace, [dict(row) for row in order], settings)
        placed = [row for change in changes.values() for row in change.plan.to_pylist()]
        assert {row["source_id"]: (row["ra"], row["dec"]) for row in placed} == {
            "near": pytest.approx(told["near", "HST"], abs=1e-12),
            "far": pytest.approx(told["far", "SDSS"], abs=1e-12),
        }
        assert len({(row["source_id"], row["ra"], row["dec"]) for row in placed}) == 2


def test_whatever_is_no_use_has_its_reason(workspace, archive):
    stamp(archive, "a", "SDSS", "r", TELESCOP="HST")
    stamp(archive, "b", "SDSS", "r", RA_OBJ=RA + 0.0035)  # at the very edge
    image = np.zeros((64, 64), np.float32)
    write(archive / "c_SDSS_r.fits", image, wcs(image.shape, 0.396))
    write(archive / "d_SDSS_r.fits", image * np.nan, wcs(image.shape, 0.396))
    write(archive / "e_SDSS_r.fits", stars((64, 64), [(31, 31, 1e4)], 3), {})
    write(archive / "f_SDSS_r.fits", stars((4, 64), [], 3), wcs((4, 64), 0.396))
    write(archive / "g_SDSS_r.fits", stars((64, 64), [(55, 55, 1e5)], 3), wcs((64, 64), 0.396))
    write(archive / "h_UKIDSS_K.fits", stars((64, 64), [(31, 31, 1e4)], 3), wcs((64, 64), 0.396))
    write(archive / "image.fits", stars((64, 64), [(31, 31, 1e4)], 3), wcs((64, 64), 0.396))
    (archive / "i_SDSS_r.fits").write_bytes(b"")
    (archive / "j_SDSS_r.fits").write_bytes(b"no FITS at all")
    (archive / "k_SDSS_r.fits").write_bytes((archive / "star0_SDSS_r.fits").read_bytes()[:6000])
    hole = stars((64, 64), [(31, 31, 1e4)], 3)
    hole[20:44, 20:44] = np.nan
    write(archive / "l_SDSS_r.fits", hole, wcs(hole.shape, 0.396))
    stamp(archive / "again", "star0", "SDSS", "g", seed=99)
    (archive / "m_SDSS_r.fits.bz2").write_bytes(bz2.compress((archive / "star0_SDSS_r.fits").read_bytes()))
    (archive / "n_SDSS_r.FITS.Z").write_bytes(b"\x1f\x9d\x90")
    made(workspace, archive)
    assert reasons(workspace) == {
        "a_SDSS_r.fits": "wrong_survey", "b_SDSS_r.fits": "off_centre", "c_SDSS_r.fits": "constant_image",
        "d_SDSS_r.fits": "all_nan", "e_SDSS_r.fits": "no_wcs", "f_SDSS_r.fits": "wrong_shape",
        "g_SDSS_r.fits": "off_centre", "h_UKIDSS_K.fits": "unknown_survey", "image.fits": "bad_name",
        "i_SDSS_r.fits": "empty", "j_SDSS_r.fits": "not_fits", "k_SDSS_r.fits": "truncated",
        "l_SDSS_r.fits": "all_nan", "star0_SDSS_g.fits": "duplicate",
        "m_SDSS_r.fits.bz2": "bad_compression", "n_SDSS_r.FITS.Z": "bad_compression",
    }  # fmt: skip
    table = status.outcomes(workspace, "ingest_stamps")
    assert table["input"].is_unique and len(table) == 10 + 16
    assert all(table.loc[table["state"] == "rejected", "message"].str.len() > 5)
    assert "unpack it" in table.set_index("input").loc["m_SDSS_r.fits.bz2", "message"]
    nothing = status.outcomes(workspace, "stack_stamps").set_index("input")["state"]
    assert nothing["sdss/g"] == "nothing" and nothing["sdss/star1"] == "done"
    counts = status.status(workspace).set_index(["survey", "stage"])
    assert counts.loc[("sdss", "ingest_stamps"), "rejected"] == 14 and not counts["failed"].any()


def test_a_faint_source_is_no_off_centre_one_if_a_filter_shows_it(workspace, tmp_path):
    bright = [(55, 55, 1e5)]
    write(tmp_path / "a/s_SDSS_u.fits", stars((64, 64), bright, 3), wcs((64, 64), 0.396))
    write(tmp_path / "a/s_SDSS_r.fits", stars((64, 64), [*bright, (31.5, 31.5, 3000)], 3), wcs((64, 64), 0.396))
    made(workspace, tmp_path / "a")
    assert not reasons(workspace)
    index = ingest.read_index(workspace, Key("stamps", "sdss", 0)).set_index("filter")
    assert index.loc["u", "flags"] & StampFlag.FAINT and not index.loc["r", "flags"] & StampFlag.FAINT


def test_again_is_nothing_new_and_new_sources_come_at_the_end(workspace, archive):
    made(workspace, archive)
    before = {e.path: workspace.read(e.path) for e in workspace.list("stamps")}
    reports = made(workspace, archive)
    assert all(report.skipped for report in reports.values() if report.partitions)
    stamp(archive, "another", "SDSS", "r")
    made(workspace, archive)
    assert list(ingest.read_index(workspace, Key("stamps", "sdss", 1))["source_id"]) == ["another"]
    index = ingest.read_index(workspace, Key("stamps", "sdss", 1))
    assert index["row"][0] == plan.capacity(get("SDSS"))
    after = {e.path: workspace.read(e.path) for e in workspace.list("stamps")}
    assert {p: d for p, d in after.items() if p in before and not p.endswith("zarr.json")} == {
        p: d for p, d in before.items() if not p.endswith("zarr.json")
    }


def test_what_would_change_rows_waits_for_overwrite(workspace, archive):
    made(workspace, archive)
    before = {e.path: workspace.read(e.path) for e in workspace.list("stacks")}
    stamp(archive, "star0", "SDSS", "z")
    stamp(archive, "another", "SDSS", "r")
    told = made(workspace, archive)[("ingest_stamps", "sdss")]  # a new source beside it is none the worse
    assert "late, until --overwrite: 1, filters of sources that were there without them" in " ".join(told.notes)
    late = {row["file"]: row for row in plan.load(workspace, "sdss").to_pylist()}["star0_SDSS_z.fits"]
    assert (late["verdict"], late["reason"]) == ("rejected", "late") and "--overwrite" in late["message"]
    assert list(ingest.read_index(workspace, Key("stamps", "sdss", 1))["source_id"]) == ["another"]
    assert all(workspace.read(path) == data for path, data in before.items() if not path.endswith("zarr.json"))
    made(workspace, archive, overwrite=True)
    made_anew = stacks.read_index(workspace, Key("stacks", "sdss", 0)).set_index("source_id")["filters"]
    assert made_anew["star0"] == "g,r,i,z"
    (archive / "star0_SDSS_z.fits").unlink()
    stamp(archive, "star0", "SDSS", "z", seed=5, flux=9000.0)
    with pytest.raises(Refused, match="has changed"):
        made(workspace, archive)


def test_another_method_is_refused_and_stamps_need_not_be_read_again(workspace, archive):
    made(workspace, archive)
    with pytest.raises(Refused, match="weighted"):
        made(workspace, archive, method="mean")


def test_the_bytes_do_not_depend_on_the_order_of_work(tmp_path, archive):
    one, other = Folder(tmp_path / "one"), Folder(tmp_path / "other")
    made(one, archive)
    copy = tmp_path / "copy"
    shutil.copytree(archive, copy)
    changes = recipe.plan_stamps(None, other, Folder(copy), StampSettings())
    for slug in sorted(changes, reverse=True):
        plan.save(other, slug, changes[slug])
        cutting = ingest.IngestStamps(other, Folder(copy), slug, StampSettings())
        cutting.prepare()
        for key in reversed(cutting.keys()):
            cutting.execute(key)
        stacking = stacks.StackStamps(other, slug, StampSettings())
        stacking.prepare()
        for key in sorted(stacking.keys()):
            stacking.execute(key)
    for product in ("stamps", "stacks"):
        files = sorted(entry.path for entry in one.list(product))
        assert files == sorted(entry.path for entry in other.list(product)) and files
        assert all(one.read(path) == other.read(path) for path in files)


def test_sources_are_cut_into_partitions(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "SOURCES", 2)
    monkeypatch.setattr(plan, "capacity", lambda survey: 5)
    for number in range(5):
        for name in "gr":
            stamp(tmp_path / "a", f"s{number}", "SDSS", name)
    made(workspace, tmp_path / "a")
    assert len(manifest.committed(workspace, "ingest_stamps")) == 3
    data = stores.open(workspace, "stacks/sdss.zarr", "stack_stamps")
    assert data["stack"].shape == (5, 64, 64) and np.isfinite(data["stack"]).all()


def test_an_archive_without_stamps_and_a_bad_table_are_said_at_once(workspace, tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(Missing, match="no FITS file"):
        made(workspace, tmp_path / "a")
    (tmp_path / "mine.toml").write_text("[[survey]]")
    with pytest.raises(UsageError, match=r"mine\.toml"):
        made(workspace, tmp_path / "a", surveys=str(tmp_path / "mine.toml"))


def test_a_survey_of_a_users_own(workspace, tmp_path):
    (tmp_path / "mine.toml").write_text(
        '[[survey]]\nname = "UKIDSS"\naperture_m = 3.8\npixscale = 0.2\nside = 64\nfilters = { K = [2.2, 0.9] }\n'
    )
    image = stars((80, 80), [(39.5, 39.5, 1e4)], 4.5)
    write(tmp_path / "a/x_UKIDSS_K.fits", image, wcs(image.shape, 0.2))
    made(workspace, tmp_path / "a", surveys=str(tmp_path / "mine.toml"))
    stack = stacks.read_index(workspace, Key("stacks", "ukidss", 0)).iloc[0]
    assert (stack["survey"], stack["filters"]) == ("UKIDSS", "K") and stack["snr"] > 50


def test_flat_tops_and_levels_are_saturated(workspace, tmp_path):
    image = np.minimum(stars((64, 64), [(31.5, 31.5, 1e6)], 3), 2e4)
    write(tmp_path / "a/flat_SDSS_r.fits", image, wcs(image.shape, 0.396))
    stamp(tmp_path / "a", "level", flux=1e5, SATURATE=3000.0)
    stamp(tmp_path / "a", "clean", flux=1e5)
    made(workspace, tmp_path / "a")
    index = ingest.read_index(workspace, Key("stamps", "sdss", 0)).set_index("source_id")["flags"]
    assert [bool(index[name] & StampFlag.SATURATED) for name in ("flat", "level", "clean")] == [True, True, False]


def test_all_real_stamps_have_an_outcome(workspace, shared_data):
    made(workspace, shared_data / "stamps")
    table = status.outcomes(workspace, "ingest_stamps")
    assert len(table) == sum(1 for _ in (shared_data / "stamps").rglob("*.fits.gz")) == 31
    assert set(table["state"]) <= {"done", "rejected"} and (table["state"] == "done").sum() >= 28
    sdss = stacks.read_index(workspace, Key("stacks", "sdss", 0)).iloc[0]
    assert (sdss["source_id"], sdss["filters"]) == ("2010H", "u,r,i,z")
    # The galaxy's middle is further away than 2.5": its flank at the place asked for is not taken for a source there.
    assert (sdss["x0"], sdss["y0"]) == (31.5, 31.5) and not sdss["flags"] & StampFlag.OFF_CENTRE
    assert sdss["snr"] > 10 and np.isnan(sdss["centroid_shift"]) and not sdss["flags"] & StampFlag.SHIFTED
    assert stacks.read_index(workspace, Key("stacks", "2mass", 0)).iloc[0]["centroid_shift"] < 0.13
    # There the flank has no centroid in SDSS. The place is the middle of SDSS' own files: of these surveys the finest.
    middles = [row for row in plan.load(workspace, "sdss").to_pylist() if row["verdict"] == plan.ACCEPTED]
    for told, asked in (("told_ra", "ra"), ("told_dec", "dec")):
        assert sdss[asked] == pytest.approx(np.median([row[told] for row in middles]), abs=1e-9)
    # Its files are turned by 94.5°: north is up in the store, as an independent look at the brightest pixel tells.
    with fits.open(shared_data / "stamps/blast/2010H/SDSS/SDSS_r.fits.gz") as file:
        assert abs(file[0].header["CD1_2"]) > abs(file[0].header["CD1_1"])


def test_a_filter_that_is_not_in_the_table_is_said_to_be_guessed(workspace, tmp_path):
    for survey, name in (("SDSS", "r"), ("SDSS", "open"), ("HST", "F702W")):
        stamp(tmp_path / "archive", "a", survey, name, size=160)
    made(workspace, tmp_path / "archive")
    said = status.outcomes(workspace, "ingest_stamps").set_index("input")["message"].fillna("")
    assert "not in the table" not in said["a_SDSS_r.fits"]
    assert "filter open is not in the table of SDSS" in said["a_SDSS_open.fits"]
    assert "F702W" in said["a_HST_F702W.fits"] and "its name tells" in said["a_HST_F702W.fits"]
