"""Immutable star tables and the one that people open.

Everything in a snapshot follows from what it was made from. It is written under the next free number, then committed;
last the published table is replaced, atomically.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from catalogs import schema, write
from catalogs.folder import Folder
from catalogs.releases import releases, renew
from pipeline import manifest
from pipeline.manifest import Object, Record
from pipeline.settings import digest

__all__ = [
    "CURRENT",
    "STAGE",
    "VERSION",
    "Snapshot",
    "commit",
    "current",
    "current_model",
    "folder",
    "newest",
    "origin",
    "publish",
    "renewed",
    "snapshots",
]

#: The one file people open.
CURRENT = "catalogs/eclipsing_binaries.parquet"

STAGE = "combine"

#: Of everything that makes star tables, from scores or from an older one.
VERSION = 3

_CATALOG = "eclipsing_binaries"


@dataclass(frozen=True)
class Snapshot:
    """A committed star table: number, release, path in the workspace, rows."""

    number: int
    release: str
    path: str
    rows: int


def folder(model_id: str) -> str:
    """Return the folder of a model's snapshots below ``catalogs/``, and of their manifests."""
    return f"{_CATALOG}/model={model_id}"


def snapshots(workspace: Folder, model_id: str) -> list[Snapshot]:
    """Return a model's committed snapshots, oldest first."""
    found = []
    for key in manifest.committed(workspace, STAGE, folder(model_id)):
        record = manifest.read(workspace, STAGE, key)
        if record is not None:
            found.append(Snapshot(**record.details["snapshot"]))
    return sorted(found, key=lambda snapshot: snapshot.number)


def newest(workspace: Folder, model_id: str) -> Snapshot | None:
    """Return the state of a model's catalogue, the snapshot that was made last; None if there is none yet."""
    states = releases(workspace, _CATALOG, model_id)
    return find(workspace, model_id, states[-1].name) if states else None


def origin(workspace: Folder, model_id: str) -> Record | None:
    """Return the manifest of a model's catalogue at its own prior: of what the newest was moved from, if it was."""
    one = newest(workspace, model_id)
    record = None if one is None else manifest.read(workspace, STAGE, key_of(model_id, one.release))
    if record is None or "moved_from" not in record.details:
        return record
    return manifest.read(workspace, STAGE, key_of(model_id, record.details["moved_from"]))


def renewed(workspace: Folder, model_id: str, release: str) -> Snapshot | None:
    """Return the snapshot of a release, which is the newest from now on, or None if there is none yet."""
    done = find(workspace, model_id, release)
    if done is not None:
        renew(workspace, _CATALOG, model_id, release)
    return done


def key_of(model_id: str, release: str) -> str:
    """Return the key of a release of a model's catalogue."""
    return f"{folder(model_id)}/release={release}"


def find(workspace: Folder, model_id: str, release: str) -> Snapshot | None:
    """Return the snapshot of a release, or None if there is none yet."""
    done = manifest.read(workspace, STAGE, key_of(model_id, release))
    return None if done is None else Snapshot(**done.details["snapshot"])


def provenance(model_id: str, model_sha256: str, release: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that tell where the rows of a release come from."""
    return {
        "catalog_release": release,
        "model_id": model_id,
        "model_sha256": model_sha256,
        "stage_version": VERSION,
        "settings_hash": digest(settings)[:16],
        "manifest_key": f"{STAGE}/{key_of(model_id, release)}",
    }


def commit(
    workspace: Folder,
    model_id: str,
    release: str,
    table: pa.Table,
    *,
    settings: dict[str, Any],
    upstream: dict[str, str],
    inputs: int,
    started: float | None = None,
    details: dict[str, Any] | None = None,
) -> Snapshot:
    """Write a star table as a snapshot and commit it.

    Parameters
    ----------
    workspace : Folder
        Receives it.
    model_id, release : str
        Its model and its name, which follows from all it was made from.
    table : pyarrow.Table
        Rows as `catalogs.schema.STARS` wants them.
    settings : dict
        That made it what it is.
    upstream : dict
        Manifest path → identity of everything it was made from.
    inputs : int
        How many rows of these went in.
    started : float, optional
        `time.time` when the work began, s.
    details : dict, optional
        What else the manifest shall remember.

    Returns
    -------
    Snapshot
        The one that counts, should another have committed the same.
    """
    data = write.to_bytes(table, schema.STARS)
    number = _place(workspace, model_id, data)
    snapshot = Snapshot(number, release, _path(model_id, number), len(table))
    record = Record(
        stage=STAGE,
        version=VERSION,
        key=key_of(model_id, release),
        settings=settings,
        settings_hash=digest(settings)[:16],
        upstream=upstream,
        objects=[Object.of(snapshot.path, data)],
        rows=len(table),
        counts={"done": inputs},
        details={"snapshot": asdict(snapshot)} | (details or {}),
        provenance=manifest.provenance(started or time.time()),
    )
    manifest.verify(workspace, record.objects)
    return Snapshot(**manifest.commit(workspace, record).details["snapshot"])


def publish(workspace: Folder, snapshot: Snapshot) -> None:
    """Make a snapshot the table people open; atomically."""
    data = workspace.read(snapshot.path)
    if not workspace.exists(CURRENT) or workspace.read(CURRENT) != data:
        workspace.write(CURRENT, data)


def current(workspace: Folder) -> pa.Table | None:
    """Return the table people open, or None if there is none yet."""
    return write.read(workspace, CURRENT, schema.STARS) if workspace.exists(CURRENT) else None


def current_model(workspace: Folder) -> str | None:
    """Return the model of the table people open, or None if there is none yet."""
    if not workspace.exists(CURRENT):
        return None
    table = write.read(workspace, CURRENT)  # of whatever version: who it is by is in all of them
    return str(table["model_id"][0]) if len(table) else None


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
