import numpy as np
import pytest

from pipeline.metrics import combine_scores, wilson


def test_wilson_interval_is_the_published_one():
    # Brown, Cai & DasGupta 2001; the values are statsmodels' proportion_confint(method="wilson").
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_star_scores_the_mean_log_odds_of_its_segments():
    stars, scores = combine_scores([1, 1, 2, 5], [0.9, 0.1, 1.0, 0.25])
    assert stars.tolist() == [1, 2, 5] and scores == pytest.approx([0.5, 1 - 1e-7, 0.25])
    assert combine_scores([], [])[0].size == 0
    many = combine_scores(np.zeros(30, int), np.full(30, 0.6))[1]
    assert many == pytest.approx([0.6])
