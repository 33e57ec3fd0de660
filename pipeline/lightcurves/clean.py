"""From a light curve as observed to the segments a network reads: curve and periodogram of fixed lengths.

Two recipes. `calnet` follows the published steps (arXiv:2504.15875), so that published weights can be used.
`robust` keeps what these lose: gaps are filled by lines instead of a spline that overshoots and sets the
scale; all cadences are averaged instead of interpolated; flux keeps its depth; only isolated spikes are cut,
not the top 1%; the periodogram keeps its amplitude, misses no peak and reaches 30 d.
"""

from dataclasses import dataclass, replace
from enum import IntFlag
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.lightcurves import resample, views
from pipeline.lightcurves.periodogram import PERIODS_CALNET, gls, peaks

__all__ = ["CURVE", "RECIPES", "Flag", "Segment", "compress", "expand", "prepare"]

Floats = NDArray[np.float64]

CURVE = 4000  #: samples of a curve
RECIPES = ("calnet", "robust")
GAP = 0.75  # days without a cadence that end a segment
SHORTEST = 240_000.0  # seconds of cadences in the shortest segment: 2,000 of two minutes
SOFTENING = 0.003  # relative flux up to which `compress` is about linear
CADENCES = np.array([20.0, 120.0, 200.0, 600.0, 1800.0])  # of TESS, in seconds


class Flag(IntFlag):
    """What is odd about a segment."""

    CONSTANT = 1  #: all its flux is equal: curve and periodogram are zero
    TIMES = 2  #: cadences out of order were sorted, cadences at the same time dropped but the first
    UNCUT = 4  #: the cut at the 99th percentile would have left nothing and was left out
    BASELINE = 8  #: the median flux is not above its scatter: the curve is in units of the scatter
    CLIPPED = 16  #: isolated upward spikes were taken out


@dataclass(frozen=True, eq=False)
class Segment:
    """A stretch of light curve without a gap of more than 0.75 d.

    Attributes
    ----------
    curve : (4000,) float32
        Flux at evenly spaced times from `t_start` to `t_end`: min-max scaled (calnet) or `compress` of the
        flux relative to its median (robust).
    periodogram : (1000,) float32
        Min-max scaled power at `PERIODS_CALNET` (calnet), or the highest power in the bins between
        `PERIOD_EDGES_ROBUST` (robust).
    t_start, t_end : float
        Times of the first and last sample of the curve, BTJD.
    n_cadences : int
        Good cadences in the segment, before any cut in flux.
    gls_period, gls_power : float
        Period in days of the highest power, and this power; NaN and 0 without any.
    flux_median : float
        Median of the segment's flux, in its unit (e-/s).
    flux_min, flux_max : float
        Range of the resampled flux, in its unit: what min-max scaling took to 0 and 1.
    flags : int
        `Flag` bits.
    coverage : (4000,) uint8
        1 where a sample of the curve lies within a cadence of a good one, 0 in gaps (robust only).
    folded : (4, 128) float32
        `views.Views.folded` (robust only).
    facts : (12,) float32
        `views.FACTS` (robust only).
    """

    curve: NDArray[np.float32]
    periodogram: NDArray[np.float32]
    t_start: float
    t_end: float
    n_cadences: int
    gls_period: float
    gls_power: float
    flux_median: float
    flux_min: float
    flux_max: float
    flags: int
    coverage: NDArray[np.uint8] | None = None
    folded: NDArray[np.float32] | None = None
    facts: NDArray[np.float32] | None = None


class _Piece(NamedTuple):
    time: Floats
    flux: Floats
    error: Floats | None
    flags: Flag


def compress(relative: Floats) -> Floats:
    """Take relative flux to a range a network can read, keeping the depth.

    It is arcsinh(x / 0.003) / arcsinh(1 / 0.003): noise and shallow dips stay linear; a total eclipse (-1)
    becomes -1, one of 10% -0.65, one of 1% -0.29.

    Parameters
    ----------
    relative : array of float64
        Flux over its median, less one.

    Returns
    -------
    array of float64
        The same shape; undone by `expand`.
    """
    return np.asarray(np.arcsinh(relative / SOFTENING) / np.arcsinh(1 / SOFTENING))


def expand(curve: NDArray[np.floating]) -> Floats:
    """Relative flux from a curve of the robust recipe: the inverse of `compress`.

    Parameters
    ----------
    curve : array of float
        As `Segment.curve`.

    Returns
    -------
    array of float64
        Flux over its median, less one.
    """
    return np.asarray(np.sinh(np.asarray(curve, np.float64) * np.arcsinh(1 / SOFTENING)) * SOFTENING)


