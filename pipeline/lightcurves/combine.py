"""Scores of all sectors → one row per star, as an immutable snapshot.

Everything in a snapshot follows from what it was made from: sectors in any order, or all at once, give the same bytes.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest
from pipeline.errors import Missing, Stale
from pipeline.lightcurves import preprocess
from pipeline.manifest import Object, Record
from pipeline.metrics import combine_scores
from pipeline.partition import CADENCES, Key
from pipeline.settings import digest

__all__ = ["CURRENT", "VERSION", "Snapshot", "combine", "publish", "snapshots"]

VERSION = 1

#: The one file people open.
CURRENT = "catalogs/eclipsing_binaries.parquet"

_SCORES = "eclipsing_binary_scores"
_KEYS = ["sector", "cadence_s", "tic_id", "segment"]


@dataclass(frozen=True)
class Snapshot:
    """A committed star table: number, release, path in the workspace, rows."""

    number: int
    release: str
    path: str
    rows: int


def folder(model_id: str) -> str:
    """Return the folder of a model's snapshots below ``catalogs/``, and of their manifests."""
    return f"eclipsing_binaries/model={model_id}"


def snapshots(workspace: Folder, model_id: str) -> list[Snapshot]:
    """Return a model's committed snapshots, oldest first."""
    found = []
    for key in manifest.committed(workspace, "combine", folder(model_id)):
        record = manifest.read(workspace, "combine", key)
        if record is not None:
            found.append(Snapshot(**record.details["snapshot"]))
    return sorted(found, key=lambda snapshot: snapshot.number)


def combine(workspace: Folder, model_id: str, model_sha256: str) -> Snapshot:
    """Combine all committed scores of a model into a snapshot; the same scores give the one that is there.

    Parameters
    ----------
    workspace : Folder
        Holds scores and segments; receives the snapshot.
    model_id, model_sha256 : str
        The model.

    Raises
    ------
    Missing
        If there are no scores of this model.
    Stale
        If scores were made from curves that have changed since.
    """
    started = time.time()
    records = _records(workspace, model_id)
    upstream = {manifest.path("score", record.key): record.identity for record in records}
    release = digest([upstream, VERSION])[:16]
    key = f"{folder(model_id)}/release={release}"
    done = manifest.read(workspace, "combine", key)
    if done is not None:
        return Snapshot(**done.details["snapshot"])
    settings_hash = digest({})[:16]
    provenance = {
        "catalog_release": release,
        "model_id": model_id,
        "model_sha256": model_sha256,
        "stage_version": VERSION,
        "settings_hash": settings_hash,
        "manifest_key": f"combine/{key}",
    }
    stars = _stars(_segments(workspace, records)).assign(**provenance)
    table = pa.Table.from_pandas(stars, schema=schema.STARS.arrow_schema(), preserve_index=False)
    data = write.to_bytes(table, schema.STARS)
    number = _place(workspace, model_id, data)
    snapshot = Snapshot(number, release, _path(model_id, number), len(table))
    record = Record(
        stage="combine",
        version=VERSION,
        key=key,
        settings={},
        settings_hash=settings_hash,
        upstream=upstream,
        objects=[Object.of(snapshot.path, data)],
        rows=len(table),
        counts={"done": sum(record.rows for record in records)},
        details={"snapshot": asdict(snapshot)},
        provenance=manifest.provenance(started),
    )
    manifest.verify(workspace, record.objects)
    return Snapshot(**manifest.commit(workspace, record).details["snapshot"])


def publish(workspace: Folder, snapshot: Snapshot) -> None:
    """Make a snapshot the table people open; atomically."""
    data = workspace.read(snapshot.path)
    if not workspace.exists(CURRENT) or workspace.read(CURRENT) != data:
        workspace.write(CURRENT, data)


def _path(model_id: str, number: int) -> str:
    return f"catalogs/{folder(model_id)}/snapshot-{number:06d}.parquet"


