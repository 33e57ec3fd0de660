"""What the quality plane of a stamp's file says of its pixels, in the bits of `pipeline.stamps.light`.

Nothing in FITS says what the bits of such a plane mean: each observatory has its own. A plane whose bits are not known
is not believed, nor is one that takes away most of the image.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Rejected
from pipeline.fits import CARD, Header
from pipeline.stamps.light import BAD, COSMIC_RAY, SATURATED, Mask

__all__ = ["NAMES", "marked"]

#: EXTNAMEs of quality planes.
NAMES = frozenset({"DQ", "DQM", "DQMASK", "MASK", "MSK"})

#: Share of the image from which on what a plane calls bad is not believed.
_TRUSTED = 0.5


@dataclass(frozen=True)
class _Bits:
    """What marks a pixel: bits, or codes, of which a pixel has one."""

    saturated: int | tuple[int, ...]
    cosmic_ray: int | tuple[int, ...]
    bad: int | tuple[int, ...]


# ACS Data Handbook, table 3.4, and WFC3 Data Handbook, table 3.3, which agree of CCDs in what matters. The dark of a
# stable hot or warm pixel (16, 64) is subtracted; an unstable one (32) is of no use, as are charge traps (1024).
_HST = _Bits(saturated=256 | 2048, cosmic_ray=4096 | 8192, bad=1 | 2 | 4 | 8 | 32 | 128 | 512 | 1024)

# The same table of WFC3's infrared detector: light in the first read (2048) is that of bright stars, and hits that were
# cut out of the ramps (8192) are gone, as is what the first read lacked (8).
_HST_IR = _Bits(saturated=256, cosmic_ray=4096, bad=1 | 2 | 4 | 32 | 128 | 512)

# jwst-pipeline.readthedocs.io, Data Quality Flags: DO_NOT_USE, SATURATED. Jumps (4) have been cut out of their ramps.
_JWST = _Bits(saturated=2, cosmic_ray=0, bad=1)

# outerspace.stsci.edu, PS1 Pixel flags in Image Table Data. Spikes, ghosts and cores of stars are light.
_PS1 = _Bits(saturated=0x20, cosmic_ray=0x100 | 0x800, bad=0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x2000)

# community.lsst.org/t/decam-data-quality-masks/133, after the NOAO Data Handbook: the Community Pipeline gives each
# pixel a code, before its version 3.5 it gave bits; DES gives bits of its own.
_DECAM = _Bits(saturated=(3, 4), cosmic_ray=(5,), bad=(1, 2))
_DECAM_OLD = _Bits(saturated=2 | 64, cosmic_ray=16 | 128, bad=1)
_DES = _Bits(saturated=2 | 64 | 128, cosmic_ray=16 | 1024, bad=1 | 8 | 512)

# Planes of the LSST pipelines, Subaru's too, name their bits: ``MP_SAT = 1`` (Bosch et al. 2018, PASJ 70, S5). In a
# coadd MP_CR says that one visit was hit, which was left out.
_NAMED = re.compile(rb"(?:HIERARCH )?MP_(SAT|BAD|NO_DATA) *= *(\d\d?)\b")


def marked(plane: NDArray[Any], headers: Sequence[Header]) -> Mask:
    """Return what a quality plane says.

    Parameters
    ----------
    plane : (ny, nx) float
        Its values.
    headers : sequence of Header
        Its own, the image's and the file's.

    Returns
    -------
    mask : (ny, nx) uint8
        1 saturated, 2 bad, 4 cosmic ray; 0 everywhere if it is not known what its values mean.
    """
    found = np.zeros(plane.shape, np.uint8)
    bits = _meaning(headers)
    if bits is None:
        return found
    whole = np.nan_to_num(plane, nan=0, posinf=0, neginf=0).astype(np.int64)
    for bit, values in ((SATURATED, bits.saturated), (COSMIC_RAY, bits.cosmic_ray), (BAD, bits.bad)):
        there = np.isin(whole, values) if isinstance(values, tuple) else (whole & values) != 0
        if bit == BAD and there.mean() > _TRUSTED:
            continue
        found |= np.where(there, bit, 0).astype(np.uint8)
    return found


def _meaning(headers: Sequence[Header]) -> _Bits | None:
    saturated = bad = 0
    for at in range(0, len(headers[0].raw), CARD):
        if (named := _NAMED.match(headers[0].raw, at)) and int(named[2]) < 63:
            saturated |= (named[1] == b"SAT") << int(named[2])
            bad |= (named[1] != b"SAT") << int(named[2])
    if saturated | bad:
        return _Bits(saturated, 0, bad)
    telescope, instrument = (str(_card(headers, key) or "").strip().upper() for key in ("TELESCOP", "INSTRUME"))
    if telescope == "HST" and str(_card(headers, "DETECTOR") or "").strip().upper() == "IR":
        return _HST_IR
    if telescope == "HST":
        return _HST if instrument in ("ACS", "WFC3") else None
    if telescope == "JWST":
        return _JWST
    if telescope.startswith("PS1") or instrument == "GPC1" or _card(headers, "PSCAMERA"):
        return _PS1
    if instrument == "DECAM":
        if headers[0].name == "MSK":
            return _DES
        version = str(_card(headers, "PLVER") or "").strip().upper().lstrip("V")
        return _DECAM_OLD if version[:3] < "3.5" and version[:1].isdigit() else _DECAM
    return None


def _card(headers: Sequence[Header], key: str) -> str | int | float | bool | None:
    """Return the first value that is there; what does not parse is not."""
    for header in headers:
        try:
            value = header.value(key)
        except Rejected:
            continue
        if value is not None:
            return value
    return None
