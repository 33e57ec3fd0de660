"""Alerts as they arrive in a folder → committed scores, by actors that stay warm; the catalogue follows."""

import json
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from catalogs import schema, write
from catalogs.folder import Folder
from models.alerts import ScoreAlerts
from models.night import catalogue
from models.registry import Registry
from models.tasks import TRIES, Tally, attempt, isolate
from pipeline.alerts.arrivals import Arrival, Arrivals
from pipeline.alerts.plan import File, Plan
from pipeline.progress import Tick
from pipeline.report import Report
from pipeline.settings import CandidateScoreSettings
from pipeline.stage import State, outcome_path

__all__ = ["watch"]

_LEAST_MB = 1.0  # of a partition, however few files there are for the actors
_PUBLISH_S = 30.0  # between two states of the catalogue, at least
_PUBLISH_SHARE = 0.02  # of the time that may go into them


class _Actor:
    """Holds the stage and its network for all the files that come."""

    def __init__(self, stage: ScoreAlerts) -> None:
        self.stage = stage
        self.stage.prepare()

    def execute(self, number: int, files: Sequence[File]) -> str:
        """Score a partition."""
        self.stage.parts = {number: tuple(files)}
        return json.dumps(attempt(self.stage.execute, self.stage.key(number)))


@dataclass
class _Crew:
    """Actors, what each is at, and what waits for one."""

    stage: ScoreAlerts
    tally: Tally
    idle: list[Any]
    queue: deque[int] = field(default_factory=deque)
    running: dict[Any, tuple[Any, int]] = field(default_factory=dict)
    died: Counter[int] = field(default_factory=Counter)

    @property
    def is_idle(self) -> bool:
        return not self.queue and not self.running

    def finished(self, timeout: float) -> list[int]:
        """Keep the actors busy for a time; return the partitions that are done with."""
        while self.queue and self.idle:
            actor, number = self.idle.pop(), self.queue.popleft()
            self.running[actor.execute.remote(number, self.stage.parts[number])] = (actor, number)
        if not self.running:
            time.sleep(timeout)
            return []
        ready, _ = ray.wait(list(self.running), num_returns=1, timeout=timeout)
        return [number for number in map(self._settle, ready) if number is not None]

    def _settle(self, reference: Any) -> int | None:
        actor, number = self.running.pop(reference)
        self.idle.append(actor)  # Ray starts it anew, should it have died
        key = self.stage.key(number)
        try:
            answer = json.loads(ray.get(reference))
        except RayError:
            self.died[number] += 1
            if self.died[number] < TRIES:
                self.queue.append(number)
                return None
            isolate(self.tally, [key])
            return number
        self.tally.take(key, answer)
        return number


