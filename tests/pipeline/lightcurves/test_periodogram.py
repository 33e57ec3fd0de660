"""The fast periodogram against the direct sum, and the binned one against the true peak."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.lightcurves.periodogram import PERIOD_EDGES_ROBUST, PERIODS_CALNET, gls, peaks


def direct_sum(time, flux, periods, error=None):
    """Zechmeister & Kuerster 2009, eqs. 4-15, term by term."""
    weight = np.ones_like(flux) if error is None else 1 / np.asarray(error, float) ** 2
    weight = weight / weight.sum()
    t, y = time - time.mean(), flux - (weight * flux).sum()
    power = []
    for period in periods:
        cosine, sine = np.cos(2 * np.pi * t / period), np.sin(2 * np.pi * t / period)
        c, s = (weight * cosine).sum(), (weight * sine).sum()
        yc, ys = (weight * y * cosine).sum(), (weight * y * sine).sum()
        cc = (weight * cosine * cosine).sum() - c * c
        ss = (weight * sine * sine).sum() - s * s
        cs = (weight * cosine * sine).sum() - c * s
        determinant = (weight * y * y).sum() * (cc * ss - cs * cs)
        power.append((ss * yc**2 + cc * ys**2 - 2 * cs * yc * ys) / determinant)
    return np.array(power)


def test_calnet_grid():
    assert PERIODS_CALNET.shape == (1000,)
    np.testing.assert_array_equal(PERIODS_CALNET, np.logspace(-3, 1, 1125)[125:])


def test_equals_the_direct_sum_on_real_segments(real):
    for curve in real:
        good = (curve["quality"] == 0) & np.isfinite(curve["time"]) & np.isfinite(curve["flux"])
        time, flux, error = (curve[name][good][:9000] for name in ("time", "flux", "error"))
        deviation = gls(time, flux, PERIODS_CALNET) - direct_sum(time, flux.astype(float), PERIODS_CALNET)
        assert np.abs(deviation).max() < 1e-8
        some = PERIODS_CALNET[::10]
        assert np.abs(gls(time, flux, some, error) - direct_sum(time, flux, some, error)).max() < 1e-8


@pytest.mark.parametrize(
    ("n", "cadence_s", "gap", "period", "noise"),
    [
        (9000, 120, 0.6, 0.7, 0.1),
        (2000, 120, 0.0, 12.0, 1e-3),  # the span is a quarter of the longest period
        (3000, 120, 0.0, 0.003, 1e-3),  # close to Nyquist
        (6000, 20, 0.0, 0.3, 1.0),
        (600, 1800, 0.5, 0.4, 0.1),  # the grid goes far beyond Nyquist
        (134, 1800, 0.0, 5.0, 1e-3),
        (800, 120, 400.0, 0.7, 0.5),  # one huge gap
        (60, 120, 0.0, 0.02, 0.1),
    ],
)
def test_equals_the_direct_sum_on_simulated_segments(times, rng, n, cadence_s, gap, period, noise):
    time = times(n, cadence_s, gap)
    flux = 1000 + np.sin(2 * np.pi * time / period) + noise * rng.normal(size=n)
    error = rng.uniform(0.5, 2, n)
    some = PERIODS_CALNET[::3]
    assert np.abs(gls(time, flux, some) - direct_sum(time, flux, some)).max() < 1e-7
    assert np.abs(gls(time, flux, some, error) - direct_sum(time, flux, some, error)).max() < 1e-7


def test_equals_astropy(times, rng):
    timeseries = pytest.importorskip("astropy.timeseries")
    time, error = times(500, 1800), rng.uniform(1, 3, 500)
    flux = np.sin(2 * np.pi * time / 3) + rng.normal(size=500)
    periods = np.geomspace(0.1, 20, 200)
    expected = timeseries.LombScargle(time, flux, error).power(1 / periods, method="cython")
    np.testing.assert_allclose(gls(time, flux, periods, error), expected, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(8, 300),
    span=st.floats(0.1, 100),
    shift=st.floats(-1e4, 1e4),
    scale=st.floats(1e-6, 1e6),
    errors=st.booleans(),
)
@example(seed=2599268, n=8, span=1.0, shift=0.0, scale=1.0, errors=True)  # a small grid: its margins count
def test_any_times(seed, n, span, shift, scale, errors):
    rng = np.random.default_rng(seed)
    time, flux = rng.uniform(0, span, n), rng.normal(size=n)
    error = rng.uniform(0.1, 10, n) if errors else None
    periods = rng.uniform(span / 200, span * 2, 50)
    power = gls(time, flux, periods, error)
    assert ((power >= 0) & (power <= 1)).all()
    np.testing.assert_allclose(power, direct_sum(time, flux, periods, error), atol=1e-7)
    order = rng.permutation(n)
    moved = gls(time[order] + shift, (flux[order] + 3) * -scale, periods, None if error is None else error[order])
    np.testing.assert_allclose(power, moved, atol=1e-6)


def test_same_bytes_every_time(times, rng):
    time, flux = times(5000), rng.normal(size=5000)
    first = gls(time, flux, PERIODS_CALNET)
    readonly = flux.copy()
    readonly.flags.writeable = False
    assert first.tobytes() == gls(time, readonly, PERIODS_CALNET).tobytes()


def test_what_has_no_period():
    time = np.arange(100.0)
    assert (gls(time, np.full(100, 7.0), [1.0, 2.0]) == 0).all()
    assert (gls(np.full(100, 7.0), time, [1.0, 2.0]) == 0).all()
    assert gls(time, time, []).shape == (0,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # regular sampling at exactly Nyquist: sine and cosine are one function
        assert gls(time, (-1.0) ** time, [2.0]) == pytest.approx([1.0])
        assert np.isfinite(gls(time, time**2, [1.0, 2.0, 1e9])).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flux": np.array([1.0, np.nan, 3, 4])}, "flux holds 1 values that are not finite"),
        ({"time": np.arange(3.0)}, "flux has shape"),
        ({"time": np.arange(3.0), "flux": np.arange(3.0)}, "at least 4"),
        ({"periods": [1.0, 0.0]}, "periods holds 0.0"),
        ({"flux_err": [1.0, 0, 1, 1]}, "flux_err holds 0.0"),
        ({"time": np.ones((2, 2))}, "one dimension"),
    ],
)
def test_errors_say_what_is_wrong(change, message):
    arguments = {"time": np.arange(4.0), "flux": np.arange(4.0) ** 2, "periods": [1.5]} | change
    with pytest.raises(ValueError, match=message):
        gls(**arguments)


@pytest.mark.parametrize("period", [0.0501234, 0.05, 0.0497, 0.3, 4.0, 11.0])
def test_bins_miss_no_peak(times, rng, period):
    """The log grid saw the peak at P = 0.05 d at 51%."""
    time = times(9500)
    flux = np.sin(2 * np.pi * time / period) + 0.2 * rng.normal(size=time.size)
    true = gls(time, flux, 1 / (1 / period + np.linspace(-0.02, 0.02, 201))).max()
    found = peaks(time, flux, 120 / 86400)
    bin_of = np.searchsorted(PERIOD_EDGES_ROBUST, period) - 1
    assert found.power[bin_of - 1 : bin_of + 2].max() >= 0.95 * true
    assert found.power.max() <= true * 1.0001
    assert found.best >= 0.98 * true
    assert abs(1 / found.period - 1 / period) < 0.1 / 13


def test_bins_end_at_two_cadences_and_at_the_span(times, rng):
    time = times(200, 1800)
    found = peaks(time, rng.normal(size=200), 1800 / 86400)
    short = PERIOD_EDGES_ROBUST[1:] < 2 * 1800 / 86400
    long = PERIOD_EDGES_ROBUST[:-1] > np.ptp(time)
    assert (found.power[short | long] == 0).all()
    assert (found.power[~short & ~long] > 0).mean() > 0.98
    assert np.isnan(peaks(time, np.ones(200), 1 / 48).period)
