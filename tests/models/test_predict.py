"""Partitions that kill their actors on a real Ray: the others do not suffer, and only the killer fails."""

import multiprocessing
import os
import signal
import time

import pytest
from ray.exceptions import RayError

from pipeline import manifest
from pipeline.errors import Stale
from pipeline.isolate import execute_isolated, killers
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import ScoreSettings, Settings
from pipeline.stage import InputOutcome, Product, Stage, State


class Toy(Stage):
    """Six partitions; `bad` inputs kill any process, `shy` ones all but a child of isolation, `stale` ones refuse."""

    name = "toy"
    version = 1

    def __init__(self, workspace, odd):
        super().__init__(workspace, Settings())
        self.odd = odd

    def keys(self):
        return [Key("things", "s0001", part) for part in range(6)]

    def upstream(self, key):
        return {}

    def inputs(self, key):
        return ["a", *self.odd.get(key.part, []), "b"]

    def probe(self, key, name):
        if name == "bad" or (name in ("shy", "stale") and not isolated()):
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "stale":
            raise Stale(f"{key}: its input has changed")

    def run(self, key, skip):
        self.workspace.write(f"begun/{key.part}/{isolated()}-{os.getpid()}", b"")
        for name in self.inputs(key):
            if name not in skip:
                self.probe(key, name)
        path = f"things/{key.part}"
        self.workspace.write(path, b"x")
        outcomes = [skip.get(name) or InputOutcome(name, State.DONE) for name in self.inputs(key)]
        return Product([Object.of(path, b"x")], 1, outcomes)

    def begun(self, where):
        """Return the partition of every process that began one, of actors or in isolation."""
        paths = [entry.path.split("/") for entry in self.workspace.list("begun")]
        return [int(part) for _, part, process in paths if process.startswith(str(where))]


@pytest.fixture
def predict():
    """Return the module under test; not imported above, so that a child that needs but `Toy` starts fast."""
    from models import predict

    return predict


def isolated():
    return multiprocessing.parent_process() is not None


@pytest.mark.slow
def test_killers_of_actors_are_tried_in_isolation(ray_cluster, predict, workspace):
    stage = Toy(workspace, {1: ["shy"], 4: ["bad"]})
    started = time.monotonic()
    report = predict.run(stage, 2)
    assert time.monotonic() - started < 60
    assert report.partitions == report.rows == 6 and not report.failures and report.exit_status == 1
    assert report.counts == {"done": 13, "failed": 1, "nothing": 0, "rejected": 0}
    assert manifest.read(workspace, "toy", stage.keys()[4]).counts["failed"] == 1
    assert set(stage.begun(False)) == set(range(6)) and set(stage.begun(True)) == {1, 4}
    assert stage.begun(False).count(4) == predict.TRIES


def test_a_pool_that_breaks_down_again_and_again_ends(ray_cluster, predict, workspace, monkeypatch):
    broken = []

    def breakdown(self):
        broken.append(len(self.left))
        if len(broken) == 1:
            self._take(self.left[0], predict._answer(self.stage.execute, self.left.pop(0)))
        raise RayError("the actors died")

    monkeypatch.setattr(predict._Run, "_pass", breakdown)
    stage = Toy(workspace, {})
    report = predict.run(stage, 2, keys=stage.keys()[:3])
    assert broken == [3, 2, 2] and report.exit_status == 0 and report.partitions == 3
    assert sorted(stage.begun(True)) == [1, 2]


def test_a_refusal_in_isolation_is_still_one(ray_cluster, predict, workspace, monkeypatch):
    def breakdown(self):
        raise RayError("the actors died")

    monkeypatch.setattr(predict._Run, "_pass", breakdown)
    with pytest.raises(Stale, match="things/s0001/part-00005: its input has changed"):
        predict.run(Toy(workspace, {5: ["stale"]}), 2, keys=[Key("things", "s0001", 5)])


@pytest.mark.slow
def test_the_network_runs_within_the_limits_of_isolation(workspace, curves):
    from models.registry import Registry
    from models.score import Score
    from models.spec import get_spec

    registry = Registry(curves([[1]]))
    made = registry.save("calnet", get_spec("calnet").network().state_dict(), {"metrics": {}}, {})
    stage = Score(workspace, registry.resolve(f"calnet@{made}"), ["s0001"], ScoreSettings(precision="fp32"), "cpu")
    (key,) = stage.keys()
    assert killers(stage, key, memory=2 << 30) == {}
    assert list(killers(stage, key, memory=100 << 20)) == stage.inputs(key)
    assert execute_isolated(stage, key, memory=2 << 30).counts["done"] == len(stage.inputs(key))
