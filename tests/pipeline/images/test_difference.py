"""From ingested images to the catalogue of candidates: every pair accounted for, the same bytes however it is run."""

import shutil

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from catalogs import transients, write
from catalogs.candidates import CANDIDATES, FrameFlag, is_good
from catalogs.folder import Folder
from catalogs.schema import OUTCOMES
from pipeline import manifest, recipes, stores
from pipeline.errors import Missing, Refused
from pipeline.images import combine, image, roster, triplets
from pipeline.images.assessment import assess
from pipeline.images.difference import (
    DIFFERENCE,
    MATCH,
    DifferenceImages,
    band_rows,
    difference_path,
    part_path,
)
from pipeline.images.lineage import explain
from pipeline.images.status import outcomes, status
from pipeline.settings import DifferenceSettings, ImageSettings, PairSettings
from tests.pipeline.images import archives

PAIRING, SETTINGS = PairSettings(), DifferenceSettings()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with science.fits, reference.fits and what is true of them, and later.fits, of another night."""
    folder = archives.tall().write(tmp_path_factory.mktemp("field"))

    def later(hdu):
        hdu.data = hdu.data + np.random.default_rng(1).normal(0, 1, hdu.data.shape).astype(np.float32)
        hdu.header["MJD-OBS"] += 1.0
        hdu.header["DATE-OBS"] = "2023-02-26T06:00:00"

    archives.altered(folder / "science.fits", folder / "later.fits", later)
    return folder


@pytest.fixture(scope="module")
def ingested(files, tmp_path_factory, dask_client):
    """Return a workspace with three images, and the archive they are from."""
    archive, root = tmp_path_factory.mktemp("archive"), tmp_path_factory.mktemp("ingested")
    for name in ("science", "reference", "later"):
        shutil.copy(files / f"{name}.fits", archive)
    for report in recipes.ingest_images(dask_client, Folder(root), Folder(archive), ImageSettings()):
        assert report.counts["done"] == 3
    return root


def started(ingested, target):
    """Return a workspace of its own with the images."""
    shutil.copytree(ingested, target)
    return Folder(target)


@pytest.fixture(scope="module")
def done(ingested, tmp_path_factory):
    """Return a workspace whose pairs are subtracted, and the reports."""
    workspace = started(ingested, tmp_path_factory.mktemp("done") / "workspace")
    return workspace, list(recipes.difference_images(None, workspace, PAIRING, SETTINGS))


def contents(workspace):
    """Return path → bytes of all products, and path → identity of all manifests."""
    found = {}
    for entry in workspace.list():
        if entry.path.startswith("manifest/") and entry.path.endswith(".json"):
            stage, _, key = entry.path.removeprefix("manifest/").removesuffix(".json").partition("/")
            found[entry.path] = manifest.read(workspace, stage, key).identity
        elif not entry.path.startswith("manifest/ingest"):
            found[entry.path] = workspace.read(entry.path)
    return found


def test_every_image_and_every_pair_has_one_outcome(done):
    workspace, reports = done
    assert [report.stage for report in reports] == ["pairs", MATCH, DIFFERENCE, "candidates"]
    assert not any(report.exit_status for report in reports)
    told = outcomes(workspace, "pairs").set_index("input")
    assert len(told) == 3 and sorted(told["state"]) == ["done", "done", "nothing"]
    assert told.loc[told["state"] == "nothing", "message"].str.contains("it is the reference of others").all()
    plan = roster.load(workspace).to_pandas()
    assert len(plan) == 2 and plan["reference"].nunique() == 1 and not plan["ref_after_event"].any()
    assert list(outcomes(workspace, MATCH)["input"]) == sorted(plan["pair_id"])
    assert len(outcomes(workspace, DIFFERENCE)) == 4 and band_rows((1056, 288)) == 544
    assert list(status(workspace)["committed"]) == [3, 2, 4]


def test_candidates_know_their_pair_and_have_their_triplets(done, files):
    workspace, _ = done
    table = write.read(workspace, "catalogs/candidates.parquet", CANDIDATES).to_pandas()
    assert table["scorr_std_blank"].between(0.9, 1.1).all() and table["pair_id"].nunique() == 2
    truth = pd.read_parquet(files / "truth.parquet")
    bright = truth[truth["snr_opt"].abs() > 8]
    one = table[table["science_file"] == "science.fits"]
    near = [np.hypot(one["x"] - x, one["y"] - y).min() for x, y in zip(bright["x"], bright["y"], strict=True)]
    assert len(bright) >= 5 and np.mean(np.array(near) < 1.5) > 0.8
    for pair_id, rows in table.groupby("pair_id"):
        known = rows[rows["triplet_row"].notna()].head(5)
        store = {"path": triplets.path(pair_id), "names": (triplets.NAME,)}
        plane = stores.read(workspace, difference_path(pair_id), ("difference",), slice(0, 1056))["difference"]
        for row in known.itertuples():
            place = slice(int(row.triplet_row), int(row.triplet_row) + 1)
            cut = stores.read(workspace, **store, rows=place)[triplets.NAME][0]
            assert cut.shape == (3, 63, 63) and cut[2, 31, 31] == plane[round(row.y), round(row.x)]


def test_a_second_run_does_nothing_and_gives_the_same_snapshot(done):
    workspace, first = done
    before = contents(workspace)
    again = list(recipes.difference_images(None, workspace, PAIRING, SETTINGS))
    assert [report.skipped for report in again[:3]] == [2, 2, 4]
    assert contents(workspace) == before and again[3].rows == first[3].rows


def test_two_workers_give_the_same_bytes(done, ingested, tmp_path, dask_client):
    workspace = started(ingested, tmp_path / "workspace")
    for report in recipes.difference_images(dask_client, workspace, PAIRING, SETTINGS):
        assert not report.exit_status
    assert contents(workspace) == contents(done[0])


def test_what_was_lost_is_made_again(done, tmp_path):
    workspace = started(done[0].root, tmp_path / "workspace")
    before = contents(workspace)
    key = sorted(manifest.committed(workspace, DIFFERENCE))[1]
    manifest.discard(workspace, DIFFERENCE, key)
    assert contents(workspace) != before
    reports = list(recipes.difference_images(None, workspace, PAIRING, SETTINGS))
    assert reports[2].skipped == 3 and contents(workspace) == before


def test_other_settings_are_refused(done):
    workspace, _ = done
    with pytest.raises(Refused, match=r"threshold was 5\.0, is 6\.0.*--overwrite"):
        list(recipes.difference_images(None, workspace, PAIRING, DifferenceSettings(threshold=6)))


def test_known_transients_are_named_and_make_another_snapshot(done, tmp_path):
    workspace = started(done[0].root, tmp_path / "workspace")
    table = pd.read_parquet(workspace.local("catalogs/candidates.parquet"))
    row = table[is_good(table["flags"])].iloc[0]
    (tmp_path / "known.csv").write_text(f"name,ra,dec\nSN 2024abc,{row['ra']},{row['dec']}\n")
    lists = [transients.read(str(tmp_path / "known.csv"))]
    *_, report = recipes.difference_images(None, workspace, PAIRING, SETTINGS, None, lists)
    named = pd.read_parquet(workspace.local("catalogs/candidates.parquet")).set_index("candidate_id")
    assert named.loc[row["candidate_id"], "known_name"] == "SN 2024abc" and "snapshot 2" in report.notes[0]
    assert named.loc[row["candidate_id"], "known_sep_arcsec"] < 0.01
    list(recipes.difference_images(None, workspace, PAIRING, SETTINGS))
    assert combine.SERIES.newest(workspace).number == 1  # the first state once more, not a third
    assert pd.read_parquet(workspace.local("catalogs/candidates.parquet"))["known_name"].isna().all()


def test_injected_rows_stay_out(done, tmp_path):
    workspace = started(done[0].root, tmp_path / "workspace")
    stage = DifferenceImages(workspace, roster.rows(roster.load(workspace)), SETTINGS)
    keys = stage.keys()[:2]
    found = assess(workspace, keys)
    path = part_path(keys[0].where, 0)
    table = write.read(workspace, path, CANDIDATES).to_pandas()
    table["is_injected"] = np.arange(len(table)) < 2
    write.write(workspace, path, CANDIDATES.of(table.to_dict("records")), CANDIDATES)
    told = combine.told(workspace, found.records[0], found)
    assert len(told) == len(table) - 2 and not any(told["is_injected"].to_pylist())


def test_an_incomplete_pair_is_left_out_and_named(done, tmp_path):
    workspace = started(done[0].root, tmp_path / "workspace")
    stage = DifferenceImages(workspace, roster.rows(roster.load(workspace)), SETTINGS)
    key = stage.keys()[0]
    manifest.discard(workspace, DIFFERENCE, key)
    snapshot, report = combine.combine(stage)
    table = pd.read_parquet(workspace.local(snapshot.path))
    assert key.where not in set(table["pair_id"]) and table["pair_id"].nunique() == 1
    assert f"left out until all of it is done: {key.where}" in report.notes


def test_the_plan_only_grows(done, tmp_path):
    workspace = started(done[0].root, tmp_path / "workspace")
    before = roster.load(workspace)
    index = image.index(workspace).set_index("file")["image_id"]
    kept = roster.change(workspace, PairSettings(min_overlap=0.999))
    assert kept.plan.equals(before) and kept.report.counts["done"] == 2
    added = roster.change(workspace, PAIRING, [("science.fits", "later.fits"), ("none.fits", "later.fits")])
    rows = added.plan.to_pandas()
    assert len(rows) == 3 and list(rows.loc[rows["explicit"], "science"].str.endswith(index["science.fits"])) == [True]
    assert rows.loc[rows["explicit"], "ref_after_event"].tolist() == [True]
    assert "rejected none.fits - later.fits: unknown_image: none.fits is no image that was ingested" in str(
        added.report
    )
    assert sum(added.report.counts.values()) == 4  # three images, and the pair that is none


def test_pairs_that_cannot_be_are_rejected_with_the_figure(ingested, tmp_path):
    workspace = started(ingested, tmp_path / "workspace")
    few = DifferenceSettings(min_overlap=1.0)
    reports = list(recipes.difference_images(None, workspace, PAIRING, few))
    assert reports[1].counts["rejected"] == 2 and reports[2].partitions == reports[3].rows == 0
    assert "overlap: the reference covers 0." in str(reports[1])
    assert outcomes(workspace, MATCH)["reason"].tolist() == ["overlap"] * 2
    assert len(write.read(workspace, "catalogs/candidates.parquet", CANDIDATES)) == 0
    small = roster.change(workspace, PairSettings(min_overlap=1.0), overwrite=True)
    assert len(small.plan) == 1  # of two with the same footprint
    assert small.outcomes["message"].str.contains(r"covers 0\.\d+ of it, less than 1 \(").any()
    told = write.read(workspace, roster.OUTCOMES, OUTCOMES)
    assert len(told) == 3


def test_a_workspace_without_images_is_refused(workspace):
    with pytest.raises(Missing, match="run ingest_images first"):
        list(recipes.difference_images(None, workspace, PAIRING, SETTINGS))


def test_explain_leads_to_the_files(done):
    workspace, _ = done
    row = pd.read_parquet(workspace.local("catalogs/candidates.parquet")).iloc[0]
    found = explain(workspace, row["candidate_id"])
    assert found["row"]["snr"] == row["snr"] and not found["match"]["stale"]
    assert found["images"]["science"]["sha256"] == row["science_sha256"]
    assert fits.getheader(found["images"]["reference"]["address"])["EXPTIME"] > 0
    assert found["snapshot"]["path"].startswith("catalogs/candidates/snapshot-")
    with pytest.raises(Missing, match="no candidate J0"):
        explain(workspace, "J0")


def test_a_failing_self_test_flags_every_candidate(done):
    table = pd.read_parquet(done[0].local("catalogs/candidates.parquet"))
    for _, rows in table.groupby("pair_id"):
        blank, sources = rows["scorr_std_blank"].iloc[0], rows["scorr_std_src"].iloc[0]
        wrong = not 0.95 <= blank <= 1.05 or not 0.85 <= sources <= 1.3
        assert ((rows["frame_flags"] & int(FrameFlag.SELF_TEST)) > 0).eq(wrong).all() or np.isnan(sources)
