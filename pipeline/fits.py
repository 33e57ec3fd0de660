"""Guarded reading of other people's FITS files: whatever the bytes are, the answer is data or `Rejected`.

Nothing in a header is believed before it is checked against limits and against the file's own length, and
no size in it is ever allocated. Headers are read block by block, their cards parsed only when asked for;
tables are strided views of the bytes as they lie. What makes this worth having beside astropy: a fraction of
its time, and one kind of exception only, whatever the bytes.

The format: FITS standard 4.0, https://fits.gsfc.nasa.gov/fits_standard.html.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive import MAX_BYTES, Source, check_inside, printable, unpack, unprintable
from pipeline.errors import Reason, Rejected

__all__ = [
    "BLOCK",
    "MAX_BYTES",
    "Column",
    "Hdu",
    "Header",
    "Source",
    "Table",
    "check_inside",
    "check_sums",
    "hdus",
    "ones_complement_sum",
    "printable",
    "unpack",
    "unprintable",
]

BLOCK, CARD = 2880, 80

MAX_HEADER_BLOCKS = 64
MAX_HDUS = 16

_WIDTHS = dict(zip("LXBIJKAEDCMPQ", (1, 1, 1, 2, 4, 8, 1, 4, 8, 8, 16, 8, 16), strict=True))

_STRING = re.compile(rb"(?s)= *'((?:[^']|'')*)' *(?:/.*)?")
_OTHER = re.compile(rb"(?s)= *([^ /']*) *(?:/.*)?")
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([EDed][+-]?\d+)?", re.ASCII)
_TFORM = re.compile(r"(\d{0,9})([LXBIJKAEDCMPQ])(.*)", re.ASCII)


class Header:
    """The cards of one header, parsed when asked for; of a repeated keyword the first counts, as in astropy.

    Parameters
    ----------
    raw : bytes
        Whole blocks, END included.
    cards : dict
        Keyword, padded to 8 bytes → the other 72 bytes of its card.
    """

    def __init__(self, raw: bytes, cards: dict[bytes, bytes]) -> None:
        self.raw = raw
        self._cards = cards

    def value(self, key: str) -> str | int | float | bool | None:
        """Return a value: str, int, float, bool, or None where the keyword is absent or its value undefined.

        Raises
        ------
        Rejected
            With `Reason.BAD_HEADER` if the card cannot be parsed.
        """
        card = self._cards.get(key.ljust(8).encode())
        if card is None or not card.startswith(b"= "):
            return None
        quoted = card[1:].lstrip(b" ").startswith(b"'")
        match = (_STRING if quoted else _OTHER).fullmatch(card)
        if not match or not match[1].isascii():
            raise self.bad(key, "is not a FITS value")
        text = match[1].decode()
        if quoted:
            return text.replace("''", "'").rstrip(" ")
        if text in ("", "T", "F"):
            return text == "T" if text else None
        if _INTEGER.fullmatch(text):
            return int(text)
        if not _FLOAT.fullmatch(text):
            raise self.bad(key, "is not a FITS value")
        return float(text.upper().replace("D", "E"))

    def bad(self, key: str, what: str, reason: Reason = Reason.BAD_HEADER) -> Rejected:
        """Return the error that names a card and what is wrong with it."""
        card = self._cards.get(key.ljust(8).encode(), b" absent").decode("ascii", "backslashreplace")
        return Rejected(reason, f"{key} {printable(' '.join(card.split(' /')[0].split()))} {what}")

    def text(self, key: str, default: str = "") -> str:
        """Return a string, or `default` where there is none."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value.isprintable():
            raise self.bad(key, "is not a string")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """Return an integer within bounds; without a `default` it must be there."""
        value = self.value(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.bad(key, f"is not an integer from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """Return a real number within bounds, NaN where there is none."""
        value = self.value(key)
        if value is None:
            return math.nan
        if isinstance(value, bool | str) or not low <= value <= high:
            raise self.bad(key, f"is not a number from {low:g} to {high:g}")
        return float(value)

    @property
    def name(self) -> str:
        """EXTNAME, in capitals."""
        return self.text("EXTNAME").upper()

    @cached_property
    def data_size(self) -> int:
        """Size of the data this header announces, bytes, padding not counted; no more than `MAX_BYTES`."""
        if self.value("BITPIX") not in (8, 16, 32, 64, -32, -64):
            raise self.bad("BITPIX", "is none of 8, 16, 32, 64, -32, -64")
        axes = [self._axis(f"NAXIS{i + 1}") for i in range(self.integer("NAXIS", 0, 999))]
        elements = 0 if not axes or 0 in axes else 1
        for axis in axes:
            elements = min(elements * axis, MAX_BYTES + 1)  # the product of 999 axes has thousands of digits
        groups = self._axis("GCOUNT", 1)
        size = abs(self.integer("BITPIX", -64, 64)) // 8 * groups * (self._axis("PCOUNT", 0) + elements)
        if size > MAX_BYTES:
            shape = " x ".join(str(axis) for axis in axes[:4])
            raise Rejected(Reason.ABSURD_SIZE, f"{self.name or 'primary'} announces {shape} elements, over {MAX_BYTES}")
        return size

    def _axis(self, key: str, default: int | None = None) -> int:
        value = self.value(key)
        if isinstance(value, int) and value > 1 << 40:
            raise self.bad(key, "is beyond any file", Reason.ABSURD_SIZE)
        return self.integer(key, 0, 1 << 40, default)


@dataclass(frozen=True)
class Hdu:
    """A header and where it lies; its data follow."""

    header: Header
    start: int

    @property
    def data_start(self) -> int:
        """Offset of the data in the file, bytes."""
        return self.start + len(self.header.raw)

    @property
    def end(self) -> int:
        """Offset of the next header, bytes."""
        return self.data_start + -(-self.header.data_size // BLOCK) * BLOCK


def hdus(source: Source) -> Iterator[Hdu]:
    """Walk through the HDUs of a file, lazily; each one's data are in the file before the next is looked for.

    Raises
    ------
    Rejected
        If the file is no FITS file, ends early, or a header on the way makes no sense.
    """
    first = bytes(source.read(0, min(source.length, 30)))
    if not first.startswith(b"SIMPLE  ="):
        begins = "gzip inside gzip" if first.startswith(b"\x1f\x8b") else first.decode("ascii", "backslashreplace")
        raise Rejected(Reason.NOT_FITS, f"begins with {printable(begins)}")
    start = 0
    for _ in range(MAX_HDUS):
        hdu = Hdu(_header(source, start), start)
        yield hdu
        if hdu.data_start + hdu.header.data_size > source.length:
            name = hdu.header.name or "primary"
            wanted = hdu.data_start + hdu.header.data_size
            raise Rejected(Reason.TRUNCATED, f"{source.length} bytes, {name} needs {wanted}")
        start = hdu.end
        # Anything but an extension is what the standard calls special records.
        if start + 8 > source.length or bytes(source.read(start, 8)) != b"XTENSION":
            return


def _header(source: Source, start: int) -> Header:
    cards: dict[bytes, bytes] = {}
    for number in range(MAX_HEADER_BLOCKS):
        block = bytes(source.read(start + number * BLOCK, BLOCK))
        for at in range(0, BLOCK, CARD):
            key = block[at : at + 8]
            if key == b"END     ":
                return Header(bytes(source.read(start, (number + 1) * BLOCK)), cards)
            cards.setdefault(key, block[at + 8 : at + CARD])
    raise Rejected(Reason.ABSURD_SIZE, f"a header without END in {MAX_HEADER_BLOCKS} blocks of {BLOCK} bytes")


@dataclass(frozen=True)
class Column:
    """A column of a binary table: TFORM's code and repeat count, and its offset in a row, bytes."""

    name: str
    code: str
    repeat: int
    offset: int


class Table:
    """Layout of a binary table.

    Parameters
    ----------
    hdu : Hdu
        Its header.

    Attributes
    ----------
    rows, row_bytes, start : int
        NAXIS2, NAXIS1, and where the first row lies in the file.
    columns : dict
        Name in capitals → `Column`; of a repeated name the first counts.
    """

    def __init__(self, hdu: Hdu) -> None:
        header = hdu.header
        mandatory = {"XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "GCOUNT": 1}
        for key, wanted in mandatory.items():
            if header.value(key) != wanted:
                raise header.bad(key, f"must be {wanted} in a table")
        _ = header.data_size  # raises where the sizes make no sense
        self.rows, self.row_bytes = (
            header.integer("NAXIS2", 0, MAX_BYTES),
            header.integer("NAXIS1", 0, MAX_BYTES),
        )
        self.start, self._header = hdu.data_start, header
        self.columns: dict[str, Column] = {}
        self._numbers: dict[str, int] = {}
        offset = 0
        for number in range(1, header.integer("TFIELDS", 0, 999) + 1):
            column = self._column(number, offset)
            if self.columns.setdefault(column.name, column) is column:
                self._numbers[column.name] = number
            repeat = -(-column.repeat // 8) if column.code == "X" else column.repeat
            offset += repeat * _WIDTHS[column.code]
        if offset != self.row_bytes:
            raise header.bad("NAXIS1", f"but the columns are {offset} bytes wide")

    def _column(self, number: int, offset: int) -> Column:
        match = _TFORM.fullmatch(self._header.text(f"TFORM{number}"))
        if not match:
            raise self._header.bad(f"TFORM{number}", "is not a format of a binary table")
        name = self._header.text(f"TTYPE{number}").upper()
        return Column(name, match[2], int(match[1] or 1), offset)

    def column(self, name: str, codes: str) -> Column:
        """Return a column of one number a row.

        Parameters
        ----------
        name : str
            TTYPE.
        codes : str
            The codes of TFORM that will do, such as ``"DE"``.

        Raises
        ------
        Rejected
            With `Reason.MISSING_COLUMN` if it is absent, of another type, an array, or scaled by TSCAL or
            TZERO.
        """
        column = self.columns.get(name)
        if column is None:
            raise Rejected(Reason.MISSING_COLUMN, f"no column {name}")
        number = self._numbers[name]
        if column.code not in codes or column.repeat != 1:
            wanted = f"of {name}, which must be {' or '.join(codes)}"
            raise self._header.bad(f"TFORM{number}", wanted, Reason.MISSING_COLUMN)
        for key, neutral in ((f"TSCAL{number}", 1), (f"TZERO{number}", 0)):
            if self._header.value(key) not in (None, neutral):
                raise self._header.bad(key, f"scales {name}: scaled columns are not read", Reason.MISSING_COLUMN)
        return column

    def values(self, data: memoryview, column: Column) -> NDArray[Any]:
        """Return a column in native byte order, every bit kept.

        Parameters
        ----------
        data : memoryview
            Whole rows; as many values are returned.
        column : Column
            Of code B, I, J, K, E or D.
        """
        kind = {"B": "u1", "I": "i2", "J": "i4", "K": "i8", "E": "f4", "D": "f8"}[column.code]
        rows = len(data) // self.row_bytes
        # Moved as integers: a float register might quieten a signalling NaN.
        swapped = np.ndarray((rows,), f">u{kind[1]}", data, column.offset, (self.row_bytes,))
        return swapped.astype(f"=u{kind[1]}").view(kind)


def check_sums(source: Source, hdu: Hdu) -> str:
    """Check an HDU against DATASUM, or, where there is none, against CHECKSUM.

    DATASUM is about the data alone. CHECKSUM, the only one in TESS files, is about header and data, and
    programs that edit a file leave it as it was (astropy, cfitsio): so what it says is returned, not raised.

    Returns
    -------
    str
        Empty, or that header and data do not add up to CHECKSUM.

    Raises
    ------
    Rejected
        With `Reason.CHECKSUM` if the data do not add up to DATASUM.

    Notes
    -----
    Seaman, Pence & Rots 2012, arXiv:1201.1345.
    """
    header = hdu.header
    datasum, checksum = header.value("DATASUM"), header.value("CHECKSUM")
    if datasum not in (None, ""):
        found = ones_complement_sum(source.read(hdu.data_start, min(hdu.end, source.length) - hdu.data_start))
        if not _INTEGER.fullmatch(str(datasum)) or int(datasum) % 0xFFFFFFFF != found:
            raise header.bad("DATASUM", f"but the data add up to {found}: damaged; fetch it again", Reason.CHECKSUM)
    elif checksum not in (None, "") and ones_complement_sum(
        source.read(hdu.start, min(hdu.end, source.length) - hdu.start)
    ):
        return "header and data do not add up to CHECKSUM: damaged, or edited since it was written"
    return ""


def ones_complement_sum(data: memoryview) -> int:
    """Return the 32-bit ones' complement sum of bytes as big-endian words, with 0 for all ones."""
    words = len(data) // 4
    total = int(np.frombuffer(data, ">u4", words).sum(dtype=np.uint64))
    return (total + int.from_bytes(bytes(data[4 * words :]).ljust(4, b"\0"), "big")) % 0xFFFFFFFF
