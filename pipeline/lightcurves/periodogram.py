"""Generalised Lomb-Scargle periodograms: power at given periods, and the highest power in bins of period.

The model is a sine with a floating mean, its power standard-normalised [1]_: the share of the weighted
variance that the best sine takes away. The sums over the samples come from `fourier`, so the powers are those
of the direct sum to about 1e-9; frequencies where the sums nearly cancel (a sine that the sampling cannot
tell from a constant) are summed directly.

References
----------
.. [1] Zechmeister & Kuerster 2009, A&A 496, 577 (eqs. 4-15).
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.lightcurves import fourier

__all__ = ["PERIODS_CALNET", "PERIOD_EDGES_ROBUST", "Peaks", "gls", "peaks"]

Floats = NDArray[np.float64]

#: Periods of CALNet's input in days (arXiv:2504.15875): two 2-min cadences to 10 d, shape (1000,).
PERIODS_CALNET: Floats = np.logspace(-3, 1, 1125)[125:]
#: Edges in days of the bins of the robust recipe: two 2-min cadences to 30 d at every cadence, shape (1001,).
PERIOD_EDGES_ROBUST: Floats = np.geomspace(240 / 86400, 30, 1001)

PEAK_OVERSAMPLING = 5.0  # a peak half a step of 1/(5 span) away is seen at sinc^2(0.1) = 97%
NEARLY_SINGULAR = 2e-3  # determinant (1/4 at most) below which the fast sums leave fewer than seven digits
SINGULAR = 1e-4  # determinant below which a bin cannot tell a sine from a constant
MAX_CELLS = 1 << 26  # 1 GiB of grid; beyond it the sums are taken directly
DIRECT_COST = 4  # a sine and cosine cost about as much as this many cells of the grid


class Peaks(NamedTuple):
    """Highest power in each bin of period, and the highest of all.

    Attributes
    ----------
    power : (bins,) float64
        Standard-normalised power, 0 where the samples cannot tell (see `peaks`).
    period : float
        Period of the highest power, in days; NaN when there is none.
    best : float
        Its power.
    """

    power: Floats
    period: float
    best: float


class _Sample(NamedTuple):
    """Centred times, weights that add up to one, weights times data of unit variance and zero mean."""

    time: Floats
    data: Floats
    weight: Floats
    span: float


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _power(yc, ys, cc, ss, cs):  # type: ignore[no-untyped-def]
    """Power of data of unit variance (ZK09 eq. 5) from centred sums."""
    determinant = cc * ss - cs * cs
    trace = cc + ss
    if determinant > 1e-13 * trace * trace:
        power = (ss * yc * yc + cc * ys * ys - 2.0 * cs * yc * ys) / determinant
    elif trace > 0.0:  # rounding noise: the sine and the cosine are one and the same function here
        power = (yc * yc + ys * ys) / trace
    else:
        power = 0.0
    return min(max(power, 0.0), 1.0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _combine(single, double, power):  # type: ignore[no-untyped-def]
    """Powers from the sums at the frequencies and the weights' at twice them; -1 where unreliable."""
    for j in range(power.size):
        c, s = single[1, 0, j], single[1, 1, j]
        half = 0.5 * double[0, 0, j]
        cc = 0.5 + half - c * c
        ss = 0.5 - half - s * s
        cs = 0.5 * double[0, 1, j] - c * s
        power[j] = -1.0
        if cc * ss - cs * cs > NEARLY_SINGULAR:
            power[j] = _power(single[0, 0, j], single[0, 1, j], cc, ss, cs)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _direct(time, data, weight, frequency):  # type: ignore[no-untyped-def]
    """Powers by the direct sum. Cosines less one keep their digits where the whole span is a small phase."""
    power = np.empty(frequency.size)
    for j in range(frequency.size):
        yc, ys, c, s, cc, ss, cs = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        half = np.pi * frequency[j]
        for i in range(time.size):
            sine, cosine = np.sin(half * time[i]), np.cos(half * time[i])
            a, b = -2.0 * sine * sine, 2.0 * sine * cosine
            yc += data[i] * a
            ys += data[i] * b
            c += weight[i] * a
            s += weight[i] * b
            cc += weight[i] * a * a
            ss += weight[i] * b * b
            cs += weight[i] * a * b
        power[j] = _power(yc, ys, cc - c * c, ss - s * s, cs - c * s)
    return power


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _highest(data, weight, factor, low, high, power):  # type: ignore[no-untyped-def]
    """Highest power over each range ``low <= k < high`` of regular frequencies; returns the best k."""
    best, at = 0.0, 0
    for b in range(power.size):
        for k in range(low[b], high[b]):
            # the grid's middle is time zero: factors (-1)^k, which cancel in the power
            f, double = factor[k], 0.5 * factor[2 * k] * weight[2 * k]
            c, s = f * weight[k].real, -f * weight[k].imag
            cc = 0.5 + double.real - c * c
            ss = 0.5 - double.real - s * s
            cs = -double.imag - c * s
            if cc * ss - cs * cs > SINGULAR:
                p = _power(f * data[k].real, -f * data[k].imag, cc, ss, cs)
                power[b] = max(power[b], p)
                if p > best:
                    best, at = p, k
    return at


