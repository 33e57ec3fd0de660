"""Simulated light curves as files: the layout that SPOC writes, byte for byte of the same shape.

Two-minute and 20-second files are named and headed as SPOC's, 30-min, 10-min and 200-s ones as TESS-SPOC's
full-frame light curves. All say SIMDATA = T, the standard card for simulated data (F in every real file).
"""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.simulate.cards import COLUMNS, aperture_cards, primary_cards, table_cards, utc
from pipeline.simulate.hdu import BLOCK, Value, hdu_header
from pipeline.simulate.lightcurves import SimulatedCurve, simulate_stars
from pipeline.simulate.sector import sector_clock
from pipeline.simulate.stars import Star

__all__ = ["archive_path", "spoc_bytes", "write_archive", "write_spoc"]

_DTYPE = np.dtype([(c[0], {"D": ">f8", "E": ">f4", "J": ">i4"}[c[1]]) for c in COLUMNS])


def write_spoc(path: str | Path, curve: SimulatedCurve, cards: Mapping[str, Value] | None = None) -> None:
    """Write a light curve as SPOC would.

    Parameters
    ----------
    path : str or Path
        File to write; its folders are made.
    curve : SimulatedCurve
        From `pipeline.simulate.lightcurves`.
    cards : mapping, optional
        Header values that replace the usual ones wherever the card occurs, such as {'DATA_REL': 99}.

    Raises
    ------
    KeyError
        If no header has such a card.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(spoc_bytes(curve, cards))


def spoc_bytes(curve: SimulatedCurve, cards: Mapping[str, Value] | None = None) -> bytes:
    """Return the bytes that `write_spoc` writes: the same for the same curve and cards.

    Parameters
    ----------
    curve : SimulatedCurve
        From `pipeline.simulate.lightcurves`.
    cards : mapping, optional
        Header values that replace the usual ones.

    Returns
    -------
    bytes
        A whole FITS file.

    Raises
    ------
    KeyError
        If no header has such a card.
    """
    cards = dict(cards or {})
    headers = [primary_cards(curve), table_cards(curve), aperture_cards(curve)]
    known = {key for header in headers for key, _, _ in header}
    if unknown := cards.keys() - known:
        raise KeyError(f"no card {', '.join(sorted(unknown))} in a SPOC light curve")
    units = [np.empty(0, np.uint8), _table(curve), _aperture(curve)]
    parts = [(hdu_header(h, unit, cards), unit.data) for h, unit in zip(headers, units, strict=True)]
    return b"".join(piece for part in parts for piece in part)


def archive_path(curve: SimulatedCurve) -> str:
    """Path in an archive: `s001/` and the name that SPOC or TESS-SPOC would give the file.

    Parameters
    ----------
    curve : SimulatedCurve
        A light curve.

    Returns
    -------
    str
        Relative path.
    """
    start = utc(float(sector_clock(curve.sector, curve.cadence_s).time[0]))
    stem, tic = f"tess{start:%Y%j%H%M%S}-s{curve.sector:04d}", f"{curve.tic_id:016d}"
    if curve.cadence_s > 120:
        name = f"hlsp_tess-spoc_tess_phot_{tic}-s{curve.sector:04d}_tess_v1_lc.fits"
    elif curve.cadence_s < 120:
        name = f"{stem}-{tic}-0120-a_fast-lc.fits"
    else:
        name = f"{stem}-{tic}-0120-s_lc.fits"
    return f"s{curve.sector:03d}/{name}"


def write_archive(
    folder: str | Path,
    sectors: Iterable[int],
    n: int,
    seed: int,
    cadences: Iterable[float] = (120.0,),
    fraction_eb: float = 0.5,
) -> list[Path]:
    """Write an archive of simulated stars, `FOLDER/s001/*.fits`, and the truth, `FOLDER/truth.csv`.

    Parameters
    ----------
    folder : str or Path
        Where; made if absent.
    sectors : iterable of int
        Sectors in which every star is seen.
    n : int
        Number of stars.
    seed : int
        Seed of truth and noise, >= 0.
    cadences : iterable of float
        Seconds, each of `pipeline.simulate.sector.CADENCES`: one file a star, sector and cadence.
    fraction_eb : float
        Share of eclipsing binaries.

    Returns
    -------
    list of Path
        The light curves written.
    """
    folder, cadences = Path(folder), tuple(cadences)
    paths, truth = [], {}
    for sector in sectors:
        for cadence_s in cadences:
            for curve in simulate_stars(n, sector, seed, cadence_s, fraction_eb):
                path = folder / archive_path(curve)
                write_spoc(path, curve)
                paths.append(path)
                truth[curve.tic_id] = _truth(curve)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "truth.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Star) if f.name != "source"] + ["label"])
        writer.writeheader()
        writer.writerows(truth[tic_id] for tic_id in sorted(truth))
    return paths


def _truth(star: Star) -> dict[str, Value]:
    row = {f.name: getattr(star, f.name) for f in fields(Star) if f.name != "source"}
    row = {key: "" if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
    return row | {"label": star.label}


def _table(curve: SimulatedCurve) -> NDArray[np.uint8]:
    size = curve.time.size * _DTYPE.itemsize
    unit = np.zeros(size + -size % BLOCK, np.uint8)
    table = unit[:size].view(_DTYPE)
    for name, *_, field in COLUMNS:
        table[name] = np.nan if field is None else getattr(curve, field)
    return unit


def _aperture(curve: SimulatedCurve) -> NDArray[np.uint8]:
    """Pixel mask of an 11 x 11 stamp: 1 collected, 2 aperture, 4 background, 8 centroid, 64 output B."""
    y, x = np.mgrid[-5:6, -5:6]
    order = np.argsort((x**2 + y**2 + 0.1 * x + 0.01 * y).ravel(), kind="stable")
    unit = np.zeros(BLOCK, np.uint8)
    mask = unit[: 121 * 4].view(">i4")
    mask[:] = 65
    mask[order[: curve.n_pixels]] += 2 + 8
    mask[order[70:]] += 4
    return unit
