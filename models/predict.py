"""Map a stage's keys over Ray Data's actors and report. The other runner, over Dask, is `pipeline.run`."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from pydantic import ValidationError
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from catalogs.folder import Folder
from catalogs.known import KnownList
from models.registry import Entry, Registry
from models.score import PRODUCT, Score
from pipeline import errors, manifest
from pipeline.errors import CorruptModel, SkysiftError
from pipeline.isolate import MEMORY_BYTES, execute_isolated
from pipeline.lightcurves import combine, status
from pipeline.lightcurves.evidence import Calibration
from pipeline.partition import Key
from pipeline.progress import Tick, track
from pipeline.report import Report
from pipeline.settings import ScoreSettings, SystemsSettings
from pipeline.stage import Outcome, Stage

__all__ = ["Wanted", "calibration", "run", "score_sectors"]

log = logging.getLogger(__name__)


#: Executions of a partition by actors that die of it, or with it, before it is tried in isolation.
TRIES = 2

# Of an actor, and of a task that waits for one: many may die of what has nothing to do with them, but not for ever.
_RESTARTS = 20

_FRUITLESS = 2  # passes in a row without a single answer


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a catalogue shall tell besides scores.

    Parameters
    ----------
    systems : SystemsSettings, optional
        From which probability on a star's ephemeris is looked for.
    stars : collection of int
        Stars for which it is whatever their probability.
    known : sequence of KnownList
        Published lists that stars are looked up in.
    """

    systems: SystemsSettings | None = None
    stars: Collection[int] = ()
    known: Sequence[KnownList] = ()


class _Actor:
    """Holds a stage, and with it the network's weights, for all the partitions it is given."""

    def __init__(self, stage: Stage, ledger: Any) -> None:
        self.stage = stage
        self.ledger = ledger

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Execute the partitions of a batch; an error is an answer, so that it stops no other partition."""
        return {"key": list(batch["key"]), "answer": [json.dumps(self._try(key)) for key in batch["key"]]}

    def _try(self, key: str) -> dict[str, Any]:
        if ray.get(self.ledger.begin.remote(key)) > TRIES:
            return {"deadly": True}
        return _answer(self.stage.execute, Key.parse(key))


def _answer(execute: Callable[..., Outcome], *args: Any) -> dict[str, Any]:
    """Return what becomes of a partition as JSON can carry it."""
    try:
        return {"outcome": vars(execute(*args))}
    except SkysiftError as error:
        return {"refused": type(error).__name__, "args": [str(arg) for arg in error.args]}
    except Exception as error:  # whatever it was: its inputs are failed, the rest goes on
        log.exception("a partition failed")
        return {"failed": f"{type(error).__name__}: {error}"}


def _settle(stage: Stage, key: Key, memory: int | None) -> dict[str, Any]:
    return _answer(execute_isolated, stage, key, memory)


def _ledger() -> Any:
    """Start the actor that counts how often each partition was begun; it outlives those that execute them."""

    class Ledger:  # in here, so that Ray sends it by value: its process need not import torch
        def __init__(self) -> None:
            self.begun: Counter[str] = Counter()

        def begin(self, key: str) -> int:
            self.begun[key] += 1
            return self.begun[key]

    beside_the_driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=beside_the_driver)
    return remote(Ledger).remote()


def run(stage: Stage, actors: int, gpus: float = 0, keys: Sequence[Key] | None = None) -> Report:
    """Execute a stage's partitions on an actor pool of the connected Ray cluster.

    A partition that has killed its actor `TRIES` times is executed in isolation, on a node of the cluster; the others
    go on. Should the pool itself break down, a fresh one takes over what is left.

    Parameters
    ----------
    stage : Stage
        Already prepared; travels to each actor once.
    actors : int
        How many at most. Those that find no free core or GPU wait for one, and make an autoscaler start nodes; work
        begins with the first.
    gpus : float
        GPUs an actor.
    keys : sequence of Key, optional
        Partitions; default all of the stage.

    Returns
    -------
    Report
        One outcome per partition.

    Raises
    ------
    Refused
        If a committed partition was made with other inputs or settings.
    """
    quiet()
    left = list(stage.keys() if keys is None else keys)
    report = Report(stage.name)
    started = time.monotonic()
    ledger = _ledger()
    try:
        with track(stage.name, len(left)) as tick:
            _Run(stage, actors, gpus, left, report, tick, ledger).finish()
    finally:
        ray.kill(ledger)
    report.seconds = time.monotonic() - started
    return report


def quiet() -> None:
    """Leave progress to `pipeline.progress`: Ray Data's own bars and plans are for its developers."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


