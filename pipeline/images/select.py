"""Which objects may be supernovae: every reason against one is a bit, and no row is ever dropped."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from catalogs.candidates import FrameFlag, is_good
from catalogs.supernovae import Selection
from pipeline.images.footprints import unit_vectors
from pipeline.images.objects import numbers
from pipeline.settings import SelectSettings

__all__ = ["P_REAL", "body_distance", "select_supernovae"]

_ARCSEC = 3600 * 180 / np.pi

#: Ephemerides farther apart than this are not interpolated between, d.
_GAP = 1.0

#: Least p_real of a detection that counts, where neither settings nor a model say.
P_REAL = 0.5

#: What tells of a failed image pair.
_FAILED = int(FrameFlag.SELF_TEST | FrameFlag.EXCESS)


def select_supernovae(
    objects: pd.DataFrame,
    detections: pd.DataFrame,
    settings: SelectSettings | None = None,
    *,
    curves: pd.DataFrame | None = None,
    variables: pd.DataFrame | None = None,
    ephemerides: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return objects with the bits of `catalogs.supernovae.Selection`.

    Parameters
    ----------
    objects : pandas.DataFrame
        As `pipeline.images.associate.associate` gives them.
    detections : pandas.DataFrame
        Candidates with object_id.
    settings : SelectSettings, optional
        Limits.
    curves : pandas.DataFrame, optional
        Forced light curves: whether there was another look at all.
    variables : pandas.DataFrame, optional
        Known variables and active nuclei: ra, dec (deg).
    ephemerides : pandas.DataFrame, optional
        Known bodies of the solar system: name, mjd, ra, dec (deg), in the time scale of the detections.

    Returns
    -------
    pandas.DataFrame
        In the order of `objects`, with selection, and ssdistnr where ephemerides tell it.
    """
    settings = settings or SelectSettings.load(None, "select")
    least = P_REAL if settings.p_real is None else settings.p_real
    if not len(objects):
        return objects.assign(selection=np.zeros(0, np.int32))
    own = detections[detections["object_id"].isin(objects["object_id"])]
    if ephemerides is not None:
        own = own.assign(ssdistnr=np.fmin(numbers(own, "ssdistnr"), body_distance(own, ephemerides)))
        nearest = objects["object_id"].map(own.groupby("object_id")["ssdistnr"].min())
        objects = objects.assign(ssdistnr=np.fmin(numbers(objects, "ssdistnr"), nearest.to_numpy(float)))
    bits = np.zeros(len(objects), np.int64)
    for bit, where in (
        *_by_score(objects, least), *_by_epoch(objects, own, curves, settings, least),
        *_by_place(objects, own, variables, settings), *_by_quality(objects, own),
        (Selection.MOVING, numbers(objects, "motion_sigma") > settings.motion_sigma),
        (Selection.SOLAR_SYSTEM, numbers(objects, "ssdistnr") <= settings.solar_arcsec),
        (Selection.INJECTED, objects["is_injected"].to_numpy(bool)),
    ):  # fmt: skip
        bits |= np.where(where, int(bit), 0)
    return objects.assign(selection=bits.astype(np.int32))


_Bits = tuple[Selection, NDArray[np.bool_]]


def _by_score(objects: pd.DataFrame, least: float) -> list[_Bits]:
    score = numbers(objects, "p_real")
    return [(Selection.LOW_P_REAL, score < least), (Selection.NO_P_REAL, np.isnan(score))]


def _by_epoch(
    objects: pd.DataFrame, own: pd.DataFrame, curves: pd.DataFrame | None, settings: SelectSettings, least: float
) -> list[_Bits]:
    """Return which objects no second detection confirms, and which had no chance of one."""
    score, gap = numbers(own, "p_real"), settings.gap_minutes / 1440
    counted = own[is_good(own["flags"]) & ~(score < least)]
    confirmed = _span(objects, counted) >= gap - 1e-9
    looks = own[["object_id", "mjd_mid"]]
    if curves is not None:
        looks = pd.concat([looks, curves.loc[numbers(curves, "flux_err") > 0, ["object_id", "mjd_mid"]]])
    looked = _span(objects, looks) >= gap - 1e-9
    return [(Selection.UNCONFIRMED, ~confirmed & looked), (Selection.SINGLE_EPOCH, ~confirmed & ~looked)]


