"""Templates fitted to cutouts: how high a stamp stands at a place, tried at places a fraction of a pixel apart."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from pipeline.images.frame import UNUSABLE

__all__ = ["Amplitudes", "amplitudes", "cutouts", "fwhm", "shifted"]

_Values = NDArray[np.float64]

#: Pixels around a stamp that take part in its shifts.
_MARGIN = 3


class Amplitudes(NamedTuple):
    """The best fit of a template to each cutout.

    Parameters
    ----------
    height : (n,) float64
        Length of the cutout along the template of unit norm: its signal to noise in units of the pixels' noise.
    best : (n,) int64
        Number of the offset that this is reached at.
    offsets : (k, 2) float64
        Offsets tried, x and y, px from the middle pixel.
    """

    height: _Values
    best: NDArray[np.int64]
    offsets: _Values


def fwhm(psf: NDArray[np.generic]) -> float:
    """Return the FWHM, px, of a PSF that peaks in the middle pixel: mean of x and y, between pixels as a Gaussian.

    Parameters
    ----------
    psf : (m, m) array
        The PSF, of any norm, m odd.
    """
    stamp = np.asarray(psf, float)
    half = stamp.shape[0] // 2
    lines = (stamp[half, half:], stamp[half, half::-1], stamp[half:, half], stamp[half::-1, half])
    return float(np.mean([2 * _half_width(line / line[0]) for line in lines]))


def _half_width(line: NDArray[np.float64]) -> float:
    """Return where a profile falls to a half; its logarithm is linear in the square of the radius."""
    below = np.flatnonzero(line < 0.5)
    if not len(below):
        return len(line) - 1.0
    last = int(below[0])
    high, low = np.log(line[last - 1]), np.log(max(line[last], 1e-3))
    share = (high - np.log(0.5)) / (high - low)
    return float(np.sqrt((last - 1) ** 2 + share * (last**2 - (last - 1) ** 2)))


def cutouts(
    image: NDArray[np.float32], mask: NDArray[np.uint16], x: _Values, y: _Values, half: int
) -> tuple[_Values, _Values]:
    """Return cutouts around the pixels nearest to places, and their weights.

    Parameters
    ----------
    image : (ny, nx) float32
        Pixels.
    mask : (ny, nx) uint16
        `pipeline.images.frame.Bit`.
    x, y : (n,) float64
        Places, px.
    half : int
        Pixels on each side of the middle one.

    Returns
    -------
    data, weight : (n, 2·half + 1, 2·half + 1) float64
        Pixels, and 1; both 0 where a pixel is off the frame, masked as unusable or not finite.
    """
    span = np.arange(-half, half + 1)
    columns, rows = np.rint(x).astype(int)[:, None] + span, np.rint(y).astype(int)[:, None] + span
    ny, nx = image.shape
    inside = ((rows >= 0) & (rows < ny))[:, :, None] & ((columns >= 0) & (columns < nx))[:, None, :]
    rows, columns = rows.clip(0, ny - 1)[:, :, None], columns.clip(0, nx - 1)[:, None, :]
    values = image[rows, columns].astype(float)
    good = inside & np.isfinite(values) & ((mask[rows, columns] & int(UNUSABLE)) == 0)
    return np.where(good, values, 0.0), good.astype(float)


def shifted(stamp: NDArray[np.generic], half: int, offsets: _Values) -> _Values:
    """Return a stamp moved by fractions of a pixel (by its Fourier phases) and cut to a size.

    Parameters
    ----------
    stamp : (m, m) array
        Centred on its middle pixel, m odd.
    half : int
        Pixels on each side of the middle one that are wanted.
    offsets : (k, 2) float64
        Shifts in x and y, px.

    Returns
    -------
    (k, 2·half + 1, 2·half + 1) float64
        The stamps; 0 where the one given does not reach.
    """
    given = stamp.shape[0] // 2
    if given > half + _MARGIN:  # what is farther out than any shift reaches only costs time
        cut = given - half - _MARGIN
        stamp, given = stamp[cut:-cut, cut:-cut], half + _MARGIN
    along_x, along_y = (np.stack([_matrix(given, half, float(step)) for step in offsets[:, axis]]) for axis in (0, 1))
    return np.asarray(along_y @ stamp.astype(float) @ along_x.transpose(0, 2, 1))


@lru_cache(maxsize=4096)
def _matrix(given: int, half: int, step: float) -> NDArray[np.float64]:
    """Return what moves a line of 2·given + 1 pixels by a step and cuts it to 2·half + 1: (new, old)."""
    size = 2 * (max(half, given) + int(np.ceil(abs(step))) + 2)
    phases = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * step)
    whole = irfft(rfft(np.eye(size), axis=0) * phases[:, None], n=size, axis=0)
    middle = size // 2
    return np.asarray(whole[middle - half : middle + half + 1, middle - given : middle + given + 1])


def amplitudes(
    data: _Values, weight: _Values, stamp: NDArray[np.generic], half: int, reach: float, step: float
) -> Amplitudes:
    """Fit a template to cutouts at offsets on a grid around the middle pixel, and keep the best of each.

    Parameters
    ----------
    data, weight : (n, 2·half + 1, 2·half + 1) float64
        As `cutouts` gives them.
    stamp : (m, m) array
        Template, centred on its middle pixel.
    half : int
        Of the cutouts.
    reach, step : float
        Largest offset in each direction and step of the grid, px.
    """
    line = np.arange(-reach, reach + step / 2, step)
    offsets = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    models = shifted(stamp, half, offsets).reshape(len(offsets), -1)
    flat, good = data.reshape(len(data), models.shape[1]), weight.reshape(len(data), models.shape[1])
    norm = good @ (models**2).T
    full = (models**2).sum(1)
    # A template most of whose light is masked says nothing.
    heights = np.where(norm > 0.3 * full, (flat @ models.T) / np.sqrt(np.maximum(norm, 1e-30)), -np.inf)
    best = heights.argmax(1) if len(heights) else np.zeros(0, np.int64)
    height = heights[np.arange(len(best)), best]
    return Amplitudes(np.where(np.isfinite(height), height, 0.0), best, offsets)
