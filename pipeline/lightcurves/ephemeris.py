"""Orbital ephemerides of a star from all its light curves together.

Candidates are multiples of the peaks of Lomb-Scargle and box-least-squares periodograms of a season, and whole
fractions of the times between dips. The shortest one that explains all dips and predicts none that is missing is
carried through all data; odd against even eclipses then tell whether the orbit is twice as long.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves import boxes, orbits
from pipeline.lightcurves.continuous import continuous
from pipeline.lightcurves.detached import detached
from pipeline.lightcurves.doubts import doubted, unrest
from pipeline.lightcurves.matched import Trough, cut, find_troughs, reddened
from pipeline.lightcurves.series import SEARCH_S, Series, flatten, gather
from pipeline.lightcurves.star import StarCurves
from pipeline.lightcurves.systems import eclipsed
from pipeline.lightcurves.waves import Wave, centred, find_wave, lomb_scargle, mean_curve

__all__ = ["Ephemeris", "find"]

Floats = NDArray[np.float64]

# Relative errors of durations: limb darkening is not known, and stars that fill their orbits are no discs.
WIDTH_ERROR, CLOSE_ERROR = 0.008, 0.12
NEIGHBOURS = 0.3  # relative error of the light of neighbours in the aperture, as CROWDSAP has it
CONTINUOUS = 0.3  # share of the variance that a mean curve explains of a star that varies all the time
WINDOWS = (2.0, 0.8)  # days of the trend's medians
SHORTEST_WINDOW, FAINT = 0.4, 12.0  # and under faster waves, where no dip has this signal to noise
EDGE, WARY = 0.3, 3.0  # days from the ends of a stretch in which a trend is not known well, and how much errors grow
SHORT, SHORT_PLATEAU = 2.0, 0.88  # days, and the same share for shorter periods
UNLIKELY = 0.5  # probability of the orbit of eclipses below which waves are tried where there are both
PLATEAU = 0.8  # share of the cycle near maximum light beyond which it does not


@dataclass(frozen=True)
class Ephemeris:
    """One eclipsing system; floats are NaN where missing.

    Parameters
    ----------
    eb_id : int
        1, 2: systems of a star.
    period, period_err : float
        Days.
    period_flag : str
        ``exact``; ``alias_unresolved``: `period_alt` is possible too; ``lower_limit``: no eclipse repeats, and
        every period up to this one is excluded.
    p_period : float
        Probability of `period` against its aliases.
    period_alt : float
        The most probable other period, days.
    epoch, epoch_err : float
        Middle of the deeper eclipse nearest the middle of the data, BTJD.
    n_primary, n_secondary : int
        Eclipses seen in the data.
    depth_1, depth_1_err, depth_2, depth_2_err : float
        Relative to the light next to the eclipse; where the light varies all the time, to its maximum.
    duration_1_h, duration_1_h_err, duration_2_h, duration_2_h_err : float
        First to last contact, hours; NaN where the light varies all the time and no contact is seen.
    phase_2, phase_2_err : float
        Of the shallower eclipse.
    snr_1, snr_2 : float
        Signal to noise of all eclipses of a kind together.
    odd_even_sigma : float
        Difference in depth of odd and even primaries at `period`, in sigmas.
    """

    eb_id: int
    period: float
    period_err: float
    period_flag: str
    p_period: float
    period_alt: float
    epoch: float
    epoch_err: float
    n_primary: int
    n_secondary: int
    depth_1: float
    depth_1_err: float
    depth_2: float
    depth_2_err: float
    duration_1_h: float
    duration_1_h_err: float
    duration_2_h: float
    duration_2_h_err: float
    phase_2: float
    phase_2_err: float
    snr_1: float
    snr_2: float
    odd_even_sigma: float


def find(star: StarCurves, p_contact: float | None = None) -> list[Ephemeris]:
    """Find at most two eclipsing systems in all observations of a star.

    Parameters
    ----------
    star : StarCurves
        Its light curves.
    p_contact : float, optional
        Probability that it is a contact binary, where a classifier has told it.

    Returns
    -------
    list of Ephemeris
        Empty where nothing repeats or dips.
    """
    coarse = gather(star, SEARCH_S)
    if coarse.time.size < 50 or np.ptp(coarse.time) < 0.5 or np.ptp(coarse.flux) <= 0:
        return []
    native = gather(star)
    crowding = _crowding(star)
    level = centred(coarse)
    sines = lomb_scargle(level)
    wave = find_wave(level, sines)
    wave = wave if wave is not None and _varies(wave) else None
    sharp = wave is not None and _sharp(coarse, level, wave)
    orbit = continuous(native, level, wave, p_contact) if wave is not None and not sharp else None
    if orbit is None or not orbits.significant(orbit):
        orbit = _dipping(coarse, native, sines)
    if wave is not None and sharp and (orbit is None or orbit.probability < UNLIKELY):
        other = continuous(native, level, wave, p_contact)
        if other is not None and (orbit is None or other.probability > orbit.probability):
            orbit = other
    if orbit is None or not orbits.significant(orbit):
        return []
    orbit = doubted(orbit, coarse)
    second = _second(coarse, native, orbit)
    found = [orbit] if second is None else [orbit, second]
    return [_row(number, one, crowding, unrest(one.system, coarse)) for number, one in enumerate(found, 1)]


def _dipping(coarse: Series, native: Series, sines: list[float]) -> orbits.Orbit | None:
    """Look for eclipses on flat light; those that the edge of a stretch cuts off are mostly scattered light."""
    flat, dips = _flat(coarse)
    lost = cut(flat, dips)
    native = native.where(~_within(native, flat.time[lost], flat.exposure[lost]))
    if lost.all():
        return None
    flat, dips = _wary(flat.where(~lost)), [dip for dip in dips if dip.whole]
    season = boxes.seasons(flat, 30.0)[0]
    return detached(native, flat, boxes.bls_periods(season) + sines, dips)


def _wary(series: Series) -> Series:
    """Raise the errors at the ends of stretches: a trend can swallow half an eclipse there."""
    edge = np.flatnonzero(np.diff(series.stretch)) + 1
    first, last = np.concatenate(([0], edge)), np.concatenate((edge, [series.time.size])) - 1
    piece = np.repeat(np.arange(first.size), last - first + 1)
    near = np.minimum(series.time - series.time[first][piece], series.time[last][piece] - series.time) < EDGE
    return replace(series, error=np.where(near, WARY, 1.0) * series.error)


def _varies(wave: Wave) -> bool:
    """Whether a star varies all the time; short orbits are seen often enough to be fitted whole in any case."""
    return wave.explained > CONTINUOUS and wave.plateau < (PLATEAU if wave.period > SHORT else SHORT_PLATEAU)


def _second(coarse: Series, native: Series, first: orbits.Orbit) -> orbits.Orbit | None:
    """Look for another system in what is left beside the eclipses of the first, or below its waves."""
    system = first.system
    if first.flag == "lower_limit":
        return None
    widths = np.array([1.3 * shape.profile.width for shape in system.shapes])
    if widths.sum() < 0.3 * system.period:
        coarse, native = (
            series.where(~eclipsed(series.time, system.period, system.epochs, widths)) for series in (coarse, native)
        )
    else:
        coarse, native = (
            series.replace(series.flux / _positive(mean_curve(series.time, series.flux, system.period, 200)))
            for series in (coarse, native)
        )
    if coarse.time.size < 100:
        return None
    flat, dips = _flat(coarse)
    clear = [dip for dip in dips if dip.snr > 12 and dip.whole]
    if len(clear) < 3:
        return None
    other = detached(native, flat, [], clear)
    if other is None or other.flag == "lower_limit" or boxes.simple(other.system.period / system.period):
        return None
    depth, error = orbits.mean_depth(other.system.events[0])
    whole = orbits.seen(other.system.events[0]) >= 3 and depth > 10 * error
    return other if whole and other.system.shapes[0].profile.width < 0.2 * other.system.period else None


def _crowding(star: StarCurves) -> float:
    """Relative error of depths because the light of neighbours, taken out of the flux, is not known well."""
    others = np.array([1 - observation.crowdsap for observation in star.observations])
    others = np.clip(others[np.isfinite(others)], 0, 1)
    return float(NEIGHBOURS * np.sqrt(np.sum(others**2)) / others.size) if others.size else 0.0


def _within(series: Series, time: Floats, exposure: Floats) -> NDArray[np.bool_]:
    """Which samples lie in bins of another series."""
    if not time.size:
        return np.zeros(series.time.size, bool)
    near = np.clip(np.searchsorted(time, series.time), 1, max(time.size - 1, 1))
    index = np.stack([near - 1, np.minimum(near, time.size - 1)])
    return np.asarray((np.abs(time[index] - series.time) <= 0.5 * exposure[index]).any(axis=0))


def _positive(flux: Floats) -> Floats:
    return np.maximum(flux, 0.05)


def _flat(series: Series) -> tuple[Series, list[Trough]]:
    """Without the trend, errors with the red noise, and its dips: with the window that shows the best one."""
    best: tuple[Series, list[Trough]] | None = None
    for window in (*WINDOWS, SHORTEST_WINDOW):
        if window == SHORTEST_WINDOW and best is not None and best[1] and best[1][0].snr > FAINT:
            break
        flat = reddened(flatten(series, window=window))
        dips = find_troughs(flat)
        if best is None or (dips and dips[0].snr > 1.2 * (best[1][0].snr if best[1] else 0.0)):
            best = flat, dips
    assert best is not None
    return best


def _sharp(coarse: Series, level: Series, wave: Wave) -> bool:
    """Whether dips are left that the wave does not explain: eclipses of a star that varies by itself."""
    rest = coarse.replace(coarse.flux / _positive(mean_curve(level.time, level.flux, wave.period, 48) + 1))
    height = float(np.subtract(*np.percentile(level.flux, (98, 2))))
    deep = [dip for dip in _flat(rest)[1] if dip.depth > 0.35 * height]
    return bool(deep) and wave.explained < 0.97


def _row(eb_id: int, orbit: orbits.Orbit, crowding: float, rest: float) -> Ephemeris:
    system, nan = orbit.system, float("nan")
    kinds = []
    for k in range(2):
        if k < len(system.events):
            shape, events = system.shapes[k], system.events[k]
            _, error = orbits.mean_depth(events)
            snr = orbits.signal(events)
            model = shape.profile.width * (WIDTH_ERROR + CLOSE_ERROR * shape.profile.width / system.period)
            # each eclipse stands on light that varies by itself
            base = rest / np.sqrt(max(orbits.seen(events), 1))
            curved = shape.profile.width * base / max(shape.profile.depth, 1e-9)
            hours = (24 * shape.profile.width, 24 * float(np.linalg.norm((shape.width_err, model, curved))))
            hours = hours if np.isfinite(hours[1]) else (nan, nan)
            relative = float(np.hypot(crowding, orbits.DEPTH_ERROR))
            sigma = float(np.linalg.norm((max(error, shape.depth_err), relative * shape.depth, base)))
            kinds.append((orbits.seen(events), shape.depth, sigma, *hours, snr))
        else:
            kinds.append((0, nan, nan, nan, nan, nan))
    phase, phase_err = nan, nan
    if len(system.events) == 2 and orbit.flag != "lower_limit":
        phase = float((system.epochs[1] - system.epochs[0]) / system.period % 1.0)
        phase_err = float(np.hypot(*system.epoch_errs)) / system.period
    limit = orbit.flag == "lower_limit"
    return Ephemeris(
        eb_id=eb_id,
        period=orbit.limit if limit else system.period,
        period_err=nan if limit else system.period_err,
        period_flag=orbit.flag,
        p_period=orbit.probability,
        period_alt=orbit.other,
        epoch=float(system.epochs[0]),
        epoch_err=float(system.epoch_errs[0]),
        n_primary=kinds[0][0],
        n_secondary=kinds[1][0],
        depth_1=kinds[0][1],
        depth_1_err=kinds[0][2],
        depth_2=kinds[1][1],
        depth_2_err=kinds[1][2],
        duration_1_h=kinds[0][3],
        duration_1_h_err=kinds[0][4],
        duration_2_h=kinds[1][3],
        duration_2_h_err=kinds[1][4],
        phase_2=phase,
        phase_2_err=phase_err,
        snr_1=kinds[0][5],
        snr_2=kinds[1][5],
        odd_even_sigma=orbit.odd_even,
    )
