"""What is learnt from in which order: whom a rehearsal must not see, which model becomes the candidate."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from catalogs.folder import Folder
from models import calibrate, lessons
from models.ancestry import learnt, saw_real_stars, summary, trainings
from models.data import side
from models.lessons import Sources, describe, learn
from models.registry import Registry
from models.spec import get_spec
from pipeline.errors import ModelNotFound, UsageError
from pipeline.lightcurves.training import TrainingSet
from pipeline.settings import TrainingSetSettings, TrainSettings
from tests.models import toy_realbogus


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Return a real star and 256 simulated ones."""
    nothing: list[Any] = []
    star = {"tic_id": 1, "label": "EB:EA", "time": nothing, "flux": nothing, "quality": nothing}
    pd.DataFrame([star]).to_parquet(tmp_path / "labelled.parquet")
    return Sources(simulated=256, labelled=str(tmp_path / "labelled.parquet"))


class School:
    """Stand in for training and calibration: each training gives weights of its own; what was done is noted."""

    def __init__(self) -> None:
        self.trained: list[tuple[TrainSettings, list[TrainingSet], bool]] = []
        self.calibrated: dict[str, dict[str, str]] = {}

    def train(self, workspace, name, labels, negatives, settings, sectors, workers, gpu, overwrite=False, sets=()):
        self.trained.append((settings, list(sets), overwrite))
        data = {"partitions": {"many": "x"}, "sets": [one.describe() for one in sets]}
        card = {"data": data, "settings": settings.model_dump(mode="json"), "history": [1]}
        if settings.start_from:
            card["rehearsal"] = summary(Registry(workspace), settings.start_from)
        return Registry(workspace).save(name, {"w": torch.full((1,), float(len(self.trained)))}, card, {})

    def calibrate(self, workspace, model_id, sets, trained, settings, workers):
        self.calibrated[model_id] = Registry(workspace).aliases("eb")


@pytest.fixture
def school(monkeypatch: pytest.MonkeyPatch) -> School:
    found = School()
    monkeypatch.setattr(lessons, "train", found.train)
    monkeypatch.setattr(lessons, "calibrate", found.calibrate)
    return found


def teach(workspace: Folder, sources: Sources, config: Path | None = None, **options: Any) -> str:
    return learn(workspace, "eb", sources, config, options, workers=1, gpu=False, overwrite=options.pop("anew", False))


def aliases(workspace: Folder) -> dict[str, str]:
    return Registry(workspace, shipped=workspace.url("nothing")).aliases("eb")


def test_the_calibrated_model_is_the_candidate_and_its_rehearsal_never_is(workspace, sources, school):
    made = teach(workspace, sources)
    assert len(school.trained) == 2 and aliases(workspace) == {"candidate": made}
    assert "candidate" not in school.calibrated[made]
    (first, simulated, _), (last, sets, _) = school.trained
    assert [one.labelled is None for one in simulated] == [True] and [one.labelled is None for one in sets] == [0, 1]
    assert last.start_from not in (None, made) and (first.epochs, last.epochs) == (14, 8)


def test_the_model_of_a_fold_moves_no_alias_and_is_not_calibrated(workspace, sources, school):
    teach(workspace, sources, folds=2, fold=1)
    assert len(school.trained) == 2 and not school.calibrated and aliases(workspace) == {}
    assert school.trained[0][0].folds is None and school.trained[1][0].fold == 1


def test_whom_the_training_holds_out_the_rehearsal_holds_out(workspace, sources, school):
    teach(workspace, sources, seed=1, validation=0.1, test=0.25)
    first, last = (settings for settings, _, _ in school.trained)
    stars = range(2000)
    assert {side(star, last) for star in stars} == {"train", "validation", "test"}
    assert not [star for star in stars if side(star, last) != "train" and side(star, first) == "train"]
    assert [side(star, first) for star in stars] == [side(star, last) for star in stars]


def test_a_rehearsal_that_is_done_goes_on_being_used(workspace, sources, school):
    teach(workspace, sources)
    first, last = (settings for settings, _, _ in school.trained)
    assert first == TrainSettings(**get_spec("eb").rehearsal)
    # of trainings with the usual settings: what they are found by must not change
    assert first.hash == "b3226b280b6e0d66"
    assert last.model_copy(update={"start_from": "eb-f5e56e7e"}).hash == "aa772bda114babae"


