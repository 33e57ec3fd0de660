"""Candidates of all epochs and filters → objects, with the same names in whatever order they come.

Two detections are linked within the larger of half a FWHM and three standard errors of their distance; what is linked,
through others too, is one object. A chain that is longer than its links is cut up by complete linkage, unless it is
the straight way of something that moves.
"""

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from catalogs.candidates import UNSCORED
from catalogs.supernovae import OBJECTS
from pipeline.images import motion
from pipeline.images.footprints import unit_vectors
from pipeline.images.motion import Motion
from pipeline.images.names import place_name
from pipeline.settings import AssociateSettings

__all__ = ["associate", "groups", "objects"]

_ARCSEC = 3600 * 180 / np.pi

_Values = NDArray[np.float64]


def associate(detections: pd.DataFrame, settings: AssociateSettings | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Group detections into objects.

    Parameters
    ----------
    detections : pandas.DataFrame
        Candidates, as `catalogs.candidates.CANDIDATES`; those without ra and dec belong to no object.
    settings : AssociateSettings, optional
        Distances.

    Returns
    -------
    detections : pandas.DataFrame
        Sorted by candidate_id, with object_id (missing without a place).
    objects : pandas.DataFrame
        As `catalogs.supernovae.OBJECTS` wants them but for n_nondet, selection and provenance; sorted by object_id.
    """
    settings = settings or AssociateSettings.load(None, "associate")
    table = detections.sort_values("candidate_id", ignore_index=True)
    placed = table["ra"].notna().to_numpy() & table["dec"].notna().to_numpy()
    group = np.full(len(table), -1)
    group[placed] = groups(table[placed].reset_index(drop=True), settings)
    names = pd.Series(pd.NA, index=table.index, dtype="string")
    for members in _members(group):
        names.iloc[members] = _name(table.iloc[members])
    table = table.assign(object_id=names)
    return table, objects(table[placed], settings)


def _members(group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the rows of each group, by number; −1 is none."""
    order = np.argsort(group, kind="stable")
    order = order[np.searchsorted(group[order], 0) :]
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    return np.split(order, cuts) if len(order) else []


def _name(rows: pd.DataFrame) -> str:
    """Return the name of an object: its first detection's place, which later ones do not change."""
    first = rows.sort_values(["mjd_mid", "candidate_id"], na_position="last").iloc[0]
    code = hashlib.sha256(str(first["candidate_id"]).encode()).hexdigest()[:8]
    return f"{place_name(float(first['ra']), float(first['dec']))}-{code}"


def _plane(ra: _Values, dec: _Values) -> tuple[_Values, _Values]:
    """Return offsets along ra and dec from the first place, arcsec."""
    east = (ra - ra[0] + 180) % 360 - 180
    return east * np.cos(np.deg2rad(dec)) * 3600, (dec - dec[0]) * 3600


def _errors(table: pd.DataFrame, settings: AssociateSettings) -> tuple[_Values, _Values]:
    """Return standard errors along ra and dec, arcsec: of the peak, of the alignment, and no less than a floor."""
    width = np.nan_to_num(_width(table))
    aligned = np.zeros(len(table))
    if "align_rms_px" in table and "pixscale" in table:
        aligned = np.nan_to_num(_numbers(table, "align_rms_px") * _numbers(table, "pixscale"))
    floor = np.maximum(settings.floor_fwhm * width, 1e-4)
    own = (np.nan_to_num(_numbers(table, name)) for name in ("ra_err", "dec_err"))
    x_err, y_err = (np.sqrt(error**2 + aligned**2 + floor**2) for error in own)
    return x_err, y_err


def _width(table: pd.DataFrame) -> _Values:
    """Return the FWHM of the images, arcsec: the seeing, as a candidate's own may be anything."""
    width = _numbers(table, "seeing_arcsec") if "seeing_arcsec" in table else np.full(len(table), np.nan)
    return np.where(np.isfinite(width), width, _numbers(table, "fwhm_arcsec"))


def _numbers(table: pd.DataFrame, name: str) -> _Values:
    return np.asarray(pd.to_numeric(table[name]).to_numpy(dtype=float, na_value=np.nan))


def groups(table: pd.DataFrame, settings: AssociateSettings) -> NDArray[np.int64]:
    """Return the number of the group of each detection, counted by the first of its rows.

    Parameters
    ----------
    table : pandas.DataFrame
        Detections with ra and dec; their order decides nothing but the numbers.
    settings : AssociateSettings
        Distances.
    """
    if not len(table):
        return np.zeros(0, np.int64)
    ra, dec = _numbers(table, "ra"), _numbers(table, "dec")
    vectors, width = unit_vectors(ra, dec), np.nan_to_num(_width(table))
    x_err, y_err = _errors(table, settings)
    error = np.sqrt((x_err**2 + y_err**2) / 2)
    reach = max(settings.fwhm_share * width.max(), settings.sigmas * np.sqrt(2) * error.max()) / _ARCSEC
    near = cKDTree(vectors).query_pairs(reach, output_type="ndarray")
    one, other = near[:, 0], near[:, 1]
    distance = np.linalg.norm(vectors[one] - vectors[other], axis=1) * _ARCSEC
    radius = np.maximum(
        settings.fwhm_share * np.maximum(width[one], width[other]),
        settings.sigmas * np.hypot(error[one], error[other]),
    )
    kept = distance <= radius
    links = coo_array((np.ones(kept.sum()), (one[kept], other[kept])), shape=(len(table), len(table)))
    _, labels = connected_components(links, directed=False)
    single = np.maximum(settings.fwhm_share * width, settings.sigmas * np.sqrt(2) * error)
    parts = [part for members in _members(labels) for part in _cut(table, members, single, settings)]
    result = np.zeros(len(table), np.int64)
    for number, members in enumerate(sorted(parts, key=lambda part: int(part.min()))):
        result[members] = number
    return result


def _cut(
    table: pd.DataFrame, members: NDArray[np.int64], radius: _Values, settings: AssociateSettings
) -> list[NDArray[np.int64]]:
    """Return a linked group whole, or what a chain is cut into."""
    if len(members) < 3:
        return [members]
    rows, reach = table.iloc[members], float(np.median(radius[members]))
    x, y = _plane(_numbers(rows, "ra"), _numbers(rows, "dec"))
    if np.hypot(x - x.mean(), y - y.mean()).max() <= reach:
        return [members]
    time = _numbers(rows, "mjd_mid")
    if len(np.unique(time[np.isfinite(time)])) == len(time):
        way = motion.fit(time, x, y, *_errors(rows, settings))
        if way.sigma > settings.motion_sigma and way.scatter <= reach:
            return [members]
    labels = fcluster(linkage(pdist(np.column_stack([x, y])), "complete"), 2 * reach, "distance")
    return [members[labels == label] for label in np.unique(labels)]


def objects(table: pd.DataFrame, settings: AssociateSettings) -> pd.DataFrame:
    """Return the objects that detections make up.

    Parameters
    ----------
    table : pandas.DataFrame
        Detections with object_id.
    settings : AssociateSettings
        Floor of errors of positions.

    Returns
    -------
    pandas.DataFrame
        As `associate` says.
    """
    rows = [_object(own, settings) for _, own in table.groupby("object_id", sort=True)]
    made_later = {"n_nondet", "selection", *(column.name for column in UNSCORED)}
    return pd.DataFrame(rows, columns=[name for name in OBJECTS.names if name not in made_later])


def _object(own: pd.DataFrame, settings: AssociateSettings) -> dict[str, object]:
    own = own.sort_values(["mjd_mid", "candidate_id"], na_position="last")
    x, y = _plane(_numbers(own, "ra"), _numbers(own, "dec"))
    x_err, y_err = _errors(own, settings)
    east, north = np.average(x, weights=x_err**-2.0), np.average(y, weights=y_err**-2.0)
    dec = float(own["dec"].iloc[0]) + north / 3600
    time, way = _numbers(own, "mjd_mid"), Motion(np.nan, np.nan, np.nan, np.nan)
    if len(own) > 1:
        way = motion.fit(time * 24, x, y, x_err, y_err)
    return {
        "object_id": own["object_id"].iloc[0],
        "ra": (float(own["ra"].iloc[0]) + east / 3600 / max(np.cos(np.deg2rad(dec)), 1e-9)) % 360,
        "dec": dec, "ra_err": (x_err**-2.0).sum() ** -0.5, "dec_err": (y_err**-2.0).sum() ** -0.5,
        "n_det": own["pair_id"].nunique(), "mjd_first": _least(time), "mjd_last": -_least(-time),
        "time_scale": own["time_scale"].iloc[0], "filters": sorted({*own["filter"]}), **_brightest(own),
        "motion_ra": way.x, "motion_dec": way.y, "motion_sigma": way.sigma, **_context(own),
        "is_injected": bool(own["is_injected"].any()),
        "flags": int(np.bitwise_and.reduce(own["flags"].to_numpy(np.int64))),
        "frame_flags": int(np.bitwise_and.reduce(own["frame_flags"].to_numpy(np.int64))),
    }  # fmt: skip


def _least(values: _Values) -> float:
    known = values[np.isfinite(values)]
    return float(known.min()) if len(known) else float("nan")


def _brightest(own: pd.DataFrame) -> dict[str, object]:
    # Counts of different images are not to be compared with microjansky.
    calibrated = own[own["flux_unit"] == "uJy"]
    same = calibrated if len(calibrated) else own
    peak = same.iloc[int(np.argmax(np.abs(_numbers(same, "flux"))))]
    snr = _numbers(own, "snr")
    return {
        "snr_max": float(snr[np.argmax(np.abs(snr))]), "flux_peak": float(peak["flux"]),
        "flux_unit": peak["flux_unit"], "mag_peak": _least(_numbers(own, "mag_ab")), "filter_peak": peak["filter"],
    }  # fmt: skip


def _context(own: pd.DataFrame) -> dict[str, object]:
    """Return what surrounds an object, of detections that say so."""
    facts: dict[str, object] = {}
    for name in ("ref_sep_arcsec", "host_sep_arcsec", "host_dlr"):
        values = _numbers(own, name)
        facts[name] = float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else np.nan
    stars = own["ref_is_star"].dropna().astype(bool)
    facts["ref_is_star"] = bool(stars.mean() > 0.5) if len(stars) else None
    facts["ssdistnr"] = _least(_numbers(own, "ssdistnr")) if "ssdistnr" in own else np.nan
    facts["p_real"] = -_least(-_numbers(own, "p_real")) if "p_real" in own else np.nan
    known = own.dropna(subset=["known_name"]).sort_values("known_sep_arcsec") if "known_name" in own else own.iloc[:0]
    facts["known_name"] = str(known["known_name"].iloc[0]) if len(known) else None
    facts["known_sep_arcsec"] = float(known["known_sep_arcsec"].iloc[0]) if len(known) else np.nan
    return facts
