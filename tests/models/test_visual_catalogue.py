import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from catalogs import review, write
from catalogs.folder import Folder
from catalogs.query import query
from catalogs.visual_binaries import VISUAL_BINARIES, VISUAL_BINARY_FILTERS
from models.registry import Registry
from models.visual import read
from models.visual_catalogue import catalogue, planned
from models.visual_standing import VisualStanding
from pipeline import manifest
from pipeline.fusion import Fusion, fused
from pipeline.settings import VisualScoreSettings
from pipeline.stamps import completeness, gallery, layout
from tests.models import toy_visual

SETTINGS = VisualScoreSettings(runtime="torch", precision="fp32", batch_size=4)
FILES = [f"catalogs/{name}.parquet" for name in ("visual_binaries", "visual_binaries_filters")]


def parts(order):
    every = {
        "pan-starrs": lambda folder: toy_visual.stacked(folder, "pan-starrs", 0, {"a": 0, "b": 1, "c": 2}),
        "more": lambda folder: toy_visual.stacked(folder, "pan-starrs", 1, {"d": 3}),
        "hst": lambda folder: toy_visual.stacked(folder, "hst", 0, {"b": 1, "c": 2}),
        "unwise": lambda folder: toy_visual.stacked(folder, "unwise", 0, {"a": 0, "w": 5}),
        "measures": lambda folder: toy_visual.measured(folder, 0, ["b", "c"]),
    }
    return [every[name] for name in order]


ORDER = ("pan-starrs", "more", "hst", "unwise", "measures")


def score(folder, settings=SETTINGS, model="visualbinary"):
    stage = planned(folder, model, settings)
    for key in stage.keys():  # noqa: SIM118
        stage.execute(key)
    return catalogue(folder, stage.entry, settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = Folder(tmp_path_factory.mktemp("whole"))
    toy_visual.save(folder)
    for add in parts(ORDER):
        add(folder)
    return folder, score(folder)


def tables(folder):
    schemas = (VISUAL_BINARIES, VISUAL_BINARY_FILTERS)
    return [write.read(folder, path, one).to_pandas() for path, one in zip(FILES, schemas, strict=True)]


def test_a_row_for_each_source_and_each_of_its_stamps(whole):
    rows, single = tables(whole[0])
    rows = rows.set_index("source_id")
    assert rows.index.tolist() == ["a", "b", "c", "d", "w"]
    assert rows.loc["b", "surveys_used"].tolist() == ["HST", "Pan-STARRS"] == rows.loc["b", "surveys_able"].tolist()
    assert rows.loc["a", "surveys_used"].tolist() == ["Pan-STARRS", "unWISE"]
    assert rows.loc["a", "surveys_able"].tolist() == ["Pan-STARRS"]
    assert single[["source_id", "survey", "filter"]].values.tolist() == [
        ["a", "Pan-STARRS", "g"], ["a", "Pan-STARRS", "r"], ["a", "unWISE", "W1"],
        ["b", "HST", "F606W"], ["b", "Pan-STARRS", "g"], ["b", "Pan-STARRS", "r"],
        ["c", "HST", "F606W"], ["c", "Pan-STARRS", "g"], ["c", "Pan-STARRS", "r"],
        ["d", "Pan-STARRS", "g"], ["d", "Pan-STARRS", "r"], ["w", "unWISE", "W1"],
    ]  # fmt: skip
    assert single["files"].map(list)[4] == ["b_Pan-STARRS_g.fits"]
    assert rows["pos_epoch"].iloc[0] == pytest.approx(2000 + (55000 - 51544.5) / 365.25)


def test_a_survey_that_is_not_able_makes_no_positive_and_changes_nothing(whole):
    rows, single = (one.set_index("source_id") for one in tables(whole[0]))
    assert rows.loc["w", "tier"] == "unknown" and np.isnan(rows.loc["w", "p_double"])
    assert len(rows.loc["w", "surveys_able"]) == 0 and np.isnan(rows.loc["w", "sep_network_arcsec"])
    a = single.loc["a"]
    assert a.loc[a["survey"] == "unWISE", "p"].isna().all()
    assert rows.loc["a", "p_double"] == pytest.approx(a.loc[a["survey"] == "Pan-STARRS", "p"].iloc[0])


def test_surveys_are_put_together_bin_by_bin(whole):
    folder, rows = whole[0], tables(whole[0])[0].set_index("source_id")
    entry = Registry(folder).resolve("visualbinary")
    logits = {}
    for survey in ("pan-starrs", "hst"):
        path = f"catalogs/visual_scores/model={entry.id}/survey={survey}/part-00000.parquet"
        table = write.read(folder, path).to_pandas().set_index("source_id")
        logits[survey] = np.array(table.loc["b", "logits"])
    ratios = np.stack([one[1:] - one[0] - np.log(1 / 8) for one in logits.values()])
    single = np.log(np.exp(ratios).mean(1))
    ratio = ratios.sum(0) / max(single.sum() ** 2 / (0.1 + (single**2).sum()), 1) ** 0.5
    assert logit(rows.loc["b", "p_double"]) == pytest.approx(np.log(np.exp(ratio).mean()), abs=1e-6)
    assert logit(rows.loc["b", "p_prior"]) == pytest.approx(logit(rows.loc["b", "p_double"]) + logit(0.09))


def test_what_was_measured_stands_beside_it(whole):
    rows, single = tables(whole[0])
    b = rows.set_index("source_id").loc["b"]
    assert (b["n_components"], b["sep_arcsec"], b["p_fit"], b["gaia_id_1"]) == (2, 1.0, 0.99, float(2**62 + 1))
    exact = write.read(whole[0], FILES[0], VISUAL_BINARIES)["gaia_id_1"].to_pylist()
    assert exact == [None, 2**62 + 1, None, None, None]
    a = rows.set_index("source_id").loc["a"]
    assert pd.isna(a["sep_arcsec"]) and pd.isna(a["ra_2"]) and pd.isna(a["p_fit"])
    found = single.set_index(["source_id", "survey", "filter"]).loc[("b", "Pan-STARRS")]
    assert found.loc["g", "delta_mag"] == 0.5 and pd.isna(found.loc["r", "delta_mag"])
    assert found.loc["g", "fwhm_arcsec"] == 1.1 and found.loc["r", "fwhm_arcsec"] == 1.2


def test_partitions_in_any_order_give_the_same_bytes(whole, tmp_path):
    folder = Folder(tmp_path)
    toy_visual.save(folder)
    for add in parts(("measures", "more", "hst", "unwise", "pan-starrs")):
        add(folder)
        if manifest.committed(folder, layout.STACK):
            score(folder)
    for path in FILES:
        assert folder.read(path) == whole[0].read(path)


def test_what_is_made_again_is_there_already(whole):
    folder = whole[0]
    before = [folder.read(path) for path in FILES]
    there = len(folder.list("catalogs/visual_binaries/"))
    score(folder)
    assert [folder.read(path) for path in FILES] == before and len(folder.list("catalogs/visual_binaries/")) == there


def test_how_many_are_false_is_told(whole):
    said = "\n".join(whole[1])
    double = write.read(whole[0], FILES[0], VISUAL_BINARIES)["tier"].to_pylist().count("double")
    assert f"{double} of 4 sources are of the tier double (p_double >= 0.91)" in said


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path)
    toy_visual.save(folder)
    for add in parts(ORDER[:1]):
        add(folder)
    score(folder)
    return folder


