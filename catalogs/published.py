"""The published list's format: ``ascii.fixed_width_two_line`` with a star's other names, as CALNet prints it.

CALNet (arXiv:2504.15875) gives its eclipsing binaries with the columns TIC, m_TIC, Disp, RAJ2000, DEJ2000,
HIP, TYC, 2MASS, Gaia, Vmag, Gmag. RAJ2000 and DEJ2000 are positions at J2000; the TIC's ``ra`` and ``dec``,
and so ours, are ICRS at epoch J2000 and go in as they are.
"""

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.table import MaskedColumn
from astropy.table import Table as AstropyTable

from catalogs.folder import Folder
from catalogs.table import CatalogError
from catalogs.write import read

__all__ = ["ExportError", "published", "read_names", "two_lines"]


class ExportError(CatalogError):
    """A format, or a table of names, that an export cannot use; the message says what it can."""

    exit_status = 2


@dataclass(frozen=True)
class _Printed:
    """A column of the list: how it is printed, and what TIC tables call it."""

    kind: type
    form: str
    aliases: tuple[str, ...]


_COLUMNS = {
    "TIC": _Printed(int, "%d", ("ID", "tic_id", "TICID", "tic")),
    "m_TIC": _Printed(int, "%d", ("duplicate_id",)),
    "Disp": _Printed(str, "%s", ("disposition",)),
    "RAJ2000": _Printed(float, "%.5f", ("ra",)),
    "DEJ2000": _Printed(float, "%.5f", ("dec",)),
    "HIP": _Printed(int, "%d", ("hip",)),
    "TYC": _Printed(str, "%s", ("tyc",)),
    "2MASS": _Printed(str, "%s", ("TWOMASS", "_2MASS", "twomass")),
    "Gaia": _Printed(int, "%d", ("GAIA", "gaia", "gaia_id")),
    "Vmag": _Printed(float, "%.2f", ("vmag",)),
    "Gmag": _Printed(float, "%.2f", ("GAIAmag", "gmag", "gaia_mag")),
}
_POSITION = ("RAJ2000", "DEJ2000")
_UNKNOWN = {"", "nan", "NaN", "None", "null", "--", "<NA>"}


def published(catalog: pa.Table, names: Path | str | AstropyTable | None = None) -> bytes:
    """Return a catalogue in the published list's format, one line a star in the order of the catalogue.

    Parameters
    ----------
    catalog : pyarrow.Table
        Rows with tic_id, ra and dec in degrees (ICRS).
    names : Path or str or astropy.table.Table, optional
        TIC table that gives the other columns: CSV, Parquet, FITS, VOTable, ECSV or a published list. It
        names its columns as MAST does (ID, Vmag, GAIAmag, HIP, TYC, TWOMASS, GAIA, duplicate_id, disposition)
        or as the list does. Unknown values stay blank.

    Raises
    ------
    ExportError
        If the catalogue has no tic_id, or `names` no identifier, or a value that is no number where one is
        due.
    """
    if "tic_id" not in catalog.column_names:
        raise ExportError(f"the published list needs tic_id; this table has {', '.join(catalog.column_names)}")
    tic_ids = [int(value) for value in dict.fromkeys(catalog.column("tic_id").to_pylist())]
    known = read_names(names) if names is not None else pd.DataFrame({"TIC": pd.array([], dtype="Int64")})
    rows = known.drop_duplicates("TIC").set_index("TIC").reindex(tic_ids)
    printed = {"TIC": pd.Series(tic_ids, index=rows.index, dtype="Int64")}
    printed |= {name: rows[name] for name in _COLUMNS if name in rows and name not in _POSITION}
    for name, ours in zip(_POSITION, ("ra", "dec"), strict=True):
        if ours in catalog.column_names:
            values = catalog.column(ours).to_pylist()
            places = dict(zip(catalog.column("tic_id").to_pylist(), values, strict=True))
            printed[name] = pd.Series([places[tic] for tic in tic_ids], index=rows.index, dtype="Float64")
    return _two_lines(pd.DataFrame(printed, index=rows.index))


def read_names(source: Path | str | AstropyTable) -> pd.DataFrame:
    """Return a TIC table under the list's column names: identifiers Int64, magnitudes Float64, names string.

    Raises
    ------
    ExportError
        If it has no column of TIC identifiers, or holds what is not a number where one is due.
    """
    frame = _strings(source)
    found = {}
    for name, column in _COLUMNS.items():
        given = next((alias for alias in (name, *column.aliases) if alias in frame), None)
        if given is not None:
            found[name] = _typed(frame[given], column.kind, f"{source}: column {given}")
    if "TIC" not in found:
        raise ExportError(f"{source}: no column ID, TIC or tic_id among {', '.join(frame)}; name the identifiers so")
    return pd.DataFrame(found).dropna(subset=["TIC"])


