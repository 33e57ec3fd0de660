"""Immutable star tables of a model, and the one that people open: `pipeline.snapshots` for eclipsing binaries."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest
from pipeline.manifest import Record
from pipeline.snapshots import STAGE, Series, Snapshot

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

#: Of everything that makes star tables, from scores or from an older one.
VERSION = 3

#: The one file people open.
CURRENT = Series(schema.STARS, VERSION).current


def _of(model_id: str) -> Series:
    return Series(schema.STARS, VERSION, model_id)


def folder(model_id: str) -> str:
    """Return the folder of a model's snapshots below ``catalogs/``, and of their manifests."""
    return _of(model_id).folder


def snapshots(workspace: Folder, model_id: str) -> list[Snapshot]:
    """Return a model's committed snapshots, oldest first."""
    return _of(model_id).snapshots(workspace)


def newest(workspace: Folder, model_id: str) -> Snapshot | None:
    """Return the state of a model's catalogue, the snapshot that was made last; None if there is none yet."""
    return _of(model_id).newest(workspace)


def origin(workspace: Folder, model_id: str) -> Record | None:
    """Return the manifest of a model's catalogue at its own prior: of what the newest was moved from, if it was."""
    one = newest(workspace, model_id)
    record = None if one is None else manifest.read(workspace, STAGE, key_of(model_id, one.release))
    if record is None or "moved_from" not in record.details:
        return record
    return manifest.read(workspace, STAGE, key_of(model_id, record.details["moved_from"]))


def renewed(workspace: Folder, model_id: str, release: str) -> Snapshot | None:
    """Return the snapshot of a release, which is the newest from now on, or None if there is none yet."""
    return _of(model_id).renewed(workspace, release)


def key_of(model_id: str, release: str) -> str:
    """Return the key of a release of a model's catalogue."""
    return _of(model_id).key(release)


def find(workspace: Folder, model_id: str, release: str) -> Snapshot | None:
    """Return the snapshot of a release, or None if there is none yet."""
    return _of(model_id).find(workspace, release)


def provenance(model_id: str, model_sha256: str, release: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that tell where the rows of a release come from."""
    return {"model_id": model_id, "model_sha256": model_sha256} | _of(model_id).provenance(release, settings)


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
    """Write a star table as a snapshot and commit it; see `pipeline.snapshots.Series.commit`."""
    return _of(model_id).commit(
        workspace, release, table, settings=settings, upstream=upstream, inputs=inputs, started=started,
        details=details,
    )  # fmt: skip


def publish(workspace: Folder, snapshot: Snapshot) -> None:
    """Make a snapshot the table people open; atomically."""
    Series(schema.STARS, VERSION).publish(workspace, snapshot)


def current(workspace: Folder) -> pa.Table | None:
    """Return the table people open, or None if there is none yet."""
    return write.read(workspace, CURRENT, schema.STARS) if workspace.exists(CURRENT) else None


def current_model(workspace: Folder) -> str | None:
    """Return the model of the table people open, or None if there is none yet."""
    if not workspace.exists(CURRENT):
        return None
    table = write.read(workspace, CURRENT)  # of whatever version: who it is by is in all of them
    return str(table["model_id"][0]) if len(table) else None
