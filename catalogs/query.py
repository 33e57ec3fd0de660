"""Ask a catalogue: by identifier, cone, score, any SQL condition, and as it was at some time."""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from catalogs import visual_binaries
from catalogs.binaries import is_clean
from catalogs.candidates import is_good
from catalogs.folder import Folder
from catalogs.releases import QueryError, sources
from catalogs.schema import TABLES
from catalogs.supernovae import MEMBERS, is_selected
from catalogs.transient_candidates import is_real
from catalogs.write import read

__all__ = ["QueryError", "query", "separation"]

_ROW = "__row__"

#: Columns that `min_score` looks at, the best first.
_SCORES = ("p_eb", "p_real", "p_double", "score")

#: Columns of names of what is found in images, and of sources of stamps.
_NAMES = ("object_id", "candidate_id", "known_name", "source_id")

_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def query(
    workspace: Folder | str | Path,
    catalog: str = "eclipsing_binaries",
    *,
    ids: Iterable[int | str] | int | str | None = None,
    cone: tuple[float, float, float] | None = None,
    min_score: float | None = None,
    clean: bool = False,
    where: str | None = None,
    as_of: int | str | datetime | None = None,
    model: str | None = None,
    columns: Iterable[str] | None = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """Return rows of a catalogue.

    Parameters
    ----------
    workspace : Folder or str or Path
        Local path or ``s3://bucket/prefix``.
    catalog : str
        Name of the catalogue, ``eclipsing_binaries`` or ``eclipsing_binary_scores``; ``supernova_candidates``, their
        ``forced_photometry``, all ``candidates`` of image differencing, or ``transient_candidates``, those scored;
        ``visual_binaries`` or ``visual_binaries_filters``.
    ids : int or str or iterable of them, optional
        TIC identifiers, ``261136679`` or ``"TIC 261136679"``; of what is found in images the names of objects, of
        candidates, or of the known transients that they are; of visual binaries the sources as their files call them.
    cone : tuple of float, optional
        Right ascension, declination and radius in degrees (ICRS). Rows come nearest first, with one more
        column ``separation`` in degrees.
    min_score : float, optional
        Lowest ``p_eb``, of segments lowest ``score``, of what is found in images lowest ``p_real``, of sources of
        stamps lowest ``p_double``.
    clean : bool
        Only clean eclipsing binaries: tier high, vetted, and without a flag that speaks against them; see
        `catalogs.binaries.is_clean`. Of supernova candidates those selected, of candidates those without a flag
        against them, of scored ones those of the tier real; of sources of stamps doubles without such a flag.
    where : str, optional
        One SQL condition (DuckDB), such as ``"tmag < 12 and list_contains(sectors, 27)"``. It sees the
        catalogue and nothing else: no files, no network, no variables of this process.
    as_of : int or str or datetime, optional
        An older state: number of a snapshot, a release (column ``catalog_release``), or an ISO date or time,
        UTC where it names no zone; a date alone means the end of that day.
    model : str, optional
        Model id; the model of the published catalogue if left out.
    columns : iterable of str, optional
        Columns to return, in this order.
    limit : int, optional
        Largest number of rows.

    Returns
    -------
    pandas.DataFrame
        ``attrs`` holds ``source`` (the files), ``units`` by column, and ``notes``, such as identifiers not
        found.

    Raises
    ------
    FileNotFoundError
        If there is no such catalogue yet; the message names the command that makes it.
    QueryError
        If the question makes no sense for this catalogue.
    """
    folder = Folder(workspace)
    center, paths = _checked(cone), sources(folder, catalog, as_of, model)
    wanted = _wanted(ids, catalog)
    if clean and catalog not in _CLEAN:
        raise QueryError(f"--clean is for {', '.join(_CLEAN)}: {catalog} has nothing to judge by")
    seen: set[int | str] = set()
    parts = []
    for path in paths:
        part = read(folder, path)
        if catalog == "candidates" and as_of is None:
            part = _with_objects(folder, part)
        if wanted is not None:
            part, names = _identified(part, wanted)
            seen |= names
        part = part if center is None else _within(part, center)
        part = part if min_score is None else _above(part, min_score)
        parts.append(part.filter(_CLEAN[catalog](part)) if clean else part)
    table = pa.concat_tables(parts, promote_options="permissive")
    if center is not None:
        table = table.sort_by([("separation", "ascending")])
    table = table if where is None else _where(table, where)
    notes = []
    absent = [name for name in dict.fromkeys(wanted or ()) if name not in seen]
    if absent:
        kind = "TIC " if isinstance(absent[0], int) else ""
        notes.append(f"not in {catalog}: {kind}{', '.join(map(str, absent[:20]))}{' …' if len(absent) > 20 else ''}")
    frame = _frame(table, columns, limit)
    frame.attrs |= {"source": [folder.url(path) for path in paths], "notes": notes}
    return frame


def separation(ra: Any, dec: Any, ra0: float, dec0: float) -> Any:
    """Return the angular distance of `ra`, `dec` from a point, all in degrees (haversine formula)."""
    ra, dec, ra0, dec0 = (np.radians(value) for value in (ra, dec, ra0, dec0))
    half = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(np.clip(half, 0, 1))))


