"""Triplets → what networks see: each channel over its own noise, compressed, and where there are pixels at all.

Counts of one survey mean nothing in another; over the noise of their own sky they do. The sky and its noise are taken
from the lower half of a quarter of the pixels, which stars hardly touch.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.images.sampling import SIZE, centred, usable

__all__ = ["CHANNELS", "PLANES", "SIZE", "SOFT", "levels", "planes"]

Floats = NDArray[np.float32]

#: Science, reference, difference.
CHANNELS = 3

#: Those, and the coverage.
PLANES = CHANNELS + 1

#: asinh of the noise in units of this: 1 sigma → 0.33, 1e4 sigma → 3.3.
SOFT = 3.0

_STEP = 2  # every second pixel in x and y tells of the sky
_PEAK = 2  # pixels around the middle in which the difference is at its peak


def levels(triplets: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Return sky and noise of each channel.

    Parameters
    ----------
    triplets : (n, 3, s, s) array
        Counts; NaN where there are no pixels.

    Returns
    -------
    sky, noise : (n, 3) float32
        Median, and its distance to the 16th percentile; noise is 1 where a channel is constant or empty.
    """
    pixels = usable(np.asarray(triplets, np.float32)[..., ::_STEP, ::_STEP])
    ordered = np.sort(pixels.reshape(*pixels.shape[:2], pixels.shape[2] * pixels.shape[3]), axis=2)
    count = np.isfinite(ordered).sum(2)

    def at(share: float) -> Floats:  # numpydoc ignore=GL08
        place = np.floor(share * np.maximum(count - 1, 0)).astype(np.int64)
        return np.take_along_axis(ordered, place[..., None], 2)[..., 0]

    sky, low, high = at(0.5), at(0.1587), at(0.8413)
    noise = sky - low
    noise = np.where(noise > 0, noise, high - sky)
    known = np.isfinite(noise) & (noise > 0)
    return np.where(count > 0, sky, 0).astype(np.float32), np.where(known, noise, 1).astype(np.float32)


def planes(triplets: NDArray[np.floating]) -> Floats:
    """Return what networks see of triplets.

    Parameters
    ----------
    triplets : (n, 3, s, s) array
        Science, reference, difference in counts; NaN where there are no pixels. Of another size than 63 they are cut,
        or surrounded by nothing.

    Returns
    -------
    (n, 4, 63, 63) float32
        asinh of each channel over its noise, the difference upside down where its peak is negative, 0 where there are
        no pixels; and 1 where all three have pixels, else 0.
    """
    pixels = usable(centred(np.asarray(triplets, np.float32)))
    sky, noise = levels(pixels)
    seen = np.empty((len(pixels), PLANES, SIZE, SIZE), np.float32)
    there = np.isfinite(pixels)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (pixels - sky[..., None, None]) / noise[..., None, None]
    np.arcsinh(scaled, out=seen[:, :CHANNELS])
    seen[:, :CHANNELS] /= SOFT
    seen[:, :CHANNELS][~there] = 0
    seen[:, CHANNELS] = there.all(1)
    half = SIZE // 2
    peak = seen[:, CHANNELS - 1, half - _PEAK : half + _PEAK + 1, half - _PEAK : half + _PEAK + 1]
    seen[peak.min((1, 2)) < -peak.max((1, 2)), CHANNELS - 1] *= -1  # its highest peak counts, whatever its sign
    return seen
