"""Models side by side on candidates that none of them learnt from, and one object held out."""

import importlib
import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from catalogs import review
from catalogs.folder import Folder
from models.examination import examine
from models.examinees import examinee, of_arrays, of_stores
from models.inquiry import Inquiry, inquire, models_of
from models.registry import Registry
from models.retrospective import retrospect, without
from models.scorer import Scorer
from models.sightings import seen
from pipeline.errors import Missing, UsageError
from pipeline.settings import TrainSettings
from tests.models import toy_candidates, toy_realbogus
from tests.models.toy_candidates import ROWS
from tests.pipeline.alerts import made as alert_files

SPLIT = TrainSettings(split_by="field", test=0.3, validation=0.2)


@pytest.fixture
def trained(workspace):
    """Return a workspace with a set and a model that learnt from it, and the set's name."""
    stage = toy_candidates.made(workspace)
    toy_realbogus.save(workspace)
    registry = Registry(workspace)
    facts = {"data": {"sets": [stage.describe()]}, "settings": SPLIT.model_dump(mode="json")}
    registry.annotate(registry.resolve("realbogus"), facts)
    return workspace, stage.where


def loaded(workspace):
    return examinee(Scorer.load(workspace))


def test_only_what_was_held_out_judges(trained):
    workspace, name = trained
    candidates, model = of_stores(workspace, [name]), loaded(workspace)
    fold, note = seen(workspace, model, candidates.index)
    assert set(fold) == {"train", "validation", "test"} and not note
    assert (fold.groupby(candidates.index["field"]).nunique() == 1).all()
    done = examine(workspace, candidates, [model])
    table = done.tables[model.name]
    assert set(table["field"]) == set(candidates.index.loc[fold == "test", "field"])
    pixels = candidates.read(candidates.index[candidates.index["field"] == table["field"].iloc[0]])
    assert table["logit"][:ROWS].to_numpy() == pytest.approx(model.score(pixels)["logit"], abs=1e-4)
    told = done.told[model.name]
    assert told["n"] == len(table) and told["threshold"] == model.standing.threshold
    again = examine(workspace, candidates, [model], missed=0.2)
    assert again.told[model.name]["threshold"] != told["threshold"]
    assert "validation fold" in again.told[model.name]["rule"]
    with pytest.raises(UsageError, match="no validation fold"):
        examine(workspace, candidates, [model], fold="all", missed=0.2)


def test_what_shares_a_field_with_training_is_no_test(trained):
    workspace, name = trained
    model, index = loaded(workspace), of_stores(workspace, [name]).index
    fold, _ = seen(workspace, model, index)
    sides = ("train", "validation", "test")
    fields = [index.loc[fold == side, "field"].iloc[0] for side in sides]
    other = pd.DataFrame(
        {"path": "x", "row": range(4), "field": [*fields, "new"], "object_id": "", "survey": ""}, index=[7, 3, 5, 9]
    )
    assert list(seen(workspace, model, other)[0]) == [*sides, "test"]
    # what joins two of their fields is as bad as the worse one
    bridge = other.assign(field=[fields[1], fields[2], "new", "alone"], object_id=["a", "a", "b", "c"])
    assert list(seen(workspace, model, bridge)[0]) == ["validation", "validation", "test", "test"]
    workspace.remove_tree("manifest")
    assert "not proven" in seen(workspace, model, other)[1]


def test_a_file_of_arrays_is_judged(tmp_path, workspace):
    toy_realbogus.save(workspace)
    label = np.arange(60) % 2 == 0
    np.savez(tmp_path / "mine.npz", triplet=toy_realbogus.triplets(60), label=label.astype(int), snr=np.full(60, 8.0))
    candidates = of_arrays(tmp_path / "mine.npz")
    done = examine(workspace, candidates, [loaded(workspace)])
    told = next(iter(done.told.values()))
    assert told["n"] == 60 and told["fields"] == 60 and list(told["by"]["snr"]) == ["7 to 10"]
    assert done.notes and "not proven" in done.notes[0]
    np.savez(tmp_path / "odd.npz", triplet=np.zeros((3, 63, 63)), label=[1, 0, 1])
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04")
    for name, said in (("odd", "triplet is"), ("no", "give a .npz")):
        with pytest.raises(UsageError, match=said):
            of_arrays(tmp_path / f"{name}.npz")


def test_no_trace_of_an_object_is_left():
    index = pd.DataFrame({
        "object_id": ["sn", "sn", "other", "near", "far"], "field": ["A", "B", "B", "C", "D"], "survey": "ztf",
        "ra": [10.0, 10.0, 11.0, 10.01, 10.2], "dec": 0.0, "label": 1,
    })  # fmt: skip
    rest, own = without(index, "sn")
    assert list(rest["object_id"]) == ["far"] and list(own.index) == [0, 1]
    assert list(without(index, "sn", 10.0)[0]["object_id"]) == ["near", "far"]
    assert list(without(index.assign(survey="simulated-A"), "sn")[0]["object_id"]) == ["near", "far"]
    with pytest.raises(UsageError, match="objects are such as far, near"):
        without(index, "SN 1987A")


