"""Where the row of a source comes from: back through snapshot, scores, measures and stacks to its files."""

from typing import Any

import pyarrow.compute as pc

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamps import STACKS, STAMPS, StampFlag
from catalogs.visual_binaries import SPOILED, TIERS, VISUAL_BINARIES, VISUAL_BINARY_FILTERS
from pipeline import lineage, manifest, visual
from pipeline.commits import Log
from pipeline.errors import Missing
from pipeline.manifest import Record
from pipeline.partition import Key
from pipeline.stamps import layout, plan
from pipeline.stamps.pairs import SURE

__all__ = ["check_scored", "explain"]

Row = dict[str, Any]


def explain(workspace: Folder, source_id: str) -> dict[str, Any] | None:
    """Walk a source of stamps back to the files it was seen in.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue of visual binaries.
    source_id : str
        The source, as its files call it.

    Returns
    -------
    dict or None
        ``why`` it is of its tier, in sentences; ``row`` of the catalogue and ``filters``, its rows by filter;
        ``snapshot`` they stand in; ``surveys``: of each
        its stack's row of the index, how it was scored, stacked and ingested, and its files with address; ``measures``:
        how it was measured; ``model``. None if the catalogue has no such source; see `check_scored`.
    """
    rows = _rows(workspace, VISUAL_BINARIES.name, source_id)
    if not rows:
        return None
    row, log = rows[0], Log(workspace)
    record, measured = _measures(log, source_id)
    snapshot = manifest.read(workspace, *str(row["manifest_key"]).split("/", 1))
    path = None if snapshot is None else snapshot.objects[0].path
    surveys, filters = {}, _rows(workspace, VISUAL_BINARY_FILTERS.name, source_id)
    for key in manifest.committed(workspace, layout.SCORE, layout.score_folder(row["model_id"])):
        if found := _survey(log, Key.parse(key), source_id):
            surveys[found["stack"]["survey"]] = found
    return {
        "source_id": source_id,
        "why": _why(row, filters, measured),
        "row": row,
        "filters": filters,
        "snapshot": None if snapshot is None else {"path": path} | lineage.step(log, snapshot),
        "surveys": dict(sorted(surveys.items())),
        "measures": lineage.step(log, record),
        "model": lineage.model(workspace, row["model_id"], row["model_sha256"]),
    }


def _why(row: Row, filters: list[Row], measured: Row | None) -> list[str]:
    """Return in sentences what speaks for a source's tier and what against it, by its measures too if it has any."""
    if row["p_double"] is None:
        return [f"{row['tier']}: {TIERS['unknown']}"]
    p, threshold = row["p_double"], row["threshold"]
    told = [f"{row['tier']}: p_double {p:.3g}, threshold {threshold:.3g} (prior {row['prior']:g})"]
    alone = {
        one["survey"]: one["p"] for one in filters if one["p"] is not None and one["survey"] in row["surveys_able"]
    }
    told += [f"{survey} alone: p {p:.3g}" for survey, p in sorted(alone.items())]
    if row["p_fit"] is not None:
        gains = [f"{one['survey']} {one['filter']} {one['delta_chi2']:.0f}" for one in filters if one["delta_chi2"]]
        told.append(f"fits alone: p_fit {row['p_fit']:.3g}; two stars lower chi2 by {', '.join(gains) or 'nothing'}")
    if measured is not None and row["n_components"] == 1:
        gain = measured["delta_chi2"]
        short = f"by a second star within 2.5 arcsec all filters together gain {gain:.0f}, and {SURE:.0f} is asked"
        told.append(f"no separation: {short if gain <= SURE else 'an extended source fits as well as two stars'}")
    told += [f"a star as bright is there by chance: {row['p_chance']:.2g}"] if row["p_chance"] is not None else []
    spoiled = [str(bit.name) for bit in StampFlag if bit & SPOILED & row["flags"]]
    told += [f"may make one star look double: {', '.join(spoiled)}"] if spoiled else []
    return told


def check_scored(workspace: Folder, source_id: str) -> None:
    """Check that a source that no catalogue has is not one of stamps that are still to be scored.

    Parameters
    ----------
    workspace : Folder
        Holds the plans of stamps.
    source_id : str
        The source, as its files call it.

    Raises
    ------
    Missing
        If it has stamps.
    """
    tables = ((slug, plan.load(workspace, slug)) for slug in plan.surveys(workspace))
    seen = [slug for slug, table in tables if table is not None and source_id in table["source_id"].to_pylist()]
    if seen:
        what = f"{source_id} has stamps of {', '.join(seen)}, but is in no catalogue yet"
        raise Missing(f"{workspace}: {what}; run measure_stamps and score_stamps, see jobs.status")


def _rows(workspace: Folder, name: str, source_id: str) -> list[Row]:
    path = f"catalogs/{name}.parquet"
    return _of(workspace, path, source_id) if workspace.exists(path) else []


def _of(workspace: Folder, path: str, source_id: str) -> list[Row]:
    """Return the rows of a table that are of a source."""
    table = write.read(workspace, path)
    found: list[Row] = table.filter(pc.equal(table["source_id"], source_id)).to_pylist()
    return found


def _survey(log: Log, key: Key, source_id: str) -> dict[str, Any] | None:
    """Return how a source was scored, stacked and ingested in a partition of scores; None if it is in another."""
    workspace, stacks = log.workspace, layout.stacks_key(key)
    index = layout.stacks_index(stacks)
    if not workspace.exists(index):
        return None
    table = write.read(workspace, index, STACKS)
    rows = table.filter(pc.equal(table["source_id"], source_id)).to_pylist()
    if not rows:
        return None
    score, stack = manifest.read(workspace, layout.SCORE, key), manifest.read(workspace, layout.STACK, stacks)
    runtime = {} if score is None else {"runtime": score.details.get("runtime")}
    ingested = [_ingested(log, path, source_id) for path in ([] if stack is None else sorted(stack.upstream))]
    return {
        "stack": rows[0],
        "scored": lineage.step(log, score) | runtime,
        "stacked": lineage.step(log, stack),
        "ingested": [one for one in ingested if one],
    }


def _ingested(log: Log, path: str, source_id: str) -> dict[str, Any] | None:
    stage, _, key = path.removeprefix("manifest/").removesuffix(".json").partition("/")
    record = manifest.read(log.workspace, stage, key) if path.endswith(".json") else None
    if record is None:
        return None
    rows = [row for table in visual.tables(record) for row in write.read(log.workspace, table, STAMPS).to_pylist()]
    own = [row for row in rows if row["source_id"] == source_id]
    archive = record.provenance.get("archive")
    files = [{"address": f"{archive}/{row['file']}"} | row for row in own]
    return lineage.step(log, record) | {"stamps": files}


def _measures(log: Log, source_id: str) -> tuple[Record | None, Row | None]:
    """Return what says how a source was measured, and its row of the measures, if it was."""
    for key in manifest.committed(log.workspace, layout.MEASURE):
        record = manifest.read(log.workspace, layout.MEASURE, key)
        paths = [] if record is None else [path for path in visual.tables(record) if ".sources/" in path]
        for path in paths:
            if rows := _of(log.workspace, path, source_id):
                return record, rows[0]
    return None, None
