"""Trails of satellites and aircraft: long straight lines, found in a coarse image from which sources are clipped.

A fast Radon transform of the whole frame (Brady 1998, SIAM J. Comput. 27, 107; for trails Nir, Zackay & Ofek 2018, AJ
156, 229) says where lines may be; a line counts only if it is bright all along, which no row of stars is. Its place and
width are then measured in the pixels themselves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Coarse", "Trail", "find"]

_SIDE = 256  # blocks of the coarse image
_CLIP = 3.0
_STARS_CLIP = 5.0
_MIN_LENGTH = 1 / 3
_FIRST_LOOK = 7.0
_MEDIAN = 0.7  # of the blocks of a section, in their noise
_SECTIONS = 12
_MOST = 6
_STRETCH = 96  # px of a trail in which its place is measured

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Trail:
    """A straight line, from end to end in 0-based pixels, and how far off its real place may be, px."""

    x0: float
    y0: float
    x1: float
    y1: float
    doubt: float

    def mask(self, excess: Plane, first_row: int, grow: int = 1) -> NDArray[np.bool_]:
        """Return which pixels of some rows are on the trail.

        Parameters
        ----------
        excess : (n, nx) float32
            Counts over the sky, in its noise.
        first_row : int
            Row of the image that they begin with.
        grow : int
            Added to its width on both sides, px.
        """
        ny, nx = excess.shape
        length = float(np.hypot(self.x1 - self.x0, self.y1 - self.y0))
        ux, uy = (self.x1 - self.x0) / length, (self.y1 - self.y0) / length
        reach = int(np.ceil(2 * self.doubt)) + 12
        offsets = np.arange(-reach, reach + 1)
        steps = np.arange(0.0, length + 1)
        x, y = self.x0 + steps * ux, self.y0 - first_row + steps * uy
        inside = (x > -reach) & (x < nx + reach) & (y > -reach) & (y < ny + reach)
        nothing = np.zeros(excess.shape, bool)
        if inside.sum() < 16:
            return nothing
        steps, x, y = steps[inside], x[inside], y[inside]
        columns = np.round(x[:, None] - offsets * uy).astype(int)
        rows = np.round(y[:, None] + offsets * ux).astype(int)
        there = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
        strip = np.where(there, np.clip(excess[rows.clip(0, ny - 1), columns.clip(0, nx - 1)], -_CLIP, 8), np.nan)
        found = _placed(strip, steps, offsets)
        if found is None:
            return nothing
        line, low, high = found
        v, u = np.mgrid[:ny, :nx].astype(np.float32)
        along = (u - self.x0) * ux + (v + first_row - self.y0) * uy
        across = -(u - self.x0) * uy + (v + first_row - self.y0) * ux - np.polyval(line, along).astype(np.float32)
        return (across >= low - grow) & (across <= high + grow) & (along >= -reach) & (along <= length + reach)


def _placed(
    strip: NDArray[np.float64], steps: NDArray[np.float64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float, float] | None:
    """Return the line of a trail's offset along it, and its edges about that; None if it is not seen here."""
    pieces = np.array_split(np.arange(len(steps)), max(1, round(len(steps) / _STRETCH)))
    with np.errstate(all="ignore"):
        means = np.array([_means(strip[piece]) for piece in pieces])
    smooth = ndimage.uniform_filter1d(means, 3, axis=1)
    peaks = offsets[smooth.argmax(1)].astype(float)
    centres = np.array([steps[piece].mean() for piece in pieces])
    weights = np.clip(smooth.max(1) - np.median(smooth, axis=1), 1e-3, 3)
    line = np.array([np.median(peaks)])
    if len(pieces) >= 3:
        near = np.abs(peaks - np.median(peaks)) <= max(6.0, 3 * np.median(np.abs(peaks - np.median(peaks))))
        if near.sum() >= 3:
            line = np.polyfit(centres[near], peaks[near], 1, w=weights[near])
    shift = np.round(np.polyval(line, steps)).astype(int)
    places = np.clip(offsets + shift[:, None] - offsets[0], 0, len(offsets) - 1)
    with np.errstate(all="ignore"):
        profile = _means(np.take_along_axis(strip, places, axis=1))
    far = np.abs(offsets) > 0.6 * offsets[-1]
    floor, noise = np.median(profile[far]), 1.4826 * np.median(np.abs(profile[far] - np.median(profile[far])))
    middle = len(offsets) // 2
    core = profile[middle - 2 : middle + 3]
    if core.max() - floor < max(5 * noise, 0.3):
        return None
    bright = profile - floor > max(0.07 * (core.max() - floor), 3 * noise)
    top = middle - 2 + int(core.argmax())
    low = high = top
    while low > 0 and bright[low - 1]:
        low -= 1
    while high < len(offsets) - 1 and bright[high + 1]:
        high += 1
    return line, float(offsets[low]), float(offsets[high])


