"""Neighbours with one ephemeris: one binary, seen in the apertures of several stars."""

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from catalogs.binaries import Flag

__all__ = ["blend_groups"]

Floats = NDArray[np.float64]

RADIUS_ARCMIN = 3.0  # nine pixels: the wings of bright binaries reach that far
RATIOS = (1.0, 2.0, 3.0, 4.0, 1.5)  # of two periods found of one orbit, and their inverses
SIGMAS = 3.0
RELATIVE = 3e-4  # least difference of periods that is told: errors of two apertures share one systematics
PHASE = 0.02  # likewise of phases; two random stars agree by chance in 1 of 12
_MOST = 0.1  # phase beyond which epochs say nothing any more
SINGLE_EPOCH = 0.25  # of the longer of two eclipses: how far apart their middles are where one of them was seen once
SINGLE_DURATION = 1.5  # ratio of their lengths, likewise


def blend_groups(rows: pd.DataFrame, radius_arcmin: float = RADIUS_ARCMIN) -> pd.DataFrame:
    """Find neighbours whose ephemerides are one, and the star that is likely their source.

    Parameters
    ----------
    rows : pandas.DataFrame
        One row a system: tic_id, ra, dec (deg), tmag, period, period_err, epoch (d), depth_1, crowdsap; with flags,
        if there, stars whose light is lost elsewhere (`Flag.CENTROID_SHIFT`) stand back; with period_flag and
        duration_1_h (h), if there, lower limits are no periods. Missing values are NaN.
    radius_arcmin : float
        Largest distance of two neighbours.

    Returns
    -------
    pandas.DataFrame
        With the index of `rows`: blend_group (Int64, the smallest tic_id of the group) and source_tic_id (Int64),
        both missing where a star has no such neighbour. The same for any order of rows.

    Notes
    -----
    Periods match if their ratio is 1, 2, 3, 4 or 3/2, or the inverse, within errors, and the epochs are a whole
    number of (half) cycles apart. Where one of them is a lower limit its only eclipse must be one of the other's, by
    epoch and duration. The source is the star that itself loses most light, depth × flux: in the
    apertures of others only the wings of its image are seen. Where two share an aperture both see all of it, and
    the larger CROWDSAP decides. A star that would have to lose more light than it has is not the source.
    """
    result = pd.DataFrame({"blend_group": pd.NA, "source_tic_id": pd.NA}, index=rows.index, dtype="Int64")
    order = np.lexsort([rows[name].to_numpy(float) for name in ("epoch", "period", "tic_id")])
    table = rows.iloc[order]
    first, second = _matches(table, radius_arcmin)
    if not len(first):
        return result
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(table), len(table)))
    _, group = connected_components(graph, directed=False)
    tic_id, evidence = table["tic_id"].to_numpy(np.int64), _evidence(table)
    members = np.flatnonzero(np.bincount(group)[group] > 1)
    members = members[np.argsort(group[members], kind="stable")]
    cuts = np.r_[0, np.flatnonzero(np.diff(group[members])) + 1, len(members)]
    for low, high in pairwise(cuts):
        own = members[low:high]
        source = max(own, key=lambda row: (*evidence[row], -tic_id[row]))
        places = order[own]
        result.iloc[places, 0] = int(tic_id[own].min())
        result.iloc[places, 1] = int(tic_id[source])
    return result


def _evidence(table: pd.DataFrame) -> list[tuple[bool, bool, float]]:
    """Return for each row: it can be the source, its light is not lost elsewhere, how much light it loses."""
    depth, share = table["depth_1"].to_numpy(float), table["crowdsap"].to_numpy(float)
    lost = depth * 10 ** (-0.4 * table["tmag"].to_numpy(float)) * np.sqrt(np.nan_to_num(share, nan=1.0))
    flags = table["flags"].astype(float).fillna(0).to_numpy(np.int64) if "flags" in table else np.zeros(len(table), int)
    at_home = (flags & int(Flag.CENTROID_SHIFT)) == 0
    return list(zip((depth <= 1).tolist(), at_home.tolist(), np.nan_to_num(lost, nan=-1.0).tolist(), strict=True))


def _matches(table: pd.DataFrame, radius_arcmin: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of rows of neighbours with one ephemeris."""
    ra, dec = (np.deg2rad(table[name].to_numpy(float)) for name in ("ra", "dec"))
    period, epoch = (table[name].to_numpy(float) for name in ("period", "epoch"))
    usable = np.flatnonzero(np.isfinite(ra + dec + period + epoch) & (period > 0))
    if len(usable) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    sky = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)[usable]
    reach = 2 * np.sin(np.deg2rad(radius_arcmin / 60) / 2)
    pairs = usable[cKDTree(sky).query_pairs(reach, output_type="ndarray")]
    first, second = pairs[:, 0], pairs[:, 1]
    tic_id, error = table["tic_id"].to_numpy(np.int64), np.nan_to_num(table["period_err"].to_numpy(float))
    one = _agree(period[first], error[first], epoch[first], period[second], error[second], epoch[second])
    if "period_flag" in table:
        single = (table["period_flag"] == "lower_limit").to_numpy(bool)
        known = np.where(single, np.inf, period)
        hours = table["duration_1_h"].to_numpy(float)
        alike = _same_eclipse(
            *(known[first], error[first], epoch[first], hours[first]),
            *(known[second], error[second], epoch[second], hours[second]),
        )
        one = np.where(single[first] | single[second], alike, one)
    one &= tic_id[first] != tic_id[second]
    return first[one], second[one]


def _same_eclipse(
    p: Floats, p_err: Floats, t: Floats, t_hours: Floats, q: Floats, q_err: Floats, u: Floats, u_hours: Floats
) -> NDArray[np.bool_]:
    """Return whether eclipses (period, infinite if it is not known, its error, epoch, duration) are one of a binary.

    At least one of the periods is not known: that eclipse is one of the other's, or both are the same.
    """
    shorter, error = np.minimum(p, q), np.where(p <= q, p_err, q_err)
    repeats = np.isfinite(shorter)
    cycles = np.rint((t - u) / shorter)
    away = np.abs(t - u - np.where(repeats, cycles * np.where(repeats, shorter, 0), 0))
    longest = np.maximum(t_hours, u_hours)
    drift = np.where(repeats, np.abs(cycles) * SIGMAS * error, 0)
    in_time = away <= SINGLE_EPOCH * longest / 24 + np.minimum(drift, _MOST * longest / 24)
    return np.asarray(in_time & (longest <= SINGLE_DURATION * np.minimum(t_hours, u_hours)))


def _agree(p: Floats, p_err: Floats, t: Floats, q: Floats, q_err: Floats, u: Floats) -> NDArray[np.bool_]:
    """Return whether ephemerides (period, its error, epoch) are one."""
    found = np.zeros(p.shape, bool)
    shorter = np.minimum(p, q)
    cycles = np.rint(2 * (t - u) / shorter) / 2
    # In how many cycles of the shorter period the epochs, often of different sectors, lie apart by what its error does.
    drift = np.abs(cycles) * SIGMAS * np.where(p <= q, p_err, q_err) / shorter
    in_phase = np.abs((t - u) / shorter - cycles) <= np.maximum(PHASE, np.minimum(drift, _MOST))
    for ratio in {*RATIOS, *(1 / ratio for ratio in RATIOS)}:
        allowed = SIGMAS * np.hypot(p_err, ratio * q_err) + RELATIVE * p
        found |= np.abs(p - ratio * q) <= allowed
    return np.asarray(found & in_phase)
