"""Where a workspace stands: what is done, rejected, missing or stale, and where a star's row comes from."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest
from pipeline.commits import Log, each
from pipeline.errors import Corrupt, Missing, Stale
from pipeline.lightcurves import combine, plan, preprocess
from pipeline.manifest import Record
from pipeline.partition import Key, where_sector
from pipeline.stage import State, outcome_path

__all__ = ["check_complete", "check_sectors", "committed_parts", "explain", "outcomes", "planned", "status"]

_PRODUCTS = {"ingest": "lightcurves", "preprocess": "curves"}
_SCORES = "eclipsing_binary_scores"


def _product(stage: str, name: str, model: str = "") -> str:
    """Return the folder of a store's partitions: ``curves/s0001``, ``…_scores/model=<id>/sector=0001``."""
    return f"{_SCORES}/model={model}/sector={name[1:]}" if stage == "score" else f"{_PRODUCTS[stage]}/{name}"


def planned(workspace: Folder, sectors: Sequence[int] | None = None) -> list[str]:
    """Return the stores that have a plan, ``s0001``, ``s0001-ffi1800``, of the given sectors (default all)."""
    return [name for name in plan.names(workspace) if sectors is None or where_sector(name) in sectors]


def check_sectors(workspace: Folder, names: Sequence[str], sectors: Sequence[int] | None) -> None:
    """Check that there is a store for every sector asked for.

    Raises
    ------
    Missing
        Naming the sectors that were never ingested.
    """
    absent = sorted(set(sectors or []) - {where_sector(name) for name in names})
    if absent or not names:
        which = f"sectors {', '.join(map(str, absent))}" if absent else "nothing"
        found = f"ingested: {', '.join(names)}" if names else "run ingest_sectors first"
        raise Missing(f"{workspace}: {which + ' not' if absent else which} ingested; {found}")


def check_complete(workspace: Folder, names: Sequence[str], stage: str) -> None:
    """Check that every planned partition of some stores is committed by a stage, from what is there now.

    Raises
    ------
    Missing
        Naming the first partitions that are not, and the ways out.
    Stale
        Naming the first that were made from what has changed since.
    """
    log = Log(workspace)
    missing, stale = [], []
    for name, (parts, _) in zip(names, each(partial(_planned_parts, workspace), names), strict=True):
        there = log.commits(stage, _product(stage, name))
        for key in (str(Key(_PRODUCTS[stage], name, part)) for part in parts):
            if key not in there:
                missing.append(key)
            elif log.is_stale(there[key].path):
                stale.append(key)
    if missing:
        raise Missing(
            f"{workspace}: not committed by {stage}: {_some(missing)}; "
            f"run {stage}_sectors first, or go on without them with --partial"
        )
    if stale:
        cure = f"run {stage}_sectors for these sectors with --overwrite"
        raise Stale(f"{workspace}: stale, made from what has changed since: {_some(stale)}; {cure}")


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def _planned_parts(workspace: Folder, name: str) -> tuple[list[int], int]:
    """Return a store's partitions, and how many files its plan refuses."""
    table = plan.load(workspace, name)
    if table is None:
        return [], 0
    return plan.partitions(table), int(pc.sum(pc.equal(table["verdict"], plan.REJECTED)).as_py() or 0)


def committed_parts(workspace: Folder, stage: str, product: str = "") -> set[str]:
    """Return ``s0001/part-00007`` of every partition a stage has committed."""
    keys = map(Key.parse, manifest.committed(workspace, stage, product))
    return {f"s{key.where.rsplit('=', 1)[-1].removeprefix('s')}/part-{key.part:05d}" for key in keys}


