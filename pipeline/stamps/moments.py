"""Where a source is in a stamp, how wide and how round: Gaussian-weighted moments, corrected for their window."""

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["SIGMA", "Shape", "gaussian", "sky", "windowed"]

Pixels = NDArray[np.floating[Any]]

#: σ of a Gaussian of FWHM 1.
SIGMA = 1 / math.sqrt(8 * math.log(2))


class Shape:
    """Centroid and second moments of a source.

    Parameters
    ----------
    x, y : float
        Centroid, px; NaN if it ran out of reach.
    a, b : float
        σ along the longer and the shorter axis, px, without the window's share; NaN if there are none.
    """

    def __init__(self, x: float, y: float, a: float, b: float) -> None:
        self.x, self.y, self.a, self.b = x, y, a, b

    @property
    def fwhm(self) -> float:
        """FWHM of the Gaussian of the same moments, px."""
        return math.sqrt(self.a * self.b) / SIGMA

    @property
    def ellipticity(self) -> float:
        """1 - b/a."""
        return 1 - self.b / self.a


def windowed(image: Pixels, x: float, y: float, fwhm: float, adapt: bool = False) -> Shape:
    """Return the shape of a source by Gaussian-weighted moments.

    Parameters
    ----------
    image : (ny, nx) float
        Sky subtracted, finite.
    x, y : float
        First guess of its place, px; it is left if the centroid moves further than `fwhm`.
    fwhm : float
        Of the window, px.
    adapt : bool, default: False
        Let the window grow or shrink to the source's own width.

    Notes
    -----
    A Gaussian of covariance C under a window W has the weighted covariance M, 1/M = 1/C + 1/W; the centroid is that of
    Bertin's XWIN_IMAGE, which for any symmetrical source is its place.
    """
    return Shape(*_windowed(np.ascontiguousarray(image, np.float64), x, y, fwhm * SIGMA, adapt))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _windowed(image, x, y, sigma, adapt):  # type: ignore[no-untyped-def]
    ny, nx = image.shape
    x_first, y_first, reach = x, y, 2.3548 * sigma
    a = b = np.nan
    for step in range(14):
        x0, x1 = max(0, int(x - 4 * sigma)), min(nx, int(x + 4 * sigma) + 2)
        y0, y1 = max(0, int(y - 4 * sigma)), min(ny, int(y + 4 * sigma) + 2)
        total = sx = sy = sxx = syy = sxy = 0.0
        for j in range(y0, y1):
            for i in range(x0, x1):
                dx, dy = i - x, j - y
                w = image[j, i] * np.exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma))
                total += w
                sx += w * dx
                sy += w * dy
                sxx += w * dx * dx
                syy += w * dy * dy
                sxy += w * dx * dy
        if not total > 0:
            return np.nan, np.nan, np.nan, np.nan
        sx, sy = sx / total, sy / total
        moved = math.hypot(sx, sy)
        x, y = x + 2 * sx, y + 2 * sy
        if not math.hypot(x - x_first, y - y_first) <= reach:
            return np.nan, np.nan, np.nan, np.nan
        a, b = _axes(sxx / total - sx * sx, syy / total - sy * sy, sxy / total - sx * sy, sigma)
        if adapt and a > 0 and b > 0:
            wanted = min(max(np.sqrt(a * b), 0.5), 4 * reach)
            still = abs(wanted - sigma) < 1e-3 * sigma
            sigma = wanted
        else:
            still = True
        if moved < 1e-4 and still and step > 0:
            break
    return x, y, a, b


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _axes(mxx, myy, mxy, sigma):  # type: ignore[no-untyped-def]
    """Return σ along both axes of what has these moments under a round window."""
    middle, half = (mxx + myy) / 2, math.hypot((mxx - myy) / 2, mxy)
    one, two = middle + half, middle - half
    if not two > 0 or not one < sigma * sigma:
        return np.nan, np.nan
    return np.sqrt(1 / (1 / one - 1 / sigma**2)), np.sqrt(1 / (1 / two - 1 / sigma**2))


def gaussian(side: int, fwhm: float) -> NDArray[np.float64]:
    """Return the matrix G that smooths the rows of an image, G @ image, with a Gaussian of unit sum.

    Parameters
    ----------
    side : int
        Rows.
    fwhm : float
        Of the Gaussian, px.
    """
    places = np.arange(side)
    weights = np.exp(-0.5 * (np.subtract.outer(places, places) / (fwhm * SIGMA)) ** 2)
    whole: NDArray[np.float64] = weights / np.exp(-0.5 * (np.arange(-side, side) / (fwhm * SIGMA)) ** 2).sum()
    return whole


def sky(values: Pixels) -> tuple[float, float]:
    """Return level and scatter of the sky, by median and quartiles, sources clipped.

    Parameters
    ----------
    values : (n,) float
        Pixels, finite; at least one.
    """
    ordered = np.sort(values.astype(np.float32))
    low, high = 0, len(ordered)
    level = scatter = 0.0
    for _ in range(6):
        count = high - low
        level = (float(ordered[low + (count - 1) // 2]) + float(ordered[low + count // 2])) / 2
        scatter = float(ordered[low + 3 * count // 4] - ordered[low + count // 4]) / 1.349
        if not scatter:
            return level, _sparse(ordered[low:high] - np.float32(level))
        edges = np.array([level - 3 * scatter, level + 3 * scatter], np.float32)
        first, last = (int(at) for at in np.searchsorted(ordered, edges))
        if first <= low and last >= high:
            break
        low, high = max(low, first), max(first + 1, min(high, last))
    return level, scatter


def _sparse(values: NDArray[np.float32]) -> float:
    """Return the scatter where most pixels are alike: of few photons, or of none."""
    scatter = float(values.std(dtype=np.float64))
    for _ in range(6):
        kept = values[np.abs(values) <= 5 * scatter]
        less = float(kept.std(dtype=np.float64))
        if not less or len(kept) == len(values):
            break
        values, scatter = kept, less
    return scatter
