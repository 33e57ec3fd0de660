"""Many segments make one probability: calibrated, monotone, in any order, and no star is damned by being seen often."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.special import expit, logit

from pipeline.lightcurves.evidence import Calibration, evidence, fit, recalibrate
from pipeline.metrics import combine_scores

PRIOR = 0.1


def stars(rng, count, is_eb, first=0, n=None, heavy=False):
    """Return segments of stars whose scores err together; a third of the binaries show an eclipse now and then."""
    frames = []
    for number in range(count):
        size = int(rng.integers(1, 61)) if n is None else n
        noise = 1.2 * rng.standard_t(3, size) if heavy else rng.normal(0, 1.5, size)
        odds = rng.normal(-3, 1) + noise
        if is_eb:
            seen = rng.random(size) < (0.25 if number % 3 == 0 else 1)
            odds = np.where(seen, rng.normal(3, 2) + rng.normal(0, 1.5, size), odds)
        columns = {"tic_id": first + number, "segment": np.arange(size), "score": expit(odds), "is_eb": is_eb}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module", params=[False, True], ids=["normal", "heavy tails"])
def fitted(request):
    rng = np.random.default_rng(1)
    heavy = request.param
    known = pd.concat([stars(rng, 1200, True, heavy=heavy), stars(rng, 2500, False, 10_000, heavy=heavy)])
    return fit(known, PRIOR), heavy


def found(calibration, segments, tier="high"):
    return float((evidence(segments, calibration)["tier"] == tier).mean())


def test_stars_seen_often_are_no_more_false_alarms_and_no_less_found(fitted):
    calibration, heavy = fitted
    rng = np.random.default_rng(2)
    false = {n: found(calibration, stars(rng, 3000, False, n=n, heavy=heavy)) for n in (1, 3, 10, 30, 60)}
    right = {n: found(calibration, stars(rng, 800, True, n=n, heavy=heavy)) for n in (1, 3, 10, 30, 60)}
    assert 0 < false[1] < 0.03
    assert all(false[n] <= 1.5 * false[1] for n in false)
    rates = list(right.values())
    assert all(after >= before - 0.03 for before, after in pairwise(rates)), rates


def test_probabilities_are_calibrated_at_the_prior(fitted):
    calibration, heavy = fitted
    rng = np.random.default_rng(3)
    others = evidence(stars(rng, 4500, False, heavy=heavy), calibration)["p_eb"]
    binaries = evidence(stars(rng, 500, True, heavy=heavy), calibration)["p_eb"]
    p, truth = np.r_[others, binaries], np.r_[np.zeros(4500), np.ones(500)]
    bins = np.digitize(p, [0.05, 0.2, 0.5, 0.8])
    for index in np.unique(bins):
        inside = bins == index
        # by chance in these stars, and in the 2,500 others that it was fitted to
        error = np.sqrt(p[inside].mean() * (1 - p[inside].mean()) / inside.sum() * (1 + 4500 / 2500))
        assert abs(p[inside].mean() - truth[inside].mean()) < 0.02 + 2 * error
    assert truth[p >= calibration.threshold].mean() > 0.8
    assert set(evidence(stars(rng, 5, True), calibration)["p_prior"]) == {PRIOR}


def test_the_threshold_gives_the_precision_wanted_with_confidence():
    rng = np.random.default_rng(12)
    others, binaries = stars(rng, 8000, False, 10_000, n=2), stars(rng, 1000, True, n=2)
    reached = []
    for seed in range(6):
        known = pd.concat([stars(np.random.default_rng(20 + seed), 300, True, n=2),
                           stars(np.random.default_rng(40 + seed), 600, False, 10_000, n=2)])  # fmt: skip
        calibration = fit(known, PRIOR)
        false, right = found(calibration, others), found(calibration, binaries)
        reached.append(PRIOR * right / (PRIOR * right + (1 - PRIOR) * false))
    assert min(reached) > 0.87 and np.mean(np.array(reached) >= 0.9) >= 0.8


def test_p_rises_with_every_segments_score(fitted):
    calibration, _ = fitted
    rng = np.random.default_rng(4)
    for size in (1, 2, 7, 60):
        scores = rng.random(size)
        base = evidence(pd.DataFrame({"tic_id": 1, "score": scores}), calibration)["p_eb"][0]
        for place in range(min(size, 5)):
            more = scores.copy()
            more[place] = expit(logit(more[place]) + 1)
            assert evidence(pd.DataFrame({"tic_id": 1, "score": more}), calibration)["p_eb"][0] > base


def test_one_certain_segment_of_many_is_enough():
    rng = np.random.default_rng(5)
    known = pd.concat([stars(rng, 600, True), stars(rng, 1200, False, 10_000)])
    calibration = fit(known, PRIOR)
    scores = np.r_[np.full(29, 0.03), 0.9999]
    p = evidence(pd.DataFrame({"tic_id": 1, "score": scores}), calibration)["p_eb"][0]
    assert p > calibration.threshold
    assert evidence(pd.DataFrame({"tic_id": 1, "score": scores[:-1]}), calibration)["p_eb"][0] < 0.02


def test_order_of_segments_changes_no_bit(fitted):
    calibration, heavy = fitted
    rng = np.random.default_rng(6)
    segments = stars(rng, 40, True, heavy=heavy)
    segments = segments.assign(sector=segments["segment"] // 2, cadence_s=120.0, **shapes(rng, segments["score"]))
    again = segments.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(evidence(segments, calibration), evidence(again, calibration), check_exact=True)


def shapes(rng, score):
    shares = rng.dirichlet(np.ones(3), len(score))
    columns = {name: score * shares[:, k] for k, name in enumerate(("p_ea", "p_beta", "p_ew"))}
    columns |= {"p_ell": (1 - score) * rng.random(len(score))}
    return columns | {"morph": rng.random(len(score)), "morph_err": rng.uniform(0.02, 0.2, len(score))}


def test_classes_share_out_the_probability():
    rng = np.random.default_rng(7)
    segments = stars(rng, 30, True)
    segments = segments.assign(**shapes(rng, segments["score"]))
    made = evidence(segments, None)
    assert np.allclose(made[["p_ea", "p_beta", "p_ew"]].sum(axis=1), made["p_eb"], rtol=0, atol=1e-15)
    assert (made["p_eb"] + made["p_ell"] <= 1 + 1e-12).all() and (made["p_ell"] >= 0).all()
    eclipse = pd.DataFrame({"tic_id": 1, "score": [0.9, 0.1], "p_ea": [0.9, 0.0], "p_beta": 0.0, "p_ew": [0.0, 0.1]})
    (star,) = evidence(eclipse.assign(p_ell=0.0, morph=[0.2, 0.8], morph_err=0.01), None).itertuples()
    assert star.p_ea == pytest.approx(0.9 * star.p_eb) and star.morph == pytest.approx(0.26)


def test_the_error_of_morph_is_no_less_than_the_scatter():
    rng = np.random.default_rng(8)
    columns = {"tic_id": np.repeat(np.arange(400), 25), "score": 0.99, "morph_err": 0.001}
    segments = pd.DataFrame(columns).assign(morph=0.5 + rng.normal(0, 0.05, 10_000))
    made = evidence(segments, None)
    assert np.median(made["morph_err"]) == pytest.approx(0.05 / 5, rel=0.1)
    calm = evidence(segments.assign(morph=0.5, morph_err=0.05), None)
    assert calm["morph_err"].to_numpy() == pytest.approx(0.05 / np.sqrt(25 * 0.99))


def test_a_model_without_calibration_is_combined_as_before():
    segments = stars(np.random.default_rng(9), 50, True)
    made = evidence(segments, None)
    assert np.allclose(made["p_eb"], combine_scores(segments["tic_id"], segments["score"])[1], rtol=1e-12)
    assert made[["p_prior", "p_ea", "p_ell", "morph", "morph_err"]].isna().all(axis=None)
    assert set(made["tier"]) <= {"high", "none"}
    assert evidence(segments[:0], None).empty


def test_recalibration_is_bayes_and_reversible():
    p = np.array([0.0, 0.01, 0.5, 0.99, 1.0])
    moved = recalibrate(p, 0.5, 0.01)
    assert moved[2] == pytest.approx(0.01) and moved[0] == 0 and moved[4] == 1 and (moved[1:4] < p[1:4]).all()
    assert recalibrate(moved, 0.01, 0.5) == pytest.approx(p)


def test_a_calibration_travels_as_json_and_refuses_what_is_not_one():
    values = dict.fromkeys(("intercept", "constant"), -1.5) | dict.fromkeys(
        ("slope", "mean", "mean_log", "top", "top_log"), 0.7
    )
    made = Calibration(prior=0.03, threshold=0.6, low_threshold=0.2, number=-0.1, **values)
    assert Calibration.model_validate_json(made.model_dump_json()) == made
    with pytest.raises(ValidationError):
        Calibration(**(made.model_dump() | {"top": -0.1}))
    with pytest.raises(ValidationError, match="one more"):
        Calibration(**(made.model_dump() | {"knots": (1.0,)}))
    with pytest.raises(ValueError, match="all stars are of one kind"):
        fit(pd.DataFrame({"tic_id": [1, 2], "score": [0.1, 0.2], "is_eb": [True, True]}), 0.1)
