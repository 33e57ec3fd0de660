import numpy as np
import pandas as pd
import pytest

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamp_measures import MEASURES, STAMP_MEASURES
from pipeline import manifest
from pipeline.errors import Mismatch, Missing, UsageError
from pipeline.settings import MeasureSettings, StampSettings
from pipeline.stamps.measures import STAGE, MeasureStamps, forecast, measure_stamps, sources_path, stamps_path
from pipeline.stamps.recipe import ingest_stamps
from tests.stamp_drawing import drawn, saved


@pytest.fixture(scope="module")
def measured(tmp_path_factory):  # type: ignore[no-untyped-def]
    top = tmp_path_factory.mktemp("measures")
    rng = np.random.default_rng(11)
    (top / "archive").mkdir()
    for number in range(6):
        sep = 1.7 if number % 2 else 0.0
        place = (30.0 + number, -20.0)
        for survey, name, scale in (("SDSS", "r", 0.396), ("SDSS", "i", 0.396), ("Pan-STARRS", "r", 0.25)):
            if survey == "SDSS" and number == 5:
                continue
            stamp = drawn(rng, sep, 60, 1.0, 150, 1.3, scale, filter=name)
            saved(stamp, top / "archive" / f"s{number}_{survey}_{name}.fits", *place)
        saved(drawn(rng, sep, 60, 1.0, 150, 6.5, 2.75), top / "archive" / f"s{number}_unWISE_W1.fits", *place)
    saved(drawn(rng, fwhm=6.5, scale=2.75), top / "archive" / "w_unWISE_W1.fits", 36.0, -20.0)
    workspace = Folder(top / "workspace")
    list(ingest_stamps(None, workspace, Folder(top / "archive"), StampSettings()))
    gaia = pd.DataFrame({"source_id": [31, 33, 36], "ra": [31.0, 33.0, 36.0], "dec": -20.0, "ruwe": [1.0, 1.5, 3.5],
                         "phot_g_mean_mag": 15.0})  # fmt: skip
    gaia.to_csv(top / "gaia.csv", index=False)
    (top / "counts.csv").write_text("mag,per_deg2\n14,100\n20,10000\n")
    settings = MeasureSettings(gaia=str(top / "gaia.csv"), counts=str(top / "counts.csv"))
    reports = list(measure_stamps(None, workspace, settings))
    return workspace, settings, reports


