"""Where the row of an alert comes from: back through snapshot, scores and model to its packet in a file."""

from typing import Any

import pyarrow.compute as pc

from catalogs import write
from catalogs.folder import Folder
from catalogs.transient_candidates import TRANSIENT_CANDIDATES
from pipeline import candidates, lineage, manifest
from pipeline.alerts.plan import File, Plan
from pipeline.commits import Log
from pipeline.partition import Key

__all__ = ["explain"]


def explain(workspace: Folder, candidate_id: str) -> dict[str, Any] | None:
    """Walk an alert that was scored back to the file it came in.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue of transient candidates.
    candidate_id : str
        ``ztf:1234``.

    Returns
    -------
    dict or None
        ``row`` of the catalogue; ``snapshot`` it stands in; ``packet``: its file with address and SHA-256, its number
        there, and whether the file is what it was; ``score``: manifest, version, settings and runtime; ``model``. None
        if there is no such alert.
    """
    row = _row(workspace, candidate_id)
    if row is None:
        return None
    log = Log(workspace)
    snapshot = manifest.read(workspace, *str(row["manifest_key"]).split("/", 1))
    part, file = _planned(workspace, row)
    own = candidates.folder(row["model_id"])
    key = None if part is None else Key(own.product, f"{own.where}/alerts", part)
    record = None if key is None else manifest.read(workspace, candidates.STAGE, key)
    runtime = {} if record is None else {"runtime": record.details.get("runtime")}
    return {
        "candidate_id": candidate_id,
        "row": row,
        "snapshot": None if snapshot is None else {"path": snapshot.objects[0].path} | lineage.step(log, snapshot),
        "packet": {"file": row["packet_file"], "number": row["packet_row"], "sha256": row["packet_sha256"]} | _at(file),
        "score": lineage.step(log, record) | runtime,
        "model": lineage.model(workspace, row["model_id"], row["model_sha256"]),
    }


def _row(workspace: Folder, candidate_id: str) -> dict[str, Any] | None:
    if not workspace.exists(candidates.CURRENT):
        return None
    table = write.read(workspace, candidates.CURRENT, TRANSIENT_CANDIDATES)
    wanted = pc.and_(pc.equal(table["candidate_id"], candidate_id), pc.is_valid(table["packet_sha256"]))
    found: list[dict[str, Any]] = table.filter(wanted).to_pylist()
    return found[0] if found else None


def _planned(workspace: Folder, row: dict[str, Any]) -> tuple[int | None, File | None]:
    """Return the partition that a row's packet was scored in, and the file as it was planned."""
    for number, files in enumerate(Plan(workspace).parts):
        for file in files:
            inside = file.first <= row["packet_row"] and (file.stop < 0 or row["packet_row"] < file.stop)
            if file.sha256 == row["packet_sha256"] and inside:
                return number, file
    return None, None


def _at(file: File | None) -> dict[str, Any]:
    if file is None:
        return {"address": None, "note": "in no plan"}
    try:
        note = "unchanged" if file.is_unchanged() else "not the file it was when it was planned"
    except OSError:
        note = "not there any more, or not to be read"
    return {"address": file.path, "note": note}
