"""Bodies of requests → triplets: NumPy arrays, base64 FITS in JSON, or whole alerts; what they are is read off them.

One triplet that cannot be scored is an `Item` with a reason, the others go on; a body without any order is refused.
"""

import base64
import binascii
import io
import itertools
import json
import time
import tokenize
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import monitor
from models.planes import CHANNELS, SIZE
from models.service_answers import FWHM_PX
from models.service_limits import Limits, Refusal
from pipeline.alerts import facts
from pipeline.alerts.cutouts import MAX_SIDE, MIN_SIDE, BadCutout, decode, triplet
from pipeline.alerts.packets import Packet, Unread, parse
from pipeline.archive import printable
from pipeline.images.sampling import centred, sampled
from pipeline.settings import CandidateScoreSettings

__all__ = ["Body", "Item", "read"]

Pixels = NDArray[np.float32]

_NAMES = (("science",), ("template", "reference"), ("difference",))
_NPY = b"\x93NUMPY"
_HOW = (
    'JSON {"triplets": [{"id", "science", "template", "difference"}, …]} with base64 FITS, a NumPy .npy of shape '
    "(n, 3, 63, 63), or alerts as Avro or JSON"
)
_PARTS = 64


class Item(NamedTuple):
    """One triplet of a body, or why there is none.

    Parameters
    ----------
    id : str
        As sent; of an array the row, of an alert ``survey:candid``.
    pixels : (3, 63, 63) float32 or None
        Science, reference, difference; NaN where there are none.
    reason, message : str
        Code and sentence where there are no pixels to score, else empty.
    facts : mapping
        Of an alert survey, filter, mjd_mid, and image: what tells science images apart.
    """

    id: str
    pixels: Pixels | None
    reason: str = ""
    message: str = ""
    facts: Mapping[str, Any] = MappingProxyType({})


class Body(NamedTuple):
    """What a body asks for.

    Parameters
    ----------
    items : list of Item
        In the order sent.
    model : str
        That it names, or empty.
    """

    items: list[Item]
    model: str = ""


def read(data: bytes, content_type: str, limits: Limits, settings: CandidateScoreSettings) -> Body:
    """Return what a body asks for.

    Parameters
    ----------
    data : bytes
        The body.
    content_type : str
        Its header; only ``multipart/form-data`` changes how it is read.
    limits : Limits
        Of triplets and of time.
    settings : CandidateScoreSettings
        Widths of stars that models know; images with others are resampled, as in batch.

    Raises
    ------
    Refusal
        413 or 422.
    """
    deadline = time.monotonic() + limits.answer_s
    if content_type.lower().startswith("multipart/"):
        return _multipart(data, content_type, _Work(limits, deadline, settings))
    return _part(data, _Work(limits, deadline, settings))


class _Work(NamedTuple):
    limits: Limits
    deadline: float
    settings: CandidateScoreSettings

    def check_time(self) -> None:
        if time.monotonic() > self.deadline:
            raise Refusal(503, "timeout", "not decoded in time; send fewer triplets at once")

    def check_count(self, count: int) -> None:
        most = self.limits.triplets
        if count > most:
            raise Refusal(413, "too_many", f"{count} triplets, of at most {most} at once; send several requests")
        if not count:
            raise Refusal(422, "empty", f"no triplets in it: send {_HOW}")


def _part(data: bytes, work: _Work) -> Body:
    if data.startswith(_NPY):
        return Body(_rows(_array(data), work))
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in (b"{", b"["):
        return _document(data, work)
    if data.startswith(b"Obj\x01"):
        return Body(_alerts(data, work))
    raise Refusal(422, "format", f"a body that begins with {printable(repr(data[:8]))}: send {_HOW}")


