"""A band of rows of a pair, subtracted: aligned, sky taken off, cut into tiles, each with its own PSFs."""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, maximum_filter, uniform_filter

from pipeline.images.align import resample
from pipeline.images.background import level, sky
from pipeline.images.frame import UNUSABLE, Bit, Frame, Pixels
from pipeline.images.match import Match
from pipeline.images.view import Image, transfer
from pipeline.images.zogy import MARGIN, Filters, divide

__all__ = ["PAD", "Band", "subtract"]

#: Rows beyond a band that are subtracted too, so that cutouts at its edge are whole.
PAD = 32

#: Over how many pixels neighbouring tiles of one PSF fade into each other, on either side of their border.
FADE = 8

#: Filters that are kept at a time.
_KEPT = 16

#: Where PSFs vary by less than this, relative, over the field, large tiles do.
CONSTANT = 0.004


@dataclass(frozen=True, eq=False)
class Band:
    """A band of rows of a pair.

    Parameters
    ----------
    y0, y1 : int
        Its rows of the reference.
    top : int
        First row of the arrays: `y0` less the pad, where the image goes on.
    science, reference : (ny, nx) float32
        Counts above the sky, the science image's aligned, masked pixels filled.
    difference, significance, flux_err : (ny, nx) float32
        As in `zogy.Subtraction`.
    mask : (ny, nx) uint16
        `Bit` of both images.
    tiles : Tiles
        How it was cut.
    """

    y0: int
    y1: int
    top: int
    science: Pixels
    reference: Pixels
    difference: Pixels
    significance: Pixels
    flux_err: Pixels
    mask: NDArray[np.uint16]
    tiles: "Tiles"


