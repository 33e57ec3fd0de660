"""Packets come out of every container the same, by content; what cannot be read has a reason."""

import base64
import json
from collections import Counter

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.alerts import containers
from pipeline.alerts.packets import Packet, Unread, parse, read
from tests.pipeline.alerts import made
from tests.properties.hostile_bodies import avro_bomb


def _json(alert, binary=lambda data: base64.b64encode(data).decode()):
    stamps = {key: {"stampData": binary(alert[key]["stampData"])} for key in alert if key.startswith("cutout")}
    return {**alert, **stamps}


ALERT = made.alert()

FORMS = {
    "avro": lambda: made.avro([ALERT, ALERT]),
    "avro, deflate": lambda: made.avro([ALERT, ALERT], "deflate"),
    "parquet": lambda: made.parquet([ALERT, ALERT]),
    "json list": lambda: json.dumps([_json(ALERT)] * 2, indent=1).encode(),
    "json lines": lambda: (json.dumps(_json(ALERT)) + "\n").encode() * 2,
    "mongodb": lambda: json.dumps([_json(ALERT, lambda b: {"$binary": base64.b64encode(b).decode()})] * 2).encode(),
    "mongodb, new": lambda: json.dumps(
        [_json(ALERT, lambda b: {"$binary": {"base64": base64.b64encode(b).decode(), "subType": "00"}})] * 2
    ).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_container_gives_the_same_packets(form, tmp_path):
    data = FORMS[form]()
    path = tmp_path / "no-suffix"
    path.write_bytes(data)
    for packets, where in ((list(parse(data, "body")), "body"), (list(read(path)), str(path))):
        assert [packet.where for packet in packets] == [f"{where}#0", f"{where}#1"]
        for packet in packets:
            assert isinstance(packet, Packet)
            assert (packet.survey, packet.candid, packet.object_id) == ("ztf", str(made.CANDID), "ZTF24aajatja")
            assert packet.cutouts == tuple(ALERT[key]["stampData"] for key in ALERT if key.startswith("cutout"))
            assert packet.facts["drb"] == pytest.approx(0.99)
            assert packet.facts["fid"] == 2


def test_rubin_is_read_nested_and_without_its_histories():
    packets = list(parse(made.rubin(), "x"))
    assert [packet.survey for packet in packets] == ["lsst", "lsst"]
    assert packets[1].candid == "170112044581781526"
    assert packets[0].facts["psfFlux"] == 4000
    assert packets[0].facts["diaObject.diaObjectId"] == 5
    assert not any("prv" in key for key in packets[0].facts)


def test_one_damaged_alert_leaves_the_others():
    lines = [json.dumps(_json(ALERT)), '{"candid": ', "[1, 2]", json.dumps({"candid": 5, "objectId": "SN1987A"}), "",
             json.dumps({**_json(ALERT), "cutoutScience": {"stampData": "§"}}), json.dumps(_json(ALERT))]  # fmt: skip
    found = list(parse("\n".join(lines).encode(), "x"))
    reasons = [packet.reason if isinstance(packet, Unread) else "" for packet in found]
    assert reasons == ["", "packet_malformed", "packet_malformed", "packet_malformed", "packet_survey",
                       "packet_malformed", ""]  # fmt: skip
    assert found[5].candid == str(made.CANDID)
    assert [packet.where for packet in found] == [f"x#{number}" for number in range(7)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html>", "packet_format"),
        (b"", "packet_malformed"),
        (b"Obj\x01", "packet_truncated"),
        (b"PAR1" + bytes(100) + b"PAR1", "packet_malformed"),
        (b"[" * 100_000, "packet_malformed"),
        (b'{"candid": ' + b"9" * 5000 + b"}", "packet_malformed"),
        (b'{"objectId": "ZTF1"}', "packet_field"),
        (b'{"objectId": "ZTF1", "candid": 1}', "packet_field"),
        (b'{"objectId": "ZTF1", "candid": true, "cutoutScience": null}', "packet_field"),
        (b'{"objectId": "ZTF1", "candid": 1, "cutoutScience": 7}', "packet_malformed"),
    ],
)
def test_what_is_no_alert_has_a_reason(data, reason):
    (found,) = parse(data, "x")
    assert found.reason == reason


def test_a_file_that_cannot_be_read_has_a_reason(tmp_path):
    for path in (tmp_path, tmp_path / "none", "/dev/zero", "nul\0"):
        (found,) = read(path)
        assert found.reason == "packet_file"


def _container(schema: bytes, body: bytes, codec: bytes = b"null") -> bytes:
    def text(data: bytes) -> bytes:
        return number(len(data)) + data

    def number(value: int) -> bytes:
        value, out = value << 1, b""
        while value > 127:
            value, out = value >> 7, out + bytes([value & 127 | 128])
        return out + bytes([value])

    head = b"Obj\x01\x04" + text(b"avro.schema") + text(schema) + text(b"avro.codec") + text(codec) + b"\0" + b"m" * 16
    return head + number(1) + text(body) + b"m" * 16


def _record(kind: object) -> bytes:
    return json.dumps({"type": "record", "name": "r", "fields": [{"name": "a", "type": kind}]}).encode()


