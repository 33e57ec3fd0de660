"""Simulated TESS light curves with known truth, for the demo, training and tests.

`simulate_stars` yields what SPOC would have measured of simulated stars (`stars`) in one sector (`sector`):
noise by magnitude, real flags and gaps, what is left of momentum dumps and scattered light (`systematics`), centroids
and barycentric times as the real files have them. Truth depends on (seed, tic_id), noise on the sector and cadence too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from pipeline.simulate.curves import Floats32, PhotometryCurve, SimulatedCurve
from pipeline.simulate.eclipses import Floats
from pipeline.simulate.sector import (
    IMPULSIVE_OUTLIER,
    SCATTERED_LIGHT,
    Clock,
    barycentric_correction,
    live_share,
    sector_clock,
)
from pipeline.simulate.stars import Star, draw_star, simulated_tic_id
from pipeline.simulate.systematics import draw_systematics, red_noise

__all__ = ["PhotometryCurve", "SimulatedCurve", "observe", "simulate_stars"]

_READOUT_DELAY_S = (
    0.0,
    1.5,
    0.5,
    1.0,
)  # of CCD 1 of each camera (cards TMOFSTnn); 0.02 s more for each next CCD
_ZERO_POINT = 20.50  # Tmag of one electron a second: PDCSAP of real files; 20.44 in the TESS Instrument Handbook
_UNKNOWN = 1.08  # errors of real files over those of photons and read-out
_FLOOR = 40e-6  # systematic floor of the noise, relative
_READ_NOISE = 9.0  # electrons a pixel and frame
_SKY = 100.0  # quiet background, e-/s a pixel


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


@overload
def observe(  # numpydoc ignore=GL08
    star: Star, sector: int, seed: int, cadence_s: float = ..., columns: Literal["all"] = ...
) -> SimulatedCurve: ...


@overload
def observe(  # numpydoc ignore=GL08
    star: Star, sector: int, seed: int, cadence_s: float, columns: Literal["photometry"]
) -> PhotometryCurve: ...


@overload
def observe(  # numpydoc ignore=GL08
    star: Star, sector: int, seed: int, cadence_s: float = ..., *, columns: Literal["photometry"]
) -> PhotometryCurve: ...


def observe(
    star: Star, sector: int, seed: int, cadence_s: float = 120.0, columns: Literal["all", "photometry"] = "all"
) -> PhotometryCurve:
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
    columns : str
        'all', or 'photometry' for a `PhotometryCurve`: the same light in less time.

    Returns
    -------
    SimulatedCurve or PhotometryCurve
        One star in twenty starts late or ends early, as light curves of a sector may; one in eight loses more
        cadences to scattered light.

    Raises
    ------
    UsageError
        If TESS has no such sector or cadence.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, star.tic_id, sector, round(cadence_s)]))
    clock = sector_clock(sector, cadence_s, star.camera, star.ccd)
    if rng.random() < 0.05:
        cut = int(clock.time.size * rng.uniform(0.01, 0.08))
        clock = clock.rows(cut, clock.time.size) if rng.random() < 0.5 else clock.rows(0, clock.time.size - cut)
    spacecraft = clock.time + (_READOUT_DELAY_S[star.camera - 1] + 0.02 * (star.ccd - 1)) / 86400
    correction = barycentric_correction(spacecraft, star.ecliptic_longitude, star.ecliptic_latitude)
    # As in SPOC's files, TIME is spacecraft time plus the *single precision* TIMECORR, which is 0 in gaps.
    timecorr = correction.astype(np.float32)
    time = spacecraft + timecorr
    light = star.source.flux(time, cadence_s / 86400)
    if star.source.granulation:
        light += star.source.granulation * red_noise(time, star.source.timescale, rng)
    if star.source.flares:
        light += _flares(time, star.source.flares, rng)
    n_pixels = int(np.clip(26 - 1.6 * star.tmag, 5, 20))
    quality, no_pdcsap = _flags(clock, rng)
    measured = _measure(star, light, quality, no_pdcsap, clock, n_pixels, cadence_s, rng)
    time = np.where(clock.gap, np.nan, time)
    truth: dict[str, Any] = {f.name: getattr(star, f.name) for f in fields(Star)}
    photometry = {
        **truth,
        "sector": sector,
        "cadence_s": cadence_s,
        "n_pixels": n_pixels,
        "n_eclipses": _count_eclipses(star, time, (quality == 0) & ~no_pdcsap & ~clock.gap, cadence_s),
        "time": time,
        "quality": quality,
        "flux": _masked(measured.pdcsap, no_pdcsap),
        "flux_err": _masked(measured.error / star.flfrcsap, no_pdcsap),
    }
    if columns == "photometry":
        return PhotometryCurve(**photometry)
    return SimulatedCurve(
        **photometry,
        cadenceno=clock.cadenceno,
        timecorr=np.where(clock.gap, np.float32(0), timecorr),
        **_other_columns(star, measured, clock, n_pixels, rng),
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """Fluxes before they are masked, e-/s; SAP_FLUX yet without most of the systematics, which are relative."""

    pdcsap: Floats
    sap: Floats
    systematics: Floats
    error: Floats
    bkg: Floats
    counting: float


def _flags(clock: Clock, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The sector's flags, a few outliers of this star, and for one star in eight more scattered light."""
    quality, no_pdcsap = clock.quality.copy(), clock.no_pdcsap
    hits = rng.integers(0, quality.size, rng.integers(0, 9))
    quality[hits[~clock.no_sap[hits]]] |= IMPULSIVE_OUTLIER
    if rng.random() < 0.12:
        late, length = rng.uniform(0.2, 5.0, 2)
        lost = np.zeros(quality.size, dtype=np.bool_)
        for _, end in clock.orbits:
            lost |= (clock.time > end - late) & (clock.time < end - late + length)
        lost &= ~clock.gap
        if np.mean(lost | no_pdcsap) < 0.6:
            quality[lost] |= SCATTERED_LIGHT
            no_pdcsap = no_pdcsap | lost
    return quality, no_pdcsap


