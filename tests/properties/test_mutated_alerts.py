"""Whatever the bytes of an alert are: a packet or an `Unread`, a triplet or `BadCutout`, soon and in little memory."""

import base64
import gzip
import json
import time

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.alerts.batches import gather
from pipeline.alerts.cutouts import MAX_SIDE, BadCutout, cut, decode
from pipeline.alerts.facts import row
from pipeline.alerts.packets import Packet, Unread, parse
from pipeline.alerts.refusals import Reason
from tests.pipeline.alerts import made
from tests.properties.mutate import EDITS, bomb

REASONS = {str(reason) for reason in Reason}
SECONDS = 5.0


def _document() -> bytes:
    alert = made.alert()
    stamps = {
        key: {"stampData": base64.b64encode(alert[key]["stampData"]).decode()}
        for key in alert
        if key.startswith("cutout")
    }
    return json.dumps([{**alert, **stamps}] * 2).encode()


SEEDS = {
    "avro": made.avro([made.alert()] * 2),
    "deflate": made.avro([made.alert()] * 2, "deflate"),
    "parquet": made.parquet([made.alert()] * 2),
    "rubin": made.rubin((30,)),
    "json": _document(),
}
#: Offsets near the begin or the end, where headers, schemas and footers are, as often as anywhere.
PLACES = st.one_of(st.floats(0, 1), st.floats(0, 0.02), st.floats(0.98, 1))
CHANGES = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "drop", "repeat", "write", "noise"]), PLACES, st.binary(max_size=12)),
    min_size=1,
    max_size=6,
)
QUIET = settings(
    deadline=None, max_examples=400, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


def _changed(data: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for kind, place, new in changes:
        at = int(place * max(0, len(data) - 1))
        first = new[0] if new else 0
        if kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ (1 << first % 8)]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "drop":
            data = data[:at] + data[at + 1 + first * 20 :]
        elif kind == "repeat":
            data = data[: at + first] + data[at:]
        elif kind == "write":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "noise":
            data = data[:at] + new * 50 + data[at + 50 * len(new) :]
    return data


def _known(error: BadCutout) -> None:
    assert error.reason in REASONS and error.message


def _check(data: bytes) -> None:
    start = time.perf_counter()
    found = list(parse(data, "x"))
    for packet in found:
        assert isinstance(packet, Packet | Unread)
        if isinstance(packet, Unread):
            assert packet.reason in REASONS and packet.message
            continue
        row(packet)
        try:
            pixels = cut(packet).pixels
        except BadCutout as error:
            _known(error)
        else:
            assert pixels.shape == (3, 63, 63) and np.isfinite(pixels).any((1, 2)).all()
    batches = list(gather(found, 3))
    assert sum(len(batch.rows) + len(batch.refused) for batch in batches) == len(found)
    assert time.perf_counter() - start < SECONDS


@QUIET
@given(st.sampled_from(sorted(SEEDS)), CHANGES)
def test_mutated_packets_are_packets_or_reasons(seed, changes):
    _check(_changed(SEEDS[seed], changes))


@QUIET
@given(st.binary(max_size=300), st.sampled_from([b"", b"Obj\x01", b"PAR1", b"{", b"[{", b"Obj\x01\x04\x16avro.schema"]))
@example(b"", b"")
def test_random_bytes_are_reasons(data, start):
    _check(start + data)


CUTOUT = made.packed(made.image())
FITS = gzip.decompress(CUTOUT)


def _decoded(data: bytes) -> None:
    start = time.perf_counter()
    try:
        image = decode(data)
    except BadCutout as error:
        _known(error)
    else:
        assert image.dtype == np.float32 and image.ndim == 2 and max(image.shape) <= MAX_SIDE
    assert time.perf_counter() - start < SECONDS


@QUIET
@given(CHANGES, CHANGES)
def test_mutated_cutouts_are_pixels_or_reasons(inside, outside):
    _decoded(_changed(CUTOUT, outside))
    _decoded(_changed(FITS, inside))
    _decoded(gzip.compress(_changed(FITS, inside), 1))


@QUIET
@given(
    st.sampled_from(["SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "BSCALE", "BZERO", "BLANK", "XTENSION", "END"]),
    st.one_of(
        st.sampled_from([value for values in EDITS.values() for value in values]),
        st.floats().map(repr),
        st.integers().map(str),
    ),
)
def test_edited_headers_are_pixels_or_reasons(key, value):
    card = f"{key:8}= {value:>20}"[:80].ljust(80).encode("ascii", "replace")
    at = next((at for at in range(0, 2880, 80) if FITS[at : at + 8].strip() == key.encode()), 5 * 80)
    _decoded(FITS[:at] + card + FITS[at + 80 :])
    _decoded(gzip.compress(FITS[:at] + card + FITS[at + 80 :], 1))


def test_bombs_are_refused_soon():
    for megabytes, head in ((500, b""), (2000, FITS[:2880]), (2000, FITS)):
        _decoded(bomb(megabytes, head))
