"""What the candidates of a simulated field are, by what is true of it: which are real, and what made the others."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.images.frame import Bit
from pipeline.images.subtract import Band
from pipeline.simulate.fields import Field

__all__ = ["FAINTEST", "labelled"]

#: Transients of less S/N are too faint to be called real or not.
FAINTEST = 4.0

_Floats = NDArray[np.float64]

#: Real light reaches this many of its own radii: a candidate there, and none of its own, is neither.
_SKIRTS = 2.5

#: How far a defect reaches, in FWHM.
_REACH = {"cosmic_ray": 1.5, "hot": 1.5, "dead": 1.5, "column": 1.5, "trail": 2.5}
_CALLED = {"column": "dead"}

#: Sources that leave residues have at least this S/N in both images.
_BRIGHT = 15.0


def labelled(candidates: pd.DataFrame, field: Field, band: Band, fwhm: float) -> pd.DataFrame:
    """Say what candidates are.

    Parameters
    ----------
    candidates : pandas.DataFrame
        x, y (px of the reference), snr (signed).
    field : Field
        The truth.
    band : Band
        Where they were found.
    fwhm : float
        Of the wider true PSF, px of the reference.

    Returns
    -------
    pandas.DataFrame
        Index as of `candidates`: label (1 real, 0 bogus, -1 neither can be said), kind, environment, source (number of
        the transient or mover; -1).
    """
    place = candidates[["x", "y"]].to_numpy(float)
    sign = np.sign(candidates["snr"].to_numpy(float))
    out = pd.DataFrame({"label": 0, "kind": "noise", "environment": "", "source": -1}, index=candidates.index)
    out["kind"], near = _defects(place, field, fwhm)
    _residues(out, near, place, sign, field, band, fwhm)
    _movers(out, place, sign, field, fwhm)
    _transients(out, near, place, sign, field, max(1.2, 0.6 * fwhm), fwhm)
    return out


def _transients(
    out: pd.DataFrame, near: NDArray[np.bool_], place: _Floats, sign: _Floats, field: Field, radius: float, fwhm: float
) -> None:
    """Label what is a transient; what is another's skirts, or one among defects, is neither."""
    truth = field.truth
    if not len(truth) or not len(place):
        return
    there = truth[["x", "y"]].to_numpy(float)
    distance, nearest = cKDTree(there).query(place)
    row = truth.iloc[nearest]
    faint = row["snr_opt"].abs().to_numpy() < FAINTEST
    close = (distance <= radius) & (sign == row["sign"].to_numpy())
    # Of several candidates of one transient the nearest is it.
    order = np.lexsort([distance, ~close])
    first = np.zeros(len(place), bool)
    first[order[np.unique(nearest[order], return_index=True)[1]]] = True
    real = close & first & ~faint & ~near
    doubtful = (distance <= np.maximum(_SKIRTS * radius, 1.5 * fwhm)) & ~real
    out.loc[doubtful, "label"] = -1
    kinds = np.where(row["environment"] == "star", "variable", "transient")
    environment = row["environment"].replace("any", "").to_numpy()
    for name, values in (("kind", kinds), ("environment", environment), ("source", row["id"].to_numpy())):
        out.loc[real, name] = values[real]
    out.loc[real, "label"] = 1


def _movers(out: pd.DataFrame, place: _Floats, sign: _Floats, field: Field, fwhm: float) -> None:
    """Label what is an asteroid's: on its track, of its sign."""
    rows, tracks = field.defects[field.defects["kind"] == "mover"], field.movers()
    for number, (row, track) in enumerate(zip(rows.itertuples(), tracks.itertuples(), strict=True)):
        middle, length = np.array([track.x, track.y]), float(row.length)
        along = np.array([np.cos(row.angle), np.sin(row.angle)])
        distance = _from_line(place, middle, along, length / 2)
        own = sign == (1 if row.frame == "science" else -1)
        real = (distance <= max(1.5, 0.75 * fwhm)) & own
        doubtful = (distance <= 2.5 * fwhm) & ~real
        out.loc[doubtful, "label"] = -1
        out.loc[real, ["label", "kind", "source"]] = [1, "mover", number]


