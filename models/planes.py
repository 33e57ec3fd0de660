"""Triplets → what networks see: each channel over its own noise, compressed, and where there are pixels at all.

Counts of one survey mean nothing in another; over the noise of their own sky they do. The sky and its noise are taken
from the lower half of a quarter of the pixels, which stars hardly touch.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNELS", "PLANES", "SIZE", "centred", "levels", "planes", "rescale", "usable"]

Floats = NDArray[np.float32]

#: Pixels on a side.
SIZE = 63

#: Science, reference, difference.
CHANNELS = 3

#: Those, and the coverage.
PLANES = CHANNELS + 1

_HUGE = 1e30
_STEP = 2  # every second pixel in x and y tells of the sky
_PEAK = 2  # pixels around the middle in which the difference is at its peak
_SOFT = 3.0  # asinh of the noise in units of this: 1 sigma → 0.33, 1e4 sigma → 3.3


def usable(triplets: Floats) -> Floats:
    """Return triplets with NaN where the number is no count: infinite, or the huge ones that stand for none."""
    return np.where(np.abs(triplets) < _HUGE, triplets, np.float32(np.nan))


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
    seen[:, :CHANNELS] /= _SOFT
    seen[:, :CHANNELS][~there] = 0
    seen[:, CHANNELS] = there.all(1)
    half = SIZE // 2
    peak = seen[:, CHANNELS - 1, half - _PEAK : half + _PEAK + 1, half - _PEAK : half + _PEAK + 1]
    seen[peak.min((1, 2)) < -peak.max((1, 2)), CHANNELS - 1] *= -1  # its highest peak counts, whatever its sign
    return seen


def centred(triplets: Floats, size: int = SIZE) -> Floats:
    """Return triplets cut, or surrounded by NaN, so that their middle pixel is the middle of `size` pixels."""
    ny, nx = triplets.shape[-2:]
    if (ny, nx) == (size, size):
        return triplets
    out = np.full((*triplets.shape[:-2], size, size), np.nan, np.float32)
    there, here = zip(*(_overlap(one, size) for one in (ny, nx)), strict=True)
    out[..., here[0], here[1]] = triplets[..., there[0], there[1]]
    return out


def _overlap(found: int, wanted: int) -> tuple[slice, slice]:
    """Return which pixels of a row of `found` go where in one of `wanted`; the middle ones lie on each other."""
    shift = wanted // 2 - found // 2
    first, last = max(0, shift), min(wanted, found + shift)
    return slice(first - shift, last - shift), slice(first, last)


def rescale(triplets: Floats, factor: float) -> Floats:
    """Return triplets resampled about their middle pixel, so that a star is `factor` times as wide, in pixels.

    Networks learn at what widths stars come; images of a survey far outside of these are brought to them, never
    filled up to another survey's size.

    Parameters
    ----------
    triplets : (n, c, s, s) float32
        NaN where there are no pixels.
    factor : float
        Above 1 for finer pixels.

    Returns
    -------
    (n, c, 63, 63) float32
        By cubic splines, each pixel's counts divided by factor²; NaN where no pixels were.
    """
    from scipy.ndimage import map_coordinates  # a second that those who only score need not wait

    if factor == 1:
        return centred(triplets)
    half = SIZE // 2
    ny, nx = triplets.shape[-2:]
    rows = (np.arange(SIZE) - half) / factor + ny // 2
    columns = (np.arange(SIZE) - half) / factor + nx // 2
    grid = np.meshgrid(rows, columns, indexing="ij")
    out = np.empty((*triplets.shape[:2], SIZE, SIZE), np.float32)
    for triplet, place in zip(triplets, out, strict=True):
        for channel, target in zip(triplet, place, strict=True):
            gone = ~np.isfinite(channel)
            filled = np.where(gone, np.nanmedian(channel) if not gone.all() else 0, channel)
            target[:] = map_coordinates(filled, grid, order=3, mode="nearest") / factor**2
            outside = map_coordinates(gone.astype(np.float32), grid, order=1, mode="constant", cval=1.0)
            target[outside > 0.5] = np.nan
    return out
