"""The plan of a sector: which file is which star, in which row of the store, and which are no use.

Headers only. The plan is written before the first light curve is read, only ever grows at its end, and every file
found below the archive stands in one, accepted or rejected with its reason.
"""

import fnmatch
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalogs import schema, write
from catalogs.folder import Entry, Folder
from pipeline.changes import ACCEPTED, REJECTED, Change
from pipeline.errors import Reason, Refused, Rejected, UsageError
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
    "killed",
    "load",
    "members",
    "names",
    "partitions",
    "path",
    "save",
]


#: Reasons that may be gone by the next run, though the file has not changed.
_TRY_AGAIN = pa.array([str(Reason.UNREADABLE), str(Reason.CHANGED)])

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


def save(workspace: Folder, name: str, change: "Change") -> None:
    """Write a plan as it will be.

    Raises
    ------
    Refused
        If another job has changed the plan since it was read.
    """
    now = load(workspace, name)
    if now is not None and change.before is not None and now.equals(change.plan):
        return
    if (now is None) != (change.before is None) or (now is not None and not now.equals(change.before)):
        raise Refused(f"{workspace.url(path(name))}: another job is ingesting this sector; run again when it has ended")
    write.write(workspace, path(name), change.plan, schema.PLAN)


def find(archive: Folder, sectors: Sequence[int] | None, pattern: str) -> dict[int, list[Found]]:
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

    Returns
    -------
    dict
        Sector → files; 0 for those in no sector's folder.

    Raises
    ------
    UsageError
        If the pattern has other braces than ``{sector}``.
    """
    try:
        globs = {pattern.format(sector=sector).removeprefix("**/") for sector in sectors or range(1, 100)}
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(f"--pattern {pattern}: only {{sector}} or {{sector:03d}} may stand in braces") from error
    matches = re.compile("|".join(fnmatch.translate(glob) for glob in sorted(globs))).match
    found: dict[int, list[Found]] = {}
    for top in ["", *archive.folders()]:
        if not _is_wanted(_sector_of(f"{top}/"), sectors):
            continue
        for entry in archive.list(top) if top else archive.files():
            sector = _sector_of(entry.path)
            if _is_wanted(sector, sectors) and matches(entry.path):
                found.setdefault(sector, []).append(Found(entry, sector))
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
    row = _blank(found)
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


def _blank(found: Found) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(schema.PLAN.names)
    row |= {"file": printable(found.entry.path), "size": found.entry.size, "mtime": found.entry.mtime}
    return row | {"sector": found.sector, "verdict": REJECTED}


def name_of(row: dict[str, Any]) -> str:
    """Return the store a plan row belongs to; what could not be read counts with the two-minute files."""
    return where(row["sector"], row["cadence_s"] or 120)


def killed(found: Found) -> dict[str, Any]:
    """Return the plan row of a file whose headers kill the process that reads them."""
    message = "reading its headers killed the process; remove it, and report this as a bug"
    return _blank(found) | {"reason": str(Reason.KILLED), "message": message}


def extend(name: str, old: pa.Table | None, rows: list[dict[str, Any]], seen: Collection[str] = ()) -> pa.Table:
    """Return the plan with newly inspected files added at its end.

    Parameters
    ----------
    name : str
        Store, ``s0001``.
    old : pyarrow.Table or None
        The plan so far.
    rows : list of dict
        From `inspect`: files that are new or changed since.
    seen : collection of str
        All files inspected now: one that was rejected here may have a place in another store by now.

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
        row["mtime"] = new["mtime"] if new else row["mtime"]
    kept = [row for row in kept if row["row"] is not None or row["file"] not in {*again, *seen}]
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


def fresh(workspace: Folder, stores: Iterable[str], found: Iterable[Found]) -> list[Found]:
    """Return the files that stand in none of these stores' plans, have changed since, or could not be read then."""
    known: set[tuple[str, int, float]] = set()
    for name in stores:
        plan = load(workspace, name)
        assert plan is not None
        settled = plan.filter(pc.invert(pc.is_in(plan["reason"], value_set=_TRY_AGAIN)))
        known |= set(zip(*(settled[column].to_pylist() for column in ("file", "size", "mtime")), strict=True))
    return [item for item in found if (printable(item.entry.path), item.entry.size, item.entry.mtime) not in known]


def names(workspace: Folder, sectors: Sequence[int] | None = None) -> list[str]:
    """Return the stores that have a plan, sorted; of the given sectors if there are any given."""
    suffix = ".plan.parquet"
    paths = (entry.path for entry in workspace.list("manifest/ingest", suffix))
    found = [path.rsplit("/", 1)[1].removesuffix(suffix) for path in paths]
    return sorted(name for name in found if sectors is None or where_sector(name) in sectors)


def changes(
    workspace: Folder, sector: int, rows: Iterable[dict[str, Any]], overwrite: bool = False
) -> dict[str, Change]:
    """Sort a sector's inspected files into stores and extend their plans.

    Parameters
    ----------
    workspace : Folder
        Holds the plans so far.
    sector : int
        The sector.
    rows : iterable of dict
        From `inspect`: those that are fresh, or all of them to overwrite.
    overwrite : bool
        Make the plans anew.

    Returns
    -------
    dict
        Store → its plan, for the sector's stores that have one or get one.

    Raises
    ------
    Refused
        If new files would change rows, or nothing would be left of a store that is to be overwritten.
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(name_of(row), []).append(row)
    seen = {row["file"] for found in by_name.values() for row in found}
    made = {}
    for name in sorted(by_name if overwrite else {*by_name, *names(workspace, [sector])}):
        before = load(workspace, name)
        after = extend(name, None if overwrite else before, by_name.get(name, []), seen)
        if overwrite and before is not None and partitions(before) and not partitions(after):
            raise Refused(f"{name}: no file of it is of use now; what was ingested is kept. See --archive")
        made[name] = Change(None if overwrite else before, after)
    return made