@dataclass
class _Run:
    """Partitions on their way from `left` into the report, some of them through `deadly`."""

    stage: Stage
    actors: int
    gpus: float
    left: list[Key]
    report: Report
    tick: Tick
    ledger: Any
    deadly: list[Key] = field(default_factory=list)

    def finish(self) -> None:
        fruitless = 0
        while self.left and fruitless < _FRUITLESS:
            before = len(self.left)
            try:
                self._pass()
            except RayError as error:
                log.warning("the actors died (%s); %d partitions are left", error, len(self.left))
            fruitless = fruitless + 1 if len(self.left) == before else 0
        for key in self.deadly + self.left:
            log.warning("%s died with its actors; trying it in isolation", key)
            self._take(key, self._isolated(key))

    def _pass(self) -> None:
        """Run what is left, which shrinks as answers come, so that nothing is lost if the actors die."""
        data = ray.data.from_items([{"key": str(key)} for key in self.left], override_num_blocks=len(self.left))
        answers = data.map_batches(
            _Actor,
            fn_constructor_kwargs={"stage": self.stage, "ledger": self.ledger},
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.actors, len(self.left))),
            num_cpus=1,
            num_gpus=self.gpus,
            max_restarts=_RESTARTS,
            max_task_retries=_RESTARTS,
        )
        for row in answers.iter_rows():
            key, answer = Key.parse(row["key"]), json.loads(row["answer"])
            self.left.remove(key)
            if "deadly" in answer:
                self.deadly.append(key)
            else:
                self._take(key, answer)

    def _isolated(self, key: Key) -> dict[str, Any]:
        """Execute a partition where an actor would, in a child process of a worker."""
        task = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=1)(_settle)
        try:
            answer: dict[str, Any] = ray.get(task.remote(self.stage, key, None if self.gpus else MEMORY_BYTES))
        except RayError as error:
            return {"failed": f"{type(error).__name__}: {error}"}
        return answer

    def _take(self, key: Key, answer: dict[str, Any]) -> None:
        if "refused" in answer:
            raise getattr(errors, answer["refused"], SkysiftError)(*answer["args"])
        if "failed" in answer:
            self.report.fail(key, len(self.stage.inputs(key)), answer["failed"])
        else:
            self.report.add(Outcome(**answer["outcome"]))
        self.tick(1, str(key))


def score_sectors(
    workspace: Folder,
    model: str,
    sectors: Sequence[int] | None,
    settings: ScoreSettings,
    pool: tuple[int, float],
    overwrite: bool = False,
    allow_missing: bool = False,
    wanted: Wanted | None = None,
) -> Iterator[Report]:
    """Score segments, then make the catalogue of everything the model has scored so far.

    Parameters
    ----------
    workspace : Folder
        Holds the segments, receives scores and catalogue.
    model : str
        ``calnet``, ``calnet@candidate``, ``calnet@<id>``.
    sectors : sequence of int, optional
        Sectors wanted; default all that are planned.
    settings : ScoreSettings
        Runtime, precision, batch.
    pool : tuple
        Number of actors, GPUs each.
    overwrite : bool
        Score again what this model has scored.
    allow_missing : bool
        Go on without partitions that are not preprocessed.
    wanted : Wanted, optional
        Whose ephemerides are looked for, and the lists that stars are looked up in.

    Yields
    ------
    Report
        Of the scores; then, unless a partition of these failed, of the candidates' ephemerides, with the catalogue
        among its notes.

    Raises
    ------
    Missing
        If a sector is not preprocessed, or not in full.
    """
    entry = Registry(workspace).resolve(model)
    workspace.sweep()
    names = status.planned(workspace, sectors)
    if not allow_missing:
        status.check_sectors(workspace, names, sectors)
        status.check_complete(workspace, names, "preprocess")
    if overwrite:
        for name in names:
            for key in manifest.committed(workspace, "score", f"{PRODUCT}/model={entry.id}/sector={name[1:]}"):
                manifest.discard(workspace, "score", key)
    stage = Score(workspace, entry, names, settings, device="cuda" if pool[1] else "cpu")
    stage.prepare()
    report = run(stage, *pool)
    report.label = f"{entry.id}, {len(names)} stores"
    yield report
    if not report.failures:
        yield _catalogue(workspace, entry, pool, wanted or Wanted())


def _catalogue(workspace: Folder, entry: Entry, pool: tuple[int, float], wanted: Wanted) -> Report:
    """Find the candidates' ephemerides on the same actors and put the catalogue together."""
    made = combine.draft(workspace, entry.id, entry.sha256, calibration(entry), wanted.systems, wanted.stars)
    # No GPU is of use here: where one actor a GPU has scored, all cores look for periods.
    actors = pool[0] if not pool[1] else max(int(ray.cluster_resources().get("CPU", 1)), 1)
    report = run(made.systems, actors)
    report.label = f"{entry.id}, {len(made.stars)} stars"
    if made.unscored:
        some = ", ".join(map(str, made.unscored[:5])) + (" …" if len(made.unscored) > 5 else "")
        report.notes.append(f"listed, but without a score: {len(made.unscored)} stars, TIC {some}")
    if report.failures:
        return report
    snapshot = combine.combine(made, wanted.known)
    report.notes.append(f"{workspace.url(snapshot.path)}: {snapshot.rows} rows")
    if Registry(workspace).aliases(entry.name).get("production") == entry.id:
        combine.publish(workspace, snapshot)
        report.notes.append(f"{workspace.url(combine.CURRENT)}: the same")
    else:
        cure = f"python -m jobs.promote {entry.name}@{entry.id} publishes it"
        report.notes.append(f"{combine.CURRENT} is left as it is, {entry.id} is not in production; {cure}")
    return report


def calibration(entry: Entry) -> Calibration | None:
    """Return how a model's scores become probabilities, or None if its card does not say.

    Raises
    ------
    CorruptModel
        If the card says it in no way that is understood.
    """
    if (found := entry.card.get("calibration")) is None:
        return None
    try:
        return Calibration.model_validate(found)
    except ValidationError as error:
        cure = "train it again, or copy its card anew"
        raise CorruptModel(f"{entry.folder.url('card.json')}: calibration: {error}; {cure}") from error