def _column(name: str, value: ArrayLike, like: Floats | None = None) -> Floats:
    column = np.asarray(value, dtype=np.float64)
    if column.ndim != 1 or (like is not None and column.size != like.size):
        wanted = "one dimension" if like is None else f"one dimension of {like.size} values, as time has"
        raise ValueError(f"{name} has shape {column.shape}; give it {wanted}")
    if not np.isfinite(column).all():
        raise ValueError(f"{name} holds {(~np.isfinite(column)).sum()} values that are not finite; drop them first")
    return column


def _sample(time: ArrayLike, flux: ArrayLike, flux_err: ArrayLike | None) -> _Sample | None:
    """Check and centre; None where the flux is constant."""
    t = _column("time", time)
    y = _column("flux", flux, t)
    if t.size < 4:
        raise ValueError(f"{t.size} samples; a sine with a floating mean needs at least 4")
    if flux_err is None:
        weight = np.full(t.size, 1 / t.size)
    else:
        error = _column("flux_err", flux_err, t)
        if error.min() <= 0:
            raise ValueError(f"flux_err holds {error.min()}; errors are positive: drop the samples without one")
        weight = (error.min() / error) ** 2
        weight /= weight.sum()
    low, high = float(y.min()), float(y.max())
    first, last = float(t.min()), float(t.max())
    if low == high or first == last:
        return None
    y = y / max(abs(low), abs(high))
    y -= (weight * y).sum()
    data = weight * y
    y *= data
    data /= np.sqrt(y.sum())
    return _Sample(t - (first + (last - first) / 2), data, weight, last - first)


def _powers(sample: _Sample, frequency: Floats) -> Floats:
    band = 2 * float(frequency.max())
    cells = fourier.grid_size(sample.span, band)
    if cells > min(MAX_CELLS, DIRECT_COST * sample.time.size * frequency.size):
        return np.asarray(_direct(sample.time, sample.data, sample.weight, frequency))
    spectrum = fourier.transform(sample.time, sample.data, sample.weight, band)
    power = np.empty(frequency.size)
    doubled = fourier.evaluate(spectrum, 2 * frequency, slice(1, 2))
    _combine(fourier.evaluate(spectrum, frequency), doubled, power)
    doubtful = power < 0
    if doubtful.any():
        power[doubtful] = _direct(sample.time, sample.data, sample.weight, frequency[doubtful])
    return power


def gls(time: ArrayLike, flux: ArrayLike, periods: ArrayLike, flux_err: ArrayLike | None = None) -> Floats:
    """Generalised Lomb-Scargle power (floating mean, standard normalisation) at given periods.

    Equal to ``astropy.timeseries.LombScargle(time, flux, flux_err).power(1 / periods)`` to about 1e-9, with
    any times and any periods.

    Parameters
    ----------
    time : (n,) array_like
        Times in days, in any order; n >= 4.
    flux : (n,) array_like
        Flux in any unit.
    periods : (m,) array_like
        Periods in days.
    flux_err : (n,) array_like, optional
        Standard deviations of the flux; equal weights without.

    Returns
    -------
    (m,) float64
        Power in [0, 1]: the share of the weighted variance the best sine of that period explains; zeros for a
        constant flux.

    Raises
    ------
    ValueError
        For lengths that differ, values that are not finite, errors or periods that are not positive, or fewer
        than 4 samples.
    """
    period = _column("periods", periods)
    if period.size and period.min() <= 0:
        raise ValueError(f"periods holds {period.min()}; periods are positive, in days")
    sample = _sample(time, flux, flux_err)
    if sample is None or not period.size:
        return np.zeros(period.size)
    return _powers(sample, 1 / period)


