"""Folds of few stars: each is scored once, by a model that did not learn from it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from models import lessons
from models.crossvalidate import crossvalidate, save
from models.data import split, training_index
from models.fit import _parquet
from models.lessons import Sources
from models.registry import Registry
from models.spec import get_spec
from models.verdict import judge
from pipeline.errors import UsageError


@pytest.fixture
def labelled(tmp_path: Path) -> str:
    """Return a file of twenty stars, half of them eclipsing binaries."""
    time = 1683.0 + np.arange(0, 4, 1800 / 86400)
    rows = []
    for tic_id in range(1, 21):
        flux = 1000 + np.random.default_rng(tic_id).normal(size=time.size)
        flux[(tic_id % 2 == 0) & (time % 1 < 0.1)] *= 0.8
        row = {"tic_id": tic_id, "label": "NONVAR" if tic_id % 2 else "EB:EA", "sector": 14, "time": time}
        rows.append(row | {"flux": flux, "quality": np.zeros(time.size, np.int32)})
    pd.DataFrame(rows).to_parquet(tmp_path / "labelled.parquet")
    return str(tmp_path / "labelled.parquet")


def trained(workspace, name, labels, negatives, settings, sectors, workers, gpu, overwrite=False, sets=()):
    """Stand in for `models.train.train`: the split is real, scores are drawn."""
    for stage in sets:
        stage.prepare()
        assert all(stage.execute(key).counts["done"] == 20 for key in stage.keys())  # noqa: SIM118 — no dict
    segments = split(training_index(workspace, sets[0].keys()), settings)
    held_out = segments[segments["fold"] != "train"]
    outputs = np.random.default_rng(settings.fold).normal(size=(len(held_out), get_spec(name).outputs))
    weights = {"w": torch.full((1,), float(settings.fold))}
    files = {"held_out.parquet": _parquet(held_out.assign(**get_spec(name).read(outputs)))}
    return Registry(workspace).save(name, weights, {"settings": settings.model_dump(mode="json")}, files)


def test_two_folds_score_every_star_once(workspace, labelled, monkeypatch):
    monkeypatch.setattr(lessons, "train", trained)
    sources = Sources(simulated=0, labelled=labelled)
    stars = crossvalidate(workspace, "eb", sources, 2, None, {"validation": 0.3, "seed": 1}, workers=1, gpu=False)
    assert stars["tic_id"].tolist() == list(range(1, 21)) and set(stars["fold"]) == {0, 1}
    assert stars["score"].between(0, 1).all() and (stars["klass"] == "EA").sum() == 10
    assert not workspace.list("models/eb/moves")
    assert judge(stars)["kinds"]["NONVAR"]["stars"] == 10
    registry = Registry(workspace)
    fold = registry.resolve(f"eb@eb-{registry.own_versions('eb')[0]}").card
    whole, other = (
        registry.resolve(f"eb@{registry.save('eb', {'w': torch.full((1,), 7.0 + n)}, card, {})}")
        for n, card in enumerate([{"settings": fold["settings"] | {"folds": None, "fold": 0}}, {"settings": {}}])
    )
    assert workspace.exists(save(workspace, sources, {"eb": stars}))
    assert registry.resolve(f"eb@{whole.id}").card["crossvalidation"]["eb"] == judge(stars)
    assert "crossvalidation" not in registry.resolve(f"eb@{other.id}").card


def test_without_a_star_that_does_not_eclipse_nothing_is_trained(workspace, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "train", None)
    stars = pd.read_parquet(labelled)
    stars["label"] = stars["label"].replace("NONVAR", "NONVAR?")
    stars.to_parquet(tmp_path / "doubt.parquet")
    with pytest.raises(UsageError, match=r"doubt\.parquet: no star that does not eclipse"):
        crossvalidate(workspace, "eb", Sources(labelled=str(tmp_path / "doubt.parquet")), 2, None, {}, 1, False)
