"""Transients put into the images of a workspace: counted, the same however often, and never among candidates."""

import shutil

import numpy as np
import pandas as pd
import pytest

from catalogs import write
from catalogs.candidates import CANDIDATES
from catalogs.folder import Folder
from catalogs.recovery import IMAGE_INJECTIONS, PLACES
from catalogs.schema import TABLES
from pipeline import manifest, recipes
from pipeline.errors import Mismatch, UsageError
from pipeline.images import efficiency, places, roster, status
from pipeline.images.difference import DIFFERENCE, DifferenceImages
from pipeline.images.trials import INJECT, InjectImages, table_path
from pipeline.settings import DifferenceSettings, ImageSettings, InjectionSettings, PairSettings
from tests.pipeline.images import archives

INJECTIONS = InjectionSettings(count=90, rounds=2)


def difference(workspace, injections=None):
    return list(
        recipes.difference_images(None, workspace, PairSettings(), DifferenceSettings(), None, (), False, injections)
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a workspace with a pair of two bands, subtracted."""
    workspace, archive = Folder(tmp_path_factory.mktemp("plain")), tmp_path_factory.mktemp("archive")
    files = archives.tall().write(tmp_path_factory.mktemp("field"))
    for name in ("science", "reference"):
        shutil.copy(files / f"{name}.fits", archive)
    for report in (*recipes.ingest_images(None, workspace, Folder(archive), ImageSettings()), *difference(workspace)):
        assert not report.exit_status
    return workspace


def contents(workspace):
    return {entry.path: workspace.read(entry.path) for entry in workspace.list()}


@pytest.fixture(scope="module")
def done(plain, tmp_path_factory):
    """Return the same with injections, the last report, and what was there before."""
    target = tmp_path_factory.mktemp("done") / "workspace"
    shutil.copytree(plain.root, target)
    before = contents(Folder(target))
    return Folder(target), difference(Folder(target), INJECTIONS)[-1], before


@pytest.fixture(scope="module")
def table(done):
    workspace, _, _ = done
    return write.read(workspace, table_path(pair_of(workspace)), IMAGE_INJECTIONS).to_pandas()


def pair_of(workspace):
    (key,) = manifest.committed(workspace, INJECT)
    return key.split("/")[1]


def test_each_is_a_row_in_its_environment(table):
    assert set(PLACES) == set(places.ENVIRONMENTS) == set(table["environment"])
    assert 60 <= len(table) <= 90 and table["number"].tolist() == list(range(len(table)))
    assert table["round"].nunique() == 2 and (table["flux"] > 0).all()
    assert table["snr_opt"].between(2, 14).mean() > 0.95 and table["snr_opt"].median() == pytest.approx(6, abs=1.5)
    inner = table[table["environment"] == "core"]
    assert inner["host_sep_arcsec"].max() < 0.5 and (table.loc[table["environment"] == "disk", "host_dlr"] > 0.2).all()
    for _, own in table.groupby("round"):
        apart = np.hypot(*(own[c].to_numpy()[:, None] - own[c].to_numpy() for c in "xy")) + 1e9 * np.eye(len(own))
        assert apart.min() > 10


def test_they_are_found_as_they_should_be(table):
    assert table.loc[table["usable"] & (table["snr_opt"] > 9), "found"].mean() > 0.9
    found = table[table["found"]]
    assert (found["snr"] >= 5).all() and found["sep_px"].max() < 3 and found["flags"].notna().all()
    assert table.loc[~table["found"], ["snr", "sep_px", "flags"]].isna().all(axis=None)
    pulls = ((table["flux_forced"] - table["flux"]) / table["flux_err"])[table["usable"]]
    assert abs(pulls.median()) < 0.6 and 0.6 < pulls.std() < 1.8


def test_the_report_says_how_many(done, table):
    workspace, report, _ = done
    assert report.stage == INJECT and report.rows == len(table) and report.counts["done"] == 1
    details = manifest.read(workspace, INJECT, next(iter(manifest.committed(workspace, INJECT)))).details
    rows = pd.DataFrame(details["completeness"])
    assert len(rows) == len(places.ENVIRONMENTS) * len(efficiency.BINS) and details["asked"] == 90
    usable = table[table["usable"] & (table["snr_opt"] >= 3)]
    assert rows["injected"].sum() == len(usable) and rows["recovered"].sum() == usable["found"].sum()
    told = rows[rows["injected"] > 0]
    assert (told["low"] <= told["completeness"]).all() and (told["completeness"] <= told["high"]).all()
    assert np.allclose(told["completeness"], told["recovered"] / told["injected"])
    assert f"{len(table)} of 90 transients" in str(report) and "expected" in str(report)
    line = status.status(workspace).set_index("stage").loc[INJECT]
    assert line["committed"] == 1 and not line["stale"]
    assert status.outcomes(workspace, INJECT)["input"].tolist() == [pair_of(workspace)]


def test_nothing_of_them_is_among_the_candidates(done):
    workspace, _, before = done
    after = contents(workspace)
    new = {path for path in after if path not in before}
    assert {path for path in before if after[path] != before[path]} == set()
    assert {path.split("/")[0] for path in new} == {"manifest", "outcomes", "differences"}
    assert [path for path in new if path.startswith("differences")] == [table_path(pair_of(workspace))]
    rows = write.read(workspace, "catalogs/candidates.parquet", CANDIDATES)
    assert not any(rows["is_injected"].to_pylist()) and IMAGE_INJECTIONS.name not in TABLES


def test_again_it_is_the_same_and_with_other_settings_refused(done, plain, tmp_path):
    workspace, _, _ = done
    before = workspace.read(table_path(pair_of(workspace)))
    again = difference(workspace, INJECTIONS)[-1]
    assert again.skipped == 1 and "expected" in str(again)
    with pytest.raises(Mismatch, match="count was 90, is 91"):
        difference(workspace, INJECTIONS.model_copy(update={"count": 91}))
    shutil.copytree(plain.root, tmp_path / "again")
    difference(Folder(tmp_path / "again"), INJECTIONS)
    assert Folder(tmp_path / "again").read(table_path(pair_of(workspace))) == before


def test_what_is_subtracted_anew_or_in_part_has_none(done, tmp_path):
    shutil.copytree(done[0].root, tmp_path / "workspace")
    workspace = Folder(tmp_path / "workspace")
    record = manifest.read(workspace, INJECT, next(iter(manifest.committed(workspace, INJECT))))
    assert manifest.stale(workspace, record) is None
    manifest.discard(workspace, DIFFERENCE, sorted(manifest.committed(workspace, DIFFERENCE))[0])
    assert manifest.stale(workspace, record) is not None
    rows = roster.rows(roster.load(workspace))
    assert not InjectImages(DifferenceImages(workspace, rows, DifferenceSettings()), INJECTIONS).keys()
    other = DifferenceSettings(threshold=6)
    *_, last = recipes.difference_images(None, workspace, PairSettings(), other, None, (), True, INJECTIONS)
    assert last.stage == INJECT and last.partitions == 1 and not last.skipped


def test_settings_are_checked():
    with pytest.raises(UsageError, match="max_snr"):
        InjectionSettings.load(None, "injections", min_snr=5, max_snr=4)
    assert InjectionSettings().count == 0
