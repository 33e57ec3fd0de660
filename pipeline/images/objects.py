"""What the detections of an object say together: where it is, how bright, whether it moves, what is near."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.candidates import UNSCORED
from catalogs.supernovae import OBJECTS
from pipeline.images import motion

__all__ = ["errors", "numbers", "objects", "plane", "width"]

_Values = NDArray[np.float64]

#: Columns that come later: from light curves, selection and release.
_LATER = {"n_nondet", "selection", *(column.name for column in UNSCORED)}


def numbers(table: pd.DataFrame, name: str) -> _Values:
    """Return a column as floats, NaN where it is missing or not there.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows.
    name : str
        Column.
    """
    if name not in table:
        return np.full(len(table), np.nan)
    return np.asarray(pd.to_numeric(table[name]).to_numpy(dtype=float, na_value=np.nan))


def plane(ra: _Values, dec: _Values, ra0: _Values | float, dec0: _Values | float) -> tuple[_Values, _Values]:
    """Return offsets along ra and dec from places nearby, arcsec.

    Parameters
    ----------
    ra, dec : (n,) float64
        Degrees.
    ra0, dec0 : (n,) float64 or float
        What they are offset from, degrees.
    """
    east = (ra - ra0 + 180) % 360 - 180
    return np.asarray(east * np.cos(np.deg2rad(dec0)) * 3600), np.asarray((dec - dec0) * 3600)


def width(table: pd.DataFrame) -> _Values:
    """Return the FWHM of images, arcsec: the seeing, as a candidate's own may be anything.

    Parameters
    ----------
    table : pandas.DataFrame
        Candidates.
    """
    seeing = numbers(table, "seeing_arcsec")
    return np.where(np.isfinite(seeing), seeing, numbers(table, "fwhm_arcsec"))


def errors(table: pd.DataFrame, floor_fwhm: float) -> tuple[_Values, _Values]:
    """Return standard errors along ra and dec, arcsec: of the peak and the alignment together, above a floor.

    Parameters
    ----------
    table : pandas.DataFrame
        Candidates.
    floor_fwhm : float
        The floor, in FWHM.
    """
    aligned = np.nan_to_num(numbers(table, "align_rms_px") * numbers(table, "pixscale"))
    floor = np.maximum(floor_fwhm * np.nan_to_num(width(table)), 1e-4)
    own = (np.nan_to_num(numbers(table, name)) for name in ("ra_err", "dec_err"))
    x_err, y_err = (np.sqrt(error**2 + aligned**2 + floor**2) for error in own)
    return x_err, y_err


def objects(table: pd.DataFrame, floor_fwhm: float) -> pd.DataFrame:
    """Return the objects that detections make up.

    Parameters
    ----------
    table : pandas.DataFrame
        Detections with object_id.
    floor_fwhm : float
        Least standard error of a position, in FWHM.

    Returns
    -------
    pandas.DataFrame
        As `catalogs.supernovae.OBJECTS` wants them but for n_nondet, selection and provenance; sorted by object_id.
    """
    columns = [name for name in OBJECTS.names if name not in _LATER]
    if not len(table):
        return pd.DataFrame(columns=columns)
    rows = table.sort_values(["object_id", "mjd_mid", "candidate_id"], na_position="last", ignore_index=True)
    names = rows["object_id"].to_numpy(dtype=object).astype(str)
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    whole = rows.groupby("object_id", sort=True)
    facts = {
        "object_id": names[starts],
        "n_det": rows.assign(exposure=_exposures(rows)).groupby("object_id")["exposure"].nunique().to_numpy("int32"),
        "time_scale": rows["time_scale"].to_numpy()[starts],
        "filters": [sorted(set(own)) for own in np.split(rows["filter"].to_numpy(), starts[1:])],
        "is_injected": whole["is_injected"].any().to_numpy(bool),
    }
    facts |= {name: np.bitwise_and.reduceat(rows[name].to_numpy(np.int64), starts) for name in ("flags", "frame_flags")}
    return pd.DataFrame(
        facts | _places(rows, starts, floor_fwhm) | _brightness(rows, starts) | _context(rows, starts)
    )[columns]  # fmt: skip


def _exposures(rows: pd.DataFrame) -> list[str]:
    """Return what tells the science images of detections apart: one may be in several pairs."""
    if "science_sha256" not in rows:
        return [str(name) for name in rows["pair_id"]]
    number = np.nan_to_num(numbers(rows, "science_extension"), nan=-1).astype(int)
    return [f"{sha}[{own}]" for sha, own in zip(rows["science_sha256"], number, strict=True)]


def _places(rows: pd.DataFrame, starts: NDArray[np.int64], floor_fwhm: float) -> dict[str, _Values]:
    counts = np.diff([*starts, len(rows)])
    ra, dec, time = (numbers(rows, name) for name in ("ra", "dec", "mjd_mid"))
    ra0, dec0 = (np.repeat(place[starts], counts) for place in (ra, dec))
    x, y = plane(ra, dec, ra0, dec0)
    x_err, y_err = errors(rows, floor_fwhm)
    weights = [np.add.reduceat(error**-2.0, starts) for error in (x_err, y_err)]
    east = np.add.reduceat(x * x_err**-2.0, starts) / weights[0]
    north = np.add.reduceat(y * y_err**-2.0, starts) / weights[1]
    ways = np.full((len(starts), 3), np.nan)
    for number in np.flatnonzero(counts > 1):
        own = slice(starts[number], starts[number] + counts[number])
        ways[number] = motion.fit(time[own] * 24, x[own], y[own], x_err[own], y_err[own])[:3]
    return {
        "ra": (ra[starts] + east / 3600 / np.maximum(np.cos(np.deg2rad(dec[starts])), 1e-9)) % 360,
        "dec": dec[starts] + north / 3600, "ra_err": weights[0] ** -0.5, "dec_err": weights[1] ** -0.5,
        "mjd_first": np.fmin.reduceat(time, starts), "mjd_last": np.fmax.reduceat(time, starts),
        "motion_ra": ways[:, 0], "motion_dec": ways[:, 1], "motion_sigma": ways[:, 2],
    }  # fmt: skip


def _extreme(value: _Values, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of the highest value of each object, its first; NaN is lowest."""
    group = np.searchsorted(starts, np.arange(len(value)), side="right") - 1
    order = np.lexsort([np.arange(len(value)), -np.nan_to_num(value, nan=-np.inf), group])
    return np.asarray(order[starts])


