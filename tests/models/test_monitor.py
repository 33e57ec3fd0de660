"""What a batch adds to the log adds up, and is replaced by itself."""

import json
import os
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from catalogs.folder import Folder
from catalogs.monitor import MONITOR, STATISTICS, histogram_of
from catalogs.table import Table
from models import monitor
from tests.models.toy_nights import SURVEYS, candidates

MODEL = "realbogus-00000000"


def test_a_batch_is_a_row_a_survey_filter_and_season(workspace: Folder) -> None:
    batch = candidates(SURVEYS, 8, seed=1, each=6)
    batch.loc[0, ["survey", "filter", "mjd_mid"]] = [None, None, np.nan]
    rows = monitor.summary(MODEL, "where/part-00001", batch, {"cutout_jpeg": 4, "cutout_crc": 1})
    paths = monitor.log(workspace, rows)
    (path,) = paths
    assert path.startswith(f"monitor/transient_candidates/model={MODEL}/where_part-00001-")
    found = monitor.Log(workspace, MODEL).rows()
    assert found["n"].sum() == 48 and found["n_real"].sum() + found["n_bogus"].sum() == 48
    assert len(found) == len(found[["survey", "filter", "season"]].drop_duplicates())
    for one in STATISTICS:
        finite = int(batch[one.name].notna().sum())
        assert np.sum(np.stack(found[histogram_of(one.name)].to_list())) == finite
    unknown = found[found["survey"] == ""].iloc[0]
    assert unknown["n"] == 1 and unknown["season"] == "" and np.isnan(unknown["mjd_min"])
    assert json.loads(unknown["refused"]) == {"cutout_crc": 1, "cutout_jpeg": 4}
    assert (found.loc[found["survey"] != "", "refused"] == "{}").all()


def test_batches_of_similar_names_are_two(workspace: Folder) -> None:
    names = ["a/b", "a_b", "a b", "a/b/", "\u00e9/b"]
    for name in names:
        monitor.log(workspace, monitor.summary(MODEL, name, candidates(SURVEYS, 1, seed=3, each=1)))
    assert len({monitor.path(MODEL, name) for name in names}) == len(names)
    assert set(monitor.Log(workspace, MODEL).rows()["batch"]) == set(names)


def test_scored_again_it_replaces_itself_with_the_same_bytes(workspace: Folder) -> None:
    batch = candidates(SURVEYS, 4, seed=2, each=5)
    paths = monitor.log(workspace, monitor.summary(MODEL, "a", batch))
    before = workspace.read(paths[0])
    shuffled = batch.sample(frac=1, random_state=1)
    assert monitor.log(workspace, monitor.summary(MODEL, "a", shuffled)) == paths
    assert workspace.read(paths[0]) == before
    monitor.log(workspace, monitor.summary(MODEL, "b", batch))
    assert monitor.Log(workspace, MODEL).rows()["n"].sum() == 2 * len(batch)


def test_parts_of_a_batch_add_up_to_it() -> None:
    batch = candidates(SURVEYS, 8, seed=5, each=6)
    parts = [batch[batch["image"].isin([f"5-{number}" for number in some])] for some in (range(5), range(5, 8))]
    one, other = ({"cutout_jpeg": 4}, {"cutout_crc": 1, "cutout_jpeg": 2})
    made = [monitor.summary(MODEL, "a", part, refused) for part, refused in zip(parts, (one, other), strict=True)]
    whole = monitor.summary(MODEL, "a", batch, {"cutout_jpeg": 6, "cutout_crc": 1})
    found, expected = (MONITOR.conform(rows).to_pylist() for rows in (monitor.added(made), whole))
    for row, right in zip(found, expected, strict=True):
        assert row.pop("clump") == pytest.approx(right.pop("clump")) and row == right
    assert monitor.added([]).num_rows == 0


def test_images_are_pairs_or_places_and_times() -> None:
    assert monitor.image({"pair_id": "a_b", "mjd_mid": 60000.0, "survey": "x"}) == "a_b"
    assert monitor.image({"mjd_mid": 60000.25, "survey": "ztf", "ccd": "7"}) == "ztf:60000.250000:7"
    assert monitor.image({"mjd_mid": None, "survey": "ztf"}) == ""


