"""Dips that no ephemeris explains, and eclipses that are not alike: dippers, not binaries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.events import depths, fold, inside, minima
from pipeline.lightcurves.star import Observation, StarCurves, good

__all__ = ["Dip", "are_unequal", "coherence", "dips"]

Floats = NDArray[np.float64]

BIN = 0.5 / 24  # d
TREND = 1.5  # d: what is slower is the star or its background
SIGMAS = 7.0  # of a bin below the level: with 1200 bins a sector and heavy tails, noise does not reach it
UNEQUAL = 0.2  # share of its depth by which the eclipses of one binary do not differ, spots included


@dataclass(frozen=True)
class Dip:
    """A dip of the light curve.

    Parameters
    ----------
    time : float
        BTJD of its faintest half hour.
    depth : float
        Relative flux.
    sigma : float
        Depth over the scatter of half hours.
    width : float
        Days below a third of its depth.
    """

    time: float
    depth: float
    sigma: float
    width: float


def dips(star: StarCurves, ephemerides: Sequence[Ephemeris] = ()) -> list[Dip]:
    """Return the dips of a star that no system's eclipses explain, in order of time.

    Parameters
    ----------
    star : StarCurves
        Light curves.
    ephemerides : sequence of Ephemeris
        All systems of the star; what lies in their eclipses is left out.
    """
    return [dip for observation in star.observations for dip in _dips(observation, ephemerides)]


def _dips(observation: Observation, ephemerides: Sequence[Ephemeris]) -> list[Dip]:
    time, flux, _ = good(observation)
    for ephemeris in ephemerides:
        kept = ~inside(time, ephemeris, 1.5)
        time, flux = time[kept], flux[kept]
    if len(time) < 100:
        return []
    _, group, counts = np.unique(np.floor(time / BIN), return_inverse=True, return_counts=True)
    middle, level = np.bincount(group, time) / counts, np.bincount(group, flux) / counts
    enough = counts >= 0.5 * np.median(counts)
    middle, level = middle[enough], level[enough]
    if len(level) < 48:
        return []
    lost = 1 - level / median_filter(level, round(TREND / BIN) | 1, mode="nearest")
    scatter = max(1.4826 * float(np.median(np.abs(lost - np.median(lost)))), 1e-6)
    starts, ends = _runs(lost > SIGMAS / 2 * scatter, middle)
    found = []
    for low, high in zip(starts, ends, strict=True):
        part = lost[low:high]
        # One bin alone is a glitch, and an edge of the data a ramp.
        if part.max() > SIGMAS * scatter and high - low >= 2 and _is_bracketed(middle, low, high):
            top = float(part.max())
            place = float(middle[low + int(np.argmax(part))])
            found.append(Dip(place, top, top / scatter, float((part > top / 3).sum() * BIN)))
    return found


def _runs(flags: NDArray[np.bool_], time: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first and one behind last of runs of True that no gap interrupts."""
    cut = np.r_[True, np.diff(time) > 6 * BIN]
    begin = flags & (~np.r_[False, flags[:-1]] | cut)
    end = flags & (~np.r_[flags[1:], False] | np.r_[cut[1:], True])
    return np.flatnonzero(begin), np.flatnonzero(end) + 1


def _is_bracketed(time: Floats, low: int, high: int) -> bool:
    width = max(high - low, 4) * BIN
    before = low > 0 and time[low] - time[max(low - 3, 0)] < width + 6 * BIN
    after = high < len(time) and time[min(high + 2, len(time) - 1)] - time[high - 1] < width + 6 * BIN
    return before and after


def are_unequal(star: StarCurves, ephemeris: Ephemeris, others: Sequence[Ephemeris] = ()) -> bool:
    """Return whether the primaries of a system differ in depth by more than noise and spots let them.

    Alternate eclipses that differ are two kinds of eclipse of a longer period, not unequal ones: odd and even
    ones are compared apart. Eclipses that overlap those of `others` are left out.
    """
    first = minima(ephemeris)[0]
    depth, error, cycle = depths(fold(star, ephemeris), first.half)
    if np.isfinite(first.period):
        mid = np.asarray(first.mid + cycle * first.period, np.float64)
        alone = np.ones(len(mid), bool)
        for other in others:
            alone &= ~(inside(mid - first.half, other) | inside(mid, other) | inside(mid + first.half, other))
        depth, error, cycle = depth[alone], error[alone], cycle[alone]
    excess, total = 0.0, 0
    for parity in (0, 1):
        own = cycle % 2 == parity
        if own.sum() >= 2:
            excess += float(((depth[own] - np.median(depth[own])) ** 2 - error[own] ** 2).sum())
            total += int(own.sum()) - 1
    return total >= 3 and excess > total * (UNEQUAL * ephemeris.depth_1) ** 2


def coherence(star: StarCurves, ephemeris: Ephemeris) -> float:
    """Return the share of the variance, without white noise, that the mean light curve over the orbit explains.

    A binary repeats: 1. What has no period explains little of itself. NaN where less than two orbits are covered, or
    the period is a lower limit.
    """
    period = ephemeris.period
    if ephemeris.period_flag == "lower_limit" or not np.isfinite(period):
        return float("nan")
    bins = int(np.clip(period / BIN, 12, 100))
    parts = [_cycles(observation, ephemeris, bins) for observation in star.observations]
    number, phase, level, noise = (np.concatenate(column) for column in zip(*parts, strict=True))
    counts = np.bincount(number, minlength=bins)
    if (counts >= 2).sum() < bins / 2:
        return float("nan")
    repeated = counts[number] >= 2
    number, phase, level, noise = number[repeated], phase[repeated], level[repeated], noise[repeated]
    held, number, counts = np.unique(number, return_inverse=True, return_counts=True)
    mean, place = (np.bincount(number, values) / counts for values in (level, phase))
    # Between the means: within a bin the curve may be steep.
    expected = np.interp(phase, place, mean, period=1.0)
    white = float(noise.mean())
    # The mean of n cycles takes a share 1 / n of what does not repeat with it.
    left = float(((level - expected) ** 2).sum()) / max(len(level) - len(held), 1) - white
    total = float(level.var()) - white
    return float(np.clip(1 - left / total, 0, 1)) if total > 0 else float("nan")


def _cycles(
    observation: Observation, ephemeris: Ephemeris, bins: int
) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
    """Return means in bins of phase of each cycle: the bin, mean phase, mean flux, its variance by white noise."""
    time, flux, error = good(observation)
    x = (time - ephemeris.epoch) / ephemeris.period
    place, group, counts = np.unique(np.floor(x * bins).astype(np.int64), return_inverse=True, return_counts=True)
    phase, mean = (np.bincount(group, values) / counts for values in (x, flux))
    variance = np.bincount(group, error**2) / counts**2
    return place % bins, np.asarray(phase - place // bins), np.asarray(mean), np.asarray(variance)
