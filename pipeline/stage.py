"""What a step is: inputs, settings, a version, and ``execute(key)``, which either commits or changes nothing.

A stage knows no engine. Thin runners map `Stage.execute` over keys: `pipeline.run` on Dask, `models.tasks` and
`models.pool` on Ray. Engines execute at least once; the commit makes the effect exactly once.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import pyarrow as pa

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest
from pipeline.errors import Mismatch, Missing, Rejected, Stale
from pipeline.manifest import Object, Record
from pipeline.partition import Key
from pipeline.settings import Settings

__all__ = ["InputOutcome", "Outcome", "Product", "Stage", "State"]


class State(StrEnum):
    """The one final state of an input."""

    DONE = "done"
    NOTHING = "nothing"  #: looked at, nothing to do: not a failure
    REJECTED = "rejected"  #: hopeless; reason and message say why
    FAILED = "failed"  #: our bug or the machine's


@dataclass(frozen=True)
class InputOutcome:
    """What became of one input (a file, a star, a segment)."""

    input: str
    state: State
    reason: str | None = None
    message: str | None = None

    @classmethod
    def rejected(cls, name: str, error: Rejected) -> "InputOutcome":
        """Return the outcome of an input that raised `error`."""
        return cls(name, State.REJECTED, str(error.reason), error.message)


@dataclass(frozen=True)
class Product:
    """What `Stage.run` made: objects written, rows in them, one outcome per input, details for the manifest."""

    objects: list[Object]
    rows: int
    outcomes: list[InputOutcome]
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What `Stage.execute` reports of a partition."""

    key: str
    rows: int
    counts: dict[str, int]
    seconds: float
    skipped: bool = False  #: it was committed before


class Stage(ABC):
    """A step of a pipeline.

    Parameters
    ----------
    workspace : Folder
        Where inputs and outputs lie.
    settings : Settings
        What changes its results.

    Attributes
    ----------
    name : str
        Folder of its manifests.
    version : int
        To be raised whenever its bytes change for the same inputs and settings.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    def __init__(self, workspace: Folder, settings: Settings) -> None:
        self.workspace = workspace
        self.settings = settings

    @property
    def origin(self) -> dict[str, str]:
        """Where inputs outside the workspace come from; goes into the provenance."""
        return {}

    @abstractmethod
    def keys(self) -> list[Key]:
        """Return the partitions there are to do, sorted."""

    @abstractmethod
    def upstream(self, key: Key) -> dict[str, str]:
        """Return path → identity of everything partition `key` is made from.

        Raises
        ------
        Missing
            If an input partition is not committed.
        """

    @abstractmethod
    def inputs(self, key: Key) -> list[str]:
        """Return the names of the inputs of a partition, one outcome each."""

    @abstractmethod
    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Make the partition; inputs named in `skip` are not touched and keep the outcome given there."""

    def probe(self, key: Key, name: str) -> None:  # noqa: B027
        """Do the work of one input and throw the result away; run alone when a partition kills its workers."""

    def prepare(self) -> None:  # noqa: B027
        """Set up what all partitions share (plans, templates); called once, in the driver."""

    def compare(self, key: Key, record: Record) -> None:
        """Check that a committed partition is what this stage would make now.

        Raises
        ------
        Mismatch
            Naming the settings or the version that differ.
        Stale
            If its upstream has changed.
        """
        cure = "run again with --overwrite to replace it, or use another --workspace"
        if record.version != self.version:
            raise Mismatch(f"{key}: made by version {record.version} of {self.name}, this is {self.version}; {cure}")
        wanted = self.settings.model_dump(mode="json")
        different = [
            f"{name} was {record.settings.get(name)!r}, is {wanted.get(name)!r}"
            for name in sorted(wanted.keys() | record.settings.keys())
            if wanted.get(name) != record.settings.get(name)
        ]
        if different:
            raise Mismatch(f"{key}: made by {self.name} with other settings ({'; '.join(different)}); {cure}")
        now = self.upstream(key)
        changed = sorted(path for path in now.keys() | record.upstream if now.get(path) != record.upstream.get(path))
        if changed:
            raise Stale(f"{key}: stale, its input has changed since: {', '.join(changed[:3])}; {cure}")

    def settled(self, key: Key) -> Outcome | None:
        """Return the outcome of a partition that is committed already, as `execute` would; else None.

        Raises
        ------
        Mismatch, Stale
            If it is not what this stage would make now.
        """
        done = manifest.read(self.workspace, self.name, key)
        if done is None:
            return None
        self.compare(key, done)
        return Outcome(str(key), done.rows, done.counts, 0.0, skipped=True)

    def execute(self, key: Key, skip: dict[str, InputOutcome] | None = None) -> Outcome:
        """Make and commit a partition, unless it is committed already.

        Returns
        -------
        Outcome
            Rows and counts of the partition as committed.
        """
        started = time.time()
        if (settled := self.settled(key)) is not None:
            return settled
        upstream = self.upstream(key)
        product = self.run(key, skip or {})
        names = self.inputs(key)
        if sorted(names) != sorted(outcome.input for outcome in product.outcomes):
            odd = set(names) ^ {outcome.input for outcome in product.outcomes}
            raise AssertionError(f"{key}: inputs without exactly one outcome: {sorted(odd)[:3]}")
        objects = sorted([*product.objects, self._write_outcomes(key, product.outcomes)])
        manifest.verify(self.workspace, objects)
        counts = Counter(str(outcome.state) for outcome in product.outcomes)
        record = Record(
            stage=self.name,
            version=self.version,
            key=str(key),
            settings=self.settings.model_dump(mode="json"),
            settings_hash=self.settings.hash,
            upstream=upstream,
            objects=objects,
            rows=product.rows,
            counts={str(state): counts.get(str(state), 0) for state in State},
            details=product.details,
            provenance=manifest.provenance(started) | self.origin,
        )
        record = manifest.commit(self.workspace, record)
        return Outcome(str(key), record.rows, record.counts, time.time() - started)

    def _write_outcomes(self, key: Key, outcomes: list[InputOutcome]) -> Object:
        rows = [vars(outcome) | {"state": str(outcome.state)} for outcome in outcomes]
        table = pa.Table.from_pylist(rows, schema=schema.OUTCOMES.arrow_schema())
        return Object(*write.write(self.workspace, outcome_path(self.name, key), table, schema.OUTCOMES))

    def require(self, stage: str, key: Key) -> dict[str, str]:
        """Return manifest path → identity of one upstream partition.

        Raises
        ------
        Missing
            If it is not committed.
        Stale
            If what it was made from has changed since.
        """
        record = manifest.read(self.workspace, stage, key)
        if record is None:
            raise Missing(f"{key}: not committed by {stage} in {self.workspace}; run that job first")
        if (changed := manifest.stale(self.workspace, record)) is not None:
            job = stage if stage.endswith(("_images", "_stamps")) else f"{stage}_sectors"
            raise Stale(f"{key}: stale, {changed} has changed since; run {job} again with --overwrite")
        return {manifest.path(stage, key): record.identity}


def outcome_path(stage: str, key: Key) -> str:
    """Return where the outcome table of a partition lies."""
    return f"outcomes/{stage}/{key.where}/part-{key.part:05d}.parquet"
