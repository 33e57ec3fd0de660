"""Point-spread functions of frames: how wide, how stretched, and how both change from place to place."""

from dataclasses import dataclass

import numpy as np

from pipeline.simulate.drawing import render
from pipeline.simulate.profiles import Floats, Profile

__all__ = ["Optics", "ellipse", "stretched"]


def ellipse(e1: Floats, e2: Floats, size: Floats) -> Floats:
    """Return matrices that stretch a round profile without changing its area.

    Parameters
    ----------
    e1, e2 : (n,) float64
        Ellipticity 1 - b/a times cos 2θ and sin 2θ, θ from +x to +y.
    size : (n,) float64
        Scale of the round profile, px.

    Returns
    -------
    (n, 3) float64
        xx, xy and yy of a symmetric matrix, px².
    """
    e1, e2, size = np.broadcast_arrays(np.asarray(e1, float), e2, size)
    ellipticity = np.hypot(e1, e2)
    ratio = 1 - np.minimum(ellipticity, 0.95)
    mean, half = (1 / ratio + ratio) / 2, (1 / ratio - ratio) / 2
    with np.errstate(invalid="ignore"):
        cos, sin = (np.where(ellipticity > 0, e / ellipticity, 0) for e in (e1, e2))
    return np.stack([mean + half * cos, half * sin, mean - half * cos], axis=-1) * size[..., None] ** 2


def stretched(matrices: Floats, jacobian: Floats) -> Floats:
    """Return matrices in other coordinates.

    Parameters
    ----------
    matrices : (n, 3) float64
        xx, xy, yy.
    jacobian : (n, 2, 2) float64
        Of the new coordinates by the old.

    Returns
    -------
    (n, 3) float64
        xx, xy, yy.
    """
    full = matrices[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    return (jacobian @ full @ jacobian.transpose(0, 2, 1)).reshape(-1, 4)[:, [0, 1, 3]]


@dataclass(frozen=True, eq=False)
class Optics:
    """The point-spread function of a frame and how it varies over it.

    Parameters
    ----------
    profile : Profile
        In units of the FWHM.
    fwhm : float
        Geometric mean of the axes, px, in the middle of its range.
    ellipticity : tuple of float
        e1, e2 as in `ellipse`, without the variation.
    shape : tuple of int
        Rows and columns.
    variation, shear : float
        Largest change of the FWHM, relative, and of e1 and e2, anywhere on the frame.
    terms : (3, 5) float64
        Coefficients of the changes of FWHM, e1 and e2: x, y, x², xy, y².
    """

    profile: Profile
    fwhm: float
    ellipticity: tuple[float, float]
    shape: tuple[int, int]
    variation: float
    shear: float
    terms: Floats

    def matrices(self, x: Floats, y: Floats) -> Floats:
        """Return the stretch of the profile at places of the frame.

        Parameters
        ----------
        x, y : (n,) float64
            0-based pixels.

        Returns
        -------
        (n, 3) float64
            As of `ellipse`, px².
        """
        grid = np.linspace(-1, 1, 21)
        every = self._powers(*(axis.ravel() for axis in np.meshgrid(grid, grid))) @ self.terms.T
        low, high = every.min(axis=0), every.max(axis=0)
        ny, nx = self.shape
        change = self._powers(2 * x / (nx - 1) - 1, 2 * y / (ny - 1) - 1) @ self.terms.T
        change = np.clip(2 * (change - low) / np.maximum(high - low, 1e-9) - 1, -1.5, 1.5)
        e1, e2 = self.ellipticity
        size = self.fwhm * (1 + self.variation * change[:, 0])
        return ellipse(e1 + self.shear * change[:, 1], e2 + self.shear * change[:, 2], size)

    @staticmethod
    def _powers(u: Floats, v: Floats) -> Floats:
        return np.stack([u, v, u * u, u * v, v * v], axis=-1)

    def stamp(self, x: float, y: float, size: int) -> Floats:
        """Return the point-spread function at a place, integrated over pixels.

        Parameters
        ----------
        x, y : float
            0-based pixel of the frame.
        size : int
            Odd number of rows and of columns.

        Returns
        -------
        (size, size) float64
            Centred on its middle pixel; sums to 1.
        """
        image = np.zeros((size, size))
        middle, one = np.array([size // 2 + 0.0]), np.ones(1)
        render(image, middle, middle, one, self.profile, self.matrices(np.array([x]), np.array([y])), 1e-12)
        return image / image.sum()
