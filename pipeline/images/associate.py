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

from pipeline.images import motion
from pipeline.images.footprints import unit_vectors
from pipeline.images.names import place_name
from pipeline.images.objects import errors, numbers, objects, plane, width
from pipeline.settings import AssociateSettings

__all__ = ["associate", "groups"]

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
    names[placed] = _names(table[placed], group[placed])
    table = table.assign(object_id=names)
    return table, objects(table[placed], settings.floor_fwhm)


def _members(group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the rows of each group, by number; −1 is none."""
    order = np.argsort(group, kind="stable")
    order = order[np.searchsorted(group[order], 0) :]
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    return np.split(order, cuts) if len(order) else []


def _names(table: pd.DataFrame, group: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return the names of the objects of rows: the place of the first detection, which later ones do not change."""
    order = table.assign(group=group).sort_values(["group", "mjd_mid", "candidate_id"], na_position="last")
    first = order.drop_duplicates("group")
    names = [
        f"{place_name(float(ra), float(dec))}-{hashlib.sha256(str(name).encode()).hexdigest()[:8]}"
        for ra, dec, name in zip(first["ra"], first["dec"], first["candidate_id"], strict=True)
    ]
    return np.asarray(pd.Series(names, index=first["group"].to_numpy(), dtype=object).reindex(group).to_numpy())


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
    ra, dec = numbers(table, "ra"), numbers(table, "dec")
    vectors, size = unit_vectors(ra, dec), np.nan_to_num(width(table))
    x_err, y_err = errors(table, settings.floor_fwhm)
    error = np.sqrt((x_err**2 + y_err**2) / 2)
    reach = max(settings.fwhm_share * size.max(), settings.sigmas * np.sqrt(2) * error.max()) / _ARCSEC
    near = cKDTree(vectors).query_pairs(reach, output_type="ndarray")
    one, other = near[:, 0], near[:, 1]
    distance = np.linalg.norm(vectors[one] - vectors[other], axis=1) * _ARCSEC
    radius = np.maximum(
        settings.fwhm_share * np.maximum(size[one], size[other]),
        settings.sigmas * np.hypot(error[one], error[other]),
    )
    kept = distance <= radius
    links = coo_array((np.ones(kept.sum()), (one[kept], other[kept])), shape=(len(table), len(table)))
    _, labels = connected_components(links, directed=False)
    single = np.maximum(settings.fwhm_share * size, settings.sigmas * np.sqrt(2) * error)
    places = np.stack([ra, dec, numbers(table, "mjd_mid"), x_err, y_err])
    parts = [part for own in _members(labels) for part in _cut(places, own, float(np.median(single[own])), settings)]
    result = np.zeros(len(table), np.int64)
    for number, members in enumerate(sorted(parts, key=lambda part: int(part.min()))):
        result[members] = number
    return result


def _cut(
    places: _Values, members: NDArray[np.int64], reach: float, settings: AssociateSettings
) -> list[NDArray[np.int64]]:
    """Return a linked group whole, or what a chain is cut into; rows of `places` are ra, dec, time and errors."""
    if len(members) < 3:
        return [members]
    ra, dec, time, x_err, y_err = places[:, members]
    x, y = plane(ra, dec, ra[0], dec[0])
    if np.hypot(x - x.mean(), y - y.mean()).max() <= reach:
        return [members]
    if len(np.unique(time[np.isfinite(time)])) == len(time):
        way = motion.fit(time, x, y, x_err, y_err)
        if way.sigma > settings.motion_sigma and way.scatter <= reach:
            return [members]
    labels = fcluster(linkage(pdist(np.column_stack([x, y])), "complete"), 2 * reach, "distance")
    return [members[labels == label] for label in np.unique(labels)]
