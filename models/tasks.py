"""Map a stage's keys over Ray's plain tasks and report: for what keeps nothing in memory that takes long to load.

A network has actors, in `models.pool`. Both import neither: what runs a partition loads its stage's own modules only.
"""

import json
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ray
from ray.exceptions import RayError

from pipeline import errors
from pipeline.commits import each
from pipeline.errors import SkysiftError
from pipeline.isolate import MEMORY_BYTES, execute_isolated
from pipeline.partition import Key
from pipeline.progress import Tick, track
from pipeline.report import Report
from pipeline.stage import Outcome, Stage

__all__ = ["TRIES", "Tally", "attempt", "isolate", "run", "tally"]

log = logging.getLogger(__name__)

#: Executions of a partition by workers that die of it, or with it, before it is tried in isolation.
TRIES = 2


def run(stage: Stage, workers: int, keys: Sequence[Key] | None = None) -> Report:
    """Execute a stage's partitions in tasks of one core on the connected Ray cluster.

    A partition that has killed its worker `TRIES` times is executed in isolation, on a node of the cluster; the others
    go on.

    Parameters
    ----------
    stage : Stage
        Already prepared; each worker fetches it once.
    workers : int
        How many partitions at a time, at most.
    keys : sequence of Key, optional
        Partitions; default all of the stage.

    Returns
    -------
    Report
        One outcome per partition.

    Raises
    ------
    Refused
        If a committed partition was made with other inputs or settings; what has begun is cancelled.
    """
    with tally(stage, keys) as counted:
        if left := counted.unsettled():
            isolate(counted, _spread(counted, left, workers))
    return counted.report


@dataclass
class Tally:
    """Answers of partitions on their way into the report."""

    stage: Stage
    keys: list[Key]
    report: Report
    tick: Tick

    def unsettled(self) -> list[Key]:
        """Count in what is committed already, for which no worker need start, and return the other partitions.

        Raises
        ------
        Refused
            If a committed partition was made with other inputs or settings.
        """
        return self.settle(self.keys)

    def settle(self, keys: Sequence[Key]) -> list[Key]:
        """Count in those of some partitions that are committed already and return the others; as `unsettled`."""
        left = []
        for key, outcome in zip(keys, each(self.stage.settled, keys), strict=True):
            if outcome is None:
                left.append(key)
            else:
                self.take(key, {"outcome": vars(outcome)})
        return left

    def take(self, key: Key, answer: dict[str, Any]) -> None:
        """Count a partition in.

        Raises
        ------
        SkysiftError
            If that is the answer.
        """
        if "refused" in answer:
            raise getattr(errors, answer["refused"], SkysiftError)(*answer["args"])
        if "failed" in answer:
            self.report.fail(key, len(self.stage.inputs(key)), answer["failed"])
        else:
            self.report.add(Outcome(**answer["outcome"]))
        self.tick(1, str(key))


@contextmanager
def tally(stage: Stage, keys: Sequence[Key] | None) -> Iterator[Tally]:
    """Yield an empty `Tally` of a stage's partitions, all by default; it shows progress and takes the time."""
    wanted = list(stage.keys() if keys is None else keys)
    report = Report(stage.name)
    started = time.monotonic()
    with track(stage.name, len(wanted)) as tick:
        yield Tally(stage, wanted, report, tick)
    report.seconds = time.monotonic() - started


def attempt(execute: Callable[..., Outcome], *args: Any) -> dict[str, Any]:
    """Return what becomes of a partition as JSON can carry it; an error is an answer, so that it stops no other."""
    try:
        return {"outcome": vars(execute(*args))}
    except SkysiftError as error:
        return {"refused": type(error).__name__, "args": [str(arg) for arg in error.args]}
    except Exception as error:  # whatever it was: its inputs are failed, the rest goes on
        log.exception("a partition failed")
        return {"failed": f"{type(error).__name__}: {error}"}


@lru_cache(maxsize=1)
def _fetched(stage: Any) -> Stage:
    """Return the stage of a reference; a worker keeps it, and what it has read, from task to task."""
    found: Stage = ray.get(stage)
    return found


def _execute(stage: list[Any], key: str) -> str:
    return json.dumps(attempt(_fetched(stage[0]).execute, Key.parse(key)))


def _spread(counted: Tally, keys: Sequence[Key], workers: int) -> list[Key]:
    """Take the answers of all partitions but those that nothing survives; return these."""
    task = ray.remote(num_cpus=1, max_retries=0)(_execute)  # deaths are counted here, those for want of memory too
    stage = [ray.put(counted.stage)]  # in a list it stays a reference
    queue, running = deque(keys), dict[Any, Key]()
    died, deadly = Counter[Key](), list[Key]()
    try:
        while queue or running:
            while queue and len(running) < workers:
                key = queue.popleft()
                running[task.remote(stage, str(key))] = key
            (ready,), _ = ray.wait(list(running), num_returns=1)
            key = running.pop(ready)
            try:
                answer = json.loads(ray.get(ready))
            except RayError as error:
                log.warning("%s: no answer from its worker (%s)", key, type(error).__name__)
                died[key] += 1
                (queue if died[key] < TRIES else deadly).append(key)
                continue
            counted.take(key, answer)
    finally:
        for begun in running:
            ray.cancel(begun, force=True)  # a gentle one is lost on a task that is just starting
    return deadly


def isolate(counted: Tally, keys: Sequence[Key], gpus: float = 0) -> None:
    """Execute partitions where a worker would, one after the other, each in a child process of a worker.

    Parameters
    ----------
    counted : Tally
        Takes the answers.
    keys : sequence of Key
        Partitions.
    gpus : float
        GPUs each; with one there is no limit of memory.
    """
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=1)(_settle)
    for key in keys:
        log.warning("%s died with its workers; trying it in isolation", key)
        try:
            answer = ray.get(task.remote(counted.stage, key, None if gpus else MEMORY_BYTES))
        except RayError as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        counted.take(key, answer)


def _settle(stage: Stage, key: Key, memory: int | None) -> dict[str, Any]:
    return attempt(execute_isolated, stage, key, memory)
