"""A file that arrives is handed out once, when it is whole; one that never is, in the end too."""

import os
import time

import pytest

from pipeline.alerts.arrivals import Arrivals, is_whole
from tests.pipeline.alerts import made


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose one number is how many seconds `time.time` is ahead."""
    ahead, real = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    return ahead


def names(arrivals):
    return [arrival.name for arrival in arrivals.ready()]


def test_a_file_is_whole_when_it_ends_as_its_format_does(tmp_path):
    alert = made.alert()
    path = tmp_path / "file"
    path.write_bytes(made.avro([]))
    assert not is_whole(path), "a header alone may be a file just begun"
    for data in (made.avro([alert, alert]), made.parquet([alert]), b' [{"a": 1}, 2]\n'):
        path.write_bytes(data)
        assert is_whole(path)
        for cut in (0, 3, len(data) // 2, len(data.rstrip()) - 1):
            path.write_bytes(data[:cut])
            assert not is_whole(path)


def test_what_is_written_in_pieces_is_waited_for(tmp_path, clock):
    arrivals, data = Arrivals(tmp_path), made.avro([made.alert()])
    path = tmp_path / "new.avro"
    path.write_bytes(data[:1000])
    for _ in range(3):
        assert names(arrivals) == [] and arrivals.waiting == 1
        clock[0] += 2
    clock[0] = 0.0
    path.write_bytes(data)
    assert names(arrivals) == []
    assert names(arrivals) == ["new.avro"] and arrivals.waiting == 0
    assert names(arrivals) == [], "only once"
    path.write_bytes(made.avro([made.alert()] * 2))
    clock[0] += 2
    assert names(arrivals) == ["new.avro"], "but what has changed is new"


def test_what_is_renamed_into_place_is_taken_at_the_second_look_and_old_files_at_once(tmp_path, clock):
    (tmp_path / "old.json").write_bytes(b"{}")
    os.utime(tmp_path / "old.json", (1e9, 1e9))
    arrivals = Arrivals(tmp_path)
    clock[0] += 5
    assert names(arrivals) == ["old.json"]
    (tmp_path / ".new").write_bytes(b"[]")
    assert names(arrivals) == []
    (tmp_path / ".new").rename(tmp_path / "new.json")
    clock[0] -= 5
    assert names(arrivals) == []
    (arrival,) = arrivals.ready()
    assert arrival.name == "new.json" and abs(arrival.arrived - time.time()) < 5


def test_what_is_never_whole_is_hopeless_in_the_end(tmp_path, clock):
    arrivals = Arrivals(tmp_path, patience=60)
    (tmp_path / "half.avro").write_bytes(made.avro([made.alert()])[:-20])
    (tmp_path / "none.avro").write_bytes(b"")
    assert names(arrivals) == [] and arrivals.waiting == 2
    clock[0] += 61
    assert names(arrivals) == ["half.avro", "none.avro"] and names(arrivals) == []
    (tmp_path / "half.avro").unlink()
    assert names(arrivals) == [] and arrivals.waiting == 0
