"""The report: everything is counted, only held-out stars are judged by, nothing of a file becomes HTML."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import recipes
from pipeline.errors import Missing
from pipeline.lightcurves import combine, gallery, truth
from pipeline.lightcurves.charts import folded
from pipeline.lightcurves.page import PATH, write_report
from pipeline.settings import IngestSettings, PreprocessSettings
from pipeline.simulate.damaged import write_damaged
from pipeline.simulate.spoc import write_archive
from tests.rows import star

REASONS = {
    *("empty", "truncated", "not_fits", "wrong_product"),
    *("sector_mismatch", "all_nan", "checksum_mismatch", "duplicate"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dask_client) -> tuple[Folder, pd.DataFrame]:
    """Return a workspace with a catalogue, its scores made up, and the truth."""
    top = tmp_path_factory.mktemp("report")
    write_archive(top / "archive", [1], 12, seed=1)
    write_damaged(top / "archive", 1, seed=3)
    workspace, archive = Folder(top / "workspace"), Folder(top / "archive")
    list(recipes.ingest_sectors(dask_client, workspace, archive, None, IngestSettings.load(None, "ingest")))
    list(recipes.preprocess_sectors(dask_client, workspace, None, PreprocessSettings(recipe="calnet")))
    known = pd.read_csv(top / "archive/truth.csv")
    scores = np.where(known["label"] == "EB", 0.9, 0.1)
    scores[:4] = 1 - scores[:4]  # the first four are told wrong
    row = {
        "model_id": "calnet-0123abcd",
        "model_sha256": "0123abcd" * 8,
        "stage_version": 1,
        "settings_hash": "0",
    }
    facts = known[["tic_id", "ra", "dec", "tmag"]].assign(gls_period=known["period"] / 2)
    rows = [star(p) | fact for p, fact in zip(scores, facts.to_dict("records"), strict=True)]
    stars = pd.DataFrame(rows).assign(catalog_release="r", manifest_key="combine/r", **row)
    table = pa.Table.from_pandas(stars, preserve_index=False)
    write.write(workspace, combine.CURRENT, table, schema.STARS)
    return workspace, known


def test_report_counts_every_input_and_judges_by_held_out_stars_only(finished):
    workspace, known = finished
    held_out = set(known["tic_id"][1::2])
    path = write_report(workspace, known, held_out, ["A note & a half."])
    html = workspace.read(PATH).decode()
    assert path.endswith(PATH)
    assert "Ingest: 22 files = 14 done + 8 rejected." in html
    assert "Preprocess: 14 light curves = 13 done + 1 nothing." in html
    assert "Score: 0 segments = none; 1 of 1 partitions still to do." in html
    assert all(f">{reason}<" in html for reason in REASONS)
    assert "Only the 6 stars count" in html
    wrong = known[:4][known["tic_id"][:4].isin(held_out)]
    missed = int((wrong["label"] == "EB").sum())
    assert f"{missed} left; other stars {len(wrong) - missed} found" in html
    assert "A note &amp; a half." in html
    assert "<title>503" not in html  # the beginning of a file that is not FITS


def test_report_without_truth_claims_nothing_and_shows_light_curves(finished):
    workspace, known = finished
    write_report(workspace)
    html = workspace.read(PATH).decode()
    assert "Against the truth" not in html
    assert "The best-scored stars" in html
    best = known["tic_id"][4:][known["label"] == "EB"].min()
    assert f'target.php?id={best}">{best}</a>' in html
    assert html.count("data:image/png") >= 7


def test_light_curves_are_folded_at_the_orbit_where_it_is_known(finished):
    workspace, known = finished
    first, second = known["tic_id"][known["tic_id"].isin(gallery.light_curves(workspace, known["tic_id"].tolist()))][:2]
    orbit, sine = gallery.draw(workspace, {first: "", second: ""}, {first: 1.2345, second: np.nan})
    assert "folded at 1.2345 d and" in orbit.alt and "folded at 1.2345 d and" not in sine.alt


def test_report_refuses_a_truth_without_held_out_stars_and_no_catalogue(finished, workspace):
    with pytest.raises(ValueError, match="held_out"):
        write_report(finished[0], finished[1])
    with pytest.raises(Missing, match="run score_sectors"):
        write_report(workspace)


def test_judgement_counts_unscored_stars_as_left():
    stars = pd.DataFrame({"tic_id": [1, 2, 3, 4, 5], "label": ["EB", "EB", "EB", "not EB", "not EB"]})
    scores = pd.DataFrame({"tic_id": [1, 2, 4, 5, 9], "p_eb": [0.9, 0.6, 0.7, 0.1, 1.0]})
    found = truth.judge(scores, stars)
    assert found.confusion.tolist() == [[1, 1], [1, 2]]
    assert found.unscored == 1
    # Found at 0.9: 1 of 1; at 0.6: 2 of 3; the third is found at no threshold.
    assert found.average_precision == pytest.approx(1 / 3 + 2 / 3 / 3)
    assert truth.judge(scores, stars, stars=[1, 4]).confusion.tolist() == [[0, 1], [0, 1]]
    assert found.rates().set_index("measure").loc["recall", "stars"] == "2 of 3 eclipsing binaries are found"


def test_fold_is_sharpened_to_the_true_period():
    time = np.arange(0, 27, 0.01)
    flux = 1 - 0.1 * np.cos(2 * np.pi * time / 0.5) ** 2
    picture = folded(time, flux, 0.2507, "a star", "")
    assert float(picture.alt.split(" d and ")[0].rsplit(" ", 1)[1]) == pytest.approx(0.25, rel=1e-4)
    orbit = folded(time, flux, 0.5012, "a star", "", "period")  # what the catalogue says is drawn as it says it
    assert "folded at 0.5012 d and at twice" in orbit.alt
