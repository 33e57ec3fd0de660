"""Simulated TESS light curves with known truth, for the demo, training and tests.

`simulate_stars` yields what SPOC would have measured of simulated stars (`stars`) in one sector (`sector`):
noise by magnitude, flags, gaps, momentum dumps, scattered light, centroids and barycentric times as the real
files have them. Truth depends on (seed, tic_id), noise on the sector and cadence too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.simulate import sector as tess
from pipeline.simulate.eclipses import Floats
from pipeline.simulate.sector import Clock, barycentric_correction, live_share, sector_clock
from pipeline.simulate.stars import Star, draw_star, simulated_tic_id

__all__ = ["SimulatedCurve", "observe", "simulate_stars"]

_READOUT_DELAY_S = (
    0.0,
    1.5,
    0.5,
    1.0,
)  # of CCD 1 of each camera (cards TMOFSTnn); 0.02 s more for each next CCD
_ZERO_POINT = 20.44  # Tmag of one electron a second (TESS Instrument Handbook)
_FLOOR = 60e-6  # systematic floor of the noise, relative
_READ_NOISE = 9.0  # electrons a pixel and frame

# Flagged cadences that SPOC leaves NaN, as found in real files.
_NO_SAP = tess.COARSE_POINT | tess.EARTH_POINT | tess.ARGABRIGHTENING | tess.DESATURATION
_NO_PDCSAP = _NO_SAP | tess.MANUAL_EXCLUDE | tess.SCATTERED_LIGHT

Floats32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedCurve(Star):  # numpydoc ignore=PR01
    """One star in one sector: its truth, all fields of `Star`, and its (n,) columns as in SPOC's files.

    Parameters
    ----------
    sector : int
        Sector observed.
    cadence_s : float
        Seconds.
    n_pixels : int
        Pixels in the aperture.
    cadenceno : (n,) int32
        Contiguous.
    time : (n,) float64
        Mid-exposure, BTJD, NaN in gaps; spacecraft time + `timecorr`.
    timecorr : (n,) float32
        Barycentric correction, days, 0 in gaps.
    flux, flux_err : (n,) float32
        PDCSAP, e-/s.
    sap_flux, sap_flux_err, bkg, bkg_err : (n,) float32
        Simple aperture photometry and the background in the aperture, e-/s.
    quality : (n,) int32
        SPOC's bits.
    centroid1, centroid2 : (n,) float64
        Column and row, pixels.
    centroid1_err, centroid2_err, pos_corr1, pos_corr2 : (n,) float32
        Pixels.
    """

    sector: int
    cadence_s: float
    n_pixels: int
    cadenceno: NDArray[np.int32]
    time: Floats
    timecorr: Floats32
    flux: Floats32
    flux_err: Floats32
    sap_flux: Floats32
    sap_flux_err: Floats32
    bkg: Floats32
    bkg_err: Floats32
    quality: NDArray[np.int32]
    centroid1: Floats
    centroid2: Floats
    centroid1_err: Floats32
    centroid2_err: Floats32
    pos_corr1: Floats32
    pos_corr2: Floats32


def simulate_stars(
    n: int, sector: int, seed: int, cadence_s: float = 120.0, fraction_eb: float = 0.5
) -> Iterator[SimulatedCurve]:
    """Simulate the first n stars of a seed in one sector, one after the other.

    Parameters
    ----------
    n : int
        How many stars; those of a smaller n come first, and another sector shows the same stars.
    sector : int
        1 or later.
    seed : int
        Seed of truth and noise, >= 0.
    cadence_s : float
        20, 120, 200, 600 or 1800 s.
    fraction_eb : float
        Share of eclipsing binaries.

    Yields
    ------
    SimulatedCurve
        In order of tic_id.
    """
    for index in range(n):
        yield observe(draw_star(simulated_tic_id(index, seed), seed, fraction_eb), sector, seed, cadence_s)


def observe(star: Star, sector: int, seed: int, cadence_s: float = 120.0) -> SimulatedCurve:
    """Observe a star in one sector.

    Parameters
    ----------
    star : Star
        From `draw_star`.
    sector : int
        1 or later; every star is in the field of every sector.
    seed : int
        Seed of the noise.
    cadence_s : float
        20, 120, 200, 600 or 1800 s.

    Returns
    -------
    SimulatedCurve
        One star in twenty starts late or ends early, as light curves of a sector may.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, star.tic_id, sector, round(cadence_s)]))
    clock = sector_clock(sector, cadence_s)
    if rng.random() < 0.05:
        cut = int(clock.time.size * rng.uniform(0.01, 0.08))
        clock = clock.rows(cut, clock.time.size) if rng.random() < 0.5 else clock.rows(0, clock.time.size - cut)
    spacecraft = clock.time + (_READOUT_DELAY_S[star.camera - 1] + 0.02 * (star.ccd - 1)) / 86400
    correction = barycentric_correction(spacecraft, star.ecliptic_longitude, star.ecliptic_latitude)
    # As in SPOC's files, TIME is spacecraft time plus the *single precision* TIMECORR, which is 0 in gaps.
    timecorr = correction.astype(np.float32)
    time = spacecraft + timecorr
    light = star.source.flux(time, cadence_s / 86400)
    if star.kind == "FLARE":
        light += _flares(time, rng)
    n_pixels = int(np.clip(26 - 1.6 * star.tmag, 4, 20))
    quality = clock.quality.copy()
    hits = rng.integers(0, quality.size, rng.integers(0, 4))
    quality[hits[~clock.gap[hits]]] |= tess.IMPULSIVE_OUTLIER
    truth: dict[str, Any] = {f.name: getattr(star, f.name) for f in fields(Star)}
    return SimulatedCurve(
        **truth,
        sector=sector,
        cadence_s=cadence_s,
        n_pixels=n_pixels,
        cadenceno=clock.cadenceno,
        time=np.where(clock.gap, np.nan, time),
        timecorr=np.where(clock.gap, np.float32(0), timecorr),
        quality=quality,
        **_measure(star, light, quality, clock, n_pixels, cadence_s, rng),
    )


