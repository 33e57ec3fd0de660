"""Immutable states of a catalogue, and the one file that people open.

Everything in a snapshot follows from what it was made from. It is written under the next free number, then committed;
last the published table is replaced, atomically.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from catalogs import write
from catalogs.folder import Folder
from catalogs.releases import releases, renew
from catalogs.table import Table
from pipeline import manifest
from pipeline.manifest import Object, Record
from pipeline.settings import digest

__all__ = ["STAGE", "Series", "Snapshot"]

STAGE = "combine"


@dataclass(frozen=True)
class Snapshot:
    """A committed state of a catalogue: number, release, path in the workspace, rows."""

    number: int
    release: str
    path: str
    rows: int


@dataclass(frozen=True)
class Series:
    """The states of a catalogue, or of what one model makes of it.

    Parameters
    ----------
    table : Table
        Its schema; its name is the catalogue's.
    version : int
        Of the code that makes it.
    model_id : str
        Model that it is by; empty for a catalogue that needs none.
    """

    table: Table
    version: int
    model_id: str = ""

    @property
    def folder(self) -> str:
        """The folder of the snapshots below ``catalogs/``, and of their manifests."""
        return f"{self.table.name}/model={self.model_id}" if self.model_id else self.table.name

    @property
    def current(self) -> str:
        """The one file people open."""
        return f"catalogs/{self.table.name}.parquet"

    def key(self, release: str) -> str:
        """Return the key of a release."""
        return f"{self.folder}/release={release}"

    def snapshots(self, workspace: Folder) -> list[Snapshot]:
        """Return the committed snapshots, oldest first."""
        found = []
        for key in manifest.committed(workspace, STAGE, self.folder):
            record = manifest.read(workspace, STAGE, key)
            if record is not None:
                found.append(Snapshot(**record.details["snapshot"]))
        return sorted(found, key=lambda snapshot: snapshot.number)

    def newest(self, workspace: Folder) -> Snapshot | None:
        """Return the state of the catalogue, the snapshot that was made last; None if there is none yet."""
        states = releases(workspace, self.table.name, self.model_id or None)
        return self.find(workspace, states[-1].name) if states else None

    def find(self, workspace: Folder, release: str) -> Snapshot | None:
        """Return the snapshot of a release, or None if there is none yet."""
        done = manifest.read(workspace, STAGE, self.key(release))
        return None if done is None else Snapshot(**done.details["snapshot"])

    def renewed(self, workspace: Folder, release: str) -> Snapshot | None:
        """Return the snapshot of a release, which is the newest from now on, or None if there is none yet."""
        done = self.find(workspace, release)
        if done is not None:
            renew(workspace, self.table.name, self.model_id or None, release)
        return done

    def provenance(self, release: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns that tell where the rows of a release come from, but for those of a model."""
        return {
            "catalog_release": release,
            "stage_version": self.version,
            "settings_hash": digest(settings)[:16],
            "manifest_key": f"{STAGE}/{self.key(release)}",
        }

    def commit(
        self,
        workspace: Folder,
        release: str,
        table: pa.Table,
        *,
        settings: dict[str, Any],
        upstream: dict[str, str],
        inputs: int,
        started: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> Snapshot:
        """Write a state of the catalogue as a snapshot and commit it.

        Parameters
        ----------
        workspace : Folder
            Receives it.
        release : str
            Its name, which follows from all it was made from.
        table : pyarrow.Table
            Rows as the schema wants them.
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
        data = write.to_bytes(table, self.table)
        number = self._place(workspace, data)
        snapshot = Snapshot(number, release, self._path(number), len(table))
        record = Record(
            stage=STAGE,
            version=self.version,
            key=self.key(release),
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

    def publish(self, workspace: Folder, snapshot: Snapshot) -> None:
        """Make a snapshot the table people open; atomically."""
        data = workspace.read(snapshot.path)
        if not workspace.exists(self.current) or workspace.read(self.current) != data:
            workspace.write(self.current, data)

    def _path(self, number: int) -> str:
        return f"catalogs/{self.folder}/snapshot-{number:06d}.parquet"

    def _place(self, workspace: Folder, data: bytes) -> int:
        """Write a snapshot under the next free number; no file that is there is ever changed.

        One of the same bytes is taken for it: a run that was killed before its commit left it, or another is about to
        commit the same.
        """
        number = max((snapshot.number for snapshot in self.snapshots(workspace)), default=0) + 1
        while not workspace.create(self._path(number), data) and workspace.read(self._path(number)) != data:
            number += 1
        return number
