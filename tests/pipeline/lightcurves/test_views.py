"""Folded views of a segment: what stands where, and that nothing in them can be other than finite."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lightcurves.views import FACTS, PHASES, VIEWS, fold, views

RNG = np.random.default_rng(5)
CADENCE = 10 / 1440


def times(span: float = 12.0, cadence: float = CADENCE) -> np.ndarray:
    time = np.arange(0, span, cadence) + 1325.0
    return time[(time < 1330.0) | (time > 1330.4)]


def fact(found: np.ndarray, name: str) -> float:
    return float(found[FACTS.index(name)])


def test_fold_is_the_mean_and_scatter_of_each_bin():
    time, flux = times(), RNG.normal(size=times().size)
    mean, scatter = fold(time, flux, 0.7, 1325.1, 32)
    number = np.floor(((time - 1325.1) / 0.7) % 1 * 32).astype(int)
    expected = [flux[number == k] for k in range(32)]
    np.testing.assert_allclose(mean, [part.mean() for part in expected], atol=1e-12)
    np.testing.assert_allclose(scatter, [part.std() for part in expected], atol=1e-9)


def test_empty_bins_lie_on_the_line_around_the_circle():
    mean, _ = fold(np.array([0.05, 0.55]), np.array([1.0, 3.0]), 1.0, 0.0, 10)
    np.testing.assert_allclose(mean, [1.0, 1.4, 1.8, 2.2, 2.6, 3.0, 2.6, 2.2, 1.8, 1.4])


@pytest.mark.parametrize("cadence", [CADENCE, 30 / 1440])
def test_the_box_view_shows_narrow_eclipses_lost_in_the_noise(cadence):
    time = times(25.0, cadence)
    flux = RNG.normal(scale=0.002, size=time.size)
    flux[np.abs((time - 1326.0 + 1.5) % 3.0 - 1.5) < 0.08] -= 0.004
    seen = views(time, flux, cadence, 8.0, 0.01)
    assert 10 ** fact(seen.facts, "log_box_period") == pytest.approx(3.0, rel=5e-3)
    assert 10 ** fact(seen.facts, "log_box_depth") == pytest.approx(0.004, rel=0.25)
    assert fact(seen.facts, "log_box_snr") > 1
    dip = seen.folded[VIEWS.index("box_mean")]
    assert abs(int(dip.argmin()) - PHASES // 4) <= 4


def test_the_sine_view_shows_both_minima_of_a_binary_whose_sine_has_half_the_period():
    time = times()
    phase = (time - 1325.2) / 0.8
    flux = -0.1 * np.cos(4 * np.pi * phase) - 0.02 * np.cos(2 * np.pi * phase)
    seen = views(time, flux, CADENCE, 0.4, 0.9)
    mean = seen.folded[VIEWS.index("sine_mean")]
    assert mean.argmin() == PHASES // 4 and mean.max() == 1 and mean.min() == 0
    other = mean[PHASES // 2 + PHASES // 4 - 8 : PHASES // 2 + PHASES // 4 + 8].min()
    assert other == pytest.approx(0.04 / 0.24, abs=0.02)
    assert 10 ** fact(seen.facts, "log_sine_range") == pytest.approx(0.22, rel=0.05)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-1e12, 1e12), min_size=20, max_size=60), st.floats(0.05, 0.75), st.booleans())
def test_whatever_comes_the_views_are_finite(flux, step, constant):
    time = np.arange(len(flux)) * step
    values = np.zeros(len(flux)) if constant else np.array(flux)
    seen = views(time, values, step, np.nan, 0.0)
    assert seen.folded.shape == (len(VIEWS), PHASES) and np.isfinite(seen.folded).all()
    assert seen.facts.shape == (len(FACTS),) and np.isfinite(seen.facts).all()