def _measure(
    star: Star,
    light: Floats,
    quality: NDArray[np.int32],
    no_pdcsap: NDArray[np.bool_],
    clock: Clock,
    n_pixels: int,
    cadence_s: float,
    rng: np.random.Generator,
) -> _Measured:
    """Fluxes of a star that sends `light`, with noise and systematics."""
    counting, total = cadence_s * live_share(cadence_s), 10 ** (-0.4 * (star.tmag - _ZERO_POINT))
    left = draw_systematics(clock, star.tmag, float(np.std(light)), star.kind == "SYST" or rng.random() < 0.07, rng)
    sky = _SKY * n_pixels * rng.lognormal(0, 0.3)
    bkg = sky * (1 + clock.glow)
    loss = (left.additive * sky / (total * star.flfrcsap)) * clock.glow
    if np.abs(loss).max() > 0.1:  # the pipeline would not let it take most of the star's light
        loss = 0.6 * np.tanh(loss / 0.6)
    # A wrong estimate of the crowding makes all variations a little too large or too small.
    error_of_crowding = max(1 + rng.normal(0, 0.3) * (1 - star.crowdsap), 0.2)
    seen = 1 + error_of_crowding * (light - 1) + left.relative + left.trend + loss
    in_aperture = total * star.flfrcsap * np.maximum(seen + 1 / star.crowdsap - 1, 1e-3)
    read = n_pixels * _READ_NOISE**2 / 1.98 / counting  # one read every 1.98 s counted
    variance = (in_aperture + bkg) / counting + read
    error = _UNKNOWN * np.sqrt(variance)
    worse = _UNKNOWN * rng.lognormal(-0.02, 0.08)  # error bars are right to a few per cent
    noise = np.sqrt(worse**2 * variance + (_FLOOR * in_aperture) ** 2)
    noise *= rng.standard_normal(light.size, dtype=np.float32)
    struck = np.flatnonzero(quality & IMPULSIVE_OUTLIER)
    noise[struck] += rng.uniform(5, 30, struck.size) * error[struck]
    stray = rng.integers(0, light.size, rng.poisson(1.5))  # outliers that nobody flagged
    noise[stray] += rng.normal(0, 6, stray.size) * error[stray]
    # PDC takes the crowding and the aperture's losses out, and most of what is left of the systematics in SAP_FLUX.
    pdcsap = total * seen + noise * (1 / star.flfrcsap)
    return _Measured(pdcsap, in_aperture + noise, left.relative, error, bkg, counting)


