"""Cutouts of an alert, as sent → arrays, and the three of a packet → one triplet.

A cutout is a gzipped FITS image of some 10 kB; a network scores it in a millisecond. So the usual one takes the short
way: unpacked under a cap, its header looked up (the alerts of a survey share it, or it is parsed once), its pixels
taken as they lie. Everything else is walked through by `pipeline.fits`. Whatever the bytes are, the answer is pixels
or `BadCutout`.
"""

import math
import zlib
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from catalogs.triplets import SIZE
from pipeline import fits
from pipeline.alerts.packets import Packet
from pipeline.alerts.refusals import BadCutout, Reason
from pipeline.alerts.surveys import number
from pipeline.errors import Reason as Cause
from pipeline.errors import Rejected

__all__ = ["MAX_BYTES", "MAX_SIDE", "MIN_SIDE", "SIZE", "BadCutout", "Cut", "cut", "decode", "triplet"]

#: Largest cutout, unpacked, bytes; the 512 pixels of `MAX_SIDE` squared and then some.
MAX_BYTES = 4 << 20

#: Pixels on a side: fewer show no neighbourhood, more are no cutout.
MIN_SIDE, MAX_SIDE = 8, 512

_NAMES = ("science", "template", "difference")

Pixels = NDArray[np.float32]


class Cut(NamedTuple):
    """A triplet and where its candidate is.

    Parameters
    ----------
    pixels : (3, size, size) float32
        Science, template, difference in their own counts; NaN where there are none.
    x, y : float
        Column and row of the candidate in it, to half a pixel; the middle is ``size // 2``.
    shape : tuple of int
        Rows and columns of the cutouts as sent.
    """

    pixels: Pixels
    x: float
    y: float
    shape: tuple[int, int]


class _Layout(NamedTuple):
    kind: str
    shape: tuple[int, int]
    start: int
    scale: float
    zero: float
    blank: int | None


def triplet(packet: Packet, size: int = SIZE, *, centred: bool = False) -> Pixels:
    """Return the triplet of a packet, (3, size, size) float32: `cut` without what it says beside it."""
    return cut(packet, size, centred=centred).pixels


