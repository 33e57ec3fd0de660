"""What differences there are, and what each says of given places: read from the stores, a window of rows at a time."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.folder import Folder
from pipeline import manifest, stores
from pipeline.commits import Log
from pipeline.errors import Stale
from pipeline.images import image
from pipeline.images.align import to_pixels
from pipeline.images.coordinates import wcs_from
from pipeline.images.difference import DIFFERENCE, MATCH, difference_path
from pipeline.images.epochs import light_curves, mirrored
from pipeline.images.footprints import contains
from pipeline.images.forced import calibrated, photometry
from pipeline.partition import Key

__all__ = ["Coverage", "Task", "coverage", "measure", "photographed", "tasks"]

#: Rows read at a time, and rows beyond them that a place at their edge still needs.
_ROWS, _MARGIN = 256, 32


class Coverage(NamedTuple):
    """The differences of a workspace.

    Parameters
    ----------
    frames : pandas.DataFrame
        One row a difference, by pair_id: filter, mjd_mid, time_scale, footprint (of the science image, deg), zp_ab
        (None if unknown), radius (FWHM, px) and rows (committed bands: first row and the one after the last).
    upstream : dict
        Manifest path → identity of every band.
    """

    frames: pd.DataFrame
    upstream: dict[str, str]


class Task(NamedTuple):
    """What is to be measured in one difference.

    Parameters
    ----------
    frame : dict
        Row of `Coverage.frames`.
    objects : pandas.DataFrame
        object_id, ra, dec of the objects that it covers.
    detections : pandas.DataFrame
        object_id, pair_id, candidate_id, snr of those detected there.
    """

    frame: dict[str, Any]
    objects: pd.DataFrame
    detections: pd.DataFrame


def coverage(workspace: Folder) -> Coverage:
    """Return the committed differences of a workspace.

    Parameters
    ----------
    workspace : Folder
        Holds them.

    Raises
    ------
    Stale
        If one was made from a match or an image that has changed since.
    """
    found: dict[str, list[manifest.Record]] = {}
    upstream = {}
    log = Log(workspace)
    for text, commit in log.commits(DIFFERENCE, "").items():
        record = manifest.read(workspace, DIFFERENCE, text)
        if record is None or "rows" not in record.details:
            continue
        if log.is_stale(commit.path):
            raise Stale(f"{text}: stale, its images have changed since; run difference_images again with --overwrite")
        upstream[commit.path] = commit.identity
        found.setdefault(Key.parse(text).where, []).append(record)
    images = {row["image_id"]: row for row in image.index(workspace).to_dict("records")}
    rows = [_frame(workspace, pair_id, records, images) for pair_id, records in sorted(found.items())]
    names = ["pair_id", "filter", "mjd_mid", "time_scale", "footprint", "zp_ab", "radius", "rows"]
    return Coverage(pd.DataFrame(rows, columns=names), upstream)


def _frame(
    workspace: Folder, pair_id: str, records: Sequence[manifest.Record], images: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    top = manifest.path(image.STAGE, "images/")[: -len(".json")]
    used = [path.removeprefix(top).split("/")[-2] for path in records[0].upstream if path.startswith(top)]
    science = images[_science(pair_id, used)]
    matched = manifest.read(workspace, MATCH, Key("matches", pair_id, 0))
    widths = [] if matched is None else [matched.details[f"{name}_fwhm_px"] for name in ("science", "reference")]
    zp_ab = science["zp_ab"]
    return {
        "pair_id": pair_id, "filter": science["filter"], "mjd_mid": science["mjd_mid"],
        "time_scale": science["time_scale"], "footprint": science["footprint"],
        "zp_ab": None if zp_ab is None or not np.isfinite(zp_ab) else float(zp_ab), "radius": max(widths, default=2.0),
        "rows": [record.details["rows"] for record in records],
    }  # fmt: skip


def _science(pair_id: str, used: Sequence[str]) -> str:
    """Return the science image of a pair: both names make up the pair's, where one may begin with the other."""
    return next(one for one, other in permutations(used, 2) if pair_id == f"{one}-{other}")


