"""On real alerts braai's published weights are ZTF's own score, whatever is in the cutouts."""

import numpy as np
import pytest

from models.alert_judgement import judge_alerts, witnessed
from models.braai import published_input
from models.examinees import published


@pytest.fixture(scope="module")
def judged(shared_data):
    """Return the alerts as the published weights score them, why some have no score, and the verdict."""
    weights, alerts = shared_data / "braai" / "d6_m7.weights.h5", shared_data / "alerts" / "ztf_alerts_triplets.parquet"
    for path in (weights, alerts):
        if not path.is_file():
            pytest.skip(f"{path}: not here")
    model = published(weights)
    table, refused = witnessed([alerts], [model])
    return table, refused, judge_alerts(table, model)


def test_drb_is_this_network_to_a_hundred_thousandth(judged):
    agreement = judged[2]["agreement"]
    assert agreement["alerts"] > 500
    assert agreement["largest_difference"] <= 1e-5
    assert agreement["same_side_of_half"] == 1


def test_independently_real_alerts_are_hardly_missed(judged):
    missed = judged[2]["missed"]
    assert missed["or with a counterpart"]["alerts"] == pytest.approx(203, abs=6)
    assert missed["or with a counterpart"]["missed_at_0.5"] <= 2
    assert missed["independently real"]["fnr_at_0.5_interval"][1] < 0.03
    kinds = ("solar_system", "tns", "variable")
    assert sum(missed[kind]["alerts"] for kind in kinds) == missed["independently real"]["alerts"]


def test_every_alert_is_scored_or_has_a_reason(judged):
    table, refused, told = judged
    assert len(table) + sum(refused.values()) == 757 and told["unscored"] == 0
    assert sum(refused.values()) == 5
    assert "reviewed" not in told


def test_a_pixel_beyond_single_precision_voids_its_row():
    pixels = np.ones((1, 63, 63, 3), np.float32)
    pixels[0, 5, 7, 1] = np.finfo(np.float32).min
    seen = published_input(pixels)
    assert not seen[0, 1, 5].any() and seen[0, 1, 6] == pytest.approx(np.full(63, 63**-0.5))
    assert not published_input(pixels, "frobenius")[0, 1].any()