@dataclass
class _Log:
    """Files that are being scored, and how long those took that are."""

    workspace: Folder
    stage: ScoreAlerts
    say: Callable[[str], None]
    open: dict[Path, tuple[Arrival, str, set[int]]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def settle(self, numbers: Collection[int]) -> None:
        """Say of each file that is scored in full what became of it."""
        for path, (arrival, sha256, left) in list(self.open.items()):
            left.difference_update(numbers)
            if not left:
                del self.open[path]
                self.seconds.append(time.time() - arrival.arrived)
                counts = ", ".join(f"{count} {what}" for what, count in self._counts(sha256).items())
                self.say(f"{arrival.name}: {counts}; {self.seconds[-1]:.1f} s after it arrived; {self.latency}")

    @property
    def latency(self) -> str:
        """The 95th percentile of the latency so far."""
        return (
            f"p95 of {len(self.seconds)} files {np.quantile(self.seconds, 0.95):.1f} s" if self.seconds else "no file"
        )

    def _counts(self, sha256: str) -> Counter[str]:
        """Return a file's alerts by final state, those rejected by reason."""
        counts: Counter[str] = Counter()
        for number, files in self.stage.parts.items():
            names = {file.name for file in files if file.sha256 == sha256}
            path = outcome_path(self.stage.name, self.stage.key(number))
            if names and self.workspace.exists(path):
                for row in write.read(self.workspace, path, schema.OUTCOMES).to_pylist():
                    if row["input"].rpartition("#")[0] in names:
                        counts["rows" if row["state"] == State.DONE else f"{row['state']} ({row['reason']})"] += 1
        return counts or Counter({"rows": 0})


class _Watch:
    """Scores what arrives in a folder, until it is told to end."""

    def __init__(
        self, workspace: Folder, model: str, folder: Path, settings: CandidateScoreSettings,
        pool: tuple[int, float], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        count, gpus = pool
        self.workspace, self.settings = workspace, settings
        self.entry = Registry(workspace).resolve(model)
        self.stage = ScoreAlerts(workspace, self.entry, settings, "cuda" if gpus else "cpu", {})
        self.stage.prepare()
        self.plan, self.arrivals = Plan(workspace), Arrivals(folder)
        self.report = Report(self.stage.name, f"{self.entry.id}, alerts of {folder}")
        tally = Tally(self.stage, [], self.report, Tick(self.stage.name, 0, None, math.inf))
        actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=0)(_Actor)
        self.crew = _Crew(self.stage, tally, [actor.remote(self.stage) for _ in range(count)])
        self.actors = list(self.crew.idle)
        self.log = _Log(workspace, self.stage, say)
        self.changed, self.published, self.cost = False, 0.0, 0.0

    def look(self) -> None:
        """Hand new files to the actors."""
        arrived = self.arrivals.ready()
        if not arrived:
            return
        share = sum(one.path.stat().st_size for one in arrived) / len(self.actors)
        size = min(self.settings.part_mb, max(share / 1e6, _LEAST_MB)) * 1e6
        found = self.plan.add([(one.name, one.path) for one in arrived], size)
        known = set(self.stage.parts)
        wanted = {number for one in found.values() for number in one.parts} - known
        self.stage.parts |= {number: self.plan.parts[number] for number in wanted}
        left = {key.part for key in self.crew.tally.settle([self.stage.key(number) for number in sorted(wanted)])}
        self.crew.queue += sorted(left)
        at = left | {number for _, number in self.crew.running.values()} | set(self.crew.queue)
        for one in arrived:
            planned = found[one.path.absolute()]
            if parts := planned.parts & at:
                self.log.open[one.path] = (one, planned.sha256, set(parts))

    def publish(self, now: bool = False) -> None:
        """Make the catalogue of what is scored, if that is new, and not all the time."""
        pause = max(_PUBLISH_S, self.cost / _PUBLISH_SHARE)
        if self.changed and (now or (self.crew.is_idle and time.monotonic() - self.published > pause)):
            started = time.monotonic()
            if self.report.failures:  # as a run over a night: half a partition is not shown as all
                self.report.notes = [f"no catalogue was made, as {len(self.report.failures)} partitions failed"]
            else:
                self.report.notes = catalogue(self.workspace, self.entry)
            self.published, self.changed = time.monotonic(), False
            self.cost = self.published - started

    def step(self, poll: float) -> bool:
        """Look once, work for as long as it takes to look again; return whether nothing is left."""
        self.look()
        ends = time.monotonic() + poll
        while (left := ends - time.monotonic()) > 0:
            done = self.crew.finished(left)
            self.changed = self.changed or bool(done)
            self.log.settle(done)
            if self.crew.is_idle:
                self.publish()
        return self.crew.is_idle and not self.arrivals.waiting


def watch(
    workspace: Folder,
    model: str,
    folder: Path,
    settings: CandidateScoreSettings,
    pool: tuple[int, float],
    poll: float = 1.0,
    once: bool = False,
    say: Callable[[str], None] = print,
) -> Report:
    """Score every file of alerts that arrives in a folder, until Ctrl-C.

    Parameters
    ----------
    workspace : Folder
        Receives scores and catalogue.
    model : str
        As in `Registry.resolve`.
    folder : Path
        Where files arrive; what is there already is scored first, unless it was before.
    settings : CandidateScoreSettings
        Runtime, precision, batch, prior.
    pool : tuple
        Number of actors, GPUs each.
    poll : float
        Seconds between two looks.
    once : bool
        End when all that is there is scored.
    say : callable
        Told of every file: its rows, and how long they took.

    Returns
    -------
    Report
        Of all partitions; its notes tell the latency and where the catalogue is.
    """
    state = _Watch(workspace, model, folder, settings, pool, say)
    try:
        while not state.step(poll) or not once:
            pass
    except KeyboardInterrupt:
        say("interrupted; what is committed stays, and the same command goes on from there")
    finally:
        for actor in state.actors:
            ray.kill(actor)
    state.publish(now=True)
    state.report.notes.insert(0, f"latency: {state.log.latency}")
    return state.report