def test_an_object_is_looked_for_by_a_model_that_never_saw_it(trained):
    workspace, name = trained
    candidates, model = of_stores(workspace, [name]), loaded(workspace)
    fold, _ = seen(workspace, model, candidates.index)
    tested, taught = (candidates.index.loc[(fold == side) & (candidates.index["label"] == 1), "object_id"].iloc[0]
                      for side in ("test", "train"))  # fmt: skip
    found = retrospect(workspace, candidates, tested, [model])
    (one,) = found["detections"]
    others = int((fold == "test").sum()) - ROWS
    assert found["how"] == "a fold that never saw it" and found["traces"] == ROWS and found["others"] == others
    assert 1 <= one["novelty_rank"] <= others + 1 and 1 <= one["score_rank"] <= others + 1
    assert found["found"] == one["is_found"] == (one["p_real"] >= model.standing.threshold)
    with pytest.raises(UsageError, match="learnt from it or from its field"):
        retrospect(workspace, candidates, taught, [model])
    given = []

    def retrain(rest):
        given.append(rest)
        return model

    again = retrospect(workspace, candidates, taught, [model], retrain)
    assert again["how"] == "trained again without it"
    assert taught.rsplit(":", 1)[0] not in set(given[0]["field"]) and len(given[0]) == len(candidates.index) - ROWS


def run(*options):
    main = importlib.import_module("jobs.evaluate").main
    return CliRunner().invoke(main, [str(one) for one in options])


def test_the_job_writes_a_report_in_four_forms(trained, tmp_path):
    workspace, name = trained
    toy_realbogus.save(workspace, "realbogus_baseline", seed=1)
    candidates, model = of_stores(workspace, [name]), loaded(workspace)
    fold, _ = seen(workspace, model, candidates.index)
    held_out = candidates.index.loc[(fold == "test") & (candidates.index["label"] == 1), "object_id"].iloc[0]
    models = ("--model", "realbogus", "--model", "realbogus_baseline")
    out = tmp_path / "report"
    done = run("--workspace", workspace.root, *models, "--set", name, "--hold-out-object", held_out, "--out", out)
    assert done.exit_code == 0, done.output
    assert "AUCPR" in done.output and f"{held_out}: " in done.output and "index.html" in done.output
    told = json.loads((out / "report.json").read_text())
    assert len(told["models"]) == 2 and told["compared"][0]["ratio_interval"]
    assert told["held_out_object"]["detections"]
    text, page = (out / "report.md").read_text(), (out / "index.html").read_text()
    for said in ("AUCPR at 50.0% real", "0.01% real", "By snr", "By filter", "Held out:", "FPR at FNR 1%"):
        assert said in text and said in page
    pictures = {path.name for path in out.glob("*.png")}
    assert pictures == {"rates.png", "precision_recall.png", "reliability.png", "confusion.png", "groups.png"}
    assert all(f"({picture})" in text for picture in pictures)
    assert len(list(out.glob("scores-*.parquet"))) == 2


def test_questions_without_an_answer_are_wrong_usage(trained):
    workspace, name = trained
    cases = [
        ([], "give --set or --alerts"),
        (["--set", name, "--hold-out-object", "SN 1987A"], "no candidate is of it"),
        (["--set", name, "--model", "eb"], "scores no triplets"),
        (["--set", "a.npz", "--set", name], "judged alone"),
    ]
    for options, said in cases:
        done = run("--workspace", workspace.root, *options)
        assert done.exit_code == 2 and said in done.output, done.output
    done = run("--workspace", workspace.root, "--set", "none")
    assert done.exit_code == 3 and f"there are: {name}" in done.output
    with pytest.raises(UsageError, match="given twice"):
        models_of(workspace, ["realbogus", "realbogus@production"], [], "row")
    with pytest.raises(Missing):
        inquire(workspace, [loaded(workspace)], Inquiry(sets=("none",)))


def test_what_real_alerts_let_pass_is_told_once_people_have_looked(workspace, tmp_path):
    toy_realbogus.save(workspace)
    file = tmp_path / "a.avro"
    file.write_bytes(alert_files.avro([alert_files.alert() | {"candid": n} for n in range(4)]))
    out, asked = Folder(tmp_path / "out"), Inquiry(alerts=(file,))

    def told():
        inquire(workspace, [loaded(workspace)], asked, out)
        (model,) = json.loads((tmp_path / "out" / "report.json").read_text())["alerts"]["models"].values()
        return model

    assert "reviewed" not in told()
    review.append(workspace, "transient_candidates", [{"item_id": "ztf:9", "label": "bogus", "who": "ada"}])
    assert "reviewed" not in told()  # another alert
    rows = [{"item_id": f"ztf:{n}", "label": label, "who": "ada"} for n, label in enumerate(("bogus", "bogus", "real"))]
    review.append(workspace, "transient_candidates", rows)
    found = told()["reviewed"]
    assert found["bogus"] == 2 and found["real"]["alerts"] == 1 and found["fpr"] is not None
