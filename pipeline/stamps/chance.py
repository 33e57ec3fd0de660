"""How often a star that has nothing to do with the source stands as near by chance."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import UsageError

__all__ = ["chance", "read_counts", "surface_density"]

_NEEDED = ("mag", "per_arcsec2")

#: Counts of a place tell of no other further away, deg, and of no stars so much fainter or brighter, mag.
_NEAR, _BEYOND = 5.0, 2.0


def chance(separation: ArrayLike, density: ArrayLike) -> NDArray[np.float64]:
    """Return the probability that a star is as near by chance.

    p = 1 − exp(−π ρ² Σ), as of a Poisson process over the sky (e.g. Ciardi et al. 2015, ApJ 805, 16).

    Parameters
    ----------
    separation : array_like
        ρ, arcsec.
    density : array_like
        Σ, stars an arcsec² that are as bright as the companion or brighter.
    """
    rho = np.asarray(separation, float)
    return np.asarray(-np.expm1(-np.pi * rho**2 * np.asarray(density, float)))


def read_counts(path: str | Path) -> pd.DataFrame:
    """Return a table of star counts.

    Parameters
    ----------
    path : str or Path
        CSV, ECSV, Parquet or FITS with a row a magnitude (and, if there are columns ra and dec in degrees, a place):
        ``mag`` and ``per_arcsec2`` (or ``per_deg2``), stars brighter than ``mag``; of one band, the fits'.

    Raises
    ------
    UsageError
        If a column is missing, or counts fall with magnitude.
    """
    from pipeline.stamps.gaia import read_table

    table = read_table(path)
    if "per_deg2" in table and "per_arcsec2" not in table:
        table["per_arcsec2"] = table["per_deg2"] / 3600**2
    if absent := [name for name in _NEEDED if name not in table]:
        raise UsageError(f"{path}: no column {', '.join(absent)}; star counts need mag and per_arcsec2 or per_deg2")
    for name in ("mag", "per_arcsec2"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    places = ["ra", "dec"] if {"ra", "dec"} <= set(table) else []
    table = table.dropna(subset=[*_NEEDED, *places]).sort_values([*places, "mag"], ignore_index=True)
    groups = [one for _, one in table.groupby(places)] if places else [table]
    if table.empty or any((np.diff(one["per_arcsec2"]) < 0).any() for one in groups):
        raise UsageError(f"{path}: per_arcsec2 must grow with mag: it counts all stars brighter than mag, at one place")
    return table


def surface_density(counts: pd.DataFrame, mag: float, ra: float = np.nan, dec: float = np.nan) -> float:
    """Return stars an arcsec² brighter than `mag`, by the place of the table nearest to ra, dec.

    Parameters
    ----------
    counts : DataFrame
        As `read_counts` returns it.
    mag : float
        Of the companion, in the table's band.
    ra, dec : float
        Deg; of no use where the table has no places.

    Returns
    -------
    float
        Between two rows the logarithm is interpolated; up to 2 mag before the first and after the last row the slope
        of the nearest two goes on. NaN further away, of a `mag` that is, and more than 5 deg from any place of the
        table.
    """
    if not np.isfinite(mag):
        return float("nan")
    if {"ra", "dec"} <= set(counts) and np.isfinite(ra) and np.isfinite(dec):
        east = np.radians((counts["ra"] - ra + 180) % 360 - 180) * np.cos(np.radians((counts["dec"] + dec) / 2))
        apart = np.hypot(east, np.radians(counts["dec"] - dec))
        if apart.min() > np.radians(_NEAR):
            return float("nan")
        nearest = counts.loc[apart.idxmin()]
        counts = counts[(counts["ra"] == nearest["ra"]) & (counts["dec"] == nearest["dec"])]
    mags = counts["mag"].to_numpy()
    logs = np.log10(np.maximum(counts["per_arcsec2"].to_numpy(), 1e-12))
    if not mags[0] - _BEYOND <= mag <= mags[-1] + _BEYOND:
        return float("nan")
    if mags.size == 1:
        return float(10 ** logs[0])
    if mag < mags[0]:
        value = logs[0] + (mag - mags[0]) * (logs[1] - logs[0]) / max(mags[1] - mags[0], 1e-6)
    elif mag > mags[-1]:
        value = logs[-1] + (mag - mags[-1]) * (logs[-1] - logs[-2]) / max(mags[-1] - mags[-2], 1e-6)
    else:
        value = np.interp(mag, mags, logs)
    return float(10**value)
