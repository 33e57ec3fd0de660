"""The inventory of an image archive: which file and extension is which image, and which are no use. Headers only.

One plan a survey. It only ever grows; every file found below the archive stands in one, with a row for each image in
it, accepted or rejected with its reason.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalogs.folder import Entry, Folder
from catalogs.images import IMAGE_PLAN
from pipeline.changes import ACCEPTED, REJECTED, UNKNOWN, Change, Plans
from pipeline.errors import Reason, Refused, Rejected
from pipeline.fits import printable
from pipeline.images import coordinates, headers
from pipeline.images.reading import ImageFile, opened
from pipeline.settings import ImageSettings

__all__ = ["Change", "changes", "find", "fresh", "inspect", "killed", "load", "path", "row_of", "save",
           "science_images", "surveys"]  # fmt: skip


#: Extensions that are lookup tables of a WCS, whatever the survey.
_LOOKUPS = ("D2IMARR", "WCSDVARR", "HDRLET", "WCSCORR")

_UNNAMED = ("", "PRIMARY", "COMPRESSED_IMAGE")

Row = dict[str, Any]

_PLANS = Plans("ingest_images", IMAGE_PLAN, "images")
path, surveys, load, fresh, save = _PLANS.path, _PLANS.surveys, _PLANS.load, _PLANS.fresh, _PLANS.save


def find(archive: Folder, pattern: str) -> list[Entry]:
    """Return the files below an archive whose name, in any case, matches one of the globs in `pattern`."""
    globs = [glob.strip().removeprefix("**/") for glob in pattern.lower().split(",")]
    matches = re.compile("|".join(fnmatch.translate(glob) for glob in globs)).match
    return [entry for entry in archive.list() if matches(entry.path.lower())]


def inspect(archive: Folder, settings: ImageSettings, entries: Iterable[Entry]) -> list[Row]:
    """Read the headers of files and return one plan row for each image in them, one at least a file."""
    return [row for entry in entries for row in _inspect(archive, settings, entry)]


def _inspect(archive: Folder, settings: ImageSettings, entry: Entry) -> list[Row]:
    try:
        with opened(archive, entry.path, int(settings.max_gib * 2**30)) as file:
            numbers = science_images(file)
            if not numbers:
                names = ", ".join(hdu.name or "primary" for hdu in file.hdus[:8])
                raise Rejected(Reason.WRONG_PRODUCT, f"no image in it (extensions: {names})")
            return [row_of(entry, file, number) for number in numbers]
    except Rejected as error:
        return [_blank(entry) | {"reason": str(error.reason), "message": error.message}]


def science_images(file: ImageFile) -> list[int]:
    """Return the extensions with an image of their own: no errors, qualities or weights of another."""
    numbers = file.images()
    survey = headers.survey_of(file.cards(numbers[0] if numbers else 0))
    others = {*survey.error, *survey.quality, *survey.weight, *_LOOKUPS}
    own = [number for number in numbers if file.hdus[number].name not in others or len(numbers) == 1]
    named = [number for number in own if file.hdus[number].name in survey.science]
    return named or own


def row_of(entry: Entry, file: ImageFile, number: int) -> Row:
    """Return the plan row of one image of an open file, accepted or rejected."""
    row = _blank(entry, number) | {"sha256": file.sha256, "size": file.size}
    try:
        cards = file.cards(number)
        told = headers.read(cards)
        facts = told.facts
        row |= {"survey": facts.survey, "mission": facts.mission, "filter": facts.filter, "mjd_mid": facts.mjd_mid}
        headers.check_science(told.survey, cards)
        plane = file.plane(number)
        coordinates.read_wcs(plane.header, file.hdus, plane.shape)
        row |= {"ny": plane.shape[0], "nx": plane.shape[1], "verdict": ACCEPTED}
        row["image_id"] = image_id(entry.path, number, file.hdus[number].name, file.sha256)
    except Rejected as error:
        row |= {"reason": str(error.reason), "message": error.message}
    return row


def _blank(entry: Entry, number: int = 0) -> Row:
    row: Row = dict.fromkeys(IMAGE_PLAN.names)
    file = printable(entry.path)
    row |= {"input": f"{file}[{number}]", "file": file, "extension": number, "size": entry.size, "mtime": entry.mtime}
    return row | {"survey": UNKNOWN, "verdict": REJECTED}


def image_id(path: str, number: int, name: str, sha256: str) -> str:
    """Return the name of an image: the file's stem, the extension and the checksum, safe for any file system."""
    stem = re.sub(r"(\.(fits?|fts|fz|gz|mini))+$", "", path.rsplit("/", 1)[-1].lower())
    stem = re.sub(r"[^a-z0-9]+", "-", stem.encode("ascii", "ignore").decode()).strip("-")[:48] or "image"
    part = re.sub(r"[^a-z0-9]+", "", name.lower())[:12] if name not in _UNNAMED else ""
    return "-".join([stem, f"{part}{number}" if part or number else "0", sha256[:8]])


def killed(entry: Entry) -> Row:
    """Return the plan row of a file whose headers kill the process that reads them."""
    message = "reading its headers killed the process; remove it, and report this as a bug"
    return _blank(entry) | {"reason": str(Reason.KILLED), "message": message}


def changes(workspace: Folder, rows: Sequence[Row], overwrite: bool = False) -> dict[str, Change]:
    """Sort inspected images by survey and extend their plans.

    Parameters
    ----------
    workspace : Folder
        Holds the plans so far.
    rows : sequence of dict
        From `inspect`: files that are new or have changed, or all of them to overwrite.
    overwrite : bool
        Make the plans anew.

    Returns
    -------
    dict
        Survey → its plan.

    Raises
    ------
    Refused
        If a file has changed since it was ingested, or nothing would be left of what is to be overwritten.
    """
    there = {survey: plan for survey in surveys(workspace) if (plan := load(workspace, survey)) is not None}
    before = {} if overwrite else there
    if overwrite and any(map(_has_images, there.values())) and not any(row["verdict"] == ACCEPTED for row in rows):
        raise Refused("no file is of use now; what was ingested is kept. See --archive")
    kept, added = _PLANS.carried(before, rows, "input")
    _reject_duplicates([row for row in kept if row["verdict"] == ACCEPTED], added)
    by_survey: dict[str, list[Row]] = {survey: [] for survey in before}
    for row in sorted([*kept, *added], key=lambda row: row["input"]):
        by_survey.setdefault(row["survey"], []).append(row)
    schema = IMAGE_PLAN.arrow_schema()
    return {
        survey: Change(before.get(survey), pa.Table.from_pylist(found, schema=schema))
        for survey, found in sorted(by_survey.items())
    }


def _has_images(plan: pa.Table) -> bool:
    return bool(pc.any(pc.equal(plan["verdict"], ACCEPTED)).as_py())


def _reject_duplicates(there: Sequence[Mapping[str, Any]], new: Iterable[Row]) -> None:
    """Reject the second and further copies of a file; those that are there come first, then by path."""
    first = {(row["sha256"], row["extension"]): row["input"] for row in there}
    for row in sorted(new, key=lambda row: row["input"]):
        if row["verdict"] != ACCEPTED:
            continue
        other = first.setdefault((row["sha256"], row["extension"]), row["input"])
        if other != row["input"]:
            message = f"the same bytes as {other}"
            row |= {"verdict": REJECTED, "reason": str(Reason.DUPLICATE), "message": message, "image_id": None}
