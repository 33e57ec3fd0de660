"""A segment folded: what a network sees beside curve and periodogram, and a few facts in numbers.

Two views of a segment, each folded and averaged into bins of phase: at twice the period of highest
Lomb-Scargle power, where an eclipsing binary shows both its minima, and at the period of the best box (box
least squares, Kovács et al. 2002, A&A 391, 369), where narrow eclipses, each lost in the noise, add up.
"""

from typing import NamedTuple

import numba
import numpy as np
from astropy.timeseries import BoxLeastSquares
from numpy.typing import NDArray
from scipy.ndimage import median_filter

__all__ = ["FACTS", "PHASES", "VIEWS", "Views", "fold", "views"]

Floats = NDArray[np.float64]

PHASES = 128  #: bins of phase in a view
VIEWS = ("sine_mean", "sine_scatter", "box_mean", "box_scatter")
#: What `Views.facts` holds, all of order one.
FACTS = (
    "log_span",  # log10 of days
    "log_cadence",  # log10 of days between cadences
    "log_scatter",  # log10 of the robust standard deviation of the flux, relative
    "log_noise",  # the same of its differences from cadence to cadence
    "sine_power",  # highest Lomb-Scargle power
    "log_sine_period",  # log10 of days
    "log_sine_range",  # log10 of the range of the view folded at twice that period, relative flux
    "log_box_period",
    "log_box_duration",  # log10 of the share of the period
    "log_box_depth",  # log10, relative flux
    "log_box_snr",  # log10 of the depth over its standard deviation
    "duty",  # share of the span that cadences cover
)

_BIN = 20 / 1440  # days a bin of the box search, or a cadence if that is longer
_WINDOW = 1.5  # days of the running median that the box search takes off
_DURATIONS = np.array([0.08, 0.16, 0.32])  # days of the boxes tried
_SHORTEST = 0.45  # days: shorter periods belong to the sine
_RESOLUTION = 0.04  # steps of frequency, over the span: a box of 0.08 of the period is moved by half its width
_MOST = 4000  # frequencies tried: reached by a span of 70 d, where steps grow wider
_FLOOR = 1e-6


class Views(NamedTuple):
    """A segment's views.

    Attributes
    ----------
    folded : (4, 128) float32
        `VIEWS`: mean flux in bins of phase, scaled to 0 (minimum) to 1; and its scatter inside the bins in the same
        unit. The deepest bin, or the box, is at phase 1/4.
    facts : (12,) float32
        `FACTS`.
    """

    folded: NDArray[np.float32]
    facts: NDArray[np.float32]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fold(time, flux, period, start, bins):  # type: ignore[no-untyped-def]
    mean, square, count = np.zeros(bins), np.zeros(bins), np.zeros(bins)
    for i in range(time.size):
        cycles = (time[i] - start) / period
        k = min(int((cycles - np.floor(cycles)) * bins), bins - 1)
        mean[k] += flux[i]
        square[k] += flux[i] * flux[i]
        count[k] += 1.0
    for k in range(bins):
        if count[k] > 0.0:
            mean[k] /= count[k]
            square[k] = np.sqrt(max(square[k] / count[k] - mean[k] * mean[k], 0.0))
    for k in range(bins):  # empty bins take the line between their neighbours around the circle
        if count[k] == 0.0:
            left = right = 1
            while count[(k - left) % bins] == 0.0 and left < bins:
                left += 1
            while count[(k + right) % bins] == 0.0 and right < bins:
                right += 1
            share = left / (left + right)
            mean[k] = mean[(k - left) % bins] * (1.0 - share) + mean[(k + right) % bins] * share
            square[k] = square[(k - left) % bins] * (1.0 - share) + square[(k + right) % bins] * share
    return mean, square


def fold(time: Floats, flux: Floats, period: float, start: float, bins: int = PHASES) -> tuple[Floats, Floats]:
    """Mean and scatter of a light curve in bins of phase.

    Parameters
    ----------
    time, flux : (n,) float64
        Days and flux; n >= 1.
    period, start : float
        Period in days, and the time of phase 0.
    bins : int
        Bins of equal width, the first from phase 0.

    Returns
    -------
    mean, scatter : (bins,) float64
        Unit of the flux; bins without a sample lie on the line between those beside them.
    """
    mean, scatter = _fold(time, flux, period, start, bins)
    return np.asarray(mean), np.asarray(scatter)