def two_lines(text: str, place: str) -> pd.DataFrame:
    """Return a list of this format, every value as text without the blanks around it.

    Parameters
    ----------
    text : str
        The list: names of columns, dashes that say how wide they are, then a row a line.
    place : str
        Where it comes from, for errors.

    Raises
    ------
    ExportError
        If there are no such two lines.
    """
    lines = text.splitlines()
    if len(lines) < 2 or not lines[1].strip() or lines[1].strip("- "):
        found = lines[1].strip()[:60] if len(lines) > 1 else ""
        raise ExportError(f"{place}: line 2 holds {found!r}, not the dashes that part columns; get the list anew")
    spans = [match.span() for match in re.finditer("-+", lines[1])]
    names = [lines[0][low:high].strip() for low, high in spans]
    rows = [line for line in lines[2:] if line.strip()]
    return pd.DataFrame(
        {name: [row[low:high].strip() for row in rows] for name, (low, high) in zip(names, spans, strict=True)},
        dtype=str,
    )


def _strings(source: Path | str | AstropyTable) -> pd.DataFrame:
    """Return a table with every value as text: a Gaia identifier does not survive as a float."""
    if isinstance(source, AstropyTable):
        return pd.DataFrame({name: _text(source[name]) for name in source.colnames})
    path = Path(source)
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if ending == "csv":
        return pd.read_csv(path, dtype=str, keep_default_na=False, comment="#", skipinitialspace=True)
    if ending in ("parquet", "pq"):
        table = read(Folder(path.absolute().parent), path.name)
        return pd.DataFrame({name: _plain(table.column(name).to_pylist()) for name in table.column_names})
    if ending == "dat":
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            return two_lines(file.read(), str(path))
    forms = {"ecsv": "ascii.ecsv", "fits": "fits", "fit": "fits"}
    forms |= dict.fromkeys(("xml", "vot", "votable"), "votable")
    if ending not in forms:
        raise ExportError(f"{path}: {ending or 'no'} ending; give .csv, .parquet, .dat, .{', .'.join(forms)}")
    return _strings(AstropyTable.read(path, format=forms[ending]))


def _plain(values: list[object]) -> list[str]:
    return ["" if value is None else _number(value) for value in values]


def _text(column: MaskedColumn) -> list[str]:
    mask = np.broadcast_to(np.asarray(getattr(column, "mask", False)), len(column))
    return ["" if gone else _number(value) for value, gone in zip(np.asarray(column), mask, strict=True)]


def _number(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    # From 2**53 on a float no longer tells neighbours apart: left as is, it is refused as an identifier.
    if isinstance(value, float | np.floating) and abs(number := float(value)) < 2**53 and number.is_integer():
        return str(int(number))
    return str(value)


def _typed(series: pd.Series, kind: type, place: str) -> pd.Series:
    texts = [None if (text := str(value).strip()) in _UNKNOWN else text for value in series]
    if kind is str:
        return pd.Series(texts, dtype="string")
    try:
        if kind is float:
            return pd.Series([None if t is None else float(t) for t in texts], dtype="Float64")
        # MAST writes whole numbers with blanks among them as 123.0.
        whole = [None if t is None else int(t.removesuffix(".0")) for t in texts]
    except ValueError as error:
        hint = "correct it" if kind is float else "write whole numbers, never floats"
        raise ExportError(f"{place}: {error}; {hint}, or leave it blank") from error
    return pd.Series(whole, dtype="Int64")


def _two_lines(frame: pd.DataFrame) -> bytes:
    """Return the list: right-aligned columns under a line of dashes, blanks where unknown.

    Written here and not by astropy, which fails on a list of no stars; the bytes are the same otherwise.
    """
    columns = []
    for name, column in _COLUMNS.items():
        values = frame[name] if name in frame else pd.Series([None] * len(frame), dtype="string")
        if name == "RAJ2000":
            values = values.astype("Float64").round(5) % 360
        cells = ["" if pd.isna(value) else column.form % value for value in values]
        width = max(map(len, [name, *cells]))
        columns.append([cell.rjust(width) for cell in [name, "-" * width, *cells]])
    return "".join(" ".join(line) + "\n" for line in zip(*columns, strict=True)).encode()