def _array(data: bytes) -> NDArray[Any]:
    """Return the array of a .npy file, which is looked at before room is made for it; objects are refused."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, kind = header(stream)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise Refusal(422, "npy", f"not a NumPy .npy: {printable(str(error)[:200])}; use numpy.save") from None
    if kind.kind not in "fiu" or kind.itemsize > 8:
        raise Refusal(422, "npy", f"an array of {printable(str(kind)[:60])}; send float32")
    count = 1
    for length in shape:
        count *= length
    if len(shape) > 4 or count < 0 or count * kind.itemsize != len(data) - stream.tell():
        held = len(data) - stream.tell()
        raise Refusal(422, "npy", f"an array of shape {str(shape)[:80]} in {held} bytes; send (n, 3, 63, 63)")
    values = np.frombuffer(data, kind, count, stream.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")


def _rows(values: NDArray[Any], work: _Work) -> list[Item]:
    shape = values.shape
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or values.shape[1] != CHANNELS or not all(MIN_SIDE <= n <= MAX_SIDE for n in values.shape[2:]):
        raise Refusal(422, "shape", f"triplets of shape {shape}: send (n, 3, 63, 63): science, reference, difference")
    work.check_count(len(values))
    with np.errstate(over="ignore", invalid="ignore"):
        return [_item(str(row), pixels.astype(np.float32)) for row, pixels in enumerate(values)]


def _item(name: str, pixels: Pixels, known: Mapping[str, Any] = MappingProxyType({})) -> Item:
    """Return a triplet, if there is something in each of its images."""
    pixels = centred(np.where(np.isfinite(pixels), pixels, np.float32(np.nan))[None])[0]
    flat = pixels.reshape(CHANNELS, -1)
    for image, low, high in zip(_NAMES, np.fmin.reduce(flat, 1), np.fmax.reduce(flat, 1), strict=True):
        if not low < high:
            what = "no finite pixel" if np.isnan(low) else f"all pixels are {low:g}"
            return Item(name, None, "cutout_empty", f"{image[0]}: {what}; send the image as it is, in counts")
    if not np.isfinite(flat).all(0).any():
        return Item(name, None, "cutout_empty", "no pixel that all three images have; send them of one place")
    return Item(name, pixels, facts=known)


def _document(data: bytes, work: _Work) -> Body:
    many = data.count(b",") + data.count(b"[") + data.count(b"{")
    if many > work.limits.values:
        raise Refusal(413, "too_many", f"JSON of {many} values, of at most {work.limits.values}; send fewer at once")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        if b"\n" in data.strip():  # one alert a line, perhaps
            return Body(_alerts(data, work))
        raise Refusal(422, "json", f"not JSON: {printable(str(error)[:200])}; send {_HOW}") from None
    model = ""
    if isinstance(value, dict) and "triplets" in value:
        model, value = value.get("model") or "", value["triplets"]
        if not isinstance(model, str) or not isinstance(value, list):
            raise Refusal(422, "json", 'triplets is no list, or model no text: send {"triplets": […], "model": "…"}')
    elif not (isinstance(value, list) and value and isinstance(value[0], dict) and "science" in value[0]):
        return Body(_alerts(data, work))
    work.check_count(len(value))
    return Body([_encoded(row, item, work) for row, item in enumerate(value)], model)


def _encoded(row: int, item: Any, work: _Work) -> Item:
    """Return the triplet of three base64 FITS images."""
    if not isinstance(item, Mapping):
        return Item(str(row), None, "packet_malformed", f"triplet {row} is no object")
    known = item.get("id")
    name = printable(str(known)[:200]) if isinstance(known, str | int) and not isinstance(known, bool) else str(row)
    width = item.get("fwhm_px")
    if width is not None and not (type(width) in (int, float) and FWHM_PX[0] <= width <= FWHM_PX[1]):
        message = f"fwhm_px is {printable(repr(width)[:40])}; give {FWHM_PX[0]:g} to {FWHM_PX[1]:g}, or leave it out"
        return Item(name, None, "packet_malformed", message)
    images = []
    for keys in _NAMES:
        work.check_time()
        value = next((item[key] for key in keys if item.get(key) is not None), None)
        if not isinstance(value, str):
            return Item(name, None, "cutout_missing", f"{keys[0]} is not there; send base64 of FITS or gzipped FITS")
        try:
            images.append(decode(base64.b64decode(value, validate=True)))
        except (binascii.Error, ValueError) as error:
            if isinstance(error, BadCutout):
                return Item(name, None, str(error.reason), printable(f"{keys[0]}: {error.message}"))
            return Item(name, None, "cutout_not_fits", f"{keys[0]} is not base64; send base64 of FITS")
    if len({image.shape for image in images}) > 1 or min(images[0].shape) < MIN_SIDE:
        shapes = ", ".join(f"{image.shape[1]}x{image.shape[0]}" for image in images)
        return Item(name, None, "cutout_shape", f"images of {shapes} px; send three of one size, from {MIN_SIDE} px on")
    return _item(name, _sampled(np.stack(images), width, work))


def _sampled(pixels: Pixels, width: float | None, work: _Work) -> Pixels:
    """Return a triplet with stars as wide as models know them."""
    return sampled(pixels[None], np.array([np.nan if width is None else width]), work.settings)[0][0]


def _alerts(data: bytes, work: _Work) -> list[Item]:
    found = list(itertools.islice(_timely(parse(data, "body", tables=False), work), work.limits.triplets + 1))
    work.check_count(len(found))
    if len(found) == 1 and isinstance(found[0], Unread):
        raise Refusal(422, str(found[0].reason), f"{printable(found[0].message)}; send {_HOW}")
    return [_alert(packet, work) for packet in found]


def _timely(packets: Iterator[Packet | Unread], work: _Work) -> Iterator[Packet | Unread]:
    for packet in packets:
        work.check_time()
        yield packet


def _alert(packet: Packet | Unread, work: _Work) -> Item:
    work.check_time()
    name = f"{packet.survey}:{packet.candid}" if packet.candid else packet.where
    if isinstance(packet, Unread):
        return Item(name, None, str(packet.reason), printable(packet.message))
    try:
        pixels = triplet(packet, SIZE, centred=True)
    except BadCutout as error:
        return Item(name, None, str(error.reason), printable(error.message))
    row = facts.row(packet)
    known = {key: row[key] for key in ("survey", "filter", "mjd_mid")} | {"image": monitor.image(row)}
    return _item(name, _sampled(pixels, row["fwhm_px"], work), known)


def _multipart(data: bytes, content_type: str, work: _Work) -> Body:
    """Return what the files of a form ask for, and the model that its field ``model`` names (RFC 7578)."""
    items: list[Item] = []
    model = ""
    for name, value in _fields(data, content_type):
        if name == "model":
            model = value.decode("utf-8", "replace")[:200]
        else:
            part = _part(value, work)
            items += part.items
            model = model or part.model
            work.check_count(len(items))
    work.check_count(len(items))
    return Body(items, model)


def _fields(data: bytes, content_type: str) -> Iterator[tuple[str, bytes]]:
    mark = _parameter(content_type, "boundary").encode("latin-1", "replace")
    if not 0 < len(mark) <= 70:
        raise Refusal(422, "multipart", "multipart without a boundary; let the client's library write the header")
    pieces = (b"\r\n" + data).split(b"\r\n--" + mark, _PARTS + 1)
    if len(pieces) > _PARTS + 1:
        raise Refusal(413, "too_many", f"more than {_PARTS} parts in a form; send fewer")
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise Refusal(422, "multipart", "a form that ends early, or never began; send it again")
    for piece in pieces[1:-1]:
        head, found, value = piece.partition(b"\r\n\r\n")
        if not found or len(head) > 4096:
            raise Refusal(422, "multipart", "a part of a form without a header; let a library write the form")
        lines = head.decode("utf-8", "replace").split("\r\n")
        disposition = next((line for line in lines if line.lower().startswith("content-disposition:")), "")
        yield _parameter(disposition, "name"), value


def _parameter(header: str, name: str) -> str:
    for part in header.split(";")[1:]:
        key, _, value = part.strip().partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"')
    return ""
