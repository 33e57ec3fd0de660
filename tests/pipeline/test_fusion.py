import numpy as np
import pytest
from scipy.special import expit, logit

from pipeline.errors import CorruptModel
from pipeline.fusion import Curve, Fusion, fused, separation

EDGES = [0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.4, 1.9, 2.5]
EVEN = np.full(8, 1 / 8)
REST = {"every": {"scale": 1, "offset": 0}, "shares": EVEN.tolist(), "threshold": 0.6, "prior": 0.09}


def fusion(**more):
    return Fusion.model_validate(REST | more)


def together(*ratios, able=None):
    """Return the odds of one source that these are the evidence of."""
    return fusion().odds(np.array(ratios), np.zeros(len(ratios), int), able)[0]


def test_one_survey_at_its_training_shares_gives_back_what_its_network_says():
    logits = np.array([[0.3, -1, 0.5, 2, 0, 0.1, -2, 1, 0.4], [4.0, 0, 0, 0, 0, 0, 0, 0, 0]])
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    odds = fusion().odds(fusion().log_ratios(logits, ["", ""]))
    np.testing.assert_allclose(expit(odds), 1 - softmax[:, 0], rtol=1e-9)


def test_surveys_multiply_bin_by_bin_and_a_blind_one_says_nothing():
    sees = np.array([-3.0, -3, -2, 1, 4, 4, 4, 4])
    close = np.array([3.0, 3, 2, -4, -4, -4, -4, -4])
    both = together(sees, close)
    one, other = (np.log(np.exp(ratios).mean()) for ratios in (sees, close))
    alike = max((one + other) ** 2 / (0.1 + one**2 + other**2), 1)
    assert both == pytest.approx(np.log(np.exp((sees + close) / alike**0.5).mean()))
    assert both < 0  # they contradict each other: no bin suits both
    assert together(close, np.zeros(8)) == pytest.approx(together(close))


def test_surveys_that_say_the_same_count_as_the_root_of_their_number():
    sure = np.full(8, 3.0)
    assert together(sure) == pytest.approx(3)
    assert together(sure, sure) == pytest.approx(3 * 2**0.5, rel=0.01)
    assert together(*[-sure] * 3) == pytest.approx(-3 * 3**0.5, rel=0.01)
    # Of one that says half as much: n = (3 + 1.5)² / (0.1 + 3² + 1.5²).
    assert together(sure, sure / 2) == pytest.approx(4.5 * (11.35 / 20.25) ** 0.5)
    assert together(sure / 30, sure / 30) == pytest.approx(0.2)  # of what says next to nothing the sum
    assert together(sure, -sure / 3) == pytest.approx(2)  # one that differs says something of its own


def test_a_survey_that_is_not_able_never_counts():
    sure = np.full(8, 9.0)
    assert np.isnan(together(sure, able=[False]))
    assert together(sure, -sure, able=[False, True]) == pytest.approx(-9)
    assert together(sure, np.full(8, np.nan)) == pytest.approx(9)


def test_the_order_of_surveys_does_not_matter_beyond_the_last_bit():
    ratios = np.random.default_rng(1).normal(0, 3, (5, 8))
    assert together(*ratios) == pytest.approx(together(*ratios[::-1]))


def test_calibration_of_a_survey_and_limit():
    logits = np.zeros((3, 9))
    logits[:, 3:] = 4.0
    own = {"SDSS": {"scale": 0.5, "offset": -1}}
    one = fusion(surveys=own)
    ratios = one.log_ratios(logits, ["Pan-STARRS", "SDSS", "SDSS"])
    raw = np.log(2 + 6 * np.exp(4))
    np.testing.assert_allclose(fused(ratios, EVEN), [raw, 0.5 * raw - 1, 0.5 * raw - 1])
    assert ratios[0, 7] - ratios[0, 0] == pytest.approx(4) and ratios[1, 7] - ratios[1, 0] == pytest.approx(2)
    limited = [fusion(limit=1.5).log_ratios(logits * factor, [""] * 3)[0] for factor in (1, 2)]
    low, high = fused(limited, EVEN)
    assert 1.5 < low < high < 2.5
    assert limited[0][7] - limited[0][0] == pytest.approx(4)  # of which bin, it says as before
    assert np.isnan(fusion().log_ratios(np.full((1, 9), np.nan), [""])).all()