def _measure(
    star: Star,
    light: Floats,
    quality: NDArray[np.int32],
    clock: Clock,
    n_pixels: int,
    cadence_s: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Fluxes and centroids of a star that sends `light`, with noise and systematics."""
    counting, total = cadence_s * live_share(cadence_s), 10 ** (-0.4 * (star.tmag - _ZERO_POINT))
    bkg = 65.0 * n_pixels * (1 + 3 * rng.uniform(0.2, 1.0) * (1 + (star.camera == 1)) * clock.ramp)
    slow, quick, pointing = rng.normal(0, (0.004, 0.002, 0.02))
    systematics = slow * clock.ramp + quick * clock.settling + pointing * clock.drift1
    sap = total * star.flfrcsap * (light + systematics + 1 / star.crowdsap - 1)
    read = n_pixels * _READ_NOISE**2 / 1.98 / counting  # one read every 1.98 s counted
    variance = np.maximum(sap + bkg, 0) / counting + read
    error, bkg_err = np.sqrt(variance), np.sqrt(bkg / counting)
    # Four independent streams of white noise: flux, background and two centroids.
    white, white_bkg, white1, white2 = rng.standard_normal((4, light.size), dtype=np.float32)
    noise = white * np.sqrt(variance + (_FLOOR * sap) ** 2)
    struck = (quality & tess.IMPULSIVE_OUTLIER) != 0
    noise[struck] += rng.uniform(5, 30) * error[struck]
    # PDC takes most of the systematics out, and the crowding and the aperture's losses with them.
    pdcsap = total * (light + 0.1 * systematics) + noise / star.flfrcsap

    centroid_err = 0.7 * error / np.maximum(sap, 1)
    tilt, column, row = rng.normal(0, 0.3), rng.uniform(60, 2080), rng.uniform(20, 2030)
    pos1, pos2 = clock.drift1 + tilt * clock.drift2, clock.drift2 - tilt * clock.drift1
    no_sap, no_pdcsap = (quality & _NO_SAP) != 0, (quality & _NO_PDCSAP) != 0
    return {
        "flux": _masked(pdcsap, no_pdcsap),
        "flux_err": _masked(error / star.flfrcsap, no_pdcsap),
        "sap_flux": _masked(sap + noise, no_sap),
        "sap_flux_err": _masked(error, no_sap),
        "bkg": _masked(bkg + white_bkg * bkg_err, no_sap),
        "bkg_err": _masked(bkg_err, no_sap),
        "centroid1": np.where(no_sap, np.nan, column + pos1 + centroid_err * white1),
        "centroid2": np.where(no_sap, np.nan, row + pos2 + centroid_err * white2),
        "centroid1_err": _masked(centroid_err, no_sap),
        "centroid2_err": _masked(centroid_err, no_sap),
        "pos_corr1": _masked(pos1, no_sap),
        "pos_corr2": _masked(pos2, no_sap),
    }


def _flares(time: Floats, rng: np.random.Generator) -> Floats:
    light = np.zeros(time.size)
    for _ in range(int(rng.integers(5, 25))):
        peak, decay = rng.uniform(time[0], time[-1]), rng.uniform(0.005, 0.04)
        height = min(0.01 * (rng.pareto(1.5) + 0.3), 2.0)
        low, high = np.searchsorted(time, (peak, peak + 10 * decay))
        light[low:high] += height * np.exp(-(time[low:high] - peak) / decay)
    return light


def _masked(values: Floats, mask: NDArray[np.bool_]) -> Floats32:
    column = values.astype(np.float32)
    column[mask] = np.nan
    return column
