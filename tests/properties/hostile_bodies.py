"""Hostile bodies for the service, made from good ones: cut, flipped, edited, packed, mislabelled."""

import base64
import gzip
import io
import json
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from tests.models.toy_service import document, image, npy
from tests.properties.mutate import bomb

__all__ = ["Ask", "asks", "avro_bomb"]

_TYPES = ["", "application/json", "application/octet-stream", "avro/binary", "text/plain", "image/jpeg", "\x00",
          "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x",
          "application/json; charset=utf-16", "a" * 5000]  # fmt: skip
_VALUES: list[Any] = [None, True, -1, 1e308, 10**400, "", "A", "é" * 100, [], {}, [[[]]], {"$binary": "QQ=="}, "\ud800"]
_SHAPES = [(), (0,), (3, 63, 63), (0, 3, 63, 63), (1, 3, 0, 63), (1, 3, 7, 7), (1, 3, 513, 8), (1, 4, 63, 63),
           (1, 1, 3, 63, 63), (63, 63, 3), (2, 63, 63, 3)]  # fmt: skip
_KINDS = ["?", "i1", "u8", ">f2", "f8", "c8", "S4", "U2", "M8[s]", "O", "V8"]
_HEADERS = [
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 3, 63, 63)}",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3, 63, 63)}",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 3L, 63L, 63L)}",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    b"{'descr': [('a', '<f4')], 'fortran_order': True, 'shape': (1,)}",
    b"{'descr': '<f4', 'fortran_order': 7, 'shape': ()}",
    b"{'descr': '<f4,', 'shape': (1,)}",
    b"{" * 3000,
    b"[" * 9000 + b"]" * 9000,
    b"('" * 500,
    b"'\\x00",
    b"__import__('os').abort()",
    b"\xff\xfe",
    b"",
]
_MODELS = ["realbogus@", "@", "../../etc", "realbogus@../..", "\x00", "x" * 3000, "realbogus@candidate@candidate",
           "eb", "REALBOGUS", "realbogus@0badc0de", "%00", "realbogus@realbogus-00000000", "☃"]  # fmt: skip

_STARTS = [b"", b"\x00", b"PAR1", b"Obj\x01", b"Obj\x02", b"\x80\x04.", b"\x1f\x8b\x08", b"SIMPLE  =", b"<html>"]


class Ask(NamedTuple):
    """One hostile request of ``POST /score``, and of what kind it is."""

    kind: str
    body: bytes
    headers: dict[str, str] = {}
    params: dict[str, str] = {}


