"""Images seen through something: a window that is kept, a blur."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter

from pipeline.images.frame import Facts, Frame, Pixels

__all__ = ["Buffered", "Image", "Smoothed", "transfer"]

#: Rows that are read at a time for cutouts, and how many such windows are kept.
_ROWS, _KEPT = 128, 6


class Image(Protocol):
    """An image that can be read in parts."""

    @property
    def facts(self) -> Facts:
        """What is known of it."""
        ...

    @property
    def wcs(self) -> WCS:
        """Pixel → sky."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def sky(self) -> float:
        """Level of the sky, counts."""
        ...

    @property
    def sky_rms(self) -> float:
        """Scatter of the sky's pixels, counts."""
        ...

    def read(self, y0: int, y1: int, x0: int, x1: int) -> Frame:
        """Return a rectangle of it."""
        ...


class _Seen:
    """An image as another one shows it."""

    def __init__(self, image: Image) -> None:
        self.image = image

    @property
    def facts(self) -> Facts:
        """What is known of it."""
        return self.image.facts

    @property
    def wcs(self) -> WCS:
        """Pixel → sky."""
        return self.image.wcs

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.image.shape

    @property
    def sky(self) -> float:
        """Level of the sky, counts."""
        return self.image.sky

    @property
    def sky_rms(self) -> float:
        """Scatter of the sky's pixels, counts."""
        return self.image.sky_rms


class Buffered(_Seen):
    """An image of which many small pieces are wanted: rows that were read stay at hand."""

    def __init__(self, image: Image) -> None:
        super().__init__(image)
        self._window: Callable[[int], Frame] = lru_cache(maxsize=_KEPT)(self._read)

    def _read(self, number: int) -> Frame:
        ny, nx = self.shape
        return self.image.read(number * _ROWS, min(ny, (number + 1) * _ROWS), 0, nx)

    def read(self, y0: int, y1: int, x0: int, x1: int) -> Frame:
        """Return a rectangle of it; its WCS is that of the whole image."""
        parts = []
        for number in range(y0 // _ROWS, (y1 - 1) // _ROWS + 1):
            frame, top = self._window(number), number * _ROWS
            rows = slice(max(y0, top) - top, min(y1, top + _ROWS) - top)
            parts.append([plane[rows, x0:x1] for plane in (frame.data, frame.variance, frame.mask)])
        data, variance, mask = (np.concatenate(planes) for planes in zip(*parts, strict=True))
        return Frame(data, variance, mask, self.wcs, self.facts)


class Smoothed(_Seen):
    """An image convolved with a Gaussian, because its PSF is too narrow for its pixels.

    The variance stays that of the pixels before: `zogy.Filters` knows by the transfer what became of the noise.

    Parameters
    ----------
    image : Image
        As it is.
    sigma : float
        Of the Gaussian, px.
    """

    def __init__(self, image: Image, sigma: float) -> None:
        super().__init__(image)
        self.sigma = sigma
        self._reach = int(np.ceil(4 * sigma))

    def read(self, y0: int, y1: int, x0: int, x1: int) -> Frame:
        """Return a rectangle of it."""
        ny, nx = self.shape
        top, left = max(0, y0 - self._reach), max(0, x0 - self._reach)
        frame = self.image.read(top, min(ny, y1 + self._reach), left, min(nx, x1 + self._reach))
        part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        data = gaussian_filter(frame.data, self.sigma, mode="nearest", truncate=4)[part]
        return replace(frame, data=data, variance=frame.variance[part], mask=frame.mask[part])


def transfer(shape: tuple[int, int], sigma: float) -> Pixels:
    """Return by how much a Gaussian multiplies Fourier modes, (ny, nx // 2 + 1) float32: exp(−2π² σ² f²)."""
    fy, fx = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    power: Pixels = np.exp(-2 * np.pi**2 * sigma**2 * (fy[:, None] ** 2 + fx**2)).astype(np.float32)
    return power
