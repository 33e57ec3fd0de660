"""Triplets of one survey's pixels → of the width that networks know: same middle, other size, other scale."""

import numpy as np
from numpy.typing import NDArray

from catalogs.triplets import SIZE
from pipeline.settings import SamplingSettings

__all__ = ["SIZE", "centred", "rescale", "sampled", "usable"]

Floats = NDArray[np.float32]

_HUGE = 1e30


def sampled(
    triplets: Floats, fwhm_px: NDArray[np.float64], settings: SamplingSettings
) -> tuple[Floats, NDArray[np.float64]]:
    """Return triplets in whose pixels stars are of a width that networks know, and what they were widened by.

    Alerts of every survey stay in their own pixels where stars are of a usual width there; others are resampled,
    never filled up to another survey's size.

    Parameters
    ----------
    triplets : (n, c, s, s) float32
        NaN where there are no pixels.
    fwhm_px : (n,) float64
        FWHM of stars in these, px; NaN where it is not known: these stay as they are.
    settings : SamplingSettings
        Which widths are usual, and what the others are brought to.

    Returns
    -------
    triplets : (n, c, 63, 63) float32
        Resampled where it was needed.
    factor : (n,) float64
        1 where it was not.
    """
    with np.errstate(invalid="ignore"):
        odd = (fwhm_px < settings.min_fwhm) | (fwhm_px > settings.max_fwhm)
    factor = np.ones(len(triplets))
    if not odd.any():
        return centred(triplets), factor
    factor[odd] = settings.target_fwhm / fwhm_px[odd]
    pixels = centred(triplets).copy()
    for place in np.flatnonzero(odd):
        pixels[place] = rescale(triplets[place : place + 1], float(factor[place]))[0]
    return pixels, factor


def usable(triplets: Floats) -> Floats:
    """Return triplets with NaN where the number is no count: infinite, or the huge ones that stand for none."""
    return np.where(np.abs(triplets) < _HUGE, triplets, np.float32(np.nan))


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
            channel = usable(channel)
            gone = np.isnan(channel)
            filled = np.where(gone, np.nanmedian(channel) if not gone.all() else 0, channel)
            target[:] = map_coordinates(filled, grid, order=3, mode="nearest") / factor**2
            outside = map_coordinates(gone.astype(np.float32), grid, order=1, mode="constant", cval=1.0)
            target[outside > 0.5] = np.nan
    return out
