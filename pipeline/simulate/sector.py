"""A sector of TESS as its targets share it: clock, gaps, flags, pointing, scattered light.

Cadence numbers and times follow the real mission to a day. Gaps and flags are those of real sectors (`flags`): a
sector has its own where they are known, else those of another one, drawn from its number; a CCD has one of the patterns
that its sector showed. Scattered light and pointing are drawn for each CCD, with jumps at the real momentum dumps.
"""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UsageError
from pipeline.simulate.eclipses import Floats
from pipeline.simulate.flags import NO_PDCSAP, NO_SAP, NO_TIME, Pattern, patterns, unroll

__all__ = ["CADENCES", "Clock", "barycentric_correction", "live_share", "sector_clock", "sector_span"]

CADENCES = (20.0, 120.0, 200.0, 600.0, 1800.0)  #: seconds

# TESS's clock, fitted to TIME - TIMECORR of real files of sectors 1 to 65: mid-time of two-minute cadence 0
# in BTJD and days a cadence; and cadences from one sector to the next after the last one known.
_EPOCH, _CADENCE_D, _NEXT = 1227.455496, 1.388888277e-3, 19614
_LIGHT_TIME_D = 499.004784 / 86400  # one astronomical unit

# Bits of QUALITY that occur here (TESS Archive Manual).
COARSE_POINT, EARTH_POINT, ARGABRIGHTENING, DESATURATION = 4, 8, 16, 32
MANUAL_EXCLUDE, IMPULSIVE_OUTLIER, SCATTERED_LIGHT = 128, 512, 4096


@dataclass(frozen=True, eq=False)
class Clock:
    """What all targets of a sector share.

    Parameters
    ----------
    cadenceno : (n,) int32
        Cadence numbers, contiguous.
    time : (n,) float64
        Spacecraft time of mid-exposure, BTJD, finite everywhere.
    quality : (n,) int32
        SPOC's bits.
    gap, no_sap, no_pdcsap : (n,) bool
        TIME, SAP_FLUX, PDCSAP_FLUX will be NaN.
    glow : (n,) float64
        Background over its quiet level: scattered light.
    ramp, settling : (n,) float64
        1 at the start of an orbit, then decaying; and 1 just after a momentum dump, then decaying.
    drift1, drift2 : (n,) float64
        Pointing, pixels.
    orbits : (k, 2) float64
        First and last time of each stretch between long gaps.
    dumps : (d,) float64
        Times of momentum dumps.
    """

    cadenceno: NDArray[np.int32]
    time: Floats
    quality: NDArray[np.int32]
    gap: NDArray[np.bool_]
    no_sap: NDArray[np.bool_]
    no_pdcsap: NDArray[np.bool_]
    glow: Floats
    ramp: Floats
    settling: Floats
    drift1: Floats
    drift2: Floats
    orbits: Floats
    dumps: Floats

    def rows(self, start: int, stop: int) -> "Clock":
        """Clip to some rows.

        Parameters
        ----------
        start, stop : int
            First row, and the one after the last.

        Returns
        -------
        Clock
            Views of the columns.
        """
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return Clock(**{name: c if name in ("orbits", "dumps") else c[start:stop] for name, c in columns.items()})


def live_share(cadence_s: float) -> float:
    """Share of a cadence in which photons are counted (card DEADC).

    Reading takes 0.02 of 2 s; on board, two of ten frames fall to cosmic-ray mitigation, but not at 20 s.

    Parameters
    ----------
    cadence_s : float
        Seconds.

    Returns
    -------
    float
        0 to 1.
    """
    return 0.99 if cadence_s < 120 else 0.792


def sector_span(sector: int) -> tuple[int, int]:
    """Place a sector on the mission's count of two-minute cadences.

    Parameters
    ----------
    sector : int
        1 or later.

    Returns
    -------
    tuple of int
        First cadence number, and how many cadences there are.
    """
    known = {number: found[0]["first"] for number, found in patterns().items()}
    numbers, first = np.array(list(known)), np.array(list(known.values()))
    start = np.interp(sector, numbers, first) + max(sector - numbers[-1], 0) * _NEXT
    return int(start), sum(length for _, length in _patterns_of(sector)[0]["runs"])


def _patterns_of(sector: int) -> list[Pattern]:
    known = patterns()
    if sector in known:
        return known[sector]
    return known[int(np.random.default_rng(np.random.SeedSequence([0, sector])).choice(list(known)))]


@lru_cache(maxsize=64)
def sector_clock(sector: int, cadence_s: float, camera: int = 1, ccd: int = 1) -> Clock:
    """Cadences, flags, pointing and scattered light of a sector, common to the targets of a CCD.

    Parameters
    ----------
    sector : int
        1 or later.
    cadence_s : float
        One of `CADENCES`.
    camera, ccd : int
        1 to 4 each; cadences, times and gaps in them do not depend on these.

    Returns
    -------
    Clock
        Its columns; the same for the same arguments.

    Raises
    ------
    UsageError
        If TESS has no such sector or cadence.
    """
    if sector < 1 or cadence_s not in CADENCES:
        known = ", ".join(f"{c:g}" for c in CADENCES)
        raise UsageError(f"sector {sector}, cadence {cadence_s} s: take a sector >= 1 and a cadence of {known} s")
    start, count = sector_span(sector)
    scale = cadence_s / 120
    cadenceno = np.arange(int(np.ceil(start / scale)), int((start + count) / scale), dtype=np.int32)
    time = np.asarray(_EPOCH + _CADENCE_D * ((cadenceno + 0.5) * scale - 0.5), dtype=np.float64)
    found = _patterns_of(sector)
    match = [pattern for pattern in found if (pattern["camera"], pattern["ccd"]) == (camera, ccd)] or found
    value = _at_cadence(unroll(match[(4 * camera + ccd) % len(match)]), cadenceno, start, scale)
    gap = (value & NO_TIME) != 0
    # Everything is drawn in the same order whatever the cadence, so that a sector has one history.
    rng = np.random.default_rng(np.random.SeedSequence([0, sector, camera, ccd]))
    orbits = _orbits(time, gap)
    dumps = _starts(time, (value & DESATURATION) != 0)
    grid = np.linspace(time[0], time[-1], int((time[-1] - time[0]) / 0.015))
    waves = [np.interp(time, grid, wave) for wave in _weather(grid, orbits, dumps, rng)]
    glow, ramp, settling, drift1, drift2 = waves
    return Clock(
        cadenceno,
        time,
        value & (NO_TIME - 1),
        gap,
        (value & NO_SAP) != 0,
        (value & NO_PDCSAP) != 0,
        glow,
        ramp,
        settling,
        drift1,
        drift2,
        orbits,
        dumps,
    )


