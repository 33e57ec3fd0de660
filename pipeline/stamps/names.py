"""What a file's name tells: source, survey, filter, and where the source is."""

import re
from dataclasses import dataclass

from pipeline.errors import Reason, Rejected, UsageError
from pipeline.stamps.surveys import Survey, get

__all__ = ["STACKED", "Name", "is_stamp", "read"]

#: Filter of a file that is a stack of several already.
STACKED = "stacked"

_ENDING = re.compile(r"\.(fits?|fts)(\.gz|\.fz)?$", re.IGNORECASE)
#: Endings of files that lie beside an image: Pan-STARRS, NOIRLab, Legacy Surveys, WISE, ZTF, HST.
_BESIDE = re.compile(r".*[._-](mask|msk|mskimg|dqmask|dq|wt|wht|weight|invvar|ivar|unc|err|std)", re.IGNORECASE)
_NUMBER = r"[+-]?\d+\.?\d*"
_PANSTAMPS = re.compile(
    rf"(?:stack|warp)_(?P<filter>[grizyw])_ra(?P<ra>{_NUMBER})_dec(?P<dec>{_NUMBER})_.*", re.IGNORECASE
)
_FIELDS = {"source": r"(?P<source>[^/]+?)", "survey": r"(?P<survey>[^/]+?)", "filter": r"(?P<filter>[^/_]+?)"}


@dataclass(frozen=True)
class Name:
    """What a file's name tells.

    Parameters
    ----------
    source_id : str
        Source.
    survey : Survey
        Survey.
    filter : str
        Filter, as the survey calls it.
    ra, dec : float or None
        Degrees, ICRS, where the name tells.
    """

    source_id: str
    survey: Survey
    filter: str
    ra: float | None = None
    dec: float | None = None


def is_stamp(path: str) -> bool:
    """Return whether a path ends as FITS files do."""
    return _ENDING.search(path) is not None


def read(path: str, pattern: str | None = None, surveys: str | None = None) -> Name:
    """Return what a path tells.

    Parameters
    ----------
    path : str
        Below the archive.
    pattern : str, optional
        Such as ``<survey>/<source>-<filter>``, without ending; one with folders is matched with the path's last ones.
        Default: ``<source>_<survey>_<filter>``, ``<source>_stacked_<survey>``, ``<source>/<survey>/<survey>_<filter>``,
        ``<source>/<survey>_<filter>`` and panstamps' ``stack_<filter>_ra…_dec…_….fits``.
    surveys : str, optional
        TOML file of further surveys.

    Raises
    ------
    Rejected
        With `Reason.BAD_NAME` if the name does not read so, `Reason.UNKNOWN_SURVEY` if no survey is called so,
        `Reason.WRONG_PRODUCT` if it is that of a mask or weight map of another file.
    UsageError
        If the pattern has no ``<source>`` or an unknown field, or lacks both ``<survey>`` and a survey's name.
    """
    bare = _ENDING.sub("", path)
    if _BESIDE.fullmatch(bare):
        cure = "put it into the image's file, as an extension called DQ, MASK or WHT"
        raise Rejected(Reason.WRONG_PRODUCT, f"{bare}: by its name a mask or weight map of an image; {cure}")
    if pattern is not None:
        return _by_pattern(bare, pattern, surveys)
    stem = bare.rsplit("/", 1)[-1]
    match = _PANSTAMPS.fullmatch(stem)
    if match:
        ra, dec = float(match["ra"]) % 360, float(match["dec"])
        if abs(dec) <= 90:
            return _named(f"{ra:.6f}{dec:+.6f}", get("Pan-STARRS", surveys), match["filter"], ra, dec)
    return _by_words(bare, stem, surveys)


def _by_words(bare: str, stem: str, surveys: str | None) -> Name:
    """Read ``<source>_<survey>_<filter>``: the survey is the last words that are one, the source what is before."""
    words = stem.split("_")
    folders = bare.split("/")[:-1]
    for last in range(len(words), 0, -1):
        for first in range(last - 1, max(-1, last - 4), -1):
            survey = _survey("_".join(words[first:last]), surveys)
            if survey is None or len(words) - last > 2:
                continue
            source, filter = "_".join(words[:first]), "_".join(words[last:])
            if not filter and source.lower().endswith(f"_{STACKED}"):
                source, filter = source[: -len(STACKED) - 1], STACKED
            if not source:
                source = next((one for one in reversed(folders) if _survey(one, surveys) is None), "")
            if source:
                return _named(source, survey, filter or STACKED)
    shape = "<source>_<survey>_<filter>.fits, or <source>/<survey>/<survey>_<filter>.fits"
    what = f"{stem}: no survey's name in it"
    if len(words) >= 3:
        raise Rejected(Reason.UNKNOWN_SURVEY, f"{what}; files are called {shape}; see --pattern, `surveys` in [stamps]")
    raise Rejected(Reason.BAD_NAME, f"{what}; files are called {shape}; see --pattern")


def _survey(text: str, surveys: str | None) -> Survey | None:
    try:
        return get(text, surveys) if text else None
    except UsageError:
        return None


def _by_pattern(bare: str, pattern: str, surveys: str | None) -> Name:
    match = _expression(pattern).fullmatch(bare)
    if match is None:
        raise Rejected(Reason.BAD_NAME, f"{bare}: does not read as {pattern}; see --pattern")
    found = match.groupdict()
    text = found.get("survey") or next(filter(lambda one: _survey(one, surveys), re.split(r"[/_-]", pattern)), "")
    survey = _survey(text, surveys)
    if survey is None:
        raise Rejected(Reason.UNKNOWN_SURVEY, f"{bare}: no survey is called {text!r}; see `surveys` in [stamps]")
    return _named(found["source"], survey, found.get("filter") or STACKED)


def _expression(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(<\w*>|\*)", _ENDING.sub("", pattern))
    fields = [piece.strip("<>") for piece in pieces if piece.startswith("<")]
    unknown = [field for field in fields if field not in _FIELDS]
    if unknown or "source" not in fields:
        cure = "give <source>, <survey>, <filter> as in <source>_<survey>_<filter>; * stands for anything"
        raise UsageError(f"--pattern {pattern}: {'unknown ' + unknown[0] if unknown else 'no <source>'}; {cure}")
    text, seen = "", set[str]()
    for piece in pieces:
        field = piece.strip("<>")
        if piece == "*":
            text += "[^/]*"
        elif piece.startswith("<"):
            text += f"(?P={field})" if field in seen else _FIELDS[field]
            seen.add(field)
        else:
            text += re.escape(piece)
    return re.compile(rf"(?:.*/)?{text}")


def _named(source: str, survey: Survey, filter: str, ra: float | None = None, dec: float | None = None) -> Name:
    if not source.isprintable() or len(source) > 200:
        raise Rejected(Reason.BAD_NAME, f"{source[:40]!r} is no source's name: letters and digits, 200 at most")
    known = survey.filter(filter)
    return Name(source, survey, known.name if survey.knows(filter) else filter[:40], ra, dec)
