"""FITS files of images under guard: what extensions there are, and their pixels band by band.

Nothing in a header is believed before it is checked against limits and against the file's own length. A file is used
where it lies if it is local and not packed, else from a temporary copy; either way it is mapped, never read whole.
"""

import os
import tempfile
import warnings
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
from pipeline.fits import printable
from pipeline.images.headers import Cards
from pipeline.images.layout import MAX_PIXELS, check_layout
from pipeline.images.unpacking import copied

__all__ = ["ImageFile", "Plane", "opened"]

_MIN_SIDE, _MAX_SIDE = 32, 1 << 17
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
        if min(shape) < _MIN_SIDE or max(shape) > _MAX_SIDE or shape[0] * shape[1] > MAX_PIXELS:
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
    """Return a header's values; of a repeated keyword the first."""
    values: dict[str, Any] = {}
    for card in header.cards:
        if card.keyword not in ("", "COMMENT", "HISTORY") and isinstance(card.value, str | int | float | bool):
            values.setdefault(card.keyword.upper(), card.value)
    return values


def _tidy(header: fits.Header) -> None:
    """Remove the cards that do not parse, which would stop the reading of others, and names that are no text."""
    for number in reversed(range(len(header))):
        try:
            card = header.cards[number]
            key, value = card.keyword, card.value
            sane = key != "EXTNAME" or isinstance(value, str)
        except Exception:  # noqa: BLE001 — of astropy, for a card that is no card
            sane = False
        if not sane:
            del header[number]


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
            sha256 = copied(source, target, packed, limit)
            target.flush()
            _check_first(file.read(30))
        else:
            sha256 = copied(source, None, packed, limit)
            file = stack.enter_context(open(archive.local(path), "rb"))
        check_layout(file)
        file.seek(0)
        with _quiet():
            try:
                hdus = stack.enter_context(fits.open(file, **_OPEN))
                for hdu in hdus:
                    _tidy(hdu.header)
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
