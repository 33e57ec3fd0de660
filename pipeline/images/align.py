"""Science image → the reference's grid of pixels: the way between the two, and the resampling."""

from dataclasses import dataclass, field

import numba
import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import spline_filter

from pipeline.images.frame import Bit, Frame, Pixels

__all__ = ["Coordinates", "Warp", "b_spline", "design", "resample", "sample", "to_pixels"]

Coordinates = NDArray[np.float64]

#: Pixels between the nodes where the WCSs are asked. Between them a cubic spline is right to 1e-4 px with the
#: distortions of the surveys read here, lookup tables included.
STEP = 32

#: Rows resampled at a time: what bounds the memory for coordinates.
_ROWS = 256

#: Degree of the B-spline that is interpolated with: a PSF of 2.5 px keeps its shape to 1e-3.
DEGREE = 5


def design(u: Coordinates, v: Coordinates, order: int) -> Coordinates:
    """Return the terms of a polynomial in two variables, (…, n): 1, u, v, u², uv, v², …"""
    return np.stack([u ** (total - k) * v**k for total in range(order + 1) for k in range(total + 1)], axis=-1)


@dataclass(frozen=True, eq=False)
class Warp:
    """From pixels of the reference to pixels of the science image.

    Parameters
    ----------
    reference, science : WCS
        What the two headers say.
    shape : tuple of int
        Rows and columns of the reference.
    order : int
        Of the polynomial by which stars correct the WCSs; −1: no correction.
    correction : (2, n) float64
        Its coefficients in x and y, science px, over reference coordinates that run from −1 to 1.
    """

    reference: WCS
    science: WCS
    shape: tuple[int, int]
    order: int = -1
    correction: Coordinates = field(default_factory=lambda: np.zeros((2, 0)))

    def __call__(self, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Return science pixels of reference pixels, at any places; NaN where a WCS has no answer."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        ra, dec = self.reference.all_pix2world(x, y, 0)
        xs, ys = to_pixels(self.science, np.asarray(ra), np.asarray(dec))
        dx, dy = self.shift(x, y)
        return xs + dx, ys + dy

    def inverse(self, xs: Coordinates, ys: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Return reference pixels of science pixels, right to 1e-6 px."""
        xs, ys = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
        ra, dec = self.science.all_pix2world(xs, ys, 0)
        x, y = to_pixels(self.reference, np.asarray(ra), np.asarray(dec))
        for _ in range(3 if self.order >= 0 else 0):
            there_x, there_y = self(x, y)
            rest = np.stack([xs - there_x, ys - there_y], axis=-1)[..., None]
            step = np.linalg.solve(self.jacobian(x, y), rest)[..., 0]
            x, y = x + step[..., 0], y + step[..., 1]
        return x, y

    def jacobian(self, x: Coordinates, y: Coordinates) -> Coordinates:
        """Return d(science)/d(reference) at places, (…, 2, 2)."""
        (xa, ya), (xb, yb) = self(x - 0.5, y), self(x + 0.5, y)
        (xc, yc), (xd, yd) = self(x, y - 0.5), self(x, y + 0.5)
        rows = np.stack([np.stack([xb - xa, xd - xc], -1), np.stack([yb - ya, yd - yc], -1)], -2)
        return np.asarray(rows)

    def corrected(self, order: int, correction: Coordinates) -> "Warp":
        """Return the same way with another correction."""
        return Warp(self.reference, self.science, self.shape, order, correction)

    def normalised(self, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Return reference coordinates that run from −1 to 1 over the image."""
        ny, nx = self.shape
        return 2 * (np.asarray(x) + 0.5) / nx - 1, 2 * (np.asarray(y) + 0.5) / ny - 1

    def grid(self, x0: int, x1: int, y0: int, y1: int) -> tuple[RectBivariateSpline, RectBivariateSpline]:
        """Return splines of (y, x) that give science pixels all over a rectangle of the reference."""
        xs = np.linspace(x0 - 1, x1, max(4, -(-(x1 - x0 + 1) // STEP) + 1))
        ys = np.linspace(y0 - 1, y1, max(4, -(-(y1 - y0 + 1) // STEP) + 1))
        x, y = self(*np.meshgrid(xs, ys))
        return tuple(RectBivariateSpline(ys, xs, _extended(v, xs, ys)) for v in (x, y))

    def shift(self, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Return by how much stars correct the WCSs at reference pixels, science px."""
        if self.order < 0:
            return np.zeros_like(x), np.zeros_like(y)
        terms = design(*self.normalised(x, y), self.order)
        return terms @ self.correction[0], terms @ self.correction[1]


def to_pixels(wcs: WCS, ra: Coordinates, dec: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Return pixels of the sky; where the inverse of the distortions does not converge, NaN.

    Parameters
    ----------
    wcs : WCS
        0-based pixel → ICRS.
    ra, dec : array
        Degrees, of one shape.

    Returns
    -------
    x, y : array
        Pixels, right to 1e-3 px.
    """
    shape = ra.shape
    # `quiet` returns what it reached; far outside the image, where that is wrong, the way back shows it.
    x, y = wcs.all_world2pix(ra.ravel(), dec.ravel(), 0, quiet=True, tolerance=1e-6, maxiter=30)
    back_ra, back_dec = wcs.all_pix2world(x, y, 0)
    scale = np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix)))
    turned = (back_ra - ra.ravel() + 180) % 360 - 180
    away = np.hypot(turned * np.cos(np.radians(dec.ravel())), back_dec - dec.ravel())
    bad = ~(away < 1e-3 * scale)
    x, y = np.where(bad, np.nan, x), np.where(bad, np.nan, y)
    return x.reshape(shape), y.reshape(shape)


def _extended(values: Coordinates, xs: Coordinates, ys: Coordinates) -> Coordinates:
    """Return values on a grid with what is missing put in by the plane through the rest: it is outside the image."""
    bad = ~np.isfinite(values)
    if not bad.any():
        return values
    x, y = np.meshgrid(xs, ys)
    terms = np.stack([np.ones_like(x), x, y], -1)
    if (~bad).sum() < 3:
        return np.full_like(values, -1e9)
    plane, *_ = np.linalg.lstsq(terms[~bad], values[~bad], rcond=None)
    return np.where(bad, terms @ plane, values)


def resample(frame: Frame, warp: Warp, x0: int, x1: int, y0: int, y1: int, left: int = 0, top: int = 0) -> Frame:
    """Return the science image on a rectangle of the reference's pixels, counts conserved.

    Data are interpolated by B-splines of degree five. The variance is carried over unweighted: interpolation
    lowers the scatter of single pixels but not the noise on the scale of a PSF, which is what significance is about.

    Parameters
    ----------
    frame : Frame
        Science pixels, whole or the part that is needed.
    warp : Warp
        The way from reference to science pixels.
    x0, x1, y0, y1 : int
        Rectangle of the reference, upper ends excluded.
    left, top : int
        Where `frame` begins in the science image, px.

    Returns
    -------
    Frame
        With `Bit.EDGE` where the science image has no pixels.
    """
    coefficients = spline_filter(frame.data, DEGREE, np.float32, "mirror")
    shape = (y1 - y0, x1 - x0)
    data, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    mask = np.empty(shape, np.uint16)
    to_x, to_y = warp.grid(x0, x1, y0, y1)
    columns = np.arange(x0, x1, dtype=np.float64)
    for start in range(y0, y1, _ROWS):
        rows = np.arange(start, min(start + _ROWS, y1), dtype=np.float64)
        part = slice(start - y0, start - y0 + len(rows))
        sx, sy = to_x(rows, columns) - left, to_y(rows, columns) - top
        sample(coefficients, frame.variance, frame.mask, sx, sy, data[part], variance[part], mask[part])
    _conserve(data, variance, warp, x0, x1, y0, y1)
    return Frame(data, variance, mask, warp.reference, frame.facts)


def _conserve(data: Pixels, variance: Pixels, warp: Warp, x0: int, x1: int, y0: int, y1: int) -> None:
    """Multiply by the area of the reference's pixels in science pixels, in place; it varies with the distortions."""
    xs, ys = (np.linspace(low, high - 1, max(2, -(-(high - low) // STEP) + 1)) for low, high in ((x0, x1), (y0, y1)))
    areas = np.abs(np.linalg.det(warp.jacobian(*np.meshgrid(xs, ys))))
    areas = np.where(
        np.isfinite(areas), areas, np.median(areas[np.isfinite(areas)]) if np.isfinite(areas).any() else 1.0
    )
    if np.abs(areas - 1).max() < 1e-6:
        return
    surface = RectBivariateSpline(ys, xs, areas, kx=min(3, len(ys) - 1), ky=min(3, len(xs) - 1))
    columns = np.arange(x0, x1, dtype=np.float64)
    for start in range(y0, y1, _ROWS):
        rows = np.arange(start, min(start + _ROWS, y1), dtype=np.float64)
        part, area = slice(start - y0, start - y0 + len(rows)), surface(rows, columns).astype(np.float32)
        data[part] *= area
        # Coarser science pixels are magnified, noise and all: on the scale of a PSF that is less than it seems.
        variance[part] *= area * np.maximum(area, np.float32(1))


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def b_spline(t, w):  # type: ignore[no-untyped-def]
    """Put the weights of the quintic B-spline at −2 … 3 − t into `w` (Unser 1999, IEEE Signal Proc. Mag. 16, 22)."""
    t2 = t * t
    t4 = t2 * t2
    u = 1.0 - t
    u2 = u * u
    w[0] = u2 * u2 * u / 120.0
    w[5] = t4 * t / 120.0
    w[1] = (26.0 - 50.0 * t + 20.0 * t2 + 20.0 * t2 * t - 20.0 * t4 + 5.0 * t4 * t) / 120.0
    w[4] = (26.0 - 50.0 * u + 20.0 * u2 + 20.0 * u2 * u - 20.0 * u2 * u2 + 5.0 * u2 * u2 * u) / 120.0
    w[2] = (66.0 - 60.0 * t2 + 30.0 * t4 - 10.0 * t4 * t) / 120.0
    w[3] = 1.0 - w[0] - w[1] - w[2] - w[4] - w[5]


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _mirror(i, n):  # type: ignore[no-untyped-def]
    """Return the index that the edge reflects `i` to."""
    if i < 0:
        i = -i
    if i >= n:
        i = 2 * n - 2 - i
    return min(max(i, 0), n - 1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def sample(coefficients, variance, mask, sx, sy, out, out_variance, out_mask):  # type: ignore[no-untyped-def]
    """Interpolate at (sx, sy): data by splines, variance linearly, masks by the union of the four pixels around."""
    ny, nx = coefficients.shape
    wx, wy = np.empty(6, np.float32), np.empty(6, np.float32)
    for j in range(sx.shape[0]):
        for i in range(sx.shape[1]):
            x, y = sx[j, i], sy[j, i]
            # A pixel belongs to the image as far as its centre is covered.
            if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
                out[j, i], out_variance[j, i], out_mask[j, i] = 0.0, np.inf, 32
                continue
            ix, iy = int(np.floor(x)), int(np.floor(y))
            tx, ty = np.float32(x - ix), np.float32(y - iy)
            b_spline(tx, wx)
            b_spline(ty, wy)
            value = np.float32(0.0)
            inside = ix >= 2 and iy >= 2 and ix < nx - 3 and iy < ny - 3
            for b in range(6):
                row = iy + b - 2 if inside else _mirror(iy + b - 2, ny)
                line = np.float32(0.0)
                for a in range(6):
                    column = ix + a - 2 if inside else _mirror(ix + a - 2, nx)
                    line += wx[a] * coefficients[row, column]
                value += wy[b] * line
            out[j, i] = value
            ax, ay = min(max(ix, 0), nx - 1), min(max(iy, 0), ny - 1)
            bx, by = min(max(ix + 1, 0), nx - 1), min(max(iy + 1, 0), ny - 1)
            out_variance[j, i] = (1 - ty) * ((1 - tx) * variance[ay, ax] + tx * variance[ay, bx]) + ty * (
                (1 - tx) * variance[by, ax] + tx * variance[by, bx]
            )
            bits = 0
            # A neighbour counts where it has a share worth the name.
            if tx < 0.95 and ty < 0.95:
                bits |= mask[ay, ax]
            if tx > 0.05 and ty < 0.95:
                bits |= mask[ay, bx]
            if tx < 0.95 and ty > 0.05:
                bits |= mask[by, ax]
            if tx > 0.05 and ty > 0.05:
                bits |= mask[by, bx]
            out_mask[j, i] = bits


assert int(Bit.EDGE) == 32  # as `sample` writes it
