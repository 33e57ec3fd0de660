"""Alerts as Parquet, one a row: ZTF's with its fields as columns, Rubin's with its source as a nested one."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.alerts.refusals import BadPacket, Reason

__all__ = ["records"]

_ROWS = 64  # at once: some 3 MB of cutouts
_MAX_COLUMNS, _MAX_THRIFT = 20_000, 64 << 20
_MAX_CHUNK = 1 << 30  # of one column of one row group, unpacked


def records(file: BinaryIO) -> Iterator[Mapping[str, Any] | BadPacket]:
    """Read the rows of a Parquet file as mappings, without their lists: histories are long and not needed.

    Raises
    ------
    BadPacket
        If nothing more can be read.
    """
    try:
        table = pq.ParquetFile(
            file, pre_buffer=False, buffer_size=1 << 20,
            thrift_string_size_limit=_MAX_THRIFT, thrift_container_size_limit=1_000_000,
        )  # fmt: skip
        names = _names(table)
        for batch in table.iter_batches(_ROWS, columns=names, use_threads=False):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError, OverflowError, KeyError) as error:
        raise BadPacket(Reason.MALFORMED, f"Parquet: {str(error)[:300]}") from None


def _names(table: pq.ParquetFile) -> list[str]:
    schema, metadata = table.schema_arrow, table.metadata
    if metadata.num_columns > _MAX_COLUMNS:
        raise BadPacket(Reason.SCHEMA, f"{metadata.num_columns} columns are not those of an alert")
    names = [field.name for field in schema if not _is_list(field.type)]
    if not any(name.lower().startswith("cutout") for name in names):
        raise BadPacket(Reason.SCHEMA, f"a table without cutouts: {', '.join(names[:8])} …")
    wanted = set(names)
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            if chunk.total_uncompressed_size > _MAX_CHUNK and chunk.path_in_schema.split(".")[0] in wanted:
                size = chunk.total_uncompressed_size
                raise BadPacket(Reason.TOO_LARGE, f"{size} bytes in one row group; write groups of fewer rows")
    return names


def _is_list(kind: pa.DataType) -> bool:
    return any(is_a(kind) for is_a in (pa.types.is_list, pa.types.is_large_list, pa.types.is_map,
                                       pa.types.is_fixed_size_list, pa.types.is_list_view))  # fmt: skip
