"""Alerts as JSON: one, a list of them, or one a line; cutouts as base64, plain or as MongoDB writes binary data."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from pipeline.alerts.refusals import BadPacket, Reason

__all__ = ["MAX_BYTES", "binary", "records"]

#: Largest document: a list of some hundred alerts. A file of one alert a line may be of any length.
MAX_BYTES = 64 << 20

_CURE = f"at most {MAX_BYTES >> 20} MB at once; write one alert a line, Avro or Parquet"


def records(file: BinaryIO) -> Iterator[Mapping[str, Any] | BadPacket]:
    """Read the objects of a JSON file; one that cannot be read stands as the error it would be.

    Raises
    ------
    BadPacket
        If nothing of it can be read.
    """
    first = file.readline(MAX_BYTES + 1)
    value, error = _load(first)
    if error is not None:
        # Not a line by itself: a document that is spread over lines, or a damaged first line.
        rest = file.read(MAX_BYTES + 1 - min(len(first), MAX_BYTES))
        if rest and not _lines(rest):
            yield from _items(*_load(first + rest))
            return
        file.seek(len(first))
    yield from _items(value, error)
    while line := file.readline(MAX_BYTES + 1):
        if line.strip():
            yield from _items(*_load(line))


def _lines(rest: bytes) -> bool:
    """Return whether what follows a damaged first line is an object a line."""
    line = next((line for line in rest[: 4 << 20].splitlines() if line.strip()), b"")
    return isinstance(_load(line)[0], dict)


def _load(data: bytes) -> tuple[Any, BadPacket | None]:
    if len(data) > MAX_BYTES:
        return None, BadPacket(Reason.TOO_LARGE, f"a line of more than {MAX_BYTES} bytes; {_CURE}")
    try:
        return json.loads(data), None
    except (ValueError, RecursionError) as error:
        return None, BadPacket(Reason.MALFORMED, f"not JSON: {str(error)[:200]}")


def _items(value: Any, error: BadPacket | None) -> Iterator[Mapping[str, Any] | BadPacket]:
    if error is not None:
        yield error
        return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield {key: _plain(field) for key, field in item.items()}
        else:
            yield BadPacket(Reason.MALFORMED, f"{str(item)[:40]!r} is not an object")


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value with MongoDB's numbers as numbers."""
    if not isinstance(value, dict) or depth > 2:
        return value
    if len(value) == 1:
        for key, kind in (("$numberLong", int), ("$numberInt", int), ("$numberDouble", float)):
            if key in value:
                try:
                    return kind(value[key])
                except (TypeError, ValueError, OverflowError):
                    return None
    return {key: _plain(item, depth + 1) for key, item in value.items()}


def binary(value: object, name: str) -> bytes:
    """Return bytes that JSON holds: base64, or MongoDB's ``$binary``, old or new.

    Raises
    ------
    BadPacket
        If it is neither.
    """
    for _ in range(2):
        if isinstance(value, Mapping):
            value = value.get("$binary", value.get("base64"))
    if not isinstance(value, str):
        raise BadPacket(Reason.MALFORMED, f"{name} is of type {type(value).__name__}, not bytes or base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPacket(Reason.MALFORMED, f"{name} is not base64: {error}") from None