def _other_columns(
    star: Star, measured: _Measured, clock: Clock, n_pixels: int, rng: np.random.Generator
) -> dict[str, Any]:
    """What a file has besides PDCSAP."""
    no_sap = clock.no_sap
    sap = measured.sap * (1 + 5 * measured.systematics)
    bkg_err = np.sqrt(measured.bkg / measured.counting)
    # Three independent streams of white noise: background and two centroids.
    white_bkg, white1, white2 = rng.standard_normal((3, clock.time.size), dtype=np.float32)
    centroid_err = 0.7 * measured.error / np.maximum(sap, 1)
    tilt, column, row = rng.normal(0, 0.3), rng.uniform(60, 2080), rng.uniform(20, 2030)
    pos1, pos2 = clock.drift1 + tilt * clock.drift2, clock.drift2 - tilt * clock.drift1
    return {
        "sap_flux": _masked(sap, no_sap),
        "sap_flux_err": _masked(measured.error, no_sap),
        "bkg": _masked(measured.bkg + white_bkg * bkg_err, no_sap),
        "bkg_err": _masked(bkg_err, no_sap),
        "centroid1": np.where(no_sap, np.nan, column + pos1 + centroid_err * white1),
        "centroid2": np.where(no_sap, np.nan, row + pos2 + centroid_err * white2),
        "centroid1_err": _masked(centroid_err, no_sap),
        "centroid2_err": _masked(centroid_err, no_sap),
        "pos_corr1": _masked(pos1, no_sap),
        "pos_corr2": _masked(pos2, no_sap),
    }


def _count_eclipses(star: Star, time: Floats, good: NDArray[np.bool_], cadence_s: float) -> int:
    """Mid-eclipses of both kinds within half a cadence of a good one."""
    seen = time[good]
    if not np.isfinite(star.depth_primary) or seen.size == 0:
        return 0
    count = 0
    for phase in (0.0, star.phase_2):
        if not np.isfinite(phase):
            continue
        first = star.t0 + phase * star.period
        cycles = np.arange(np.ceil((seen[0] - first) / star.period), np.floor((seen[-1] - first) / star.period) + 1)
        middles = first + cycles * star.period
        after = np.clip(np.searchsorted(seen, middles), 1, seen.size - 1)
        nearest = np.minimum(np.abs(seen[after] - middles), np.abs(seen[after - 1] - middles))
        count += int((nearest <= 0.5001 * cadence_s / 86400).sum())
    return count


def _flares(time: Floats, rate: float, rng: np.random.Generator) -> Floats:
    """Flares of a power law of sizes: a rise of minutes and a decay in two steps."""
    light = np.zeros(time.size)
    for _ in range(rng.poisson(rate * (time[-1] - time[0]))):
        peak, decay = rng.uniform(time[0], time[-1]), np.exp(rng.uniform(np.log(0.002), np.log(0.04)))
        height = min(0.004 * (rng.pareto(1.3) + 0.3), 2.0)
        low, high = np.searchsorted(time, (peak - decay, peak + 12 * decay))
        since = (time[low:high] - peak) / decay
        falling = 0.7 * np.exp(-1.6 * since.clip(0)) + 0.3 * np.exp(-0.3 * since.clip(0))
        light[low:high] += height * np.where(since < 0, 1 + since, falling)
    return light


def _masked(values: Floats, mask: NDArray[np.bool_]) -> Floats32:
    column = values.astype(np.float32)
    column[mask] = np.nan
    return column
