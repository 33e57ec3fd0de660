"""The spline against scipy's, bin means, and what counts as a spike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline, make_interp_spline

from pipeline.lightcurves.resample import bin_means, spikes, spline


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 400), samples=st.integers(2, 900))
def test_spline_is_scipys(seed, n, samples):
    rng = np.random.default_rng(seed)
    time, flux = np.cumsum(rng.uniform(0.05, 1, n)) + 1325, rng.normal(size=n)
    grid = np.linspace(0, 1, samples)
    x = (time - time[0]) / (time[-1] - time[0])
    expected = CubicSpline(x, flux)(grid)
    tolerance = 1e-9 * np.ptp(expected) + 1e-12
    np.testing.assert_allclose(spline(time, flux, samples), expected, atol=tolerance)
    np.testing.assert_allclose(expected, make_interp_spline(x, flux, k=3)(grid), atol=1e3 * tolerance)


def test_spline_on_real_segments(real):
    for curve in real:
        good = (curve["quality"] == 0) & np.isfinite(curve["time"]) & np.isfinite(curve["flux"])
        time, flux = curve["time"][good].astype(float), curve["flux"][good].astype(float)
        x = (time - time[0]) / (time[-1] - time[0])
        expected = CubicSpline(x, flux)(np.linspace(0, 1, 4000))
        assert np.abs(spline(time, flux, 4000) - expected).max() < 1e-9 * np.ptp(expected)


def test_bin_means():
    time = np.array([0.0, 0.2, 1.0, 4.0, 8.0])
    mean = bin_means(time, np.array([1.0, 3, 5, 2, 6]), np.array([1.0, 3, 1, 1, 1]), 9)
    # two samples share the first bin; lines fill the empty ones
    assert mean == pytest.approx([2.5, 5, 4, 3, 2, 3, 4, 5, 6])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 500))
def test_bin_means_stay_within_the_data(seed, n):
    rng = np.random.default_rng(seed)
    time, flux = np.cumsum(rng.exponential(1, n) + 1e-6), rng.normal(size=n)
    mean = bin_means(time, flux, rng.uniform(0.1, 1, n), 400)
    assert flux.min() - 1e-12 <= mean.min() <= mean.max() <= flux.max() + 1e-12


def test_spikes_are_upward_short_and_rare(times, rng):
    time = times(9000)
    noise = 1e-3 * rng.normal(size=time.size)
    eclipse = 0.3 * np.exp(-0.5 * (((time % 0.9) - 0.45) / 0.02) ** 2)
    flux = 1 + noise - eclipse
    assert spikes(flux).sum() <= 1
    hit = [1000, 4000, 4001, 7000]
    flux[hit] += 0.05
    assert set(hit) <= set(np.flatnonzero(spikes(flux)))
    assert not spikes(1 + noise - 0.05 * np.isin(np.arange(time.size), hit)).any()


@pytest.mark.parametrize("cadence_s", [120, 1800])
@pytest.mark.parametrize("period", [0.06, 0.25, 0.56])
def test_pulsators_keep_their_maxima(times, rng, cadence_s, period):
    time = times(9000 if cadence_s == 120 else 620, cadence_s)
    phase = time / period % 1
    sawtooth = np.where(phase < 0.15, phase / 0.15, (1 - phase) / 0.85)  # a sharp rise, as RR Lyrae's
    for shape in (np.cos(2 * np.pi * phase), sawtooth):
        assert not spikes(1 + 0.3 * shape + 1e-4 * rng.normal(size=time.size)).any()
