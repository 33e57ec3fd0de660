"""Whether eclipses lie where TESS itself makes dips: momentum dumps, edges of stretches, background, pointing."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves.events import Event
from pipeline.lightcurves.star import Observation, StarCurves, good

__all__ = ["DUMP", "coincident"]

Floats = NDArray[np.float64]

#: QUALITY of a momentum dump, "reaction wheel desaturation event" (TESS Science Data Products Description
#: Document, table 32, bit 6).
DUMP = 32

GAP = 0.3  # days without good data that part two stretches: downlinks last longer, dumps do not
BESIDE = 0.25  # durations of level that must lie on either side of an eclipse
LONGEST = 0.25  # d: half of what a dump makes lasts no longer, half of what an edge makes no longer than twice that
NEAR = 0.5 / 24  # days from an eclipse within which a dump still disturbs it
LEFT_OVER = 0.1  # share of a change in the background that its subtraction may leave
EXCURSION = 6.0  # sigmas of the hourly motion that are an excursion
SMALLEST = 0.02  # px: motions below this do not make dips
SHAKING = 3.0  # times the usual motion from cadence to cadence
REAL = 5.0  # times the dips that the star shows at other dumps and edges: too deep to be one of them
DEEP = 0.02  # likewise; what is left of systematics in PDCSAP seldom reaches it
_FEWEST = 3


def coincident(star: StarCurves, events: Sequence[Event]) -> NDArray[np.bool_]:
    """Return which eclipses coincide with something that TESS does.

    Parameters
    ----------
    star : StarCurves
        Light curves.
    events : sequence of Event
        Eclipses inside the data, n of them.

    Returns
    -------
    (n,) bool
        True where a momentum dump, the edge of a stretch of data, a change in the background that could leave as
        deep a dip, or an excursion of the pointing lies in the eclipse. Eclipses deeper than 2%, and five times
        deeper than all dips at this star's other dumps and edges, are not made by those.
    """
    found = np.zeros(len(events), bool)
    for observation in star.observations:
        own = [i for i, event in enumerate(events) if event.sector == observation.sector]
        if own:
            found[own] = _coincident(observation, [events[i] for i in own])
    return found


def _coincident(observation: Observation, events: list[Event]) -> NDArray[np.bool_]:
    mid, half, depth = (
        np.array(column) for column in zip(*[(e.mid, e.minimum.half, e.minimum.depth) for e in events], strict=True)
    )
    dumps, edges = _dumps(observation), _edges(observation)
    at_place = _touches(dumps, mid, half + NEAR) & (half <= LONGEST)
    at_place |= _touches(edges, mid, np.minimum((1 + 2 * BESIDE) * half, 2 * LONGEST))
    if at_place.any():
        places = np.r_[dumps, edges]
        free = places[~_touches(mid, places, np.full(places.shape, 2 * half.max() + NEAR))]
        usual = _usual(observation, free, float(np.median(half)))
        at_place &= ~(depth > max(DEEP, REAL * usual))
    return at_place | _background(observation, mid, half, depth) | _pointing(observation, mid, half)


def _touches(places: Floats, mid: Floats, reach: Floats) -> NDArray[np.bool_]:
    """Return for each of `mid` whether one of `places` is within its `reach`."""
    places = np.sort(places)
    return np.asarray(np.searchsorted(places, mid - reach) < np.searchsorted(places, mid + reach, "right"))


def _dumps(observation: Observation) -> Floats:
    """Return the middles of momentum dumps, runs of flagged cadences."""
    flagged = observation.time[(observation.quality & DUMP) > 0]
    runs = np.split(flagged, np.flatnonzero(np.diff(flagged) > NEAR) + 1)
    return np.array([run.mean() for run in runs if len(run)])


def _edges(observation: Observation) -> Floats:
    """Return where stretches of good data begin and end."""
    time = good(observation)[0]
    gaps = np.flatnonzero(np.diff(time) > GAP)
    return np.sort(np.r_[time[:1], time[gaps], time[gaps + 1], time[-1:]])


def _usual(observation: Observation, places: Floats, half: float) -> float:
    """Return the depth of the deepest dip at places where there is no eclipse; 0 if those are too few to tell."""
    time, flux, _ = good(observation)
    steps = np.abs(_steps(time, flux, places, np.full(places.shape, half), sided=False))
    steps = steps[np.isfinite(steps)]
    return float(steps.max()) if len(steps) >= _FEWEST else 0.0


def _steps(time: Floats, values: Floats, mid: Floats, half: Floats, sided: bool = True) -> Floats:
    """Return medians inside windows less those beside them, on both sides unless not `sided`; NaN where there are none.

    The level beside is the mean of the two sides, so that a steady drift makes no step.
    """
    steps = np.full(len(mid), np.nan)
    for i, (place, width) in enumerate(zip(mid, half, strict=True)):
        cuts = np.searchsorted(time, [place - 2.5 * width, place - width, place + width, place + 2.5 * width])
        before, within, after = (values[low:high] for low, high in pairwise(cuts))
        sides = [float(np.median(side)) for side in (before, after) if len(side) >= _FEWEST]
        if len(within) >= _FEWEST and len(sides) >= (2 if sided else 1):
            steps[i] = float(np.median(within)) - float(np.mean(sides))
    return steps


def _excursions(time: Floats, values: Floats, mid: Floats, half: Floats) -> tuple[Floats, Floats]:
    """Return the steps of a column in eclipses, and in sigmas of its steps all over the sector."""
    kept = np.isfinite(values)
    time, values = time[kept], values[kept]
    if len(time) < 100:
        return np.zeros(len(mid)), np.zeros(len(mid))
    grid = np.arange(time[0], time[-1], max(2 * float(np.median(half)), np.ptp(time) / 150))
    usual = _steps(time, values, grid, np.full(grid.shape, np.median(half)))
    spread = 1.4826 * np.nanmedian(np.abs(usual)) if np.isfinite(usual).any() else np.inf
    steps = np.nan_to_num(_steps(time, values, mid, half))
    return steps, np.abs(steps) / max(float(spread), 1e-12)


def _background(observation: Observation, mid: Floats, half: Floats, depth: Floats) -> NDArray[np.bool_]:
    if observation.sap_bkg is None:
        return np.zeros(len(mid), bool)
    steps, sigmas = _excursions(observation.time, observation.sap_bkg, mid, half)
    lost = depth * float(np.nanmedian(observation.flux))
    return np.asarray((sigmas > EXCURSION) & (LEFT_OVER * np.abs(steps) > 0.5 * lost))


def _pointing(observation: Observation, mid: Floats, half: Floats) -> NDArray[np.bool_]:
    found = np.zeros(len(mid), bool)
    for column in (observation.pos_corr_col, observation.pos_corr_row):
        if column is not None:
            steps, sigmas = _excursions(observation.time, column, mid, half)
            found |= (sigmas > EXCURSION) & (np.abs(steps) > SMALLEST)
            found |= _shakes(observation.time, column, mid, half)
    return found


def _shakes(time: Floats, values: Floats, mid: Floats, half: Floats) -> NDArray[np.bool_]:
    """Return whether the pointing shakes in eclipses, from cadence to cadence, far more than it usually does."""
    steps = np.abs(np.diff(values))
    usual = float(np.nanmedian(steps)) if np.isfinite(steps).any() else np.inf
    cuts = np.searchsorted(time, np.stack([mid - half, mid + half], axis=1))
    parts = [steps[low : max(low, high - 1)] for low, high in cuts]
    return np.array([np.isfinite(p).sum() >= _FEWEST and np.nanmedian(p) > SHAKING * usual for p in parts], bool)
