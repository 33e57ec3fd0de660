"""The inventory of an archive of stamps: which file is which source, survey and filter, and where the source is.

One plan a survey. It only ever grows: new sources make new partitions at the end. A source has one place on the sky, in
all its surveys: that is what lays its filters on each other.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.folder import Entry, Folder
from catalogs.stamp_plan import STAMP_PLAN
from pipeline.changes import ACCEPTED, REJECTED, UNKNOWN, Change, Plans
from pipeline.errors import Missing, Reason, Refused, Rejected
from pipeline.fits import printable
from pipeline.settings import StampSettings
from pipeline.stamps import grid, layout, names, reading
from pipeline.stamps.surveys import REACH, Survey, get, recognised

__all__ = ["ACCEPTED", "SOURCES", "STAGE", "UNKNOWN", "Change", "capacity", "changes", "find", "fresh", "inspect",
           "killed", "load", "path", "save", "surveys"]  # fmt: skip

#: Name of the stage whose plan this is.
STAGE = layout.INGEST

#: Sources of a partition; fewer where they have many filters.
SOURCES = 512

#: The last two reasons may be gone by another --pattern or --surveys.
_PLANS = Plans(STAGE, STAMP_PLAN, "stamps", (Reason.UNREADABLE, Reason.CHANGED, Reason.BAD_NAME, Reason.UNKNOWN_SURVEY))
path, surveys, fresh, save = _PLANS.path, _PLANS.surveys, _PLANS.fresh, _PLANS.save

Row = dict[str, Any]


def capacity(survey: Survey) -> int:
    """Return how many stamps a partition of a survey holds at most, 50 MB or 100 of them."""
    return 3072 if survey.side <= 64 else 1536


def load(workspace: Folder, slug: str) -> pa.Table:
    """Return a plan.

    Raises
    ------
    Missing
        If there is none.
    """
    if (found := _PLANS.load(workspace, slug)) is None:
        raise Missing(f"{workspace.url(path(slug))}: no plan; run ingest_stamps")
    return found


def find(archive: Folder) -> list[Entry]:
    """Return the files below an archive that end as FITS files do."""
    return [entry for entry in archive.list() if names.is_stamp(entry.path)]


def inspect(archive: Folder, settings: StampSettings, entries: Iterable[Entry]) -> list[Row]:
    """Read names and headers of files and return a plan row for each, accepted or rejected."""
    return [_inspect(archive, settings, entry) for entry in entries]


def _inspect(archive: Folder, settings: StampSettings, entry: Entry) -> Row:
    row = _blank(entry)
    try:
        name = names.read(entry.path, settings.pattern, settings.surveys)
        row |= {"source_id": name.source_id, "survey": name.survey.name, "filter": name.filter}
        names.check_packing(entry.path)
        delivered = reading.read(archive, entry.path)
        exptime = delivered.facts["exptime_s"]
        row |= {"sha256": delivered.sha256, "size": delivered.size}
        row["exptime_s"] = None if np.isnan(exptime) else exptime
        _check_survey(delivered, name.survey, settings.surveys)
        seen = grid.sight(delivered, name.survey, settings.pixscale)
        _check_pixels(delivered)
        row |= {"told_ra": seen.ra, "told_dec": seen.dec, "rank": seen.rank}
        if name.ra is not None:
            row |= {"told_ra": name.ra, "told_dec": name.dec, "rank": 0}
        row["verdict"] = ACCEPTED
    except Rejected as error:
        row |= {"reason": str(error.reason), "message": error.message}
    return row


def _blank(entry: Entry) -> Row:
    row: Row = dict.fromkeys(STAMP_PLAN.names)
    row |= {"file": printable(entry.path), "size": entry.size, "mtime": entry.mtime}
    return row | {"survey": UNKNOWN, "verdict": REJECTED}


def _check_survey(delivered: reading.Delivered, survey: Survey, surveys: str | None) -> None:
    told = {text: recognised(text, surveys) for text in delivered.words()}
    named = {name for found in told.values() for name in found}
    if named and survey.name not in named:
        text = next(text for text, found in told.items() if found)
        what = f"its name says {survey.name}, its header {text!r}"
        raise Rejected(Reason.WRONG_SURVEY, f"{what}, which is {' or '.join(sorted(named))}; rename it")


def _check_pixels(delivered: reading.Delivered) -> None:
    finite = np.isfinite(delivered.image)
    if not finite.any():
        raise Rejected(Reason.ALL_NAN, "no finite pixel; fetch the stamp again")
    values = delivered.image[finite]
    if values.min() == values.max():
        raise Rejected(Reason.CONSTANT, f"every pixel is {values[0]:g}: blank; fetch the stamp again")


def killed(entry: Entry) -> Row:
    """Return the plan row of a file whose reading kills the process."""
    message = "reading it killed the process; remove it, and report this as a bug"
    return _blank(entry) | {"reason": str(Reason.KILLED), "message": message}


def changes(
    workspace: Folder, rows: Sequence[Row], settings: StampSettings, overwrite: bool = False
) -> dict[str, Change]:
    """Sort inspected files by survey, place their sources, and extend the plans.

    Parameters
    ----------
    workspace : Folder
        Holds the plans so far.
    rows : sequence of dict
        From `inspect`: files that are new or have changed, or all of them to overwrite.
    settings : StampSettings
        Names the table of further surveys.
    overwrite : bool, default: False
        Make the plans anew.

    Returns
    -------
    dict
        Slug of a survey, or ``unknown`` → its plan.

    Raises
    ------
    Refused
        If a file has changed since it was ingested, or nothing would be left of what is to be overwritten.
    """
    there = {slug: load(workspace, slug) for slug in surveys(workspace)}
    if overwrite and there and not any(row["verdict"] == ACCEPTED for row in rows):
        raise Refused("no file is of use now; what was ingested is kept. See --archive")
    before = {} if overwrite else there
    kept, added = _PLANS.carried(before, rows, "file")
    _reject_late(kept, added)
    _reject_duplicates(kept, added)
    _locate(kept, added, settings.surveys)
    by_survey: dict[str, list[Row]] = {slug: [] for slug in before}
    for row in sorted([*kept, *added], key=lambda row: str(row["file"])):
        by_survey.setdefault(_slug(row["survey"], settings), []).append(row)
    for slug, found in by_survey.items():
        if slug != UNKNOWN:
            _partition(found, capacity(get(found[0]["survey"], settings.surveys)) if found else 0)
    return {slug: Change(before.get(slug), STAMP_PLAN.of(found)) for slug, found in sorted(by_survey.items())}


def _slug(survey: str, settings: StampSettings) -> str:
    return UNKNOWN if survey == UNKNOWN else get(survey, settings.surveys).slug


def _accepted(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["verdict"] == ACCEPTED]


def _reject_duplicates(kept: Iterable[Row], added: Iterable[Row]) -> None:
    """Reject the same filter of a source given twice: what is there stays, then the longer exposure, then by path."""
    first = {(row["survey"], row["source_id"], row["filter"]): row["file"] for row in _accepted(kept)}
    for row in sorted(_accepted(added), key=lambda row: (-(row["exptime_s"] or 0), row["file"])):
        key = (row["survey"], row["source_id"], row["filter"])
        other = first.setdefault(key, row["file"])
        if other != row["file"]:
            message = f"the same source, survey and filter as {other}, which was taken"
            row |= {"verdict": REJECTED, "reason": str(Reason.DUPLICATE), "message": message}


def _reject_late(kept: Iterable[Row], added: Iterable[Row]) -> None:
    """Reject further filters of sources that are in a store: their rows, and their stacks, would change."""
    there = {(row["survey"], row["source_id"], row["filter"]) for row in _accepted(kept)}
    sources = {key[:2] for key in there}
    for row in _accepted(added):
        source = (row["survey"], row["source_id"])
        if source in sources and (*source, row["filter"]) not in there:
            message = f"{source[1]} of {source[0]} is there without it; ingest_stamps --overwrite takes all its filters"
            row |= {"verdict": REJECTED, "reason": str(Reason.LATE), "message": message}


def _locate(kept: Iterable[Row], added: Iterable[Row], surveys: str | None) -> None:
    """Give each source one place: that it has already, else what its files tell best."""
    known = {row["source_id"]: (row["ra"], row["dec"]) for row in _accepted(kept)}
    files: dict[str, list[Row]] = defaultdict(list)
    for row in _accepted(added):
        files[row["source_id"]].append(row)
    for source, rows in files.items():
        ra, dec = known.get(source) or _place(rows, surveys)
        for row in rows:
            row |= {"ra": ra, "dec": dec}


def _place(rows: Sequence[Mapping[str, Any]], surveys: str | None) -> tuple[float | None, float | None]:
    """Return where the finest survey has a source, unless it looks elsewhere than most do."""
    # By name: places are medians of offsets from the first one, and workers answer in any order.
    placed = sorted(
        (row for row in rows if row["told_ra"] is not None and np.isfinite(row["told_ra"])),
        key=lambda row: str(row["file"]),
    )
    if not placed:
        return None, None
    best = min(row["rank"] for row in placed)
    by_survey: dict[str, list[tuple[float, float]]] = defaultdict(list)
    ra0 = placed[0]["told_ra"]
    for row in placed:
        if row["rank"] == best:
            by_survey[row["survey"]].append(((row["told_ra"] - ra0 + 180) % 360 - 180, row["told_dec"]))
    middles = {survey: np.median(pairs, axis=0) for survey, pairs in by_survey.items()}
    common = np.median(list(middles.values()), axis=0)
    to_sky = np.array([np.cos(np.radians(common[1])), 1.0]) * 3600
    agreed = [survey for survey in middles if np.hypot(*((middles[survey] - common) * to_sky)) < REACH] or middles
    ra, dec = middles[min(agreed, key=lambda survey: (get(survey, surveys).pixscale, survey))]
    return float((ra + ra0) % 360), float(dec)


def _partition(rows: Sequence[Row], most: int) -> None:
    """Give the sources that have no partition theirs, behind those that are there, in the order of their names."""
    part = max((row["part"] for row in rows if row["part"] is not None), default=-1) + 1
    files: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["verdict"] == ACCEPTED and row["part"] is None:
            files[row["source_id"]].append(row)
    sources = count = 0
    for source in sorted(files):
        if sources == SOURCES or count + len(files[source]) > most:
            part, sources, count = part + 1, 0, 0
        for row in files[source]:
            row["part"] = part
        sources, count = sources + 1, count + len(files[source])