def _means(strip: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean at each offset, without the tenth of the values that is brightest: stars beneath the trail."""
    ordered = np.sort(strip, axis=0)  # what is not a number comes last
    count = np.isfinite(strip).sum(0)
    keep = np.arange(len(strip))[:, None] < 0.9 * count
    return np.where(count > 4, np.where(keep, ordered, 0).sum(0) / np.maximum(keep.sum(0), 1), 0.0)


class Coarse:
    """An image in blocks, put together band by band: counts over the sky in units of a block's noise.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.block = 1
        while max(shape) > _SIDE * self.block:
            self.block *= 2
        size = tuple(-(-n // self.block) for n in shape)
        self.total, self.count = np.zeros(size, np.float32), np.zeros(size, np.float32)

    def add(self, excess: Plane, good: NDArray[np.bool_], first_row: int) -> None:
        """Add rows, of which the first is a multiple of the block.

        Parameters
        ----------
        excess : (n, nx) float32
            Counts over the sky, in its noise.
        good : (n, nx) bool
            Pixels that count.
        first_row : int
            Row of the image that they begin with.
        """
        rows = np.arange(0, len(excess), self.block)
        columns = np.arange(0, excess.shape[1], self.block)
        clipped = np.where(good, np.clip(excess, -_CLIP, _CLIP), np.float32(0))
        at = slice(first_row // self.block, first_row // self.block + len(rows))
        self.total[at] += np.add.reduceat(np.add.reduceat(clipped, rows, 0), columns, 1)
        self.count[at] += np.add.reduceat(np.add.reduceat(good.astype(np.float32), rows, 0), columns, 1)

    def trails(self) -> list[Trail]:
        """Return the trails of the image."""
        weight = (self.count > 0.5 * self.count.max()).astype(np.float32)
        # What runs along the border is a border.
        weight[[0, -1]] = weight[:, [0, -1]] = 0
        with np.errstate(all="ignore"):
            value = np.where(weight > 0, self.total / np.sqrt(self.count), 0)
        kept = value[weight > 0]
        if kept.size < 1000:
            return []
        middle = np.median(kept)
        spread = max(1.4826 * float(np.median(np.abs(kept - middle))), 1e-6)
        value = np.where(weight > 0, np.clip((value - middle) / spread, -_CLIP, _STARS_CLIP), 0).astype(np.float32)
        b = self.block
        lines = find(value, weight)
        ends = [[float((n + 0.5) * b - 0.5) for n in line] for line in lines]
        return [Trail(x0, y0, x1, y1, 1.5 * b) for x0, y0, x1, y1 in ends]


def find(value: Plane, weight: Plane) -> list[tuple[float, float, float, float]]:
    """Return lines that are bright all along, as (x0, y0, x1, y1) in blocks.

    Parameters
    ----------
    value, weight : (n, m) float32
        Blocks in units of their noise; 1 where a block counts, else 0, where `value` is 0 too.
    """
    found = []
    value, weight = value - np.float32(value[weight > 0].mean()) * weight, weight.copy()
    for _ in range(_MOST):
        line = _brightest(value, weight)
        if line is None:
            break
        part = _checked(value, weight, line)
        if part is not None:
            found.append(part)
        near = _near(value.shape, line, 3.0)
        value[near], weight[near] = 0, 0
    return found


def _brightest(value: Plane, weight: Plane) -> tuple[float, float, float, float] | None:
    """Return the ends of the brightest line through the frame, if any stands out."""
    best, line = _FIRST_LOOK, None
    shortest = _MIN_LENGTH * min(value.shape)
    for turned in (False, True):
        for flipped in (False, True):
            planes = [(p.T if turned else p)[:: -1 if flipped else 1] for p in (value, weight)]
            score, length = _radon(planes[0]), _radon(planes[1])
            with np.errstate(all="ignore"):
                ratio = np.where(length >= shortest, score / np.sqrt(length), np.nan)
            if not np.isfinite(ratio).any():
                continue
            spread = 1.4826 * float(np.nanmedian(np.abs(ratio - np.nanmedian(ratio))))
            shift, row = np.unravel_index(np.nanargmax(ratio), ratio.shape)
            bright = float(ratio[shift, row]) / max(spread, 1.0)
            if bright > best:
                width = planes[0].shape[1]
                size = ratio.shape[0]
                y0, y1 = row - size + 0.0, row - size + shift * (width - 1) / (size - 1)
                if flipped:
                    y0, y1 = planes[0].shape[0] - 1 - y0, planes[0].shape[0] - 1 - y1
                ends = (0.0, y0, width - 1.0, y1)
                best, line = bright, (ends[1], ends[0], ends[3], ends[2]) if turned else ends
    return line


def _radon(plane: Plane) -> Plane:
    """Return sums along lines that rise by 0 … n − 1 rows over n columns, a power of two: [rise, first row + n]."""
    rows, columns = plane.shape
    size = 1 << (columns - 1).bit_length()
    height = rows + 2 * size
    sums = np.zeros((size, 1, height), np.float32)  # strip, rise, row
    sums[:columns, 0, size : size + rows] = plane.T
    width = 1
    while width < size:
        left, right = sums[0::2], sums[1::2]
        joined = np.zeros((len(left), 2 * width, height), np.float32)
        for rise in range(2 * width):
            up = (rise + 1) // 2
            joined[:, rise] = left[:, rise // 2]
            joined[:, rise, : height - up] += right[:, rise // 2, up:]
        sums, width = joined, 2 * width
    return sums[0, :, : rows + size]


def _checked(
    value: Plane, weight: Plane, line: tuple[float, float, float, float]
) -> tuple[float, float, float, float] | None:
    """Return the part of a line that is bright all along, if it is long enough; None if it is a row of stars."""
    x0, y0, x1, y1 = line
    length = float(np.hypot(x1 - x0, y1 - y0))
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    steps = np.arange(0, length + 1)
    x, y = x0 + steps * ux, y0 + steps * uy
    ny, nx = value.shape
    inside = (x >= -0.5) & (x <= nx - 0.5) & (y >= -0.5) & (y <= ny - 0.5)
    if inside.sum() < _MIN_LENGTH * min(ny, nx):
        return None
    x, y = x[inside], y[inside]

    def along(offsets: tuple[float, ...]) -> NDArray[np.float64]:
        values = []
        for d in offsets:
            place = [y + d * ux, x - d * uy]
            v = ndimage.map_coordinates(value, place, order=1, mode="constant")
            w = ndimage.map_coordinates(weight, place, order=1, mode="constant")
            values.append(np.where(w > 0.6, v / np.maximum(w, 0.1), np.nan))
        with np.errstate(all="ignore"):
            return np.array(values)

    core = np.nanmax(np.nan_to_num(along((-0.6, 0.0, 0.6)), nan=-9), axis=0)
    core[core < -8] = np.nan
    sides = [_nanmean(along(offsets)) for offsets in ((-6.0, -5.0, -4.0), (4.0, 5.0, 6.0))]
    # A step in the sky is bright on one side; a maximum of three is bright by chance.
    rise = core - np.fmax(*sides) - 0.35
    sections = np.array_split(np.arange(len(rise)), _SECTIONS)
    with np.errstate(all="ignore"):
        medians = np.array([np.nanmedian(rise[s]) if np.isfinite(rise[s]).sum() > 3 else np.nan for s in sections])
    return _longest(medians, sections, x, y, min(ny, nx))


def _nanmean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    count = np.isfinite(values).sum(0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), 0.0)


def _longest(
    medians: NDArray[np.float64],
    sections: list[NDArray[np.int64]],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    side: int,
) -> tuple[float, float, float, float] | None:
    """Return the longest run of bright sections; one that is hidden or hurt by a star does not break it."""
    bright = ~(medians < _MEDIAN)
    dark = ~bright
    best: tuple[int, int] | None = None
    start = 0
    for end in range(len(bright) + 1):
        broken = end == len(bright) or (dark[end] and (end + 1 >= len(bright) or dark[end + 1] or end == start))
        if broken:
            if end > start and (best is None or end - start > best[1] - best[0]):
                best = (start, end)
            start = end + 1
    if best is None:
        return None
    first, last = sections[best[0]][0], sections[best[1] - 1][-1]
    run = medians[best[0] : best[1]]
    long = np.hypot(x[last] - x[first], y[last] - y[first]) >= _MIN_LENGTH * side
    seen = np.isfinite(run).sum() >= 3 and (run > _MEDIAN).mean() > 0.7
    return (float(x[first]), float(y[first]), float(x[last]), float(y[last])) if long and seen else None


def _near(shape: tuple[int, int], line: tuple[float, float, float, float], reach: float) -> NDArray[np.bool_]:
    x0, y0, x1, y1 = line
    length = np.hypot(x1 - x0, y1 - y0)
    v, u = np.mgrid[: shape[0], : shape[1]]
    return np.abs((u - x0) * (y1 - y0) - (v - y0) * (x1 - x0)) / length <= reach
