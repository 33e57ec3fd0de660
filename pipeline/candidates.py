"""Scores of candidates, of all partitions of one model → the catalogue of transient candidates, as a snapshot.

Partitions in any order, or all at once, give the same bytes; of one candidate in several packets the one of the lowest
checksum counts. What our own differences know since then (names, self-tests) comes in from the catalogue of candidates.
"""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from catalogs import review, write
from catalogs.candidates import CANDIDATES
from catalogs.columns import PROVENANCE
from catalogs.folder import Folder
from catalogs.transient_candidates import TRANSIENT_CANDIDATES
from pipeline import manifest, moves
from pipeline.commits import each
from pipeline.errors import Missing
from pipeline.images.combine import SERIES
from pipeline.manifest import Record
from pipeline.partition import Key
from pipeline.settings import digest
from pipeline.snapshots import Series, Snapshot

__all__ = ["CURRENT", "STAGE", "VERSION", "Scored", "combine", "folder", "follow", "precedence", "publish",
           "with_scores"]  # fmt: skip

#: The stage that scores.
STAGE = "score_candidates"

#: To be raised whenever the same scores give other bytes.
VERSION = 1

#: The one file people open.
CURRENT = f"catalogs/{TRANSIENT_CANDIDATES.name}.parquet"


@dataclass(frozen=True)
class Scored:
    """What candidates were scored by: the threshold of p_real, and the catalogue with its release."""

    threshold: float
    source: dict[str, str]


_ORDER = ("candidate_id", "packet_sha256", "packet_row")


def folder(model_id: str) -> Key:
    """Return product and folder of a model's partitions, in a key whose number means nothing."""
    return Key(TRANSIENT_CANDIDATES.name, f"model={model_id}", 0)


def precedence(row: Mapping[str, Any]) -> tuple[str, int]:
    """Return by what rows of one candidate are ordered: the lowest counts."""
    return row.get("packet_sha256") or "", row.get("packet_row") or 0


def combine(
    workspace: Folder, model_id: str, model_sha256: str, reviews: pd.DataFrame | None = None
) -> tuple[Snapshot, list[str]]:
    """Put the catalogue of a model together and commit it; the same inputs give the snapshot that is there.

    Parameters
    ----------
    workspace : Folder
        Holds scores, receives the snapshot.
    model_id, model_sha256 : str
        The model.
    reviews : pandas.DataFrame, optional
        Of `catalogs.review.labels`: what people said.

    Returns
    -------
    snapshot : Snapshot
        Not published yet.
    notes : list of str
        What was left out.
    """
    started, series = time.time(), Series(TRANSIENT_CANDIDATES, VERSION, model_id)
    records, notes = _records(workspace, model_id)
    known = SERIES.newest(workspace)
    settings = {
        "scores": sorted({record.settings_hash for record in records}),
        "reviews": None if reviews is None else digest(review.consensus(reviews).to_dict("records")),
    }
    # By their contents: which partition a file came into depends on what came before.
    release = digest([_contents(records), VERSION, settings, model_sha256, known and known.release])[:16]
    snapshot = series.renewed(workspace, release)
    if snapshot is None:
        table = _table(workspace, records)
        if known is not None:
            table = _updated(table, write.read(workspace, known.path, CANDIDATES))
        if reviews is not None:
            table = _reviewed(table, reviews)
        for name, value in series.provenance(release, settings).items():
            table = _with(table, name, pa.array([value] * len(table), TRANSIENT_CANDIDATES[name].dtype))
        upstream = {manifest.path(STAGE, record.key): record.identity for record in records}
        snapshot = series.commit(
            workspace, release, table, settings=settings, upstream=upstream, started=started,
            inputs=sum(record.rows for record in records),
        )  # fmt: skip
    return snapshot, notes


def publish(workspace: Folder, snapshot: Snapshot) -> None:
    """Make a snapshot the table people open; atomically."""
    Series(TRANSIENT_CANDIDATES, VERSION).publish(workspace, snapshot)


def follow(workspace: Folder, model_id: str) -> str:
    """Publish the newest snapshot of a model that has become production, if it has one; say what is shown now.

    What another model has made (another name, not another version) stays.
    """
    shown, name = _shown(workspace), model_id.rpartition("-")[0]
    state = f"{workspace.url(CURRENT)} still shows {shown}" if shown else f"{workspace.url(CURRENT)} is not there yet"
    if shown and shown.rpartition("-")[0] != name:
        return f"{state}, of another model"
    found = Series(TRANSIENT_CANDIDATES, VERSION, model_id).newest(workspace)
    if found is None:
        cure = f"python -m jobs.score_candidates --workspace {shlex.quote(str(workspace))} --model {name}"
        return f"{model_id} has no catalogue: {state}; to make it: {cure}"
    publish(workspace, found)
    return f"{workspace.url(CURRENT)}: {found.rows} rows of {model_id}"


