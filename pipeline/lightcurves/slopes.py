"""Straight lines of the photocentre over the light lost: one by each eclipse, and where there is none."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.events import COVERED, Minimum, inside, minima
from pipeline.lightcurves.star import Observation

__all__ = ["Slopes", "measure"]

Floats = NDArray[np.float64]

WIDE = 0.6  # of the orbit: eclipses that take more leave no level beside them
MOST = 60  # eclipses fitted in a sector, evenly chosen, and as many places without one


@dataclass(frozen=True, eq=False)
class Slopes:
    """Motion of the photocentre over u = d / (1 − d), d the share of the aperture's light that is lost.

    Parameters
    ----------
    u : float
        In mid-eclipse.
    slopes : (k, 2) float64
        Of eclipses: column and row, pixels.
    nulls : (m, 2) float64
        Of the same fit at places without an eclipse; none in contact binaries.
    """

    u: float
    slopes: Floats
    nulls: Floats


def measure(observation: Observation, ephemeris: Ephemeris, most: int = MOST) -> Slopes | None:
    """Fit the photocentre of a sector by its primary eclipses.

    Parameters
    ----------
    observation : Observation
        One sector.
    ephemeris : Ephemeris
        Of one system.
    most : int
        Largest number of eclipses, and of places without one.

    Returns
    -------
    Slopes or None
        None without centroids, or an eclipse with data on both sides.
    """
    track = _track(observation, ephemeris)
    if track is None:
        return None
    minimum = minima(ephemeris)[0]
    share = observation.crowdsap if 0 < observation.crowdsap <= 1 else 1.0
    profile = _contact(track, minimum, share) if _is_contact(ephemeris) else _profile(track, minimum, share)
    if profile is None:
        return None
    u = float(profile.u.max())
    slopes = _slopes(track, profile, profile.places(track, most))
    if not len(slopes) or not u > 0:
        return None
    return Slopes(u, slopes, _slopes(track, profile, profile.nulls(track, most), null=True))


@dataclass(frozen=True, eq=False)
class _Track:
    """Good cadences of an observation: time, centroid less nothing, motion, flux and what lies in eclipse."""

    time: Floats
    place: Floats  # (n, 2)
    motion: Floats  # (n, 2)
    flux: Floats
    eclipsed: NDArray[np.bool_]
    cadence: float

    def between(self, low: float, high: float) -> slice:
        return slice(*np.searchsorted(self.time, [low, high]))


def _track(observation: Observation, ephemeris: Ephemeris) -> _Track | None:
    columns = [observation.centroid_col, observation.centroid_row]
    if any(column is None for column in columns):
        return None
    still = np.zeros_like(observation.time)
    motion = [still if m is None else m for m in (observation.pos_corr_col, observation.pos_corr_row)]
    place, moved = np.stack(columns, axis=1), np.stack(motion, axis=1)  # type: ignore[arg-type]
    kept = (observation.quality == 0) & np.isfinite(observation.flux)
    kept &= np.isfinite(place).all(axis=1) & np.isfinite(moved).all(axis=1)
    if kept.sum() < 50:
        return None
    time, flux = observation.time[kept], observation.flux[kept]
    eclipsed = inside(time, ephemeris)
    return _Track(time, place[kept], moved[kept], flux, eclipsed, observation.cadence_s / 86400)


def _is_contact(ephemeris: Ephemeris) -> bool:
    """Return whether eclipses take so much of the orbit that nothing lies beside them."""
    kinds = minima(ephemeris)
    return sum(2 * one.half for one in kinds) > WIDE * kinds[0].period


@dataclass(frozen=True, eq=False)
class _Profile:
    """The shape of the dip: u by days from mid-eclipse, and where to look for it."""

    x: Floats
    u: Floats
    minimum: Minimum
    reach: float
    length: float  # days between places, for contact binaries; 0 else

    def __call__(self, time: Floats, place: float) -> Floats:
        if self.length:
            return np.interp(self.minimum.away(time)[0], self.x, self.u)
        return np.interp(time - place, self.x, self.u, left=0, right=0)

    def places(self, track: _Track, most: int) -> Floats:
        """Return mid-eclipses; for contact binaries, middles of stretches of some cycles."""
        if self.length:
            return np.arange(track.time[0] + self.reach, track.time[-1], self.length)
        x, cycle = self.minimum.away(track.time)
        cycles = np.unique(cycle[np.abs(x) <= self.minimum.half])
        step = self.minimum.period if np.isfinite(self.minimum.period) else 0.0
        return np.asarray(self.minimum.mid + cycles[:: len(cycles) // most + 1] * step, np.float64)

    def nulls(self, track: _Track, most: int) -> Floats:
        """Return places without an eclipse, evenly spread."""
        if self.length:
            return np.empty(0)
        places = np.arange(track.time[0] + self.minimum.half, track.time[-1], 2 * self.minimum.half)
        low, high = places - self.minimum.half, places + self.minimum.half
        clear = np.cumsum(np.r_[0, ~track.eclipsed])
        counts = np.diff(clear[np.searchsorted(track.time, np.stack([low, high], axis=1))], axis=1)[:, 0]
        places = places[counts > 0.8 * 2 * self.minimum.half / track.cadence]
        return places[:: len(places) // most + 1]


def _profile(track: _Track, minimum: Minimum, share: float) -> _Profile | None:
    """Return the dip of a detached system: medians of all its eclipses, each over the data beside it."""
    x, cycle = minimum.away(track.time)
    near = np.abs(x) <= minimum.reach
    out = near & ~track.eclipsed
    level = np.full(track.time.shape, np.nan)
    for one in np.unique(cycle[near]):
        own = near & (cycle == one)
        if (own & out).sum() >= 6:
            level[own] = np.polyval(np.polyfit(x[own & out], track.flux[own & out], 1), x[own])
    known = np.isfinite(level) & (level > 0) & (np.abs(x) <= 1.1 * minimum.half)
    if known.sum() < 12:
        return None
    edges = np.linspace(-1.1, 1.1, int(np.clip(known.sum() // 12, 5, 23)) // 2 * 2 + 2) * minimum.half
    lost = _medians(x[known], 1 - track.flux[known] / level[known], edges)
    return _shape((edges[1:] + edges[:-1]) / 2, lost, share, minimum, minimum.reach, 0.0)


def _contact(track: _Track, minimum: Minimum, share: float) -> _Profile | None:
    """Return the light curve of a contact binary over the whole orbit, below its maximum."""
    x = minimum.away(track.time)[0]
    edges = np.linspace(-0.5, 0.5, 42) * minimum.period
    flux = _medians(x, track.flux / np.median(track.flux), edges)
    length = max(minimum.period, 1.0)
    return _shape((edges[1:] + edges[:-1]) / 2, 1 - flux / np.nanmax(flux), share, minimum, length / 2, length)


def _shape(x: Floats, lost: Floats, share: float, minimum: Minimum, reach: float, length: float) -> _Profile | None:
    kept = np.isfinite(lost)
    if kept.sum() < 4:
        return None
    # PDCSAP tells the star's own loss; the photocentre feels its share of the light in the aperture.
    d = np.clip(share * lost[kept], 0, 0.99)
    return _Profile(x[kept], d / (1 - d), minimum, reach, length)


def _medians(x: Floats, values: Floats, edges: Floats) -> Floats:
    order = np.argsort(x)
    cuts = np.searchsorted(x[order], edges)
    parts = (values[order][low:high] for low, high in pairwise(cuts))
    return np.array([float(np.median(part)) if len(part) else np.nan for part in parts], np.float64)


def _slopes(track: _Track, profile: _Profile, places: Floats, null: bool = False) -> Floats:
    fits = [slope for place in places for slope in _fit(track, profile, float(place), null)]
    return np.array(fits).reshape(-1, 2)


def _fit(track: _Track, profile: _Profile, place: float, null: bool) -> Iterator[Floats]:
    """Yield the slope of the photocentre over u around one place, shape (2,), if the data there can tell it."""
    part = track.between(place - profile.reach, place + profile.reach)
    time, y, motion = track.time[part], track.place[part], track.motion[part]
    u = profile(time, place)
    kept = ~track.eclipsed[part] if null else ~(track.eclipsed[part] & (u == 0))
    time, y, motion, u = time[kept], y[kept], motion[kept], u[kept]
    top = profile.u.max()
    deep, out = u > 0.5 * top, u < 0.1 * top
    wanted = 0.0 if profile.length else COVERED * (profile.u > 0.5 * top).mean() * 2.2 * profile.minimum.half
    if deep.sum() < max(3, wanted / track.cadence) or out.sum() < 10:
        return
    if not profile.length and min((out & (time < place)).sum(), (out & (time > place)).sum()) < 5:
        return
    x = (time - place) / profile.reach
    design = np.column_stack([u, np.ones_like(x), x, x * x, motion - motion.mean(axis=0)])
    y = y - y.mean(axis=0)
    usable = np.ones(len(x), bool)
    for _ in range(2):
        solution = _solve(design[usable], y[usable])
        residual = y - design @ solution
        spread = 1.4826 * np.median(np.abs(residual[usable]), axis=0) + 1e-12
        usable = (np.abs(residual) < 5 * spread).all(axis=1)
        if usable.sum() < 12:
            return
    yield np.asarray(solution[0])


def _solve(design: Floats, y: Floats) -> Floats:
    """Return least squares, by normal equations of columns of unit length; a column of zeros gets none."""
    scale = np.sqrt((design * design).sum(axis=0))
    unit = design / np.where(scale > 0, scale, 1.0)
    gram = unit.T @ unit
    gram[np.diag_indices_from(gram)] += 1e-10
    return np.asarray(np.linalg.solve(gram, unit.T @ y) / np.where(scale > 0, scale, 1.0)[:, None])