@pytest.mark.parametrize(
    ("schema", "body", "reason"),
    [
        (b"{", b"", "packet_schema"),
        (b'"long"', b"\x02", "packet_schema"),
        (_record({"type": "array", "items": "null"}), b"\xfe\xff\xff\xff\xff\xff\xff\x7f", "packet_schema"),
        (_record({"type": "array", "items": {"type": "fixed", "name": "f", "size": 0}}), b"\x02", "packet_schema"),
        (_record(["null", "r"]), b"\x02\x02\x00", "packet_schema"),  # within itself
        (_record("no such type"), b"", "packet_schema"),
        (_record({"type": "fixed", "name": "f", "size": 1 << 60}), b"", "packet_schema"),
        (_record("bytes"), b"\xfe\xff\xff\xff\xff\xff\xff\x7f", "packet_malformed"),
        (_record("bytes"), b"\x01", "packet_malformed"),
        (_record({"type": "array", "items": "long"}), b"\xfe\xff\xff\xff\x0f\x02", "packet_malformed"),
        (_record(["null", "long"]), b"\x08", "packet_malformed"),
        (_record("string"), b"\x02\xff", "packet_malformed"),
        (_record("long"), b"\x80" * 11, "packet_malformed"),
        (_record("long"), b"\x02", "packet_field"),
    ],
)
def test_hostile_avro_has_a_reason(schema, body, reason):
    (found,) = parse(_container(schema, body), "x")
    assert found.reason == reason


def test_a_codec_that_is_not_read_is_named():
    (found,) = parse(_container(_record("long"), b"\x02", b"snappy"), "x")
    assert found.reason == "packet_codec" and "deflate" in found.message


def test_an_avro_file_cut_anywhere_gives_its_first_alerts():
    data = made.avro([ALERT] * 4)
    whole = len(data)
    for at in range(5000, whole, 7001):
        found = list(parse(data[:at], "x"))
        assert [isinstance(packet, Packet) for packet in found[:-1]] == [True] * (len(found) - 1)
        assert len(found) <= 4
        assert isinstance(found[-1], Unread) or len(found) < 4  # cut between blocks, the rest is just not there


def test_parquet_without_cutouts_is_refused():
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"candid": [1], "objectId": ["ZTF1"]}), buffer)
    (found,) = parse(buffer.getvalue().to_pybytes(), "x")
    assert found.reason == "packet_schema"


def test_real_packets_are_read_as_fastavro_reads_them(shared_data):
    paths = sorted((shared_data / "alerts" / "avro").rglob("*.avro"))
    surveys = Counter()
    for path in paths:
        (packet,) = read(path)
        with open(path, "rb") as file:
            (record,) = fastavro.reader(file)
        for key, value in record["candidate"].items():
            assert packet.facts[key] == value or (value != value and packet.facts[key] != packet.facts[key])
        stamps = [record[key] for key in record if key.startswith("cutout")]
        stamps = [stamp["stampData"] if isinstance(stamp, dict) else stamp for stamp in stamps]
        assert sorted(packet.cutouts) == sorted(stamps)
        surveys[packet.survey] += 1
    assert surveys == {"ztf": 50, "pgir": 17, "wntr": 11}


def test_real_tables_and_documents_are_read(shared_data):
    rubin = [packet for path in sorted((shared_data / "alerts" / "rubin").iterdir()) for packet in read(path)]
    assert [packet.survey for packet in rubin] == ["lsst"] * 4
    for path in (shared_data / "braai").glob("*.json"):
        (packet,) = read(path)
        assert packet.candid == path.stem
    table = list(read(shared_data / "alerts" / "ztf_alerts_triplets.parquet"))
    assert len(table) == 757
    assert all(isinstance(packet, Packet) for packet in table)


def test_tables_of_strangers_can_be_refused():
    (found,) = parse(made.parquet([ALERT]), "x", tables=False)
    assert found.reason == "packet_format"
    assert len(list(parse(made.avro([ALERT]), "x", tables=False))) == 1


def test_a_column_that_unpacks_to_a_thousand_times_its_size_is_refused():
    buffer = pa.BufferOutputStream()
    rows = pa.table({"candid": [1] * 80, "objectId": ["ZTF1"] * 80, "cutoutScience": [bytes(1 << 20)] * 80})
    pq.write_table(rows, buffer, compression="zstd", use_dictionary=False)
    (found,) = parse(buffer.getvalue().to_pybytes(), "x")
    assert found.reason == "packet_too_large"


def test_a_block_cannot_hold_millions_of_empty_records():
    data = _container(json.dumps({"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}]}).encode(),
                      bytes(1000))  # fmt: skip
    at = data.index(b"m" * 16) + 16
    (found,) = parse(data[:at] + b"\xd0\x0f" + data[at + 1 :], "x")  # a thousand records of one byte
    assert found.reason == "packet_malformed"


def test_blocks_of_nothing_are_never_unpacked(monkeypatch):
    monkeypatch.setattr(containers, "_unpacked", lambda *block: pytest.fail("it is unpacked"))
    found = list(parse(avro_bomb(0, blocks=3, size=1 << 20), "x"))
    assert [one.reason for one in found] == ["packet_malformed"] and "without a record" in found[0].message


def test_what_a_body_unpacks_to_is_bounded_that_of_a_file_is_not(monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.alerts.packets._UNPACKED", 5 << 20)
    data = avro_bomb(1, blocks=9, size=1 << 20)
    found = list(parse(data, "x"))
    assert len(found) == 6 and found[-1].reason == "packet_too_large" and "send fewer" in found[-1].message
    (tmp_path / "a.avro").write_bytes(data)
    assert len(list(read(tmp_path / "a.avro"))) == 9
