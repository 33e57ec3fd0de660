"""Files that no archive should have and every archive has: light curves, each spoilt in its own way."""

from pathlib import Path

import numpy as np

from pipeline.simulate.lightcurves import SimulatedCurve, observe
from pipeline.simulate.sector import MANUAL_EXCLUDE
from pipeline.simulate.spoc import archive_path, spoc_bytes
from pipeline.simulate.stars import draw_star, simulated_tic_id

__all__ = ["write_damaged"]


def write_damaged(folder: str | Path, sector: int, seed: int) -> list[Path]:
    """Write files that cannot be used, each for another reason.

    Parameters
    ----------
    folder : str or Path
        Top of an archive; the files go below, as those of `pipeline.simulate.spoc.write_archive` do.
    sector : int
        Sector.
    seed : int
        Seed of the stars: one that the archive has not.

    Returns
    -------
    list of Path
        Ten files. Eight are rejected: empty, cut off, a server's error page, pixels instead of a light curve,
        of another sector, without a finite flux, one bit flipped, and a copy of a good one. The others are
        that good one and one with two days of good data, too few for a segment.
    """
    curves = [observe(draw_star(simulated_tic_id(n, seed), seed), sector, seed) for n in range(9)]
    whole = [spoc_bytes(curve) for curve in curves]
    middle = len(whole[6]) // 2
    dark, short = curves[5], curves[8]
    dark.flux[np.isfinite(dark.time)] = np.nan
    for column in (dark.flux, dark.flux_err):  # a flux, but at no time
        column[~np.isfinite(dark.time)] = 1.0
    short.quality[short.time.size // 13 :] |= MANUAL_EXCLUDE
    spoilt = [
        b"",
        whole[1][:middle],
        b"<!doctype html><title>503 Service Unavailable</title>",
        whole[3].replace(b"'LIGHTCURVE'", b"'PIXELS'    "),
        spoc_bytes(curves[4], {"SECTOR": sector + 1}),
        spoc_bytes(dark),
        whole[6][:middle] + bytes([whole[6][middle] ^ 0x40]) + whole[6][middle + 1 :],
        whole[7],
        spoc_bytes(short),
    ]
    paths = [_write(Path(folder), curve, data) for curve, data in zip(curves, spoilt, strict=True)]
    return [*paths, _write(Path(folder), curves[7], whole[7], "_copy")]


def _write(folder: Path, curve: SimulatedCurve, data: bytes, suffix: str = "") -> Path:
    path = folder / archive_path(curve)
    path = path.with_stem(path.stem + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)
    return path
