"""Alerts made for tests: cutouts with a source in the middle, packets of ZTF, WINTER and Rubin in every container."""

import gzip
import io
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from numpy.typing import NDArray

CANDID = 2657171680615010055

_CUTOUT = {
    "type": "record", "name": "cutout", "namespace": "ztf.alert",
    "fields": [{"name": "fileName", "type": "string"}, {"name": "stampData", "type": "bytes"}],
}  # fmt: skip
_CANDIDATE = {
    "type": "record", "name": "candidate", "namespace": "ztf.alert",
    "fields": [
        {"name": "jd", "type": "double"}, {"name": "fid", "type": "int"}, {"name": "ra", "type": "double"},
        {"name": "dec", "type": "double"}, {"name": "isdiffpos", "type": "string"},
        {"name": "drb", "type": ["null", "float"], "default": None},
        {"name": "ssdistnr", "type": ["null", "float"], "default": None},
        {"name": "xpos", "type": ["float", "null"]}, {"name": "ypos", "type": ["float", "null"]},
    ],
}  # fmt: skip
_EARLIER = {
    "type": "record", "name": "prv_candidate", "namespace": "ztf.alert",
    "fields": [
        {"name": "jd", "type": "double"}, {"name": "pid", "type": "long"}, {"name": "good", "type": "boolean"},
        {"name": "mag", "type": ["null", "float"]}, {"name": "name", "type": ["string", "null"]},
        {"name": "tags", "type": {"type": "map", "values": "int"}},
    ],
}  # fmt: skip
SCHEMA: dict[str, Any] = {
    "type": "record", "name": "alert", "namespace": "ztf", "version": "4.02",
    "fields": [
        {"name": "schemavsn", "type": "string"}, {"name": "publisher", "type": "string"},
        {"name": "objectId", "type": "string"}, {"name": "candid", "type": "long"},
        {"name": "candidate", "type": _CANDIDATE},
        {"name": "prv_candidates", "type": ["null", {"type": "array", "items": _EARLIER}], "default": None},
        {"name": "cutoutScience", "type": ["null", _CUTOUT], "default": None},
        {"name": "cutoutTemplate", "type": ["null", "ztf.alert.cutout"], "default": None},
        {"name": "cutoutDifference", "type": ["null", "ztf.alert.cutout"], "default": None},
    ],
}  # fmt: skip


def image(shape: tuple[int, int] = (63, 63), at: tuple[int, int] | None = None, seed: int = 0) -> NDArray[np.float32]:
    """Return noise with a source at a row and column, the middle ones if left out."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    row, column = at or (shape[0] // 2, shape[1] // 2)
    source = 500 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4)
    return (np.random.default_rng(seed).normal(100, 5, shape) + source).astype(np.float32)


def packed(pixels: NDArray[Any], **cards: Any) -> bytes:
    """Return an image as gzipped FITS."""
    buffer = io.BytesIO()
    hdu = fits.PrimaryHDU(pixels)
    for key, value in cards.items():
        hdu.header[key] = value
    hdu.writeto(buffer)
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


def alert(shape: tuple[int, int] = (63, 63), at: tuple[int, int] | None = None, **candidate: Any) -> dict[str, Any]:
    """Return a packet of ZTF as `SCHEMA` has it; what is given replaces fields of its candidate."""
    source = {"jd": 2460411.67, "fid": 2, "ra": 150.0, "dec": 2.0, "isdiffpos": "t", "drb": 0.99, "ssdistnr": -999.0,
              "xpos": 1000.0, "ypos": 1000.0}  # fmt: skip
    earlier = {"jd": 2460400.5, "pid": -5, "good": True, "mag": None, "name": "ä" * 50, "tags": {"a": 1, "b": -2}}
    stamps = [{"fileName": "x.fits.gz", "stampData": packed(image(shape, at, seed))} for seed in range(3)]
    return {
        "schemavsn": "4.02", "publisher": "ZTF (www.ztf.caltech.edu)", "objectId": "ZTF24aajatja", "candid": CANDID,
        "candidate": {**source, **candidate}, "prv_candidates": [earlier] * 30,
        **dict(zip(("cutoutScience", "cutoutTemplate", "cutoutDifference"), stamps, strict=True)),
    }  # fmt: skip


def avro(alerts: list[dict[str, Any]], codec: str = "null", schema: dict[str, Any] = SCHEMA) -> bytes:
    """Return packets as an Avro container."""
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, alerts, codec=codec, sync_interval=100_000)
    return buffer.getvalue()


def parquet(alerts: list[dict[str, Any]]) -> bytes:
    """Return packets as a table with the candidate's fields as columns."""
    rows = [
        {"candid": one["candid"], "objectId": one["objectId"], **one["candidate"],
         **{key: one[key]["stampData"] for key in one if key.startswith("cutout")}}
        for one in alerts
    ]  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def rubin(sides: tuple[int, ...] = (30, 38), negative: bool = False) -> bytes:
    """Return alerts of Rubin as a nested table."""
    rows = []
    for number, side in enumerate(sides):
        source = {"diaSourceId": 170112044581781525 + number, "ra": 151.5, "dec": 2.9, "midpointMjdTai": 61109.1,
                  "psfFlux": -4000.0 if negative else 4000.0, "psfFluxErr": 300.0, "snr": 13.0, "band": "g",
                  "ixxPSF": 0.44, "iyyPSF": 0.44, "isNegative": negative, "detector": 7}  # fmt: skip
        stamps = [gzip.decompress(packed(image((side, side), seed=seed))) for seed in range(3)]
        names = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
        rows.append({"diaSource": source, "diaObject": {"diaObjectId": 5}, "prvDiaSources": [source] * 20,
                     **dict(zip(names, stamps, strict=True))})  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()
