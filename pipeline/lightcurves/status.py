"""Where a workspace stands: what is done, rejected, missing or stale, and where a star's row comes from."""

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
from pipeline.errors import Missing, Stale
from pipeline.lightcurves import plan
from pipeline.partition import Key, where_sector
from pipeline.stage import State, outcome_path

__all__ = [
    "check_complete",
    "check_sectors",
    "committed_parts",
    "model_ids",
    "outcome_table",
    "outcomes",
    "planned",
    "status",
]

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
        Naming the sectors that were never ingested, and the ways out.
    """
    absent = sorted(set(sectors or []) - {where_sector(name) for name in names})
    if absent or not names:
        which = f"sectors {', '.join(map(str, absent))}" if absent else "nothing"
        cure = "leave --sectors out, or go on without them with --partial"
        found = f"ingested: {', '.join(names)}; {cure}" if names else "run ingest_sectors first"
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
    names, models, rows = planned(workspace, sectors), model_ids(workspace), []
    for name, (parts, refused) in zip(names, each(partial(_planned_parts, workspace), names), strict=True):
        rows.append(_line(log, "ingest", name, len(parts), refused=refused))
        rows.append(_line(log, "preprocess", name, len(parts)))
        rows += [_line(log, "score", name, len(parts), model) for model in models]
    columns = ["store", "stage", "planned", "committed", "stale", *map(str, State), "rows"]
    return pd.DataFrame(rows, columns=columns)


def model_ids(workspace: Folder) -> list[str]:
    """Return the models that have scored something, sorted."""
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
    models = [""] if stage != "score" else model_ids(workspace) if model is None else [model]
    names, frames, wanted = planned(workspace, sectors), [], []
    if stage == "ingest" and State.REJECTED in states:
        frames += each(partial(_refused, workspace), names)
    for name in names:
        for model_id in models:
            commits = log.commits(stage, _product(stage, name, model_id))
            keys = [key for key, commit in commits.items() if any(commit.counts.get(str(state)) for state in states)]
            wanted += [(key, {"store": name, "model": model_id}) for key in keys]
    tables = each(lambda item: outcome_table(workspace, stage, item[0], states), wanted)
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


def outcome_table(workspace: Folder, stage: str, key: str, states: Collection[State]) -> pd.DataFrame:
    """Return the outcomes of a partition's inputs that are of some states."""
    table = write.read(workspace, outcome_path(stage, Key.parse(key)), schema.OUTCOMES).to_pandas()
    return table[table["state"].isin([str(state) for state in states])]
