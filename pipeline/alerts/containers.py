"""Alerts as Avro object container files, read a block at a time; histories are skipped, not decoded.

A packet of ZTF is mostly its object's history, in lists of records of a hundred fields: decoding it takes twenty times
as long as all the rest. So a compiled walk through the writer's schema finds where each field of a record begins, and
checks that everything lies inside it, and `fastavro` then decodes the fields that hold no lists.

The format: Apache Avro 1.11 specification, https://avro.apache.org/docs/1.11.1/specification/.
"""

import io
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import fastavro
import numpy as np
from numpy.typing import NDArray

from pipeline.alerts.refusals import BadPacket, Reason
from pipeline.alerts.walks import Plan, plan, spans

__all__ = ["MAX_BLOCK", "records"]

#: Largest block, unpacked, and largest header: a block holds some alerts of about 70 kB.
MAX_BLOCK, MAX_HEADER = 64 << 20, 4 << 20

_LEAST = 64  # bytes of an alert, so that a small block cannot hold millions of records


def records(file: BinaryIO, most: int | None = None) -> Iterator[Mapping[str, Any] | BadPacket]:
    """Read the records of a container; one that cannot be decoded stands as the error it would be.

    Parameters
    ----------
    file : BinaryIO
        At its start.
    most : int, optional
        Bytes that all blocks together may unpack to; without, only each block is bounded.

    Raises
    ------
    BadPacket
        If nothing more can be read.
    """
    schema, codec, sync = _header(file)
    layout = plan(schema)
    unpacked = 0
    while (first := file.read(1)) != b"":
        count, size = _long(file, first), _long(file)
        if not 0 <= count <= MAX_BLOCK or not 0 <= size <= MAX_BLOCK:
            raise BadPacket(Reason.TOO_LARGE, f"a block of {count} records in {size} bytes; at most {MAX_BLOCK}")
        if not count:  # no writer makes one: whoever reads on, unpacks it for nothing and is asked nothing meanwhile
            raise BadPacket(Reason.MALFORMED, f"a block of {size} bytes without a record")
        block = file.read(size)
        if len(block) < size or len(mark := file.read(16)) < 16:
            raise BadPacket(Reason.TRUNCATED, f"a block of {size} bytes ends early, after {len(block)}")
        if mark != sync:
            raise BadPacket(Reason.MALFORMED, "a block does not end with the file's own mark")
        data = _unpacked(block, codec)
        unpacked += len(data)
        if most is not None and unpacked > most:
            raise BadPacket(Reason.TOO_LARGE, f"blocks that unpack to more than {most} bytes; send fewer alerts")
        yield from _block(data, count, layout)


def _header(file: BinaryIO) -> tuple[bytes, str, bytes]:
    """Return the schema, the codec and the mark that ends each block."""
    file.read(4)
    meta: dict[bytes, bytes] = {}
    room = MAX_HEADER
    while (count := _long(file)) != 0:
        if count < 0:  # then the size of the block follows
            count, _ = -count, _long(file)
        for _ in range(min(count, 1000)):
            key, value = _bytes(file, room), _bytes(file, room)
            room -= len(key) + len(value) + 1
            meta[key] = value
    sync = file.read(16)
    if len(sync) < 16 or b"avro.schema" not in meta:
        raise BadPacket(Reason.TRUNCATED, "the header of the Avro file ends early, or has no schema")
    return meta[b"avro.schema"], meta.get(b"avro.codec", b"null").decode("ascii", "replace"), sync


def _long(file: BinaryIO, first: bytes = b"") -> int:
    value = shift = 0
    while shift < 70:
        byte = first or file.read(1)
        first = b""
        if not byte:
            raise BadPacket(Reason.TRUNCATED, "the Avro file ends within a number")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return (value >> 1) ^ -(value & 1)
        shift += 7
    raise BadPacket(Reason.MALFORMED, "a number of more than 10 bytes")


def _bytes(file: BinaryIO, room: int) -> bytes:
    size = _long(file)
    if not 0 <= size <= room:
        raise BadPacket(Reason.TOO_LARGE, f"{size} bytes in the header of the Avro file; at most {MAX_HEADER}")
    data = file.read(size)
    if len(data) < size:
        raise BadPacket(Reason.TRUNCATED, "the header of the Avro file ends early")
    return data


def _unpacked(block: bytes, codec: str) -> bytes:
    if codec == "null":
        return block
    if codec != "deflate":
        raise BadPacket(Reason.CODEC, f"Avro codec {codec[:20]!r}: write it with null or deflate")
    stream = zlib.decompressobj(wbits=-15)
    try:
        data = stream.decompress(block, MAX_BLOCK + 1)
    except zlib.error as error:
        raise BadPacket(Reason.MALFORMED, f"deflate: {error}") from None
    if len(data) > MAX_BLOCK:
        raise BadPacket(Reason.TOO_LARGE, f"a block that unpacks to more than {MAX_BLOCK} bytes")
    if not stream.eof:
        raise BadPacket(Reason.TRUNCATED, "a block's deflate stream ends early")
    return data


def _block(data: bytes, count: int, layout: Plan) -> Iterator[Mapping[str, Any] | BadPacket]:
    if count > 1 + len(data) // _LEAST:
        raise BadPacket(Reason.MALFORMED, f"{count} records in {len(data)} bytes are no alerts")
    view, at = np.frombuffer(data, np.uint8), 0
    starts = np.empty(layout.nodes[-1, 2] + 1, np.int64)
    for _ in range(count):
        if at >= len(data):
            raise BadPacket(Reason.TRUNCATED, f"a block of {count} records ends early")
        at = spans(view, at, layout.nodes, layout.children, starts)
        if at < 0:  # where the next one begins is not known either
            raise BadPacket(Reason.MALFORMED, "a record's lengths lead out of its block")
        yield _record(data, starts, layout)


def _record(data: bytes, starts: NDArray[np.int64], layout: Plan) -> Mapping[str, Any] | BadPacket:
    found: dict[str, Any] = {}
    for run in layout.runs:
        part = io.BytesIO(data[starts[run.first] : starts[run.stop]])
        try:
            found.update(fastavro.schemaless_reader(part, run.schema, None))  # type: ignore[arg-type]
        except (ValueError, TypeError, LookupError, EOFError, OverflowError, ArithmeticError) as error:
            return BadPacket(Reason.MALFORMED, f"Avro: {str(error)[:200]}")
    return found
