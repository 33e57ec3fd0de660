"""Where a workspace stands: what is done, rejected, missing or stale, and where a star's row comes from."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest
from pipeline.errors import Missing
from pipeline.lightcurves import combine, plan, preprocess
from pipeline.manifest import Record
from pipeline.partition import Key, where_sector
from pipeline.stage import State, outcome_path

__all__ = ["check_complete", "check_sectors", "committed_parts", "explain", "outcomes", "planned", "status"]

_PRODUCTS = {"ingest": "lightcurves", "preprocess": "curves"}


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
    """Check that every planned partition of some stores is committed by a stage.

    Raises
    ------
    Missing
        Naming the first partitions that are not, and the ways out.
    """
    missing = []
    for name in names:
        product = f"{_PRODUCTS[stage]}/{name}"
        there = manifest.committed(workspace, stage, product)
        parts = _parts(workspace, name)
        missing += [key for part in parts if (key := str(Key(_PRODUCTS[stage], name, part))) not in there]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise Missing(
            f"{workspace}: not committed by {stage}: {', '.join(missing[:5])}{more}; "
            f"run {stage}_sectors first, or go on without them with --partial"
        )


def _parts(workspace: Folder, name: str) -> list[int]:
    rows = plan.load(workspace, name)
    return [] if rows is None else plan.partitions(rows)


def committed_parts(workspace: Folder, stage: str, product: str = "") -> set[str]:
    """Return ``s0001/part-00007`` of every partition a stage has committed."""
    keys = map(Key.parse, manifest.committed(workspace, stage, product))
    return {f"s{key.where.rsplit('=', 1)[-1].removeprefix('s')}/part-{key.part:05d}" for key in keys}


def status(workspace: Folder, sectors: Sequence[int] | None = None) -> pd.DataFrame:
    """Return one row per store and stage.

    Returns
    -------
    pandas.DataFrame
        store, stage, partitions planned and committed, stale; inputs done, nothing, rejected, failed; rows.
    """
    rows = []
    models = _models(workspace)
    for name in planned(workspace, sectors):
        table = plan.load(workspace, name)
        assert table is not None
        parts = plan.partitions(table)
        refused = int(pc.sum(pc.equal(table["verdict"], plan.REJECTED)).as_py() or 0)
        rows.append(_line(workspace, "ingest", f"lightcurves/{name}", len(parts), name, refused))
        rows.append(_line(workspace, "preprocess", f"curves/{name}", len(parts), name))
        for model in models:
            product = f"eclipsing_binary_scores/model={model}/sector={name[1:]}"
            rows.append(_line(workspace, "score", product, len(parts), name) | {"stage": f"score {model}"})
    columns = ["store", "stage", "planned", "committed", "stale", *map(str, State), "rows"]
    return pd.DataFrame(rows, columns=columns)


def _models(workspace: Folder) -> list[str]:
    found = manifest.committed(workspace, "score")
    return sorted({key.split("model=")[1].split("/")[0] for key in found})


def _line(workspace: Folder, stage: str, product: str, parts: int, name: str, refused: int = 0) -> dict[str, Any]:
    records = [manifest.read(workspace, stage, key) for key in manifest.committed(workspace, stage, product)]
    counts: Counter[str] = Counter({str(State.REJECTED): refused})
    for record in records:
        counts.update(record.counts if record else {})
    return {
        "store": name,
        "stage": stage,
        "planned": parts,
        "committed": len(records),
        "stale": sum(_is_stale(workspace, record) for record in records if record),
        "rows": sum(record.rows for record in records if record),
        **{str(state): counts[str(state)] for state in State},
    }


def _is_stale(workspace: Folder, record: Record) -> bool:
    for path, identity in record.upstream.items():
        if path.endswith(".json"):
            stage, key = path.removeprefix("manifest/").removesuffix(".json").split("/", 1)
            source = manifest.read(workspace, stage, key)
            if source is None or source.identity != identity:
                return True
    return False


def outcomes(workspace: Folder, stage: str, sectors: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the final state of every input of a stage, with reason and message.

    For ``ingest`` the files that the plan refused come with those whose light curve was tried.
    """
    frames = []
    for name in planned(workspace, sectors):
        table = plan.load(workspace, name)
        if table is not None and stage == "ingest":
            refused = table.filter(pc.equal(table["verdict"], plan.REJECTED)).to_pandas()
            frames.append(refused.rename(columns={"file": "input"}).assign(state=str(State.REJECTED), store=name))
        for key in sorted(manifest.committed(workspace, stage, f"{_PRODUCTS[stage]}/{name}")):
            path = outcome_path(stage, Key.parse(key))
            frames.append(write.read(workspace, path, schema.OUTCOMES).to_pandas().assign(store=name))
    columns = ["store", *schema.OUTCOMES.names]
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True)[columns].sort_values(["store", "input"], ignore_index=True)


def explain(workspace: Folder, tic_id: int) -> dict[str, Any]:
    """Walk a star back from its catalogue row to the files it was made from.

    Returns
    -------
    dict
        ``row`` (the catalogue's, or None), ``model``, ``snapshot``, and ``sources``: for each store that has the
        star, its file with size and SHA-256, the manifests, settings and segments made from it.

    Raises
    ------
    Missing
        If no plan has the star.
    """
    sources = []
    for name in planned(workspace):
        table = plan.load(workspace, name)
        assert table is not None
        for row in table.filter(pc.equal(table["tic_id"], tic_id)).to_pylist():
            sources.append(_source(workspace, name, row))
    if not sources:
        raise Missing(f"{workspace}: TIC {tic_id} is in no plan; was its sector ingested?")
    row = None
    if workspace.exists(combine.CURRENT):
        stars = write.read(workspace, combine.CURRENT, schema.STARS)
        found = stars.filter(pc.equal(stars["tic_id"], tic_id)).to_pylist()
        row = found[0] if found else None
    release = manifest.read(workspace, *row["manifest_key"].split("/", 1)) if row else None
    made = None if release is None else {"path": release.objects[0].path, "provenance": release.provenance}
    return {"tic_id": tic_id, "row": row, "snapshot": made, "sources": sources}


def _source(workspace: Folder, name: str, row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"store": name, **{k: row[k] for k in ("file", "verdict", "reason", "message", "row")}}
    if row["partition"] is None:
        return found
    for stage, product in _PRODUCTS.items():
        key = Key(product, name, row["partition"])
        record = manifest.read(workspace, stage, key)
        if record is None:
            found[stage] = "not committed"
            continue
        found[stage] = {"manifest": manifest.path(stage, key), "version": record.version, "settings": record.settings}
        if stage == "ingest":
            source = next((s for s in record.details["sources"] if s[0] == row["file"]), None)
            found |= {"size": source[2], "sha256": source[3]} if source else {}
        else:
            index = write.read(workspace, preprocess.index_path(key), schema.SEGMENTS)
            found["segments"] = index.filter(pc.equal(index["tic_id"], row["tic_id"])).to_pylist()
    return found
