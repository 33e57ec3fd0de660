"""Lists of known transients, and which candidates are among them.

Read are the Open Supernova Catalog as tables of columns between bars or as JSON, and any CSV, Parquet or JSON with a
name and a position: degrees, or hours and degrees in sexagesimal.
"""

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from catalogs.folder import Folder
from catalogs.lists import KnownError
from catalogs.write import read as read_parquet

__all__ = ["RADIUS_ARCSEC", "Transients", "label", "placed", "raw", "read"]

#: Largest distance of a candidate from the transient that it is.
RADIUS_ARCSEC = 1.0

_NAMES = {
    "name": ("name", "sn_name", "objname", "object", "id", "event", "designation", "ztf_name", "oid"),
    "ra": ("ra", "sn_ra", "raj2000", "ra_deg", "radeg", "meanra", "r.a."),
    "dec": ("dec", "sn_dec", "dej2000", "decj2000", "dec_deg", "decdeg", "decl", "declination", "meandec"),
    "kind": ("type", "sn_type", "claimedtype", "class", "kind", "classification"),
}


@dataclass(frozen=True, eq=False)
class Transients:
    """A list of transients.

    Parameters
    ----------
    table : pandas.DataFrame
        name, ra, dec (deg) and kind (empty if unknown), a row a transient; the index is its row in the list.
    skipped : int
        Rows of the list without a position.
    """

    table: pd.DataFrame
    skipped: int


def read(path: str) -> Transients:
    """Read a list.

    Parameters
    ----------
    path : str
        Local or ``s3://``.

    Raises
    ------
    KnownError
        If it is not there, of no known form, without names or positions, or a position does not read.
    """
    return placed(str(path), raw(str(path)))


