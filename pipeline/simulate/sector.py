"""A sector of TESS as all its targets share it: clock, gaps, flags, pointing, scattered light.

Cadence numbers and times follow the real mission to a day; what happens within a sector is drawn from its
number.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UsageError
from pipeline.simulate.eclipses import Floats

__all__ = ["CADENCES", "Clock", "barycentric_correction", "live_share", "sector_clock", "sector_span"]

CADENCES = (20.0, 120.0, 200.0, 600.0, 1800.0)  #: seconds

# TESS's clock, fitted to TIME - TIMECORR of real files of sectors 1 to 65: mid-time of two-minute cadence 0
# in BTJD and days a cadence; and the first cadence of some sectors, between which others are interpolated.
_EPOCH, _CADENCE_D = 1227.455496, 1.388888277e-3
_STARTS = {
    1: 70444,
    2: 91186,
    4: 132081,
    5: 151576,
    6: 173387,
    8: 208718,
    9: 227348,
    17: 386801,
    31: 660279,
    52: 1073646,
    59: 1211619,
    63: 1286574,
    65: 1325721,
}
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
    gap : (n,) bool
        No data: TIME will be NaN.
    ramp, settling : (n,) float64
        Scattered light, 1 at the worst; and 1 just after a momentum dump, then decaying.
    drift1, drift2 : (n,) float64
        Pointing, pixels.
    """

    cadenceno: NDArray[np.int32]
    time: Floats
    quality: NDArray[np.int32]
    gap: NDArray[np.bool_]
    ramp: Floats
    settling: Floats
    drift1: Floats
    drift2: Floats

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
        return Clock(*(getattr(self, f.name)[start:stop] for f in fields(self)))


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
        First cadence number, and how many cadences there are: 96% of the way to the next sector.
    """
    known, first = np.array(list(_STARTS)), np.array(list(_STARTS.values()))
    pair = np.array([sector, sector + 1])
    start = np.interp(pair, known, first) + np.maximum(pair - known[-1], 0) * 19614
    return int(start[0]), int(0.96 * (start[1] - start[0]))


@lru_cache(maxsize=8)
def sector_clock(sector: int, cadence_s: float) -> Clock:
    """Cadences, flags, pointing and scattered light of a sector, common to its targets.

    Parameters
    ----------
    sector : int
        1 or later.
    cadence_s : float
        One of `CADENCES`.

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
    rng = np.random.default_rng(np.random.SeedSequence([0, sector]))
    start, count = sector_span(sector)
    scale = cadence_s / 120
    cadenceno = np.arange(int(np.ceil(start / scale)), int((start + count) / scale), dtype=np.int32)
    time = np.asarray(_EPOCH + _CADENCE_D * ((cadenceno + 0.5) * scale - 0.5), dtype=np.float64)
    return Clock(cadenceno, time, *_events(time, cadence_s / 86400 / 2, rng))


def _events(time: Floats, half: float, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """Quality, gap, ramp, settling and both drifts of cadences from time - half to time + half."""

    def during(begin: float, length: float) -> NDArray[np.bool_]:
        return (time > begin - half) & (time < begin + length + half)

    # Everything is drawn in the same order whatever the cadence, so that a sector has one history.
    first, span = time[0], np.ptp(time)
    middle = first + rng.uniform(0.44, 0.5) * span
    gap = during(middle, rng.uniform(0.9, 1.1))
    wander, roll = (
        np.sin(np.linspace(0, rng.uniform(4, 7), time.size)),
        np.linspace(1, rng.uniform(5, 8), time.size),
    )
    quality = np.zeros(time.size, dtype=np.int32)
    ramp, settling, drift = np.zeros(time.size), np.zeros(time.size), 0.03 * wander
    for begin, end in ((first, middle), (time[gap][-1] + half, time[-1])):
        since = np.where((time > begin - half) & (time < end), time - begin, np.inf)
        ramp += np.exp(-since / 0.35)
        quality[during(begin, rng.uniform(0.2, 0.7))] |= SCATTERED_LIGHT
        for dump in np.arange(begin + 2.5, end - 0.5, 2.5):
            quality[during(dump, 14 / 1440)] |= DESATURATION
            quality[during(dump, 4 / 1440)] |= COARSE_POINT
            since = np.where(time > dump, time - dump, np.inf)
            settling += np.exp(-since / 0.15)
            drift += 0.03 * rng.normal() * np.exp(-since / 1.2)
    for flash in first + rng.random(2) * span:
        quality[during(flash, 1 / 1440)] |= ARGABRIGHTENING
    quality[rng.random(time.size) < 0.004] |= MANUAL_EXCLUDE
    quality[gap] = EARTH_POINT
    quality[0] |= EARTH_POINT
    drift += 0.001 * rng.standard_normal(time.size)  # pointing jitter
    return quality, gap, ramp, settling, drift, 0.5 * drift + 0.02 * np.sin(roll)


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
    earth = np.radians(100.46 + 0.98564736 * (spacecraft + 5455.0))  # mean longitude; J2000 is BTJD -5455
    return np.asarray(_LIGHT_TIME_D * np.cos(latitude) * np.cos(longitude - earth))
