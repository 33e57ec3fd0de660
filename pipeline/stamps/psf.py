"""The PSF of a stamp: what is expected of it before the source itself is fitted.

A PSF is an elliptical Moffat whose four numbers are known so and so well, and a map of what it lacks. Other stars of
the stamp tell most; then stars of other stamps of the survey and filter; else the FWHM of the header or the survey.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from pipeline.stamps.moffat import REST_STEPS, render

__all__ = ["Psf", "REST_SIDE", "interpolated", "nominal", "of_image", "of_shapes", "rest_map"]

Array = NDArray[np.float64]

#: FWHM to which the map of the rest reaches, on either side.
_REACH = 4

#: Points a side of the map of the rest.
REST_SIDE = 2 * _REACH * REST_STEPS + 1

#: Standard deviations, where nothing was measured, of ln FWHM (nominal; by a header), e1 and e2, ln β; and mean of β.
_NOMINAL, _HEADER, _FLAT, _WINGS, _BETA = 0.25, 0.1, 0.06, 0.35, 3.2

#: The same of stars of one image about the star's own PSF, at best.
_FLOOR = np.array([0.015, 0.01, 0.01, 0.06])

#: Nodes by which the map is smoothed.
_SMOOTH = 0.7

#: Relative error of a pixel's share: of a Moffat, of one with a measured rest.
_ERROR, _ERROR_MEASURED = 0.02, 0.01


@dataclass(frozen=True, eq=False)
class Psf:
    """What is expected of a PSF.

    Parameters
    ----------
    theta : (4,) float64
        ln FWHM (px), e1, e2, ln β, as `moffat.render` takes them.
    covariance : (4, 4) float64
        How well they are known.
    rest : (3, m, m) float64
        What a Moffat lacks, as `moffat.render` takes it, m = `REST_SIDE`.
    error : float
        Relative error of what a pixel gets, beyond that.
    n_stars : int
        Stars it was measured on; 0: none.
    """

    theta: Array
    covariance: Array
    rest: Array = field(default_factory=lambda: np.zeros((3, REST_SIDE, REST_SIDE)))
    error: float = _ERROR
    n_stars: int = 0

    @property
    def fwhm(self) -> float:
        """Full width at half maximum, px."""
        return float(np.exp(self.theta[0]))

    @property
    def precision(self) -> Array:
        """Inverse of the covariance."""
        return np.asarray(np.linalg.inv(self.covariance))

    def loose(self) -> "Psf":
        """Return the same with hardly any expectation of its shape: what an extended source would have."""
        return replace(self, covariance=self.covariance + np.diag([1.0, 0.25, 0.25, 0.25]))

    def scaled(self, fwhm: float) -> "Psf":
        """Return it for another stamp: `theta` says how its FWHM compares with the `fwhm` (px) that is told there."""
        return replace(self, theta=self.theta + np.array([np.log(max(fwhm, 0.6)), 0.0, 0.0, 0.0]))

    def stamp(self, half: int, dx: float = 0.0, dy: float = 0.0) -> Array:
        """Return the PSF on 2·half + 1 pixels a side, dx, dy from the middle one; of sum one if it reached for ever."""
        side = np.arange(-half, half + 1.0)
        px, py = (axis.ravel() for axis in np.meshgrid(side, side))
        out = np.empty((7, px.size))
        render(self.theta, dx, dy, px, py, self.rest, out)
        return out[0].reshape(2 * half + 1, -1)


def nominal(fwhm: float, measured: bool = False) -> Psf:
    """Return the PSF of which only the FWHM is known.

    Parameters
    ----------
    fwhm : float
        Px.
    measured : bool
        By the image's header or stars, not by the survey's table.
    """
    spread = np.array([_HEADER if measured else _NOMINAL, _FLAT, _FLAT, _WINGS])
    return Psf(np.array([np.log(max(fwhm, 0.6)), 0.0, 0.0, np.log(_BETA)]), np.diag(spread**2))


def of_shapes(shapes: Array, covariances: Array, before: Psf) -> Psf:
    """Return the PSF that stars tell, together with what was expected of it.

    Parameters
    ----------
    shapes : (n, 4) float64
        Fitted parameters of the stars, without expectations.
    covariances : (n, 4, 4) float64
        Their errors.
    before : Psf
        What was expected.

    Returns
    -------
    Psf
        `before` if no star is of use. The stars' own scatter stays in the covariance: the source may differ as they do.
    """
    spread = np.sqrt(np.diag(before.covariance))
    away = np.abs(shapes - before.theta) / spread
    good = (away[:, :3] < 4).all(axis=1)
    if not good.any():
        return before
    shapes, covariances = shapes[good], covariances[good]
    # A galaxy or a pair is wider than a star, never narrower.
    order = np.argsort(shapes[:, 0])
    lead = order[: max(1, (2 * len(order) + 2) // 3)] if len(order) > 2 else order
    middle = np.median(shapes[lead], axis=0)
    scatter = np.maximum(_FLOOR, 1.4826 * np.median(np.abs(shapes[lead] - middle), axis=0))
    precision = before.precision
    right = precision @ before.theta
    for k in lead:
        if np.all(np.abs(shapes[k] - middle) < 4 * np.sqrt(scatter**2 + np.diag(covariances[k]))):
            one = np.linalg.inv(covariances[k] + np.diag(scatter**2))
            precision = precision + one
            right = right + one @ shapes[k]
    covariance = np.linalg.inv(precision)
    return Psf(
        covariance @ right,
        np.asarray(covariance + np.diag(scatter**2), np.float64),
        before.rest,
        before.error,
        len(lead),
    )


def of_image(image: Array) -> Psf:
    """Return the PSF that somebody brings as an image, odd and centred on the middle pixel.

    Its FWHM is that of the area above half of the peak; what a Moffat of that FWHM lacks becomes the map of the rest.
    """
    image = np.asarray(image, float) / np.sum(image)
    half = image.shape[0] // 2
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] - float(half)
    area = float(np.sum(np.clip(image / image.max() - 0.5, 0, None) > 0))
    fwhm = max(2 * np.sqrt(area / np.pi), 0.8)
    core = (np.hypot(x, y) < 2 * fwhm) * np.maximum(image, 0)
    xx, yy, xy = ((core * one).sum() / core.sum() for one in (x * x, y * y, x * y))
    theta = np.array([np.log(fwhm), (xx - yy) / (xx + yy), 2 * xy / (xx + yy), np.log(_BETA)])
    psf = Psf(theta, np.asarray(np.diag([0.02, 0.01, 0.01, 0.1]) ** 2, float))
    lacking = image - psf.stamp(half)
    return replace(
        psf, rest=rest_map([(x.ravel(), y.ravel(), lacking.ravel())], fwhm), error=_ERROR_MEASURED, n_stars=1
    )


def _cells(x: Array, y: Array, step: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the node of the map of the rest that is nearest to each place, and which lie in the map."""
    middle = REST_SIDE // 2
    column, row = np.rint(x * step + middle).astype(np.int64), np.rint(y * step + middle).astype(np.int64)
    inside = (column >= 0) & (row >= 0) & (column < REST_SIDE) & (row < REST_SIDE)
    return row * REST_SIDE + column, inside