def raw(path: str) -> pd.DataFrame:
    """Return a list as it is written: its own columns, mostly of text.

    Parameters
    ----------
    path : str
        Local or ``s3://``.

    Raises
    ------
    KnownError
        If it is not there or of no known form.
    """
    parent, _, name = path.rpartition("/")
    folder = Folder(parent or "/" if "/" in path else ".")
    try:
        if name.lower().endswith((".parquet", ".pq")):
            return read_parquet(folder, name).to_pandas()
        return _parsed(path, folder.read(name).decode("utf-8-sig", "replace"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise KnownError(f"{path}: no such list; give its full path") from error


def _parsed(path: str, content: str) -> pd.DataFrame:
    start = content.lstrip()[:1]
    if start in ("[", "{"):
        return _json(path, content)
    lines = [line for line in content.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise KnownError(f"{path}: empty; give the list as it was published")
    if lines[0].count("|") >= 2:
        return _bars(path, lines)
    try:
        return pd.read_csv(io.StringIO("\n".join(lines)), dtype=str, keep_default_na=False, skipinitialspace=True)
    except (ValueError, pd.errors.ParserError) as error:
        raise KnownError(f"{path}: not a readable CSV ({error}); correct the line") from error


def _bars(path: str, lines: Sequence[str]) -> pd.DataFrame:
    names = [name.strip() for name in lines[0].split("|")]
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip(" -+|"):
            continue
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != len(names):
            what = f"{len(fields)} fields between bars, not {len(names)}"
            raise KnownError(f"{path}: line {number}: {what}; is the file cut off? Get it anew, or drop the line")
        rows.append(fields)
    return pd.DataFrame(rows, columns=names, dtype=str)


def _json(path: str, content: str) -> pd.DataFrame:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise KnownError(f"{path}: not readable JSON ({error}); get it anew") from error
    if isinstance(found, Mapping) and all(isinstance(value, Mapping) for value in found.values()):
        found = [{"name": name} | dict(value) for name, value in found.items()]
    if isinstance(found, Mapping):
        found = next((value for value in found.values() if isinstance(value, list)), None)
    if not isinstance(found, list) or not all(isinstance(row, Mapping) for row in found):
        raise KnownError(f"{path}: no list of objects; give [{{name, ra, dec}}, …] or {{name: {{ra, dec}}, …}}")
    return pd.DataFrame([{key: _plain(value) for key, value in row.items()} for row in found])


def _plain(value: Any) -> str:
    """Return the first value of what the Open Supernova Catalog gives as [{"value": …, "source": …}, …]."""
    while isinstance(value, list | Mapping):
        if not value:
            return ""
        value = value[0] if isinstance(value, list) else value.get("value", "")
    return "" if value is None else str(value)


def placed(path: str, frame: pd.DataFrame) -> Transients:
    """Return the rows of a list that have a position.

    Parameters
    ----------
    path : str
        Where it is from, for errors.
    frame : pandas.DataFrame
        As `raw` gives it.

    Raises
    ------
    KnownError
        If it has no names or positions, or a position does not read.
    """
    lower = {str(name).strip().lower(): name for name in reversed(list(frame.columns))}
    given = {ours: next((lower[name] for name in names if name in lower), None) for ours, names in _NAMES.items()}
    if missing := [ours for ours in ("name", "ra", "dec") if given[ours] is None]:
        raise KnownError(f"{path}: no column {', '.join(missing)} among {', '.join(map(str, frame.columns))}")
    texts = {ours: [_text(value) for value in frame[name]] for ours, name in given.items() if name is not None}
    rows, places = [], []
    for number, (name, ra, dec) in enumerate(zip(texts["name"], texts["ra"], texts["dec"], strict=True), 1):
        if ra and dec:
            kind = texts["kind"][number - 1] if "kind" in texts else ""
            rows.append((name, _ra(path, number, ra), _degrees(path, number, dec), kind))
            places.append(number - 1)
    table = pd.DataFrame(rows, places, columns=["name", "ra", "dec", "kind"])
    return Transients(table.astype({"ra": "float64", "dec": "float64"}), len(frame) - len(rows))


def _text(value: Any) -> str:
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in ("", "nan", "none", "null", "--") else text.split(",")[0].strip()


_SEXAGESIMAL = re.compile(r"([+-]?)\s*(\d{1,3})[\s:hd°]+(\d{1,2})(?:[\s:m'′]+(\d{1,2}(?:\.\d*)?)\s*[s\"″]?)?")


def _degrees(path: str, row: int, text: str) -> float:
    """Return an angle in the unit of its first number."""
    match = _SEXAGESIMAL.fullmatch(text)
    try:
        if match is None:
            value = float(text)
        else:
            sign, whole, minutes, seconds = match.groups()
            value = int(whole) + int(minutes) / 60 + float(seconds or 0) / 3600
            value = -value if sign == "-" else value
    except ValueError:
        value = float("nan")
    if not np.isfinite(value) or abs(value) > 360:
        raise KnownError(f"{path}: row {row}: {text!r} is no angle; correct or blank it")
    return value


def _ra(path: str, row: int, text: str) -> float:
    value = _degrees(path, row, text)
    return (value * 15 if _SEXAGESIMAL.fullmatch(text) else value) % 360


def label(
    ra: ArrayLike, dec: ArrayLike, known: Iterable[Transients], radius_arcsec: float = RADIUS_ARCSEC
) -> tuple[list[str | None], NDArray[np.float64]]:
    """Return the known transient nearest to each place.

    Parameters
    ----------
    ra, dec : (n,) array_like
        Degrees, ICRS; NaN where unknown.
    known : iterable of Transients
        Lists.
    radius_arcsec : float
        Largest distance.

    Returns
    -------
    names : list of str or None
        Names; None where there is none.
    separation : (n,) float64
        Arcsec; NaN where there is none.
    """
    places = np.column_stack([np.asarray(ra, float).ravel(), np.asarray(dec, float).ravel()])
    tables = [one.table for one in known if len(one.table)]
    names: list[str | None] = [None] * len(places)
    separation = np.full(len(places), np.nan)
    seen = np.flatnonzero(np.isfinite(places).all(1))
    if not tables or not len(seen):
        return names, separation
    listed = pd.concat(tables, ignore_index=True)
    chord, row = cKDTree(_sphere(listed["ra"].to_numpy(), listed["dec"].to_numpy())).query(_sphere(*places[seen].T))
    arcsec = np.rad2deg(2 * np.arcsin(np.clip(chord / 2, 0, 1))) * 3600
    for place, k, distance in zip(seen, row, arcsec, strict=True):
        if distance <= radius_arcsec:
            names[place], separation[place] = str(listed["name"].iloc[k]), distance
    return names, separation


def _sphere(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