def _at_cadence(value: NDArray[np.int32], cadenceno: NDArray[np.int32], start: int, scale: float) -> NDArray[np.int32]:
    """Two-minute flags at another cadence.

    A longer exposure has a flag that half of it had, and a momentum dump, a flash or a loss of pointing at any time.
    """
    low = np.maximum(np.floor(cadenceno * scale + 1e-9).astype(np.int64) - start, 0)
    if scale <= 1:
        return np.asarray(value[np.minimum(low, value.size - 1)])
    high = np.minimum(np.ceil((cadenceno + 1) * scale - 1e-9).astype(np.int64) - start, value.size)
    result = np.zeros(cadenceno.size, dtype=np.int32)
    for bit in 2 ** np.arange(23):
        if not (value & bit).any():
            continue
        count = np.concatenate([[0], np.cumsum((value & bit) != 0)])
        share = (count[high] - count[low]) / (high - low)
        result[share > 0 if bit in (COARSE_POINT, ARGABRIGHTENING, DESATURATION) else share >= 0.5] |= bit
    result[(result & (COARSE_POINT | ARGABRIGHTENING | DESATURATION)) != 0] |= NO_PDCSAP
    return result


def _starts(time: Floats, flagged: NDArray[np.bool_]) -> Floats:
    """Times at which runs of flagged cadences begin, those closer than 0.1 d taken as one."""
    found = time[flagged & ~np.r_[False, flagged[:-1]]]
    return np.asarray(found[np.r_[True, np.diff(found) > 0.1]]) if found.size else found


def _orbits(time: Floats, gap: NDArray[np.bool_]) -> Floats:
    """First and last time of each stretch without a gap of more than 0.3 d."""
    seen = time[~gap]
    edges = np.flatnonzero(np.diff(seen) > 0.3)
    return np.stack([seen[np.r_[0, edges + 1]], seen[np.r_[edges, seen.size - 1]]], axis=1)


def _weather(time: Floats, orbits: Floats, dumps: Floats, rng: np.random.Generator) -> tuple[Floats, ...]:
    """Glow, ramp, settling and both drifts on a grid."""
    wander = np.sin(np.linspace(0, rng.uniform(4, 7), time.size))
    roll = np.linspace(1, rng.uniform(5, 8), time.size)
    glow, ramp, settling, drift = np.zeros(time.size), np.zeros(time.size), np.zeros(time.size), 0.03 * wander
    for begin, end in orbits:
        since, before = np.maximum(time - begin, 0), np.maximum(end - time, 0)
        inside = (time >= begin - 0.02) & (time <= end + 0.02)
        ramp += inside * np.exp(-since / 0.7)
        # The Earth and the Moon shine into the cameras where the orbit comes near: at its ends.
        glow += inside * rng.lognormal(0.3, 1.0) * np.exp(-since / rng.uniform(0.15, 0.8))
        glow += inside * rng.lognormal(0.3, 1.0) * np.exp(-before / rng.uniform(0.15, 1.2))
        for _ in range(rng.integers(0, 3)):
            glow += inside * rng.lognormal(-1.5, 0.8) * _bump(time, rng.uniform(begin, end), rng.uniform(0.1, 0.6))
    for dump in dumps:
        after = np.where(time >= dump, time - dump, np.inf)
        settling += np.exp(-after / 0.15)
        drift += 0.03 * rng.normal() * np.exp(-after / 1.2)
    drift += 0.001 * rng.standard_normal(time.size)  # pointing jitter
    return glow, ramp, settling, drift, 0.5 * drift + 0.02 * np.sin(roll)


def _bump(time: Floats, centre: float, width: float) -> Floats:
    return np.asarray(np.exp(-0.5 * ((time - centre) / width) ** 2))


def barycentric_correction(spacecraft: Floats, longitude: float, latitude: float) -> Floats:
    """Light time from TESS to the barycentre along the line of sight.

    The Earth is put on a circle around the Sun at its mean longitude: right to 2%, as smooth as the real one.

    Parameters
    ----------
    spacecraft : (n,) float64
        Time at the spacecraft, BTJD.
    longitude, latitude : float
        Ecliptic, radians.

    Returns
    -------
    (n,) float64
        Days to add.
    """
    grid = np.linspace(spacecraft[0], spacecraft[-1], 400)  # between its points a line is right to 1e-9 d
    earth = np.radians(100.46 + 0.98564736 * (grid + 5455.0))  # mean longitude; J2000 is BTJD -5455
    return np.interp(spacecraft, grid, _LIGHT_TIME_D * np.cos(latitude) * np.cos(longitude - earth))
