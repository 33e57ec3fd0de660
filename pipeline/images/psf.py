"""The point-spread function (PSF) of an image: a Moffat profile that varies over the field, and what is added to it."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import spline_filter, zoom

from pipeline.images import moffat
from pipeline.images.align import b_spline, design
from pipeline.images.frame import Pixels

__all__ = ["Psf", "render"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Psf:
    """A PSF over an image.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    half : int
        Stamps have 2·half + 1 pixels a side.
    beta : float
        Exponent of the profile; 0: there is no profile, the PSF is `rest` alone.
    order : int
        Degree of the polynomials over the field.
    terms : (3, k) float64
        Their coefficients for log(size), e1, e2.
    rest_order : int
        Degree of the polynomial over the field of `rest`.
    rest : (j, m, m) float32
        What is added to the profile of sum one, term by term.
    n_stars : int
        Stars it was measured on.
    """

    shape: tuple[int, int]
    half: int
    beta: float
    order: int
    terms: Array
    rest_order: int
    rest: Pixels
    n_stars: int

    @classmethod
    def given(cls, stamp: NDArray[Any], shape: tuple[int, int]) -> "Psf":
        """Return the PSF that somebody brought: one odd stamp, the same everywhere."""
        image = np.asarray(stamp, np.float32)
        return cls(shape, image.shape[0] // 2, 0.0, 0, np.zeros((3, 1)), 0, (image / image.sum())[None], 0)

    def at(self, x: float, y: float) -> Pixels:
        """Return the PSF at a place of the image, (m, m) float32, of sum one, centred on the middle pixel."""
        stamp = self.model(x, y)
        image: Pixels = (stamp / stamp.sum()).astype(np.float32)
        return image

    def fwhm(self, x: float, y: float) -> float:
        """Return the full width at half maximum, px: the diameter of the circle that has the area above half."""
        reach = min(self.half, 15)
        inner = slice(self.half - reach, self.half + reach + 1)
        core = self.at(x, y)[inner, inner].astype(float)
        fine = zoom(core, 10, order=3)
        step = (core.shape[0] - 1) / (fine.shape[0] - 1)
        return float(2 * step * np.sqrt((fine > 0.5 * fine.max()).sum() / np.pi))

    @property
    def variation(self) -> float:
        """Root mean square by which size and ellipticity vary over the field, relative."""
        u, v = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
        values = design(u, v, self.order) @ self.terms.T
        return float(np.sqrt((values.std(axis=(0, 1)) ** 2).sum()))

    @cached_property
    def _coefficients(self) -> Array:
        """B-spline coefficients of `rest`; they are linear in it, so they add as its terms do."""
        return np.stack([spline_filter(term.astype(float), 5, np.float64, "mirror") for term in self.rest])

    def parameters(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """Return norm, a, b, c of the profile, (n, 4), and the coefficients of the rest, (n, m, m), at n places."""
        ny, nx = self.shape
        u, v = 2 * (np.atleast_1d(x) + 0.5) / nx - 1, 2 * (np.atleast_1d(y) + 0.5) / ny - 1
        rest = np.tensordot(design(u, v, self.rest_order), self._coefficients, 1)
        if self.beta == 0:
            return np.tile([0.0, 1.0, 0.0, 1.0], (len(u), 1)), rest
        a, b, c = moffat.shape_of(*(self.terms @ design(u, v, self.order).T))
        return np.stack([(self.beta - 1) / np.pi * np.sqrt(a * c - b * b), a, b, c], -1), rest

    def model(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> Array:
        """Return the PSF at a place, (m, m) float64, of a star (dx, dy) px from the middle pixel; of sum nearly one."""
        out = np.empty((2 * self.half + 1,) * 2)
        shapes, rest = self.parameters(x, y)
        render(shapes[0], rest[0], self.beta, dx, dy, out)
        return out

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(self).items()})

    @classmethod
    def from_json(cls, text: str) -> "Psf":
        """Return what `to_json` wrote."""
        raw = json.loads(text)
        raw["terms"], raw["rest"] = np.array(raw["terms"]), np.array(raw["rest"], np.float32)
        return cls(**(raw | {"shape": tuple(raw["shape"])}))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def render(shape, rest, beta, dx, dy, out):  # type: ignore[no-untyped-def]
    """Put profile and rest of a star into `out`.

    Parameters
    ----------
    shape : (4,) float64
        Norm, a, b, c of the profile, from `Psf.parameters`.
    rest : (m, m) float64
        B-spline coefficients of the rest.
    beta : float
        Exponent of the profile.
    dx, dy : float
        Where the star is, px from the middle pixel.
    out : (k, k) float64
        Receives the stamp; it may be smaller or larger than the rest's.
    """
    norm, a, b, c = shape
    m, wide = out.shape[0], rest.shape[0]
    half, outer = m // 2, wide // 2
    ix, iy = int(np.floor(-dx)), int(np.floor(-dy))
    wx, wy = np.empty(6), np.empty(6)
    b_spline(-dx - ix, wx)
    b_spline(-dy - iy, wy)
    for j in range(m):
        for i in range(m):
            value = 0.0
            for t in range(6):
                row = j - half + outer + iy + t - 2
                if 0 <= row < wide:
                    for s in range(6):
                        column = i - half + outer + ix + s - 2
                        if 0 <= column < wide:
                            value += wy[t] * wx[s] * rest[row, column]
            x, y = i - half - dx, j - half - dy
            if norm > 0:
                value += norm * np.exp(-beta * np.log(1 + a * x * x + 2 * b * x * y + c * y * y))
            out[j, i] = value