class Tiles:
    """The tiles of a pair: squares of the reference on a fixed grid, the same whichever band asks.

    Tiles of PSFs that vary fade from centre to centre, so that the PSF that counts varies linearly between these;
    their centres begin on the image's edge. Tiles of one PSF fade over a few pixels on either side of their borders.

    Parameters
    ----------
    match : Match
        The pair.
    shape : tuple of int
        Rows and columns of the reference.
    size : int
        Pixels from one to the next, 128–512; 0: by how the PSFs vary.
    """

    def __init__(self, match: Match, shape: tuple[int, int], size: int = 0) -> None:
        vary = max(match.science_psf.variation, match.reference_psf.variation)
        self.constant = vary < CONSTANT
        self.size = size or (512 if self.constant else 128)
        self.fade = FADE if self.constant else self.size // 2
        self.match, self.shape = match, shape
        self._kept: dict[tuple[int, int, int], Filters] = {}

    @property
    def side(self) -> int:
        """Pixels a side of what is transformed for a tile."""
        return self.size + 2 * (MARGIN + self.fade)

    def starts(self, low: int, high: int, length: int) -> list[int]:
        """Return where the tiles begin that reach into pixels `low` to `high` of an axis of some length."""
        first = 0 if self.constant else -(self.size // 2)
        return [
            start
            for start in range(first, length + (0 if self.constant else self.size // 2), self.size)
            if start + self.size + self.fade > low and start - self.fade < high
        ]

    def filters(self, left: int, top: int) -> Filters:
        """Return the filters of the tile that begins there."""
        return self._cached(*((0, 0) if self.constant else (left, top)), self.side)

    def near(self, x: float, y: float) -> Filters:
        """Return the filters of the tile whose centre is nearest to a pixel."""
        first = 0 if self.constant else -(self.size // 2)
        return self.filters(*(int((v - first) // self.size) * self.size + first for v in (x, y)))

    def square(self, left: int, top: int, size: int) -> Filters:
        """Return the filters of a square of another size, by the PSFs in its middle."""
        if self.constant:
            return self._cached(0, 0, size + 2 * MARGIN)
        x, y = (float(np.clip(v + size / 2, 0, n)) for v, n in ((left, self.shape[1]), (top, self.shape[0])))
        return self._at(x, y, size + 2 * MARGIN)

    def _cached(self, left: int, top: int, side: int) -> Filters:
        """Return filters, kept for the tiles that come next; not all of an image's, which would be gigabytes."""
        key = (left, top, side)
        if key not in self._kept:
            if len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self._make(*key)
        return self._kept[key]

    def _make(self, left: int, top: int, side: int) -> Filters:
        if self.constant:
            return self._at(self.shape[1] / 2, self.shape[0] / 2, side)
        return self._at(left + self.size / 2, top + self.size / 2, side)

    def _at(self, x: float, y: float, side: int) -> Filters:
        m = self.match
        blur = transfer((side, side), m.smoothing) if m.smoothing else None
        return Filters(
            (side, side), m.science_psf.at(x, y), m.reference_psf.at(x, y), m.science_noise, m.reference_noise,
            m.flux_ratio, blur, blur,
        )  # fmt: skip


def subtract(
    science: Image, reference: Image, match: Match, y0: int, y1: int, tile: int = 0, mesh: int = 128, pad: int = PAD
) -> Band:
    """Subtract a band of rows.

    Parameters
    ----------
    science, reference : Image
        The pair.
    match : Match
        What was measured of it.
    y0, y1 : int
        Rows of the reference.
    tile : int
        Pixels a side of a tile; 0: chosen by how the PSFs vary.
    mesh : int
        Pixels a side of the cells in which the sky is measured.
    pad : int
        Rows beyond the band that are wanted, too.

    Returns
    -------
    Band
        The band, and `pad` rows more on either side as far as the image goes.
    """
    science, reference = match.seen(science, reference)
    ny, nx = reference.shape
    tiles = Tiles(match, reference.shape, tile)
    around = pad + MARGIN + tiles.fade
    low, high = max(0, y0 - around), min(ny, y1 + around)
    ref = reference.read(low, high, 0, nx)
    sci = _aligned(science, reference, match, low, high)
    fill(sci)
    fill(ref)
    mask = sci.mask | ref.mask
    bad = (mask & int(UNUSABLE)) != 0
    good = ~binary_dilation(bad, iterations=2)
    r = ref.data - sky(ref.data, ~good, mesh)[0]
    # Sources are in both: what is left of them where PSFs differ adds up to nothing.
    n = sci.data - level(sci.data - r / np.float32(match.flux_ratio), good & ~_light(r, ref.variance), mesh)
    outside = (mask & int(Bit.EDGE)) != 0
    n[outside] = r[outside] = 0.0
    outside = _cut_off(outside, match, low, ny)
    mask[outside] |= int(Bit.EDGE)
    top, bottom = max(0, y0 - pad), min(ny, y1 + pad)
    planes = _Planes(n, r, sci.variance, ref.variance, low)
    excess = _excess(tiles, planes, top, bottom)
    out = [np.zeros((bottom - top, nx), np.float32) for _ in range(3)]
    share = np.zeros((bottom - top, nx), np.float32)
    for tile_top in tiles.starts(top, bottom, ny):
        for tile_left in tiles.starts(0, nx, nx):
            _tile(tiles, planes, excess, tile_left, tile_top, top, out, share)
    for plane in out:
        plane /= share
    inner = slice(top - low, bottom - low)
    out[1][outside[inner]] = 0.0  # where only one of them has looked nothing has changed that could be known
    difference, significance, error = out
    return Band(y0, y1, top, n[inner], r[inner], difference, significance, error, mask[inner], tiles)


def _aligned(science: Image, reference: Image, match: Match, low: int, high: int) -> Frame:
    """Return the science image on rows of the reference; only the part that is needed is read."""
    warp = match.warp(science, reference)
    nx = reference.shape[1]
    to_x, to_y = warp.grid(0, nx, low, high)
    rows, columns = np.linspace(low, high - 1, 33), np.linspace(0, nx - 1, 65)
    xs, ys = to_x(rows, columns), to_y(rows, columns)
    sy, sx = science.shape
    left, right = (int(np.clip(v, 0, sx)) for v in (np.floor(xs.min()) - 16, np.ceil(xs.max()) + 17))
    first, last = (int(np.clip(v, 0, sy)) for v in (np.floor(ys.min()) - 16, np.ceil(ys.max()) + 17))
    if right - left < 8 or last - first < 8:
        shape = (high - low, nx)
        empty = np.zeros(shape, np.float32)
        return Frame(empty, empty + 1, np.full(shape, int(Bit.EDGE), np.uint16), reference.wcs, science.facts)
    part = science.read(first, last, left, right)
    fill(part)
    return resample(part, warp, 0, nx, low, high, left, first)


def _cut_off(outside: NDArray[np.bool_], match: Match, low: int, ny: int) -> NDArray[np.bool_]:
    """Return which pixels, of rows from `low` on, lack a part of the PSF: those off either image and those beside them.

    Half a star at the border is half a star in both images, of two different PSFs.
    """
    middle = match.science_psf.shape[1] / 2, match.science_psf.shape[0] / 2
    reach = int(np.ceil(1.25 * max(psf.fwhm(*middle) for psf in (match.science_psf, match.reference_psf))))
    near = np.asarray(maximum_filter(outside.view(np.uint8), 2 * reach + 1) > 0)
    near[:, :reach] = near[:, -reach:] = True
    rows = np.arange(low, low + len(outside))
    near[(rows < reach) | (rows >= ny - reach)] = True
    return near


def _light(image: Pixels, variance: Pixels) -> NDArray[np.bool_]:
    """Return which pixels are of sources, and those around: there differences of PSFs would be clipped one-sidedly."""
    smooth = uniform_filter(image, 5)
    return np.asarray(uniform_filter((smooth > np.sqrt(variance)).astype(np.float32), 7) > 0.05)


@dataclass(frozen=True, eq=False)
class _Planes:
    n: Pixels
    r: Pixels
    v_n: Pixels
    v_r: Pixels
    low: int

    def cut(self, left: int, top: int, side: int) -> list[Pixels]:
        """Return the four planes of a square; beyond the image there is sky, and sky's variance."""
        ny, nx = self.n.shape
        y, x = top - self.low, left
        rows, columns = slice(max(0, y), min(ny, y + side)), slice(max(0, x), min(nx, x + side))
        out = []
        for plane, variance in ((self.n, False), (self.r, False), (self.v_n, True), (self.v_r, True)):
            part = plane[rows, columns]
            if part.shape == (side, side):
                out.append(part)
                continue
            value = np.median(part[::4, ::4]) if variance and part.size else 0.0
            square = np.full((side, side), value, np.float32)
            square[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = part
            out.append(square)
        return out


#: Pixels a side of the squares in which one PSF does for the noise: a square root of its square, averaged.
_COARSE = 256


def _excess(tiles: Tiles, planes: _Planes, top: int, bottom: int) -> Pixels:
    """Return V(S) over that of blank sky."""
    nx, size = planes.n.shape[1], tiles.size if tiles.constant else _COARSE
    excess = np.empty((bottom - top, nx), np.float32)
    for above in range(top // size * size, bottom, size):
        for left in range(0, nx, size):
            v_n, v_r = planes.cut(left - MARGIN, above - MARGIN, size + 2 * MARGIN)[2:]
            filters = tiles.square(left, above, size)
            v = filters.variance(v_n, v_r)[MARGIN:-MARGIN, MARGIN:-MARGIN] / filters.sky_variance
            first, last = max(above, top), min(above + size, bottom)
            excess[first - top : last - top, left : left + size] = v[first - above : last - above, : nx - left]
    return excess


def _tile(
    tiles: Tiles, planes: _Planes, excess: Pixels, left: int, top: int, out_top: int, out: list[Pixels], share: Pixels
) -> None:
    """Subtract one tile and add it, faded at its borders, to what its neighbours gave."""
    fade = tiles.fade
    ny, nx = share.shape
    side = tiles.size + 2 * fade
    y, x = top - fade - out_top, left - fade
    rows, columns = slice(max(0, y), min(ny, y + side)), slice(max(0, x), min(nx, x + side))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    filters = tiles.filters(left, top)
    n, r = planes.cut(left - fade - MARGIN, top - fade - MARGIN, tiles.side)[:2]
    jitter = (float(tiles.match.jitter[0]), float(tiles.match.jitter[1]))
    s, s_n, difference = filters.subtract(n, r, jitter != (0.0, 0.0))
    inner = (slice(rows.start - y + MARGIN, rows.stop - y + MARGIN),
             slice(columns.start - x + MARGIN, columns.stop - x + MARGIN))  # fmt: skip
    noise = excess[rows, columns]
    s, difference = s[inner], difference[inner]
    around = tuple(slice(part.start - 1, part.stop + 1) for part in inner)
    s_n = s_n[around] if len(s_n) > 1 else s_n
    error = np.empty_like(s)
    divide(s, s_n, noise, filters.sky_variance, jitter, filters.flux_scale, error)
    ramp = np.minimum(1.0, (np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5) / (2 * fade)).astype(np.float32)
    weight = np.outer(ramp[rows.start - y : rows.stop - y], ramp[columns.start - x : columns.stop - x])
    share[rows, columns] += weight
    for plane, values in zip(out, (difference, s, error), strict=True):
        plane[rows, columns] += weight * values


def fill(frame: Frame) -> None:
    """Give pixels that carry no information a value that does no harm, and the variance that it deserves; in place.

    The value is the mean of the good pixels around. A saturated pixel keeps its own, which is nearer the truth.
    """
    bad = (frame.mask & int(UNUSABLE & ~Bit.EDGE)) != 0
    outside = (frame.mask & int(Bit.EDGE)) != 0
    if not (bad | outside).any():
        return
    good = ~(bad | outside)
    if not good.any():
        frame.data[...], frame.variance[...] = 0.0, 1.0
        return
    sky, noise = np.median(frame.data[good][::7]), np.median(frame.variance[good][::7])
    frame.data[outside], frame.variance[outside] = sky, noise
    saturated = (frame.mask & int(Bit.SATURATED)) != 0
    _fill(frame.data, frame.variance, bad, ~good, saturated, np.float32(sky), np.float32(noise))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fill(data, variance, bad, lacking, saturated, sky, noise):  # type: ignore[no-untyped-def]
    ny, nx = data.shape
    where = np.argwhere(bad)
    values = np.empty(len(where), np.float32)
    for k in range(len(where)):
        y, x = where[k]
        total, weight = 0.0, 0.0
        for reach in range(1, 8):
            for j in range(max(0, y - reach), min(ny, y + reach + 1)):
                for i in range(max(0, x - reach), min(nx, x + reach + 1)):
                    if max(abs(j - y), abs(i - x)) == reach and not lacking[j, i]:
                        w = 1.0 / ((j - y) ** 2 + (i - x) ** 2) ** 1.5
                        total += w * data[j, i]
                        weight += w
            if weight > 0 and reach >= 2:
                break
        values[k] = total / weight if weight > 0 else sky
    for k in range(len(where)):
        y, x = where[k]
        if saturated[y, x]:
            variance[y, x] = noise + (data[y, x] - sky) ** 2
        else:
            data[y, x] = values[k]
            # Nothing was seen there: the guess may be wrong by half of what stands above the sky.
            variance[y, x] = 2 * noise + (0.5 * (values[k] - sky)) ** 2
