"""The variance of every pixel: as the survey says, or from the measured sky and the counts of sources."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.images.frame import Pixels

__all__ = ["grown", "variance"]

_KERNEL = np.array([0.25, 0.5, 0.25], np.float32)

#: Noise of white noise after smoothing with that kernel along both axes.
_SMOOTHED = float((_KERNEL**2).sum())

#: A masked pixel's variance is that many times its neighbours'.
_GROWTH = 10.0


def variance(data: Pixels, level: Pixels, rms: Pixels, gain: float, error: NDArray[np.float32] | None = None) -> Pixels:
    """Return the variance of an image.

    Parameters
    ----------
    data : (ny, nx) float32
        Counts, sky included, finite.
    level, rms : (ny, nx) float32
        Sky level and noise, from `pipeline.images.background.sky`: the noise is measured, so that read noise, a sky
        that was subtracted, and stacking are all in it.
    gain : float
        Electrons a count.
    error : (ny, nx) float32, optional
        The survey's own error of every pixel; used where it is positive and finite.

    Returns
    -------
    (ny, nx) float32
        Counts², finite and positive.

    Notes
    -----
    Counts of sources are smoothed a little, and left out below three times their noise: a variance that follows the
    noise of its own pixel would make upward fluctuations seem fainter than downward ones.
    """
    excess = np.subtract(data, level, dtype=np.float32)
    smooth = ndimage.correlate1d(excess, _KERNEL, axis=0, mode="nearest")
    ndimage.correlate1d(smooth, _KERNEL, axis=1, output=smooth, mode="nearest")
    smooth[smooth < np.float32(3 * _SMOOTHED) * rms] = 0
    smooth /= np.float32(gain)
    smooth += np.square(rms)
    floor = np.float32(max(float(np.median(rms[::8, ::8])) ** 2 * 1e-3, 1e-12))
    np.maximum(smooth, floor, out=smooth)
    if error is not None:
        good = np.isfinite(error) & (error > 0) & (error < 1e15)
        np.copyto(smooth, np.square(error, where=good, out=np.ones_like(smooth)), where=good)
    return smooth


def grown(values: Pixels, data: Pixels, level: Pixels, unusable: NDArray[np.bool_]) -> None:
    """Grow the variance of unusable pixels, in place: ten times, and by what was filled in over the sky, squared."""
    rows, columns = np.nonzero(unusable)
    excess = data[rows, columns] - level[rows, columns]
    values[rows, columns] = np.float32(_GROWTH) * values[rows, columns] + np.minimum(np.square(excess), 1e30)
