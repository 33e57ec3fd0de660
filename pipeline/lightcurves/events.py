"""Where the eclipses of an ephemeris lie in the data: one by one, and laid over each other."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.star import Observation, StarCurves, good

__all__ = ["Event", "Folded", "Minimum", "depths", "events", "fold", "inside", "minima"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Out-of-eclipse data up to so many durations from mid-eclipse give the level beside an eclipse.
REACH = 1.5

#: An eclipse is seen where so much of it is covered by good cadences.
COVERED = 0.4

LONGEST = 10.0  # d: an eclipse that lasts as long as the data has no level beside it


@dataclass(frozen=True)
class Minimum:
    """A kind of eclipse of a system.

    Parameters
    ----------
    kind : int
        1 the primary, 2 the secondary.
    mid : float
        BTJD of one mid-eclipse.
    period : float
        Days between two of them; infinity where only one was ever seen.
    half : float
        Half the full width, d.
    depth : float
        Relative flux.
    """

    kind: int
    mid: float
    period: float
    half: float
    depth: float

    @property
    def reach(self) -> float:
        """Days from mid-eclipse within which the level beside it is taken."""
        return min(2 * self.half * REACH, self.period / 2)

    def away(self, time: Floats) -> tuple[Floats, Ints]:
        """Return days from the nearest mid-eclipse, and the number of that eclipse, 0 at `mid`; both (n,)."""
        if not np.isfinite(self.period):
            return time - self.mid, np.zeros(time.shape, np.int64)
        cycle = np.rint((time - self.mid) / self.period).astype(np.int64)
        return time - self.mid - cycle * self.period, cycle


@dataclass(frozen=True)
class Event:
    """One eclipse inside the data.

    Parameters
    ----------
    minimum : Minimum
        What kind it is.
    cycle : int
        Its number, 0 at the epoch.
    sector : int
        Where it was seen.
    mid : float
        BTJD.
    """

    minimum: Minimum
    cycle: int
    sector: int
    mid: float


@dataclass(frozen=True, eq=False)
class Folded:
    """The neighbourhood of all eclipses of a kind, each divided by the line through the data beside it.

    Parameters
    ----------
    x : (n,) float64
        Days from mid-eclipse.
    flux, error : (n,) float64
        1 out of eclipse.
    cycle : (n,) int64
        Which eclipse it is.
    """

    x: Floats
    flux: Floats
    error: Floats
    cycle: Ints


def minima(ephemeris: Ephemeris) -> list[Minimum]:
    """Return the kinds of eclipses that a system shows: the primary and, if there is one, the secondary.

    Parameters
    ----------
    ephemeris : Ephemeris
        Of one system. Where its period is a lower limit, only the eclipse that was seen counts.
    """
    once = ephemeris.period_flag == "lower_limit" or not np.isfinite(ephemeris.period)
    period = np.inf if once else float(ephemeris.period)
    first = Minimum(1, ephemeris.epoch, period, _half(ephemeris.duration_1_h, period), ephemeris.depth_1)
    if once or not (np.isfinite(ephemeris.phase_2) and ephemeris.depth_2 > 0):
        return [first]
    width = ephemeris.duration_2_h if np.isfinite(ephemeris.duration_2_h) else ephemeris.duration_1_h
    second = ephemeris.epoch + ephemeris.phase_2 * period
    return [first, Minimum(2, second, period, _half(width, period), ephemeris.depth_2)]


def _half(hours: float, period: float) -> float:
    """Return half a duration in days. It is missing where the light varies all the time: half a cycle then."""
    days = hours / 24 if np.isfinite(hours) and hours > 0 else 0.5 * period
    return float(min(days, period, LONGEST) / 2)


def inside(time: Floats, ephemeris: Ephemeris, margin: float = 1.1) -> NDArray[np.bool_]:
    """Return which times, shape (n,), lie in an eclipse of a system, widened by a factor `margin`."""
    found = np.zeros(time.shape, bool)
    for minimum in minima(ephemeris):
        found |= np.abs(minimum.away(time)[0]) <= margin * minimum.half
    return found


def events(star: StarCurves, ephemeris: Ephemeris) -> list[Event]:
    """Return the eclipses that good data cover by more than `COVERED`, by time of the sector, kind and cycle."""
    return [
        Event(minimum, int(cycle), observation.sector, minimum.mid + int(cycle) * _step(minimum))
        for observation in star.observations
        for minimum in minima(ephemeris)
        for cycle in _covered(observation, minimum)
    ]


def _step(minimum: Minimum) -> float:
    return minimum.period if np.isfinite(minimum.period) else 0.0


def _covered(observation: Observation, minimum: Minimum) -> Ints:
    x, cycle = minimum.away(good(observation)[0])
    cycles, counts = np.unique(cycle[np.abs(x) <= minimum.half], return_counts=True)
    expected = 2 * minimum.half * 86400 / observation.cadence_s
    return np.asarray(cycles[counts >= max(1.0, COVERED * expected)])


def fold(star: StarCurves, ephemeris: Ephemeris, kind: int = 1) -> Folded:
    """Return the eclipses of a kind laid over each other, each at the level of the data beside it.

    Parameters
    ----------
    star : StarCurves
        Light curves.
    ephemeris : Ephemeris
        Of one system.
    kind : int
        1 the primary, 2 the secondary.

    Returns
    -------
    Folded
        Eclipses with data on both sides; empty where there are none, as with contact binaries, which have no
        level beside their eclipses.
    """
    pieces = [piece for observation in star.observations for piece in _levelled(observation, ephemeris, kind)]
    if not pieces:
        return Folded(np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.int64))
    return Folded(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def _levelled(
    observation: Observation, ephemeris: Ephemeris, kind: int
) -> Iterator[tuple[Floats, Floats, Floats, Ints]]:
    minimum = next((one for one in minima(ephemeris) if one.kind == kind), None)
    time, flux, error = good(observation)
    if minimum is None or not len(time):
        return
    x, cycle = minimum.away(time)
    near = np.abs(x) <= minimum.reach
    x, cycle, flux, error = x[near], cycle[near], flux[near], error[near]
    out = ~inside(time[near], ephemeris)
    level, known = _lines(x / minimum.reach, flux, cycle, out)
    if known.any():
        yield x[known], flux[known] / level[known], error[known] / level[known], cycle[known]


def _lines(x: Floats, flux: Floats, cycle: Ints, out: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return a line through the out-of-eclipse data of each cycle, and where there is one: data on both sides."""
    _, group = np.unique(cycle, return_inverse=True)
    size = int(group.max(initial=-1)) + 1
    weight = out.astype(np.float64)

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(group, weight * values, size), np.float64)

    n, sx, sxx, sy, sxy = (total(v) for v in (np.ones_like(x), x, x * x, flux, x * flux))
    sides = [np.bincount(group, weight * side, size) for side in (x < 0, x > 0)]
    determinant = n * sxx - sx * sx
    usable = (np.minimum(*sides) >= 3) & (determinant > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (n * sxy - sx * sy) / determinant
        level = (sy - slope * sx) / n
    line = level[group] + slope[group] * x
    return line, usable[group] & (line > 0)


def depths(folded: Folded, half: float) -> tuple[Floats, Floats, Ints]:
    """Return the depth of each eclipse, its error and its number: means over the middle half of the eclipse.

    Parameters
    ----------
    folded : Folded
        Eclipses of a kind.
    half : float
        Half the full width, d.

    Returns
    -------
    depth, error : (k,) float64
        Relative flux; eclipses with fewer than three cadences in their middle are left out.
    cycle : (k,) int64
        Which they are.
    """
    core = np.abs(folded.x) <= half / 2
    cycles, group = np.unique(folded.cycle[core], return_inverse=True)
    if not len(cycles):
        return np.empty(0), np.empty(0), np.empty(0, np.int64)
    weight = folded.error[core] ** -2.0
    total = np.bincount(group, weight)
    depth = 1 - np.bincount(group, weight * folded.flux[core]) / total
    kept = np.bincount(group) >= 3
    return np.asarray(depth[kept], np.float64), np.asarray(total[kept] ** -0.5, np.float64), cycles[kept]