def test_a_network_without_bins_says_the_same_of_all():
    ratios = fusion(surveys={"SDSS": {"scale": 2, "offset": 1}}).log_ratios([[0.0, 1.5]], ["SDSS"])
    np.testing.assert_allclose(ratios, np.full((1, 8), 4.0))


def test_separation_is_the_median_of_the_bins():
    sharp = np.full((3, 8), -30.0)
    sharp[0, 4] = sharp[1, 0] = sharp[2, 7] = 0
    np.testing.assert_allclose(separation(sharp, EVEN, EDGES), [0.85, 0.15, 2.2], atol=1e-6)
    assert separation(np.zeros((1, 8)), EVEN, EDGES)[0] == pytest.approx(0.7)


def test_threshold_by_a_measured_curve_and_without():
    rng = np.random.default_rng(0)
    label = rng.random(60_000) < 0.5
    p = expit(rng.normal(np.where(label, 3, -3), 2.4))
    one = fusion(curve=Curve.of(label, p))
    low, high = one.chosen(0.5, 0.9), one.chosen(0.09, 0.9)
    assert low < high
    found, false = one.curve.rates(high)
    assert found == pytest.approx((p[label] >= high).mean(), abs=2e-3)
    assert 0.9 <= 0.09 * found / (0.09 * found + 0.91 * false) < 0.92
    assert fusion(threshold=0.7).chosen(0.09, 0.9) == pytest.approx(expit(logit(0.7) - logit(0.09)))
    assert fusion(threshold=0.7).chosen(0.2, 0.9) == pytest.approx(expit(logit(0.9) - logit(0.2)))
    often = np.arange(len(p)) % 3 + 1
    counted, repeated = Curve.of(label, p, often), Curve.of(np.repeat(label, often), np.repeat(p, often))
    for at in (0.2, 0.5, 0.9):
        np.testing.assert_allclose(counted.rates(at)[0], repeated.rates(at)[0], atol=0.02)


def test_no_false_one_among_nine_is_not_none_at_all():
    curve = Curve.of([True] * 9 + [False] * 9, np.linspace(1, 0.01, 18))
    assert curve.rates(0.9)[1] == pytest.approx(0.1)
    assert fusion(curve=curve).chosen(0.5, 0.999) == pytest.approx(0.999)  # none of it is so precise


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({}, "standing"),
        ({"standing": {"shares": [0.4] * 8}}, "every"),
        ({"standing": REST | {"shares": [0.4] * 8}}, "add up to 1"),
        ({"standing": REST | {"shares": [1.0]}}, "1 bins"),
        ({"standing": REST | {"every": {"scale": 0, "offset": 0}}}, "greater than 0"),
    ],
)
def test_a_card_that_does_not_say_it_is_named(card, says):
    with pytest.raises(CorruptModel, match=says) as error:
        Fusion.of(card, "models/x/card.json")
    assert "models/x/card.json" in str(error.value)


def test_of_pairs_that_a_survey_cannot_see_it_says_nothing():
    blind = {"scale": 1, "offset": 0, "taught": [1e-3, *[0.999 / 7] * 7], "seen": [0.0, *[1.0] * 7]}
    one = fusion(surveys={"ZTF": blind})
    close = np.array([[0.0, 8, 0, 0, 0, 0, 0, 0, 0]])
    denied = np.array([[6.0, -9, 0, 0, 0, 0, 0, 0, 0]])
    ratios = one.log_ratios(np.concatenate([close, denied]), ["HST", "ZTF"])
    assert ratios[1, 0] == pytest.approx(0) and (ratios[1, 1:] < -3).all()
    assert one.odds(ratios, [0, 0])[0] == pytest.approx(one.odds(ratios[:1])[0], abs=0.1)
    with pytest.raises(CorruptModel, match="8 bins"):
        Fusion.of({"standing": REST | {"surveys": {"ZTF": blind | {"seen": [1.0]}}}}, "here")
