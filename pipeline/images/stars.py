"""Stars cut out of an image, and what a PSF makes of them."""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.images import moffat
from pipeline.images.psf import Psf, render

__all__ = ["Stamps", "Stars", "place", "total", "width"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stamps:
    """Cutouts of stars.

    Parameters
    ----------
    x, y : (n,) int64
        Pixel of the image that is the middle of each stamp.
    data : (n, m, m) float64
        Counts above the sky.
    weight : (n, m, m) float64
        1 where a pixel shows this star and is good, else 0.
    background : (n,) float64
        Variance of the sky's pixels, counts².
    inverse_gain : float
        Counts per electron.
    shape : tuple of int
        Rows and columns of the image.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    data: Array
    weight: Array
    background: Array
    inverse_gain: float
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.x)

    def cut(self, half: int) -> tuple[Array, Array]:
        """Return data and weights of the inner 2·half + 1 pixels."""
        middle = self.data.shape[1] // 2
        inner = slice(middle - half, middle + half + 1)
        return np.ascontiguousarray(self.data[:, inner, inner]), np.ascontiguousarray(self.weight[:, inner, inner])


@dataclass(frozen=True, eq=False)
class Stars:
    """What a PSF makes of stars.

    Parameters
    ----------
    index : (n,) int64
        Which stamps they are.
    x, y : (n,) float64
        Where they are, px of the image.
    flux, flux_err : (n,) float64
        Counts.
    sky : (n,) float64
        What is left of it under the star, counts.
    chi2 : (n,) float64
        Reduced, of the core.
    """

    index: NDArray[np.int64]
    x: Array
    y: Array
    flux: Array
    flux_err: Array
    sky: Array
    chi2: Array

    def take(self, which: NDArray[Any]) -> "Stars":
        """Return some of them."""
        return Stars(*(value[which] for value in vars(self).values()))


def width(stamps: Stamps, guess: float) -> float | None:
    """Return the FWHM of stars, px: the median of Moffat profiles fitted to the brighter ones.

    Parameters
    ----------
    stamps : Stamps
        Stars, and perhaps some that are none.
    guess : float
        FWHM, px.

    Returns
    -------
    float or None
        None if nothing fits.
    """
    if not len(stamps):
        return None
    reach = stamps.data.shape[1] // 2
    order = np.argsort(-stamps.data[:, reach, reach] / np.sqrt(stamps.background), kind="stable")[:40]
    fitted = moffat.fit(stamps.data[order], stamps.weight[order], stamps.background[order], stamps.inverse_gain, guess)
    usable = (fitted.amplitude > 0) & (fitted.snr > 5) & (np.hypot(fitted.x, fitted.y) < 2)
    sizes = np.exp(moffat.spread(fitted.a, fitted.b, fitted.c)[0]) * 2 * np.sqrt(2 ** (1 / fitted.beta) - 1)
    # Galaxies are wider than stars and never narrower: the lower third is a star's, even if half of them are none.
    return float(np.percentile(sizes[usable], 35)) if usable.any() else None


def place(psf: Psf, stamps: Stamps, index: NDArray[Any], centres: Array, fwhm: float) -> Stars:
    """Return positions and fluxes that a PSF gives stars: weighted least squares on the core.

    Parameters
    ----------
    psf : Psf
        The PSF.
    stamps : Stamps
        Stars.
    index : (n,) int64
        Which of them.
    centres : (n, 2) float64
        First guess of x and y, px from the middle of the stamp.
    fwhm : float
        Of the PSF, px; 1.5 of it on either side are looked at.
    """
    reach = min(stamps.data.shape[1] // 2, psf.half, max(4, round(1.5 * fwhm)))
    data, weight = stamps.cut(reach)
    x, y = stamps.x[index].astype(float), stamps.y[index].astype(float)
    shapes, rest = psf.parameters(x, y)
    out = np.zeros((len(index), 6))
    for k, star in enumerate(index):
        _settle(shapes[k], rest[k], psf.beta, data[star], weight[star], stamps.background[star], stamps.inverse_gain,
                fwhm, centres[k, 0], centres[k, 1], out[k])  # fmt: skip
    out[:, 0] += x
    out[:, 1] += y
    return Stars(np.asarray(index, np.int64), *out.T)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def total(shape, rest, beta):  # type: ignore[no-untyped-def]
    """Return the sum of a PSF's stamp; see `psf.render`."""
    whole = np.empty(rest.shape)
    render(shape, rest, beta, 0.0, 0.0, whole)
    return whole.sum()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _settle(shape, rest, beta, data, weight, background, inverse_gain, fwhm, dx, dy, out):  # type: ignore[no-untyped-def]
    """Put dx, dy, flux, its error, sky and reduced χ² of one star into `out`."""
    m = data.shape[0]
    wide = np.empty((m + 2, m + 2))
    whole = total(shape, rest, beta)
    flux, sky, chi2, error = 0.0, 0.0, 0.0, np.inf
    terms = np.empty(4)
    for step in range(5):
        render(shape, rest, beta, dx, dy, wide)
        wide /= whole
        if step == 0:
            above, below = 0.0, 1e-30
            for j in range(m):
                for i in range(m):
                    above += weight[j, i] * wide[j + 1, i + 1] * data[j, i]
                    below += weight[j, i] * wide[j + 1, i + 1] ** 2
            flux = max(above / below, 1e-9)
        normal, right = np.zeros((4, 4)), np.zeros(4)
        chi2, count = 0.0, 0
        for j in range(m):
            for i in range(m):
                if weight[j, i] <= 0:
                    continue
                core = wide[j + 1, i + 1]
                model = flux * core
                # The PSF is known to some tenths of a per cent: without this the brightest pixels alone would count.
                w = weight[j, i] / (background + max(model, 0.0) * inverse_gain + (0.003 * model) ** 2)
                terms[0], terms[1] = core, 1.0
                terms[2] = -0.5 * flux * (wide[j + 1, i + 2] - wide[j + 1, i])
                terms[3] = -0.5 * flux * (wide[j + 2, i + 1] - wide[j, i + 1])
                left = data[j, i] - model - sky
                chi2 += w * left * left
                count += 1
                for k in range(4):
                    right[k] += w * terms[k] * left
                    for h in range(4):
                        normal[k, h] += w * terms[k] * terms[h]
        for k in range(4):
            normal[k, k] += 1e-12 * normal[k, k] + 1e-30
        inverse = np.linalg.inv(normal)
        error = np.sqrt(inverse[0, 0])
        chi2 /= max(count - 4, 1)
        if step == 4:
            break
        delta = inverse @ right
        flux, sky = max(flux + delta[0], 1e-9), sky + delta[1]
        dx = min(max(dx + delta[2], -fwhm), fwhm)
        dy = min(max(dy + delta[3], -fwhm), fwhm)
    out[0], out[1], out[2], out[3], out[4], out[5] = dx, dy, flux, error, sky, chi2