def _shown(workspace: Folder) -> str:
    """Return the model of the table people open; empty if there is none, or no row in it."""
    if not workspace.exists(CURRENT):
        return ""
    table = write.read(workspace, CURRENT)  # of whatever version: who it is by is in all of them
    return str(table["model_id"][0]) if len(table) else ""


def _production(workspace: Folder, name: str) -> str | None:
    """Return the version of a model that this workspace has put in production; None if it has not."""
    return moves.read(workspace.child("models"), name).aliases.get("production")


def with_scores(workspace: Folder, rows: pd.DataFrame) -> tuple[pd.DataFrame, Scored | None]:
    """Return candidates with p_real and model_id, model_sha256 of the model in production, where it has scored them.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue of transient candidates, if there is one.
    rows : pandas.DataFrame
        As `CANDIDATES`.

    Returns
    -------
    rows : pandas.DataFrame
        The same, if no candidate has been scored.
    scored : Scored or None
        By what.

    Raises
    ------
    Missing
        If the catalogue is by another version than the one in production.
    """
    if not workspace.exists(CURRENT):
        return rows, None
    names = ["candidate_id", "p_real", "model_id", "model_sha256", "threshold", "catalog_release"]
    table = write.read(workspace, CURRENT, TRANSIENT_CANDIDATES).select(names).to_pandas().set_index("candidate_id")
    table = table[table.index.isin(rows["candidate_id"])]
    if not len(table):
        return rows, None
    by = str(table["model_id"].iloc[0])
    name = by.rpartition("-")[0]
    if (wanted := _production(workspace, name)) not in (None, by):
        cure = f"run score_candidates with {name}, or promote {name}@{by} again"
        raise Missing(f"{workspace.url(CURRENT)} is by {by}, but {wanted} is in production; {cure}")
    own = table.reindex(rows["candidate_id"])
    found = {name: own[name].to_numpy() for name in ("p_real", "model_id", "model_sha256")}
    first = table.iloc[0]
    return rows.assign(**found), Scored(float(first["threshold"]), {CURRENT: str(first["catalog_release"])})


def _records(workspace: Folder, model_id: str) -> tuple[list[Record], list[str]]:
    """Return the manifests of a model's scores, and which are left out, as their differences were made anew."""
    own = folder(model_id)
    keys = sorted(manifest.committed(workspace, STAGE, f"{own.product}/{own.where}"))
    found = [record for record in each(lambda key: manifest.read(workspace, STAGE, key), keys) if record]
    old = {record.key for record in found if manifest.stale(workspace, record)}
    cure = "run score_candidates --overwrite"
    return [record for record in found if record.key not in old], [
        f"left out, stale: {key}; {cure}" for key in sorted(old)
    ]


def _contents(records: Sequence[Record]) -> list[Any]:
    """Return what was scored and how, whatever partitions it came into: slices of a file that meet are one."""
    found: set[tuple[Any, ...]] = set()
    ends: dict[tuple[Any, ...], dict[int, int]] = {}
    for record in records:
        how = (record.settings_hash, record.version)
        for source in record.details["sources"]:
            if len(source) == 3:
                ends.setdefault((*how, source[0]), {})[source[1]] = source[2]
            else:
                found.add((*how, *source))
    for file, stops in ends.items():
        while stops:
            first = min(stops)
            stop = stops.pop(first)
            while stop in stops:
                stop = stops.pop(stop)
            found.add((*file, first, stop))
    return [list(one) for one in sorted(found, key=str)]


def _table(workspace: Folder, records: Sequence[Record]) -> pa.Table:
    paths = [f"catalogs/{record.key}.parquet" for record in records]
    tables = each(lambda path: write.read(workspace, path, TRANSIENT_CANDIDATES), paths)
    table = pa.concat_tables([TRANSIENT_CANDIDATES.empty(), *tables])
    table = table.filter(pc.invert(table["is_injected"])).sort_by([(name, "ascending") for name in _ORDER])
    names = np.asarray(table["candidate_id"].to_pylist(), object)
    return table.filter(pa.array(np.append(True, names[1:] != names[:-1])[: len(names)]))


def _updated(table: pa.Table, newest: pa.Table) -> pa.Table:
    """Return rows with what the catalogue of candidates tells of them now."""
    place = pc.index_in(table["candidate_id"], newest["candidate_id"].combine_chunks()).combine_chunks()
    own = {"p_real", *(column.name for column in PROVENANCE)}
    for name in (name for name in CANDIDATES.names if name not in own):
        values = pc.if_else(pc.is_valid(place), newest[name].take(place), table[name])
        table = _with(table, name, values)
    return table


def _reviewed(table: pa.Table, given: pd.DataFrame) -> pa.Table:
    """Return rows with what people said of them."""
    said = review.reviewed(table.select(["candidate_id"]).to_pandas(), given)
    for name in review.REVIEW:
        table = _with(table, name, pa.array(said[name], pa.string()))
    return table


def _with(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), TRANSIENT_CANDIDATES[name].field, values)
