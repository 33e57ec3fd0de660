"""Bias, dark and flat where they are given, and what is wrong with each pixel, as bits of its mask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import UsageError
from pipeline.images.frame import UNUSABLE, Bit, Pixels
from pipeline.images.headers import Told
from pipeline.images.reading import Plane
from pipeline.images.surveys import Survey

__all__ = ["References", "dilated", "edges", "fill", "filled", "mark", "odd_pixels", "quality", "saturated"]

Mask = NDArray[np.uint16]

#: Bits whose pixels keep their value: a saturated core filled with sky would be a hole in a star.
_KEPT = Bit.SATURATED

_BLOCK = 8

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


@dataclass(frozen=True)
class References:
    """Calibration frames, of the shape of the images they are for.

    Parameters
    ----------
    bias, dark, flat, bad_pixels : Plane, optional
        Counts; counts over `dark_s`; response; 0 where a pixel is good.
    dark_s : float
        Exposure of the dark, s.
    """

    bias: Plane | None = None
    dark: Plane | None = None
    flat: Plane | None = None
    bad_pixels: Plane | None = None
    dark_s: float = 1.0

    def check(self, shape: tuple[int, int]) -> None:
        """Check that all frames have the shape of an image.

        Raises
        ------
        UsageError
            If one has not.
        """
        for name in ("bias", "dark", "flat", "bad_pixels"):
            plane = getattr(self, name)
            if plane is not None and plane.shape != shape:
                raise UsageError(f"--{name.replace('_', '-')} is {plane.shape}, the image {shape}: give one that fits")

    def apply(self, data: Pixels, rows: tuple[int, int], told: Told) -> None:
        """Subtract bias and dark and divide by the flat, in place, where that was not done already.

        Parameters
        ----------
        data : (n, nx) float32
            Counts of the rows.
        rows : tuple of int
            First row and the one after the last.
        told : Told
            What was done, and the exposure.
        """
        with np.errstate(all="ignore"):
            if self.bias is not None and "bias" not in told.applied:
                data -= self.bias.counts(*rows)
            if self.dark is not None and "dark" not in told.applied:
                data -= self.dark.counts(*rows) * np.float32((told.facts.exptime_s or 0.0) / self.dark_s)
            if self.flat is not None and "flat" not in told.applied:
                flat = self.flat.counts(*rows)
                data /= np.where(flat > 0, flat, np.nan)

    def changes(self, told: Told) -> bool:
        """Return whether `apply` does anything to an image."""
        return any(getattr(self, step) is not None and step not in told.applied for step in ("bias", "dark", "flat"))

    def bad(self, rows: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Return the bad pixels of rows, if there is a list."""
        return None if self.bad_pixels is None else self.bad_pixels.rows(*rows) != 0


def quality(plane: NDArray[np.integer], survey: Survey) -> Mask:
    """Return a survey's data-quality plane in our bits.

    Parameters
    ----------
    plane : (n, nx) integer
        Bits or codes of the survey.
    survey : Survey
        Says what they mean.
    """
    if plane.dtype.kind not in "iu":
        plane = np.nan_to_num(plane).astype(np.int64)
    mask = np.zeros(plane.shape, np.uint16)
    marked = plane != 0
    if marked.any():
        # 64 bits: the sign of a narrower type is a bit as good as others.
        values, places = plane[marked].astype(np.int64), np.zeros(int(marked.sum()), np.uint16)
        for ours in dict.fromkeys(survey.bits.values()):
            own = [bit for bit, meaning in survey.bits.items() if meaning == ours]
            there = np.isin(values, own) if survey.codes else (values & sum(own)) != 0
            places[there] |= np.uint16(ours)
        mask[marked] = places
    return mask


def saturated(data: Pixels, level: Pixels, rms: Pixels, limit: float | None, mask: Mask) -> NDArray[np.bool_]:
    """Return saturated pixels and their bleed trails.

    Pixels at or over the limit; from them, along columns and rows, whatever stands out of both its sides: charge that
    has spilt; and what is over 80% of the limit beside them.

    Parameters
    ----------
    data, level, rms : (ny, nx) float32
        Counts, sky level and noise.
    limit : float or None
        Saturation level, counts.
    mask : (ny, nx) uint16
        Bits known so far; SATURATED ones count.
    """
    core = (mask & np.uint16(Bit.SATURATED)) != 0
    if limit is not None:
        core |= data >= limit
    if not core.any():
        return core
    found = core.copy()
    if limit is not None:
        near = (data - level) >= 0.8 * (limit - level)
        found = ndimage.binary_propagation(core, _CROSS, mask=core | near)
    excess = (data - level) / rms
    for axis in (0, 1):
        side = np.maximum(np.roll(excess, 3, 1 - axis), np.roll(excess, -3, 1 - axis))
        spilt = excess > np.maximum(10, 2 * np.abs(side))
        line = np.zeros((3, 3), bool)
        line[:, 1] = True
        found |= ndimage.binary_propagation(core, line if axis == 0 else line.T, mask=core | spilt)
    return found


