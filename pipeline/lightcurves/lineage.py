"""Where a row of the catalogue comes from: back through systems, scores, segments and light curves to files."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest
from pipeline.commits import Log, each
from pipeline.errors import Missing
from pipeline.lightcurves import plan, preprocess, snapshot, status
from pipeline.lightcurves.search import BUCKETS
from pipeline.lineage import model, step
from pipeline.manifest import Record
from pipeline.partition import Key
from pipeline.stage import State

__all__ = ["SystemsState", "explain", "systems"]

_SCORES = "eclipsing_binary_scores"


@dataclass(frozen=True, eq=False)
class SystemsState:
    """What became of the candidates of the published catalogue.

    Attributes
    ----------
    counts : dict
        Partitions planned, committed and stale; candidates done, nothing, rejected and failed.
    outcomes : pandas.DataFrame
        store (``all``: light curves of all stores together), input, state, reason, message; sorted.
    """

    counts: dict[str, int]
    outcomes: pd.DataFrame


def systems(workspace: Folder, states: Collection[State] = tuple(State), log: Log | None = None) -> SystemsState:
    """Return what became of the stars whose ephemerides the published catalogue has.

    Parameters
    ----------
    workspace : Folder
        Holds catalogue, manifests and the tables of outcomes.
    states : collection of State
        Those wanted of the outcomes; tables whose manifest counts none of them are not read.
    log : Log, optional
        The commit log, if it was read already.
    """
    log = log or Log(workspace)
    sources = _published_sources(workspace)
    counts = dict.fromkeys(["planned", "committed", "stale", *map(str, State)], 0)
    frames = [pd.DataFrame(columns=["store", *schema.OUTCOMES.names], dtype=object)]
    for path in sources:
        key = path.removeprefix("manifest/systems/").removesuffix(".json")
        record = manifest.read(workspace, "systems", key)
        counts["planned"] += 1
        if record is None:
            continue
        counts["committed"] += 1
        counts["stale"] += log.is_stale(path)
        for state in State:
            counts[str(state)] += record.counts.get(str(state), 0)
        if any(record.counts.get(str(state)) for state in states):
            frames.append(status.outcome_table(workspace, "systems", key, states).assign(store="all"))
    table = pd.concat([frame.astype(object) for frame in frames], ignore_index=True)
    return SystemsState(counts, table.sort_values("input", ignore_index=True))


def _published_sources(workspace: Folder) -> list[str]:
    """Return the manifests of systems that the published catalogue was put together from, however it was moved."""
    if not workspace.exists(snapshot.CURRENT):
        return []
    table = write.read(workspace, snapshot.CURRENT)  # of whatever version
    todo, found = [f"manifest/{table['manifest_key'][0]}.json"] if len(table) else [], list[str]()
    while todo:
        stage, key = todo.pop().removeprefix("manifest/").removesuffix(".json").split("/", 1)
        record = manifest.read(workspace, stage, key)
        upstream = record.upstream if record else {}
        found += [path for path in upstream if path.startswith("manifest/systems/")]
        todo += [path for path in upstream if path.startswith("manifest/combine/")]
    return sorted(found)


def explain(workspace: Folder, tic_id: int) -> dict[str, Any]:
    """Walk a star back from its catalogue row to the files it was made from.

    Returns
    -------
    dict
        ``row`` (the catalogue's first of the star, or None); ``systems`` (what became of it as a candidate); ``model``
        that gave its score and ``snapshot`` it stands in (None without a row); ``sources``: for each store that has
        the star, its file with address, size and SHA-256, and for each stage the manifest, version, settings and what
        was made of the star, its scores with their runtime.

    Raises
    ------
    Missing
        If no plan has the star.
    """
    names = status.planned(workspace)
    found = each(partial(_plan_rows, workspace, tic_id), names)
    if not any(found):
        raise Missing(f"{workspace}: TIC {tic_id} is in no plan; was its sector ingested?")
    rows = _catalogue_rows(workspace, tic_id)
    row = rows[0] if rows else None
    release = manifest.read(workspace, *row["manifest_key"].split("/", 1)) if row else None
    models = [row["model_id"]] if row else status.model_ids(workspace)
    log = Log(workspace)
    sources = [_source(log, name, item, models) for name, rows in zip(names, found, strict=True) for item in rows]
    snapshot = None
    if release is not None:
        where = {"path": release.objects[0].path, "manifest": manifest.path(release.stage, release.key)}
        snapshot = where | {"settings": release.settings, "provenance": release.provenance}
    return {
        "tic_id": tic_id,
        "row": row,
        "systems": _systems(log, tic_id, rows),
        "model": model(workspace, row["model_id"], row["model_sha256"]) if row else None,
        "snapshot": snapshot,
        "sources": sources,
    }


def _plan_rows(workspace: Folder, tic_id: int, name: str) -> list[dict[str, Any]]:
    table = plan.load(workspace, name)
    rows: list[dict[str, Any]] = [] if table is None else table.filter(pc.equal(table["tic_id"], tic_id)).to_pylist()
    return rows


def _catalogue_rows(workspace: Folder, tic_id: int) -> list[dict[str, Any]]:
    if not workspace.exists(snapshot.CURRENT):
        return []
    stars = write.read(workspace, snapshot.CURRENT, schema.STARS)
    found: list[dict[str, Any]] = stars.filter(pc.equal(stars["tic_id"], tic_id)).to_pylist()
    return found


def _systems(log: Log, tic_id: int, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the step that found a star's ephemerides, or None where none was looked for."""
    bucket = tic_id % BUCKETS
    for path in _published_sources(log.workspace) if rows else []:
        key = Key.parse(path.removeprefix("manifest/systems/").removesuffix(".json"))
        if key.part != bucket:
            continue
        outcome = status.outcome_table(log.workspace, "systems", str(key), tuple(State)).set_index("input")
        if (name := f"TIC {tic_id}") not in outcome.index:
            continue
        made, _ = _step(log, "systems", key)
        message = outcome.loc[name, "message"]
        found = {"state": outcome.loc[name, "state"], "message": None if pd.isna(message) else message}
        known = [{name: row[name] for name in ("eb_id", "period", "period_flag")} for row in rows if row["period"]]
        return made | found | {"ephemerides": known}
    return None


def _source(log: Log, name: str, row: dict[str, Any], models: Sequence[str]) -> dict[str, Any]:
    """Return what became of one file of a star, stage by stage."""
    found: dict[str, Any] = {"store": name, **{k: row[k] for k in ("file", "verdict", "reason", "message", "row")}}
    if row["partition"] is None:
        return found
    workspace, part, tic_id = log.workspace, row["partition"], row["tic_id"]
    key = Key("lightcurves", name, part)
    found["ingest"], record = _step(log, "ingest", key)
    if record is not None:
        archive = record.provenance.get("archive")
        found["address"] = f"{archive}/{row['file']}" if archive else None
        source = next((s for s in record.details["sources"] if s[0] == row["file"]), None)
        found |= {"size": source[2], "sha256": source[3]} if source else {}
    key = Key("curves", name, part)
    found["preprocess"], record = _step(log, "preprocess", key)
    if record is not None:
        index = write.read(workspace, preprocess.index_path(key), schema.SEGMENTS)
        found["segments"] = index.filter(pc.equal(index["tic_id"], tic_id)).to_pylist()
    found["scores"] = []
    for model_id in models:
        key = Key(_SCORES, f"model={model_id}/sector={name[1:]}", part)
        made, record = _step(log, "score", key)
        if record is not None:
            table = write.read(workspace, f"catalogs/{key}.parquet", schema.SCORES)
            table = table.filter(pc.equal(table["tic_id"], tic_id)).select(["segment", "score"])
            made |= {"runtime": record.details.get("runtime"), "segments": table.to_pylist()}
        found["scores"].append({"model_id": model_id} | made)
    return found


def _step(log: Log, stage: str, key: Key) -> tuple[dict[str, Any], Record | None]:
    """Return what there is to say of a partition's commit, and the record of it."""
    record = manifest.read(log.workspace, stage, key)
    return step(log, record), record
