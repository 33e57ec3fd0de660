"""Training on a real Ray: what comes out, and that a killed worker changes nothing of it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from catalogs import write
from catalogs.folder import Entry, Folder
from models import checkpoint, loop, tasks
from models.fit import _made_by, make
from models.loop import rate
from models.registry import Registry
from models.train import train
from pipeline import manifest
from pipeline.errors import Corrupt, Refused, SkysiftError, UsageError
from pipeline.lightcurves.training import TrainingSet
from pipeline.partition import Key
from pipeline.report import Report
from pipeline.settings import TrainingSetSettings, TrainSettings
from pipeline.stage import InputOutcome, Product, State

STARS = [list(range(1, 19)), list(range(19, 37))]
SETTINGS = TrainSettings(epochs=2, batch_size=16, validation=0.25, test=0.25, seed=1, unlisted_as_negative=16)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("tic_id,label\n" + "".join(f"{star},EA\n" for star in range(2, 37, 2)) + "400,EB\n")
    return path


def test_a_run_is_found_again_only_in_its_own_workspace(workspace: Folder, tmp_path: Path) -> None:
    other = Registry(Folder(tmp_path / "other"))
    about = {"settings": {"epochs": 2}}
    made = other.save("calnet", {"w": torch.zeros(1)}, about, {})
    assert _made_by(other, "calnet", about) == made
    assert _made_by(Registry(workspace, shipped=other.own), "calnet", about) is None


class Set(TrainingSet):
    """A training set of one simulated star without segments."""

    def keys(self) -> list[Key]:
        return super().keys()[:1]

    def inputs(self, key: Key) -> list[str]:
        return ["star 0"]

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        return Product([], self.version, [InputOutcome("star 0", State.NOTHING)])


def here(stage: Set, workers: int) -> Report:
    """Stand in for `models.tasks.run`."""
    report = Report(stage.name)
    for key in stage.keys():  # noqa: SIM118 — no dict
        report.add(stage.execute(key))
    return report


def test_a_stale_training_set_is_made_anew_only_to_overwrite_it(workspace: Folder, monkeypatch: Any) -> None:
    monkeypatch.setattr(tasks, "run", here)
    stage = Set(workspace, TrainingSetSettings(stars=1))
    make(stage, 1, overwrite=False)
    before = manifest.read(workspace, "training", stage.keys()[0])
    make(stage, 1, overwrite=True)
    assert manifest.read(workspace, "training", stage.keys()[0]) == before  # it is as it would be made
    monkeypatch.setattr(Set, "version", 7)
    with pytest.raises(Refused, match="--overwrite"):
        make(stage, 1, overwrite=False)
    make(stage, 1, overwrite=True)
    after = manifest.read(workspace, "training", stage.keys()[0])
    assert after is not None and after.rows == 7


def test_a_training_set_that_cannot_be_made_stops_the_training(workspace: Folder, monkeypatch: Any) -> None:
    report = Report("training", failures={"training/x/part-00000": "MemoryError"})
    monkeypatch.setattr(tasks, "run", lambda stage, workers: report)
    with pytest.raises(SkysiftError, match=r"simulated-7x1-robust\.zarr: 1 partitions failed"):
        make(Set(workspace, TrainingSetSettings(stars=1)), 1, overwrite=False)


def test_the_same_training_is_known_by_its_card(workspace: Folder) -> None:
    registry = Registry(workspace)
    about = {"model": "calnet", "settings": SETTINGS.model_dump(mode="json"), "recipe": "calnet", "data": {"stars": 3}}
    made = registry.save("calnet", {"w": torch.zeros(1)}, about | {"metrics": {}}, {})
    assert _made_by(registry, "calnet", about) == made
    assert _made_by(registry, "calnet", about | {"data": {"stars": 4}}) is None


def run_files(workspace: Folder) -> dict[str, bytes]:
    return {entry.path: workspace.read(entry.path) for entry in workspace.list("models/calnet/runs")}


def wait_for(done: Callable[[], Any], seconds: float = 100) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := done()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def history(workspace: Folder) -> Entry | None:
    return next(iter(workspace.list("models/calnet/runs", loop.HISTORY)), None)


@contextmanager
def beside(what: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread while the driver waits for Ray."""
    thread = threading.Thread(target=what)
    thread.start()
    yield
    thread.join()


