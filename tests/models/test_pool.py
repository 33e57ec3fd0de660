"""Partitions that kill their actors on a real Ray: the others do not suffer, and only the killer fails."""

import logging
import time
import warnings

import pytest
from ray.exceptions import RayError

from models import pool, tasks
from models.registry import Registry
from models.score import Score
from models.spec import get_spec
from pipeline import manifest
from pipeline.errors import Stale
from pipeline.isolate import execute_isolated, killers
from pipeline.partition import Key
from pipeline.settings import ScoreSettings
from tests.models.toy import Toy


def test_of_bars_that_nobody_wants_nothing_is_said():
    pool.quiet()
    log, said = logging.getLogger("ray.data._internal.progress"), []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # Ray may or may not pass it on to the root
    log.addHandler(handler)
    try:
        log.warning("Progress bars disabled. To enable, set `…`.")
        log.warning("something else")
    finally:
        log.removeHandler(handler)
    assert said == ["something else"]


@pytest.mark.slow
def test_killers_of_actors_are_tried_in_isolation(ray_cluster, workspace):
    stage = Toy(workspace, {1: ["shy"], 4: ["bad"]})
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*deprecated and will be removed in Ray")
        report = pool.run(stage, 2)
    assert time.monotonic() - started < 60
    assert report.partitions == report.rows == 6 and not report.failures and report.exit_status == 1
    assert report.counts == {"done": 13, "failed": 1, "nothing": 0, "rejected": 0}
    assert manifest.read(workspace, "toy", stage.keys()[4]).counts["failed"] == 1
    assert set(stage.begun(False)) == set(range(6)) and set(stage.begun(True)) == {1, 4}
    assert stage.begun(False).count(4) == tasks.TRIES


def test_a_pool_that_breaks_down_again_and_again_ends(ray_cluster, workspace, monkeypatch):
    broken = []

    def breakdown(self):
        broken.append(len(self.left))
        if len(broken) == 1:
            self.counted.take(self.left[0], tasks.attempt(self.counted.stage.execute, self.left.pop(0)))
        raise RayError("the actors died")

    monkeypatch.setattr(pool._Run, "_pass", breakdown)
    stage = Toy(workspace, {})
    report = pool.run(stage, 2, keys=stage.keys()[:3])
    assert broken == [3, 2, 2] and report.exit_status == 0 and report.partitions == 3
    assert sorted(stage.begun(True)) == [1, 2]


def test_a_refusal_in_isolation_is_still_one(ray_cluster, workspace, monkeypatch):
    def breakdown(self):
        raise RayError("the actors died")

    monkeypatch.setattr(pool._Run, "_pass", breakdown)
    with pytest.raises(Stale, match="things/s0001/part-00005: its input has changed"):
        pool.run(Toy(workspace, {5: ["stale"]}), 2, keys=[Key("things", "s0001", 5)])


@pytest.mark.slow
def test_the_network_runs_within_the_limits_of_isolation(workspace, curves):
    registry = Registry(curves([[1]]))
    made = registry.save("calnet", get_spec("calnet").network().state_dict(), {"metrics": {}}, {})
    stage = Score(workspace, registry.resolve(f"calnet@{made}"), ["s0001"], ScoreSettings(precision="fp32"), "cpu")
    (key,) = stage.keys()
    assert killers(stage, key, memory=2 << 30) == {}
    assert list(killers(stage, key, memory=100 << 20)) == stage.inputs(key)
    assert execute_isolated(stage, key, memory=2 << 30).counts["done"] == len(stage.inputs(key))