def test_settings_that_hold_out_others_are_refused(workspace, sources, school, tmp_path):
    config = tmp_path / "skysift.toml"
    config.write_text("[rehearsal]\nseed = 3\nepochs = 2\n")
    with pytest.raises(UsageError, match=r"\[rehearsal\] seed is 3, that of the training is 0"):
        teach(workspace, sources, config)
    with pytest.raises(UsageError, match="split by star"):
        teach(workspace, sources, split_by="sector")
    with pytest.raises(UsageError, match="split by star"):
        teach(workspace, Sources(simulated=256), split_by="sector")
    assert not school.trained
    teach(workspace, sources, config, seed=3)
    assert school.trained[0][0].epochs == 2


def test_overwrite_reaches_the_rehearsal(workspace, sources, school):
    learn(workspace, "eb", sources, None, {}, 1, False, overwrite=True)
    assert [overwrite for _, _, overwrite in school.trained] == [True, True]


def test_a_dry_run_tells_of_both_trainings(workspace, sources):
    text = describe(workspace, "eb", Sources(simulated=4096, labelled=sources.labelled), None, {"epochs": 5}, 2)
    assert "14 epochs of the segments of 4096 stars" in text and "5 epochs of the segments of 2049 stars" in text
    assert text.index("rehearsal") < text.index("then:") and not workspace.list()


def test_a_model_tells_of_the_training_before_it(workspace, sources, school):
    entry = Registry(workspace).resolve(f"eb@{teach(workspace, sources)}")
    told = entry.card["rehearsal"]
    assert told["data"]["sets"][0]["stars"] == 256 and told["settings"]["epochs"] == 14
    assert "history" not in told and "partitions" not in told["data"]
    workspace.remove_tree(f"models/eb/{told['id'][-8:]}")  # it is needed no more
    cards = trainings(Registry(workspace), entry.card)
    assert [card["settings"]["epochs"] for card in cards] == [8, 14]
    assert [saw_real_stars(card) for card in cards] == [True, False] and saw_real_stars({})
    with pytest.raises(ModelNotFound):
        trainings(Registry(workspace), {"settings": {"start_from": told["id"]}})


def test_a_star_is_held_out_only_if_every_training_held_it_out(workspace, monkeypatch):
    registry, settings = Registry(workspace), TrainSettings(seed=1)
    before = registry.save("eb", {"w": torch.zeros(1)}, {"settings": settings.model_dump(mode="json")}, {})
    last = TrainSettings(seed=0, start_from=before)
    stars = np.arange(1000)
    index = pd.DataFrame({"tic_id": stars, "weight": 1.0, "klass": "EA"})
    monkeypatch.setattr(calibrate, "training_index", lambda workspace, keys: index)
    stage = TrainingSet(workspace, TrainingSetSettings(stars=256))
    found = set(calibrate._held_out(workspace, stage, last)["tic_id"])
    assert found == {star for star in stars if "train" not in (side(star, last), side(star, settings))}
    assert 50 < len(found) < 150
    with pytest.raises(UsageError, match="by sector"):
        learnt([{"settings": {"split_by": "sector"}}], stars)
    with pytest.raises(UsageError, match="does not say"):
        learnt([{}], stars)


def test_the_shipped_model_tells_whom_it_held_out(workspace):
    cards = trainings(Registry(workspace), Registry(workspace).resolve("eb@production").card)
    assert [saw_real_stars(card) for card in cards] == [True, False]
    assert 600 < len(learnt(cards, range(1000))) < 800


@pytest.mark.parametrize(
    ("config", "options", "is_candidate"),
    [("", {}, True), ("folds = 5\nfold = 1", {}, False), ("", {"split_by": "kind:hot"}, False),
     ('split_by = "temporal"', {}, False), ('split_by = "temporal"', {"split_by": "field"}, True)],
)  # fmt: skip
def test_only_a_model_of_triplets_split_by_field_becomes_the_candidate(
    workspace, tmp_path, monkeypatch, config, options, is_candidate
):
    monkeypatch.setattr(
        lessons, "learn_triplets", lambda workspace, *_: toy_realbogus.save(workspace, alias="production")
    )
    file = tmp_path / "config.toml"
    file.write_text(f"[train]\n{config}\n")
    made = learn(workspace, "realbogus", Sources(), file, options, workers=1, gpu=False)
    assert (Registry(workspace).aliases("realbogus").get("candidate") == made) is is_candidate
