"""The demo from end to end, small: a catalogue, a report, and a second run that takes up what is there."""

import pandas as pd
import pytest
from click.testing import CliRunner

from catalogs.supernovae import Selection, is_selected
from cluster.address import DASK_ADDRESS
from jobs.demo import main


@pytest.mark.slow
def test_demo_makes_catalogue_and_report_and_repeats_nothing(tmp_path, monkeypatch, dask_client, ray_cluster):
    monkeypatch.setenv(DASK_ADDRESS, dask_client.scheduler.address)
    arguments = ["--workspace", str(tmp_path / "demo"), "--stars", "12", "--workers", "1"]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    assert "8 rejected" in first.output
    catalogue = tmp_path / "demo/catalogs/eclipsing_binaries.parquet"
    stars = pd.read_parquet(catalogue)
    assert stars["tic_id"].nunique() == 13  # and a good one among the damaged files
    assert str(stars.nlargest(1, "p_eb")["tic_id"].iloc[0]) in first.output
    assert str(catalogue) in first.output
    report = tmp_path / "demo/reports/eclipsing_binaries.html"
    assert f"report: {report}" in first.output
    assert "Only the 12 stars count" in report.read_text()
    supernovae = tmp_path / "demo/catalogs/supernova_candidates.parquet"
    assert is_selected(pd.read_parquet(supernovae)["selection"]).sum() == 6
    scored = pd.read_parquet(tmp_path / "demo/catalogs/transient_candidates.parquet")
    assert scored["p_real"].notna().all()
    assert not (pd.read_parquet(supernovae)["selection"] & int(Selection.NO_P_REAL) > 0).any()
    pages = tmp_path / "demo/reports/supernovae/index.html"
    assert str(pages) in first.output and "six supernovae" in first.output and pages.exists()

    assert "pairs of stars" in first.output
    assert len(pd.read_csv(tmp_path / "demo/sources/truth.csv")) == 2

    before = catalogue.read_bytes(), supernovae.read_bytes()
    second = CliRunner().invoke(main, arguments)
    assert second.exit_code == 0, second.output
    assert (catalogue.read_bytes(), supernovae.read_bytes()) == before
