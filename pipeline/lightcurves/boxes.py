"""Periods at which a light curve may dip: box least squares, times between dips, and their multiples."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from astropy.timeseries import BoxLeastSquares
from numpy.typing import NDArray

from pipeline.lightcurves.folds import Fold, gains, pair
from pipeline.lightcurves.matched import Trough
from pipeline.lightcurves.series import Series

__all__ = ["MULTIPLES", "Trial", "bls_periods", "dip_periods", "fold", "search", "seasons", "simple", "wide"]

Floats = NDArray[np.float64]

#: Multiples of every peak that are tried.
MULTIPLES = tuple(Fraction(*pair) for pair in ((1, 4), (1, 3), (1, 2), (1, 1), (2, 1), (3, 1), (4, 1)))
SEASON = 60.0  # days of data searched at once
SHORTEST = 0.12  # days
BLS_SHORTEST = 0.8  # days; shorter periods show in the Lomb-Scargle periodogram
BLS_WIDTHS = (0.1, 0.25)  # days
BLS_BIN = 0.02  # days
DIFFERENCES = 4000  # trial periods from times between dips
FAMILIES = 3  # periods, none a multiple of another, that are followed through all data
STEP = 0.15  # of a dip's width: the shift over the baseline from one trial period to the next


@dataclass(frozen=True)
class Trial:
    """A period and what two boxes a cycle explain at it.

    Parameters
    ----------
    period, width : float
        Days.
    gain : float
        Drop in chi squared less what noise would give.
    """

    period: float
    width: float
    gain: float


def seasons(series: Series, length: float = SEASON) -> list[Series]:
    """Cut a series into observing seasons of at most some days.

    Parameters
    ----------
    series : Series
        Any.
    length : float
        Days.

    Returns
    -------
    list of Series
        The one with the most samples first.
    """
    if not series.time.size:
        return []
    label = np.zeros(series.time.size, np.int64)
    start, number = series.time[0], 0
    last = start
    for piece in np.unique(series.stretch):
        rows = np.flatnonzero(series.stretch == piece)
        first, end = series.time[rows[0]], series.time[rows[-1]]
        if end - start > length or first - last > 0.5 * length:
            number, start = number + 1, first
        label[rows], last = number, end
    parts = [series.where(label == k) for k in range(number + 1)]
    return sorted(parts, key=lambda part: -part.time.size)


def wide(series: Series, width: float) -> Series:
    """Average to bins of a width.

    Parameters
    ----------
    series : Series
        In order of time.
    width : float
        Days.

    Returns
    -------
    Series
        The series itself if its samples are as long.
    """
    if not series.time.size or width < 1.5 * float(series.exposure.min()):
        return series
    label = np.floor(series.time / width).astype(np.int64)
    new = np.concatenate(([True], (np.diff(label) != 0) | (np.diff(series.stretch) != 0)))
    index = np.cumsum(new) - 1
    weight = 1 / series.error**2
    total = np.bincount(index, weight)
    first = np.flatnonzero(new)
    exposure = np.maximum(np.bincount(index, series.exposure), series.exposure[first])
    return Series(
        np.bincount(index, weight * series.time) / total,
        np.bincount(index, weight * series.flux) / total,
        1 / np.sqrt(total),
        np.minimum(exposure, np.maximum(width, series.exposure[first])),
        series.stretch[first],
    )


def bls_periods(series: Series, most: int = 3) -> list[float]:
    """Highest peaks of the box-least-squares periodogram.

    Parameters
    ----------
    series : Series
        Flattened, one season.
    most : int
        How many peaks, none a neighbour of another.

    Returns
    -------
    list of float
        Periods in days.
    """
    rough = wide(series, BLS_BIN)
    span = float(np.ptp(rough.time)) if rough.time.size else 0.0
    if rough.time.size < 50 or span < 2 * BLS_SHORTEST:
        return []
    step = 0.5 * BLS_WIDTHS[0] / span**2
    frequency = np.arange(1 / (0.7 * span), 1 / BLS_SHORTEST, step)
    model = BoxLeastSquares(rough.time - rough.time[0], rough.flux, rough.error)
    power = np.asarray(model.power(1 / frequency, list(BLS_WIDTHS), oversample=3, objective="snr").power)
    found: list[float] = []
    for k in np.argsort(-power, kind="stable"):
        if all(abs(1 / period - frequency[k]) > 1.5 / span for period in found):
            found.append(float(1 / frequency[k]))
            if len(found) == most:
                break
    return found


def dip_periods(dips: list[Trough], longest: float) -> Floats:
    """Times between dips of like depth, and whole fractions of them.

    Parameters
    ----------
    dips : list of Trough
        The most significant first.
    longest : float
        Days from the first to the last sample.

    Returns
    -------
    (m,) float64
        At most `DIFFERENCES` periods in days.
    """
    if not dips:
        return np.zeros(0)
    strong = [dip for dip in dips if dip.whole and dip.snr > 0.2 * dips[0].snr][:14]
    times = np.sort([dip.time for dip in strong])
    apart = np.unique(np.abs(times[:, None] - times[None, :]))
    apart = apart[(apart > SHORTEST) & (apart <= longest)]
    periods: list[Floats] = []
    width = float(np.median([dip.width for dip in strong])) if strong else 0.1
    shortest = max(0.4, 3 * width)
    count = 0
    for difference in apart:
        most = min(int(difference / shortest), 700)
        if most >= 1 and count < DIFFERENCES:
            periods.append(difference / np.arange(1, most + 1))
            count += most
    return np.concatenate(periods)[:DIFFERENCES] if periods else np.zeros(0)


def search(series: Series, peaks: list[float], dips: list[Trough], width: float) -> list[Trial]:
    """Try the multiples of all peaks, and the times between dips, over all data.

    Parameters
    ----------
    series : Series
        Flattened, its errors with the red noise.
    peaks : list of float
        Periods from periodograms of a season, days.
    dips : list of Trough
        Of the series.
    width : float
        Of the boxes, days.

    Returns
    -------
    list of Trial
        All that were tried in full, the best first.
    """
    rough = wide(series, width / 4)
    span = float(np.ptp(rough.time))
    from_peaks = np.array([float(m) * p for p in peaks for m in MULTIPLES])
    from_peaks = from_peaks[(from_peaks > 1.5 * width) & (from_peaks > SHORTEST) & (from_peaks < span)]
    season = seasons(rough)[0]
    trials = _followed(rough, season, _families(season, from_peaks, width), width)
    trials += _followed(rough, rough, _families(rough, dip_periods(dips, span), width), width)
    trials.sort(key=lambda trial: -trial.gain)
    return trials


def _families(series: Series, periods: Floats, width: float) -> Floats:
    """The best periods, those that are multiples of better ones left out."""
    if not periods.size:
        return periods
    span = float(np.ptp(series.time))
    gain = np.empty(periods.size)
    best = periods.copy()
    few = periods.size <= 200
    for k, period in enumerate(periods) if few else ():
        near = period + np.linspace(-1, 1, 41) * min(2 * width * period / max(span, period), 0.05 * period)
        value = gains(series.time, 1 - series.flux, series.error, near, width)
        gain[k], best[k] = value.max(), near[int(value.argmax())]
    if not few:
        gain = gains(series.time, 1 - series.flux, series.error, periods, width)
    chosen: list[float] = []
    # of those that explain as much, the shortest
    alike = gain > gain.max() - max(20.0, 0.03 * gain.max())
    for k in np.lexsort((np.where(alike, best, -gain), ~alike)):
        ratios = [float(best[k]) / other for other in chosen]
        if gain[k] > 0 and not any(simple(ratio) for ratio in ratios):
            chosen.append(float(best[k]))
            if len(chosen) == FAMILIES:
                break
    return np.array(chosen)


def simple(ratio: float) -> bool:
    """Tell whether a ratio is one of small whole numbers.

    Parameters
    ----------
    ratio : float
        Of two periods.

    Returns
    -------
    bool
        True up to 6, within 0.2%.
    """
    near = Fraction(ratio).limit_denominator(6)
    return near > 0 and near.numerator <= 6 and abs(ratio / float(near) - 1) < 0.002


def _followed(series: Series, season: Series, periods: Floats, width: float) -> list[Trial]:
    """Carry each period of a season through all data, then try its multiples there."""
    trials: list[Trial] = []
    span, short = float(np.ptp(series.time)), max(float(np.ptp(season.time)), 1.0)
    for period in periods:
        best = _carried(series, float(period), min(short, span), width)
        for multiple in MULTIPLES:
            trial = float(multiple) * best
            if SHORTEST < trial <= span and trial > 1.5 * width:
                gain = float(gains(series.time, 1 - series.flux, series.error, np.array([trial]), width)[0])
                trials.append(Trial(trial, width, gain))
    return trials


def _carried(series: Series, period: float, short: float, width: float) -> float:
    span = float(np.ptp(series.time))
    reach = min(width * period / max(short, period), 0.05 * period)
    step = STEP * width * period / max(span, period)
    count = min(max(int(2 * reach / step), 8), 4000)
    near = period + np.linspace(-reach, reach, count + 1)
    value = gains(series.time, 1 - series.flux, series.error, near, width)
    top = int(value.argmax())
    fine = near[top] + np.linspace(-1.5, 1.5, 31) * step
    again = gains(series.time, 1 - series.flux, series.error, fine, width)
    return float(fine[int(again.argmax())])


def fold(series: Series, period: float, width: float) -> Fold:
    """Return the two best boxes of a flattened series at a period.

    Parameters
    ----------
    series : Series
        Flattened.
    period, width : float
        Days.

    Returns
    -------
    Fold
        From `pipeline.lightcurves.folds.pair`.
    """
    return pair(series.time, 1 - series.flux, series.error, period, width)