def prepare(
    time: ArrayLike,
    flux: ArrayLike,
    quality: ArrayLike,
    recipe: str = "calnet",
    cadence_s: float | None = None,
    flux_err: ArrayLike | None = None,
) -> list[Segment]:
    """Cut one star's light curve into segments and make each ready for a network.

    Both recipes take cadences of QUALITY 0 with finite time and flux, split at gaps of more than 0.75 d and
    drop segments shorter than 2,000 two-minute cadences (2.8 d at any other cadence).

    `calnet` then drops flux at or above the segment's 99th percentile, draws a cubic interpolating spline
    through the rest on time scaled to [0, 1], takes 4,000 samples of it and scales them to [0, 1]; its
    periodogram is `gls` at `PERIODS_CALNET` before resampling, scaled to [0, 1]. (The published rejection of
    outliers acts on rounding noise and is left out.)

    `robust` takes out isolated upward spikes, averages into 4,000 bins with weights 1/flux_err^2, fills empty
    bins by lines and compresses the flux relative to its median; its periodogram is that of
    `periodogram.peaks`.

    Parameters
    ----------
    time : (n,) array_like
        Times in days (BTJD), in any order; NaN allowed.
    flux : (n,) array_like
        Flux (e-/s); NaN allowed.
    quality : (n,) array_like of int
        QUALITY bits.
    recipe : {"calnet", "robust"}
        Which steps.
    cadence_s : float, optional
        Seconds between cadences; by default the median interval.
    flux_err : (n,) array_like, optional
        Standard deviations of the flux, used by `robust`.

    Returns
    -------
    list of Segment
        In order of time; empty when nothing is long enough.

    Raises
    ------
    ValueError
        For lengths that differ, an unknown recipe, or a cadence that is not positive.

    References
    ----------
    arXiv:2504.15875, section 2 (calnet).
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe is {recipe!r}; the known ones are {', '.join(RECIPES)}")
    if cadence_s is not None and not cadence_s > 0:
        raise ValueError(f"cadence_s is {cadence_s}; give the seconds between cadences")
    good = _good(time, flux, quality, flux_err)
    if good.time.size < 2:
        return []
    cadence = cadence_s or _cadence(good.time)
    pieces = _split(good, cadence)
    if recipe == "calnet":
        return [_calnet(piece) for piece in pieces]
    return [_robust(piece, cadence) for piece in pieces]


def _good(time: ArrayLike, flux: ArrayLike, quality: ArrayLike, flux_err: ArrayLike | None) -> _Piece:
    """Finite, unflagged cadences in order of time."""
    t, f, q = np.asarray(time), np.asarray(flux), np.asarray(quality)
    e = None if flux_err is None else np.asarray(flux_err)
    for name, column in (("flux", f), ("quality", q), ("flux_err", e)):
        if column is not None and (column.shape != t.shape or t.ndim != 1):
            raise ValueError(f"{name} has shape {column.shape}, time {t.shape}; give columns of one length")
    ok = np.isfinite(t)
    ok &= np.isfinite(f)
    ok &= q == 0
    t, f = t[ok].astype(np.float64, copy=False), f[ok].astype(np.float64, copy=False)
    if e is not None:
        e = e[ok].astype(np.float64, copy=False)
    if t.size > 1 and np.diff(t).min() < 0:
        order = np.argsort(t, kind="stable")
        return _Piece(t[order], f[order], None if e is None else e[order], Flag.TIMES)
    return _Piece(t, f, e, Flag(0))


def _cadence(time: Floats) -> float:
    """Median interval in seconds, taken to a cadence of TESS within 1% (the barycentre moves)."""
    interval = np.diff(time)
    interval = interval[interval > 0]
    if not interval.size:
        return float("inf")
    seconds = 86400 * float(np.median(interval))
    nearest = float(CADENCES[np.abs(CADENCES - seconds).argmin()])
    return nearest if abs(nearest - seconds) < 0.01 * nearest else seconds


def _split(good: _Piece, cadence: float) -> list[_Piece]:
    """Segments between gaps that are long enough, their times strictly increasing."""
    # two samples nearly at one time would give a spline any slope: the first stands for both
    interval = np.diff(good.time)
    if interval.min() <= 0.01 * cadence / 86400:
        keep = np.concatenate(([True], interval > 0.01 * cadence / 86400))
        error = None if good.error is None else good.error[keep]
        good = _Piece(good.time[keep], good.flux[keep], error, good.flags | Flag.TIMES)
        interval = np.diff(good.time)
    bounds = [0, *(np.flatnonzero(interval > GAP) + 1).tolist(), good.time.size]
    pieces = []
    for first, last in pairwise(bounds):
        if (last - first) * cadence >= SHORTEST and last - first >= 4:
            error = None if good.error is None else good.error[first:last]
            pieces.append(_Piece(good.time[first:last], good.flux[first:last], error, good.flags))
    return pieces


def _neighbours(values: Floats, rank: int) -> tuple[float, float]:
    """The values of rank `rank` and `rank` + 1, as after sorting, but sorting only those near them."""
    probe = np.sort(values[:: max(1, values.size // 512)])
    place, margin = rank / values.size * probe.size, 0.04 * probe.size
    low = probe[int(place - margin)] if place > margin else -np.inf
    high = probe[int(place + margin)] if place + margin < probe.size else np.inf
    under = int(np.count_nonzero(values < low))
    near = np.sort(values[(values >= low) & (values <= high)])
    if under > rank or under + near.size < rank + 2:
        under, near = 0, np.sort(values)
    return float(near[rank - under]), float(near[rank + 1 - under])


def _percentile_99(values: Floats) -> float:
    """``np.percentile(values, 99)``, exactly."""
    rank = 0.99 * (values.size - 1)
    low, high = _neighbours(values, int(rank))
    share = rank - int(rank)
    # numpy's own rounding, so that `>=` drops the same cadences
    return high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share


def _median(values: Floats) -> float:
    if values.size < 2:
        return float(values[0])
    low, high = _neighbours(values, (values.size - 1) // 2)
    return low if values.size % 2 else low / 2 + high / 2


def _min_max(values: Floats) -> NDArray[np.float32]:
    low, high = values.min(), values.max()
    if not high > low:
        return np.zeros(values.size, np.float32)
    return ((values - low) / (high - low)).astype(np.float32)


def _constant(piece: _Piece, flags: Flag) -> Segment:
    level = float(piece.flux[0])
    zeros = np.zeros(CURVE, np.float32), np.zeros(PERIODS_CALNET.size, np.float32)
    span = float(piece.time[0]), float(piece.time[-1])
    return Segment(*zeros, *span, piece.time.size, np.nan, 0.0, level, level, level, int(flags | Flag.CONSTANT))


def _calnet(piece: _Piece) -> Segment:
    time, flux, flags = piece.time, piece.flux, piece.flags
    below = flux < _percentile_99(flux)
    if np.count_nonzero(below) < 4:
        flags |= Flag.UNCUT
    else:
        time, flux = time[below], flux[below]
    if flux.min() == flux.max():
        return _constant(piece._replace(time=time, flux=flux), flags)
    power = gls(time, flux, PERIODS_CALNET)
    best = int(power.argmax())
    curve = resample.spline(time, flux, CURVE)
    return Segment(
        curve=_min_max(curve),
        periodogram=_min_max(power),
        t_start=float(time[0]),
        t_end=float(time[-1]),
        n_cadences=piece.time.size,
        gls_period=float(PERIODS_CALNET[best]),
        gls_power=float(power[best]),
        flux_median=_median(piece.flux),
        flux_min=float(curve.min()),
        flux_max=float(curve.max()),
        flags=int(flags),
    )


def _robust(piece: _Piece, cadence: float) -> Segment:
    time, flux, flags = piece.time, piece.flux, piece.flags
    error = _errors(piece.error)
    spike = resample.spikes(flux)
    if spike.any():
        flags |= Flag.CLIPPED
        time, flux, error = time[~spike], flux[~spike], None if error is None else error[~spike]
    days = cadence / 86400
    coverage = resample.coverage(time, 1.5 * days, CURVE)
    if flux.min() == flux.max():
        flat = views.views(time, np.zeros(time.size), days, np.nan, 0.0)
        constant = _constant(piece._replace(time=time, flux=flux), flags)
        return replace(constant, coverage=coverage, folded=flat.folded, facts=flat.facts)
    weight = np.ones(time.size) if error is None else (error.min() / error) ** 2
    curve = resample.bin_means(time, flux, weight, CURVE)
    median = _median(flux)
    unit, scatter = median, 1.4826 * _median(np.abs(curve - median))
    if not unit > scatter:
        flags |= Flag.BASELINE
        unit = scatter or float(np.abs(curve - median).max()) or 1.0
    highest = peaks(time, flux, days, error)
    seen = views.views(time, (flux - median) / unit, days, highest.period, highest.best)
    return Segment(
        curve=compress((curve - median) / unit).astype(np.float32),
        periodogram=highest.power.astype(np.float32),
        t_start=float(time[0]),
        t_end=float(time[-1]),
        n_cadences=piece.time.size,
        gls_period=highest.period,
        gls_power=highest.best,
        flux_median=median,
        flux_min=float(curve.min()),
        flux_max=float(curve.max()),
        flags=int(flags),
        coverage=coverage,
        folded=seen.folded,
        facts=seen.facts,
    )


def _errors(error: Floats | None) -> Floats | None:
    """Errors with the unusable ones replaced by the median of the others; None when none is usable."""
    if error is None:
        return None
    usable = np.isfinite(error) & (error > 0)
    if usable.all():
        return error
    return np.where(usable, error, _median(error[usable])) if usable.any() else None
