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
    gain : float
        Drop in chi squared.
    rivals : tuple of tuple
        Other counts of cycles across the gaps: (period, gain).
    """

    period: float
    explained: float
    plateau: float
    gain: float
    rivals: tuple[tuple[float, float], ...] = ()


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
        Peaks of the periodogram.

    Returns
    -------
    Wave
        None where nothing is periodic.
    """
    if not periods or series.time.size < 50:
        return None
    season = seasons(series)[0]
    total = float(np.sum((series.flux / series.error) ** 2))
    best: Wave | None = None
    for peak in periods[:1]:
        carried, rivals = _carried(series, peak, float(np.ptp(season.time)))
        tried = []
        for multiple in MULTIPLES:
            period, bins = float(multiple) * carried, max(8, round(BINS * float(multiple)))
            if SHORTEST < period < 0.4 * float(np.ptp(season.time)):
                near = period + np.linspace(-0.3, 0.3, 31) * period**2 / max(float(np.ptp(series.time)), period)
                value = fold_gain(series.time, series.flux, series.error, near, bins)
                best_k = int(value.argmax())
                tried.append((float(near[best_k]), float(value[best_k]) - bins, bins))
        if not tried:
            continue
        top = max(gain for _, gain, _ in tried)
        unit = max(1.0, (total - top) / series.time.size)
        fits = [t for t in tried if t[1] > top - max(LOSS * top, unit * (t[2] + 5 * np.sqrt(t[2])))]
        period, gain, bins = min(fits)
        curve = mean_curve(series.time, series.flux, period, max(bins, BINS))
        low, high = np.percentile(curve, (0.5, 98))
        plateau = float(np.mean(curve > high - 0.25 * (high - low)))
        explained = gain / max(total - series.time.size, 1.0)
        ratio = period / carried
        best = Wave(period, float(explained), plateau, gain, tuple((ratio * p, g) for p, g in rivals))
    return best


def _carried(series: Series, period: float, short: float) -> tuple[float, tuple[tuple[float, float], ...]]:
    """Carry a period of a season through all data."""
    span = float(np.ptp(series.time))
    reach = 0.4 * period**2 / max(short, period)
    step = 0.04 * period**2 / max(span, period)
    count = min(max(int(2 * reach / step), 10), 4000)
    near = period + np.linspace(-reach, reach, count + 1)
    value = fold_gain(series.time, series.flux, series.error, near, BINS)
    top = int(value.argmax())
    fine = near[top] + np.linspace(-1, 1, 41) * (near[1] - near[0])
    again = fold_gain(series.time, series.flux, series.error, fine, BINS)
    peak = np.flatnonzero((value[1:-1] >= value[:-2]) & (value[1:-1] >= value[2:])) + 1
    others = [k for k in peak if abs(near[k] - near[top]) > 0.5 * period**2 / max(span, period)]
    others.sort(key=lambda k: -value[k])
    return float(fine[int(again.argmax())]), tuple((float(near[k]), float(value[k])) for k in others[:3])


def halves(series: Series, period: float, bins: int = 12) -> float:
    """Tell how different odd and even cycles are, by their scatter from cycle to cycle.

    Parameters
    ----------
    series : Series
        Centred.
    period : float
        The shortest cycle, days.
    bins : int
        Of phase.

    Returns
    -------
    float
        Sigmas of the largest difference, the number of bins allowed for.
    """
    rest = series.flux - mean_curve(series.time, series.flux, period, 4 * bins)
    cycle = np.floor(series.time / period).astype(np.int64)
    label = np.minimum((series.time / period % 1.0 * bins).astype(np.int64), bins - 1)
    key = (cycle - cycle[0]) * bins + label
    unique, index = np.unique(key, return_inverse=True)
    mean = np.bincount(index, rest) / np.bincount(index)
    number, place = unique // bins, unique % bins
    chi, degrees = 0.0, 0
    for b in range(bins):
        odd, even = (mean[(place == b) & (number % 2 == k)] for k in (0, 1))
        if odd.size >= 3 and even.size >= 3:
            spread = odd.var(ddof=1) / odd.size + even.var(ddof=1) / even.size
            value = abs(float(odd.mean() - even.mean())) / np.sqrt(max(float(spread), 1e-18))
            # from a few cycles, large values are common (Student's t)
            tail = max(float(student.sf(value, odd.size + even.size - 2)), 1e-100)
            chi += float(norm.ppf(tail)) ** 2 if tail < 0.5 else 0.0
            degrees += 1
    if not degrees:
        return 0.0
    # Wilson-Hilferty: a chi squared as sigmas of a normal distribution
    cube = (chi / degrees) ** (1 / 3)
    return float((cube - 1 + 2 / (9 * degrees)) / np.sqrt(2 / (9 * degrees)))


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
