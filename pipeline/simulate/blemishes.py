"""What spoils small images: saturation and bleeding, particles' hits, trails, bad columns, edges."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["BAD", "COSMIC_RAY", "SATURATED", "Image", "Mask", "bad_column", "cosmic_ray", "cut", "saturate", "trail"]

Image = NDArray[np.float32]
Mask = NDArray[np.uint8]

#: Bits of a stamp's mask.
SATURATED, BAD, COSMIC_RAY = 1, 2, 4


def saturate(image: Image, mask: Mask, level: float, style: str) -> None:
    """Keep an image below a level, in place.

    Parameters
    ----------
    image : (ny, nx) float32
        Electrons, sky and all.
    mask : (ny, nx) uint8
        Gets `SATURATED`.
    level : float
        What a pixel holds, electrons.
    style : str
        ``clip``; ``bleed``: what is too much runs up and down the column; ``hole``: pixels at the level are NaN.
    """
    full = image > level
    if not full.any():
        return
    if style == "bleed":
        for column in np.flatnonzero(full.any(axis=0)):
            _bleed(image[:, column], level)
        full = image >= level * 0.999
    np.minimum(image, np.float32(level), out=image)
    mask[full] |= np.uint8(SATURATED)
    if style == "hole":
        image[full] = np.nan


def _bleed(column: Image, level: float) -> None:
    """Let charge run along a column, half of it each way, until it is held."""
    excess = np.maximum(column - level, 0)
    total, middle = float(excess.sum()), int(np.argmax(column))
    np.minimum(column, np.float32(level), out=column)
    for step in (1, -1):
        left, at = total / 2, middle
        while left > 0 and 0 <= at < len(column):
            room = min(left, level - float(column[at]))
            column[at] += np.float32(room)
            left, at = left - room, at + step


def cosmic_ray(image: Image, mask: Mask, noise: float, near: tuple[float, float], rng: np.random.Generator) -> None:
    """Draw a particle's track, in place: sharp, straight, its charge spread unevenly.

    Parameters
    ----------
    image : (ny, nx) float32
        Electrons.
    mask : (ny, nx) uint8
        Gets `COSMIC_RAY`.
    noise : float
        Of a pixel; a hit leaves 6 to 300 times as much in each pixel of its path.
    near : tuple of float
        x and y where it comes in, px.
    rng : numpy.random.Generator
        Source of chance.
    """
    ny, nx = image.shape
    angle = rng.uniform(0, 2 * np.pi)
    length = min(20.0, rng.exponential(3.5)) if rng.random() < 0.7 else 0.0
    steps = np.arange(0, length + 0.1, 0.1)
    charge = noise * 10 ** rng.uniform(0.8, 2.5) * rng.lognormal(0, 0.4, len(steps)) * (0.1 if length else 1.0)
    along = np.stack([near[0] + steps * np.cos(angle), near[1] + steps * np.sin(angle)])
    columns, rows = np.rint(along + rng.normal(0, 0.3, along.shape)).astype(int)
    inside = (columns >= 0) & (rows >= 0) & (columns < nx) & (rows < ny)
    np.add.at(image, (rows[inside], columns[inside]), charge[inside].astype(np.float32))
    mask[rows[inside], columns[inside]] |= np.uint8(COSMIC_RAY)


def trail(image: Image, peak: float, width: float, near: tuple[float, float], rng: np.random.Generator) -> None:
    """Draw a straight trail, in place: `peak` electrons on its middle, `width` its FWHM (px), through `near` (px)."""
    angle = rng.uniform(0, np.pi)
    rows, columns = np.indices(image.shape, dtype=np.float32)
    distance = (rows - near[1]) * np.float32(np.cos(angle)) - (columns - near[0]) * np.float32(np.sin(angle))
    image += np.float32(peak) * np.exp(-4 * np.log(2) * (distance / np.float32(width)) ** 2)


def bad_column(image: Image, mask: Mask, noise: float, x: int, rng: np.random.Generator) -> None:
    """Spoil a column or a row, or a part of it, in place: it is missing, dead, or off by some of the noise."""
    turned, spoilt = (image.T, mask.T) if rng.random() < 0.3 else (image, mask)
    start = int(rng.integers(len(turned))) if rng.random() < 0.5 else 0
    style = rng.integers(3)
    if style == 0:
        turned[start:, x] = np.nan
    elif style == 1:
        turned[start:, x] = np.nanmedian(turned)
    else:
        turned[start:, x] += np.float32(noise * rng.normal(0, 8))
    spoilt[start:, x] |= np.uint8(BAD)


def cut(image: Image, mask: Mask, share: float, rng: np.random.Generator) -> None:
    """Take away a border as wide as a share of the side, in place: NaN, or 0 as some archives give."""
    width = round(share * len(image))
    side, value = int(rng.integers(4)), np.float32(np.nan if rng.random() < 0.8 else 0)
    window = (np.s_[:width], np.s_[len(image) - width :], np.s_[:, :width], np.s_[:, len(image) - width :])[side]
    image[window] = value
    mask[window] |= np.uint8(BAD)