def _span(objects: pd.DataFrame, rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return the time that the rows of each object span, d; 0 where there are none or they have no dates."""
    time = rows.assign(mjd_mid=numbers(rows, "mjd_mid")).groupby("object_id")["mjd_mid"]
    return np.asarray((objects["object_id"].map(time.max() - time.min())).fillna(0).to_numpy(float))


def _by_place(
    objects: pd.DataFrame, own: pd.DataFrame, variables: pd.DataFrame | None, settings: SelectSettings
) -> list[_Bits]:
    width = own.assign(width=np.fmax(numbers(own, "seeing_arcsec"), numbers(own, "ref_seeing_arcsec")))
    width = width.assign(width=width["width"].fillna(width["fwhm_arcsec"]).astype(float))
    seeing = objects["object_id"].map(width.groupby("object_id")["width"].median()).to_numpy(float)
    near = numbers(objects, "ref_sep_arcsec")
    is_star = objects["ref_is_star"].astype("boolean").fillna(False).to_numpy(bool)
    host = numbers(objects, "host_sep_arcsec")
    known = np.zeros(len(objects), bool)
    if variables is not None and len(variables):
        distance = _nearest(objects["ra"], objects["dec"], variables["ra"], variables["dec"])
        known = distance <= settings.variable_arcsec
    return [
        (Selection.STELLAR, is_star & (near <= settings.star_fwhm * seeing)),
        (Selection.NUCLEAR, host <= settings.nuclear_fwhm * seeing),
        (Selection.KNOWN_VARIABLE, known),
    ]


def _by_quality(objects: pd.DataFrame, own: pd.DataFrame) -> list[_Bits]:
    facts = own.assign(
        good=is_good(own["flags"]), whole=(own["frame_flags"].to_numpy(np.int64) & _FAILED) == 0,
        up=own["is_positive"].to_numpy(bool),
    ).groupby("object_id")[["good", "whole", "up"]].any()  # fmt: skip
    any_of = facts.reindex(objects["object_id"]).fillna(False).astype(bool)
    names = ((Selection.SPOILED, "good"), (Selection.BAD_FRAMES, "whole"), (Selection.NEGATIVE, "up"))
    return [(bit, ~any_of[name].to_numpy()) for bit, name in names]


def _nearest(ra: ArrayLike, dec: ArrayLike, ra_known: ArrayLike, dec_known: ArrayLike) -> NDArray[np.float64]:
    """Return the distance of the nearest of known places, arcsec."""
    chord, _ = cKDTree(unit_vectors(ra_known, dec_known)).query(unit_vectors(ra, dec))
    return np.asarray(2 * np.arcsin(np.clip(chord / 2, 0, 1)) * _ARCSEC)


def body_distance(detections: pd.DataFrame, ephemerides: pd.DataFrame) -> NDArray[np.float64]:
    """Return the distance of the nearest known body of the solar system at the time of each detection.

    Parameters
    ----------
    detections : pandas.DataFrame
        Columns mjd_mid, ra, dec.
    ephemerides : pandas.DataFrame
        Columns name, mjd, ra, dec; places in between follow a straight line, over a day at most. A single place of a
        body holds for ten minutes.

    Returns
    -------
    (n,) float64
        Arcsec; NaN where no ephemeris tells of that time.
    """
    time = numbers(detections, "mjd_mid")
    result = np.full(len(detections), np.nan)
    if not len(detections):
        return result
    here = unit_vectors(numbers(detections, "ra"), numbers(detections, "dec"))
    for _, body in ephemerides.sort_values(["name", "mjd"]).groupby("name"):
        known, way = body["mjd"].to_numpy(float), unit_vectors(body["ra"], body["dec"])
        after = np.searchsorted(known, time).clip(1, max(len(known) - 1, 1))
        if len(known) == 1:
            inside, place = np.abs(time - known[0]) <= 10 / 1440, np.broadcast_to(way[0], here.shape)
        else:
            step = known[after] - known[after - 1]
            inside = (time >= known[0]) & (time <= known[-1]) & (step <= _GAP)
            share = ((time - known[after - 1]) / np.maximum(step, 1e-12))[:, None]
            place = way[after - 1] * (1 - share) + way[after] * share
            place = place / np.linalg.norm(place, axis=1)[:, None]
        distance = 2 * np.arcsin(np.clip(np.linalg.norm(here - place, axis=1) / 2, 0, 1)) * _ARCSEC
        result = np.fmin(result, np.where(inside, distance, np.nan))
    return result
