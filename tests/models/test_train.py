"""Training on a real Ray: what comes out, and that a killed worker changes nothing of it."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from catalogs import write
from catalogs.folder import Folder
from models import checkpoint, loop
from models.loop import rate
from models.registry import Registry
from models.train import train
from pipeline.errors import Corrupt, Refused, UsageError
from pipeline.settings import TrainSettings

STARS = [list(range(1, 19)), list(range(19, 37))]
SETTINGS = TrainSettings(epochs=2, batch_size=16, validation=0.25, test=0.25, seed=1, unlisted_as_negative=16)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("tic_id,label\n" + "".join(f"{star},EA\n" for star in range(2, 37, 2)) + "400,EB\n")
    return path


def run_folder(workspace: Folder) -> list[str]:
    return [entry.path for entry in workspace.list("models/calnet/runs")]


def kill_a_worker(workspace: Folder, killed: list[int]) -> None:
    """Kill one worker of Ray Train as soon as the first epoch is in its checkpoint."""
    deadline = time.monotonic() + 60
    while not any(path.endswith(checkpoint.LAST) for path in run_folder(workspace)):
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
    for process in psutil.Process().children(recursive=True):
        if "RayTrainWorker" in " ".join(process.cmdline()):
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)
            return


def test_a_model_is_trained_judged_and_registered(ray_cluster, curves, labels, capfd):
    workspace = curves(STARS)
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_worker, args=(workspace, killed))
    killer.start()
    model_id = train(workspace, "calnet", labels, None, SETTINGS, [1], workers=1, gpu=False)
    killer.join()
    assert len(killed) == 1
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("train calnet: epoch")]
    assert [line.split()[3] for line in lines] == ["1/2,", "2/2,"]

    registry = Registry(workspace)
    assert registry.aliases("calnet") == {"candidate": model_id}
    entry = registry.resolve("calnet@candidate")
    assert entry.id == model_id and registry.load_weights(entry)
    check_card(entry.card, workspace)
    held_out = write.read(entry.folder, "held_out.parquet").to_pandas()
    assert set(held_out["fold"]) == {"validation", "test"} and held_out["score"].between(0, 1).all()
    files = {item.path for item in entry.folder.list()}
    figures = {"loss.png", "accuracy.png", "confusion.png", "precision_recall.png"}
    assert files >= figures | {"weights.safetensors", "card.json", "tb/events.out.tfevents.training"}
    assert run_folder(workspace) == []

    again = train(workspace, "calnet", labels, None, SETTINGS, [1], workers=1, gpu=False)
    assert again == model_id  # undisturbed, it gives the bytes of the run whose worker was killed


def check_card(card: dict, workspace: Folder) -> None:
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
    with pytest.raises(UsageError, match="no negative segment"):
        settings = SETTINGS.model_copy(update={"unlisted_as_negative": 0})
        train(workspace, "calnet", labels, None, settings, None, workers=1, gpu=False)
    assert run_folder(workspace) == []
    assert not workspace.list("models")


def test_learning_rate_rises_and_falls_to_nothing():
    rates = [rate(share / 100) for share in range(101)]
    assert rates[0] == 0 and max(rates) == rates[10] == 1 and rates[100] == pytest.approx(0)
    assert rates[5] == 0.5 and all(a > b for a, b in zip(rates[10:], rates[11:]))


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
