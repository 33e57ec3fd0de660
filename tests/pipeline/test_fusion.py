import numpy as np
import pytest
from scipy.special import expit, logit

from pipeline.errors import CorruptModel
from pipeline.fusion import Curve, Fusion, fuse, fused, of_card, separation

EDGES = [0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.4, 1.9, 2.5]
EVEN = np.full(8, 1 / 8)


def fusion(**more):
    return Fusion(**({"shares": [0.5] + [0.5 / 8] * 8, "edges": EDGES, "separations": EVEN.tolist()} | more))


def test_one_survey_at_its_training_shares_gives_back_what_its_network_says():
    logits = np.array([[0.3, -1, 0.5, 2, 0, 0.1, -2, 1, 0.4], [4.0, 0, 0, 0, 0, 0, 0, 0, 0]])
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(fusion().p_double(fusion().log_ratios(logits)), 1 - softmax[:, 0], rtol=1e-9)


def test_surveys_multiply_bin_by_bin_and_a_blind_one_says_nothing():
    sees = np.array([-3.0, -3, -2, 1, 4, 4, 4, 4])
    close = np.array([3.0, 3, 2, -4, -4, -4, -4, -4])
    both = fuse([sees, close], [True, True], EVEN)
    assert both == pytest.approx(np.log(np.exp(sees + close).mean()))
    assert both < 0  # they contradict each other: no bin suits both
    assert fuse([close, np.zeros(8)], [True, True], EVEN) == pytest.approx(fuse([close], [True], EVEN))


def test_a_survey_that_is_not_able_never_counts():
    sure = np.full(8, 9.0)
    assert fuse([sure], [False], EVEN) == pytest.approx(0)
    assert fuse([sure, -sure], [False, True], EVEN) == pytest.approx(-9)
    assert fuse([[sure, np.full(8, np.nan)]], [[True, False]], EVEN)[0] == pytest.approx(9)


def test_the_order_of_surveys_does_not_matter_beyond_the_last_bit():
    ratios = np.random.default_rng(1).normal(0, 3, (5, 8))
    assert fuse(ratios, np.ones(5, bool), EVEN) == pytest.approx(fused(ratios[::-1].sum(0), EVEN))


def test_temperature_shares_and_limit():
    logits = np.zeros((2, 9))
    logits[:, 1:] = 4.0
    ratios = fusion(temperature=2.0, temperatures={"SDSS": 4.0}).log_ratios(logits, ["Pan-STARRS", "SDSS"])
    np.testing.assert_allclose(ratios, np.array([[2.0], [1.0]]) - np.log(1 / 8) * np.ones((2, 8)))
    assert np.abs(fusion(limit=1.5).log_ratios(logits * 100)).max() == 1.5
    assert np.isnan(fusion().log_ratios(np.full((1, 9), np.nan))).all()


def test_separation_is_the_median_of_the_bins():
    sharp = np.full((3, 8), -30.0)
    sharp[0, 4] = sharp[1, 0] = sharp[2, 7] = 0
    np.testing.assert_allclose(separation(sharp, EVEN, EDGES), [0.85, 0.15, 2.2], atol=1e-6)
    assert separation(np.zeros((1, 8)), EVEN, EDGES)[0] == pytest.approx(0.7)


def test_threshold_by_a_measured_curve_and_without():
    p = np.linspace(0.01, 0.99, 99)
    curve = Curve(p=p.tolist(), completeness=(1 - p**4).tolist(), false_positives=((1 - p) ** 3).tolist(),
                  negatives=100_000)  # fmt: skip
    one = fusion(curve=curve)
    low, high = one.threshold(0.5, 0.9), one.threshold(0.09, 0.9)
    assert low < high
    found, false = curve.rates(high)
    assert 0.9 <= 0.09 * found / (0.09 * found + 0.91 * false) < 0.92
    assert fusion().threshold(0.09, 0.9) == pytest.approx(expit(logit(0.9) - logit(0.09)))
    few = curve.model_copy(update={"false_positives": [0.0] * 99, "negatives": 9})
    assert few.rates(0.5)[1] == pytest.approx(0.1)  # nothing seen among nine is not nothing


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({}, "fusion"),
        ({"fusion": {"shares": [0.5, 0.5], "edges": [0.1, 2.5], "separations": [0.4]}}, "add up to 1"),
        ({"fusion": {"shares": [0.5, 0.5], "edges": [2.5, 0.1], "separations": [1.0]}}, "do not increase"),
        ({"fusion": {"shares": [0.5, 0.5], "edges": [0.1, 1, 2.5], "separations": [1.0]}}, "1 bins need 2"),
    ],
)
def test_a_card_that_does_not_say_it_is_named(card, says):
    with pytest.raises(CorruptModel, match=says) as error:
        of_card(card, "models/x/card.json")
    assert "models/x/card.json" in str(error.value)
