"""Published lists of binaries and other variables, as their files are.

A list is recognised by what is in the file, not by its name:

- Prša et al. 2022 (ApJS 258, 16), the 29 columns between bars of ``tess-ebs.dat``;
- the lists of CALNet (arXiv:2504.15875): training sample, new binaries, and their classes by sector;
- the Kepler Eclipsing Binary Catalog (Kirk et al. 2016, AJ 151, 68), comma-separated with ``#KIC`` in its head;
- Skarka et al. 2022 (A&A 666, A142), table 5;
- any other CSV with a column of TIC identifiers, and class and period if it has them, under its file's name.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from astropy import units
from astropy.coordinates import SkyCoord

from catalogs.published import two_lines
from catalogs.table import CatalogError

__all__ = ["KnownError", "parse"]

_COLUMNS = ("tic_id", "ra", "dec", "klass", "period", "morph")


class KnownError(CatalogError):
    """A list that does not read; the message names file, line and cure."""

    exit_status = 2


def parse(path: str, content: str) -> tuple[str, pd.DataFrame]:
    """Return the name and the rows of a list.

    Parameters
    ----------
    path : str
        Where it comes from, for errors and for the name of a list of no known form.
    content : str
        The file.

    Returns
    -------
    name : str
        As it stands in ``known_in``.
    stars : pandas.DataFrame
        Columns as of `catalogs.known.KnownList`.

    Raises
    ------
    KnownError
        If it is none of the lists, or damaged.
    """
    lines = content.splitlines()
    head = [line for line in lines[:50] if line.strip()]
    for recognise, title, read_rows in _FORMS:
        if recognise(head):
            return title or Path(path).stem, _frame(read_rows(path, lines))
    if not head:
        raise KnownError(f"{path}: empty; give the list as it was published")
    raise KnownError(
        f"{path}: not a known list; it begins with {head[0][:60]!r}. Give it as published, or as CSV with a column "
        "tic_id and, if known, class and period"
    )


# Rows of a list as dictionaries of `_COLUMNS`, what is missing left out.
_Row = dict[str, object]
_Parser = Callable[[str, list[str]], list[_Row]]


def _frame(rows: list[_Row]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    table["klass"] = table["klass"].fillna("").astype("str")
    table["tic_id"] = table["tic_id"].astype("Int64")
    for name in ("ra", "dec", "period", "morph"):
        table[name] = table[name].astype("float64")
    return table.drop_duplicates(ignore_index=True)


def _number(path: str, line: int, name: str, text: str) -> float:
    try:
        return float(text) if text.strip() else float("nan")
    except ValueError as error:
        raise KnownError(f"{path}: line {line}: {name} {text.strip()!r} is no number; correct or blank it") from error


def _tic(path: str, line: int, text: str) -> int:
    match = re.fullmatch(r"\s*(?:TIC\s*)?(\d{1,16})(?:\.0)?\s*", text)
    if match is None:
        raise KnownError(f"{path}: line {line}: TIC {text.strip()!r} is no whole number; correct it or drop the line")
    return int(match[1])


def _fields(path: str, number: int, line: str, mark: str, wanted: int) -> list[str]:
    fields = line.split(mark)
    if len(fields) < wanted:
        what = f"{len(fields)} fields between {mark!r}, not {wanted}"
        raise KnownError(f"{path}: line {number}: {what}; is the file cut off? Get it anew, or drop the line")
    return fields


def _is_prsa(head: list[str]) -> bool:
    return bool(head) and head[-1].count("|") >= 20 and re.match(r"\s*\d{10}\|", head[-1]) is not None


def _prsa(path: str, lines: list[str]) -> list[_Row]:
    rows: list[_Row] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = _fields(path, number, line, "|", 28)
        names = {"ra": 5, "dec": 6, "period": 12, "morph": 14}
        values = {name: _number(path, number, name, fields[place]) for name, place in names.items()}
        rows.append({"tic_id": _tic(path, number, fields[0]), "klass": "EB", **values})
    return rows


def _is_kepler(head: list[str]) -> bool:
    return any(re.match(r"#?\s*KIC,period", line) for line in head)


def _kepler(path: str, lines: list[str]) -> list[_Row]:
    """Return the stars of Kepler's catalogue: no TIC, galactic positions, −1 for what is unknown."""
    start = next(i for i, line in enumerate(lines) if re.match(r"#?\s*KIC,period", line))
    names = [name.strip("# ") for name in lines[start].split(",")]
    places = [names.index(name) for name in ("period", "morph", "GLon", "GLat") if name in names]
    if len(places) < 4:
        raise KnownError(f"{path}: line {start + 1}: needs columns period, morph, GLon, GLat; it has {names}")
    rows = []
    for number, line in enumerate(lines[start + 1 :], start + 2):
        if line.strip() and not line.startswith("#"):
            fields = _fields(path, number, line, ",", max(places) + 1)
            rows.append([_number(path, number, names[place], fields[place]) for place in places])
    values = np.array(rows).reshape(-1, 4)
    known = (values[:, 2:] != -1).any(axis=1)
    sky = SkyCoord(values[:, 2] * units.deg, values[:, 3] * units.deg, frame="galactic").icrs
    return [
        {"ra": ra, "dec": dec, "klass": "EB", "period": period, "morph": morph if morph >= 0 else np.nan}
        for ra, dec, (period, morph, *_), there in zip(sky.ra.deg, sky.dec.deg, values, known, strict=True)
        if there
    ]


