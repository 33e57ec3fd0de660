"""Where in its orbit a star is seen: times from the nearest eclipse, eclipses covered, a first look at the fold."""

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves.profile import Profile
from pipeline.lightcurves.series import Series

__all__ = ["covered", "first_guess", "offsets"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def offsets(time: Floats, period: float, epoch: float) -> tuple[Floats, Ints]:
    """Time from the nearest eclipse, and its number.

    Parameters
    ----------
    time : (n,) float64
        BTJD.
    period, epoch : float
        Days.

    Returns
    -------
    offset : (n,) float64
        Days, at most half a period.
    number : (n,) int64
        Cycles since the epoch.
    """
    number = np.rint((time - epoch) / period).astype(np.int64)
    return time - epoch - number * period, number


def first_guess(series: Series, period: float, epoch: float, width: float) -> Profile | None:
    """Depth and width of a dip from medians of the folded curve.

    Parameters
    ----------
    series : Series
        Flattened.
    period, epoch, width : float
        Days; the width is that of a box.

    Returns
    -------
    Profile
        None where there is no dip.
    """
    offset, _ = offsets(series.time, period, epoch)
    reach = min(max(4 * width, 0.2), 0.5 * period)
    step = max(width / 8, 2 * reach / 400)
    near = np.abs(offset) < reach
    if near.sum() < 5:
        return None
    label = np.floor((offset[near] + reach) / step).astype(np.int64)
    total = np.bincount(label, 1 / series.error[near] ** 2)
    deficit = np.bincount(label, (1 - series.flux[near]) / series.error[near] ** 2)
    level: Floats = np.asarray(deficit / np.maximum(total, 1e-300), dtype=np.float64)
    seen = total > 0
    x: Floats = np.asarray((np.arange(total.size) + 0.5) * step - reach)
    x, level = x[seen], level[seen]
    inside = np.abs(x) < max(width / 2, step)
    if not inside.any():
        return None
    depth = float(level[inside].max())
    if depth <= 0:
        return None
    left, right = _edge(x, level, depth, -1), _edge(x, level, depth, 1)
    return Profile(depth, float(np.clip(1.35 * (left + right), 0.5 * width, 0.9 * period)))


def _edge(x: Floats, level: Floats, depth: float, sign: int) -> float:
    """Distance from the middle at which a dip has half its depth."""
    side = x * sign >= 0
    order = np.argsort(np.abs(x[side]))
    high = level[side][order] < 0.4 * depth
    first = int(high.argmax()) if high.any() else high.size - 1
    return float(np.abs(x[side][order])[first]) if high.size else 0.0


def covered(series: Series, centre: Floats, width: float) -> Floats:
    """Share of each eclipse that is in the data.

    Parameters
    ----------
    series : Series
        In order of time.
    centre : (k,) float64
        Mid-eclipses, BTJD.
    width : float
        Days.

    Returns
    -------
    (k,) float64
        0 to 1.
    """
    low = np.searchsorted(series.time, centre - width / 2)
    high = np.searchsorted(series.time, centre + width / 2)
    return np.minimum((series.exposed[high] - series.exposed[low]) / width, 1.0)
