"""Which stars a model is calibrated on, and the figures that say how far its probabilities can be trusted."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from models.calibrate import _fitted, _fresh
from models.trust import check
from pipeline.lightcurves.calibration import Calibration
from pipeline.metrics import calibration_error
from pipeline.settings import CalibrationSettings, TrainingSetSettings
from pipeline.simulate import demo

PRIOR = 0.1

# p is the score of the only segment, moved from even numbers to the prior.
PLAIN = Calibration(
    prior=PRIOR, threshold=0.5, low_threshold=0.05, intercept=0, slope=1, constant=float(logit(PRIOR)), mean=1,
    mean_log=0, top=0, top_log=0, number=0,
)  # fmt: skip


def stars(rng, count, first=0, sectors=1, bias=0.0):
    """Return segments whose scores are right but for `bias`, in log-odds; half of the stars are binaries."""
    truth = rng.random(count) < 0.5
    # the likelihood ratio of two normal distributions 4 apart
    odds = 4 * rng.normal(np.where(truth, 2, -2), 1) + bias
    table = pd.DataFrame({"tic_id": first + np.arange(count), "is_eb": truth, "score": expit(odds)})
    table = table.loc[table.index.repeat(sectors)].assign(segment=0, kind="EA", share=1.0, true_morph=0.3)
    return table.assign(sector=np.tile(np.arange(1, sectors + 1), count)).reset_index(drop=True)


def test_right_probabilities_are_found_right_and_wrong_ones_wrong():
    rng = np.random.default_rng(1)
    halves = [stars(rng, 4000), stars(rng, 4000, first=10_000)]
    found = check([(half, PLAIN) for half in halves])
    assert found["stars"] == 8000 and found["prior"] == PRIOR and found["share"] == pytest.approx(0.5, abs=0.02)
    assert 0.8 < found["brier_skill"] < 1
    mean, low, high = found["ece_of_chance"]
    assert 0 < low < mean < high and found["ece"] < high
    assert found["ece_interval"][0] < found["ece_interval"][1]
    wrong = check([(stars(rng, 8000, bias=1.5), PLAIN)])
    assert wrong["ece"] > 2 * wrong["ece_of_chance"][2] and wrong["ece_interval"][0] > wrong["ece_of_chance"][2]


def test_the_error_is_that_of_the_stars_whose_answer_is_not_clear():
    p = np.r_[np.full(100, 0.01), np.full(100, 0.3), np.full(100, 0.99)]
    truth = np.r_[np.ones(100), np.tile([1.0, 0.0], 50), np.zeros(100)]
    weight = np.ones(300)
    assert calibration_error(p, truth, weight) == pytest.approx(0.2)
    assert calibration_error(p, truth, np.where(truth == 1, 3 / 7, 1.0)) == pytest.approx(0.0, abs=1e-12)
    assert calibration_error(p[:100], truth[:100], weight[:100]) == 0


def test_precision_and_false_rows_follow_the_share_of_binaries():
    rng = np.random.default_rng(2)
    tiers = check([(stars(rng, 6000), PLAIN)])["by_prevalence"]
    for tier in tiers.values():
        false, right = tier["false_alarm_rate"], tier["recall"]
        for share in (0.5, 0.028, 0.01):
            row = tier[f"{share:g}"]
            assert row["precision"] == pytest.approx(share * right / (share * right + (1 - share) * false))
            assert row["false_rows_a_sector"] == pytest.approx(20_000 * (1 - share) * false)
            assert row["precision_interval"][0] <= row["precision"] <= row["precision_interval"][1]
            assert row["false_rows_interval"][0] <= row["false_rows_a_sector"] <= row["false_rows_interval"][1]
    assert tiers["high"]["false_alarm_rate"] < tiers["high or low"]["false_alarm_rate"]
    assert tiers["high"]["recall"] < tiers["high or low"]["recall"]


def test_stars_seen_often_are_compared_with_themselves():
    rng = np.random.default_rng(3)
    segments = pd.concat([stars(rng, 300), stars(rng, 200, first=10_000, sectors=12)], ignore_index=True)
    found = check([(segments, PLAIN)])["by_sectors"]
    assert list(found) == ["1, all stars", "1", "3", "10"]
    assert found["1, all stars"]["others"] + found["1, all stars"]["binaries"] == 500
    assert {name: row["others"] + row["binaries"] for name, row in found.items() if " " not in name} == {
        "1": 200, "3": 200, "10": 200
    }  # fmt: skip
    # every sector says the same of these stars, and the mean of it is what counts
    assert found["1"] == found["3"] == found["10"]
    row = found["10"]
    assert row["false_alarm_interval"][0] <= row["false_alarms"] / row["others"] <= row["false_alarm_interval"][1]
    assert row["found_interval"][0] <= row["found"] / row["binaries"] <= row["found_interval"][1]


@pytest.mark.parametrize("seed", [7, demo.SEED - 1, demo.SEED - 2, 998, 999])
def test_stars_made_for_it_are_nobody_elses(workspace, seed):
    known = TrainingSetSettings(seed=seed, stars=256)
    many, once = _fresh(workspace, known, CalibrationSettings(stars=32, sectors=30, once=500))
    seeds = {many.settings.seed, once.settings.seed, seed, demo.SEED}
    assert len(seeds) == 4 and max(seeds) < 1000
    assert (many.settings.stars, many.settings.sectors) == (32, 30)
    assert (once.settings.stars, once.settings.sectors) == (500, 1)
    assert len(_fresh(workspace, known, CalibrationSettings(once=0))) == 1


def kinds(rng, count, first=0):
    """Return segments like `stars`, of binaries of three kinds; the network calls every second EA an EB."""
    table = stars(rng, count, first)
    kind = np.where(table["is_eb"], rng.choice(["EA", "EB", "EW"], count), rng.choice(["ELL", "ROT"], count))
    morph = pd.Series(kind).map({"EA": 0.3, "EB": 0.6, "EW": 0.8}).to_numpy() + rng.normal(0, 0.02, count)
    x = pd.Series(kind).map({"EA": 0.0, "EB": 3.0, "EW": 6.0}).fillna(0.0).to_numpy() + rng.normal(0, 1, count)
    shares = np.exp(-0.5 * (x[:, None] - [0.0, 3.0, 6.0]) ** 2) * [1, 100, 1]
    names, told = ["p_ea", "p_beta", "p_ew"], table["score"].to_numpy()
    table[names] = told[:, None] * shares / shares.sum(axis=1, keepdims=True)
    ell = np.where(kind == "ELL", 0.9, 0.1) * (1 - told)
    return table.assign(kind=kind, p_ell=ell, morph=morph, morph_err=0.02, true_morph=morph + 0.05)


def test_kinds_are_told_apart_by_what_held_out_stars_say():
    rng = np.random.default_rng(5)
    learnt, judged = kinds(rng, 4000), kinds(rng, 4000, first=10_000)
    fitted = _fitted(learnt, PRIOR, 0.9, 0.5)
    assert fitted.kind_offsets[1] == pytest.approx(-np.log(100), abs=0.5)
    before = check([(judged, fitted.model_copy(update={"kind_offsets": (0.0, 0.0, 0.0), "kind_slope": 1.0}))])
    after = check([(judged, fitted)])
    assert after["classes_of_binaries"]["balanced_accuracy"] > before["classes_of_binaries"]["balanced_accuracy"] + 0.1
    # Two Gaussians 3 apart overlap so much: 0.933 of one are nearer to its middle, of the one in between 0.866.
    assert after["classes_of_binaries"]["balanced_accuracy"] == pytest.approx(0.911, abs=0.02)
    assert sum(after["classes"]["matrix"][3]) == (judged["kind"] == "ELL").sum()
    assert after["morph"]["mae"] == pytest.approx(0.05) and after["morph"]["spearman"] == pytest.approx(1)
    assert "classes" not in check([(judged.drop(columns=["p_ea", "p_beta", "p_ew", "p_ell"]), PLAIN)])
