"""A light curve on a regular grid: the interpolating spline of the published recipe, and bin means.

Both give `n` samples whose first and last stand at the first and last time. Compiled without fast-math: equal
input gives equal bytes everywhere.
"""

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["bin_means", "coverage", "spikes", "spline"]

Floats = NDArray[np.float64]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _slopes(x, y):  # type: ignore[no-untyped-def]
    """First derivatives of the not-a-knot cubic spline at its knots, by elimination without pivoting.

    The rows are those of de Boor 2001 (A Practical Guide to Splines, ch. IV), diagonally dominant once the
    first is eliminated.
    """
    n = x.size
    upper = np.empty(n)
    slope = np.empty(n)
    h0, h1 = x[1] - x[0], x[2] - x[1]
    d0, d1 = (y[1] - y[0]) / h0, (y[2] - y[1]) / h1
    upper[0] = (h0 + h1) / h1
    slope[0] = ((h0 + 2.0 * (h0 + h1)) * h1 * d0 + h0 * h0 * d1) / ((h0 + h1) * h1)
    for i in range(1, n - 1):
        h1 = x[i + 1] - x[i]
        d1 = (y[i + 1] - y[i]) / h1
        pivot = 1.0 / (2.0 * (h0 + h1) - h1 * upper[i - 1])
        upper[i] = h0 * pivot
        slope[i] = (3.0 * (h1 * d0 + h0 * d1) - h1 * slope[i - 1]) * pivot
        h0, d0 = h1, d1
    h0, h1 = x[n - 2] - x[n - 3], x[n - 1] - x[n - 2]
    d0, d1 = (y[n - 2] - y[n - 3]) / h0, (y[n - 1] - y[n - 2]) / h1
    right = (h1 * h1 * d0 + (2.0 * (h0 + h1) + h1) * h0 * d1) / (h0 + h1)
    slope[n - 1] = (right - (h0 + h1) * slope[n - 2]) / (h0 - (h0 + h1) * upper[n - 2])
    for i in range(n - 2, -1, -1):
        slope[i] -= upper[i] * slope[i + 1]
    return slope


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _spline(time, flux, samples):  # type: ignore[no-untyped-def]
    x = (time - time[0]) / (time[-1] - time[0])
    slope = _slopes(x, flux)
    out = np.empty(samples)
    i = 0
    for k in range(samples):
        at = k / (samples - 1)
        while i < x.size - 2 and x[i + 1] <= at:
            i += 1
        h = x[i + 1] - x[i]
        u = at - x[i]
        d = (flux[i + 1] - flux[i]) / h
        t = (slope[i] + slope[i + 1] - 2.0 * d) / h
        out[k] = flux[i] + u * (slope[i] + u * ((d - slope[i]) / h - t + u * t / h))
    return out


def spline(time: Floats, flux: Floats, samples: int) -> Floats:
    """Cubic interpolating not-a-knot spline through a light curve, on time scaled to [0, 1].

    Equal to ``scipy.interpolate.CubicSpline`` to rounding.

    Parameters
    ----------
    time : (n,) float64, C-contiguous
        Strictly increasing times; n >= 4.
    flux : (n,) float64, C-contiguous
        Flux in any unit.
    samples : int
        Length of the result.

    Returns
    -------
    (samples,) float64
        Flux at evenly spaced times, the first and the last included.
    """
    return np.asarray(_spline(time, flux, samples))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _bin_means(time, flux, weight, samples):  # type: ignore[no-untyped-def]
    total = np.zeros(samples)
    out = np.zeros(samples)
    scale = (samples - 1) / (time[-1] - time[0])
    for i in range(time.size):
        k = min(int((time[i] - time[0]) * scale + 0.5), samples - 1)
        total[k] += weight[i]
        out[k] += weight[i] * flux[i]
    left = 0
    for k in range(samples):
        if total[k] > 0.0:
            out[k] /= total[k]
            for j in range(left + 1, k):
                out[j] = out[left] + (out[k] - out[left]) * (j - left) / (k - left)
            left = k
    return out


def bin_means(time: Floats, flux: Floats, weight: Floats, samples: int) -> Floats:
    """Weighted means in bins centred on evenly spaced times; lines fill the empty bins.

    A line cannot overshoot, so no gap sets the scale of a curve.

    Parameters
    ----------
    time : (n,) float64, C-contiguous
        Increasing times; n >= 2.
    flux, weight : (n,) float64, C-contiguous
        Flux in any unit; positive weights.
    samples : int
        Number of bins.

    Returns
    -------
    (samples,) float64
        Flux; the middles of the first and last bin are the first and last time.
    """
    return np.asarray(_bin_means(time, flux, weight, samples))


def coverage(time: Floats, longest: float, samples: int) -> NDArray[np.uint8]:
    """Say which of evenly spaced times a light curve covers.

    Parameters
    ----------
    time : (n,) float64
        Increasing times; n >= 2.
    longest : float
        Longest interval between neighbours, in the unit of the times, that is no gap.
    samples : int
        Length of the result.

    Returns
    -------
    (samples,) uint8
        0 inside a gap, else 1.
    """
    at = np.linspace(time[0], time[-1], samples)
    after = np.clip(np.searchsorted(time, at), 1, time.size - 1)
    return (time[after] - time[after - 1] <= longest).astype(np.uint8)


def spikes(flux: Floats, sigmas: float = 4.0, most: float = 0.005) -> NDArray[np.bool_]:
    """Mark isolated upward spikes of one or two samples: cosmic rays, tips of short flares.

    A sample is a spike when it stands above all its neighbours two and three places away, by more than twice
    their own range plus `sigmas` times the noise. No sample in a dip or on its shoulder does, nor the top of
    a maximum, however sharp, that rises over more than three samples. What happens to more than the fraction
    `most` of all samples is the star's own, and nothing is marked.

    Parameters
    ----------
    flux : (n,) float64
        Flux in order of time, in any unit.
    sigmas : float
        Threshold in robust standard deviations of the departures from the cubic through the four neighbours.
    most : float
        Largest fraction of samples that can be spikes.

    Returns
    -------
    (n,) bool
        True for a spike; the first and last three samples never are.
    """
    marked = np.zeros(flux.size, dtype=bool)
    if flux.size < 7:
        return marked
    far_before, before, middle, after, far_after = flux[:-6], flux[1:-5], flux[3:-3], flux[5:-1], flux[6:]
    noise = 1.4826 * float(np.median(np.abs(middle - 0.9 * (before + after) + 0.4 * (far_before + far_after))))
    high = np.maximum(np.maximum(far_before, far_after), np.maximum(before, after))
    low = np.minimum(np.minimum(far_before, far_after), np.minimum(before, after))
    found = middle - high > 2 * (high - low) + sigmas * noise
    if found.sum() <= max(1.0, most * flux.size):
        marked[3:-3] = found
    return marked
