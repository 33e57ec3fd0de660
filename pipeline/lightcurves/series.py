"""All observations of a star as one relative light curve, in bins, and the same without its slow trends."""

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves.star import StarCurves, good

__all__ = ["PIECES", "SEARCH_S", "Series", "flatten", "gather", "white_noise"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEARCH_S = 600.0  #: bins of the search, s
FINEST_S = 120.0  # bins of the fits: 20-s data are averaged to this
PIECES = 100  #: stretches are numbered from this times the number of their observation
GAP = 0.5  # days without data that end a stretch
KNOT = 0.25  # days between the knots of a trend
SPIKE = 5.0  # upward excursions beyond this many sigmas of the local scatter are cut


@dataclass(frozen=True, eq=False)
class Series:
    """Relative flux of one star, in order of time.

    Parameters
    ----------
    time : (n,) float64
        Middle of the bin, BTJD.
    flux : (n,) float64
        Over the median of the observation.
    error : (n,) float64
        White noise of `flux`.
    exposure : (n,) float64
        Days over which a sample is averaged.
    stretch : (n,) int64
        Rises by one at every gap of more than half a day, and to the next multiple of `PIECES` at a new observation.
    """

    time: Floats
    flux: Floats
    error: Floats
    exposure: Floats
    stretch: Ints

    @cached_property
    def exposed(self) -> Floats:
        """Days of exposure before each sample and after the last, shape (n + 1,)."""
        return np.concatenate(([0.0], np.cumsum(self.exposure)))

    def where(self, keep: NDArray[np.bool_]) -> "Series":
        """Return the samples that are kept.

        Parameters
        ----------
        keep : (n,) bool
            Which.

        Returns
        -------
        Series
            Copies of the columns.
        """
        return Series(self.time[keep], self.flux[keep], self.error[keep], self.exposure[keep], self.stretch[keep])

    def replace(self, flux: Floats) -> "Series":
        """Return the series with another flux.

        Parameters
        ----------
        flux : (n,) float64
            The flux.

        Returns
        -------
        Series
            Sharing the other columns.
        """
        return Series(self.time, flux, self.error, self.exposure, self.stretch)


def gather(star: StarCurves, bin_s: float = FINEST_S) -> Series:
    """Put the good cadences of all observations into one series.

    Parameters
    ----------
    star : StarCurves
        Observations; any of them may be empty or without a good cadence.
    bin_s : float
        Cadences are averaged to bins of this many seconds; longer cadences stay as they are.

    Returns
    -------
    Series
        Empty where nothing is left.
    """
    columns: list[tuple[Floats, ...]] = []
    for number, observation in enumerate(star.observations):
        time, flux, _ = good(observation)
        keep = np.isfinite(time) & np.isfinite(flux)
        time, flux = time[keep], flux[keep]
        if time.size < 10:
            continue
        order = np.argsort(time, kind="stable")
        time, flux = time[order], flux[order]
        keep = ~_spikes(flux)
        time, flux = time[keep], flux[keep]
        cadence = observation.cadence_s / 86400
        width = max(1.0, np.floor(bin_s / observation.cadence_s + 1e-6)) * cadence
        noise = white_noise(flux)
        pieces = np.cumsum(np.concatenate(([0], np.diff(time) > GAP)))
        mean_t, mean_f, count, piece = _bin(time, flux, pieces, width, width <= 1.01 * cadence)
        enough = count >= 0.3 * width / cadence
        error = np.full(count.size, noise) / np.sqrt(count)
        one = (mean_t, mean_f, error, np.full(count.size, width), piece + PIECES * number)
        columns.append(tuple(column[enough] for column in one))
    if not columns:
        empty = np.zeros(0)
        return Series(empty, empty, empty, empty, np.zeros(0, np.int64))
    joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    time, flux, error, exposure, stretch = (column[order] for column in joined)
    return Series(time, flux, error, exposure, stretch.astype(np.int64))


def white_noise(flux: Floats) -> float:
    """Standard deviation of the noise from one sample to the next, whatever varies more slowly.

    Parameters
    ----------
    flux : (n,) float64
        Flux in order of time.

    Returns
    -------
    float
        1.48 times the median absolute second difference over sqrt(6); at least 1e-6.
    """
    if flux.size < 3:
        return 1e-6
    second = flux[2:] - 2 * flux[1:-1] + flux[:-2]
    return max(float(1.4826 * np.median(np.abs(second)) / np.sqrt(6)), 1e-6)


def _spikes(flux: Floats) -> NDArray[np.bool_]:
    """Single upward samples, far above both neighbours."""
    spike = np.zeros(flux.size, bool)
    if flux.size > 4:
        noise = white_noise(flux)
        middle = flux[1:-1]
        spike[1:-1] = middle - np.maximum(flux[:-2], flux[2:]) > SPIKE * noise
    return spike


def _bin(time: Floats, flux: Floats, piece: Ints, width: float, single: bool) -> tuple[Floats, Floats, Floats, Ints]:
    """Means over bins that begin anew at every piece."""
    if single:
        return time, flux, np.ones(time.size), piece
    label = np.floor(time / width).astype(np.int64)
    new = np.concatenate(([True], (np.diff(label) != 0) | (np.diff(piece) != 0)))
    index = np.cumsum(new) - 1
    count = np.bincount(index).astype(np.float64)
    return (
        np.bincount(index, time) / count,
        np.bincount(index, flux) / count,
        count,
        piece[np.flatnonzero(new)],
    )


def flatten(series: Series, mask: NDArray[np.bool_] | None = None, window: float = 2.0) -> Series:
    """Divide by the slow trend: medians over a window, masked samples and deep dips left out, lines between.

    Parameters
    ----------
    series : Series
        Any.
    mask : (n,) bool, optional
        Samples that are not to shape the trend, eclipses say; by default dips are found in two passes.
    window : float
        Days of the medians.

    Returns
    -------
    Series
        With flux about 1.
    """
    out = np.ones(series.time.size)
    for piece in np.unique(series.stretch):
        rows = np.flatnonzero(series.stretch == piece)
        time, flux, noise = series.time[rows], series.flux[rows], float(np.median(series.error[rows]))
        if mask is not None and (~mask[rows]).sum() > 0.2 * rows.size:
            trend = _trend(time, flux, ~mask[rows], window)
        else:
            keep = np.ones(rows.size, bool)
            for _ in range(3):
                trend = _trend(time, flux, keep, window)
                rest = flux - trend
                scatter = max(1.4826 * float(np.median(np.abs(rest[keep]))), noise)
                keep = _grow(rest > -3.0 * scatter, time, 0.05)
                if keep.sum() < 0.3 * rows.size:
                    keep = np.ones(rows.size, bool)
                    break
        out[rows] = flux / np.where(np.abs(trend) > 1e-3, trend, 1.0)
    return series.replace(out)


def _grow(keep: NDArray[np.bool_], time: Floats, margin: float) -> NDArray[np.bool_]:
    """Also drop what lies within the margin of at least two dropped neighbours."""
    drop = ~keep
    pair = np.zeros(drop.size, bool)
    pair[1:] |= drop[1:] & drop[:-1]
    pair[:-1] |= drop[1:] & drop[:-1]
    centre = time[pair]
    if not centre.size:
        return keep
    near = np.searchsorted(centre, time)
    left = np.abs(time - centre[np.clip(near - 1, 0, centre.size - 1)])
    right = np.abs(time - centre[np.clip(near, 0, centre.size - 1)])
    return keep & (np.minimum(left, right) > margin)


def _trend(time: Floats, flux: Floats, keep: NDArray[np.bool_], window: float) -> Floats:
    t, f = time[keep], flux[keep]
    if t.size < 3:
        return np.full(time.size, np.median(flux))
    count = max(2, int(np.ceil((time[-1] - time[0]) / KNOT)) + 1)
    knots = np.linspace(time[0], time[-1], count)
    level = _medians(t, f, knots, window / 2)
    ok = np.isfinite(level)
    if not ok.any():
        return np.full(time.size, np.median(f))
    return np.interp(time, knots[ok], level[ok])


@numba.njit(cache=True, nogil=True)
def _medians(time, flux, knots, half):  # type: ignore[no-untyped-def]
    """Line through the samples about each knot, by the medians of either half; NaN where there are few."""
    out = np.empty(knots.size)
    low = 0
    high = 0
    for k in range(knots.size):
        while low < time.size and time[low] < knots[k] - half:
            low += 1
        while high < time.size and time[high] <= knots[k] + half:
            high += 1
        n = high - low
        if n < 6:
            out[k] = np.nan
            continue
        middle = low + n // 2
        f1, f2 = np.median(flux[low:middle]), np.median(flux[middle:high])
        t1, t2 = time[low:middle].mean(), time[middle:high].mean()
        slope = (f2 - f1) / max(t2 - t1, half / 4)
        # a trend is believed at the knot only: towards an edge the line must be carried on
        out[k] = 0.5 * (f1 + f2) + slope * (knots[k] - 0.5 * (t1 + t2))
    return out