def views(time: Floats, relative: Floats, cadence: float, period: float, power: float) -> Views:
    """Fold a segment.

    Parameters
    ----------
    time : (n,) float64
        Increasing, days.
    relative : (n,) float64
        Flux over its median, less one.
    cadence : float
        Days between cadences.
    period, power : float
        Period of highest Lomb-Scargle power, days, and that power; NaN and 0 without any.

    Returns
    -------
    Views
        Finite everywhere.
    """
    span = float(time[-1] - time[0])
    box = _best_box(time, relative, cadence)
    sine_period = 2 * period if np.isfinite(period) else span
    sine, sine_range = _view(time, relative, sine_period, None)
    boxed, _ = _view(time, relative, box.period, box.middle)
    facts = np.array(
        [
            np.log10(span),
            np.log10(cadence),
            _log(_scatter(relative)),
            _log(_scatter(np.diff(relative)) / np.sqrt(2)),
            power,
            np.log10(sine_period / 2),
            _log(sine_range),
            np.log10(box.period),
            _log(box.duration / box.period),
            _log(box.depth),
            _log(box.snr, 1e-2),
            min(1.0, time.size * cadence / span),
        ]
    )
    return Views(np.concatenate([sine, boxed]).astype(np.float32), facts.astype(np.float32))


def _log(value: float, floor: float = _FLOOR) -> float:
    return float(np.log10(max(value, floor)))


def _scatter(values: Floats) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _view(time: Floats, relative: Floats, period: float, middle: float | None) -> tuple[Floats, float]:
    """Mean and scatter (2, 128) over the range of the mean, and that range."""
    start = time[0] if middle is None else middle - period / 4
    mean, scatter = fold(time, relative, period, start)
    if middle is None:
        shift = PHASES // 4 - int(mean.argmin())
        mean, scatter = np.roll(mean, shift), np.roll(scatter, shift)
    low, width = float(mean.min()), float(np.ptp(mean))
    if width <= 0:
        return np.zeros((2, PHASES)), 0.0
    return np.stack([(mean - low) / width, np.minimum(scatter / width, 4.0)]), width


class _Box(NamedTuple):
    period: float
    middle: float
    duration: float
    depth: float
    snr: float


def _best_box(time: Floats, relative: Floats, cadence: float) -> _Box:
    """The box that takes away most of the variance, of those that repeat at least once in the span."""
    span = float(time[-1] - time[0])
    t, y = _binned(time, relative, max(_BIN, cadence))
    width = min(len(y), int(_WINDOW / max(_BIN, cadence)) | 1)
    y = y - median_filter(y, size=width, mode="nearest")
    noise = _scatter(y) or 1.0
    lowest, highest = 1 / (0.9 * span), 1 / _SHORTEST
    steps = min(_MOST, int((highest - lowest) * span / _RESOLUTION))
    frequency = np.linspace(lowest, highest, steps)
    search = BoxLeastSquares(t, np.clip(y, -np.inf, 5 * noise)).power(1 / frequency, _DURATIONS, oversample=3)
    # Light that overflows the sums of a box has no signal to noise there.
    strength = np.where(np.isfinite(search.depth_snr), search.depth_snr, 0.0)
    best = int(strength.argmax())
    depth, snr = float(np.nan_to_num(search.depth[best])), float(strength[best])
    middle, duration = float(search.transit_time[best]), float(search.duration[best])
    # without errors the search takes them as one
    return _Box(float(search.period[best]), middle, duration, max(depth, 0.0), max(snr, 0.0) / noise)


def _binned(time: Floats, flux: Floats, width: float) -> tuple[Floats, Floats]:
    number = ((time - time[0]) / width).astype(np.int64)
    first = np.flatnonzero(np.r_[True, np.diff(number) > 0])
    count = np.diff(np.r_[first, number.size])
    return np.add.reduceat(time, first) / count, np.add.reduceat(flux, first) / count