def test_what_only_was_refused_is_logged_too(workspace: Folder) -> None:
    monitor.log(workspace, monitor.summary(MODEL, "a", pd.DataFrame(), {"cutout_jpeg": 2}))
    found = monitor.Log(workspace, MODEL).rows()
    assert found["n"].tolist() == [0] and found["refused"].tolist() == ['{"cutout_jpeg": 2}']
    assert monitor.summary(MODEL, "a", pd.DataFrame()).num_rows == 0
    assert monitor.log(workspace, MONITOR.empty()) == []
    assert monitor.Log(workspace, "realbogus-11111111").rows().empty


def test_clumps_are_of_images() -> None:
    batch = pd.DataFrame({"image": ["a", "a", "a", "b", "", ""], "survey": "s", "tier": "real"})
    row = monitor.summary(MODEL, "a", batch).to_pylist()[0]
    assert row["n_images"] == 4 and row["clump"] == pytest.approx((9 + 1 + 1 + 1) / 6) and row["n_real"] == 6


def test_seasons_are_quarters() -> None:
    found = monitor.season(pd.Series([60310.0, 60401.5, 60309.99, np.nan, None]))
    assert found.tolist() == ["2024-Q1", "2024-Q2", "2023-Q4", "", ""]


def test_since_leaves_out_what_is_older(workspace: Folder) -> None:
    batch = candidates(SURVEYS[:1], 2, seed=3, each=4)
    monitor.log(workspace, monitor.summary(MODEL, "old", batch.assign(mjd_mid=59000.0)))
    monitor.log(workspace, monitor.summary(MODEL, "new", batch.assign(mjd_mid=60000.0)))
    assert set(monitor.Log(workspace, MODEL).rows(since=59999.5)["batch"]) == {"new"}


def test_only_files_that_have_changed_are_read_again(workspace: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = candidates(SURVEYS[:1], 2, seed=3, each=4)
    for number, name in enumerate("abc"):
        monitor.log(workspace, monitor.summary(MODEL, name, batch.assign(mjd_mid=60000.0 + number)))
        os.utime(workspace.local(monitor.path(MODEL, name)), (6e8, 6e8))
    read, opened = monitor.write.read, list[str]()

    def counted(folder: Folder, path: str, schema: Table) -> pa.Table:
        opened.append(path)
        return read(folder, path, schema)

    log = monitor.Log(workspace, MODEL)
    monkeypatch.setattr(monitor.write, "read", counted)
    assert set(log.rows()["batch"]) == set("abc") and len(opened) == 3
    pd.testing.assert_frame_equal(log.rows(), monitor.Log(workspace, MODEL).rows())
    assert set(log.rows(60001.5)["batch"]) == {"c"}
    more = pd.concat([batch, batch.assign(image="more")])
    monitor.log(workspace, monitor.summary(MODEL, "b", more.assign(mjd_mid=60001.0)))  # an hour that goes on
    monitor.log(workspace, monitor.summary(MODEL, "d", batch))
    assert log.rows().groupby("batch")["n"].sum().to_dict() == {"a": 8, "b": 16, "c": 8, "d": 8}
    assert opened[-2:] == [monitor.path(MODEL, "b"), monitor.path(MODEL, "d")]
    assert len(opened) == 3 + 3 + 2  # of which three are those of the second log
    workspace.remove(monitor.path(MODEL, "a"))
    assert set(log.rows()["batch"]) == set("bcd")


def test_a_file_that_looks_as_before_is_read_again_while_it_is_young(
    workspace: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_SETTLED_S", 3600.0)  # whatever else the machine has to do
    batch, path = candidates(SURVEYS[:1], 2, seed=3, each=4), monitor.path(MODEL, "a")
    log, sizes, now = monitor.Log(workspace, MODEL), set[int](), time.time()
    for mjd in (60000.25, 60000.75):
        monitor.log(workspace, monitor.summary(MODEL, "a", batch.assign(mjd_mid=mjd)))
        os.utime(workspace.local(path), (now, now))  # a clock that ticks slowly
        sizes.add(workspace.size(path))
        assert set(log.rows()["mjd_max"]) == {mjd}
    assert len(sizes) == 1
