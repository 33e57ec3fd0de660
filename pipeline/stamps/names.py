"""What a file's name tells: source, survey, filter, and where the source is."""

import re
from dataclasses import dataclass, replace

from pipeline.errors import Reason, Rejected, UsageError
from pipeline.stamps.surveys import Survey, get

__all__ = ["STACKED", "Name", "check_packing", "is_stamp", "read"]

#: Filter of a file that is a stack of several already.
STACKED = "stacked"

_ENDING = re.compile(r"\.(fits?|fts)(\.gz|\.fz|\.(?P<packed>bz2|z|xz|zip))?$", re.IGNORECASE)
#: Endings of files that lie beside an image: Pan-STARRS, NOIRLab, Legacy Surveys, WISE, ZTF, HST.
_BESIDE = re.compile(r".*[._-](mask|msk|mskimg|dqmask|dq|wt|wht|weight|invvar|ivar|unc|err|std)", re.IGNORECASE)
_NUMBER = r"[+-]?\d+\.?\d*"
_PANSTAMPS = re.compile(
    rf"(?:stack|warp)_(?P<filter>[grizyw])_ra(?P<ra>{_NUMBER})_dec(?P<dec>{_NUMBER})_.*", re.IGNORECASE
)
#: Filters in no table that are some all the same: F673N, MIRI_F770W, NB816, B.
_BAND = re.compile(
    r"[ubvrijhkgzyw]|((nicmos|niriss|miri|stis|wfpc2)_)?f\d{3,4}(w2?|n|m|lp|x)|[ni]b\d{3,4}", re.IGNORECASE
)
_SHAPE = "files are called <source>_<survey>_<filter>.fits, or <source>/<survey>/<survey>_<filter>.fits"
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
    """Return whether a path ends as FITS files do, packed ones too."""
    return _ENDING.search(path) is not None


def check_packing(path: str) -> None:
    """Check that a stamp's path does not end as one does that is packed in a way that is not read.

    Raises
    ------
    Rejected
        With `Reason.BAD_COMPRESSION`.
    """
    match = _ENDING.search(path)
    if match and match["packed"]:
        raise Rejected(Reason.BAD_COMPRESSION, f"packed as .{match['packed']}; unpack it, or pack it with gzip")


def read(path: str, pattern: str | None = None, surveys: str | None = None) -> Name:
    """Return what a path tells.

    Parameters
    ----------
    path : str
        Below the archive.
    pattern : str, optional
        Such as ``<survey>/<source>-<filter>``, without ending; one with folders is matched with the path's last ones.
        Default: ``<source>_<survey>_<filter>``, ``<source>_stacked_<survey>``, ``<source>/<survey>/<survey>_<filter>``,
        ``<source>/<survey>_<filter>`` and panstamps' ``stack_<filter>_ra…_dec…_….fits``. ``<survey=PS1>`` stands for
        nothing in a name and tells the survey of them all.
    surveys : str, optional
        TOML file of further surveys.

    Raises
    ------
    Rejected
        With `Reason.BAD_NAME` if the name does not read so, `Reason.UNKNOWN_SURVEY` if no survey is called so,
        `Reason.WRONG_PRODUCT` if it is that of a mask or weight map of another file.
    UsageError
        If the pattern has no ``<source>`` or an unknown field, or lacks both ``<survey>`` and a known survey's name.
    """
    bare = _ENDING.sub("", path)
    if _BESIDE.fullmatch(bare):
        cure = "put it into the image's file, as an extension called DQ, MASK or WHT"
        raise Rejected(Reason.WRONG_PRODUCT, f"{bare}: by its name a mask or weight map of an image; {cure}")
    stem = bare.rsplit("/", 1)[-1]
    match = _PANSTAMPS.fullmatch(stem)
    name = None if pattern is None else _by_pattern(bare, pattern, surveys)
    if match and abs(dec := float(match["dec"])) <= 90:
        ra = float(match["ra"]) % 360
        name = name or _named(f"{ra:.6f}{dec:+.6f}", get("Pan-STARRS", surveys), match["filter"])
        return replace(name, ra=ra, dec=dec)
    return name or _by_words(bare, stem, surveys)


def _by_words(bare: str, stem: str, surveys: str | None) -> Name:
    """Read ``<source>_<survey>_<filter>``: the survey is the last words that are one, the source what is before."""
    words = stem.split("_")
    for last in range(len(words), max(0, len(words) - 3), -1):
        survey, first = _ending(words[:last], surveys)
        if survey is None:
            continue
        while True:  # HST_WFC3, Spitzer_IRAC: the survey again
            other, earlier = _ending(words[:first], surveys)
            if other is None or not _is_akin(other, survey):
                break
            first = earlier
        source, filter = words[:first], "_".join(words[last:])
        if source and source[-1].lower() == STACKED:
            source, filter = source[:-1], filter or STACKED
        _check_source(source, survey, filter, surveys)
        return _named("_".join(source) or _folder(bare, survey, filter, surveys), survey, filter or STACKED)
    what = f"{stem}: no survey's name in it"
    if len(words) >= 3:
        raise Rejected(Reason.UNKNOWN_SURVEY, f"{what}; {_SHAPE}; see --pattern, `surveys` in [stamps]")
    raise Rejected(Reason.BAD_NAME, f"{what}; {_SHAPE}; see --pattern")