def _brightness(rows: pd.DataFrame, starts: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    # Counts of different images are not to be compared with microjansky, so that those come first.
    calibrated = rows["flux_unit"].eq("uJy").to_numpy()
    size = np.abs(numbers(rows, "flux"))
    peak = _extreme(np.where(calibrated, size + 2 * np.nanmax(size, initial=0) + 1, size), starts)
    snr = numbers(rows, "snr")
    facts = {name: rows[name].to_numpy()[peak] for name in ("flux", "flux_unit", "filter")}
    return {
        "snr_max": snr[_extreme(np.abs(snr), starts)], "flux_peak": facts["flux"], "flux_unit": facts["flux_unit"],
        "mag_peak": np.fmin.reduceat(numbers(rows, "mag_ab"), starts), "filter_peak": facts["filter"],
    }  # fmt: skip


def _context(rows: pd.DataFrame, starts: NDArray[np.int64]) -> dict[str, object]:
    """Return what surrounds objects, of the detections that say so."""
    names = rows["object_id"]
    facts: dict[str, object] = {
        name: pd.Series(numbers(rows, name)).groupby(names.to_numpy(), sort=True).median().to_numpy()
        for name in ("ref_sep_arcsec", "host_sep_arcsec", "host_dlr")
    }
    stars = pd.Series(numbers(rows.assign(star=rows["ref_is_star"].astype("boolean").astype("Float64")), "star"))
    share = stars.groupby(names.to_numpy(), sort=True).mean()
    facts["ref_is_star"] = pd.array([None if np.isnan(s) else s > 0.5 for s in share], dtype="boolean")
    facts["ssdistnr"] = np.fmin.reduceat(numbers(rows, "ssdistnr"), starts)
    facts["p_real"] = np.fmax.reduceat(numbers(rows, "p_real"), starts)
    separation = numbers(rows, "known_sep_arcsec")
    nearest = _extreme(-separation, starts)
    known = rows["known_name"].to_numpy(object)[nearest] if "known_name" in rows else np.full(len(starts), None)
    facts["known_name"] = [None if pd.isna(name) else str(name) for name in known]
    facts["known_sep_arcsec"] = separation[nearest]
    return facts
