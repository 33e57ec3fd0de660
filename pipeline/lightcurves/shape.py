"""What the folded light curve says of its companion: box or V, secondary, tides, unequal eclipses."""

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.events import Folded, inside
from pipeline.lightcurves.star import StarCurves, good

__all__ = ["ellipsoidal", "flat_bottom", "secondary"]

Floats = NDArray[np.float64]

_BINS = 48


def flat_bottom(folded: Folded, half: float) -> tuple[float, float]:
    """Fit a trapezoid to folded eclipses.

    Parameters
    ----------
    folded : Folded
        Eclipses of a kind.
    half : float
        Half the full width, d; widths from 0.6 to 1.5 times it are tried.

    Returns
    -------
    flat : float
        Length of the bottom over the full width: 1 a box, 0 a V. NaN where there are too few data.
    excess : float
        By how much a V, a bottom of at most a tenth, fits worse than a bottom of a quarter and more: difference in
        chi-square, of a reduced one of at least 1. Negative where the V fits better.
    """
    x, y, weight = _binned(folded.x / half, 1 - folded.flux, folded.error**-2.0, 1.6, 4 * _BINS)
    if len(x) < 12 or (np.abs(x) < 1).sum() < 6:
        return float("nan"), float("nan")
    bottoms, tops = np.linspace(0, 0.95, 20), np.linspace(0.6, 1.5, 19)
    flat, top = (grid.ravel() for grid in np.meshgrid(bottoms, tops))
    ingress = np.maximum(top * (1 - flat), 1e-6)
    model = np.clip((top[:, None] - np.abs(x)) / ingress[:, None], 0, 1)
    norm = (model * model) @ weight
    depth = np.divide(model @ (weight * y), norm, out=np.zeros_like(norm), where=norm > 0)
    chi2 = float(weight @ (y * y)) - depth * depth * norm
    best = int(np.argmin(chi2))
    scale = max(1.0, float(chi2[best]) / max(len(x) - 3, 1))
    return float(flat[best]), float(chi2[flat <= 0.1].min() - chi2[flat >= 0.25].min()) / scale


def secondary(star: StarCurves, ephemeris: Ephemeris) -> tuple[float, float]:
    """Return the deepest dip at half the period, as wide as the primary, and its error; relative flux.

    The error is the scatter of such dips at all other phases out of eclipse: white noise, and whatever else the
    star does. NaN where the period is a lower limit, or the data do not tell. No eclipse that is only a few times
    this error can be told from the star's other changes.
    """
    known = np.isfinite(ephemeris.period + ephemeris.duration_1_h)
    if ephemeris.period_flag == "lower_limit" or not known:
        return float("nan"), float("nan")
    width = float(np.clip(ephemeris.duration_1_h / 24 / ephemeris.period, 0.005, 0.2))
    phase, flux, weight = _out_of_eclipse(star, ephemeris)
    steps = np.arange(0.0, 1.0, width / 2)
    dips = np.array([_dip(phase, flux, weight, step, width) for step in steps])
    second = ephemeris.phase_2 if np.isfinite(ephemeris.phase_2) else 0.5
    own = (np.abs(steps - 0.5) <= 1.5 * width) | (np.abs(steps - second) <= 1.5 * width)
    others = dips[~own & np.isfinite(dips)]
    if len(others) < 5:
        return float("nan"), float("nan")
    return _dip(phase, flux, weight, 0.5, width), float(np.sqrt((others**2).mean()))


def ellipsoidal(star: StarCurves, ephemeris: Ephemeris) -> tuple[float, float]:
    """Return the semi-amplitude of a wave of half the period, dimmest in eclipse, and its error; relative flux.

    The error is the scatter of the wave between stretches of an orbit or a day, so a star whose spots or pulsations
    have another period has a large one. NaN where fewer than three stretches cover an orbit.
    """
    period = ephemeris.period
    if ephemeris.period_flag == "lower_limit" or not np.isfinite(period):
        return float("nan"), float("nan")
    found = []
    for observation in star.observations:
        time, flux, _ = good(observation)
        kept = ~inside(time, ephemeris, 1.2)
        time, flux = time[kept], flux[kept]
        number = np.floor((time - ephemeris.epoch) / (period * np.ceil(1 / period)))
        for one in np.unique(number):
            angle = 2 * np.pi * (time[number == one] - ephemeris.epoch) / period
            if np.ptp(angle) > 0.7 * 2 * np.pi and len(angle) > 40:
                slope = (angle - angle.mean()) / np.ptp(angle)
                waves = [f(k * angle) for k in (1, 2) for f in (np.cos, np.sin)]
                design = np.column_stack([np.cos(2 * angle), np.ones_like(angle), slope, *waves[:2], waves[3]])
                found.append(-float(np.linalg.lstsq(design, flux[number == one], rcond=1e-8)[0][0]))
    if len(found) < 3:
        return float("nan"), float("nan")
    waves_found = np.array(found)
    middle = float(np.median(waves_found))
    return middle, 1.4826 * float(np.median(np.abs(waves_found - middle))) / len(found) ** 0.5


def _out_of_eclipse(star: StarCurves, ephemeris: Ephemeris) -> tuple[Floats, Floats, Floats]:
    """Return phase, flux and weight outside the primaries, in fine bins."""
    bins = int(np.clip(8 * 24 * ephemeris.period / max(ephemeris.duration_1_h, 0.1), 40, 4000))
    phases, fluxes, weights = [], [], []
    for observation in star.observations:
        time, flux, error = good(observation)
        x = (time - ephemeris.epoch) / ephemeris.period
        kept = np.abs(x - np.rint(x)) * ephemeris.period * 24 > 0.6 * ephemeris.duration_1_h
        phases.append(x[kept] % 1)
        fluxes.append(flux[kept])
        weights.append(error[kept] ** -2.0)
    phase, flux, weight = (np.concatenate(parts) for parts in (phases, fluxes, weights))
    x, y, w = _binned(phase - 0.5, flux, weight, 0.5, bins)
    return x + 0.5, y, w


def _dip(phase: Floats, flux: Floats, weight: Floats, place: float, width: float) -> float:
    x = np.abs((phase - place + 0.5) % 1 - 0.5)
    within, beside = x <= width / 2, (x > 0.7 * width) & (x <= 1.7 * width)
    if within.sum() < 2 or beside.sum() < 4:
        return float("nan")
    return float(np.average(flux[beside], weights=weight[beside]) - np.average(flux[within], weights=weight[within]))


def _binned(x: Floats, y: Floats, weight: Floats, reach: float, bins: int) -> tuple[Floats, Floats, Floats]:
    """Return weighted means in bins of x in −reach … reach: middles, means, weights of those that hold data."""
    kept = np.abs(x) <= reach
    number = np.minimum(((x[kept] + reach) / (2 * reach) * bins).astype(int), bins - 1)
    total = np.bincount(number, weight[kept], bins)
    means = np.bincount(number, weight[kept] * y[kept], bins)
    there = total > 0
    middles = (np.arange(bins) + 0.5) / bins * 2 * reach - reach
    return middles[there], np.asarray(means[there] / total[there]), np.asarray(total[there], np.float64)
