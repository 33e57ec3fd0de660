"""Batches hold every alert once, in order, as a triplet or with a reason, in bounded memory."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest

from pipeline.alerts.batches import batches
from tests.pipeline.alerts import made


def _alerts(number, **candidate):
    one = made.alert(**candidate)
    return [{**one, "candid": made.CANDID + index} for index in range(number)]


def test_every_alert_is_there_once_and_in_order(tmp_path):
    alerts = _alerts(7)
    alerts[3] = {**alerts[3], "cutoutTemplate": {"fileName": "x.jpg", "stampData": b"\xff\xd8\xff\xe0"}}
    (tmp_path / "a.avro").write_bytes(made.avro(alerts))
    (tmp_path / "b.json").write_bytes(b"{")
    (tmp_path / "c.parquet").write_bytes(made.rubin())
    found = list(batches(sorted(tmp_path.iterdir()), 4))
    assert [len(batch.rows) for batch in found] == [4, 4]
    assert [batch.triplets.shape for batch in found] == [(4, 3, 63, 63)] * 2
    ids = [row["candidate_id"] for batch in found for row in batch.rows]
    assert ids == [f"ztf:{made.CANDID + index}" for index in (0, 1, 2, 4, 5, 6)] + [
        "lsst:170112044581781525", "lsst:170112044581781526"]  # fmt: skip
    refused = [unread for batch in found for unread in batch.refused]
    assert [unread.reason for unread in refused] == ["cutout_jpeg", "packet_malformed"]
    assert refused[0].candid == str(made.CANDID + 3) and refused[0].where.endswith("a.avro#3")
    assert np.array_equal(found[0].triplets[0, 1], made.image(seed=1))
    rubin = found[1].rows[-1]
    assert rubin["cutout_shape"] == "38x38" and rubin["fwhm_px"] > 5 and rubin["candidate_x"] == 30.5
    assert np.isnan(found[1].triplets[-1, 0, 0, 0])


def test_centred_moves_the_candidate_of_a_cut_cutout_to_the_middle(tmp_path):
    path = tmp_path / "a.avro"
    path.write_bytes(made.avro([made.alert((43, 63), (11, 31), ypos=12.0)]))
    (plain,), (centred,) = batches([path], 4), batches([path], 4, centred=True)
    assert (plain.rows[0]["candidate_x"], plain.rows[0]["candidate_y"]) == (31, 11)
    assert (centred.rows[0]["candidate_x"], centred.rows[0]["candidate_y"]) == (31, 31)
    assert plain.triplets[0, 0, 11, 31] == centred.triplets[0, 0, 31, 31] > 400


def test_nothing_but_damage_is_a_batch_of_reasons(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"[5]\n" * 70)
    found = list(batches([path], 2))
    assert [len(batch.refused) for batch in found] == [32, 32, 6]
    assert found[0].triplets.shape == (0, 3, 63, 63)


def test_a_size_that_makes_no_sense_is_named():
    with pytest.raises(ValueError, match="batches of 0"):
        next(batches([], 0))


@pytest.mark.parametrize("write", [made.avro, made.parquet])
def test_a_long_file_is_read_in_bounded_memory(write, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(write(_alerts(400)))
    list(batches([path], 16))  # imports, compiled code
    tracemalloc.start()
    count = sum(len(batch.rows) for batch in batches([path], 16))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400
    assert peak < 8 << 20  # all triplets alone have 19 MB, the Avro file 11


def test_the_real_table(shared_data):
    rows, reasons = 0, Counter()
    for batch in batches([shared_data / "alerts" / "ztf_alerts_triplets.parquet"], 128):
        assert np.isfinite(batch.triplets).any((2, 3)).all()
        rows += len(batch.rows)
        reasons.update(unread.reason for unread in batch.refused)
    assert rows == 752
    assert reasons == {"cutout_jpeg": 4, "cutout_crc": 1}
