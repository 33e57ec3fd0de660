"""The training set: what may go in, who is on which side, and how it is read."""

import numpy as np
import pandas as pd
import pytest

from models.data import Segments, committed_curves, label_segments, segment_index, side, split
from pipeline import manifest, stores
from pipeline.errors import Mismatch, Missing, Stale, UsageError
from pipeline.settings import TrainSettings

INPUTS = {"curve": (1, 4000), "periodogram": (1, 1000)}


def labelled(stars, sectors=(1,)):
    rows = [(star, sector, star % 2) for star in stars for sector in sectors]
    frame = pd.DataFrame(rows, columns=["tic_id", "sector", "label"])
    return frame.assign(where=[f"s{s:04d}" for s in frame["sector"]], part=0, row=range(len(frame)), klass="")


def test_no_star_is_on_two_sides_and_each_stays_when_others_come():
    settings = TrainSettings(seed=3)
    few = split(labelled(range(400), (1, 2)), settings)
    many = split(labelled(range(2000), (1, 2, 3)), settings)
    assert (few.groupby("tic_id")["fold"].nunique() == 1).all()
    sides = many.drop_duplicates("tic_id").set_index("tic_id")["fold"]
    assert (few["fold"] == sides.loc[few["tic_id"]].to_numpy()).all()
    shares = many["fold"].value_counts(normalize=True)
    assert shares[["test", "validation"]].to_numpy() == pytest.approx(0.15, abs=0.03)
    assert side(1, settings) == side(np.int64(1), settings)
    assert not split(labelled(range(400)), TrainSettings(seed=4))["fold"].equals(few["fold"][:400])


def test_held_out_sectors_take_their_stars_with_them():
    stars = [labelled(range(100 * s, 100 * s + 150), (s,)) for s in range(1, 8)]
    done = split(pd.concat(stars), TrainSettings(split_by="sector"))
    assert (done.groupby("tic_id")["fold"].nunique() == 1).all()
    assert (done.groupby("sector")["fold"].nunique() == 1).all()
    with pytest.raises(UsageError, match="three sectors"):
        split(labelled(range(40), (1, 2)), TrainSettings(split_by="sector"))


def test_a_fold_without_one_of_the_labels_is_refused():
    with pytest.raises(UsageError, match=r"no positive segment in the (train|validation|test) fold"):
        split(labelled(range(0, 400, 2)), TrainSettings())
    with pytest.raises(UsageError, match="validation 0"):
        split(labelled(range(400)), TrainSettings(validation=0.5, test=0.5))


def test_a_label_holds_everywhere_or_in_its_sector():
    labels = pd.DataFrame({"tic_id": [1, 2], "sector": [pd.NA, 2], "label": [1, 0], "klass": ["EA", "x"]})
    index = labelled([1, 2, 3], (1, 2))[["tic_id", "sector", "where", "row"]].assign(path="curves")
    found = label_segments(index, labels)
    assert list(zip(found["tic_id"], found["sector"], found["label"])) == [(1, 1, 1), (1, 2, 1), (2, 2, 0)]
    assert found["klass_code"].tolist() == [2, 2, 0] and found["morph"].isna().all()


def test_folds_test_every_star_once():
    stars = labelled(range(300))
    tested = [
        set(done.loc[done["fold"] == "test", "tic_id"])
        for done in (split(stars, TrainSettings(folds=3, fold=fold)) for fold in range(3))
    ]
    assert sorted(star for fold in tested for star in fold) == sorted(stars["tic_id"].unique())


def test_a_fold_is_one_of_the_folds():
    with pytest.raises(UsageError, match=r"\[train\] fold: .*2 is given without folds"):
        TrainSettings.load(None, "train", fold=2)
    with pytest.raises(UsageError, match="3 is none of 3 folds; they are 0 to 2"):
        TrainSettings.load(None, "train", fold=3, folds=3)
    with pytest.raises(UsageError, match="folds: Input should be greater than or equal to 2"):
        TrainSettings.load(None, "train", fold=1, folds=1)
    assert TrainSettings.load(None, "train", fold=2, folds=3).fold == 2


def test_partitions_missing_stale_or_of_another_recipe_are_named(curves):
    workspace = curves([[1, 2], [3, 4]])
    keys = committed_curves(workspace, None, "calnet")
    assert [str(key) for key in keys] == ["curves/s0001/part-00000", "curves/s0001/part-00001"]
    assert list(segment_index(workspace, list(keys))["tic_id"]) == [1, 1, 2, 2, 3, 3, 4, 4]
    with pytest.raises(Missing, match="sector 5"):
        committed_curves(workspace, [1, 5], "calnet")
    with pytest.raises(Mismatch, match="--recipe robust"):
        committed_curves(workspace, [1], "robust")
    path = manifest.path("ingest", "lightcurves/s0001/part-00001")
    workspace.write(path, workspace.read(path).replace(b"[3, 4]", b"[3, 5]"))
    with pytest.raises(Stale, match="curves/s0001/part-00001"):
        committed_curves(workspace, None, "calnet")
    workspace.remove(manifest.path("preprocess", "curves/s0001/part-00000"))
    with pytest.raises(Missing, match="curves/s0001/part-00000"):
        committed_curves(workspace, None, "calnet")


@pytest.mark.parametrize("memory", [1 << 30, 5 * 20_000])
def test_every_segment_is_read_once_an_epoch_by_one_worker(curves, memory):
    workspace = curves([[1, 2, 3], [4, 5], [6, 7, 8, 9]])
    keys = list(committed_curves(workspace, None, "calnet"))
    table = segment_index(workspace, keys).query("tic_id != 2 and tic_id != 7").reset_index(drop=True)
    table["label"] = table["tic_id"] % 2
    seen: list[int] = []
    for rank in range(2):
        mine = Segments(workspace, table, INPUTS, ("label",), rank, 2, memory)
        batches = list(mine.shuffled(3, np.random.default_rng(0)))
        assert len(batches) == mine.steps(3) == 3
        seen += [int(i) for batch in batches for i in batch.position]
        order = np.concatenate([batch.position for batch in mine.in_order(4)])
        assert (order == mine.positions).all()
        again = list(mine.shuffled(3, np.random.default_rng(0)))
        assert all((a.position == b.position).all() for a, b in zip(batches, again))
        for batch in batches:
            assert (batch.targets["label"] == table["label"].to_numpy()[batch.position]).all()
            row = table.iloc[batch.position[0]]
            rows = slice(row["row"], row["row"] + 1)
            stored = stores.read(workspace, "curves/s0001.zarr", ["curve"], rows)
            assert (batch.inputs[0][0] == stored["curve"]).all() and batch.inputs[1].shape[1:] == (1, 1000)
    assert sorted(seen) == list(range(len(table)))


def test_workers_take_as_many_steps_however_the_shares_fall(curves):
    workspace = curves([[1, 2], [3]])
    table = segment_index(workspace, list(committed_curves(workspace, None, "calnet"))).iloc[:5].assign(label=0)
    for rank in (0, 1):
        mine = Segments(workspace, table, INPUTS, ("label",), rank, 2)
        assert len(list(mine.shuffled(2, np.random.default_rng(1)))) == 2
