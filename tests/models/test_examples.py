"""What a real/bogus network learns from: what reviewers said, where files describe it, from which model on."""

import numpy as np
import pandas as pd
import pytest

from catalogs import review
from models import examples, lessons
from models.examinees import of_description, of_stores, published, scored
from models.examples import asked, gather
from models.lessons import Sources, describe
from models.registry import Registry
from models.sightings import met
from models.splits import rule
from pipeline.alerts.plan import Plan, find
from pipeline.errors import Missing, UsageError
from pipeline.images import setfile
from pipeline.images.setfile import Described
from pipeline.settings import TrainSettings
from tests.models import toy_candidates, toy_realbogus
from tests.pipeline.alerts import made

PRODUCT = "transient_candidates"


def said(workspace, item, label, kind=None, who="ada"):
    review.append(workspace, PRODUCT, [{"item_id": item, "label": label, "type": kind, "who": who}])


@pytest.fixture
def scored_alerts(workspace, tmp_path):
    """Return a workspace in which eight alerts of different fields are planned for scoring."""
    folder = tmp_path / "night"
    folder.mkdir()
    alerts = [made.alert(ra=10.0 + 3 * n) | {"candid": n, "objectId": f"ZTF24{n}"} for n in range(8)]
    (folder / "a.avro").write_bytes(made.avro(alerts))
    Plan(workspace).add(find([folder]), 1e6)
    return workspace


def written(path, sources, more=""):
    path.write_text('[set]\nname = "mine"\n' + "".join(f"[[source]]\n{one}\n" for one in sources) + more)
    return path


def executed(described):
    for stage in described.stages:
        stage.prepare()
        keys = stage.keys()
        for key in keys:
            assert stage.execute(key).counts["failed"] == 0


def test_the_next_training_learns_what_reviewers_say_now(scored_alerts, tmp_path):
    workspace = scored_alerts
    said(workspace, "ztf:0", "real", "variable")
    said(workspace, "ztf:1", "bogus", "dipole")
    said(workspace, "ztf:2", "bogus", "strange")
    said(workspace, "ztf:3", "real")
    review.undo(workspace, PRODUCT, "ada")
    for who, label in (("ada", "real"), ("bob", "bogus")):
        said(workspace, "ztf:4", label, who=who)
    path = written(tmp_path / "set.toml", ['kind = "labels"\nweight = 20.0'])
    found = setfile.load(path).gather(workspace)
    executed(found)
    index = examples.read_index(workspace, [found]).set_index("candidate_id")
    assert dict(index["label"]) == {"ztf:0": 1, "ztf:1": 0, "ztf:2": 0}
    assert dict(index["kind"]) == {"ztf:0": "variable", "ztf:1": "dipole", "ztf:2": ""}
    assert (index["weight"] == 20).all() and index.loc["ztf:0", "type_code"] != index.loc["ztf:1", "type_code"]
    (stage,) = found.stages
    table, pixels, outcomes = stage.source.part(0, {"a.avro#0"})
    assert len(table) == len(pixels) == 2 and sorted(one.input for one in outcomes) == ["a.avro#1", "a.avro#2"]
    # one more is said, and one is taken back: another set
    said(workspace, "ztf:5", "bogus", who="bob")
    said(workspace, "ztf:0", "skip")
    review.undo(workspace, PRODUCT, "ada")
    again = setfile.load(path).gather(workspace)
    assert again.checksum != found.checksum
    executed(again)
    assert "ztf:5" in set(examples.read_index(workspace, [again])["candidate_id"])


def test_a_set_without_any_label_says_what_to_do(scored_alerts, tmp_path):
    path = written(tmp_path / "set.toml", ['kind = "labels"'])
    with pytest.raises(UsageError, match="review page"):
        setfile.load(path).gather(scored_alerts)


@pytest.fixture
def toy(workspace, tmp_path):
    """Return a workspace with a set of 40 simulated fields, and a description of it that cuts filter i."""
    stage = toy_candidates.made(workspace)
    path = written(tmp_path / "set.toml", [], '[cuts]\nfilters = ["g", "r"]\n[split]\nby = "filter:r"\ntest = 0.4\n')
    path.write_text(path.read_text() + '[[source]]\nkind = "simulated"\n')
    file = setfile.load(path)
    return workspace, Described((stage,), file, (2.0,)), stage


