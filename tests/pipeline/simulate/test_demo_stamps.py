"""The demo's stamps."""

import pandas as pd

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamp_measures import MEASURES
from pipeline.simulate import demo_stamps
from pipeline.stamps import plan, recipe
from tests.pipeline.stamps import toy_visual


def test_the_archive_is_written_once_and_every_file_is_accounted_for(tmp_path):
    truth = demo_stamps.write_demo_stamps(tmp_path, 2)
    first = (tmp_path / "truth.csv").stat().st_mtime_ns
    again = demo_stamps.write_demo_stamps(tmp_path, 2)
    pd.testing.assert_frame_equal(again, truth)
    assert (tmp_path / "truth.csv").stat().st_mtime_ns == first
    workspace = Folder(tmp_path / "workspace")
    changes = recipe.plan_stamps(None, workspace, Folder(tmp_path), demo_stamps.StampSettings())
    rows = [row for change in changes.values() for row in change.plan.to_pylist()]
    assert sum(row["verdict"] == plan.ACCEPTED for row in rows) == truth["files"].sum()
    assert {row["file"] for row in rows if row["verdict"] != plan.ACCEPTED} == set(demo_stamps._DAMAGED)
    assert all(row["reason"] for row in rows if row["verdict"] != plan.ACCEPTED)


def test_truth_is_told_against_what_was_found(workspace):
    truth = pd.DataFrame({
        "source_id": ["a", "b", "d"], "kind": ["pair", "pair", "single"], "sep_arcsec": [1.8, 1.2, None],
        "pa_deg": [30.0, 200.0, None], "delta_mag": [0.5, 1.0, None],
    })  # fmt: skip
    measured = MEASURES.of({"source_id": name, "n_components": n, "n_images": 2} for name, n in zip("abd", (2, 1, 2)))
    write.write(workspace, "measures/sdss.sources/part-00000.parquet", measured, MEASURES)
    told = demo_stamps.compare(workspace, truth)
    assert told.startswith("of 2 pairs of stars 1 are found by the fits alone") and "of 1 other sources 1 taken" in told
    toy_visual.fill(workspace, surveys=["SDSS"])
    told = demo_stamps.compare(workspace, truth)
    assert told.startswith("of 2 pairs of stars 2 are found by the network") and "of 1 other sources 0 taken" in told
    assert "0.99" in told and "double" in told
