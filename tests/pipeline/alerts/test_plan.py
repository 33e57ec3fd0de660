"""Alert files are planned once, by their contents, whatever they are called and in whatever order they come."""

import json

import pytest

from pipeline.alerts.plan import Plan, find
from pipeline.errors import Corrupt, UsageError
from tests.pipeline.alerts import made


def files(folder, **contents):
    folder.mkdir(exist_ok=True)
    for name, data in contents.items():
        (folder / f"{name}.avro").write_bytes(data)
    return find([folder])


def planned(plan, found, size=1e9):
    return {path.name: sorted(one.parts) for path, one in plan.add(found, size).items()}


def test_files_are_found_in_folders_and_those_still_written_are_not(tmp_path):
    inner = tmp_path / "night" / "inner"
    inner.mkdir(parents=True)
    for name in ("b.avro", "a.parquet", ".hidden", "_later", "c.avro.tmp", "d.partial", "inner/e.json"):
        (tmp_path / "night" / name).write_bytes(b"x")
    found = find([tmp_path / "night", tmp_path / "night" / "b.avro"])
    assert [name for name, _ in found] == ["a.parquet", "b.avro", "inner/e.json"]
    with pytest.raises(UsageError, match="no such file"):
        find([tmp_path / "nothing"])


def test_a_plan_only_grows_and_knows_files_by_their_contents(workspace, tmp_path):
    night = files(tmp_path / "a", one=b"1", two=b"22", three=b"333")
    plan = Plan(workspace)
    assert planned(plan, night, 5) == {"one.avro": [0], "three.avro": [0], "two.avro": [1]}
    # Another job, files under other names, one of them changed.
    later = files(tmp_path / "b", eins=b"1", two=b"new", drei=b"333")
    assert planned(Plan(workspace), later, 5) == {"eins.avro": [0], "two.avro": [2], "drei.avro": [0]}
    assert [[file.name for file in part] for part in Plan(workspace).parts] == [
        ["one.avro", "three.avro"], ["two.avro"], ["two.avro"],
    ]  # fmt: skip
    assert planned(plan, later, 5)["two.avro"] == [2], "what others planned meanwhile is taken over"
    assert {file.path for file in plan.parts[0]} == {str(tmp_path / "b" / n) for n in ("eins.avro", "drei.avro")}
    assert all(file.is_unchanged() for file in plan.parts[0])
    (tmp_path / "b" / "eins.avro").write_bytes(b"2")
    assert not next(file for file in plan.parts[0] if file.name == "one.avro").is_unchanged()


def test_a_large_file_is_cut_into_slices(workspace, tmp_path):
    data = made.avro([made.alert() | {"candid": number} for number in range(5)])
    (tmp_path / "many.avro").write_bytes(data)
    plan = Plan(workspace)
    assert planned(plan, find([tmp_path / "many.avro"]), len(data) / 2.5) == {"many.avro": [0, 1, 2]}
    assert [(part[0].first, part[0].stop) for part in plan.parts] == [(0, 1), (1, 3), (3, -1)]
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + bytes(100))
    assert planned(plan, find([tmp_path / "broken.parquet"]), 10) == {"broken.parquet": [3]}


def test_a_damaged_plan_is_told(workspace, tmp_path):
    planned(Plan(workspace), files(tmp_path / "a", one=b"1"))
    workspace.write("alerts/plan/part-00001.json", json.dumps({"files": [{"name": "x"}]}).encode())
    with pytest.raises(Corrupt, match="part-00001"):
        Plan(workspace)
