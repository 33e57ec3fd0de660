"""What a plan of an archive says of its files, where plans lie, and how a plan changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalogs import write
from catalogs.folder import Entry, Folder
from catalogs.table import Table
from pipeline.errors import Reason, Refused
from pipeline.fits import printable

__all__ = ["ACCEPTED", "REJECTED", "UNKNOWN", "Change", "Plans"]

#: Verdicts of a plan.
ACCEPTED, REJECTED = "accepted", "rejected"

#: What a file that names no survey is filed under.
UNKNOWN = "unknown"

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Change:
    """A plan as it is and as it will be.

    Attributes
    ----------
    before : pyarrow.Table or None
        The plan that was extended.
    plan : pyarrow.Table
        All of it, old and new.
    """

    before: pa.Table | None
    plan: pa.Table

    @property
    def refused(self) -> int:
        """Files, old and new, that are no use."""
        return int(pc.sum(pc.equal(self.plan["verdict"], REJECTED)).as_py() or 0)


@dataclass(frozen=True)
class Plans:
    """The plans of a kind of files, one a survey.

    Parameters
    ----------
    stage : str
        Which begins with them; the name of its job.
    schema : Table
        Of a plan: file, size, mtime, reason, and more.
    files : str
        What the files are, in a word.
    again : tuple of Reason
        Reasons that may be gone by the next run, though the file has not changed.
    """

    stage: str
    schema: Table
    files: str
    again: tuple[Reason, ...] = (Reason.UNREADABLE, Reason.CHANGED)

    def path(self, survey: str) -> str:
        """Return where the plan of a survey lies in the workspace."""
        return f"manifest/{self.stage}/{survey}.plan.parquet"

    def surveys(self, workspace: Folder) -> list[str]:
        """Return the surveys that have a plan, sorted; what names none is filed under ``unknown``."""
        found = (entry.path for entry in workspace.list(f"manifest/{self.stage}", ".plan.parquet"))
        return sorted(where.rsplit("/", 1)[1].removesuffix(".plan.parquet") for where in found)

    def load(self, workspace: Folder, survey: str) -> pa.Table | None:
        """Return a plan, or None if there is none yet."""
        where = self.path(survey)
        return write.read(workspace, where, self.schema) if workspace.exists(where) else None

    def fresh(self, workspace: Folder, found: Iterable[Entry]) -> list[Entry]:
        """Return the files that stand in no plan, have changed since, or could not be read then."""
        known: set[tuple[str, int, float]] = set()
        again = pa.array([str(reason) for reason in self.again])
        for survey in self.surveys(workspace):
            plan = write.read(workspace, self.path(survey), self.schema)
            settled = plan.filter(pc.invert(pc.is_in(plan["reason"], value_set=again)))
            known |= set(zip(*(settled[column].to_pylist() for column in ("file", "size", "mtime")), strict=True))
        return [entry for entry in found if (printable(entry.path), entry.size, entry.mtime) not in known]

    def save(self, workspace: Folder, survey: str, change: Change) -> None:
        """Write a plan as it will be.

        Raises
        ------
        Refused
            If another job has changed the plan since it was read.
        """
        now, where = self.load(workspace, survey), self.path(survey)
        if now is not None and change.before is not None and now.equals(change.plan):
            return
        if (now is None) != (change.before is None) or (now is not None and not now.equals(change.before)):
            what = f"another job is ingesting {self.files}; run again when it has ended"
            raise Refused(f"{workspace.url(where)}: {what}")
        write.write(workspace, where, change.plan, self.schema)

    def carried(self, before: Mapping[str, pa.Table], rows: Sequence[Row], key: str) -> tuple[list[Row], list[Row]]:
        """Return the rows of plans that stay, and those that are added.

        Parameters
        ----------
        before : mapping of str to pyarrow.Table
            Survey → its plan.
        rows : sequence of dict
            Of files that are new or have changed.
        key : str
            Column that tells rows apart.

        Raises
        ------
        Refused
            If files have changed since they were ingested; the message names them.
        """
        old = [row for plan in before.values() for row in plan.to_pylist()]
        again, changed = {row["file"]: row for row in rows}, []
        for row in old:
            new = again.get(row["file"]) if row["verdict"] == ACCEPTED else None
            if new is not None and new["sha256"] != row["sha256"]:
                changed.append(row["file"])
            row["mtime"] = row["mtime"] if new is None else new["mtime"]
        if changed:
            names = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
            cure = f"python -m jobs.{self.stage} --overwrite … makes all anew"
            what = "has changed since it was" if len(changed) == 1 else "have changed since they were"
            raise Refused(f"{names} {what} ingested; {cure}")
        kept = [row for row in old if row["verdict"] == ACCEPTED or row["file"] not in again]
        taken = {row[key] for row in kept}
        return kept, [row for row in rows if row[key] not in taken]
