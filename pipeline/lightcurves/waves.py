"""Light that varies all the time: contact and ellipsoidal binaries, and what looks like them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from pipeline.lightcurves.boxes import MULTIPLES, seasons
from pipeline.lightcurves.folds import fold_gain
from pipeline.lightcurves.periodogram import peaks
from pipeline.lightcurves.series import Series

__all__ = ["Wave", "centred", "find_wave", "halves", "lomb_scargle", "mean_curve", "minima"]

Floats = NDArray[np.float64]

BINS = 24  # of phase in the shortest cycle
SHORTEST = 0.08  # days
RIVAL = 25.0  # drop in chi squared, its scale as found, by which the right count of cycles must be better
LOSS = 0.05  # share of the gain that spots which come and go may lend to a longer cycle


@dataclass(frozen=True, eq=False)
class Wave:
    """The shortest cycle of a light curve that varies all the time.

    Parameters
    ----------
    period : float
        Days.
    explained : float
        Share of the variance above the white noise that the mean curve explains.
    plateau : float
        Share of the cycle spent near maximum light: in the upper quarter of the range.
    rivals : tuple of float
        Periods of other counts of cycles across the gaps that fit as well, the best first.
    """

    period: float
    explained: float
    plateau: float
    rivals: tuple[float, ...] = ()


def centred(series: Series) -> Series:
    """Take the mean of each stretch out.

    Parameters
    ----------
    series : Series
        Relative flux.

    Returns
    -------
    Series
        Of mean zero in every stretch.
    """
    if not series.time.size:
        return series
    _, index = np.unique(series.stretch, return_inverse=True)
    mean = np.bincount(index, series.flux) / np.bincount(index)
    return series.replace(series.flux - mean[index])


def lomb_scargle(series: Series) -> list[float]:
    """Highest Lomb-Scargle peak of the largest season, and of what it leaves.

    Parameters
    ----------
    series : Series
        Centred.

    Returns
    -------
    list of float
        Periods in days, none where the flux is constant.
    """
    parts = seasons(series)
    if not parts or parts[0].time.size < 20:
        return []
    season = parts[0]
    found = []
    flux = season.flux
    cadence = float(np.median(season.exposure))
    for _ in range(2):
        if np.ptp(flux) <= 0:
            break
        best = peaks(season.time, flux, cadence)
        if not np.isfinite(best.period):
            break
        found.append(float(best.period))
        flux = flux - mean_curve(season.time, flux, best.period, BINS)
    return found


def mean_curve(time: Floats, flux: Floats, period: float, bins: int) -> Floats:
    """Mean flux at the phase of each sample, by lines between bins.

    Parameters
    ----------
    time, flux : (n,) float64
        Days and any unit.
    period : float
        Days.
    bins : int
        Of phase.

    Returns
    -------
    (n,) float64
        The mean curve.
    """
    phase = time / period % 1.0
    label = np.minimum((phase * bins).astype(np.int64), bins - 1)
    count = np.bincount(label, minlength=bins)
    seen = count > 0
    x = (np.arange(bins)[seen] + 0.5) / bins
    return np.asarray(np.interp(phase, x, np.bincount(label, flux, bins)[seen] / count[seen], period=1.0))


def find_wave(series: Series, periods: list[float]) -> Wave | None:
    """Find the shortest cycle that explains the variation.

    Parameters
    ----------
    series : Series
        Centred, in search bins.
    periods : list of float
        Peaks of the periodogram, the highest first.

    Returns
    -------
    Wave
        None where nothing is periodic.
    """
    if not periods or series.time.size < 50:
        return None
    season = seasons(series)[0]
    short = float(np.ptp(season.time))
    tried = []
    for multiple in MULTIPLES:
        period, bins = float(multiple) * periods[0], max(8, round(BINS * float(multiple)))
        if SHORTEST < period < 0.4 * short:
            near = period * (1 + np.linspace(-0.3, 0.3, 41) * periods[0] / short)
            value = fold_gain(season.time, season.flux, season.error, near, bins)
            best = int(value.argmax())
            tried.append((float(near[best]), _coherent(season, float(near[best]), float(value[best]) - bins), bins))
    if not tried:
        return None
    top = max(gain for _, gain, _ in tried)
    unit = max(1.0, (_total(season) - top) / season.time.size)
    fits = [t for t in tried if t[1] > top - max(LOSS * top, unit * (t[2] + 5 * np.sqrt(t[2])))]
    period, _, bins = min(fits)
    period, gain, rivals = _carried(series, period, short, bins)
    curve = mean_curve(series.time, series.flux, period, max(bins, BINS))
    low, high = np.percentile(curve, (0.5, 98))
    plateau = float(np.mean(curve > high - 0.25 * (high - low)))
    explained = _coherent(series, period, gain - bins) / max(
        _total(series) - series.time.size, np.sqrt(2 * series.time.size)
    )
    return Wave(period, float(explained), plateau, rivals)


def _coherent(series: Series, period: float, gain: float) -> float:
    """Gain less what the mean of a few cycles explains of anything."""
    total = _total(series)
    cycles = np.unique(np.floor(series.time / period)).size
    return total - (total - gain) / (1 - 1 / max(cycles, 2))


def _total(series: Series) -> float:
    return float(np.sum((series.flux / series.error) ** 2))


def _carried(series: Series, period: float, short: float, bins: int) -> tuple[float, float, tuple[float, ...]]:
    """Carry a period of a season through all data: period, gain, and other counts of cycles that fit as well."""
    span = float(np.ptp(series.time))
    cycle = min(period * BINS / bins, period)
    reach = 0.4 * period * cycle / max(short, period)
    step = 0.04 * period * cycle / max(span, period)
    count = min(max(int(2 * reach / step), 10), 4000)
    near = period + np.linspace(-reach, reach, count + 1)
    value = fold_gain(series.time, series.flux, series.error, near, bins)
    top = int(value.argmax())
    fine = near[top] + np.linspace(-1, 1, 41) * (near[1] - near[0])
    again = fold_gain(series.time, series.flux, series.error, fine, bins)
    best = float(again.max())
    # what the mean curve does not explain makes the gains uncertain
    unit = max(1.0, (_total(series) - best) / series.time.size)
    peak = np.flatnonzero((value[1:-1] >= value[:-2]) & (value[1:-1] >= value[2:])) + 1
    apart = 0.5 * period * cycle / max(span, period)
    others = [k for k in peak if abs(near[k] - near[top]) > apart and value[k] > best - RIVAL * unit]
    others.sort(key=lambda k: -value[k])
    return float(fine[int(again.argmax())]), best, tuple(float(near[k]) for k in others[:3])


def halves(series: Series, period: float) -> float:
    """Tell how different odd and even cycles are, by their scatter from one pair of cycles to the next.

    What odd and even cycles do not share is in the odd harmonics of twice the cycle.

    Parameters
    ----------
    series : Series
        Centred.
    period : float
        The shortest cycle, days.

    Returns
    -------
    float
        Sigmas of the first and third harmonic together; 0 where fewer than four pairs of cycles are seen.
    """
    rest = series.flux - mean_curve(series.time, series.flux, period, 48)
    turn = series.time / (2 * period)
    _, index, count = np.unique(np.floor(turn), return_inverse=True, return_counts=True)
    full = count > 0.7 * np.median(count)
    if full.sum() < 4:
        return 0.0
    middle, level = np.bincount(index, series.time) / count, np.bincount(index, rest) / count
    rest = rest - np.interp(series.time, middle[full], level[full])
    chi = 0.0
    for harmonic in (1, 3):
        for wave in (np.cos, np.sin):
            chi += _steady((np.bincount(index, rest * wave(2 * np.pi * harmonic * turn)) / count)[full]) ** 2
    # Wilson-Hilferty: a chi squared of four degrees of freedom as sigmas of a normal distribution
    return float(((chi / 4) ** (1 / 3) - 1 + 2 / 36) / np.sqrt(2 / 36))


def _steady(value: Floats) -> float:
    """Sigmas of the mean of a series whose neighbours may resemble each other."""
    rest = value - value.mean()
    alike = float(np.clip(np.sum(rest[1:] * rest[:-1]) / max(np.sum(rest**2), 1e-30), 0.0, 0.9))
    free = max(value.size * (1 - alike) / (1 + alike), 2.0)
    sigma = abs(float(value.mean())) / np.sqrt(max(float(rest.var()) / free, 1e-30))
    # from a few cycles, large values are common (Student's t)
    return float(-norm.ppf(max(float(student.sf(sigma, free - 1)), 1e-300)))


def minima(series: Series, period: float, bins: int = 64) -> list[float]:
    """Minima of the mean curve, the deepest first.

    Parameters
    ----------
    series : Series
        Centred.
    period : float
        Days.
    bins : int
        Of phase.

    Returns
    -------
    list of float
        Times in days near time zero of one minimum, or of two that lie a quarter of the cycle apart at least and
        that both stand out by a tenth of the range.
    """
    phase = (np.arange(bins) + 0.5) / bins
    label = np.minimum((series.time / period % 1.0 * bins).astype(np.int64), bins - 1)
    count = np.bincount(label, minlength=bins)
    seen = count > 0
    curve = np.interp(phase, phase[seen], np.bincount(label, series.flux, bins)[seen] / count[seen], period=1.0)
    spectrum = np.fft.rfft(curve)
    spectrum[9:] = 0.0
    smooth = np.fft.irfft(spectrum, bins)
    turn = np.flatnonzero((smooth <= np.roll(smooth, 1)) & (smooth < np.roll(smooth, -1)))
    turn = turn[np.argsort(smooth[turn])]
    if not turn.size:
        return [float(phase[int(smooth.argmin())] * period)]
    first, height = int(turn[0]), float(np.ptp(smooth))
    found = [float(phase[first] * period)]
    for k in turn[1:]:
        apart = (k - first) % bins
        between = min(np.roll(smooth, -first)[: apart + 1].max(), np.roll(smooth, -first)[apart:].max())
        if 0.25 * bins <= apart <= 0.75 * bins and between - smooth[k] > 0.1 * height:
            found.append(float(phase[k] * period))
            break
    return found
