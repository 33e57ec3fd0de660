"""Partitions in plain tasks of a real Ray: killers, refusals, errors, interruption, and what is done already."""

import time

import pytest
import ray

from models import tasks
from pipeline import manifest
from pipeline.errors import Mismatch, Stale
from tests.models.toy import Toy


def test_killers_of_workers_are_tried_in_isolation(ray_cluster, workspace):
    stage = Toy(workspace, {1: ["shy"], 4: ["bad"]})
    report = tasks.run(stage, 2)
    assert report.partitions == report.rows == 6 and not report.failures and report.exit_status == 1
    assert report.counts == {"done": 13, "failed": 1, "nothing": 0, "rejected": 0}
    assert manifest.read(workspace, "toy", stage.keys()[4]).counts["failed"] == 1
    assert set(stage.begun(False)) == set(range(6)) and set(stage.begun(True)) == {1, 4}
    assert stage.begun(False).count(1) == stage.begun(False).count(4) == tasks.TRIES


def test_what_is_done_is_not_begun_again_and_the_rest_is(ray_cluster, workspace, monkeypatch):
    stage = Toy(workspace, {2: ["broken"]})
    first = tasks.run(stage, 2)
    assert first.partitions == 5 and first.exit_status == 1
    assert first.failures == {"things/s0001/part-00002": "ValueError: it is broken"}
    assert first.counts["done"] == 10 and first.counts["failed"] == 3
    second = tasks.run(Toy(workspace, {}), 2)
    assert second.partitions == 6 and second.skipped == 5 and second.exit_status == 0
    assert sorted(stage.begun(False)) == [0, 1, 2, 2, 3, 4, 5]
    with monkeypatch.context() as patch:
        patch.setattr(ray, "remote", lambda *_, **__: pytest.fail("a task is started for what is done"))
        assert tasks.run(stage, 2, keys=stage.keys()[:2]).skipped == 2
        patch.setattr(Toy, "version", 2)
        with pytest.raises(Mismatch, match="made by version 1 of toy, this is 2"):
            tasks.run(stage, 2)


def test_a_refusal_ends_it_and_no_more_is_begun(ray_cluster, workspace):
    stage = Toy(workspace, {1: ["changed"], 2: ["sleepy"]})
    with pytest.raises(Stale, match="things/s0001/part-00001: its input has changed"):
        tasks.run(stage, 2)
    assert set(stage.begun(False)) <= {0, 1, 2}
    wait_for_two_cores()


def test_an_interruption_frees_the_workers_and_keeps_what_is_done(ray_cluster, workspace, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    stage = Toy(workspace, {0: ["sleepy"]})
    with monkeypatch.context() as patch:
        patch.setattr(tasks.Tick, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tasks.run(stage, 2)
    wait_for_two_cores()
    done = manifest.committed(workspace, "toy")
    assert "things/s0001/part-00001" in done and "things/s0001/part-00000" not in done
    again = tasks.run(Toy(workspace, {}), 2)
    assert again.exit_status == 0 and again.partitions == 6 and again.skipped == len(done)


def wait_for_two_cores():
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU") != 2:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.1)
