"""The headers of a FITS file one after the other, checked against limits and the file's length before astropy reads."""

import os
from typing import IO

from pipeline.errors import Reason, Rejected
from pipeline.fits import BLOCK, CARD, Header

__all__ = ["MAX_PIXELS", "check_layout"]

#: Largest image, pixels.
MAX_PIXELS = 1 << 29

_MAX_HDUS = 1024
_MAX_HEADER_BLOCKS = 1024


def check_layout(file: IO[bytes]) -> None:
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
        if pixels > MAX_PIXELS:
            raise Rejected(Reason.BOMB, f"a compressed image of {pixels} pixels")
    axes = [header.integer(f"NAXIS{axis + 1}", 0, 1 << 40) for axis in range(header.integer("NAXIS", 0, 99))]
    elements = 0 if not axes or 0 in axes else 1
    for axis in axes:
        elements = min(elements * axis, 1 << 48)
    groups, extra = header.integer("GCOUNT", 0, 1 << 40, 1), header.integer("PCOUNT", 0, 1 << 40, 0)
    return abs(header.integer("BITPIX", -64, 64)) // 8 * groups * (extra + elements)
