"""Both recipes: the published steps as published, and what the better one keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from pipeline.lightcurves import clean
from pipeline.lightcurves.clean import Flag, expand, prepare
from pipeline.lightcurves.periodogram import PERIODS_CALNET, gls


def eclipses(time, period=2.3, depth=0.2, width=0.05):
    """Unit flux with flat-bottomed dips."""
    phase = np.abs((time / period + 0.5) % 1 - 0.5) * period
    return 1 - depth / (1 + np.exp((phase - width) / 0.004))


def published(time, flux):
    """The steps of the issue for one segment, one after the other."""
    below = flux < np.percentile(flux, 99)
    time, flux = time[below], flux[below]
    curve = CubicSpline((time - time[0]) / (time[-1] - time[0]), flux)(np.linspace(0, 1, 4000))
    power = gls(time, flux, PERIODS_CALNET)
    return (curve - curve.min()) / np.ptp(curve), (power - power.min()) / np.ptp(power)


def test_calnet_follows_the_published_steps(real):
    count = 0
    for star in real:
        segments = prepare(star["time"], star["flux"], star["quality"])
        good = (star["quality"] == 0) & np.isfinite(star["time"]) & np.isfinite(star["flux"])
        time, flux = star["time"][good], star["flux"][good].astype(float)
        bounds = np.flatnonzero(np.diff(time) > 0.75) + 1
        pairs = zip(np.split(time, bounds), np.split(flux, bounds), strict=True)
        wanted = [pair for pair in pairs if pair[0].size >= 2000]
        assert len(segments) == len(wanted)
        for segment, (t, f) in zip(segments, wanted, strict=True):
            curve, power = published(t, f)
            assert segment.curve.dtype == segment.periodogram.dtype == np.float32
            np.testing.assert_allclose(segment.curve, curve, atol=1e-7)
            np.testing.assert_allclose(segment.periodogram, power, atol=1e-7)
            assert segment.n_cadences == t.size
            assert segment.flux_median == np.median(f)
            assert segment.flags == 0
            count += 1
    assert count >= 4


@pytest.mark.parametrize("recipe", clean.RECIPES)
@pytest.mark.parametrize(("cadence_s", "enough"), [(20, 12000), (120, 2000), (200, 1200), (600, 400), (1800, 134)])
def test_shortest_segment(times, rng, recipe, cadence_s, enough):
    time = times(enough, cadence_s)
    flux = 100 + rng.normal(size=enough)
    quality = np.zeros(enough, int)
    assert len(prepare(time, flux, quality, recipe)) == 1
    quality[5] = 16
    assert prepare(time, flux, quality, recipe) == []


@pytest.mark.parametrize("recipe", clean.RECIPES)
def test_gap_ends_a_segment(times, rng, recipe):
    time = times(6000, gap=0.76)
    segments = prepare(time, 100 + rng.normal(size=6000), np.zeros(6000, int), recipe)
    assert [segment.n_cadences for segment in segments] == [3000, 3000]
    assert segments[0].t_end <= time[2999] < time[3000] <= segments[1].t_start
    assert len(prepare(times(6000, gap=0.74), rng.normal(size=6000), np.zeros(6000), recipe)) == 1


@pytest.mark.parametrize("recipe", clean.RECIPES)
def test_constant_flux_is_zero_and_flagged(times, recipe):
    (segment,) = prepare(times(3000), np.full(3000, 5.0), np.zeros(3000), recipe)
    assert segment.flags & Flag.CONSTANT
    assert not segment.curve.any()
    assert not segment.periodogram.any()
    assert np.isnan(segment.gls_period)


@pytest.mark.parametrize("recipe", clean.RECIPES)
def test_order_and_repeated_times_do_not_matter(times, rng, recipe):
    time = times(3000)
    flux = 100 + rng.normal(size=3000)
    (straight,) = prepare(time, flux, np.zeros(3000), recipe)
    order = np.concatenate([rng.permutation(3000), [7, 8]])
    (shuffled,) = prepare(time[order], np.append(flux[order[:3000]], [1, 2]), np.zeros(3002), recipe)
    assert shuffled.flags & Flag.TIMES
    assert shuffled.curve.tobytes() == straight.curve.tobytes()
    assert shuffled.periodogram.tobytes() == straight.periodogram.tobytes()


@pytest.mark.parametrize("recipe", clean.RECIPES)
def test_nothing_to_do(times, recipe):
    assert prepare([], [], [], recipe) == []
    assert prepare([1.0], [1.0], [0], recipe) == []
    assert prepare(times(3000), np.full(3000, np.nan), np.zeros(3000), recipe) == []
    assert prepare(times(3000), np.ones(3000), np.ones(3000, int), recipe) == []
    assert prepare(np.full(3000, 1500.0), np.arange(3000.0), np.zeros(3000), recipe) == []


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    recipe=st.sampled_from(clean.RECIPES),
    bad=st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e30, -5.0]), max_size=8),
    levels=st.sampled_from([0, 1, 2, 50]),
)
def test_never_raises(seed, recipe, bad, levels):
    rng = np.random.default_rng(seed)
    time = 1325 + np.arange(2500) / 720
    flux = rng.normal(size=2500) if levels == 0 else rng.integers(0, levels, 2500).astype(float)
    error = rng.uniform(0.5, 1, 2500)
    for value in bad:
        flux[rng.integers(2500)] = value
        time[rng.integers(2500)] = value
        error[rng.integers(2500)] = value
    for segment in prepare(time, flux, rng.integers(0, 100, 2500) // 99, recipe, 120.0, error):
        assert segment.curve.shape == (4000,)
        assert segment.periodogram.shape == (1000,)
        assert np.isfinite(segment.curve).all()
        assert np.isfinite(segment.periodogram).all()


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="calnet, robust"):
        prepare([1], [1], [0], recipe="best")
    with pytest.raises(ValueError, match="quality has shape"):
        prepare([1, 2], [1, 2], [0])
    with pytest.raises(ValueError, match="cadence_s is 0"):
        prepare([1, 2], [1, 2], [0, 0], cadence_s=0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=900), st.integers(1, 12))
def test_order_statistics_are_numpys(values, repeat):
    array = np.array(values * repeat)
    assert clean._percentile_99(array) == np.percentile(array, 99)
    assert clean._median(array) == pytest.approx(np.median(array), rel=1e-15)


def test_robust_does_not_overshoot_in_gaps(times, rng):
    """Weakness 2: the spline swings beyond the data inside a gap and sets the scale."""
    time = times(9000, gap=0.5)
    flux = 1000 * (eclipses(time, depth=0.02) + 3e-4 * rng.normal(size=time.size))
    (spline,) = prepare(time, flux, np.zeros(9000))
    (robust,) = prepare(time, flux, np.zeros(9000), "robust")
    assert spline.flux_max - spline.flux_min > 2 * np.ptp(flux)
    assert flux.min() <= robust.flux_min <= robust.flux_max <= flux.max()


@pytest.mark.parametrize("depth", [0.005, 0.05, 0.5])
@pytest.mark.parametrize(("n", "cadence_s"), [(9000, 120), (620, 1800)])
def test_robust_keeps_the_depth(times, rng, depth, n, cadence_s):
    """Weakness 3: min-max scaling makes all depths one."""
    time = times(n, cadence_s)
    flux = 500 * (eclipses(time, depth=depth, width=0.1) + 1e-4 * rng.normal(size=n))
    (segment,) = prepare(time, flux, np.zeros(n), "robust", flux_err=np.full(n, 0.05))
    assert -expand(segment.curve).min() == pytest.approx(depth, rel=0.05, abs=3e-4)


def test_robust_averages_noise(times, rng):
    """Weakness 4: interpolation of 9,000 cadences at 4,000 points keeps their noise."""
    flux = 1000 * (1 + 1e-3 * rng.normal(size=9000))
    (segment,) = prepare(times(9000), flux, np.zeros(9000), "robust")
    assert expand(segment.curve).std() == pytest.approx(1e-3 / 1.5, rel=0.05)


def test_robust_cuts_spikes_not_maxima(times, rng):
    """Weakness 5: the top 1% of flux is cut, flares or not."""
    time = times(9000)
    flux = 1000 * (1 + 0.1 * np.cos(2 * np.pi * time / 0.6) + 1e-4 * rng.normal(size=9000))
    (clean_star,) = prepare(time, flux, np.zeros(9000), "robust")
    assert not clean_star.flags & Flag.CLIPPED
    assert clean_star.flux_max == pytest.approx(1100, abs=0.5)
    flux[[700, 5000]] += 5000
    (hit,) = prepare(time, flux, np.zeros(9000), "robust")
    assert hit.flags & Flag.CLIPPED
    assert hit.flux_max == pytest.approx(1100, abs=0.5)


def test_robust_periodogram_sees_short_and_long_periods(times, rng):
    """Weakness 6: the log grid undersamples short periods and ends at 10 d."""
    time = times(18000)
    for period in (0.0501234, 14.0):
        flux = 1000 + np.sin(2 * np.pi * time / period) + 0.1 * rng.normal(size=18000)
        (segment,) = prepare(time, flux, np.zeros(18000), "robust")
        assert segment.gls_period == pytest.approx(period, rel=0.03)
        assert segment.periodogram.max() > 0.95 * segment.gls_power > 0.9


def test_robust_flags_flux_without_a_baseline(times, rng):
    flux = rng.normal(size=3000)
    (segment,) = prepare(times(3000), flux - np.median(flux), np.zeros(3000), "robust")
    assert segment.flags & Flag.BASELINE
    assert np.abs(segment.curve).max() < 1.5