def rest_map(residuals: Sequence[tuple[Array, Array, Array]], fwhm: float) -> Array:
    """Return the map of the rest from residuals of stars of flux one.

    Parameters
    ----------
    residuals : sequence of (x, y, value)
        Of each star: distances of pixels from its centre, px, and what its Moffat left, over its flux.
    fwhm : float
        Px.

    Returns
    -------
    (3, m, m) float64
        Values times FWHM², derivatives by x and y. A node is the median of the residuals nearest to it, smoothed with
        the nodes around, each by how many it has.
    """
    x, y, value = (np.concatenate([one[k] for one in residuals]) for k in range(3))
    node, inside = _cells(x, y, REST_STEPS / fwhm)
    medians = pd.Series(value[inside] * fwhm**2).groupby(node[inside]).agg(["median", "size"])
    table, weight = np.zeros(REST_SIDE**2), np.zeros(REST_SIDE**2)
    table[medians.index], weight[medians.index] = medians["median"], medians["size"]
    shape = (REST_SIDE, REST_SIDE)
    full = gaussian_filter(weight.reshape(shape), _SMOOTH)
    smooth = gaussian_filter((table * weight).reshape(shape), _SMOOTH) / np.maximum(full, 1e-3)
    down, across = np.gradient(smooth, 1 / REST_STEPS)
    return np.stack([smooth, across, down])


def interpolated(rest: Array, x: Array, y: Array) -> Array:
    """Return the map of the rest at places, FWHM from its middle; nothing beyond its edges."""
    middle = REST_SIDE // 2
    return np.asarray(map_coordinates(rest[0], [y * REST_STEPS + middle, x * REST_STEPS + middle], order=1))
