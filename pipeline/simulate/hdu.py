"""The bytes of a FITS header-data unit with its checksums.

Formatted here rather than by astropy, which takes longer over the 250 cards of a light curve than over its
data.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "Card", "Value", "hdu_header"]

Value = bool | int | float | str
Card = tuple[str, Value, str]

BLOCK = 2880  #: FITS is written in blocks of so many bytes
_PUNCTUATION = frozenset([*range(0x3A, 0x41), *range(0x5B, 0x61)])  # between the letters and digits of ASCII


def hdu_header(header: list[Card], data: NDArray[np.uint8], replaced: Mapping[str, Value]) -> bytes:
    """Write the header of a data unit, with valid CHECKSUM and DATASUM.

    Parameters
    ----------
    header : list of (keyword, value, comment)
        Cards in order.
    data : (k * 2880,) uint8
        The data unit, padded.
    replaced : mapping
        Values that take the place of the header's.

    Returns
    -------
    bytes
        A multiple of 2880, to be followed by the data.
    """
    cards = [_format(key, replaced.get(key, value), comment) for key, value, comment in header]
    datasum = _add32(data)
    cards += [
        _format("CHECKSUM", "0" * 16, "HDU checksum"),
        _format("DATASUM", str(datasum), "data unit checksum"),
    ]
    text = "".join([*cards, "END".ljust(80)])
    text += " " * (-len(text) % BLOCK)
    total = _add32(np.frombuffer(text.encode("ascii"), np.uint8), datasum)
    return text.replace("'" + "0" * 16 + "'", f"'{_checksum(total)}'", 1).encode("ascii")


def _format(key: str, value: Value, comment: str) -> str:
    if key == "HISTORY":
        return f"HISTORY {value}".ljust(80)
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = f"'{value:<8}'".ljust(20)
    elif isinstance(value, float):
        text = f"{'' if math.isnan(value) else repr(float(value)).upper():>20}"
    else:
        text = f"{value:>20}"
    return f"{key:<8}= {text} / {comment}"[:80].ljust(80)


def _add32(data: NDArray[np.uint8], total: int = 0) -> int:
    """Ones'-complement sum of 32-bit words (FITS standard 4.0, appendix J)."""
    total += int(data.view(">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _checksum(total: int) -> str:
    """Sixteen letters and digits that bring an HDU's sum to all ones (FITS standard 4.0, appendix J)."""
    text = np.zeros((4, 4), dtype=int)
    for i, byte in enumerate((~total & 0xFFFFFFFF).to_bytes(4, "big")):
        four = [byte // 4 + 48 + (byte % 4 if j == 0 else 0) for j in range(4)]
        while bad := [j for j in range(4) if four[j] in _PUNCTUATION]:
            pair = bad[0] // 2 * 2
            four[pair], four[pair + 1] = four[pair] + 1, four[pair + 1] - 1
        text[:, i] = four
    letters = "".join(chr(c) for c in text.ravel())
    return letters[-1] + letters[:-1]
