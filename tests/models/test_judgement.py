"""Numbers of a verdict, against hands and others' code."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from models.groups import groups
from models.judgement import chosen, compare, judge
from models.judgement_figures import card
from models.rates import Ordered
from models.standing import Standing
from pipeline.errors import UsageError

PLAIN = Standing(scale=1.0, offset=0.0, threshold=0.5, prior=0.5)


def scored(count: int = 2000, seed: int = 0, spread: float = 2.0) -> pd.DataFrame:
    """Return candidates whose logits are the true log-odds."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % 2
    logit = rng.normal((2 * label - 1) * spread**2 / 2, spread)
    return pd.DataFrame({
        "label": label, "logit": logit, "field": [f"f{one}" for one in rng.integers(50, size=count)],
        "snr": rng.uniform(5, 60, count), "filter": rng.choice(["g", "r"], count), "weight": 1.0,
        "kind": np.where(label, rng.choice(["transient", "mover"], count), rng.choice(["hot", "dipole"], count)),
        "environment": np.where(label, rng.choice(["core", "blank"], count), ""), "mjd_mid": 59945.0,
    })  # fmt: skip


def test_ten_candidates_by_hand() -> None:
    label = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 0])
    rows = pd.DataFrame({"label": label, "logit": np.linspace(4, -5, 10), "field": list("aabbccddee")})
    told = judge(rows, PLAIN)
    assert told["confusion"] == [[5, 2], [0, 3]] and told["threshold"] == 0.5  # logits 4, 3, 2, 1, 0
    assert told["precision"] == pytest.approx(3 / 5) and told["recall"] == 1 and told["f1"] == pytest.approx(6 / 8)
    assert told["real_fraction"] == pytest.approx(0.3) and told["fields"] == 5
    assert told["fpr"] == pytest.approx(2 / 7) and told["fnr"] == 0
    assert told["aucpr"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert told["aucpr_half"] == pytest.approx((1 + 1 + 1 / (1 + 1 / 7)) / 3)
    assert told["roc_auc"] == pytest.approx(20 / 21)
    assert told["fpr_at_fnr_1pc"] == pytest.approx(1 / 7) and told["fnr_at_fpr_1pc"] == pytest.approx(1 / 3)
    assert told["precision_at"]["0.01"]["precision"] == pytest.approx(0.01 / (0.01 + 0.99 * 2 / 7))
    low, high = told["precision_at"]["0.0001"]["interval"]
    assert low < told["precision_at"]["0.0001"]["precision"] < high
    assert told["fnr_interval"][1] == pytest.approx(3.8416 / (3 + 3.8416), abs=1e-3)  # Wilson of 0 of 3


def test_areas_with_ties_and_counts_are_those_of_others() -> None:
    rng = np.random.default_rng(1)
    label, score = rng.integers(0, 2, 300), np.round(rng.normal(size=300), 1)
    score = score + np.round(label, 1)
    often = rng.integers(0, 4, 300)
    ordered = Ordered(label, score, np.arange(300).astype(str))
    order = np.argsort(-score, kind="stable")
    assert ordered.rates().aucpr == pytest.approx(average_precision_score(label, score))
    repeated = average_precision_score(np.repeat(label, often), np.repeat(score, often))
    assert ordered.rates(often[order]).aucpr == pytest.approx(repeated)
    balanced = np.where(label, 1 / label.sum(), 1 / (1 - label).sum())
    halved = average_precision_score(label, score, sample_weight=balanced)
    assert ordered.rates().aucpr_half == pytest.approx(halved)


def test_true_probabilities_are_found_calibrated_and_others_are_not() -> None:
    told = judge(scored(), PLAIN)["calibration"]
    assert told["ece_middle"] < told["ece_middle_if_right"] < 0.06
    assert 0.3 < told["brier_skill"] < 0.7 and told["middle"] > 800
    assert all(one["interval"][0] <= one["p"] <= one["interval"][1] for one in told["reliability"][1:-1])
    sure = judge(scored(), Standing(scale=4.0, offset=0.0, threshold=0.5, prior=0.5))["calibration"]
    assert sure["ece"] > 3 * told["ece"] and sure["brier_skill"] < told["brier_skill"]
    rare = scored(8000)  # probabilities hold at half real, however many of each there are
    rare = rare[(rare["label"] == 0) | (np.arange(8000) % 16 == 1)]
    assert judge(rare, PLAIN)["calibration"]["ece"] < 0.06


def test_intervals_widen_where_fields_go_wrong_as_a_whole() -> None:
    rows = scored(4000)
    whole = rows.assign(logit=rows["logit"] + rows["field"].str[1:].astype(int) % 2 * 5 * (rows["label"] == 0))
    wide = judge(whole, PLAIN)
    mixed = judge(whole.assign(field=[f"f{n}" for n in range(4000)]), PLAIN)
    low, high = wide["fpr_at_fnr_1pc_interval"]
    assert low < wide["fpr_at_fnr_1pc"] < high
    assert high - low > 2 * np.ptp(mixed["fpr_at_fnr_1pc_interval"])
    assert judge(rows.assign(field="f"), PLAIN)["aucpr_interval"] is None


def test_groups_set_real_ones_beside_all_bogus_ones() -> None:
    rows = scored()
    found = {(by, name): rows[of] for by, name, of in groups(rows)}
    core = found["environment", "core"]
    assert set(core.loc[core["label"] == 1, "environment"]) == {"core"} and (core["label"] == 0).sum() == 1000
    hot = found["kind", "hot"]
    assert set(hot.loc[hot["label"] == 0, "kind"]) == {"hot"} and (hot["label"] == 1).sum() == 1000
    assert {name for by, name in found if by == "season"} == {"January to March"}
    assert [name for by, name in found if by == "snr"] == ["5 to 7", "7 to 10", "10 to 20", "20 to 50", "50 and more"]
    told = judge(rows, PLAIN)["by"]
    assert told["filter"]["g"]["n"] + told["filter"]["r"]["n"] == 2000
    assert told["kind"]["hot"]["fp"] + told["kind"]["dipole"]["fp"] == judge(rows, PLAIN)["fp"]
    assert 0 < told["filter"]["g"]["fpr_at_fnr_1pc_interval"][0] < told["filter"]["g"]["fpr_at_fnr_1pc"]


def test_the_operating_point_comes_from_other_rows() -> None:
    placed = chosen(scored(seed=3), PLAIN)
    told = judge(scored(seed=4, count=6000), placed)
    assert told["fnr"] == pytest.approx(0.01, abs=0.006) and told["threshold"] == placed.threshold
    with pytest.raises(UsageError, match="no real candidate in the validation fold"):
        chosen(scored().query("label == 0"), PLAIN)


def test_what_has_no_score_or_no_weight_does_not_count() -> None:
    rows = scored()
    rows.loc[:9, "logit"] = np.nan
    rows.loc[10:29, "weight"] = 0
    told = judge(rows, PLAIN)
    assert told["unscored"] == 10 and told["unscored_real"] == 5 and told["n"] == 1975
    real = judge(scored().query("label == 1"), PLAIN)
    assert real["aucpr"] is None and real["fpr"] is None and real["fnr_interval"][1] < 0.3
    assert real["precision_at"]["0.5"]["precision"] is None and real["calibration"]["ece"] is None


def test_models_are_compared_on_the_same_fields() -> None:
    ours = scored(4000)
    worse = ours.assign(logit=ours["logit"] + np.random.default_rng(5).normal(0, 2, 4000))
    told = compare(ours, worse)
    assert told["ratio_interval"][0] < told["ratio"] < told["ratio_interval"][1] < 1
    assert told["ratio"] == pytest.approx(told["fpr"] / told["fpr_theirs"]) and told["aucpr_more_interval"][0] > 0
    same = compare(ours, ours)
    assert same["ratio_interval"] == [1.0, 1.0] and same["aucpr_more"] == 0
    with pytest.raises(UsageError, match="not the same candidates"):
        compare(ours, ours[1:])


def test_a_card_tells_the_verdict_of_the_test_fold_alone() -> None:
    rows = pd.concat([scored(seed=6).assign(fold="validation"), scored(seed=7).assign(fold="test")], ignore_index=True)
    row = {"epoch": 1, "train_loss": 1.0, "validation_loss": 1.0, "train_accuracy": 0.5, "validation_accuracy": 0.5}
    found, files = card([row | {"validation_aucpr": 0.9}], rows)
    told = found["judgement"]["test"]
    assert told["n"] == 2000 and told["threshold"] == found["standing"]["threshold"]
    assert {"loss.png", "rates.png", "reliability.png", "groups.png"} <= set(files)
    assert all(png.startswith(b"\x89PNG") for png in files.values())
    json.dumps(found, allow_nan=False)


def test_real_ones_without_a_score_are_missed() -> None:
    rows = scored(400)
    real, bogus = (np.flatnonzero(rows["label"] == label)[:20] for label in (1, 0))
    whole, torn = judge(rows, PLAIN), rows.copy()
    torn.loc[[*real, *bogus], "logit"] = np.nan
    told = judge(torn, PLAIN)
    assert told["unscored"] == 40 and told["unscored_real"] == 20 and told["n"] == 380
    assert told["fnr"] == pytest.approx((told["confusion"][1][0]) / 200) and told["fnr"] > whole["fnr"] + 0.05
    assert told["fpr_at_fnr_1pc"] == 1.0  # no threshold finds 99% of them
    assert sum(one["n"] for one in told["calibration"]["reliability"]) == 360
    assert compare(torn, rows)["fpr"] == 1.0 and compare(rows, torn)["fpr"] == pytest.approx(
        whole["fpr_at_fnr_1pc"], abs=0.1
    )