def test_another_prior_is_another_catalogue_of_the_same_scores(folder):
    before = tables(folder)[0]
    score(folder, SETTINGS.model_copy(update={"prior": 0.5, "precision_asked": 0.7}))
    after = tables(folder)[0]
    assert (after["p_double"] == before["p_double"]).all() and np.allclose(after["p_prior"], after["p_double"])
    assert after["threshold"][0] == pytest.approx(expit(logit(0.7)))
    old = query(folder, "visual_binaries", as_of=1)
    assert old["prior"].tolist() == [0.09] * 3


def test_the_page_says_how_complete_the_model_is(folder):
    assert b"How complete" not in folder.read(gallery.PATH)
    pairs = pd.DataFrame({"survey": "Pan-STARRS", "label": 1, "sep_arcsec": 1.2, "delta_mag": 0.7, "snr_1": 80.0,
                          "p": np.arange(40) / 40})  # fmt: skip
    where = f"catalogs/visual_binaries/model={Registry(folder).resolve('visualbinary').id}"
    completeness.write(folder, where, completeness.table(pairs, 0.5))
    score(folder)
    page = folder.read(gallery.PATH).decode()
    assert "How complete" in page and "Per cent of simulated pairs that are found" in page


def test_what_people_say_is_in_the_next_one(folder):
    review.append(folder, "visual_binaries", [{"item_id": "b", "label": "real", "who": "Ada"}])
    score(folder)
    rows = tables(folder)[0].set_index("source_id")
    assert rows.loc["b", "review_label"] == "real" and rows.loc["b", "reviewed_by"] == "Ada"
    assert pd.isna(rows.loc["a", "review_label"])


def test_a_model_that_is_not_in_production_is_not_published(folder):
    before = folder.read(FILES[0])
    other = toy_visual.save(folder, alias="candidate", seed=1, threshold=0.9)
    assert other != Registry(folder).resolve("visualbinary").id
    notes = score(folder, model="visualbinary@candidate")
    assert any("is not in production" in note for note in notes)
    assert folder.read(FILES[0]) == before


def test_what_is_not_measured_is_counted(folder):
    assert any("3 of 3 sources are not measured" in note and "run measure_stamps" in note for note in score(folder))
    toy_visual.measured(folder, 0, ["a", "b"])
    assert any("1 of 3 sources are not measured" in note for note in score(folder))
    toy_visual.measured(folder, 1, ["c"])
    assert not any("not measured" in note for note in score(folder))


def test_what_is_stale_is_left_out_and_named(folder):
    manifest.discard(folder, layout.STACK, "stacks/pan-starrs/part-00000")
    toy_visual.stacked(folder, "pan-starrs", 0, {"a": 1, "b": 1, "c": 2})
    entry = Registry(folder).resolve("visualbinary")
    assert any("left out, stale" in note for note in catalogue(folder, entry, SETTINGS))
    assert len(tables(folder)[0]) == 0


def test_the_card_means_the_same_to_who_judges_and_to_the_catalogue():
    rng = np.random.default_rng(2)
    shares = rng.dirichlet(np.ones(8) * 5)
    card = {"standing": {"every": {"scale": 1.2, "offset": -0.1}, "surveys": {"HST": {"scale": 0.7, "offset": 0.3}},
                         "shares": shares.tolist(), "threshold": 0.8, "prior": 0.09}}  # fmt: skip
    logits, surveys = rng.normal(0, 1, (40, 9)), np.array(["HST", "SDSS"] * 20)
    judged = VisualStanding.of(card, "card.json")
    own = Fusion.of(card, "card.json")
    evidence = judged.evidence({"survey": surveys} | read(logits))
    np.testing.assert_allclose(own.log_ratios(logits, surveys), evidence, rtol=1e-9, atol=1e-9)
    two = np.repeat(np.arange(20), 2)
    np.testing.assert_allclose(fused(own.together(evidence, two, 20), shares), judged.odds(evidence, two), rtol=1e-9)
