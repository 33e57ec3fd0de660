"""The commit log: a partition exists once its manifest does.

``manifest/<stage>/<key>.json`` lists every object of the partition with size and checksum, the settings, the
upstream manifests it was made from, and what became of each input. It is created *if absent*; whoever comes second
compares and drops its own. Times, hosts and versions stand under ``provenance`` and are no part of the identity.
"""

import hashlib
import json
import platform
import socket
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from catalogs.folder import Folder
from pipeline.errors import Corrupt
from pipeline.partition import Key
from pipeline.settings import digest

__all__ = [
    "Object",
    "Record",
    "checksum",
    "commit",
    "committed",
    "discard",
    "path",
    "provenance",
    "read",
    "stale",
    "verify",
]


@dataclass(frozen=True, order=True)
class Object:
    """A file a partition consists of: path in the workspace, size in bytes, SHA-256 (hex)."""

    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, path: str, data: bytes) -> "Object":
        """Return the object that `data` makes at `path`."""
        return cls(path, len(data), hashlib.sha256(data).hexdigest())


def checksum(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a local file, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Record:
    """A committed partition.

    Parameters
    ----------
    stage, version, key : str, int, str
        What made it, and which partition it is.
    settings, settings_hash : dict, str
        The stage's own settings.
    upstream : dict
        Manifest path (or plan) → identity of it, of everything this was made from.
    objects : list of Object
        Files of the partition.
    rows : int
        Rows of the product.
    counts : dict
        Number of inputs by final state.
    details : dict
        What the stage wants to remember, e.g. the source files.
    provenance : dict
        Times, host, versions; outside the identity.
    """

    stage: str
    version: int
    key: str
    settings: dict[str, Any]
    settings_hash: str
    upstream: dict[str, str]
    objects: list[Object]
    rows: int
    counts: dict[str, int]
    details: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of everything but the provenance; what downstream manifests name."""
        content = asdict(self)
        del content["provenance"]
        return digest(content)


def path(stage: str, key: Key | str) -> str:
    """Return where the manifest of a partition lies in the workspace."""
    return f"manifest/{stage}/{key}.json"


def read(workspace: Folder, stage: str, key: Key | str) -> Record | None:
    """Return the record of a partition, or None while it is not committed.

    Raises
    ------
    Corrupt
        If the file is there but does not parse.
    """
    where = path(stage, key)
    try:
        data = workspace.read(where)
    except FileNotFoundError:
        return None
    try:
        content = json.loads(data)
        return Record(**(content | {"objects": [Object(**item) for item in content["objects"]]}))
    except (ValueError, TypeError, KeyError) as error:
        raise Corrupt(f"{workspace.url(where)}: not a manifest ({error}); delete it to redo the partition") from error


def commit(workspace: Folder, record: Record) -> Record:
    """Write the manifest if there is none yet; return the one that counts.

    Raises
    ------
    Corrupt
        If another execution committed other bytes for the same key, which a deterministic stage cannot do.
    """
    data = json.dumps(asdict(record), indent=1, sort_keys=True).encode()
    if workspace.create(path(record.stage, record.key), data):
        return record
    winner = read(workspace, record.stage, record.key)
    if winner is not None and winner.identity == record.identity:
        return winner
    # Whose bytes lie there now cannot be told: nobody's are committed.
    workspace.remove(path(record.stage, record.key))
    raise Corrupt(
        f"{record.key}: two executions of {record.stage} at once gave different bytes "
        f"({record.details.get('runtime', '')}); neither is kept, run again, on equal machines or with --precision fp32"
    )


def committed(workspace: Folder, stage: str, prefix: str = "") -> dict[str, str]:
    """Return key → manifest path of the committed partitions whose key begins with the folder `prefix`."""
    top = f"manifest/{stage}/"
    found = workspace.list(f"{top}{prefix}".rstrip("/"), suffix=".json")
    return {entry.path.removeprefix(top).removesuffix(".json"): entry.path for entry in found}


def stale(workspace: Folder, record: Record) -> str | None:
    """Return the upstream manifest that has changed since `record` was made, at any level; None if none has."""
    for where, identity in record.upstream.items():
        if not where.endswith(".json"):
            continue  # a plan or a model: compared by the stage itself
        stage, key = where.removeprefix("manifest/").removesuffix(".json").split("/", 1)
        source = read(workspace, stage, key)
        if source is None or source.identity != identity:
            return where
        if (deeper := stale(workspace, source)) is not None:
            return deeper
    return None


def discard(workspace: Folder, stage: str, key: Key | str) -> None:
    """Undo a commit: first the manifest, so that no reader sees half a partition, then its objects."""
    record = read(workspace, stage, key)
    if record is None:
        return
    workspace.remove(path(stage, key))
    for item in record.objects:
        workspace.remove(item.path)


def verify(workspace: Folder, objects: list[Object]) -> None:
    """Read objects back and compare them with their checksums.

    Raises
    ------
    Corrupt
        Naming the first object that is absent or differs.
    """
    for item in objects:
        try:
            found = Object.of(item.path, workspace.read(item.path))
        except FileNotFoundError:
            raise Corrupt(f"{workspace.url(item.path)}: written, but not there when read back") from None
        if found != item:
            raise Corrupt(
                f"{workspace.url(item.path)}: {found.size} bytes, sha256 {found.sha256[:12]}…; the manifest says "
                f"{item.size}, {item.sha256[:12]}…; redo the partition with --overwrite"
            )


_PACKAGES = ("numpy", "scipy", "numba", "pyarrow", "zarr", "numcodecs", "dask", "ray", "torch", "openvino")


@cache
def _host() -> dict[str, Any]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"host": socket.gethostname(), "python": platform.python_version(), "packages": versions}


def provenance(started: float) -> dict[str, Any]:
    """Return times (ISO, UTC), host facts and package versions for a manifest.

    Parameters
    ----------
    started : float
        `time.time` when the work began, s.
    """
    finished = time.time()
    return _host() | {
        "machine": platform.machine(),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds"),
        "finished": datetime.fromtimestamp(finished, UTC).isoformat(timespec="milliseconds"),
    }