def _ending(words: list[str], surveys: str | None) -> tuple[Survey | None, int]:
    """Return the survey that the last words name, three at most, and where they begin."""
    for first in range(len(words) - 1, max(-1, len(words) - 4), -1):
        survey = _survey("_".join(words[first:]), surveys)
        if survey is not None:
            return survey, first
    return None, len(words)


def _is_akin(one: Survey, other: Survey) -> bool:
    """Return whether two names may stand for one survey: its own, or its telescope's (WISE: unWISE)."""
    return one.name == other.name or not set(one.telescopes).isdisjoint(other.telescopes)


def _check_source(words: list[str], survey: Survey, filter: str, surveys: str | None) -> None:
    """Check that what is left for the source does not end in another survey, or in the filter."""
    other = _ending(words, surveys)[0]
    what = f"{other.name} or {survey.name}" if other is not None else ""
    if words and not filter and survey.knows(words[-1]) and not words[-1].isdigit():
        what = f"{words[-1]}: the filter, or of the source"
    if what:
        raise Rejected(Reason.BAD_NAME, f"{'_'.join(words)} before {survey.name}: {what}? {_SHAPE}; see --pattern")


def _folder(bare: str, survey: Survey, filter: str, surveys: str | None) -> str:
    """Return the folder that names the source of a file called ``<survey>_<filter>``."""
    if not (filter in ("", STACKED) or survey.knows(filter) or _BAND.fullmatch(filter)):
        what = f"{filter} is no filter of {survey.name} and no source stands before it"
        raise Rejected(Reason.BAD_NAME, f"{what}; {_SHAPE}; see --pattern")
    for folder in reversed(bare.split("/")[:-1]):
        other = _survey(folder, surveys)
        if other is None:
            return folder
        if not _is_akin(other, survey):
            what = f"folder {folder}, a file of {survey.name}: which is it?"
            raise Rejected(Reason.BAD_NAME, f"{what} {_SHAPE}; see --pattern")
    raise Rejected(Reason.BAD_NAME, f"no source in the name, and no folder that is one; {_SHAPE}; see --pattern")


def _survey(text: str, surveys: str | None) -> Survey | None:
    try:
        return get(text, surveys) if text else None
    except UsageError:
        return None


def _by_pattern(bare: str, pattern: str, surveys: str | None) -> Name:
    expression = _expression(pattern)
    survey = None if "survey" in expression.groupindex else _survey_of(pattern, surveys)
    match = expression.fullmatch(bare)
    if match is None:
        raise Rejected(Reason.BAD_NAME, f"{bare}: does not read as {pattern}; see --pattern")
    found = match.groupdict()
    survey = survey or _survey(found["survey"], surveys)
    if survey is None:
        what = f"no survey is called {found['survey']!r}"
        raise Rejected(Reason.UNKNOWN_SURVEY, f"{bare}: {what}; see `surveys` in [stamps]")
    return _named(found["source"], survey, found.get("filter") or STACKED)


def _survey_of(pattern: str, surveys: str | None) -> Survey:
    """Return the survey of all names that a pattern takes: ``<survey=PS1>``, or a word of it."""
    told = re.search("<survey=([^>]*)>", pattern)
    pieces = [told[1]] if told else re.split(r"<[^>]*>|\*", _ENDING.sub("", pattern))
    for text in (text for piece in pieces for text in (piece, *re.split("[^A-Za-z0-9]+", piece))):
        survey = _survey(text, surveys)
        if survey is not None:
            return survey
    what = f"no survey is called {told[1]!r}" if told else "no <survey>, and no survey's name"
    cure = "give <survey> where names tell it, <survey=PS1> where none does; see `surveys` in [stamps] for others"
    raise UsageError(f"--pattern {pattern}: {what}; {cure}")


def _expression(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(<[^>]*>|\*)", _ENDING.sub("", pattern))
    pieces = [piece for piece in pieces if not piece.startswith("<survey=")]
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


def _named(source: str, survey: Survey, filter: str) -> Name:
    if not source.isprintable() or len(source) > 200:
        raise Rejected(Reason.BAD_NAME, f"{source[:40]!r} is no source's name: letters and digits, 200 at most")
    known = survey.filter(filter)
    return Name(source, survey, known.name if survey.knows(filter) else filter[:40])