def test_a_model_is_trained_judged_registered_and_resumed(ray_cluster, curves, labels, capfd):
    workspace = curves(STARS)
    after_one_epoch: dict[str, bytes] = {}

    def copy() -> None:
        wait_for(lambda: (there := history(workspace)) and b'"epoch": 1' in workspace.read(there.path))
        after_one_epoch.update(run_files(workspace))

    with beside(copy):
        model_id = train(workspace, "calnet", labels, None, SETTINGS, [1], workers=1, gpu=False)
    assert epochs_said(capfd) == ["1/2,", "2/2,"]
    assert run_files(workspace) == {}
    registry = Registry(workspace)
    assert registry.aliases("calnet") == {}
    entry = registry.resolve(f"calnet@{model_id}")
    assert registry.load_weights(entry)
    check_card(entry.card)
    held_out = write.read(entry.folder, "held_out.parquet").to_pandas()
    assert set(held_out["fold"]) == {"validation", "test"} and held_out["score"].between(0, 1).all()
    figures = {"loss.png", "accuracy.png", "confusion.png", "precision_recall.png"}
    logs = {"tb/events.out.tfevents.training"}
    assert {item.path for item in entry.folder.list()} >= figures | logs | {
        "weights.safetensors",
        "card.json",
    }

    # As a driver leaves it that was killed after one epoch; and then its worker is killed in the second, too.
    for path, data in after_one_epoch.items():
        workspace.write(path, data)
    left = history(workspace)
    killed: list[int] = []

    def kill() -> None:
        wait_for(lambda: history(workspace) not in (left, None))
        for process in psutil.Process().children(recursive=True):
            if "RayTrainWorker" in " ".join(process.cmdline()):
                process.kill()
                killed.append(process.pid)

    with beside(kill):
        again = train(workspace, "calnet", labels, None, SETTINGS, [1], workers=1, gpu=False)
    assert len(killed) == 1 and epochs_said(capfd) == ["1/2,", "2/2,"]
    assert again == model_id  # the bytes of the run that nobody disturbed


def epochs_said(capfd: pytest.CaptureFixture[str]) -> list[str]:
    lines = capfd.readouterr().out.splitlines()
    return [line.split()[3] for line in lines if line.startswith("train calnet: epoch")]


def check_card(card: dict[str, Any]) -> None:
    data = card["data"]
    assert list(data["partitions"]) == [f"manifest/preprocess/curves/s0001/part-0000{i}.json" for i in (0, 1)]
    drawn = data["unlisted_as_negative"]
    assert len(drawn["tic_id"]) == 16 and all(star % 2 for star in drawn["tic_id"]) and drawn["seed"] == 1
    assert data["labelled_stars"] == 35 and data["labelled_stars_with_segments"] == 34
    counts = data["counts"]
    assert sum(fold["stars"] for fold in counts.values()) == 34
    assert sum(fold["segments"] for fold in counts.values()) == 68
    assert card["settings"] == SETTINGS.model_dump(mode="json") and card["recipe"] == "calnet"
    assert [row["epoch"] for row in card["history"]] == [1, 2] and card["best_epoch"] in (1, 2)
    for fold in ("validation", "test"):
        assert card["metrics"][fold]["stars"]["n"] == counts[fold]["stars"]
        assert card["metrics"][fold]["segments"]["n"] == counts[fold]["segments"]
    assert len(data["labels"]["sha256"]) == 64 and "torch" in card["provenance"]["packages"]


def test_what_cannot_be_trained_is_refused_before_anything_is_written(ray_cluster, curves, labels):
    workspace = curves(STARS)
    with pytest.raises(UsageError, match="--workers 9: this Ray cluster has 2 CPUs"):
        train(workspace, "calnet", labels, None, SETTINGS, None, workers=9, gpu=False)
    with pytest.raises(UsageError, match="0 GPUs"):
        train(workspace, "calnet", labels, None, SETTINGS, None, workers=1, gpu=True)
    with pytest.raises(Refused, match="sector 2"):
        train(workspace, "calnet", labels, None, SETTINGS, [2], workers=1, gpu=False)
    settings = SETTINGS.model_copy(update={"unlisted_as_negative": 0})
    with pytest.raises(UsageError, match="no negatives are given"):
        train(workspace, "calnet", labels, None, settings, None, workers=1, gpu=False)
    assert not workspace.list("models")


def test_learning_rate_rises_and_falls_to_nothing():
    rates = [rate(share / 100) for share in range(101)]
    assert rates[0] == 0 and max(rates) == rates[10] == 1 and rates[100] == pytest.approx(0)
    assert rates[5] == 0.5 and all(a > b for a, b in pairwise(rates[10:]))


def test_a_checkpoint_brings_back_network_optimiser_and_state(workspace):
    torch = pytest.importorskip("torch")

    def fresh():
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 2)
        return network, torch.optim.AdamW(network.parameters(), fused=True)

    def step(network, optimizer):
        optimizer.zero_grad()
        network(torch.ones(1, 3)).sum().backward()
        optimizer.step()

    network, optimizer = fresh()
    assert checkpoint.restore(workspace, network, optimizer) is None
    step(network, optimizer)
    checkpoint.store(workspace, network, optimizer, {"history": [{"epoch": 1}]})
    other, resumed = fresh()
    assert checkpoint.restore(workspace, other, resumed) == {"history": [{"epoch": 1}]}
    step(network, optimizer)
    step(other, resumed)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters()))
    with pytest.raises(Corrupt, match="another network"):
        checkpoint.restore(workspace, torch.nn.Linear(4, 2), resumed)
    workspace.write(checkpoint.LAST, b"cut")
    with pytest.raises(Corrupt, match="no checkpoint"):
        checkpoint.restore(workspace, network, optimizer)


def test_state_is_as_the_last_epoch_left_it(workspace):
    run = loop.Run("calnet", SETTINGS, workspace, "models/calnet/runs/x")
    assert loop.read_state(run) == loop.State()
    run.folder.write(loop.HISTORY, json.dumps({"history": [{"epoch": 1}], "seconds": 3.0}).encode())
    assert loop.read_state(run).seconds == 3.0 and not loop.read_state(run).finished