def asks(good: dict[str, bytes], number: int, seed: int) -> list[Ask]:
    """Return hostile requests: every special one as far as there is room, then random ones.

    Parameters
    ----------
    good : dict of str to bytes
        Good bodies by kind.
    number, seed : int
        How many, and of which chance.
    """
    rng = np.random.default_rng(seed)
    special = list(_special(good))
    rng.shuffle(special)  # type: ignore[arg-type]
    few = [Ask(*ask) for ask in special[: number * 2 // 3]]
    return few + list(islice(_random(good, rng), number - len(few)))


def _special(good: dict[str, bytes]) -> Iterator[Ask]:
    for shape in _SHAPES:
        yield Ask("npy shape", npy(np.zeros(shape, np.float32)))
        yield Ask("npy noise", npy(np.random.default_rng(0).normal(size=shape).astype(np.float32)))
    for kind in _KINDS:
        yield Ask("npy kind", npy(np.zeros((1, 3, 9, 9), kind)))
    for header in _HEADERS:
        for version in (b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"):
            size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
            yield Ask("npy header", b"\x93NUMPY" + version + size + header + bytes(100))
    for size in (3e38, 1e30, 1e-40):
        noise = np.random.default_rng(0).uniform(-size, size, (1, 3, 63, 63))
        yield Ask("npy value", npy(noise.astype(np.float32)))
    for value in (np.nan, np.inf, -np.inf, 3e38, 1e-45):
        yield Ask("npy value", npy(np.full((1, 3, 63, 63), value, np.float32)))
    yield from _documents()
    for start in _STARTS:
        yield Ask("start", start)
        yield Ask("start", start + bytes(5000))
        yield Ask("start", start + b"\xff" * 5000)
    for size in (1, 5 << 20):
        yield Ask("large", bytes(size))
    for count in (0, 1, 3):
        yield Ask("Avro bomb", avro_bomb(count))
    yield from _labelled(good)


def avro_bomb(count: int, blocks: int = 20, size: int = 8 << 20) -> bytes:
    """Return an Avro container of blocks that say they hold `count` records, and unpack to `size` bytes of nothing."""

    def number(value: int) -> bytes:
        value, found = value << 1, b""
        while value > 127:
            found, value = found + bytes([value & 127 | 128]), value >> 7
        return found + bytes([value])

    schema = json.dumps({"type": "record", "name": "a", "fields": [{"name": "candid", "type": "long"}]}).encode()
    meta = {b"avro.schema": schema, b"avro.codec": b"deflate"}
    facts = b"".join(number(len(one)) + one for pair in meta.items() for one in pair)
    stream = zlib.compressobj(9, wbits=-15)
    block = stream.compress(bytes(size)) + stream.flush()
    mark = b"x" * 16
    return (
        b"Obj\x01" + number(2) + facts + number(0) + mark + (number(count) + number(len(block)) + block + mark) * blocks
    )


def _documents() -> Iterator[Ask]:
    for key in ("id", "science", "template", "difference", "triplets", "model"):
        for value in _VALUES:
            body = document(np.random.default_rng(0).normal(size=(1, 3, 9, 9)).astype(np.float32))
            (body if key in ("triplets", "model") else body["triplets"][0])[key] = value
            yield Ask(f"JSON {key}", json.dumps(body).encode())
    for text in (b"[", b"[" * 100_000, b'{"a":' * 100_000,
                 b"1" * 10_000, b"NaN", b"null", b'"', b"\xff\xfe[", b"[]",
                 b"{}", b"[{}]", b'[{"science":1}]', b"{}\n{}", b"\xef\xbb\xbf{}",
                 b'{"triplets":[' + b"1," * 900 + b"1]}",
                 b"[" + b"1," * 2_100_000 + b"1]"):  # fmt: skip
        yield Ask("JSON", text, {"content-type": "application/json"})
    for packed in (bomb(300), gzip.compress(gzip.compress(image(np.eye(63)))), b"\xff\xd8\xff\xe0", bytes(3000),
                   image(np.eye(700)), image(np.eye(63), packed=False)[:5000], gzip.compress(b"")):  # fmt: skip
        three = dict.fromkeys(("science", "template", "difference"), base64.b64encode(packed).decode())
        yield Ask("FITS", json.dumps({"triplets": [three]}).encode())


def _labelled(good: dict[str, bytes]) -> Iterator[Ask]:
    for kind in _TYPES:
        for name, body in good.items():
            yield Ask(f"{name} as another", body, {"content-type": kind.replace("\x00", "nul")})
    for model in _MODELS:
        yield Ask("model", good["npy"], params={"model": model})
    form = "multipart/form-data; boundary=x"
    for body in (b"--x", b"--x--", b"--x\r\n\r\n\r\n--x--",
                 b"--x\r\n\r\n" + good["npy"] + b"\r\n--x--", b"--x\r\n" * 200 + b"--x--",
                 b"--x\r\nContent-Disposition: form-data; name=model\r\n\r\n\xff\r\n--x--"):  # fmt: skip
        yield Ask("form", body, {"content-type": form})
    for name, value in {"content-encoding": "gzip", "range": "bytes=0-", "x-long": "y" * 20_000,
                        "cookie": "=;" * 3000,
                        "authorization": "Basic \xff", "accept": "a/b",
                        "expect": "100-continue"}.items():  # fmt: skip
        yield Ask("header", good["npy"], {name: value})


def _random(good: dict[str, bytes], rng: np.random.Generator) -> Iterator[Ask]:
    while True:
        for name, body in good.items():
            flipped = bytearray(body)
            stop = len(body) if rng.random() < 0.5 else min(len(body), 6000)
            for at in rng.integers(0, stop, rng.integers(1, 30)):
                flipped[at] ^= 1 << int(rng.integers(8))
            yield Ask(f"{name} flipped", bytes(flipped))
            first, second = sorted(rng.integers(0, len(body), 2).tolist())
            yield Ask(f"{name} cut", body[:first])
            yield Ask(f"{name} without a piece", body[:first] + body[second:])
            yield Ask(f"{name} twice", body[:second] + body[first:])
            noise = bytearray(body)
            end = min(second, first + 2000)
            noise[first:end] = rng.bytes(end - first)
            yield Ask(f"{name} with noise", bytes(noise))
        broken = _broken_image(rng)
        three = dict.fromkeys(("science", "template", "difference"), base64.b64encode(broken).decode())
        yield Ask("FITS", json.dumps({"triplets": [three]}).encode())


def _broken_image(rng: np.random.Generator) -> bytes:
    data = bytearray(image(rng.normal(size=(9, 9)).astype(np.float32), packed=False))
    for at in rng.integers(0, 640, rng.integers(1, 10)):
        data[at] = int(rng.integers(32, 127))
    buffer = io.BytesIO(bytes(data))
    return gzip.compress(buffer.getvalue()) if rng.random() < 0.5 else buffer.getvalue()
