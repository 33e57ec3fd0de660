"""Alerts as Avro object container files, read a block at a time; histories are skipped, not decoded.

A packet of ZTF is mostly its object's history, in lists of records of a hundred fields: decoding it takes twenty times
as long as all the rest. So a compiled walk through the writer's schema finds where each field of a record begins, and
checks that everything lies inside it, and `fastavro` then decodes the fields that hold no lists.

The format: Apache Avro 1.11 specification, https://avro.apache.org/docs/1.11.1/specification/.
"""

import io
import json
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any, BinaryIO, NamedTuple

import fastavro
import numba
import numpy as np
from fastavro.schema import SchemaParseException, UnknownType
from numpy.typing import NDArray

from pipeline.alerts.refusals import BadPacket, Reason

__all__ = ["MAX_BLOCK", "records"]

#: Largest block, unpacked, and largest header: a block holds some alerts of about 70 kB.
MAX_BLOCK, MAX_HEADER = 64 << 20, 4 << 20

_MAX_DEPTH, _MAX_NODES = 12, 20_000

_NOTHING, _VARINT, _FIXED, _PREFIXED, _RECORD, _UNION, _ARRAY = range(7)
_LEAVES = {
    "null": (_NOTHING, 0), "boolean": (_FIXED, 1), "int": (_VARINT, 0), "long": (_VARINT, 0), "float": (_FIXED, 4),
    "double": (_FIXED, 8), "bytes": (_PREFIXED, 0), "string": (_PREFIXED, 0), "enum": (_VARINT, 0),
}  # fmt: skip


class _Run(NamedTuple):
    first: int  # field that it begins with
    stop: int
    schema: Any  # fastavro's, of a record of these fields alone


class _Plan(NamedTuple):
    nodes: NDArray[np.int64]  # (n, 3): kind; width, or first child; number of children. The last is the record.
    children: NDArray[np.int64]
    runs: tuple[_Run, ...]  # of fields that are decoded; between them are those that are skipped


def records(file: BinaryIO) -> Iterator[Mapping[str, Any] | BadPacket]:
    """Read the records of a container; one that cannot be decoded stands as the error it would be.

    Raises
    ------
    BadPacket
        If nothing more can be read.
    """
    schema, codec, sync = _header(file)
    plan = _plan(schema)
    while (first := file.read(1)) != b"":
        count, size = _long(file, first), _long(file)
        if not 0 <= count <= MAX_BLOCK or not 0 <= size <= MAX_BLOCK:
            raise BadPacket(Reason.TOO_LARGE, f"a block of {count} records in {size} bytes; at most {MAX_BLOCK}")
        block = file.read(size)
        if len(block) < size or len(mark := file.read(16)) < 16:
            raise BadPacket(Reason.TRUNCATED, f"a block of {size} bytes ends early, after {len(block)}")
        if mark != sync:
            raise BadPacket(Reason.MALFORMED, "a block does not end with the file's own mark")
        yield from _block(_unpacked(block, codec), count, plan)


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


def _block(data: bytes, count: int, plan: _Plan) -> Iterator[Mapping[str, Any] | BadPacket]:
    view, at = np.frombuffer(data, np.uint8), 0
    starts = np.empty(plan.nodes[-1, 2] + 1, np.int64)
    for _ in range(count):
        if at >= len(data):
            raise BadPacket(Reason.TRUNCATED, f"a block of {count} records ends early")
        at = _spans(view, at, plan.nodes, plan.children, starts)
        if at < 0:  # where the next one begins is not known either
            raise BadPacket(Reason.MALFORMED, "a record's lengths lead out of its block")
        yield _record(data, starts, plan)


def _record(data: bytes, starts: NDArray[np.int64], plan: _Plan) -> Mapping[str, Any] | BadPacket:
    found: dict[str, Any] = {}
    for run in plan.runs:
        part = io.BytesIO(data[starts[run.first] : starts[run.stop]])
        try:
            found.update(fastavro.schemaless_reader(part, run.schema, None))  # type: ignore[arg-type]
        except (ValueError, TypeError, LookupError, EOFError, OverflowError, ArithmeticError) as error:
            return BadPacket(Reason.MALFORMED, f"Avro: {str(error)[:200]}")
    return found


@lru_cache(maxsize=16)
def _plan(schema: bytes) -> _Plan:
    """Compile a writer's schema; alerts of one survey share it, byte for byte."""
    try:
        tree = json.loads(schema)
        if not isinstance(tree, dict) or tree.get("type") != "record":
            raise BadPacket(Reason.SCHEMA, "records of an Avro file of alerts are not records")
        return _Compiler().plan(tree)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise BadPacket(Reason.SCHEMA, f"Avro schema: {str(error)[:200]}") from None
    except (SchemaParseException, UnknownType) as error:
        raise BadPacket(Reason.SCHEMA, f"Avro schema: {str(error)[:200]}") from None


