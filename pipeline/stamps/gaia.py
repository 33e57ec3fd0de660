"""What Gaia says of a source and of its companion, from a table that the user has."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.errors import UsageError

__all__ = ["COLUMNS", "Gaia", "julian_year", "modified_julian_date", "read_table"]

#: Columns of the catalogue that Gaia fills.
COLUMNS = ("gaia_id_1", "gaia_id_2", "plx_diff_sigma", "pm_diff_sigma", "ruwe", "ipd_frac_multi_peak")

#: Names in Gaia's own releases and in other tables that are the same.
_ALIASES = {
    "source_id": ("source_id", "gaia_id", "gaia_source_id", "dr3_source_id", "designation", "source"),
    "ra": ("ra", "ra_icrs", "raj2000"),
    "dec": ("dec", "de_icrs", "dej2000"),
    "parallax": ("parallax", "plx"),
    "parallax_error": ("parallax_error", "e_plx"),
    "pmra": ("pmra", "pmra_cosdec"),
    "pmra_error": ("pmra_error", "e_pmra"),
    "pmdec": ("pmdec", "pmde"),
    "pmdec_error": ("pmdec_error", "e_pmde"),
    "ruwe": ("ruwe",),
    "ipd_frac_multi_peak": ("ipd_frac_multi_peak", "ipdfmp"),
    "phot_g_mean_mag": ("phot_g_mean_mag", "gmag", "g_mag"),
    "ref_epoch": ("ref_epoch", "epoch"),
}

#: Arcsec within which the source itself is looked for, and least error of a companion's place.
_SOURCE, _FLOOR = 1.0, 0.1

#: Errors within which the companion must lie.
_SIGMAS = 3.0

#: Epoch of Gaia's positions where the table does not say, Julian year.
_EPOCH = 2016.0


def modified_julian_date(year: float) -> float:
    """Return the modified Julian date of a Julian year."""
    return 51544.5 + (year - 2000) * 365.25


def julian_year(mjd: float | pd.Series) -> float | pd.Series:
    """Return the Julian year of a modified Julian date."""
    return 2000 + (mjd - 51544.5) / 365.25


def read_table(path: str | Path) -> pd.DataFrame:
    """Return a table of CSV, ECSV, Parquet or FITS (.gz too), columns in lower case.

    Raises
    ------
    UsageError
        If it is not there or not readable.
    """
    if not Path(path).is_file():
        raise UsageError(f"{path}: no file")
    from astropy.io.registry import IORegistryError
    from astropy.table import Table

    name = str(path).lower().removesuffix(".gz")
    try:
        if name.endswith((".parquet", ".pq")):
            table = pd.read_parquet(path)
        elif name.endswith(".csv"):
            table = pd.read_csv(path, comment="#")
        else:
            read = Table.read(str(path), format="ascii.ecsv" if name.endswith(".ecsv") else None)
            table = read[[one for one in read.colnames if read[one].ndim == 1]].to_pandas()
    except (OSError, ValueError, KeyError, TypeError, IORegistryError) as error:
        raise UsageError(
            f"{path}: not a table in CSV, ECSV, Parquet or FITS ({type(error).__name__}: {error})"
        ) from None
    return table.rename(columns=lambda column: str(column).strip().lower())


class Gaia:
    """Stars of a local Gaia table.

    Parameters
    ----------
    table : DataFrame
        With Gaia's own names or VizieR's; at least source_id, ra, dec.

    Raises
    ------
    UsageError
        If one of these is missing.
    """

    def __init__(self, table: pd.DataFrame, name: str = "Gaia table") -> None:
        found = {own: next((one for one in names if one in table), None) for own, names in _ALIASES.items()}
        if absent := [own for own in ("source_id", "ra", "dec") if found[own] is None]:
            raise UsageError(f"{name}: no column {', '.join(absent)}; Gaia's own names and VizieR's are known")
        columns = {own: table[one] for own, one in found.items() if one is not None}
        if pd.api.types.is_float_dtype(columns["source_id"]):
            raise UsageError(f"{name}: source_id is a float, its last digits are lost; give integers or text")
        ids = columns.pop("source_id").astype(str).str.extract(r"(\d+)\s*$")[0]
        numbers = {own: pd.to_numeric(one, errors="coerce") for own, one in columns.items()}
        self.stars = pd.DataFrame({"source_id": ids, **numbers}).dropna(subset=["source_id", "ra", "dec"])
        self.stars = self.stars.sort_values("source_id", ignore_index=True).reindex(columns=list(_ALIASES))
        self._tree = cKDTree(_unit(self.stars["ra"].to_numpy(), self.stars["dec"].to_numpy()).reshape(-1, 3))

    @classmethod
    def read(cls, path: str | Path) -> "Gaia":
        """Return the stars of a file."""
        return cls(read_table(path), str(path))

    def near(self, ra: float, dec: float, radius: float, mjd: float = np.nan) -> pd.DataFrame:
        """Return stars within a radius (arcsec) with east and north (arcsec), at an epoch if they say how they move."""
        if not (np.isfinite(ra) and np.isfinite(dec)) or self.stars.empty:
            return self.stars.iloc[:0].assign(east=0.0, north=0.0)
        # High proper motion over the decades between surveys and Gaia.
        reach = 2 * np.sin(np.radians((radius + 30) / 3600) / 2)
        stars = self.stars.iloc[sorted(self._tree.query_ball_point(_unit(ra, dec), reach))]
        east = (stars["ra"] - ra + 180) % 360 - 180
        east, north = east * np.cos(np.radians(stars["dec"])) * 3600, (stars["dec"] - dec) * 3600
        if np.isfinite(mjd):
            years = julian_year(mjd) - stars["ref_epoch"].fillna(_EPOCH)
            east = east + stars["pmra"].fillna(0) / 1000 * years
            north = north + stars["pmdec"].fillna(0) / 1000 * years
        stars = stars.assign(east=east, north=north)
        return stars[np.hypot(east, north) <= radius]

    def match(
        self,
        ra: float,
        dec: float,
        ra_2: float = np.nan,
        dec_2: float = np.nan,
        error: float = 0.0,
        mjd: float = np.nan,
        sep_arcsec: float = np.nan,
        pa_deg: float = np.nan,
    ) -> dict[str, object]:
        """Return the catalogue's Gaia columns of a source.

        Parameters
        ----------
        ra, dec : float
            Of the source, deg.
        ra_2, dec_2 : float
            Of the companion, deg; NaN: there is none.
        error : float
            Of the companion's place, arcsec.
        mjd : float
            Epoch of both.
        sep_arcsec, pa_deg : float
            Of the companion from the brighter star, which need not be where the source was looked for.

        Returns
        -------
        dict
            `COLUMNS`: ids (None where there is no star), differences over their errors, ruwe and
            ipd_frac_multi_peak of the source's star; and its phot_g_mean_mag.
        """
        told: dict[str, object] = {"gaia_id_1": None, "gaia_id_2": None}
        told |= dict.fromkeys((*COLUMNS[2:], "phot_g_mean_mag"), np.nan)
        around = self.near(ra, dec, 6.0, mjd)
        offset = None
        if np.isfinite(ra_2) and np.isfinite(dec_2):
            away = (ra_2 - ra + 180) % 360 - 180
            offset = np.array([away * np.cos(np.radians(dec_2)), dec_2 - dec]) * 3600
        if offset is None:
            first, second = _nearest(around, np.zeros(2), _SOURCE), None
        else:
            pa = np.radians(pa_deg)
            brighter = offset - sep_arcsec * np.array([np.sin(pa), np.cos(pa)])
            first, second = _pair(around, np.nan_to_num(brighter), offset, _SIGMAS * float(np.hypot(error, _FLOOR)))
        if first is not None:
            told["gaia_id_1"] = int(first["source_id"])
            told |= {name: float(first[name]) for name in ("ruwe", "ipd_frac_multi_peak", "phot_g_mean_mag")}
        if second is not None:
            told["gaia_id_2"] = int(second["source_id"])
        if first is not None and second is not None:
            told |= _differences(first, second)
        return told


def _unit(ra: float | NDArray[np.float64], dec: float | NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _nearest(stars: pd.DataFrame, offset: NDArray[np.float64], radius: float) -> pd.Series | None:
    """Return the star nearest to an offset (arcsec), if one is within the radius."""
    if stars.empty:
        return None
    apart = np.hypot(stars["east"] - offset[0], stars["north"] - offset[1])
    return stars.loc[apart.idxmin()] if apart.min() <= radius else None


def _pair(
    stars: pd.DataFrame, place: NDArray[np.float64], second: NDArray[np.float64], radius: float
) -> tuple[pd.Series | None, pd.Series | None]:
    """Return the stars nearest to the places of both; one star that is nearest to both is that of the nearer place."""
    one, other = _nearest(stars, place, _SOURCE), _nearest(stars, second, radius)
    if one is None or other is None or one["source_id"] != other["source_id"]:
        return one, other
    rest, star = stars[stars["source_id"] != one["source_id"]], one[["east", "north"]].to_numpy(float)
    if np.hypot(*(star - place)) <= np.hypot(*(star - second)):
        return one, _nearest(rest, second, radius)
    return _nearest(rest, place, _SOURCE), other


def _differences(first: pd.Series, second: pd.Series) -> dict[str, float]:
    """Return by how many errors parallaxes and proper motions of two stars differ."""

    def over(name: str) -> float:
        return float((first[name] - second[name]) / np.hypot(first[f"{name}_error"], second[f"{name}_error"]))

    return {"plx_diff_sigma": abs(over("parallax")), "pm_diff_sigma": float(np.hypot(over("pmra"), over("pmdec")))}