def tasks(frames: pd.DataFrame, objects: pd.DataFrame, detections: pd.DataFrame) -> list[Task]:
    """Return what there is to measure, one task a difference that covers an object.

    Parameters
    ----------
    frames : pandas.DataFrame
        As in `Coverage`.
    objects, detections : pandas.DataFrame
        As `pipeline.images.associate.associate` gives them.
    """
    places = objects[["object_id", "ra", "dec"]].astype({"ra": float, "dec": float})
    told = detections.loc[detections["object_id"].notna(), ["object_id", "pair_id", "candidate_id", "snr"]]
    by_pair = dict(list(told.groupby("pair_id")))
    found = []
    for frame in frames.to_dict("records"):
        seen = by_pair.get(frame["pair_id"], told.iloc[:0])
        near = contains(frame["footprint"], places["ra"], places["dec"]) if len(places) else np.zeros(0, bool)
        for pair_id in mirrored(frame["pair_id"]):
            near &= ~places["object_id"].isin(by_pair[pair_id]["object_id"]).to_numpy() if pair_id in by_pair else True
        own = places[near | places["object_id"].isin(seen["object_id"]).to_numpy()]
        if len(own):
            found.append(Task({str(name): value for name, value in frame.items()}, own, seen))
    return found


def photographed(workspace: Folder, batch: Sequence[Task]) -> list[pd.DataFrame]:
    """Return the points of light curves that differences give, a table a task.

    Parameters
    ----------
    workspace : Folder
        Holds the differences.
    batch : sequence of Task
        What to measure.
    """
    return [_curves(workspace, task) for task in batch]


def _curves(workspace: Folder, task: Task) -> pd.DataFrame:
    def forced(_: str, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> pd.DataFrame:
        """Measure places in the task's difference."""
        return measure(workspace, task.frame, ra, dec)

    return light_curves(task.objects, task.detections, pd.DataFrame([task.frame]), forced)


def measure(
    workspace: Folder, frame: Mapping[str, Any], ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> pd.DataFrame:
    """Measure places in a difference, reading the rows around them only.

    Parameters
    ----------
    workspace : Folder
        Holds the difference.
    frame : mapping
        Row of `Coverage.frames`.
    ra, dec : (n,) float64
        Places, deg.

    Returns
    -------
    pandas.DataFrame
        As `pipeline.images.forced.calibrated` gives it, in the order of the places. Off the frame and in bands that
        are not committed flux is NaN and flags are 0.
    """
    path = difference_path(frame["pair_id"])
    attrs = stores.shape(workspace, path)
    x, y = to_pixels(wcs_from(attrs["wcs"]), np.asarray(ra, float), np.asarray(dec, float))
    ny, nx = int(attrs["ny"]), int(attrs["nx"])
    on_frame = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    window = np.where(on_frame, np.rint(np.nan_to_num(y)) // _ROWS, 0).astype(int)
    margin = max(_MARGIN, int(frame["radius"]) + 3)
    parts = []
    for number in np.unique(window):
        own = np.flatnonzero(window == number)
        top, bottom = max(0, number * _ROWS - margin), min(ny, (number + 1) * _ROWS + margin)
        planes = stores.read(workspace, path, ("significance", "flux_err", "mask"), slice(top, bottom))
        known = np.zeros(bottom - top, bool)
        for first, last in frame["rows"]:
            known[max(first - top, 0) : max(last - top, 0)] = True
        significance, flux_err, mask = (planes[name] for name in ("significance", "flux_err", "mask"))
        significance[~known], mask[~known] = np.nan, 0
        found = photometry(x[own], y[own] - top, significance, flux_err, mask, float(frame["radius"]))
        parts.append(found.set_index(own))
    table = pd.concat(parts).sort_index()
    flags = np.where(on_frame, table["flags"], 0).astype(np.int32)
    return calibrated(table.assign(flags=flags), frame["zp_ab"])
