"""The PSF of a stamp: what is expected of it before the source itself is fitted.

A PSF is an elliptical Moffat whose four numbers are known so and so well, and a map of what it lacks. Other stars of
the stamp tell most; then stars of other stamps of the survey and filter; else the FWHM of the header or the survey.
Above the air the optics tell more than that: a pupil and a wavelength.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import fft2, fftfreq, fftshift, ifft2, ifftshift
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import least_squares
from scipy.special import j1

from pipeline.stamps.moffat import NO_REST, REST_STEPS, render

__all__ = ["Psf", "REST_SIDE", "interpolated", "nominal", "of_image", "of_optics", "of_shapes", "rest_map"]

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

#: Of optics: share of the pupil's diameter that is covered, colours over the wavelength, least blur, px; standard
#: deviations of ln FWHM, e1 and e2, ln β.
_COVERED, _COLOURS, _LEAST_BLUR = 0.3, (0.92, 1.0, 1.08), 0.1
_OPTICS = (0.25, 0.06, 0.06, 0.15)

#: FWHM of a slit as wide as a pixel, by its second moment, px; of an Airy disc, λ/D.
_PIXEL, _AIRY = 0.68, 1.03


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

    def relative(self, fwhm: float) -> "Psf":
        """Return what `scaled` makes this of."""
        return replace(self, theta=self.theta - np.array([np.log(max(fwhm, 0.6)), 0.0, 0.0, 0.0]))

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


@lru_cache(maxsize=64)
def of_optics(fwhm: float, disc: float) -> Psf:
    """Return the PSF of a telescope above the air.

    Parameters
    ----------
    fwhm : float
        Of stars in the images, px: what is wider than optics and pixels is taken for jitter and charge that diffuses.
    disc : float
        Wavelength over the telescope's diameter, px.

    Notes
    -----
    The pattern of a round pupil, the middle of which is covered (Born & Wolf 1999, 8.5.2), of three colours; averaged
    over its blur and pixels. The Moffat is the one that fits best, the map of the rest what it lacks.
    """
    blur = np.sqrt(max(fwhm**2 - (_AIRY * disc) ** 2 - _PIXEL**2, 0)) / 2.355
    step = max(fwhm, _AIRY * disc) / (4 * REST_STEPS)
    drawn = _airy(disc, max(blur, _LEAST_BLUR), step)

    def on_nodes(shape: Array) -> tuple[Array, Array]:
        """Return what it has, and what a Moffat has, where the map of the rest has its nodes."""
        side = (np.arange(REST_SIDE) - REST_SIDE // 2) * np.exp(shape[0]) / REST_STEPS
        px, py = np.meshgrid(side, side)
        out = np.empty((7, px.size))
        render(np.array([shape[0], 0.0, 0.0, shape[1]]), 0.0, 0.0, px.ravel(), py.ravel(), NO_REST, out)
        middle = drawn.shape[0] // 2
        return map_coordinates(drawn, [py / step + middle, px / step + middle], order=3), out[0].reshape(px.shape)

    # What is lacking is drawn by straight lines between nodes: in the core its shape has to be a Moffat's.
    core = np.s_[REST_SIDE // 2 - REST_STEPS : REST_SIDE // 2 + REST_STEPS + 1]

    def unlike(shape: Array) -> Array:
        """Return what the Moffat that fits best lacks in the core, over its peak."""
        own, moffat = (one[core, core].ravel() for one in on_nodes(shape))
        return own / own.max() - moffat * (own @ moffat) / (moffat @ moffat) / own.max()

    start = np.array([np.log(max(fwhm, _AIRY * disc)), np.log(_BETA)])
    found = least_squares(unlike, start, bounds=(start - 0.7, start + 0.7)).x
    own, moffat = on_nodes(found)
    theta = np.array([found[0], 0.0, 0.0, found[1]])
    return Psf(theta, np.diag(np.square(_OPTICS)), _sloped((own - moffat) * np.exp(2 * found[0])))


def _airy(disc: float, blur: float, step: float) -> Array:
    """Return the pattern of a pupil on a grid of steps (px), blurred by a Gaussian and over pixels, flux one a px²."""
    half = int(1.5 * _REACH * 4 * REST_STEPS)
    axis = np.arange(-half, half) * step
    radius = np.hypot(axis[:, None], axis)
    total = np.zeros(radius.shape)
    for colour in _COLOURS:
        v = np.maximum(np.pi * radius / (disc * colour), 1e-6)
        field = 2 * j1(v) / v - _COVERED**2 * 2 * j1(_COVERED * v) / (_COVERED * v)
        total += field**2 * np.pi / (4 * (1 - _COVERED**2) * (disc * colour) ** 2)
    k = fftfreq(2 * half, step)
    over = np.exp(-2 * (np.pi * blur * k) ** 2) * np.sinc(k)
    wide = ifft2(fft2(ifftshift(total / len(_COLOURS))) * np.outer(over, over)).real
    return np.asarray(fftshift(wide))


def _sloped(table: Array) -> Array:
    """Return a map with its derivatives by x and y, (3, m, m)."""
    down, across = np.gradient(table, 1 / REST_STEPS)
    return np.stack([table, across, down])


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
    return _sloped(smooth)


def interpolated(rest: Array, x: Array, y: Array) -> Array:
    """Return the map of the rest at places, FWHM from its middle; nothing beyond its edges."""
    middle = REST_SIDE // 2
    return np.asarray(map_coordinates(rest[0], [y * REST_STEPS + middle, x * REST_STEPS + middle], order=1))
