"""The set of simulated stacks as a stage."""

import numpy as np
import pytest

from catalogs.folder import Folder
from pipeline import stores
from pipeline.settings import StampSetSettings
from pipeline.stamps import training
from pipeline.stamps.training import StampSet, index_path, read_index, store_path


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(training, "STACKS", 8)
    training._template.cache_clear()
    yield
    training._template.cache_clear()


def test_partition_holds_one_survey_and_is_made_once(few, tmp_path):
    stage = StampSet(Folder(tmp_path), StampSetSettings(stacks=8))
    stage.prepare()
    keys = {stage.survey(key): key for key in sorted(stage.keys())}
    for survey, side in (("DECaLS", 64), ("JWST", 128)):
        outcome = stage.execute(keys[survey])
        assert outcome.rows == 8 and outcome.counts["done"] == 8
        index = read_index(stage.workspace, keys[survey])
        assert set(index["survey"]) == {survey} and index["source_id"].is_unique
        rows = slice(int(index["row"].min()), int(index["row"].max()) + 1)
        stacks = stores.read(stage.workspace, store_path(keys[survey].where), ["stack"], rows)["stack"]
        assert stacks.shape == (8, side, side) and np.isfinite(stacks).mean() > 0.5
        assert stage.execute(keys[survey]).skipped
    path = index_path(keys["DECaLS"])
    first = stage.workspace.read(path)
    other = StampSet(Folder(tmp_path / "again"), StampSetSettings(stacks=8))
    other.prepare()
    other.execute(keys["DECaLS"])
    assert other.workspace.read(path) == first


def test_larger_set_has_the_partitions_of_a_smaller_one(few, tmp_path):
    small, large = (StampSet(Folder(tmp_path), StampSetSettings(stacks=n)) for n in (8, 24))
    ours, theirs = small.keys(), large.keys()
    assert {(key, small.survey(key)) for key in ours} < {(key, large.survey(key)) for key in theirs}
    assert len(theirs) == 3 * len(ours)
    assert sum(large.describe()["stacks"].values()) == 8 * len(theirs)


def test_seed_makes_another_set(tmp_path):
    one, other = (StampSet(Folder(tmp_path), StampSetSettings(seed=seed)) for seed in (None, 5))
    assert one.where != other.where and other.where.endswith("-5")
    assert not set(one.keys()) & set(other.keys())