def _tables(workspace: Folder, settings: MeasureSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    keys = MeasureStamps(workspace, settings).keys()
    sources = pd.concat([write.read(workspace, sources_path(key), MEASURES).to_pandas() for key in keys])
    stamps = pd.concat([write.read(workspace, stamps_path(key), STAMP_MEASURES).to_pandas() for key in keys])
    return sources.set_index("source_id").sort_index(), stamps.set_index(["source_id", "survey", "filter"]).sort_index()


def test_each_source_is_measured_once_in_all_its_stamps(measured) -> None:  # type: ignore[no-untyped-def]
    workspace, settings, reports = measured
    assert reports[0].counts["done"] == 6 and not reports[0].counts["failed"]
    sources, stamps = _tables(workspace, settings)
    assert list(sources.index) == [*(f"s{number}" for number in range(6)), "w"]
    sources, stamps = sources.drop(index="w"), stamps.drop(index="w")
    assert list(sources["n_components"]) == [1, 2, 1, 2, 1, 2]
    assert list(sources["n_images"]) == [3, 3, 3, 3, 3, 1]
    assert len(stamps) == 5 * 4 + 2
    double = sources.loc["s3"]
    assert abs(double["sep_arcsec"] - 1.7) < 5 * double["sep_arcsec_err"]
    assert abs(double["pa_deg"] - 60) < 5 * double["pa_deg_err"]
    assert double["gaia_id_1"] == 33 and double["ruwe"] == 1.5
    assert 1e-6 < double["p_chance"] < 1e-2
    assert np.isnan(sources.loc["s2", "p_chance"])
    assert stamps.loc["s3"].loc["unWISE"]["delta_chi2"].isna().all()
    assert (stamps.loc["s3"].loc["SDSS"]["delta_mag"] - 1.0).abs().max() < 0.3


def test_of_what_cannot_be_fitted_gaia_tells_all_the_same(measured) -> None:  # type: ignore[no-untyped-def]
    workspace, settings, reports = measured
    assert reports[0].counts["nothing"] == 1
    sources, stamps = _tables(workspace, settings)
    row = sources.loc["w"]
    assert row["gaia_id_1"] == 36 and row["ruwe"] == 3.5 and row["n_images"] == 0
    names = ["n_components", "delta_chi2", "delta_chi2_extended", "p_fit", "sep_arcsec", "pa_ambiguous", "p_chance"]
    assert row[[*names, "dm_limit_1p0", "gaia_id_2"]].isna().all()
    assert stamps.loc["w", "delta_chi2"].isna().all()


def test_a_second_run_changes_nothing_and_other_settings_are_refused(measured) -> None:  # type: ignore[no-untyped-def]
    workspace, settings, _ = measured
    stage = MeasureStamps(workspace, settings)
    keys = stage.keys()
    before = [manifest.read(workspace, STAGE, key).objects for key in keys]
    assert all(stage.execute(key).skipped for key in keys)
    with pytest.raises(Mismatch, match="most"):
        list(measure_stamps(None, workspace, settings.model_copy(update={"most": 3})))
    list(measure_stamps(None, workspace, settings, overwrite=True))
    assert [manifest.read(workspace, STAGE, key).objects for key in keys] == before


def test_a_forecast_says_what_is_left_and_writes_nothing(measured) -> None:  # type: ignore[no-untyped-def]
    workspace, settings, _ = measured
    before = [entry.path for entry in workspace.list()]
    there = len(MeasureStamps(workspace, settings).keys())
    assert forecast(workspace, settings, 2) == (
        f"sources to measure: 0, of 0 stamps, in 0 partitions; {there} partitions there already; nothing to do"
    )
    other = settings.model_copy(update={"most": 3})
    with pytest.raises(Mismatch, match="most"):
        forecast(workspace, other, 2)
    told = forecast(workspace, other, 2, overwrite=True)
    assert told.startswith(f"sources to measure: 7, of 23 stamps, in {there} partitions; 0 partitions there already")
    assert "to be replaced: measures/" in told
    assert [entry.path for entry in workspace.list()] == before
    with pytest.raises(Missing, match="run ingest_stamps first"):
        forecast(Folder("/nonexistent/workspace"), MeasureSettings(), 2)


@pytest.mark.parametrize("content", ["mag,n\n14,1\n", None])
def test_a_list_that_cannot_be_read_undoes_nothing(measured, tmp_path, content) -> None:  # type: ignore[no-untyped-def]
    workspace, settings, _ = measured
    before = {path: workspace.read(path) for path in manifest.committed(workspace, STAGE).values()}
    assert before
    if content is not None:
        (tmp_path / "counts.csv").write_text(content)
    wrong = settings.model_copy(update={"counts": str(tmp_path / "counts.csv")})
    with pytest.raises(UsageError, match=r"counts\.csv"):
        list(measure_stamps(None, workspace, wrong, overwrite=True))
    assert {path: workspace.read(path) for path in manifest.committed(workspace, STAGE).values()} == before


def test_a_source_alone_can_be_tried(measured) -> None:  # type: ignore[no-untyped-def]
    workspace, settings, _ = measured
    stage = MeasureStamps(workspace, settings)
    stage.probe(stage.keys()[0], stage.inputs(stage.keys()[0])[0])


def test_without_stamps_it_says_what_to_do(workspace: Folder) -> None:
    with pytest.raises(Missing, match="ingest_stamps"):
        list(measure_stamps(None, workspace, MeasureSettings()))