def _place(workspace: Folder, model_id: str, data: bytes) -> int:
    """Write a snapshot under the next free number; no file that is there is ever changed.

    One of the same bytes is taken for it: a run that was killed before its commit left it, or another is about to
    commit the same.
    """
    number = max((snapshot.number for snapshot in snapshots(workspace, model_id)), default=0) + 1
    while not workspace.create(_path(model_id, number), data) and workspace.read(_path(model_id, number)) != data:
        number += 1
    return number


def _records(workspace: Folder, model_id: str) -> list[Record]:
    records = []
    for key in sorted(manifest.committed(workspace, "score", f"{_SCORES}/model={model_id}")):
        record = manifest.read(workspace, "score", key)
        if record is None:
            continue
        if (changed := manifest.stale(workspace, record)) is not None:
            cure = "run preprocess_sectors and score_sectors for that sector, with --overwrite"
            raise Stale(f"{key}: stale, {changed} has changed since; {cure}")
        records.append(record)
    if not records:
        raise Missing(f"{workspace}: no scores of {model_id}; run score_sectors")
    return records


def _segments(workspace: Folder, records: list[Record]) -> pd.DataFrame:
    """Return every scored segment with its star's facts, sorted."""
    frames = []
    for record in records:
        path = next(item.path for item in record.objects if item.path.startswith("catalogs/"))
        scores = write.read(workspace, path, schema.SCORES).select([*_KEYS, "score"]).to_pandas()
        name = next(name for name in record.upstream if name.startswith("manifest/preprocess/"))
        curves = Key.parse(name.removeprefix("manifest/preprocess/").removesuffix(".json"))
        columns = [*_KEYS, "ra", "dec", "tmag", "gls_period", "gls_power"]
        index = write.read(workspace, preprocess.index_path(curves), schema.SEGMENTS).select(columns).to_pandas()
        frames.append(scores.merge(index, on=_KEYS, how="left", validate="one_to_one"))
    joined = pd.concat(frames, ignore_index=True)
    # A star of several cadences in a sector is one observation: its photons are not counted twice.
    rank = joined["cadence_s"].map({cadence: order for order, cadence in enumerate(CADENCES)})
    joined = joined[rank == rank.groupby([joined["tic_id"], joined["sector"]]).transform("min")]
    return joined.sort_values(["tic_id", "sector", "cadence_s", "segment"], ignore_index=True)


def _stars(segments: pd.DataFrame) -> pd.DataFrame:
    """Return one row per star of segments sorted by star, sector, cadence, segment.

    Facts come from its last sector, the period from its most significant periodogram.
    """
    columns: dict[str, Any] = {}
    tic_id = segments["tic_id"].to_numpy()
    starts = np.flatnonzero(np.r_[True, tic_id[1:] != tic_id[:-1]]) if len(tic_id) else np.empty(0, int)
    counts = np.diff(np.r_[starts, len(tic_id)])
    columns["tic_id"] = tic_id[starts]
    grouped = segments.groupby("tic_id", sort=True)
    for fact in ("ra", "dec", "tmag"):
        columns[fact] = grouped[fact].last().to_numpy()
    sectors = segments["sector"].to_numpy()
    columns["sectors"] = [np.unique(part) for part in np.split(sectors, starts[1:])] if len(starts) else []
    columns["n_segments"] = counts
    columns["score"] = combine_scores(tic_id, segments["score"])[1]
    columns["score_max"] = grouped["score"].max().to_numpy()
    by_power = segments.sort_values(["tic_id", "gls_power"], kind="stable", na_position="first")
    columns["gls_period"] = by_power.groupby("tic_id", sort=True)["gls_period"].last().to_numpy()
    return pd.DataFrame(columns)


def current_model(workspace: Folder) -> str | None:
    """Return the model of the table people open, or None if there is none yet."""
    if not workspace.exists(CURRENT):
        return None
    table = write.read(workspace, CURRENT, schema.STARS)
    return str(table["model_id"][0]) if len(table) else None
