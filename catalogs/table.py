"""What a table promises: its columns with type, unit, UCD, meaning and bounds, its key and its order.

Missing values are null; NaN and infinity are never stored.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["CatalogError", "Column", "SchemaError", "Table"]


class CatalogError(ValueError):
    """Root of the errors of this room; `exit_status` is the job's."""

    exit_status = 1


class SchemaError(CatalogError):
    """A table is not what its schema promises; the message names table, column, row, value and cure."""


@dataclass(frozen=True)
class Column:
    """A column and what it promises.

    Parameters
    ----------
    name : str
        Name in files and data frames.
    dtype : pyarrow.DataType
        Type; bounds and pattern of a list hold for its elements.
    unit : str
        Unit as the VO writes it (``d``, ``deg``, ``mag``); empty if there is none.
    ucd : str
        Unified content descriptor (IVOA UCD1+ vocabulary).
    meaning : str
        One sentence for the reader.
    bounds : tuple of float or None
        Lowest and highest allowed value, inclusive; None leaves that side open.
    nullable : bool
        Whether the value may be missing.
    pattern : str
        Regular expression that a string has to match from end to end; empty for any.
    """

    name: str
    dtype: pa.DataType
    unit: str = ""
    ucd: str = ""
    meaning: str = ""
    bounds: tuple[float | None, float | None] = (None, None)
    nullable: bool = False
    pattern: str = ""

    @property
    def field(self) -> pa.Field:
        """The Arrow field, with unit, UCD and description as its metadata."""
        metadata = {"unit": self.unit, "ucd": self.ucd, "description": self.meaning}
        return pa.field(self.name, self.dtype, self.nullable, {k: v for k, v in metadata.items() if v})

    @property
    def range(self) -> str:
        """The allowed values in words, such as ``0 … 1`` or ``≥ 0``."""
        low, high = self.bounds
        if self.pattern:
            return self.pattern
        if low is not None and high is not None:
            return f"{low:g} … {high:g}"
        return f"≥ {low:g}" if low is not None else f"≤ {high:g}" if high is not None else ""

    def faults(self, array: pa.Array) -> Iterator[tuple[int, str]]:
        """Yield (row, what is wrong) for the first fault of each kind in `array`, of the right type."""
        if not self.nullable and array.null_count:
            yield _first(pc.is_null(array)), "is missing; give a value, or drop the row"
        rows, values = None, array
        if pa.types.is_list(self.dtype):
            rows, values = pc.list_parent_indices(array), pc.list_flatten(array)
            if values.null_count:
                yield (
                    rows[_first(pc.is_null(values))].as_py(),
                    "holds a missing element; leave it out of the list",
                )
        for bad, cure in self._wrong(values):
            flags = pc.fill_null(bad, False)
            if pc.any(flags).as_py():
                place = _first(flags)
                row = place if rows is None else rows[place].as_py()
                yield row, f"= {values[place].as_py()!r} {cure}"

    def _wrong(self, values: pa.Array) -> Iterator[tuple[pa.Array, str]]:
        low, high = self.bounds
        if pa.types.is_floating(values.type):
            cure = "is not finite; " + ("store null where it is unknown" if self.nullable else "drop the row")
            yield pc.invert(pc.is_finite(values)), cure
        if low is not None:
            yield pc.less(values, pa.scalar(low)), f"is below {low:g}; correct it upstream"
        if high is not None:
            yield pc.greater(values, pa.scalar(high)), f"is above {high:g}; correct it upstream"
        if self.pattern:
            matches = pc.match_substring_regex(values, f"^(?:{self.pattern})$")
            yield pc.invert(matches), f"does not read as {self.pattern}; correct it upstream"


