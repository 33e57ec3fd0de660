"""FITS files of images under guard: what extensions there are, and their pixels band by band.

Nothing in a header is believed before it is checked against limits and against the file's own length. A file is used
where it lies if it is local and not packed, else from a temporary copy; either way it is mapped, never read whole.
"""

import hashlib
import os
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from catalogs.folder import Folder
from pipeline.archive import Source
from pipeline.errors import Reason, Rejected
from pipeline.fits import BLOCK, CARD, Header, printable
from pipeline.images.headers import Cards

__all__ = ["ImageFile", "Plane", "opened"]

_MAX_HDUS = 1024
_MAX_HEADER_BLOCKS = 1024
_MAX_PIXELS = 1 << 29
_MIN_SIDE, _MAX_SIDE = 32, 1 << 17
_CHUNK = 4 << 20
_OPEN = {"memmap": True, "lazy_load_hdus": False, "output_verify": "ignore", "do_not_scale_image_data": True}

#: Of a Pan-STARRS image: the pixel is the flux's asinh magnitude, 2.5 log10 e (Waters et al. 2020, ApJS 251, 4).
_POGSON = 2.5 * np.log10(np.e)


@dataclass(frozen=True)
class Plane:
    """An image extension, read in bands of rows.

    Parameters
    ----------
    hdu : astropy HDU
        Image or compressed image of two axes.
    """

    hdu: Any

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ny, nx = self.hdu.shape
        return int(ny), int(nx)

    @property
    def header(self) -> fits.Header:
        """Header of the extension."""
        return self.hdu.header

    def rows(self, y0: int, y1: int) -> NDArray[Any]:
        """Return rows `y0` to `y1` (exclusive) in native byte order, with BSCALE, BZERO and BLANK.

        Raises
        ------
        Rejected
            If they cannot be unpacked.
        """
        try:
            with _quiet():
                values = np.asarray(self.hdu.section[y0:y1])
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 — whatever the bytes are: astropy and its decoders raise all kinds
            what = f"rows {y0} to {y1} of {self.hdu.name or 'primary'}: {type(error).__name__}: {str(error)[:200]}"
            raise Rejected(Reason.BAD_COMPRESSION, what) from None
        if values.shape != (y1 - y0, self.shape[1]):
            raise Rejected(Reason.TRUNCATED, f"rows {y0} to {y1} read as {values.shape}")
        return self._scaled(values.astype(values.dtype.newbyteorder("="), copy=False))

    def _scaled(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return stored values with BSCALE, BZERO and BLANK: a mapped file is not scaled by astropy."""
        scale, zero = (self._constant(key, default) for key, default in (("BSCALE", 1.0), ("BZERO", 0.0)))
        blank = self.header.get("BLANK") if values.dtype.kind in "iu" else None
        if scale == 1 and zero == 0 and blank is None:
            return values
        if scale == 1 and zero == int(zero) and abs(zero) < 2**62 and blank is None and values.dtype.kind in "iu":
            return values.astype(np.int64) + int(zero)
        scaled = values * scale + zero
        if isinstance(blank, int):
            scaled[values == blank] = np.nan
        return scaled

    def counts(self, y0: int, y1: int) -> NDArray[np.float32]:
        """Return rows as numbers on a linear scale, float32; what is no number is NaN."""
        values = self.rows(y0, y1)
        with np.errstate(all="ignore"):
            if "BSOFTEN" in self.header and "BOFFSET" in self.header:
                values = self._linear(values)
            return np.array(values, np.float32)

    def _linear(self, values: NDArray[Any]) -> NDArray[Any]:
        soften, offset = self._constant("BSOFTEN", 1.0), self._constant("BOFFSET", 0.0)
        x = np.asarray(values, np.float64) / _POGSON
        return offset + soften * (np.exp(x) - np.exp(-x))

    def _constant(self, key: str, default: float) -> float:
        value = self.header.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise Rejected(Reason.BAD_HEADER, f"{key} = {value!r} is not a number")
        return float(value)


class ImageFile:
    """An open FITS file.

    Attributes
    ----------
    hdus : astropy.io.fits.HDUList
        Its extensions.
    sha256 : str
        Of the bytes as stored.
    size : int
        Stored bytes.
    """

    def __init__(self, hdus: fits.HDUList, sha256: str, size: int) -> None:
        self.hdus, self.sha256, self.size = hdus, sha256, size

    @cached_property
    def _primary(self) -> dict[str, Any]:
        return _cards(self.hdus[0].header)

    def cards(self, number: int) -> Cards:
        """Return the values of an extension's header over those of the primary one."""
        return self._primary if number == 0 else self._primary | _cards(self.hdus[number].header)

    def images(self) -> list[int]:
        """Return the numbers of the extensions that hold an image of any shape; tables are none."""
        kinds = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
        return [number for number, hdu in enumerate(self.hdus) if isinstance(hdu, kinds) and hdu.header["NAXIS"] > 0]

    def plane(self, number: int) -> Plane:
        """Return an extension's pixels, once their shape is known to be right.

        Raises
        ------
        Rejected
            With `Reason.WRONG_SHAPE` if it is not an image of two axes of sane length.
        """
        if not 0 <= number < len(self.hdus):
            raise Rejected(Reason.CHANGED, f"no extension {number}: the file has {len(self.hdus)}")
        shape = tuple(self.hdus[number].shape)
        if len(shape) != 2:
            what = " x ".join(str(axis) for axis in shape[::-1])
            raise Rejected(Reason.WRONG_SHAPE, f"{len(shape)} axes ({what}); give its planes as images of their own")
        if min(shape) < _MIN_SIDE or max(shape) > _MAX_SIDE or shape[0] * shape[1] > _MAX_PIXELS:
            raise Rejected(
                Reason.WRONG_SHAPE, f"{shape[1]} x {shape[0]} pixels; an image has {_MIN_SIDE} a side or more"
            )
        return Plane(self.hdus[number])

    def companion(self, number: int, names: tuple[str, ...]) -> Plane | None:
        """Return the extension of one of these names that goes with an image: same EXTVER, same shape."""
        version, shape = self.hdus[number].ver, self.hdus[number].shape
        for hdu in self.hdus:
            if hdu.name in names and hdu.ver == version and getattr(hdu, "shape", None) == shape:
                return Plane(hdu)
        return None


def _cards(header: fits.Header) -> dict[str, Any]:
    """Return a header's values; of a repeated keyword the first, without what does not parse."""
    values: dict[str, Any] = {}
    for card in header.cards:
        try:
            key, value = card.keyword, card.value
        except Exception:  # noqa: BLE001 — of astropy, for a card that is no card
            continue
        if key not in ("", "COMMENT", "HISTORY") and isinstance(value, str | int | float | bool):
            values.setdefault(key.upper(), value)
    return values


@contextmanager
def opened(archive: Folder, path: str, limit: int, *, planned: bool = False) -> Iterator[ImageFile]:
    """Open a file of an archive.

    Parameters
    ----------
    archive : Folder
        Where it is.
    path : str
        Its path there.
    limit : int
        Largest file, stored or unpacked, bytes.
    planned : bool, default: False
        It was read before: that it is gone now is another matter.

    Yields
    ------
    ImageFile
        The file, until the block ends.

    Raises
    ------
    Rejected
        If it is no FITS file, damaged, too large, or outside the archive.
    ArchiveUnreachable
        If the archive cannot be read.
    """
    with ExitStack() as stack:
        source = Source(archive, path, planned=planned, raw=True)
        if source.size > limit:
            raise Rejected(Reason.ABSURD_SIZE, f"{source.size} bytes, over {limit}; see max_gib in [images]")
        first = bytes(source.read(0, min(source.size, 30)))
        packed = first.startswith(b"\x1f\x8b")
        if not packed:
            _check_first(first)
        if packed or not archive.is_local:
            target, file = _unnamed(stack)
            sha256 = _copied(source, target, packed, limit)
            target.flush()
            _check_first(file.read(30))
        else:
            sha256 = _copied(source, None, packed, limit)
            file = stack.enter_context(open(archive.local(path), "rb"))
        _scan(file)
        file.seek(0)
        with _quiet():
            try:
                hdus = stack.enter_context(fits.open(file, **_OPEN))
            except (MemoryError, Rejected):
                raise
            except Exception as error:  # noqa: BLE001 — astropy raises all kinds at headers that make no sense
                text = f"{type(error).__name__}: {str(error)[:200]}"
                raise Rejected(Reason.BAD_HEADER, text) from None
            yield ImageFile(hdus, sha256, source.size)


def _unnamed(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """Return a temporary file to write and to read; it has no name, so that none is left by a process killed."""
    descriptor, name = tempfile.mkstemp(prefix="skysift-", suffix=".fits")
    try:
        target = stack.enter_context(os.fdopen(descriptor, "wb"))
        return target, stack.enter_context(open(name, "rb"))
    finally:
        os.unlink(name)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_first(first: bytes) -> None:
    if not first.startswith(b"SIMPLE  ="):
        begins = "gzip inside gzip" if first.startswith(b"\x1f\x8b") else first.decode("ascii", "backslashreplace")
        raise Rejected(Reason.NOT_FITS, f"begins with {printable(begins)}")


def _copied(source: Source, target: IO[bytes] | None, packed: bool, limit: int) -> str:
    """Return the checksum of a file as stored, and write its FITS bytes to `target` on the way."""
    digest, unpacker = hashlib.sha256(), _Unpacker(limit)
    for start in range(0, source.size, _CHUNK):
        piece = bytes(source.read(start, min(_CHUNK, source.size - start)))
        digest.update(piece)
        for part in unpacker.feed(piece) if packed else (piece,):
            if target is not None:
                target.write(part)
    if packed:
        unpacker.finish(source.size)
    return digest.hexdigest()


class _Unpacker:
    """A gzip stream of any number of members, unpacked piece by piece under a limit."""

    def __init__(self, limit: int) -> None:
        self._stream = zlib.decompressobj(wbits=31)
        self._limit, self._room, self._members = limit, limit, 1
        self._padding = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece of the file unpacks to."""
        while piece and not self._padding:
            if self._stream.eof:
                if not piece.startswith(b"\x1f"):
                    break
                self._members += 1
                if self._members > 1 << 16:
                    raise Rejected(Reason.BOMB, f"a gzip file of more than {1 << 16} members")
                self._stream = zlib.decompressobj(wbits=31)
            try:
                part = self._stream.decompress(piece, min(self._room + 1, _CHUNK))
            except zlib.error as error:
                raise Rejected(Reason.BAD_COMPRESSION, f"gzip: {error}") from None
            self._room -= len(part)
            if self._room < 0:
                raise Rejected(Reason.BOMB, f"unpacks to more than {self._limit} bytes; see max_gib in [images]")
            yield part
            piece = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        if piece:
            self._padding = True
            if piece.strip(b"\0"):
                raise Rejected(Reason.BAD_COMPRESSION, f"{len(piece)} bytes after the end of the gzip stream")

    def finish(self, size: int) -> None:
        """Check that the stream has come to its end."""
        if not self._stream.eof:
            raise Rejected(Reason.BAD_COMPRESSION, f"the gzip stream ends early, after {size} bytes")
        if self._room == self._limit:
            raise Rejected(Reason.EMPTY, f"{size} bytes that unpack to none")


def _scan(file: IO[bytes]) -> None:
    """Walk through the headers of a file, and check that each one's data are there, before astropy sees any."""
    size = os.fstat(file.fileno()).st_size
    start = 0
    for _ in range(_MAX_HDUS):
        header = _header(file, start)
        end = start + len(header.raw) + _data_size(header)
        if end > size:
            raise Rejected(Reason.TRUNCATED, f"{size} bytes, {header.name or 'primary'} needs {end}")
        start += len(header.raw) + -(-_data_size(header) // BLOCK) * BLOCK
        file.seek(start)
        if file.read(8) != b"XTENSION":
            return
    raise Rejected(Reason.ABSURD_SIZE, f"more than {_MAX_HDUS} extensions")


def _header(file: IO[bytes], start: int) -> Header:
    cards: dict[bytes, bytes] = {}
    raw = []
    file.seek(start)
    for _ in range(_MAX_HEADER_BLOCKS):
        block = file.read(BLOCK)
        raw.append(block)
        if len(block) < BLOCK:
            raise Rejected(Reason.TRUNCATED, f"{start + sum(map(len, raw))} bytes end inside a header")
        for at in range(0, BLOCK, CARD):
            key = block[at : at + 8]
            if key == b"END     ":
                return Header(b"".join(raw), cards)
            cards.setdefault(key, block[at + 8 : at + CARD])
    raise Rejected(Reason.ABSURD_SIZE, f"a header without END in {_MAX_HEADER_BLOCKS} blocks of {BLOCK} bytes")


def _data_size(header: Header) -> int:
    """Return the bytes of data that a header announces; a compressed image's pixels are checked as well."""
    if header.value("BITPIX") not in (8, 16, 32, 64, -32, -64):
        raise header.bad("BITPIX", "is none of 8, 16, 32, 64, -32, -64")
    if header.value("ZIMAGE") is True:
        pixels = 1
        for axis in range(1, header.integer("ZNAXIS", 0, 9) + 1):
            pixels *= header.integer(f"ZNAXIS{axis}", 0, 1 << 40)
        if pixels > _MAX_PIXELS:
            raise Rejected(Reason.BOMB, f"a compressed image of {pixels} pixels")
    axes = [header.integer(f"NAXIS{axis + 1}", 0, 1 << 40) for axis in range(header.integer("NAXIS", 0, 99))]
    elements = 0 if not axes or 0 in axes else 1
    for axis in axes:
        elements = min(elements * axis, 1 << 48)
    groups, extra = header.integer("GCOUNT", 0, 1 << 40, 1), header.integer("PCOUNT", 0, 1 << 40, 0)
    return abs(header.integer("BITPIX", -64, 64)) // 8 * groups * (extra + elements)