class _Compiler:
    """From a schema to the nodes of `_skip`; refuses what could loop without reading, or go deep."""

    def __init__(self) -> None:
        self.nodes: list[tuple[int, int, int]] = []
        self.children: list[int] = []
        self.least: list[int] = []  # bytes that a value has at least
        self.lists: list[bool] = []  # whether it holds arrays or maps
        self.named: dict[str, int] = {}

    def plan(self, tree: dict[str, Any]) -> _Plan:
        """Return the plan of a top-level record."""
        space, fields = _space(tree, ""), tree["fields"]
        parts = [self.node(field["type"], space, 1) for field in fields]
        if not fields:
            raise BadPacket(Reason.SCHEMA, "a record without fields")
        self._add(_RECORD, parts, 1)
        runs: list[_Run] = []
        known: dict[str, Any] = {}  # types that later fields may name
        for skipped, run in groupby(range(len(fields)), key=lambda number: self.lists[parts[number]]):
            numbers = list(run)
            record = {"type": "record", "name": f"run_{numbers[0]}", "namespace": space}
            parsed = fastavro.parse_schema({**record, "fields": [fields[number] for number in numbers]}, known)
            if not skipped:
                runs.append(_Run(numbers[0], numbers[-1] + 1, parsed))
        return _Plan(np.array(self.nodes, np.int64), np.array(self.children, np.int64), tuple(runs))

    def node(self, schema: Any, space: str, depth: int) -> int:
        """Compile a type, return its number."""
        if depth > _MAX_DEPTH or len(self.nodes) > _MAX_NODES:
            raise BadPacket(Reason.SCHEMA, "an Avro schema deeper or longer than any alert's")
        if isinstance(schema, list):
            parts = [self.node(part, space, depth + 1) for part in schema]
            return self._add(_UNION, parts, 1)
        if isinstance(schema, str):
            return self._name(schema, space)
        kind = schema["type"]
        if isinstance(kind, dict | list):
            return self.node(kind, space, depth + 1)
        if kind in ("array", "map"):
            item = self.node(schema["items" if kind == "array" else "values"], space, depth + 1)
            if kind == "map":
                item = self._add(_RECORD, [self._name("string", space), item], 1 + self.least[item])
            if self.least[item] == 0:
                raise BadPacket(Reason.SCHEMA, "an array of items without length")
            return self._add(_ARRAY, [item], 1, True)
        space = _space(schema, space)
        if kind in ("record", "error"):
            parts = [self.node(field["type"], space, depth + 1) for field in schema["fields"]]
            number = self._add(_RECORD, parts, sum(self.least[part] for part in parts))
        elif kind == "fixed":
            size = int(schema["size"])
            if not 0 <= size <= MAX_BLOCK:
                raise BadPacket(Reason.SCHEMA, f"a fixed of {size} bytes")
            number = self._leaf(_FIXED, size)
        else:
            number = self._name(kind, space)
        if "name" in schema:
            self.named[_full(schema["name"], space)] = number
        return number

    def _name(self, name: str, space: str) -> int:
        if name in _LEAVES:
            return self._leaf(*_LEAVES[name])
        # A type that is used within itself is not complete yet, so not found: alerts are not recursive.
        return self.named[_full(name, space)]

    def _leaf(self, kind: int, width: int) -> int:
        self.nodes.append((kind, width, 0))
        self.least.append(width if kind == _FIXED else int(kind != _NOTHING))
        self.lists.append(False)
        return len(self.nodes) - 1

    def _add(self, kind: int, parts: list[int], least: int, lists: bool = False) -> int:
        self.nodes.append((kind, len(self.children), len(parts)))
        self.children.extend(parts)
        self.least.append(least)
        self.lists.append(lists or any(self.lists[part] for part in parts))
        return len(self.nodes) - 1


def _space(schema: dict[str, Any], space: str) -> str:
    before, dot, _ = schema.get("name", "").rpartition(".")
    return before if dot else schema.get("namespace", space)


def _full(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _varint(data, at):  # type: ignore[no-untyped-def]
    """Return a number and where it ends; -1 there if it does not."""
    value, shift = np.uint64(0), np.uint64(0)
    for place in range(at, min(at + 10, len(data))):
        byte = np.uint64(data[place])
        value |= (byte & np.uint64(127)) << shift
        if byte < 128:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), place + 1
        shift += np.uint64(7)
    return np.int64(0), -1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _leaf(data, at, kind, width):  # type: ignore[no-untyped-def]
    """Return where a value without parts that begins at `at` ends; -1 if not within the data."""
    if kind == _VARINT:
        return _varint(data, at)[1]
    if kind == _PREFIXED:
        width, at = _varint(data, at)
        if at < 0:
            return at
    return at + width if 0 <= width <= len(data) - at else -1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _skip(data, at, nodes, children, node):  # type: ignore[no-untyped-def]
    """Return where the value of a node that begins at `at` ends; -1 if not within the data."""
    kind, first, number = nodes[node, 0], nodes[node, 1], nodes[node, 2]
    if kind < _RECORD:
        return _leaf(data, at, kind, first)
    if kind == _RECORD:
        for child in range(first, first + number):
            if at >= 0:
                at = _skip(data, at, nodes, children, children[child])
        return at
    value, at = _varint(data, at)
    if kind == _UNION:
        return _skip(data, at, nodes, children, children[first + value]) if at >= 0 and 0 <= value < number else -1
    while at >= 0 and value != 0:  # an array: blocks of items, the last is empty
        if value < 0:  # then the size of the block follows
            value, at = -value, _varint(data, at)[1]
        if at < 0 or value < 0 or value > len(data) - at:  # an item has a byte at least
            return -1
        for _ in range(value):
            at = _skip(data, at, nodes, children, children[first])
            if at < 0:
                return -1
        value, at = _varint(data, at)
    return at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _spans(data, at, nodes, children, starts):  # type: ignore[no-untyped-def]
    """Write where each field of a top-level record (the last node) begins; return where it ends, -1 if it does not."""
    first, number = nodes[-1, 1], nodes[-1, 2]
    for field in range(number):
        starts[field] = at
        at = _skip(data, at, nodes, children, children[first + field])
        if at < 0:
            return -1
    starts[number] = at
    return at
