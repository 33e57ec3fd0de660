"""Single dips in a flattened light curve: matched filters of several widths."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves.series import Series

__all__ = ["Trough", "cut", "find_troughs", "red_noise", "reddened"]

Floats = NDArray[np.float64]

TELLING = 20  # means over a width that tell their scatter
WIDTHS = (0.05, 0.1, 0.2, 0.4, 0.8)  # days


class Trough(NamedTuple):
    """A dip.

    Attributes
    ----------
    time : float
        Its middle, BTJD.
    depth : float
        Mean over the box, relative.
    width : float
        Of the box, days.
    snr : float
        Depth over its error.
    whole : bool
        There is data on both sides.
    """

    time: float
    depth: float
    width: float
    snr: float
    whole: bool


def red_noise(series: Series, width: float = 0.2, bent: bool = False) -> float:
    """How much more means over a width scatter than white noise would let them.

    Parameters
    ----------
    series : Series
        Flattened.
    width : float
        Days.
    bent : bool
        Count only how much a mean differs from the line between those before and after it.

    Returns
    -------
    float
        A ratio, at least 1, at most 30; robust against dips.
    """
    if series.time.size < 20:
        return 1.0
    label = np.floor(series.time / width).astype(np.int64)
    number, index = np.unique(label, return_inverse=True)
    count = np.bincount(index)
    mean = np.bincount(index, series.flux) / count
    expected = np.sqrt(np.bincount(index, series.error**2)) / count
    full = count >= 0.5 * np.median(count)
    pull = (mean - np.median(mean[full]))[full] / expected[full]
    if bent:
        near = np.flatnonzero(full)
        near = near[(near > 0) & (near < mean.size - 1)]
        near = near[full[near - 1] & full[near + 1] & (number[near + 1] - number[near - 1] == 2)]
        second = mean[near - 1] - 2 * mean[near] + mean[near + 1]
        noise = np.sqrt(expected[near - 1] ** 2 + 4 * expected[near] ** 2 + expected[near + 1] ** 2)
        pull = np.abs(second) / noise
    # dips only pull down: the upper half tells the noise
    upper = pull[pull > 0]
    return float(np.clip(1.4826 * np.median(upper) if upper.size > 3 else 1.0, 1.0, 30.0))


def reddened(series: Series, width: float = 0.2, bent: bool = False, use: NDArray[np.bool_] | None = None) -> Series:
    """Raise the errors by the red noise, of every stretch by its own where it is long enough to tell.

    Parameters
    ----------
    series : Series
        Flattened.
    width, bent : float, bool
        As for `red_noise`.
    use : (n,) bool, optional
        Samples that tell the noise; default all.

    Returns
    -------
    Series
        The same light with larger errors.
    """
    rest = series if use is None else series.where(use)
    ratio = np.full(series.time.size, red_noise(rest, width, bent))
    for piece in np.unique(rest.stretch):
        rows = rest.stretch == piece
        if np.ptp(rest.time[rows]) > TELLING * width:
            ratio[series.stretch == piece] = red_noise(rest.where(rows), width, bent)
    return replace(series, error=series.error * ratio)


def find_troughs(series: Series, lowest: float = 7.0, most: int = 400) -> list[Trough]:
    """Find dips, the most significant first.

    Parameters
    ----------
    series : Series
        Flattened.
    lowest : float
        Signal to noise that a dip must have, red noise counted.
    most : int
        How many at most.

    Returns
    -------
    list of Trough
        None overlaps another.
    """
    if series.time.size < 10:
        return []
    found: list[Trough] = []
    for width in WIDTHS:
        red = red_noise(series, width)
        for piece in np.unique(series.stretch):
            rows = series.where(series.stretch == piece)
            if rows.time.size >= 5:
                own = red_noise(rows, width) if np.ptp(rows.time) > TELLING * width else red
                found += _boxes(rows, width, own, lowest)
    found.sort(key=lambda dip: -dip.snr)
    kept: list[Trough] = []
    taken = np.zeros(series.time.size, bool)
    for dip in found:
        low, high = np.searchsorted(series.time, (dip.time - dip.width / 2, dip.time + dip.width / 2))
        if not taken[low:high].any():
            kept.append(_centred(series, dip))
            first, last = _extent(series, dip)
            taken[first:last] = True
            if len(kept) == most:
                break
    return kept


def cut(series: Series, dips: list[Trough]) -> NDArray[np.bool_]:
    """Tell which samples belong to dips that the edge of a stretch cuts off: ramps of scattered light, mostly.

    Parameters
    ----------
    series : Series
        Flattened.
    dips : list of Trough
        Its dips.

    Returns
    -------
    (n,) bool
        True in such a dip.
    """
    inside = np.zeros(series.time.size, bool)
    edge = np.flatnonzero(np.diff(series.stretch)) + 1
    starts, stops = np.concatenate(([0], edge)), np.concatenate((edge, [series.time.size]))
    for dip in dips:
        if not dip.whole:
            first, last = _extent(series, dip)
            middle = int(np.searchsorted(series.time, dip.time))
            piece = int(np.searchsorted(stops, middle, side="right"))
            if piece < stops.size:
                inside[max(first, starts[piece]) : min(last, stops[piece])] = True
    return inside


def _boxes(series: Series, width: float, red: float, lowest: float) -> list[Trough]:
    """Local maxima of the box filter in one stretch."""
    time, weight = series.time, 1 / series.error**2
    total = np.concatenate(([0.0], np.cumsum(weight)))
    moment = np.concatenate(([0.0], np.cumsum(weight * (1 - series.flux))))
    low = np.searchsorted(time, time - width / 2)
    high = np.searchsorted(time, time + width / 2, side="right")
    w, m = total[high] - total[low], moment[high] - moment[low]
    snr = m / np.sqrt(w) / red
    snr[high - low < 3] = 0.0
    dips = []
    order = np.flatnonzero(snr > lowest)
    order = order[np.argsort(-snr[order], kind="stable")]
    free = np.ones(time.size, bool)
    for k in order:
        if free[k]:
            free[np.searchsorted(time, time[k] - width) : np.searchsorted(time, time[k] + width)] = False
            whole = time[k] - time[0] > 0.6 * width and time[-1] - time[k] > 0.6 * width
            dips.append(Trough(float(time[k]), float(m[k] / w[k]), width, float(snr[k]), bool(whole)))
    return dips


def _extent(series: Series, dip: Trough) -> tuple[int, int]:
    """Rows that belong to a dip: until the deficit is a tenth of it, and a quarter of its width more."""
    low, high = np.searchsorted(series.time, (dip.time - 1.0, dip.time + 1.0))
    time = series.time[low:high]
    deep = 1 - series.flux[low:high] > np.maximum(0.1 * dip.depth, 2 * series.error[low:high])
    shallow = time[~deep]
    before, after = shallow[shallow < dip.time - dip.width / 2], shallow[shallow > dip.time + dip.width / 2]
    start = before[-1] if before.size else time[0]
    stop = after[0] if after.size else time[-1]
    margin = 0.25 * dip.width
    return int(np.searchsorted(series.time, start - margin)), int(np.searchsorted(series.time, stop + margin))


def _centred(series: Series, dip: Trough) -> Trough:
    """Move a dip to the mean time of its deficit."""
    low, high = np.searchsorted(series.time, (dip.time - dip.width, dip.time + dip.width))
    time, deficit = series.time[low:high], 1 - series.flux[low:high]
    inside = deficit > 0.3 * deficit.max()
    if inside.sum() < 3:
        return dip
    return dip._replace(time=float(np.average(time[inside], weights=deficit[inside])))