def peaks(
    time: ArrayLike,
    flux: ArrayLike,
    cadence: float,
    flux_err: ArrayLike | None = None,
    edges: Floats = PERIOD_EDGES_ROBUST,
) -> Peaks:
    """Highest generalised Lomb-Scargle power within each bin of period.

    No peak falls between samples: powers are worked out on a regular grid of frequencies five times finer
    than one over the span, where a peak is seen at 97% or more; bins narrower than that grid take the power
    at their middle. Bins shorter than two cadences or longer than the span are zero.

    Parameters
    ----------
    time, flux : (n,) array_like
        As in `gls`.
    cadence : float
        Interval between samples, in days.
    flux_err : (n,) array_like, optional
        As in `gls`.
    edges : (bins + 1,) float64
        Edges of the bins in days, increasing.

    Returns
    -------
    Peaks
        Power (bins,), best period and its power.

    Raises
    ------
    ValueError
        As in `gls`; or for a cadence that is not positive, or a span of so many cycles that no memory holds
        them.
    """
    if not cadence > 0:
        raise ValueError(f"cadence is {cadence}; give the interval between samples in days")
    sample = _sample(time, flux, flux_err)
    power = np.zeros(edges.size - 1)
    lowest = np.inf if sample is None else 1 / sample.span
    # at the Nyquist frequency itself a sine is a constant: stay one resolution away
    highest = min(1 / edges[0], 0.5 / cadence - lowest)
    if sample is None or highest <= lowest:
        return Peaks(power, np.nan, 0.0)
    if fourier.grid_size(sample.span, 2 * highest, PEAK_OVERSAMPLING) > MAX_CELLS:
        raise ValueError(f"a span of {sample.span} d at {highest} cycles a day is too long; give longer edges")
    spectrum = fourier.transform(sample.time, sample.data, sample.weight, 2 * highest, PEAK_OVERSAMPLING)
    bins = spectrum.size * spectrum.step  # grid steps per cycle a day
    bounds = np.floor(bins / edges).astype(np.int64) + 1
    last = int(highest * bins)
    low, high = np.clip(bounds[1:], int(np.ceil(lowest * bins)), None), np.clip(bounds[:-1], None, last + 1)
    factor = fourier.deconvolution(np.arange(2 * last + 3) / spectrum.size)
    data, weight = spectrum.value
    at = _highest(data, weight, factor, low, high, power)
    period, best = _vertex(data, weight, factor, at, bins)
    middle = np.sqrt(edges[1:] * edges[:-1])
    narrow = (bounds[1:] == bounds[:-1]) & (middle <= sample.span) & (middle * highest >= 1)
    if narrow.any():
        power[narrow] = _powers(sample, 1 / middle[narrow])
        if power[narrow].max() > best:
            best = float(power[narrow].max())
            period = float(middle[narrow][power[narrow].argmax()])
    return Peaks(power, period, best)


def _vertex(
    data: NDArray[np.complex128], weight: NDArray[np.complex128], factor: Floats, at: int, bins: float
) -> tuple[float, float]:
    """Period and power at the top of the parabola through the best frequency and its neighbours."""
    if at == 0:
        return np.nan, 0.0
    three = np.zeros(3)
    about = np.array([at - 1, at, at + 1])
    _highest(data, weight, factor, about, about + 1, three)
    left, mid, right = (float(p) for p in three)
    curvature = left - 2 * mid + right
    if left == 0 or right == 0 or curvature >= 0 or max(left, right) > mid:
        return bins / at, mid
    shift = (left - right) / (2 * curvature)
    return bins / (at + shift), min(1.0, mid - curvature * shift**2 / 2)