_SKARKA = re.compile(r"\s*\d{1,10} [ \d]\d\d\.\d{8,}|\s*\d{1,10} +\d{1,3}\.\d{8,} +-?\d\d?\.\d{8,}\b")


def _is_skarka(head: list[str]) -> bool:
    return bool(head) and all(_SKARKA.match(line) for line in head[:3])


def _skarka(path: str, lines: list[str]) -> list[_Row]:
    """Return the stars of table 5, byte by byte as its ReadMe says; a frequency of variation is no orbit's."""
    rows: list[_Row] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(line) < 41:
            raise KnownError(f"{path}: line {number}: {len(line)} bytes, not 162; is the file cut off? Get it anew")
        ra, dec = (_number(path, number, name, line[a:b]) for name, a, b in (("ra", 11, 26), ("dec", 27, 41)))
        row: _Row = {"tic_id": _tic(path, number, line[:10]), "ra": ra, "dec": dec, "klass": line[42:56].strip()}
        rows.append(row)
    return rows


def _is_two_lines(*wanted: str) -> Callable[[list[str]], bool]:
    def recognise(head: list[str]) -> bool:
        return len(head) > 1 and not head[1].strip("- ") and {"TIC", *wanted} <= set(head[0].split())

    return recognise


def _calnet(path: str, lines: list[str]) -> list[_Row]:
    return _table(path, two_lines("\n".join(lines), path), 3)


def _is_csv(head: list[str]) -> bool:
    first = next((line for line in head if not line.startswith("#")), "")
    return any(name.strip().lower() in _NAMES["tic_id"] for name in first.split(","))


def _csv(path: str, lines: list[str]) -> list[_Row]:
    start = next(i for i, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    try:
        table = pd.read_csv(
            io.StringIO("\n".join(lines[start:])), dtype=str, keep_default_na=False, skipinitialspace=True
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise KnownError(f"{path}: not a readable CSV ({error}); correct the line") from error
    return _table(path, table, start + 2)


_NAMES = {
    "tic_id": ("tic_id", "tic", "ticid"),
    "ra": ("ra", "raj2000"),
    "dec": ("dec", "dej2000"),
    "klass": ("class", "klass", "label", "type"),
    "period": ("period",),
    "morph": ("morph",),
}


def _table(path: str, table: pd.DataFrame, first: int) -> list[_Row]:
    """Return the rows of a table of text, the first in line `first`; without classes all are binaries."""
    given = {
        ours: next((name for name in table.columns if str(name).strip().lower() in names), None)
        for ours, names in _NAMES.items()
    }
    rows: list[_Row] = []
    for number, values in enumerate(table.to_dict("records"), first):
        row: _Row = {"klass": values[given["klass"]].strip() if given["klass"] is not None else "EB"}
        row["tic_id"] = _tic(path, number, values[given["tic_id"]])
        for name in ("ra", "dec", "period", "morph"):
            if given[name] is not None:
                row[name] = _number(path, number, name, values[given[name]])
        rows.append(row)
    return rows


_FORMS: list[tuple[Callable[[list[str]], bool], str, _Parser]] = [
    (_is_prsa, "Prša 2022", _prsa),
    (_is_kepler, "Kepler EBs", _kepler),
    (_is_two_lines("class", "source"), "CALNet training", _calnet),
    (_is_two_lines("class", "sector"), "CALNet classes", _calnet),
    (_is_two_lines("RAJ2000", "DEJ2000"), "CALNet new", _calnet),
    (_is_skarka, "Skarka 2022", _skarka),
    (_is_csv, "", _csv),
]