def odd_pixels(data: Pixels, level: Pixels, rms: Pixels, fwhm: float | None) -> NDArray[np.bool_]:
    """Return hot and dead pixels: below the sky by 8 times its noise, or alone over it as no star can be.

    Parameters
    ----------
    data, level, rms : (ny, nx) float32
        Counts, sky level and noise.
    fwhm : float or None
        Of stars, px; of stars sharper than 2 px no pixel can be told.
    """
    excess = (data - level) / rms
    found = excess < -8
    if fwhm is not None and fwhm >= 2:
        share = 0.4 * np.exp(-4 * np.log(2) / fwhm**2)
        y, x = np.nonzero(excess > 15)
        ny, nx = excess.shape
        around = [(y + dy, x + dx) for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))]
        sides = np.stack([excess[np.clip(v, 0, ny - 1), np.clip(u, 0, nx - 1)] for v, u in around])
        peak = excess[y, x]
        # The brightest side too: a star between two pixels has one as bright as itself.
        hot = (sides.mean(0) < share * peak) & (sides.max(0) < 1.5 * share * peak)
        found[y[hot], x[hot]] = True
    return found


def edges(data: Pixels, level: Pixels, rms: Pixels) -> NDArray[np.bool_]:
    """Return parts at the border of a frame that are noise: blocks with many pixels far below the sky.

    A vignetted corner divided by its flat, or rows beyond the detector, are as far below the sky as over it; nothing
    on the sky is.

    Parameters
    ----------
    data, level, rms : (ny, nx) float32
        Counts, sky level and noise.
    """
    low = (level - data) > 4 * rms
    found = np.zeros(data.shape, bool)
    if low.mean() < 1e-3:
        return found
    rows, columns = (np.arange(0, size, _BLOCK) for size in data.shape)
    count = np.add.reduceat(np.add.reduceat(low.astype(np.int32), rows, 0), columns, 1)
    blocks = count > 0.08 * _BLOCK**2
    border = np.ones(blocks.shape, bool)
    border[1:-1, 1:-1] = False
    blocks = ndimage.binary_propagation(blocks & border, np.ones((3, 3), bool), mask=blocks)
    blocks = ndimage.binary_dilation(blocks, np.ones((3, 3), bool))
    return np.repeat(np.repeat(blocks, _BLOCK, 0), _BLOCK, 1)[: data.shape[0], : data.shape[1]]


def mark(mask: Mask, where: NDArray[np.bool_], bit: Bit) -> None:
    """Set a bit of the pixels `where`, in place."""
    mask[where] |= np.uint16(bit)


def dilated(found: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return pixels within `radius` px of those found."""
    if not radius or not found.any():
        return found
    step = np.arange(-radius, radius + 1)
    disk = step[:, None] ** 2 + step[None] ** 2 <= (radius + 0.5) ** 2
    return ndimage.binary_dilation(found, disk)


def filled(mask: Mask) -> NDArray[np.bool_]:
    """Return the pixels that `fill` gives another value."""
    return (mask & np.uint16(UNUSABLE & ~_KEPT)) != 0


def fill(data: Pixels, level: Pixels, mask: Mask, radius: int = 3) -> None:
    """Give unusable pixels the mean of the good ones around, weighted by nearness, in place; else the sky level.

    Saturated pixels keep their value.

    Parameters
    ----------
    data, level : (ny, nx) float32
        Counts and sky level.
    mask : (ny, nx) uint16
        Bits.
    radius : int
        How far the good ones may be, px.
    """
    wrong = filled(mask) | ~np.isfinite(data)
    y, x = np.nonzero(wrong)
    if not len(y):
        return
    data[y, x] = level[y, x]
    if len(y) > 0.2 * data.size:  # no pixel here and there: a part of the frame
        return
    good = ~wrong
    total, weight = np.zeros(len(y)), np.zeros(len(y))
    ny, nx = data.shape
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            v, u = y + dy, x + dx
            inside = (v >= 0) & (v < ny) & (u >= 0) & (u < nx)
            v, u = np.clip(v, 0, ny - 1), np.clip(u, 0, nx - 1)
            share = np.exp(-(dy**2 + dx**2) / 2.0) * (inside & good[v, u])
            total += share * data[v, u]
            weight += share
    near = weight > 0.05
    data[y[near], x[near]] = (total[near] / weight[near]).astype(np.float32)
