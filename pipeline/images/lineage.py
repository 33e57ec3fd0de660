"""Where a candidate comes from: back through snapshot, difference and match to the files of both images."""

from typing import Any

import pyarrow.compute as pc

from catalogs import write
from catalogs.candidates import CANDIDATES
from catalogs.folder import Folder
from pipeline import candidates, manifest
from pipeline.commits import Log
from pipeline.errors import Missing
from pipeline.images import image, roster
from pipeline.images.combine import SERIES
from pipeline.images.difference import DIFFERENCE, MATCH
from pipeline.images.triplets import CAPACITY
from pipeline.lineage import step
from pipeline.manifest import Record
from pipeline.partition import Key

__all__ = ["explain"]


def explain(workspace: Folder, candidate_id: str) -> dict[str, Any]:
    """Walk a candidate back to the files it was found in.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue.
    candidate_id : str
        The candidate.

    Returns
    -------
    dict
        ``row`` of the catalogue; ``snapshot`` it stands in; ``pair``: its row of the plan; ``match`` and
        ``difference``: manifest, version, settings and figures; ``images``: of both, the file with address and
        checksum, and how it was ingested.

    Raises
    ------
    Missing
        If there is no such candidate.
    """
    row = _row(workspace, candidate_id)
    if row is None:
        where = f"{SERIES.current} nor, of an alert, in {candidates.CURRENT}"
        what = f"no source of stamps {candidate_id}, and no candidate {candidate_id} in {where}"
        raise Missing(f"{workspace}: {what}; see python -m jobs.query")
    log, plan = Log(workspace), roster.load(workspace)
    pair = roster.rows(plan).get(str(row["pair_id"])) if plan is not None else None
    snapshot = manifest.read(workspace, *str(row["manifest_key"]).split("/", 1))
    bands = manifest.committed(workspace, DIFFERENCE, f"differences/{row['pair_id']}")
    band = _band(workspace, bands, row)
    sides = {} if pair is None else {side: _image(log, pair[side]) for side in ("science", "reference")}
    return {
        "candidate_id": candidate_id,
        "row": row,
        "snapshot": None if snapshot is None else {"path": snapshot.objects[0].path} | step(log, snapshot),
        "pair": pair,
        "match": step(log, manifest.read(workspace, MATCH, Key("matches", str(row["pair_id"]), 0)), "details"),
        "difference": step(log, band),
        "images": sides,
    }


def _row(workspace: Folder, candidate_id: str) -> dict[str, Any] | None:
    if not workspace.exists(SERIES.current):
        return None
    table = write.read(workspace, SERIES.current, CANDIDATES)
    found: list[dict[str, Any]] = table.filter(pc.equal(table["candidate_id"], candidate_id)).to_pylist()
    return found[0] if found else None


def _band(workspace: Folder, bands: dict[str, str], row: dict[str, Any]) -> Record | None:
    """Return the manifest of the band that a candidate was found in."""
    if row["triplet_row"] is not None:
        key = Key("differences", str(row["pair_id"]), int(row["triplet_row"]) // CAPACITY)
        return manifest.read(workspace, DIFFERENCE, key)
    for text in bands:
        record = manifest.read(workspace, DIFFERENCE, text)
        low, high = record.details.get("rows", (0, 0)) if record is not None else (0, 0)
        if low - 0.5 <= row["y"] < high - 0.5:
            return record
    return None


def _image(log: Log, where: str) -> dict[str, Any]:
    record = manifest.read(log.workspace, image.STAGE, image.key_of(where))
    if record is None:
        return step(log, None)
    facts = record.details["image"]
    archive = record.provenance.get("archive")
    names = ("file", "extension", "sha256", "filter", "mjd_mid", "exptime_s", "estimated", "notes")
    told = {name: facts[name] for name in names}
    return {"address": f"{archive}/{facts['file']}"} | told | step(log, record)