def test_a_description_says_what_is_learnt_and_how_it_is_split(toy):
    workspace, described, stage = toy
    settings = asked(workspace, "realbogus", [described], None, {"test": 0.3, "seed": None})
    assert (settings.split_by, settings.test, settings.validation, settings.epochs) == ("filter:r", 0.3, 0.15, 16)
    chosen, facts = gather(workspace, "realbogus", [described], settings.model_copy(update={"validation": 0.3}))
    assert set(chosen["filter"]) == {"g", "r"} and set(chosen.loc[chosen["fold"] == "test", "filter"]) == {"r"}
    (told,) = facts["data"]["sets"]
    assert told["file"] == "set.toml" and len(told["sha256"]) == 64 and told["cuts"] == {"filters": ["g", "r"]}
    assert told["sources"] == [stage.describe() | {"weight": 2.0}]
    plain = Described((stage,))
    assert gather(workspace, "realbogus", [plain], TrainSettings(split_by="field"))[1]["data"]["sets"] == [
        stage.describe()
    ]
    elsewhere = described.file.path.with_name("other.toml")
    elsewhere.write_text(described.file.path.read_text().replace("filter:r", "field"))
    other = Described((stage,), setfile.load(elsewhere), (1.0,))
    with pytest.raises(UsageError, match="split differently"):
        asked(workspace, "realbogus", [described, other], None, {})


def test_what_a_model_began_with_counts_as_met(toy):
    workspace, _, stage = toy
    registry, settings = Registry(workspace), TrainSettings(split_by="field", test=0.3, validation=0.2)
    first = toy_realbogus.save(workspace)
    data = {"data": {"sets": [stage.describe()]}}
    registry.annotate(registry.resolve("realbogus"), data | {"settings": settings.model_dump(mode="json")})
    other = asked(workspace, "realbogus", [Described((stage,))], None, {"start_from": "production", "seed": 5,
                                                                       "test": 0.3, "validation": 0.3})  # fmt: skip
    assert other.start_from == first
    whole = of_stores(workspace, [stage.where]).index
    before, note = met(workspace, registry.resolve("realbogus"), whole)
    assert not note and set(before) == {"train", "validation", "test"}
    chosen, _ = gather(workspace, "realbogus", [Described((stage,))], other)
    taught = set(zip(whole.loc[before == "train", "path"], whole.loc[before == "train", "row"], strict=True))
    held_out = chosen[chosen["fold"] != "train"]
    fold = before.set_axis(pd.MultiIndex.from_frame(whole[["path", "row"]]))
    judged = pd.MultiIndex.from_frame(chosen.loc[chosen["fold"] == "test", ["path", "row"]])
    assert len(judged) and (fold[judged] == "test").all()
    assert len(held_out) and not taught & set(zip(held_out["path"], held_out["row"], strict=True))
    # nor may it be judged on what the one before it learnt from
    second = toy_realbogus.save(workspace, seed=1, alias="candidate")
    registry.annotate(registry.resolve("realbogus@candidate"), data | {"settings": other.model_dump(mode="json")})
    assert second != first
    after, _ = met(workspace, registry.resolve("realbogus@candidate"), whole)
    assert (after[before == "train"] == "train").all() and (after == "test").sum() < (before == "test").sum()


def test_a_description_is_judged_on_without_what_it_cuts(toy, monkeypatch):
    workspace, described, _ = toy
    monkeypatch.setattr(setfile.SetFile, "gather", lambda file, workspace: described)
    found = of_description(workspace, described.file.path)
    assert set(found.index["filter"]) == {"g", "r"} and found.read(found.index.iloc[:3]).shape[0] == 3
    workspace.remove_tree("manifest")
    with pytest.raises(Missing, match=r"--set .*set\.toml --only-sets"):
        of_description(workspace, described.file.path)


