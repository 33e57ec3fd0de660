"""Which cadences real sectors lost: QUALITY and missing values of real two-minute light curves, run by run.

``flags.json`` beside this module holds what 27 SPOC files of sectors 1 to 65 say of their CCDs: cadence by cadence
QUALITY, whether TIME, SAP_FLUX and PDCSAP_FLUX are NaN. Bits that belong to a star or a row of pixels (64 cosmic ray
in the aperture, 256 discontinuity, 512 impulsive outlier, 1024 cosmic ray in the collateral data) are taken out, so
the patterns are of a sector and a CCD, not of a star. It was made by
``python -m pipeline.simulate.flags FOLDER``, FOLDER holding the FITS files.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_PDCSAP", "NO_SAP", "NO_TIME", "derive", "patterns", "unroll"]

#: Bits above SPOC's: TIME, SAP_FLUX, PDCSAP_FLUX are NaN.
NO_TIME, NO_SAP, NO_PDCSAP = 1 << 20, 1 << 21, 1 << 22

_OF_STARS = 64 | 256 | 512 | 1024
_FILE = Path(__file__).with_name("flags.json")

Pattern = dict[str, Any]


@cache
def patterns() -> dict[int, list[Pattern]]:
    """Read the patterns that ship with the simulator.

    Returns
    -------
    dict of int to list of dict
        By sector; each pattern has sector, camera, ccd, first (number of its first two-minute cadence) and runs, a list
        of [value, length], value being QUALITY with `NO_TIME`, `NO_SAP` and `NO_PDCSAP`.
    """
    found: dict[int, list[Pattern]] = {}
    for pattern in json.loads(_FILE.read_text()):
        found.setdefault(pattern["sector"], []).append(pattern)
    return found


def unroll(pattern: Pattern) -> NDArray[np.int32]:
    """Write a pattern out.

    Parameters
    ----------
    pattern : dict
        From `patterns`.

    Returns
    -------
    (n,) int32
        One value a two-minute cadence.
    """
    runs = np.array(pattern["runs"], dtype=np.int32)
    return np.repeat(runs[:, 0], runs[:, 1])


def derive(folder: str | Path) -> list[Pattern]:
    """Find the patterns of real files; files with the same pattern count once.

    Parameters
    ----------
    folder : str or Path
        Two-minute SPOC light curves, at any depth.

    Returns
    -------
    list of dict
        As in `patterns`, by sector, camera and CCD.
    """
    from astropy.io import fits

    found: dict[tuple[int, str], Pattern] = {}
    for path in sorted(Path(folder).rglob("*.fits")):
        with fits.open(path) as hdus:
            header, table = hdus[0].header, hdus[1].data
            value = np.asarray(table["QUALITY"], dtype=np.int32) & ~_OF_STARS
            for column, bit in (("TIME", NO_TIME), ("SAP_FLUX", NO_SAP), ("PDCSAP_FLUX", NO_PDCSAP)):
                value[np.isnan(table[column])] |= bit
            starts = np.flatnonzero(np.r_[True, value[1:] != value[:-1]])
            lengths = np.diff(np.r_[starts, value.size])
            runs = np.stack([value[starts], lengths], axis=1).tolist()
            place = {name: int(header[name.upper()]) for name in ("sector", "camera", "ccd")}
            pattern = {**place, "first": int(table["CADENCENO"][0]), "runs": runs}
        found.setdefault((place["sector"], json.dumps(runs)), pattern)
    return sorted(found.values(), key=lambda p: (p["sector"], p["camera"], p["ccd"], len(p["runs"])))


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(pattern, separators=(",", ":")) for pattern in derive(sys.argv[1]))
    _FILE.write_text(f"[\n{lines}\n]\n")
