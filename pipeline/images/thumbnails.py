"""Small copies of large images, added up from bands of rows."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from pipeline.images.align import Warp
from pipeline.images.frame import Pixels

__all__ = ["Thumbnail", "aligned"]


class Thumbnail:
    """Means of square blocks of an image.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    size : int
        Pixels of the longer side of the copy, at most.
    """

    def __init__(self, shape: tuple[int, int], size: int = 480) -> None:
        self.step = max(1, -(-max(shape) // size))
        self._columns = np.arange(0, shape[1], self.step)
        small = (-(-shape[0] // self.step), len(self._columns))
        self._total, self._weight = np.zeros(small), np.zeros(small)

    def add(self, y0: int, image: Pixels) -> None:
        """Add whole rows of the image from `y0` on; NaN is left out."""
        finite = np.isfinite(image)
        rows = (y0 + np.arange(len(image))) // self.step
        values = np.where(finite, image, np.float32(0)).astype(np.float64)
        np.add.at(self._total, rows, np.add.reduceat(values, self._columns, axis=1))
        np.add.at(self._weight, rows, np.add.reduceat(finite.astype(np.float64), self._columns, axis=1))

    @property
    def image(self) -> Pixels:
        """The copy, NaN where all of a block is."""
        with np.errstate(invalid="ignore"):
            return (self._total / np.where(self._weight > 0, self._weight, np.nan)).astype(np.float32)


def aligned(science: Thumbnail, reference: Thumbnail, warp: Warp) -> Pixels:
    """Return a small copy of the science image as it lies on the reference's; NaN where it does not.

    Parameters
    ----------
    science, reference : Thumbnail
        Copies of both.
    warp : Warp
        From reference to science pixels.
    """
    rows, columns = np.indices(reference.image.shape, dtype=float)
    x, y = (_middle(values, reference.step) for values in (columns, rows))
    xs, ys = warp(x.ravel(), y.ravel())
    places = [((values + 0.5) / science.step - 0.5).reshape(rows.shape) for values in (ys, xs)]
    out: NDArray[np.float32] = map_coordinates(science.image, places, order=1, cval=np.nan, output=np.float32)
    return out


def _middle(block: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    return (block + 0.5) * step - 0.5