def test_published_networks_see_what_fades_as_it_was_taught(workspace, monkeypatch):
    seen = {}
    monkeypatch.setattr("models.examinees.load_published", lambda path, norm: None)
    stage = toy_candidates.made(workspace, fields=8)
    candidates = of_stores(workspace, [stage.where])
    rows = candidates.index.iloc[:4].assign(snr=[-9.0, 9.0, -9.0, np.nan])
    rows["survey"] = ["simulated-A", "simulated-A", "ztf", "simulated-A"]

    def look(name):
        def score(pixels):
            seen[name] = pixels
            return {"logit": np.zeros(len(pixels))}

        return score

    braai = published("d6_m7.h5")
    ours = type(braai)("ours", braai.standing, look("ours"))
    theirs = type(braai)("theirs", braai.standing, look("theirs"), flipped=braai.flipped)
    scored(candidates, rows, [ours, theirs])
    pixels = candidates.read(rows)
    assert np.array_equal(seen["ours"], pixels)
    sign = np.array([-1, 1, 1, 1])[:, None, None]
    assert np.array_equal(seen["theirs"][:, 2], pixels[:, 2] * sign)
    assert np.array_equal(seen["theirs"][:, :2], pixels[:, :2])


def test_options_that_do_not_go_together(workspace, tmp_path):
    path = written(tmp_path / "set.toml", ['kind = "simulated"\nfields = 8'])
    for sources, message in (
        (Sources(described=[path], simulated=8), "put .* into the file"),
        (Sources(described=[path], labels="x"), "--labels: for models of light curves"),
    ):
        with pytest.raises(UsageError, match=message):
            sources.triplets(workspace, None)
    with pytest.raises(UsageError, match="describes triplets"):
        Sources(described=[path]).sets(workspace, "eb", None)
    with pytest.raises(UsageError, match="for models of triplets"):
        describe(workspace, "eb", Sources(simulated=256), None, {"start_from": "production"}, 1)
    with pytest.raises(UsageError, match="none of triplets"):
        lessons.make(workspace, "eb", Sources(), None, 1, False)
    text = describe(workspace, "realbogus", Sources(described=[path]), None, {"epochs": 3}, 1)
    assert "8 fields, training/simulated-11.zarr" in text and "3 epochs" in text


def test_the_description_that_is_shipped_reads(workspace):
    path = setfile.__file__.replace("setfile.py", "reviewed.toml")
    with pytest.raises(UsageError, match="label some on the review page"):
        setfile.load(path).gather(workspace)
    assert setfile.load(path).split.options() == {}


def test_cards_tell_how_triplets_are_split():
    assert "UNIT" in rule(TrainSettings(split_by="field")) and "latest" in rule(TrainSettings(split_by="temporal"))
    assert "kind held out" in rule(TrainSettings(split_by="kind:hot"))
    assert "what is held out of survey" in rule(TrainSettings(split_by="survey:ztf"))
    assert pd.Series([rule(TrainSettings(split_by=by)) for by in ("field", "kind", "ccd")]).is_unique


def test_a_model_trained_again_says_on_what(toy, monkeypatch):
    workspace, _, stage = toy
    toy_realbogus.save(workspace)
    settings = TrainSettings(split_by="field", test=0.3, validation=0.2)
    registry, taken = Registry(workspace), []
    facts = {"settings": settings.model_dump(mode="json"), "data": {"sets": [{"store": "training/other.zarr"}]}}
    registry.annotate(registry.resolve("realbogus"), facts)
    monkeypatch.setattr(examples, "fit", lambda *given: taken.append(given) or "realbogus-1")
    whole = of_stores(workspace, [stage.where]).index
    rest = whole[whole["field"] != whole["field"].iloc[0]]
    examples.retrained(workspace, registry.resolve("realbogus"), rest, "sn", 1, 1, False)
    told = taken[0][3]["data"]
    assert told["sets"] == [{"store": stage.describe()["store"], "triplets": len(rest)}]
    assert told["left_out_object"] == "sn" and set(told["counts"]) == {"train", "validation", "test"}
    assert (
        told["partitions"] == gather(workspace, "realbogus", [Described((stage,))], settings)[1]["data"]["partitions"]
    )
