"""What models of stamps learn from: folds by source, weights, what a worker sees, and a training by the one loop."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from catalogs.folder import Folder
from models import visual_lessons
from models.data import Segments
from models.lessons import Sources, describe, learn, make
from models.registry import Registry
from models.runtime import Predictor
from models.spec import get_spec
from models.visual_lessons import asked, gather, prove, read_index, split
from models.visual_standing import VisualStanding
from pipeline.errors import Leak, ModelNotFound, UsageError
from pipeline.settings import StampSetSettings, TrainSettings
from tests.models.toy_stamps import SURVEYS, ToySet, drawn

SPLIT = TrainSettings(split_by="source", test=0.25, validation=0.25)


@pytest.fixture
def stage(workspace: Folder) -> ToySet:
    made = ToySet(workspace, StampSetSettings(stacks=128))
    made.prepare()
    for key in made.keys():  # noqa: SIM118
        assert made.execute(key).rows == 64
    return made


@pytest.fixture
def toy_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visual_lessons, "StampSet", ToySet)


def test_a_source_is_in_one_fold_whatever_surveys_saw_it(workspace: Folder, stage: ToySet) -> None:
    index = read_index(workspace, stage)
    # Seen by two surveys each, as sources of an archive are.
    index["source_id"] = [f"star {number % 128}" for number in range(len(index))]
    done = split(index, SPLIT)
    assert done.groupby("source_id")["fold"].nunique().eq(1).all() and set(done["fold"]) == {
        "train", "validation", "test"
    }  # fmt: skip
    again = split(index.sample(frac=1, random_state=0), SPLIT).set_index("row")
    assert (
        again["fold"] == again["source_id"].map(done.drop_duplicates("source_id").set_index("source_id")["fold"])
    ).all()
    with pytest.raises(Leak, match="star 0"):
        prove(pd.DataFrame({"source_id": ["star 0", "star 0"], "fold": ["train", "test"]}))
    with pytest.raises(UsageError, match="not both"):
        split(index.assign(label=1), SPLIT)


def test_in_each_survey_both_labels_weigh_the_same(workspace: Folder, stage: ToySet) -> None:
    index = read_index(workspace, stage)
    assert (
        index["bin_code"].between(1, 8)[index["label"] == 1].all() and not index["bin_code"][index["label"] == 0].any()
    )
    examples, facts = gather(workspace, [stage], SPLIT)
    taught = examples[examples["fold"] == "train"]
    weights = taught.groupby(["survey", "label"])["weight"].sum().unstack()
    np.testing.assert_allclose(weights[0], weights[1])
    counts = facts["data"]["counts"]
    assert sum(one["stacks"] for one in counts.values()) == len(index) and set(counts["train"]["surveys"]) == set(
        SURVEYS
    )
    assert len(facts["data"]["partitions"]) == len(stage.keys())


def test_every_worker_sees_all_surveys_through_the_spec(workspace: Folder, stage: ToySet) -> None:
    examples, _ = gather(workspace, [stage], SPLIT)
    spec, rows = get_spec("visualbinary"), []
    for rank in range(2):
        share = Segments(workspace, examples, spec.inputs, ("label", "weight", *spec.targets), rank, 2,
                         prepare=spec.look, columns=spec.columns, seen=spec.shapes)  # fmt: skip
        rows.append(examples.iloc[share.positions])
        (batch, *_) = share.in_order(1000)
        assert [one.shape[1:] for one in batch.inputs] == spec.shapes
        first = examples.iloc[batch.position[5]]
        stack, index = drawn(first["survey"], 64, first["part"])
        wanted = spec.look(stack, index[list(spec.columns)].to_numpy(float))
        for found, one in zip(batch.inputs, wanted, strict=True):
            np.testing.assert_allclose(found[5], one[int(first["row"]) % 64], atol=1e-4)
    assert all(set(one["survey"]) == set(SURVEYS) for one in rows)
    assert len(set(rows[0].index) & set(rows[1].index)) == 0


def test_what_cannot_be_asked_is_refused(workspace: Folder, toy_sets: None) -> None:
    with pytest.raises(UsageError, match="split by source"):
        asked(workspace, "visualbinary", None, {"split_by": "star"})
    with pytest.raises(ModelNotFound, match="visualbinary-0"):
        asked(workspace, "visualbinary", None, {"start_from": "visualbinary-0"})
    with pytest.raises(UsageError, match="--labels"):
        Sources(labels="list.csv").stamps(workspace, None)
    with pytest.raises(UsageError, match="describes triplets"):
        Sources(described=[Path("set.toml")]).stamps(workspace, None)
    poster = asked(workspace, "poster", None, {})
    assert (poster.epochs, poster.validation, poster.test) == (40, 0.15, 0.15)


def test_what_a_model_to_begin_with_learnt_from_does_not_judge(workspace: Folder, stage: ToySet) -> None:
    _, facts = gather(workspace, [stage], SPLIT)
    card = facts | {"settings": SPLIT.model_dump(mode="json")}
    made = Registry(workspace).save("visualbinary", get_spec("visualbinary").network().state_dict(), card, {})
    begun = SPLIT.model_copy(update={"start_from": made})
    gather(workspace, [stage], begun)  # split alike
    with pytest.raises(UsageError, match="split otherwise"):
        gather(workspace, [stage], begun.model_copy(update={"seed": 7}))
    stage.description = "edited"  # its sources are called the same, and nearly are
    with pytest.raises(UsageError, match="split otherwise"):
        gather(workspace, [stage], begun.model_copy(update={"seed": 7}))
    stage.seed = 2  # another set
    gather(workspace, [stage], begun.model_copy(update={"seed": 7}))


def test_a_training_ends_in_a_model_that_stands_somewhere(
    workspace: Folder, ray_cluster: object, toy_sets: None, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = Sources(simulated=192)
    assert "192" in describe(workspace, "visualbinary", Sources(simulated=64), None, {}, 2)
    make(workspace, "visualbinary", sources, None, 2, False)
    assert "576 stacks" in capsys.readouterr().out
    assert "epochs" in describe(workspace, "visualbinary", sources, None, {}, 2)
    made = learn(workspace, "visualbinary", sources, None, {"epochs": 1, "batch_size": 32}, 2, gpu=False)
    registry = Registry(workspace)
    entry = registry.resolve("visualbinary@candidate")
    assert entry.id == made and "source_id" in entry.card["split"]["rule"]
    standing = VisualStanding.of(entry.card, "card")
    stack, index = drawn("SDSS", 8, 9)
    spec = get_spec("visualbinary")
    told = Predictor(spec, registry.load_weights(entry)).columns(stack, index[list(spec.columns)].to_numpy(float))
    p = standing.p_prior(standing.odds(standing.evidence({"survey": index["survey"], **told})))
    assert p.shape == (8,) and ((p > 0) & (p < 1)).all()
    assert {"completeness.png", "reliability.png", "loss.png"} <= {item.path for item in entry.folder.list()}
