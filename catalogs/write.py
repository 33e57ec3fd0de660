"""Validate, write whole, read back: Parquet files whose bytes depend on their rows alone."""

import base64
import hashlib
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.folder import Folder
from catalogs.schema import SchemaError, Table

__all__ = ["Written", "read", "to_bytes", "write"]

_EXTENSION = b"ARROW:extension:"


class Written(NamedTuple):
    """A file that was written and read back: path in its folder, size in bytes, SHA-256 in hexadecimal."""

    path: str
    size: int
    sha256: str


def to_bytes(table: pa.Table, schema: Table) -> bytes:
    """Return `table` as the bytes of a Parquet file.

    The same rows give the same bytes, in whatever order, chunks or (convertible) types they come: types,
    column order and row order are the schema's, writer options are fixed, and no time or name of a run goes
    in.

    Parameters
    ----------
    table : pyarrow.Table
        Rows; NaN stands for null where the schema allows null.
    schema : Table
        What the rows have to satisfy.

    Raises
    ------
    SchemaError
        If they do not.
    """
    conformed = schema.conform(table)
    schema.check(conformed)
    sink = pa.BufferOutputStream()
    pq.write_table(
        conformed,
        sink,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=[c.name for c in schema.columns if pa.types.is_string(c.dtype)],
        row_group_size=131_072,
        write_page_checksum=True,
    )
    return bytes(sink.getvalue().to_pybytes())


def write(folder: Folder, path: str, table: pa.Table, schema: Table) -> Written:
    """Write `table` as one Parquet file, atomically, then read it back and check checksum, schema and rows.

    Raises
    ------
    SchemaError
        If the table is not what `schema` promises; nothing is written then.
    OSError
        If what is read back is not what was written.
    """
    data = to_bytes(table, schema)
    digest = hashlib.sha256(data).hexdigest()
    folder.write(path, data)
    back = folder.read(path)
    if hashlib.sha256(back).hexdigest() != digest:
        raise OSError(f"{folder.url(path)}: reads back as other bytes than were written; check the disk, run again")
    rows = _decode(back, folder.url(path), schema)
    if rows.num_rows != table.num_rows:
        raise OSError(f"{folder.url(path)}: {rows.num_rows} rows read back of {table.num_rows}; run again")
    schema.check(rows)
    return Written(path, len(data), digest)


def read(folder: Folder, path: str, schema: Table | None = None) -> pa.Table:
    """Return the rows of a Parquet file of a workspace.

    Parameters
    ----------
    folder : Folder
        Where it is.
    path : str
        Its path there.
    schema : Table, optional
        The schema it must have; any plain one if left out, as older releases have older columns.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SchemaError
        If it is not Parquet, is damaged, has another schema, or holds an extension type: those run code of
        their own while they are read, and no product of skysift has one.
    """
    return _decode(folder.read(path), folder.url(path), schema)


def _decode(data: bytes, name: str, schema: Table | None) -> pa.Table:
    # Before pyarrow sees it: merely opening a file revives the extension types it names.
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") :] if data[-4:] == b"PAR1" else data
    if any(trace in footer for trace in _traces(_EXTENSION)):
        raise SchemaError(f"{name}: holds an Arrow extension type, which can run code; write plain columns")
    try:
        table = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
        found = {field.name: str(field.type) for field in table.schema}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"{name}: is not a readable Parquet file ({error}); make it again") from error
    if schema is None:
        return table
    wanted = schema.arrow_schema()
    if not table.schema.equals(wanted):
        differ = [f"{f.name} ({f.type})" for f in wanted if found.get(f.name) != str(f.type)]
        differ += [f"{n} (unknown)" for n in found if n not in schema.names]
        raise SchemaError(
            f"{name}: is no {schema.name} table of this version of skysift: {', '.join(differ) or 'order'}; "
            f"make it again" + (f" with `{schema.made_by} --overwrite`" if schema.made_by else "")
        )
    return table


def _traces(text: bytes) -> list[bytes]:
    """Return `text` as it stands in a Parquet footer: plain, and in base64 at each of three alignments."""
    encoded = []
    for shift in range(3):
        code = base64.b64encode(b"\0" * shift + text)
        # The first and last characters mix in the neighbours' bits.
        encoded.append(code[-(-shift * 8 // 6) : (shift + len(text)) * 8 // 6])
    return [text, *encoded]
