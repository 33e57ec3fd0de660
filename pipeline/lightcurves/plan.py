"""The plan of a sector: which file is which star, in which row of the store, and which are no use.

Headers only. The plan is written before the first light curve is read, only ever grows at its end, and every file
found below the archive stands in one, accepted or rejected with its reason.
"""

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalogs import schema, write
from catalogs.folder import Entry, Folder
from pipeline.errors import Reason, Refused, Rejected
from pipeline.fits import printable
from pipeline.lightcurves import tess
from pipeline.partition import partition_size, where, where_cadence, where_sector

__all__ = [
    "Change",
    "Found",
    "changes",
    "check_same",
    "extend",
    "find",
    "fresh",
    "inspect",
    "load",
    "members",
    "names",
    "partitions",
    "path",
    "save",
]

ACCEPTED, REJECTED = "accepted", "rejected"

_SECTOR_FOLDER = re.compile(r"(?:s|sector[_-]?)0*(\d{1,4})", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A file below the archive and the sector its folder names, 0 if none does."""

    entry: Entry
    sector: int


def path(name: str) -> str:
    """Return where the plan of a store lies in the workspace."""
    return f"manifest/ingest/{name}.plan.parquet"


def load(workspace: Folder, name: str) -> pa.Table | None:
    """Return a plan, or None if there is none yet."""
    if not workspace.exists(path(name)):
        return None
    return write.read(workspace, path(name), schema.PLAN)


def save(workspace: Folder, name: str, plan: pa.Table) -> None:
    """Write a plan, unless it is the one that is there."""
    if plan.num_rows:
        write.write(workspace, path(name), plan, schema.PLAN)


def find(archive: Folder, sectors: Sequence[int] | None, pattern: str) -> list[Found]:
    """List the files of the wanted sectors.

    Folders ``s001``, ``s0001`` or ``sector1`` anywhere in a path (the mission's own nesting too) name the sector of
    the files below; a file under none is placed by its header.

    Parameters
    ----------
    archive : Folder
        Top of the light-curve files.
    sectors : sequence of int, optional
        Sectors wanted; default all.
    pattern : str
        Glob relative to the archive; ``*`` matches slashes too, ``{sector}`` or ``{sector:03d}`` each sector.
    """
    globs = [pattern.format(sector=sector).removeprefix("**/") for sector in sectors or range(1, 1000)]
    matches = re.compile("|".join(fnmatch.translate(glob) for glob in dict.fromkeys(globs))).match
    found = []
    for top in ["", *archive.folders()]:
        if not _is_wanted(_sector_of(f"{top}/"), sectors):
            continue
        for entry in archive.list(top) if top else archive.files():
            sector = _sector_of(entry.path)
            if _is_wanted(sector, sectors) and matches(entry.path):
                found.append(Found(entry, sector))
    return found


def _is_wanted(sector: int, sectors: Sequence[int] | None) -> bool:
    return not sector or sectors is None or sector in sectors


def _sector_of(path: str) -> int:
    for folder in reversed(path.split("/")[:-1]):
        if match := _SECTOR_FOLDER.fullmatch(folder):
            return int(match[1])
    return 0


def inspect(archive: Folder, found: Iterable[Found]) -> list[dict[str, Any]]:
    """Read the headers of files and return one plan row each; no row or partition is given yet."""
    return [_inspect(archive, item) for item in found]


def _inspect(archive: Folder, found: Found) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(schema.PLAN.names)
    row |= {"file": printable(found.entry.path), "size": found.entry.size, "mtime": found.entry.mtime}
    row |= {"sector": found.sector, "verdict": REJECTED}
    try:
        seen = tess.inspect(archive, found.entry.path, found.entry.size)
        facts = seen.facts
        row |= {"tic_id": facts.tic_id, "cadence_s": float(facts.cadence_s), "checksum": seen.checksum}
        row |= {"first_cadence": seen.first_cadence, "last_cadence": seen.last_cadence}
        row |= {"data_rel": facts.data_rel, "date": facts.date}
        if found.sector and facts.sector != found.sector:
            raise Rejected(Reason.SECTOR, f"header says sector {facts.sector}, its folder sector {found.sector}")
        row |= {"sector": facts.sector, "verdict": ACCEPTED}
    except Rejected as error:
        row |= {"reason": str(error.reason), "message": error.message}
    return row


def name_of(row: dict[str, Any]) -> str:
    """Return the store a plan row belongs to; what could not be read counts with the two-minute files."""
    return where(row["sector"], row["cadence_s"] or 120)


def extend(name: str, old: pa.Table | None, rows: list[dict[str, Any]], there: set[str] | None = None) -> pa.Table:
    """Return the plan with newly inspected files added at its end.

    Parameters
    ----------
    name : str
        Store, ``s0001``.
    old : pyarrow.Table or None
        The plan so far.
    rows : list of dict
        From `inspect`: files that are new or changed since.
    there : set of str, optional
        All files there are: a rejected one that was removed leaves the plan. What has a row stays.

    Raises
    ------
    Refused
        If a new file would change rows that are already there.
    """
    kept = [] if old is None else old.to_pylist()
    again = {row["file"]: row for row in rows}
    rowed = {row["tic_id"]: row for row in kept if row["verdict"] == ACCEPTED}
    for row in rowed.values():
        new = again.pop(row["file"], None)
        if new is not None and new["checksum"] != row["checksum"]:
            raise _refusal(name, f"{row['file']} has changed since it was ingested")
    gone = {row["file"] for row in kept if there is not None and row["file"] not in there and row["row"] is None}
    kept = [row for row in kept if row["file"] not in again.keys() | gone]
    _reject_outliers(name, [*rowed.values(), *again.values()], again.values())
    best: dict[int, dict[str, Any]] = {}
    for row in sorted(again.values(), key=_rank):
        if row["verdict"] != ACCEPTED:
            continue
        other = rowed.get(row["tic_id"])
        if other is not None and _rank(row) < _rank(other):
            raise _refusal(name, f"{row['file']} is a better light curve of TIC {row['tic_id']} than {other['file']}")
        other = other or best.setdefault(row["tic_id"], row)
        if other is not row:
            message = f"TIC {row['tic_id']} is taken from {other['file']}"
            row |= {"verdict": REJECTED, "reason": str(Reason.DUPLICATE), "message": message}
    _check_cadences(name, list(rowed.values()), list(best.values()))
    size = partition_size(where_cadence(name))
    last = max((row["row"] for row in rowed.values()), default=-1)
    start = -(-(last + 1) // size) * size
    for number, tic_id in enumerate(sorted(best), start):
        best[tic_id] |= {"row": number, "partition": number // size}
    return pa.Table.from_pylist([*kept, *again.values()], schema=schema.PLAN.arrow_schema())


def _rank(row: dict[str, Any]) -> tuple[Any, ...]:
    """Order of preference among files of one star: highest data release, then latest date, then path."""
    date = tuple(-ord(c) for c in row["date"] or "")
    return (-(row["data_rel"] or 0), date or (0,), row["file"])


def _reject_outliers(name: str, rows: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> None:
    """Reject files whose cadence numbers are another sector's: one would stretch the axis of all."""
    numbers = sorted(row["first_cadence"] for row in rows if row["verdict"] == ACCEPTED)
    middle = numbers[len(numbers) // 2] if numbers else 0
    reach = tess.LONGEST_D * 86400 / where_cadence(name)
    for row in new:
        if row["verdict"] == ACCEPTED and abs(row["first_cadence"] - middle) > reach:
            message = f"first CADENCENO {row['first_cadence']}, the sector's files begin near {middle}"
            row |= {"verdict": REJECTED, "reason": str(Reason.BAD_CADENCES), "message": message}


def _check_cadences(name: str, there: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    if not there or not new:
        return
    first, last = min(r["first_cadence"] for r in there), max(r["last_cadence"] for r in there)
    for row in new:
        if row["first_cadence"] < first or row["last_cadence"] > last:
            span = f"{row['first_cadence']}–{row['last_cadence']}"
            raise _refusal(name, f"{row['file']} has cadences {span} outside the store's {first}–{last}")


def _refusal(name: str, what: str) -> Refused:
    cure = f"python -m jobs.ingest_sectors --sectors {where_sector(name)} --overwrite …"
    return Refused(f"{name}: {what}; that would change rows already there. To make the store anew: {cure}")


def partitions(plan: pa.Table) -> list[int]:
    """Return the numbers of a plan's partitions, sorted."""
    return sorted(pc.unique(plan["partition"].drop_null()).to_pylist())


def members(plan: pa.Table, part: int) -> list[dict[str, Any]]:
    """Return the accepted rows of one partition, by row."""
    rows: list[dict[str, Any]] = plan.filter(pc.equal(plan["partition"], part)).to_pylist()
    return sorted(rows, key=lambda row: row["row"])


def check_same(row: dict[str, Any], curve: tess.LightCurve) -> None:
    """Check that a file read now is the one that was planned.

    Raises
    ------
    Rejected
        With `Reason.CHANGED` if size, star or cadences are others.
    """
    cadences = curve.columns["cadenceno"]
    now = (curve.size, curve.facts.tic_id, int(cadences[0]), int(cadences[-1]))
    planned = (row["size"], row["tic_id"], row["first_cadence"], row["last_cadence"])
    if now != planned:
        names = ("size", "tic_id", "first cadence", "last cadence")
        what = [f"{n} {a} → {b}" for n, a, b in zip(names, planned, now, strict=True) if a != b]
        raise Rejected(Reason.CHANGED, f"not the file that was planned: {', '.join(what)}")


def fresh(workspace: Folder, found: Iterable[Found]) -> list[Found]:
    """Return the files that are not in a plan yet, or have another size or time than they had then."""
    known: set[tuple[str, int, float]] = set()
    for name in names(workspace):
        plan = load(workspace, name)
        assert plan is not None
        known |= set(zip(*(plan[column].to_pylist() for column in ("file", "size", "mtime")), strict=True))
    return [item for item in found if (printable(item.entry.path), item.entry.size, item.entry.mtime) not in known]


def names(workspace: Folder) -> list[str]:
    """Return the stores that have a plan, sorted."""
    suffix = ".plan.parquet"
    return [entry.path.rsplit("/", 1)[1].removesuffix(suffix) for entry in workspace.list("manifest/ingest", suffix)]


@dataclass(frozen=True)
class Change:
    """A store's plan as it will be.

    Attributes
    ----------
    plan : pyarrow.Table
        All of it, old and new.
    new : int
        Files planned for the first time, or again because they have changed.
    """

    plan: pa.Table
    new: int

    @property
    def refused(self) -> int:
        """Files, old and new, that are no use."""
        return int(pc.sum(pc.equal(self.plan["verdict"], REJECTED)).as_py() or 0)

    @property
    def accepted(self) -> pa.Table:
        """The rows that have a place in the store."""
        return self.plan.filter(self.plan["row"].is_valid())


def changes(
    workspace: Folder, found: Iterable[Found], rows: Iterable[dict[str, Any]], sectors: Sequence[int] | None
) -> dict[str, Change]:
    """Sort inspected files into stores and extend their plans.

    Parameters
    ----------
    workspace : Folder
        Holds the plans so far.
    found : iterable of Found
        All files there are.
    rows : iterable of dict
        From `inspect`, those that are fresh.
    sectors : sequence of int, optional
        Sectors wanted; what a header places elsewhere is left alone.

    Returns
    -------
    dict
        Store → its plan, for the stores of these sectors that have any.
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if _is_wanted(row["sector"], sectors):
            by_name.setdefault(name_of(row), []).append(row)
    there = {printable(item.entry.path) for item in found}
    wanted = {name for name in names(workspace) if _is_wanted(where_sector(name), sectors)} | by_name.keys()
    made = {}
    for name in sorted(wanted):
        new = by_name.get(name, [])
        made[name] = Change(extend(name, load(workspace, name), new, there), len(new))
    return made