def status(workspace: Folder, sectors: Sequence[int] | None = None, log: Log | None = None) -> pd.DataFrame:
    """Return one row per store and stage, counted from plans and manifests.

    Parameters
    ----------
    workspace : Folder
        Holds them.
    sectors : sequence of int, optional
        Sectors wanted; default all that are planned.
    log : Log, optional
        The commit log, if it was read already.

    Returns
    -------
    pandas.DataFrame
        store, stage, partitions planned and committed, stale; inputs done, nothing, rejected, failed; rows.
    """
    log = log or Log(workspace)
    names, models, rows = planned(workspace, sectors), _models(workspace), []
    for name, (parts, refused) in zip(names, each(partial(_planned_parts, workspace), names), strict=True):
        rows.append(_line(log, "ingest", name, len(parts), refused=refused))
        rows.append(_line(log, "preprocess", name, len(parts)))
        rows += [_line(log, "score", name, len(parts), model) for model in models]
    columns = ["store", "stage", "planned", "committed", "stale", *map(str, State), "rows"]
    return pd.DataFrame(rows, columns=columns)


def _models(workspace: Folder) -> list[str]:
    found = manifest.committed(workspace, "score")
    return sorted({key.split("model=")[1].split("/")[0] for key in found})


def _line(log: Log, stage: str, name: str, parts: int, model: str = "", refused: int = 0) -> dict[str, Any]:
    commits = log.commits(stage, _product(stage, name, model)).values()
    counts: Counter[str] = Counter({str(State.REJECTED): refused})
    for commit in commits:
        counts.update(commit.counts)
    return {
        "store": name,
        "stage": f"{stage} {model}".rstrip(),
        "planned": parts,
        "committed": len(commits),
        "stale": sum(log.is_stale(commit.path) for commit in commits),
        "rows": sum(commit.rows for commit in commits),
        **{str(state): counts[str(state)] for state in State},
    }


def outcomes(
    workspace: Folder,
    stage: str,
    sectors: Sequence[int] | None = None,
    *,
    model: str | None = None,
    states: Collection[State] = tuple(State),
    log: Log | None = None,
) -> pd.DataFrame:
    """Return the final state of every input of a stage, with reason and message.

    For ``ingest`` the files that the plan refused come with those whose light curve was tried.

    Parameters
    ----------
    workspace : Folder
        Holds plans, manifests and the tables of outcomes.
    stage : str
        ``ingest``, ``preprocess`` or ``score``.
    sectors : sequence of int, optional
        Sectors wanted; default all that are planned.
    model : str, optional
        For ``score``, the model's id; default every one.
    states : collection of State
        Those wanted; tables whose manifest counts none of them are not read.
    log : Log, optional
        The commit log, if it was read already.

    Returns
    -------
    pandas.DataFrame
        store, model (for ``score``), input, state, reason, message; sorted.
    """
    log = log or Log(workspace)
    models = [""] if stage != "score" else _models(workspace) if model is None else [model]
    names, frames, wanted = planned(workspace, sectors), [], []
    if stage == "ingest" and State.REJECTED in states:
        frames += each(partial(_refused, workspace), names)
    for name in names:
        for model_id in models:
            commits = log.commits(stage, _product(stage, name, model_id))
            keys = [key for key, commit in commits.items() if any(commit.counts.get(str(state)) for state in states)]
            wanted += [(key, {"store": name, "model": model_id}) for key in keys]
    tables = each(lambda item: _outcome_table(workspace, stage, item[0], states), wanted)
    frames += [table.assign(**place) for table, (_, place) in zip(tables, wanted, strict=True)]
    columns = ["store", *(["model"] if stage == "score" else []), *schema.OUTCOMES.names]
    frames = [frame[columns] for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True).sort_values(columns[:-3], ignore_index=True)


def _refused(workspace: Folder, name: str) -> pd.DataFrame:
    table = plan.load(workspace, name)
    if table is None:
        return pd.DataFrame()
    refused = table.filter(pc.equal(table["verdict"], plan.REJECTED)).to_pandas()
    return refused.rename(columns={"file": "input"}).assign(state=str(State.REJECTED), store=name)


def _outcome_table(workspace: Folder, stage: str, key: str, states: Collection[State]) -> pd.DataFrame:
    table = write.read(workspace, outcome_path(stage, Key.parse(key)), schema.OUTCOMES).to_pandas()
    return table[table["state"].isin([str(state) for state in states])]


