"""How much of a light curve one or two dips a cycle explain, at many trial periods."""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["Fold", "fold_gain", "gains", "pair"]

Floats = NDArray[np.float64]

SHARE = 5  # bins of phase to a dip's width
MOST_BINS = 20000


class Fold(NamedTuple):
    """The two best boxes in a folded curve.

    Attributes
    ----------
    gain : float
        Drop in chi squared by both boxes.
    gain_1, phase_1, depth_1 : float
        Of the better box: its own drop, the phase of its middle (from time zero) and its depth.
    gain_2, phase_2, depth_2 : float
        Of the other; zero where no second dip is.
    """

    gain: float
    gain_1: float
    phase_1: float
    depth_1: float
    gain_2: float
    phase_2: float
    depth_2: float


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _pair(time, weight, weighted, period, width, total, moment, out):  # type: ignore[no-untyped-def]
    """Fold the deficit into bins and find the best box and the best one clear of it."""
    bins = min(max(int(SHARE * period / width), 2 * SHARE), MOST_BINS)
    span = max(1, min(int(width / period * bins + 0.5), bins // 3))
    total[:bins] = 0.0
    moment[:bins] = 0.0
    scale = 1.0 / period
    for i in range(time.size):
        phase = time[i] * scale
        k = int((phase - np.floor(phase)) * bins)
        if k >= bins:
            k = bins - 1
        total[k] += weight[i]
        moment[k] += weighted[i]
    best, at = 0.0, -1
    for turn in range(2):
        w, m = 0.0, 0.0
        for k in range(span):
            w += total[k]
            m += moment[k]
        high, where, deep = 0.0, -1, 0.0
        for k in range(bins):
            clear = True
            if turn == 1:
                apart = abs(k - at)
                clear = min(apart, bins - apart) > int(1.4 * span)
            if m > 0.0 and w > 0.0 and clear and m * m > high * w:
                high, where, deep = m * m / w, k, m / w
            w += total[(k + span) % bins] - total[k]
            m += moment[(k + span) % bins] - moment[k]
        out[3 * turn] = high
        out[3 * turn + 1] = ((where + 0.5 * span) / bins) % 1.0 if where >= 0 else 0.0
        out[3 * turn + 2] = deep
        at = where
        best += high
        if where < 0:
            out[3] = 0.0
            out[4] = 0.0
            out[5] = 0.0
            break
    return best


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _gains(time, weight, weighted, periods, width):  # type: ignore[no-untyped-def]
    total, moment, out = np.empty(MOST_BINS), np.empty(MOST_BINS), np.empty(6)
    result = np.empty(periods.size)
    for j in range(periods.size):
        bins = min(max(int(SHARE * periods[j] / width), 2 * SHARE), MOST_BINS)
        gain = _pair(time, weight, weighted, periods[j], width, total, moment, out)
        # the best of many phases of pure noise gains about this
        result[j] = gain - 4.0 * np.log(bins)
    return result


def gains(time: Floats, deficit: Floats, error: Floats, periods: Floats, width: float) -> Floats:
    """Drop in chi squared by the two best boxes of a width, at each trial period.

    Parameters
    ----------
    time, deficit, error : (n,) float64
        Days; one less the relative flux; its standard deviation.
    periods : (m,) float64
        Days.
    width : float
        Of the boxes, days.

    Returns
    -------
    (m,) float64
        The drop, less what noise would give.
    """
    weight = 1 / error**2
    return np.asarray(_gains(time, weight, weight * deficit, np.ascontiguousarray(periods), width))


def pair(time: Floats, deficit: Floats, error: Floats, period: float, width: float) -> Fold:
    """Find the two best boxes at a period.

    Parameters
    ----------
    time, deficit, error : (n,) float64
        As for `gains`.
    period, width : float
        Days.

    Returns
    -------
    Fold
        Both boxes; phases count from time zero.
    """
    weight, out = 1 / error**2, np.zeros(6)
    total, moment = np.empty(MOST_BINS), np.empty(MOST_BINS)
    gain = _pair(time, weight, weight * deficit, period, width, total, moment, out)
    return Fold(gain, *(float(value) for value in out))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fold_gain(time, weight, weighted, periods, bins):  # type: ignore[no-untyped-def]
    result = np.empty(periods.size)
    total, moment = np.empty(bins), np.empty(bins)
    for j in range(periods.size):
        total[:] = 0.0
        moment[:] = 0.0
        scale = 1.0 / periods[j]
        for i in range(time.size):
            phase = time[i] * scale
            k = int((phase - np.floor(phase)) * bins)
            if k >= bins:
                k = bins - 1
            total[k] += weight[i]
            moment[k] += weighted[i]
        gain = 0.0
        for k in range(bins):
            if total[k] > 0.0:
                gain += moment[k] * moment[k] / total[k]
        result[j] = gain
    return result


def fold_gain(time: Floats, flux: Floats, error: Floats, periods: Floats, bins: int) -> Floats:
    """Drop in chi squared by the mean curve in bins of phase, at each trial period.

    Parameters
    ----------
    time, flux, error : (n,) float64
        Flux less its mean.
    periods : (m,) float64
        Days.
    bins : int
        Of phase.

    Returns
    -------
    (m,) float64
        The drop; pure noise gives about `bins`.
    """
    weight = 1 / error**2
    return np.asarray(_fold_gain(time, weight, weight * flux, np.ascontiguousarray(periods), bins))
