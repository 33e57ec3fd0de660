"""Light to be put in: spread evenly, where it says it is, the same whenever it is drawn."""

import numpy as np
import pytest

from pipeline.simulate.injection import DEPTHS, PERIODS, VARIABLES, draw_injection, draw_variable

TIME = 1400 + np.arange(0, 27, 1 / 720)


@pytest.fixture(scope="module")
def drawn():
    return [draw_injection(number, 5) for number in range(60)]


def test_periods_and_depths_are_spread_evenly_over_their_logarithms(drawn):
    for values, limits in (([one.period for one in drawn], PERIODS), ([one.depth for one in drawn], DEPTHS)):
        thirds = np.histogram(np.log(values), np.linspace(*np.log(limits), 4))[0]
        assert thirds.sum() >= 57 and thirds.min() >= 10
    assert {one.klass for one in drawn} == {"EA", "EB", "EW"}
    assert all(one.klass == "EA" for one in drawn if one.period > 25)


def test_the_light_is_as_deep_and_at_the_times_it_says(drawn):
    for one in drawn:
        middles = one.t0 + one.period * np.arange(2000)
        middles = middles[middles > TIME[0]][:20]
        light = one.flux(np.sort(np.r_[middles, TIME]), 0.0)
        assert light.max() < 1 + 0.1 * one.share + 1e-9  # spots and pulsation are its own
        depth = 1 - np.interp(middles, np.sort(np.r_[middles, TIME]), light)
        assert np.median(depth) == pytest.approx(one.depth, abs=0.3 * one.depth + 0.1 * one.share)


def test_exposures_are_averaged(drawn):
    shallow = [np.ptp(one.flux(TIME, 1800 / 86400)) / np.ptp(one.flux(TIME, 120 / 86400)) for one in drawn]
    assert max(shallow) < 1.01 and min(shallow) < 0.95


def test_eclipses_in_gaps_do_not_count(drawn):
    one = next(one for one in drawn if 1 < one.period < 4 and one.klass == "EA" and one.depth_2 > 0)
    count, signal = one.eclipses(TIME)
    assert abs(count - 2 * 27 / one.period) <= 2
    half, less = one.eclipses(TIME[TIME - TIME[0] < 13.5])
    assert half < count and signal > less > 0
    assert one.eclipses(np.empty(0)) == (0, 0.0)
    turns = (TIME - one.t0) / one.period
    beside = np.minimum(*(np.abs(x - np.round(x)) for x in (turns, turns - one.phase_2)))
    assert one.eclipses(TIME[beside * one.period > max(one.duration_1, one.duration_2)]) == (0, 0.0)


def test_the_same_number_gives_the_same_light():
    for draw in (draw_injection, draw_variable):
        first, again, other = draw(3, 5), draw(3, 5), draw(4, 5)
        np.testing.assert_array_equal(first.flux(TIME, 0.02), again.flux(TIME, 0.02))
        assert first.period == again.period != other.period


def test_variables_never_eclipse():
    found = [draw_variable(number, 5) for number in range(40)]
    assert {one.kind for one in found} == set(VARIABLES)
    assert all(one.klass == "" and one.eclipses(TIME) == (0, 0.0) for one in found)
