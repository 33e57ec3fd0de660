"""Catalogues in other people's formats: CSV, ECSV, VOTable, and the published list's.

Units, UCDs and descriptions come from the fields of the table (see `catalogs.schema`), so that a table of an
older release is exported with its own.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.io.votable.tree import CooSys, TableElement, TimeSys, VOTableFile
from astropy.io.votable.tree import Resource as VOResource
from astropy.table import MaskedColumn
from astropy.table import Table as AstropyTable
from astropy.units import Unit

from catalogs.folder import Folder
from catalogs.published import ExportError, published
from catalogs.schema import TABLES

__all__ = ["FORMATS", "ExportError", "export", "render", "to_astropy"]


def export(
    table: pa.Table | pd.DataFrame,
    target: Path | str,
    form: str | None = None,
    names: Path | str | AstropyTable | None = None,
) -> None:
    """Write a catalogue to a file in another format; the file appears whole or not at all.

    Parameters
    ----------
    table : pyarrow.Table or pandas.DataFrame
        Rows of a catalogue; a data frame takes its metadata from the schemas.
    target : Path or str
        A file, local or ``s3://…``.
    form : str, optional
        ``csv``, ``ecsv``, ``votable`` or ``list``; from the ending of `target` if left out.
    names : Path or str or astropy.table.Table, optional
        For ``list``: TIC table with magnitudes and other names (see `catalogs.published.published`).

    Raises
    ------
    ExportError
        For an unknown format, or what `names` cannot give.
    """
    folder, _, name = str(target).rpartition("/")
    if not (form := form or _ENDINGS.get(Path(name).suffix.lower())):
        ending = Path(name).suffix or "no ending"
        raise ExportError(
            f"{target}: {ending} names no format; end it in {', '.join(_ENDINGS)}, "
            f"or choose one of {', '.join(FORMATS)} with --format"
        )
    Folder(folder or ("/" if str(target).startswith("/") else ".")).write(name, render(table, form, names))


def render(table: pa.Table | pd.DataFrame, form: str, names: Path | str | AstropyTable | None = None) -> bytes:
    """Return a catalogue as the bytes of a file; parameters and errors as in `export`."""
    if form == "list":
        return published(_arrow(table), names)
    if form not in FORMATS:
        raise ExportError(f"{form}: not a format we write; choose one of {', '.join(FORMATS)}")
    return _WRITERS[form](_arrow(table))


def to_astropy(table: pa.Table | pd.DataFrame) -> AstropyTable:
    """Return a catalogue as an astropy table.

    Missing values are masked, missing lists empty; lists are object columns of integer or float arrays, those of texts
    one text with blanks between; units and descriptions are set and each column's ``info.meta["ucd"]`` holds its UCD.
    """
    arrow = _arrow(table)
    result = AstropyTable()
    for field, chunks in zip(arrow.schema, arrow.columns, strict=True):
        column = _astropy_column(chunks.combine_chunks())
        metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        # VOUnit knows no electron: it wants units of one's own in quotes.
        unit = metadata.get("unit", "").replace("electron", "'electron'")
        column.unit = Unit(unit, format="vounit") if unit else None
        column.description = metadata.get("description")
        if "ucd" in metadata:
            column.meta["ucd"] = metadata["ucd"]
        result[field.name] = column
    return result


def _arrow(table: pa.Table | pd.DataFrame) -> pa.Table:
    """Return `table` as Arrow; columns of a data frame get the metadata their names have in the schemas."""
    if isinstance(table, pa.Table):
        return table
    # Tables share names with different meanings: the one that the data frame looks most like has the last word.
    alike = sorted(TABLES.values(), key=lambda schema: len({*schema.names} & {*table.columns}))
    known = {column.name: column.field for schema in alike for column in schema.columns}
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
    return arrow.cast(pa.schema([_field(field, known.get(field.name)) for field in arrow.schema]))


def _field(found: pa.Field, known: pa.Field | None) -> pa.Field:
    """Return a field with the metadata its name has in the schemas, and the type, where no value tells another."""
    if known is None:
        return found
    kind = known.type if pa.types.is_null(found.type) else found.type
    return pa.field(found.name, kind, metadata=known.metadata)


def _astropy_column(array: pa.Array) -> MaskedColumn:
    mask = np.asarray(array.is_null())
    lists = pa.types.is_list(array.type) or pa.types.is_large_list(array.type)
    if lists and pa.types.is_string(array.type.value_type):  # a VOTable knows no lists of texts
        array = pa.array([" ".join(item or []) for item in array.to_pylist()], pa.string())
    elif lists:
        numbers = array.type.value_type.to_pandas_dtype()
        values = np.empty(len(array), dtype=object)
        values[:] = [np.array(item or [], dtype=numbers) for item in array.to_pylist()]
        return MaskedColumn(values)
    if pa.types.is_boolean(array.type):
        return MaskedColumn(array.fill_null(False).to_numpy(zero_copy_only=False), mask=mask)
    if pa.types.is_floating(array.type) or pa.types.is_integer(array.type):
        return MaskedColumn(array.fill_null(0).to_numpy(zero_copy_only=False), mask=mask)
    texts = [value or "" for value in array.cast(pa.string()).to_pylist()]
    return MaskedColumn(np.array(texts, dtype=str), mask=mask)


def _csv(table: pa.Table) -> bytes:
    frame = table.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
    for field in table.schema:
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            lists = table.column(field.name).to_pylist()
            frame[field.name] = [None if item is None else " ".join(map(str, item)) for item in lists]
    return str(frame.to_csv(index=False, lineterminator="\n")).encode()


def _ecsv(table: pa.Table) -> bytes:
    text = io.StringIO()
    to_astropy(table).write(text, format="ascii.ecsv", delimiter=",")
    return text.getvalue().replace("\r\n", "\n").encode()


def _votable(table: pa.Table) -> bytes:
    """Return a VOTable whose positions and times name their systems: ICRS at J2000, BTJD in TDB."""
    file = VOTableFile()
    resource = VOResource()
    resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS", epoch="J2000"))
    config = {"version_1_4_or_later": True}
    resource.time_systems.append(TimeSys("btjd", 2457000.0, "TDB", "BARYCENTER", config=config))
    # astropy learns the type of a list from the first row: lend it one where there is none.
    nothing = [pa.nulls(1, field.type) for field in table.schema]
    first = table if len(table) else pa.table(nothing, schema=table.schema)
    rows = TableElement.from_table(file, to_astropy(first))
    rows.array = rows.array[: len(table)]
    for field in rows.fields:
        ucd = field.ucd or ""
        is_time = ucd.startswith(("time.start", "time.end", "time.epoch")) and str(field.unit) == "d"
        field.ref = "btjd" if is_time else None
        field.ref = "icrs" if ucd.startswith("pos.eq") else field.ref
    resource.tables.append(rows)
    file.resources.append(resource)
    data = io.BytesIO()
    file.to_xml(data)
    return data.getvalue()


_WRITERS: dict[str, Callable[[pa.Table], bytes]] = {"csv": _csv, "ecsv": _ecsv, "votable": _votable}
_ENDINGS = {".csv": "csv", ".ecsv": "ecsv", ".dat": "list"}
_ENDINGS |= dict.fromkeys((".xml", ".vot", ".votable"), "votable")

#: Formats of `export`.
FORMATS = (*_WRITERS, "list")