def _from_line(place: _Floats, middle: _Floats, along: _Floats, half: float) -> _Floats:
    """Return the distance of places from a line of some half length, px."""
    offset = place - middle
    beyond = np.maximum(np.abs(offset @ along) - half, 0)
    return np.hypot(beyond, offset @ np.array([-along[1], along[0]]))


def _defects(place: _Floats, field: Field, fwhm: float) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Return the kind of the nearest defect that reaches a place, or ``noise``; and where it is nearer than a FWHM."""
    kinds, nearest = np.full(len(place), "noise", object), np.full(len(place), np.inf)
    pointing, rows = field.pointing, field.defects[field.defects["kind"] != "mover"]
    x, y = rows["x"].to_numpy(float, copy=True), rows["y"].to_numpy(float, copy=True)
    there = (rows["frame"] == "science").to_numpy()
    if there.any():
        sky = pointing.science.all_pix2world(x[there] - pointing.shift[0], y[there] - pointing.shift[1], 0)
        x[there], y[there] = pointing.reference.all_world2pix(*sky, 0)
    for px, py, row in zip(x, y, rows.itertuples(), strict=True):
        along, length = np.array([np.cos(row.angle), np.sin(row.angle)]), float(row.length)
        # A trail crosses the frame through its place; all others begin there.
        middle = np.array([px, py]) + (0 if row.kind == "trail" else length / 2) * along * (length > 1)
        distance = _from_line(place, middle, along, length if row.kind == "trail" else (length > 1) * length / 2)
        own = (distance < nearest) & (distance <= max(2.0, _REACH[str(row.kind)] * fwhm))
        kinds[own] = _CALLED.get(str(row.kind), str(row.kind))
        nearest[own] = distance[own]
    return kinds, nearest <= fwhm


def _residues(
    out: pd.DataFrame, near: NDArray[np.bool_], place: _Floats, sign: _Floats, field: Field, band: Band, fwhm: float
) -> None:
    """Tell what no defect explains: saturated stars, stars and galaxies that do not cancel, edges."""
    left = (out["kind"] == "noise").to_numpy()
    sources = field.sources
    full = sources[sources["saturated"]]
    bright = sources[~sources["saturated"] & (sources[["snr_science", "snr_reference"]].min(axis=1) > _BRIGHT)]
    rows, columns = (np.rint(place[:, k]).astype(int).clip(0, band.mask.shape[1 - k] - 1) for k in (1, 0))
    ny, nx = band.mask.shape
    border = np.minimum(place, np.array([nx - 1, ny - 1]) - place).min(axis=1, initial=np.inf)
    edge = (border < 2 * fwhm) | ((band.mask[rows, columns] & int(Bit.EDGE)) != 0)
    out.loc[left & edge, "kind"] = "edge"
    residue = left & _within(place, bright, 1.5 * fwhm + bright["half_light"].to_numpy())
    pairs = cKDTree(place).query_ball_point(place, 1.5 * fwhm) if len(place) else []
    mirrored = np.array([bool((sign[found] != sign[k]).any()) for k, found in enumerate(pairs)], bool)
    out.loc[residue, "kind"] = "residue"
    out.loc[residue & mirrored, "kind"] = "dipole"
    out.loc[left & _within(place, full, np.full(len(full), 6 * fwhm)), "kind"] = "saturated"


def _within(place: _Floats, sources: pd.DataFrame, radius: _Floats) -> NDArray[np.bool_]:
    """Return which places are within the radius of a source."""
    found = np.zeros(len(place), bool)
    if len(sources) and len(place):
        for near in cKDTree(place).query_ball_point(sources[["x", "y"]].to_numpy(float), radius):
            found[near] = True
    return found