def cut(packet: Packet, size: int = SIZE, *, centred: bool = False) -> Cut:
    """Return the triplet of a packet, and where in it the candidate is.

    Pixels are the survey's own, never resampled: a cutout of another size than `size` keeps its scale, its middle lies
    in the triplet's, what it lacks is NaN and what it has beyond is cut off. One pixel is then another angle and
    another share of the FWHM than in another survey: `pipeline.alerts.surveys.Profile.fwhm_px` says how many there
    are, and a model of constant pixels per FWHM has to resample before it scores.

    A whole cutout of ZTF has 63 x 63 pixels with the candidate in the middle one. At the edge of the chip it is cut,
    and the packet does not say on which side. ZTF itself pads what is left at the bottom and right (as does braai,
    Duev et al. 2019), so that a candidate near the first rows or columns is not in the middle of what is scored; that
    is what reproduces its scores. With `centred` the candidate is put in the middle instead.

    Parameters
    ----------
    packet : Packet
        Of any survey.
    size : int
        Pixels on a side, odd.
    centred : bool
        Put a candidate at the edge of a chip in the middle of the triplet.

    Raises
    ------
    BadCutout
        If one of the three is missing, damaged, empty, or of another shape than the others.
    """
    if size < MIN_SIDE or size % 2 == 0:
        raise ValueError(f"triplets of {size} px: give an odd size of {MIN_SIDE} or more")
    images = [_decoded(data, name) for data, name in zip(packet.cutouts, _NAMES, strict=True)]
    shape = cast(tuple[int, int], images[0].shape)
    if any(image.shape != shape for image in images):
        text = ", ".join(
            f"{name} {image.shape[1]}x{image.shape[0]}" for name, image in zip(_NAMES, images, strict=True)
        )
        raise BadCutout(Reason.CUTOUT_SHAPE, f"cutouts of different sizes: {text}")
    if min(shape) < MIN_SIDE:
        raise BadCutout(Reason.CUTOUT_SHAPE, f"{shape[1]}x{shape[0]} px; at least {MIN_SIDE} on a side")
    whole = packet.profile.size
    edge = whole == size and max(shape) <= whole and min(shape) < whole
    if edge:
        row, column = _at_edge(packet, images[2], whole)
        y0, x0 = (size // 2 - row, size // 2 - column) if centred else (0, 0)
        place = (float(x0 + column), float(y0 + row))
    else:
        y0, x0 = size // 2 - shape[0] // 2, size // 2 - shape[1] // 2
        place = (x0 + (shape[1] - 1) / 2, y0 + (shape[0] - 1) / 2)
    return Cut(_placed(images, size, y0, x0), *place, shape)


def _placed(images: list[Pixels], size: int, y0: int, x0: int) -> Pixels:
    """Return images with their first pixel at (y0, x0) of the triplet, finite pixels only."""
    ny, nx = images[0].shape
    low_y, low_x, high_y, high_x = max(0, -y0), max(0, -x0), min(ny, size - y0), min(nx, size - x0)
    full = (high_y - low_y, high_x - low_x) == (size, size)
    pixels = np.empty((3, size, size), np.float32) if full else np.full((3, size, size), np.nan, np.float32)
    for channel, image in enumerate(images):
        inside = image[low_y:high_y, low_x:high_x]
        pixels[channel, y0 + low_y : y0 + high_y, x0 + low_x : x0 + high_x] = inside
    flat = pixels.reshape(3, -1)
    low, high = np.fmin.reduce(flat, 1), np.fmax.reduce(flat, 1)
    if not (np.isfinite(low) & np.isfinite(high)).all():
        pixels[np.isinf(pixels)] = np.nan  # no count, so no pixel
        low, high = np.fmin.reduce(flat, 1), np.fmax.reduce(flat, 1)
    for name, least, most in zip(_NAMES, low, high, strict=True):
        if not least < most:
            what = "no finite pixel" if math.isnan(least) else f"all pixels {least:g}"
            raise BadCutout(Reason.CUTOUT_EMPTY, f"{name}: {what}")
    return pixels


def _at_edge(packet: Packet, difference: Pixels, whole: int) -> tuple[int, int]:
    """Return row and column of the candidate in a cutout that the edge of the chip cut.

    By the packet's place on the chip, counted from 1, or else where the difference is brightest of the two or four
    places that are possible: the difference of a negative candidate is sent with its sign changed.
    """
    middle = whole // 2
    options: list[tuple[int, ...]] = []
    for length, key in zip(difference.shape, ("ypos", "xpos"), strict=True):
        lower, at = middle - (whole - length), number(packet.facts.get(key))
        if length == whole or at - 1 >= middle:
            options.append((middle,))
        else:
            options.append((lower, middle) if math.isnan(at) else (lower,))
    places = [(row, column) for row in options[0] for column in options[1]]
    ny, nx = difference.shape
    places = [(row, column) for row, column in places if 0 <= row < ny and 0 <= column < nx]
    if not places:
        raise BadCutout(Reason.CUTOUT_SHAPE, f"{nx}x{ny} px hold no candidate")
    return max(places, key=lambda place: _brightness(difference, *place))


def _brightness(image: Pixels, row: int, column: int) -> float:
    core = image[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    core = core[np.isfinite(core)]
    return float(core.mean()) if core.size else -math.inf


def _decoded(data: bytes | None, name: str) -> Pixels:
    if not data:
        raise BadCutout(Reason.CUTOUT_MISSING, f"no {name} cutout")
    try:
        return decode(data)
    except BadCutout as error:
        raise BadCutout(error.reason, f"{name}: {error.message}") from None


def decode(cutout: bytes) -> Pixels:
    """Return the image of a cutout, (ny, nx) float32 in native order; NaN where BLANK says so.

    The first image of two axes counts; BSCALE and BZERO are applied in double precision.

    Parameters
    ----------
    cutout : bytes
        FITS, or that as gzip.

    Raises
    ------
    BadCutout
        If it is anything else, damaged, or larger than `MAX_SIDE` or `MAX_BYTES`.
    """
    data = _unpacked(cutout)
    end = data.find(b"END     ", 0, fits.BLOCK)
    head = data[: fits.BLOCK]
    if not head.startswith(b"SIMPLE  ="):
        raise BadCutout(Reason.CUTOUT_NOT_FITS, f"begins with {data[:12]!r}")
    layout = _simple(head) if end >= 0 and end % 80 == 0 else None
    if layout is None:
        layout = _any(data)
    return _pixels(data, layout)


def _unpacked(cutout: bytes) -> bytes:
    if cutout[:3] == b"\xff\xd8\xff":
        raise BadCutout(Reason.CUTOUT_JPEG, "a JPEG picture instead of pixel values")
    if cutout[:2] != b"\x1f\x8b":
        if len(cutout) > MAX_BYTES:
            raise BadCutout(Reason.CUTOUT_BOMB, f"{len(cutout)} bytes; at most {MAX_BYTES}")
        return cutout
    stream = zlib.decompressobj(wbits=31)
    try:
        data = stream.decompress(cutout, MAX_BYTES + 1)
    except zlib.error as error:
        check = "incorrect data check" in str(error) or "incorrect length check" in str(error)
        raise BadCutout(Reason.CUTOUT_CRC if check else Reason.CUTOUT_GZIP, str(error)) from None
    if len(data) > MAX_BYTES:
        raise BadCutout(Reason.CUTOUT_BOMB, f"{len(cutout)} bytes unpack to more than {MAX_BYTES}")
    if not stream.eof:
        raise BadCutout(Reason.CUTOUT_TRUNCATED, f"the gzip stream ends early, after {len(cutout)} bytes")
    return data


class _Source:
    """Bytes in memory, as `pipeline.fits` reads them."""

    def __init__(self, data: bytes) -> None:
        self.length, self._view = len(data), memoryview(data)

    def read(self, start: int, length: int) -> memoryview:
        """Return `length` bytes from `start` on; `Rejected` if there are not so many."""
        if start + length > self.length:
            raise Rejected(Cause.TRUNCATED, f"{self.length} bytes, its headers want {start + length}")
        return self._view[start : start + length]


@lru_cache(maxsize=512)
def _simple(head: bytes) -> _Layout | None:
    """Return the layout of a primary image by its header of one block, None if it is not a simple one."""
    try:
        return _layout(next(fits.hdus(cast(fits.Source, _Source(head)))))
    except Rejected:
        return None


def _any(data: bytes) -> _Layout:
    """Return the layout of the first image of a file."""
    try:
        for hdu in fits.hdus(cast(fits.Source, _Source(data))):
            layout = _layout(hdu)
            if layout is not None:
                return layout
    except Rejected as error:
        reason = Reason.CUTOUT_TRUNCATED if error.reason == "truncated" else Reason.CUTOUT_NOT_FITS
        raise BadCutout(reason, str(error.message)) from None
    raise BadCutout(Reason.CUTOUT_NOT_FITS, "no image of two axes in it")


def _layout(hdu: fits.Hdu) -> _Layout | None:
    """Return where the pixels of an HDU are and what they mean, None if it has none."""
    header = hdu.header
    if hdu.start and header.text("XTENSION") != "IMAGE":
        return None
    _ = header.data_size  # raises where the sizes make no sense
    axes = [header.integer(f"NAXIS{axis + 1}", 0, 1 << 40) for axis in range(header.integer("NAXIS", 0, 999))]
    if not axes:
        return None
    if len(axes) != 2 or not all(0 < axis <= MAX_SIDE for axis in axes):
        shape = "x".join(str(axis) for axis in axes[:4])
        raise BadCutout(Reason.CUTOUT_SHAPE, f"an image of {shape}: two axes of at most {MAX_SIDE} px are a cutout")
    bits = header.integer("BITPIX", -64, 64)
    kind = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}[bits]
    scale, zero = header.number("BSCALE", -1e30, 1e30), header.number("BZERO", -1e30, 1e30)
    blank = header.value("BLANK") if bits > 0 else None
    return _Layout(
        kind, (axes[1], axes[0]), hdu.data_start,
        1.0 if math.isnan(scale) else scale, 0.0 if math.isnan(zero) else zero,
        blank if isinstance(blank, int) else None,
    )  # fmt: skip


def _pixels(data: bytes, layout: _Layout) -> Pixels:
    ny, nx = layout.shape
    stored = np.dtype(layout.kind)
    if layout.start + ny * nx * stored.itemsize > len(data):
        wanted = layout.start + ny * nx * stored.itemsize
        raise BadCutout(Reason.CUTOUT_TRUNCATED, f"{len(data)} bytes, its header wants {wanted}")
    values = np.frombuffer(data, stored, ny * nx, layout.start).reshape(ny, nx)
    if layout.kind == ">f4" and layout.scale == 1 and layout.zero == 0:
        return values.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (values.astype(np.float64) * layout.scale + layout.zero).astype(np.float32)
    if layout.blank is not None:
        scaled[values == layout.blank] = np.nan
    return scaled
