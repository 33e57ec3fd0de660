"""Small images by way of their spectra: a point anywhere is a phase, a point-spread function a product.

A grid has a margin around what is kept of it, so that what wraps around its edges is not seen.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pipeline.simulate.profiles import Floats, Profile

__all__ = ["Grid", "Spectrum", "image", "points", "power", "radial"]

#: (over × cells, over × cells // 2 + 1) complex64, as `scipy.fft.rfft2` orders it; 1 at frequency 0 for unit flux.
Spectrum = NDArray[np.complex64]

# Variances of a table of a radial profile go so far: all but exp(-30) is within.
_STEPS = 512


@dataclass(frozen=True)
class Grid:
    """Pixels, and the frequencies that they are drawn with.

    Parameters
    ----------
    side : int
        Rows and columns kept.
    pixscale : float
        Arcsec a pixel.
    over : int
        Samples a pixel along each axis: 2 where the point-spread function is finer than pixels can show.
    margin : int
        Pixels around what is kept, in all, even.
    """

    side: int
    pixscale: float
    over: int = 1
    margin: int = 32

    @property
    def cells(self) -> int:
        """Rows and columns that are drawn."""
        return self.side + self.margin

    @property
    def reach(self) -> float:
        """Arcsec from the middle to the edge of what is drawn."""
        return self.cells / 2 * self.pixscale

    def frequencies(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return kx (1, m) and ky (k, 1) in cycles an arcsec."""
        return _frequencies(self)

    def pixel(self, width: float) -> NDArray[np.float32]:
        """Return the spectrum of a square of unit flux, its sides `width` arcsec."""
        kx, ky = _frequencies(self)
        return (np.sinc(kx * width) * np.sinc(ky * width)).astype(np.float32)


@cache
def _frequencies(grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    size, pitch = grid.over * grid.cells, grid.pixscale / grid.over
    ky = fft.fftfreq(size, pitch).astype(np.float32)[:, None]
    return fft.rfftfreq(size, pitch).astype(np.float32)[None, :], ky


def radial(grid: Grid, profile: Profile, matrix: Floats) -> NDArray[np.float32]:
    """Return the spectrum of a round profile, stretched.

    Parameters
    ----------
    grid : Grid
        Its frequencies.
    profile : Profile
        In units of its scale.
    matrix : (3,) float64
        xx, xy and yy of the stretch, arcsec², as of `pipeline.simulate.optics.ellipse`.
    """
    kx, ky = _frequencies(grid)
    xx, xy, yy = (np.float32(one) for one in matrix)
    q = xx * kx * kx + (2 * xy * kx + yy * ky) * ky
    root = np.sqrt(np.maximum(q, 0, out=q), out=q)
    top = float(root.max())
    steps = np.linspace(0, top, _STEPS)
    table = np.exp(-2 * np.pi**2 * steps[:, None] ** 2 * profile.variance) @ profile.weight
    return np.interp(root.ravel(), steps, table).reshape(root.shape).astype(np.float32)


def points(grid: Grid, x: Floats, y: Floats, flux: Floats) -> Spectrum:
    """Return the spectrum of points; those outside of what is drawn would come in again on the other side: not they.

    Parameters
    ----------
    grid : Grid
        Its frequencies.
    x, y : (n,) float64
        Places in pixels from 0 of what is kept, pixel centres whole.
    flux : (n,) float64
        Their light.
    """
    kx, ky = _frequencies(grid)
    offset = grid.margin // 2
    away = np.maximum(*(np.abs(np.asarray(at) - (grid.side - 1) / 2) for at in (x, y)))
    flux = np.where(away <= grid.cells / 2, flux, 0.0)
    turn = -2j * np.pi * grid.pixscale
    # A sample of a finer grid stands for the middle of a pixel wherever a pixel's middle is.
    rows = np.exp(turn * ky * (np.asarray(y) + offset)).astype(np.complex64)
    columns = np.exp(turn * kx * (np.asarray(x) + offset)[:, None]).astype(np.complex64)
    return (rows * np.asarray(flux, np.float32)) @ columns


def power(grid: Grid, spectrum: Spectrum) -> float:
    """Return the sum of squares over pixels of an image of unit flux: 1 over its effective area in pixels."""
    folded = _folded(grid, spectrum)
    square = np.abs(folded) ** 2
    return float((2 * square.sum() - square[:, 0].sum() - square[:, -1].sum()) / grid.cells**2)


def image(grid: Grid, spectrum: Spectrum) -> NDArray[np.float32]:
    """Return the pixels of what is kept, (side, side) float32."""
    whole = fft.irfft2(_folded(grid, spectrum), s=(grid.cells, grid.cells), overwrite_x=True)
    start = grid.margin // 2
    return np.ascontiguousarray(whole[start : start + grid.side, start : start + grid.side], np.float32)


def _folded(grid: Grid, spectrum: Spectrum) -> Spectrum:
    """Return the spectrum of one sample a pixel: what is finer appears as what is coarser."""
    if grid.over == 1:
        return spectrum
    n, half = grid.cells, grid.cells // 2 + 1
    # Two samples a pixel: frequency k also shows what is at k - n, which is the conjugate of what is at n - k.
    rows = spectrum[:n] + spectrum[n:]
    mirrored = np.conj(np.roll(rows[::-1], 1, axis=0)[:, n : n - half : -1])
    return rows[:, :half] + mirrored