@dataclass(frozen=True)
class Table:
    """A table of skysift: its columns, what tells rows apart and how they are ordered.

    Parameters
    ----------
    name : str
        Name, also of the catalogue's files.
    meaning : str
        What one row is.
    columns : tuple of Column
        Columns in the order of the file.
    key : tuple of str
        Columns that no two rows share.
    sort : tuple of str
        Columns in whose strictly increasing order rows are written; the key if left out.
    made_by : str
        The command that makes it, for errors.
    combined_in : str
        For a catalogue that lies in many partitions: the one-file catalogue that combines them.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    sort: tuple[str, ...] = ()
    made_by: str = ""
    combined_in: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sort", self.sort or self.key)
        loose = [name for name in (*self.key, *self.sort) if self[name].nullable]
        if loose or len(set(self.names)) != len(self.names):
            raise ValueError(f"{self.name}: key and sort columns must not be nullable, nor names repeat ({loose})")

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        return [column.name for column in self.columns]

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema; each field carries unit, UCD and description."""
        return pa.schema([column.field for column in self.columns], {"skysift.table": self.name})

    def empty(self) -> pa.Table:
        """Return a table of no rows."""
        return self.arrow_schema().empty_table()

    def of(self, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
        """Return rows as a table of this table's types; what they lack, and numbers that are not finite, are null."""
        known = [{name: None if _is_unknown(value) else value for name, value in row.items()} for row in rows]
        return pa.Table.from_pylist(known, schema=self.arrow_schema())

    def conform(self, data: pa.Table) -> pa.Table:
        """Return `data` with this table's columns, types and order; NaN becomes null where that is allowed.

        A column that may be null may be left out: all of it is null then. Types are only ever changed without loss
        and within their kind (integers, floats, strings, lists): an identifier that was once a float is refused.

        Raises
        ------
        SchemaError
            If a column is missing or unknown, or does not convert.
        """
        for column in self.columns:
            if column.nullable and column.name not in data.column_names:
                data = data.append_column(column.field, pa.nulls(len(data), column.dtype))
        self._check_names(data.column_names)
        columns = [self._cast(column, data.column(column.name).combine_chunks()) for column in self.columns]
        table = pa.Table.from_arrays(columns, schema=self.arrow_schema())
        return table.sort_by([(name, "ascending") for name in self.sort]).combine_chunks()

    def _cast(self, column: Column, array: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        source, target = _kind(array.type), _kind(column.dtype)
        if source not in (target, "null") and (source, target) != ("integer", "floating"):
            raise SchemaError(f"{self.name}.{column.name}: is {array.type}, must be {column.dtype}; convert it first")
        if pa.types.is_floating(array.type) and column.nullable:
            array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
        try:
            return array.cast(column.dtype, safe=True)
        except pa.ArrowInvalid as error:
            raise SchemaError(
                f"{self.name}.{column.name}: does not fit {column.dtype} ({error}); correct it upstream"
            ) from error

    def check(self, data: pa.Table) -> None:
        """Check names, types, nulls, bounds, uniqueness of the key and order.

        Raises
        ------
        SchemaError
            If anything is wrong; the message has a line for each fault (the first row of its kind), ten at
            most.
        """
        self._check_names(data.column_names)
        faults = []
        for column in self.columns:
            found = data.schema.field(column.name).type
            if found != column.dtype:
                faults.append(f"{self.name}.{column.name}: is {found}, must be {column.dtype}; convert it first")
                continue
            array = data.column(column.name).combine_chunks()
            faults += [f"{self.name}.{column.name}: row {row}: value {what}" for row, what in column.faults(array)]
        faults = faults or list(self._order_faults(data))
        if faults:
            more = [f"… and {len(faults) - 10} faults more"] if len(faults) > 10 else []
            raise SchemaError("\n".join(faults[:10] + more))

    def _check_names(self, names: list[str]) -> None:
        missing = [name for name in self.names if name not in names]
        unknown = [name for name in names if name not in self.names]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if missing or unknown or repeated:
            raise SchemaError(
                f"{self.name}: columns missing: {missing}, unknown: {unknown}, repeated: {repeated}; "
                f"it has {', '.join(self.names)}"
            )

    def _order_faults(self, data: pa.Table) -> Iterator[str]:
        repeated = data.select(list(self.key)).to_pandas().duplicated().to_numpy()
        if repeated.any():
            row = int(repeated.argmax())
            value = {name: data.column(name)[row].as_py() for name in self.key}
            yield f"{self.name}: row {row}: {value} is there twice; keep one row a {', '.join(self.key)}"
        table = data.select(list(self.sort)).combine_chunks()
        rising = pa.array([False] * max(len(table) - 1, 0), pa.bool_())
        tied = pc.invert(rising)
        for name in self.sort:
            column = table.column(name).combine_chunks()
            before, after = column.slice(0, max(len(column) - 1, 0)), column.slice(1)
            rising = pc.or_(rising, pc.and_(tied, pc.less(before, after)))
            tied = pc.and_(tied, pc.equal(before, after))
        wrong = pc.invert(rising)
        if not repeated.any() and pc.any(wrong).as_py():
            row = _first(wrong) + 1
            yield f"{self.name}: row {row}: out of order; sort by {', '.join(self.sort)}, without repeats"

    def markdown(self) -> str:
        """Return the table's documentation as Markdown."""
        lines = [f"### {self.name}", "", self.meaning, ""]
        lines += [f"One row for each {', '.join(self.key)}; sorted by {', '.join(self.sort)}.", ""]
        lines += ["| column | type | unit | values | UCD | meaning |", "|---|---|---|---|---|---|"]
        for c in self.columns:
            kind = f"list of {c.dtype.value_type}" if pa.types.is_list(c.dtype) else str(c.dtype)
            cells = [
                f"`{c.name}`",
                kind + (", may be null" if c.nullable else ""),
                c.unit,
                c.range,
                c.ucd,
                c.meaning,
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines) + "\n"


def _is_unknown(value: Any) -> bool:
    return isinstance(value, float | np.floating) and not np.isfinite(value)


def _kind(dtype: pa.DataType) -> str:
    kinds = {
        "null": pa.types.is_null,
        "integer": pa.types.is_integer,
        "floating": pa.types.is_floating,
        "boolean": pa.types.is_boolean,
        "timestamp": pa.types.is_timestamp,
    }
    if pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return "string"
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return f"list of {_kind(dtype.value_type)}"
    return next((name for name, test in kinds.items() if test(dtype)), re.sub(r"\W.*", "", str(dtype)))


def _first(flags: pa.Array) -> int:
    return int(pc.index(flags, True).as_py())