def explain(workspace: Folder, tic_id: int) -> dict[str, Any]:
    """Walk a star back from its catalogue row to the files it was made from.

    Returns
    -------
    dict
        ``row`` (the catalogue's, or None); ``model`` that gave its score and ``snapshot`` it stands in (None without a
        row); ``sources``: for each store that has the star, its file with address, size and SHA-256, and for each
        stage the manifest, version, settings and what was made of the star, its scores with their runtime.

    Raises
    ------
    Missing
        If no plan has the star.
    """
    names = planned(workspace)
    found = each(partial(_plan_rows, workspace, tic_id), names)
    if not any(found):
        raise Missing(f"{workspace}: TIC {tic_id} is in no plan; was its sector ingested?")
    row = _catalogue_row(workspace, tic_id)
    release = manifest.read(workspace, *row["manifest_key"].split("/", 1)) if row else None
    models = [row["model_id"]] if row else _models(workspace)
    log = Log(workspace)
    sources = [_source(log, name, item, models) for name, rows in zip(names, found, strict=True) for item in rows]
    snapshot = None
    if release is not None:
        where = {"path": release.objects[0].path, "manifest": manifest.path(release.stage, release.key)}
        snapshot = where | {"settings": release.settings, "provenance": release.provenance}
    return {
        "tic_id": tic_id,
        "row": row,
        "model": _model(workspace, row["model_id"], row["model_sha256"]) if row else None,
        "snapshot": snapshot,
        "sources": sources,
    }


def _plan_rows(workspace: Folder, tic_id: int, name: str) -> list[dict[str, Any]]:
    table = plan.load(workspace, name)
    rows: list[dict[str, Any]] = [] if table is None else table.filter(pc.equal(table["tic_id"], tic_id)).to_pylist()
    return rows


def _catalogue_row(workspace: Folder, tic_id: int) -> dict[str, Any] | None:
    if not workspace.exists(combine.CURRENT):
        return None
    stars = write.read(workspace, combine.CURRENT, schema.STARS)
    found: list[dict[str, Any]] = stars.filter(pc.equal(stars["tic_id"], tic_id)).to_pylist()
    return found[0] if found else None


#: What of a model's card leads on: the lists it learnt from with their checksums, and how it was trained and judged.
_CARD = ("recipe", "split", "settings", "settings_hash", "best_epoch", "metrics", "provenance")
_CARD_DATA = ("labels", "negatives", "labelled_stars", "counts")


def _model(workspace: Folder, model_id: str, sha256: str) -> dict[str, Any]:
    name, _, version = model_id.rpartition("-")
    path = f"models/{name}/{version}/card.json"
    found: dict[str, Any] = {"id": model_id, "weights_sha256": sha256}
    if not workspace.exists(path):
        return found | {"card": f"not in this workspace; models/weights/{name}/{version}/card.json if it was shipped"}
    try:
        card = json.loads(workspace.read(path))
    except ValueError as error:
        raise Corrupt(f"{workspace.url(path)} is not JSON ({error}); copy it anew") from error
    data = {key: value for key, value in card.get("data", {}).items() if key in _CARD_DATA}
    return found | {"card": path, "data": data} | {key: card[key] for key in _CARD if key in card}


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
    for model in models:
        key = Key(_SCORES, f"model={model}/sector={name[1:]}", part)
        made, record = _step(log, "score", key)
        if record is not None:
            table = write.read(workspace, f"catalogs/{key}.parquet", schema.SCORES)
            table = table.filter(pc.equal(table["tic_id"], tic_id)).select(["segment", "score"])
            made |= {"runtime": record.details.get("runtime"), "segments": table.to_pylist()}
        found["scores"].append({"model_id": model} | made)
    return found


def _step(log: Log, stage: str, key: Key) -> tuple[dict[str, Any], Record | None]:
    """Return what there is to say of a partition's commit, and the record of it."""
    path, record = manifest.path(stage, key), manifest.read(log.workspace, stage, key)
    if record is None:
        return {"manifest": None, "note": "not committed"}, None
    facts = {name: getattr(record, name) for name in ("version", "settings", "settings_hash")}
    made = {name: record.provenance.get(name) for name in ("finished", "host")}
    return {"manifest": path, **facts, **made, "stale": log.is_stale(path)}, record