def _wanted(ids: Iterable[int | str] | int | str | None, catalog: str) -> list[int] | list[str] | None:
    """Return identifiers as the catalogue has them, numbers of stars in increasing order, names as they are given."""
    if ids is None:
        return None
    if "tic_id" in TABLES[catalog].names:
        return sorted(set(_numbers(ids)))
    return [str(value).strip() for value in ([ids] if isinstance(ids, int | str) else ids)]


def _numbers(ids: Iterable[int | str] | int | str) -> list[int]:
    numbers = []
    for value in [ids] if isinstance(ids, int | str) else ids:
        match = re.fullmatch(r"\s*(?:TIC)?[\s-]*(\d{1,18})\s*", str(value), re.IGNORECASE)
        if not match:
            raise QueryError(f"ids: {value!r} is not a TIC identifier; write 261136679 or 'TIC 261136679'")
        numbers.append(int(match[1]))
    return numbers


def _checked(cone: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
    if cone is None:
        return None
    ra, dec, radius = (float(value) for value in cone)
    if not (math.isfinite(ra) and -90 <= dec <= 90 and 0 < radius <= 180):
        raise QueryError(f"cone: ra {ra:g}, dec {dec:g}, radius {radius:g} deg: need dec -90 … 90, 0 < radius ≤ 180")
    return ra, dec, radius


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        close = difflib.get_close_matches(name, table.column_names, 1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(table.column_names)}"
        raise QueryError(f"this catalogue has no column {name}; {hint}")
    return table.column(name)


def _within(table: pa.Table, cone: tuple[float, float, float]) -> pa.Table:
    ra, dec, radius = cone
    # No position: null becomes NaN, which is within no radius.
    ra_deg, dec_deg = (_column(table, name).to_numpy().astype(float) for name in ("ra", "dec"))
    distance = separation(ra_deg, dec_deg, ra, dec)
    field = pa.field("separation", pa.float64(), metadata={"unit": "deg", "ucd": "pos.angDistance"})
    return table.append_column(field, pa.array(distance)).filter(pa.array(distance <= radius))


def _above(table: pa.Table, low: float) -> pa.Table:
    name = next((name for name in _SCORES if name in table.column_names), _SCORES[-1])
    return table.filter(pc.greater_equal(_column(table, name), low))


def _identified(table: pa.Table, wanted: list[int] | list[str]) -> tuple[pa.Table, set[int | str]]:
    """Return the rows of identifiers, and which of these there are."""
    own = ["tic_id"] if "tic_id" in table.column_names else [name for name in _NAMES if name in table.column_names]
    seen, kept = set[int | str](), np.zeros(len(table), bool)
    for name in own:
        column = table.column(name)
        found = pc.fill_null(pc.is_in(column, pa.array(wanted, column.type)), False).to_numpy()
        seen.update(column.filter(pa.array(found)).to_pylist())
        kept |= found
    return table.filter(pa.array(kept)), seen


def _with_objects(folder: Folder, table: pa.Table) -> pa.Table:
    """Return candidates with the objects that they are detections of, and what the selection says of those."""
    path = f"catalogs/{MEMBERS.name}.parquet"
    if not folder.exists(path):
        return table
    members = read(folder, path)
    place = pc.index_in(_column(table, "candidate_id"), members.column("candidate_id").combine_chunks())
    for name in ("object_id", "selection"):
        number, found = table.schema.get_field_index(name), members.column(name).take(place.combine_chunks())
        # What has no place on the sky belongs to no object, and nothing selects it.
        found = found if table.field(name).nullable else pc.fill_null(found, 0)
        table = table.set_column(number, table.field(name), found)
    return table


#: Catalogue → which of its rows are clean.
_CLEAN: dict[str, Callable[[pa.Table], pa.Array]] = {
    "eclipsing_binaries": lambda table: pa.array(
        is_clean(_column(table, "tier").to_numpy(), _column(table, "flags").to_numpy())
    ),
    "supernova_candidates": lambda table: pa.array(is_selected(_column(table, "selection").to_numpy())),
    "candidates": lambda table: pa.array(is_good(_column(table, "flags").to_numpy())),
    "transient_candidates": lambda table: pa.array(is_real(_column(table, "tier"))),
    "visual_binaries": lambda table: pa.array(
        visual_binaries.is_clean(_column(table, "tier").to_pylist(), _column(table, "flags").to_numpy())
    ),
}


def _where(table: pa.Table, condition: str) -> pa.Table:
    """Return the rows that meet an SQL condition: parsed as one expression, it cannot reach outside."""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "autoload_known_extensions": "false",
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        connection.register("catalog", table.append_column(_ROW, pa.array(np.arange(len(table)))))
        connection.execute("SET python_enable_replacements = false; SET lock_configuration = true")
        try:
            kept = connection.table("catalog").filter(duckdb.SQLExpression(condition)).project(_ROW).fetchnumpy()
        except duckdb.Error as error:
            # Without the name of duckdb's error, and the query that the condition was put into.
            said = " ".join(str(error).partition("\n\nLINE")[0].partition(": ")[2].split()) or str(error)
            if name := re.match(r'Referenced column "(\w+)"', said):
                said += f"; a text goes in single quotes: '{name[1]}'"
            raise QueryError(
                f"where: {condition!r} is not a condition on this catalogue: {said}; give one as of SQL on "
                f"its columns, such as {table.column_names[0]} IS NOT NULL (`query --limit 0 --csv` names them all)"
            ) from error
        return table.take(pa.array(np.sort(np.asarray(kept[_ROW], dtype=np.int64))))


def _frame(table: pa.Table, columns: Iterable[str] | None, limit: int | None) -> pd.DataFrame:
    if limit is not None and limit < 0:
        raise QueryError(f"limit: {limit} is negative; give a number of rows")
    if columns is not None:
        names = list(columns)
        table = pa.table([_column(table, name) for name in names], pa.schema([table.field(name) for name in names]))
    table = table.slice(0, limit)
    frame = table.to_pandas(ignore_metadata=True)
    # A missing value must not turn a column of integers into floats, nor one of yes and no into objects.
    for field, column in zip(table.schema, table.columns, strict=True):
        if column.null_count and field.type in _NULLABLE:
            frame[field.name] = column.to_pandas(types_mapper=_NULLABLE.get)
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in table.schema}
    frame.attrs["units"] = {name: unit for name, unit in units.items() if unit}
    return frame
