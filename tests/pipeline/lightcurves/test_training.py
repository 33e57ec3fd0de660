"""Training sets: what segments are labelled, that real ones keep their labels, and that nothing depends on chance."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from catalogs import schema, write
from catalogs.folder import Folder
from models.data import training_index
from pipeline import manifest, stores
from pipeline.errors import Stale, UsageError
from pipeline.lightcurves.labelled import Labelled
from pipeline.lightcurves.training import CURVES, TrainingSet, index_path, store_path
from pipeline.settings import TrainingSetSettings
from pipeline.stage import outcome_path

LABELS = {1: "EB:EA", 2: "EB:KEBC", 3: "NONVAR", 4: "NONVAR?", 5: "GDOR", 6: "ELL", 7: "NONVAR"}


@pytest.fixture
def parquet(tmp_path):
    rng, time = np.random.default_rng(0), np.arange(0, 20, 1800 / 86400) + 1683.0
    rows = []
    for tic_id, label in LABELS.items():
        flux = 1000 + rng.normal(size=time.size)
        if tic_id == 1:
            flux[np.abs((time - 1684 + 1) % 2 - 1) < 0.1] *= 0.8
        quality = np.zeros(time.size, np.int32)
        row = {"tic_id": tic_id, "label": label, "sector": 14, "time": time, "flux": flux, "quality": quality}
        rows.append(row | {"prsa_morph": 0.2 if tic_id == 1 else None})
    path = tmp_path / "labelled.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def made(stage: TrainingSet) -> pd.DataFrame:
    stage.prepare()
    keys = stage.keys()
    for key in keys:
        outcome = stage.execute(key)
        assert outcome.counts["failed"] == 0
    return training_index(stage.workspace, keys)


def test_real_stars_keep_their_labels_and_those_in_doubt_have_no_weight(parquet, tmp_path):
    workspace = Folder(tmp_path / "workspace")
    stage = TrainingSet(workspace, TrainingSetSettings(), Labelled(parquet, doubted=[1, 7, 99], left_out=[5]))
    index = made(stage).drop_duplicates("tic_id").set_index("tic_id")
    assert index["klass"].to_dict() == {1: "EA", 2: "E", 3: "other", 4: "other", 6: "ELL", 7: "other"}
    assert index["label"].to_dict() == {1: 1, 2: 1, 3: 0, 4: 0, 6: 0, 7: 0}
    weight = index["weight"]
    assert weight[2] == weight[4] == weight[7] == 0 and weight[1] > weight[3] > 0
    assert index["morph"][1] == 0.2 and np.isnan(index["morph"][3])
    assert stage.describe()["left_out"] == [5] and stage.describe()["doubted"] == [7]
    stored = stores.read(workspace, store_path(stage.where), ["curve", "coverage", "folded", "facts"], slice(0, 6))
    assert all(np.isfinite(values).all() for values in stored.values()) and stored["curve"][0].min() < -0.5


def test_a_file_that_will_not_do_is_named(parquet, tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.parquet: no such file"):
        Labelled(tmp_path / "nowhere.parquet")
    pd.read_parquet(parquet).drop(columns="flux").to_parquet(tmp_path / "short.parquet")
    with pytest.raises(UsageError, match=r"short\.parquet: no column flux"):
        Labelled(tmp_path / "short.parquet")


def test_a_file_may_be_moved(parquet, tmp_path):
    workspace, settings = Folder(tmp_path / "workspace"), TrainingSetSettings()
    stage = TrainingSet(workspace, settings, Labelled(parquet))
    made(stage)
    (key,) = stage.keys()
    record = manifest.read(workspace, "training", key)
    elsewhere = tmp_path / "elsewhere" / "renamed.parquet"
    elsewhere.parent.mkdir()
    parquet.rename(elsewhere)
    moved = TrainingSet(workspace, settings, Labelled(elsewhere))
    assert moved.keys() == [key] and moved.execute(key).skipped
    # as it was written when a file was called by its path
    older = replace(record, upstream={str(parquet): moved.labelled.sha256})
    moved.compare(key, older)
    with pytest.raises(Stale):
        moved.compare(key, replace(record, upstream={"labelled": "0" * 64}))


def test_a_star_that_cannot_be_prepared_spoils_no_other(parquet, tmp_path):
    stars = {star["tic_id"]: star for star in pd.read_parquet(parquet).to_dict("records")}
    stars[3]["time"] = np.where(np.arange(960) == 5, np.nan, stars[3]["time"])
    stars[4] |= {name: stars[4][name][:1] for name in ("time", "flux", "quality")}
    stars[5]["flux"] = stars[5]["flux"][:-1]
    pd.DataFrame(stars.values()).to_parquet(parquet)
    labelled = Labelled(parquet)
    assert labelled.star(2).cadence_s == pytest.approx(1800) and np.isnan(labelled.star(3).cadence_s)
    stage = TrainingSet(Folder(tmp_path / "workspace"), TrainingSetSettings(), labelled)
    stage.prepare()
    (key,) = stage.keys()
    assert stage.execute(key).counts == {"done": 5, "nothing": 1, "rejected": 0, "failed": 1}
    assert sorted(training_index(stage.workspace, [key])["tic_id"].unique()) == [1, 2, 3, 6, 7]
    outcomes = write.read(stage.workspace, outcome_path("training", key)).to_pylist()
    assert outcomes[4]["state"] == "failed" and "ValueError" in outcomes[4]["message"]
    assert labelled.negatives == [3, 5, 6, 7] and labelled.tic_ids == [*LABELS]


def test_simulated_segments_are_labelled_by_what_they_show(tmp_path):
    stages = [TrainingSet(Folder(tmp_path / name), TrainingSetSettings(stars=1, seed=3)) for name in ("a", "b")]
    keys = stages[0].keys()
    assert [str(key) for key in keys] == ["training/simulated-3x1-robust/part-00000"]
    index = made(stages[0])
    assert index["tic_id"].nunique() > 0.95 * CURVES
    assert set(index["klass"]) == {"other", "ELL", "EA", "EB", "EW"}
    eclipsing = index[index["label"] == 1]
    assert eclipsing["morph"].between(0, 1).all() and eclipsing["kind"].isin(["EA", "EB", "EW"]).all()
    assert (index.loc[index["kind"].isin(["QUIET", "DSCT", "ROT", "PLANET"]), "klass"] == "other").all()
    # an eclipsing binary whose eclipses fall outside the segment shows nothing of them
    assert (index.loc[index["kind"] == "EA", "klass"] != "EA").any()
    made(stages[1])
    (key,) = stages[0].keys()
    tables = [write.read(stage.workspace, index_path(key), schema.TRAINING) for stage in stages]
    assert tables[0].equals(tables[1])
    shard = f"{store_path(key.where)}/facts/c/0/0"
    assert stages[0].workspace.read(shard) == stages[1].workspace.read(shard)
