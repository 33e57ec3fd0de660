"""Map a stage's keys over Ray Data's actors and report. The other runner, over Dask, is `pipeline.run`."""

import json
import logging
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from catalogs.folder import Folder
from models.registry import Registry
from models.score import PRODUCT, Score
from pipeline import errors, manifest
from pipeline.errors import SkysiftError
from pipeline.isolate import execute_isolated
from pipeline.lightcurves import combine, status
from pipeline.partition import Key
from pipeline.progress import Tick, track
from pipeline.report import Report
from pipeline.settings import ScoreSettings
from pipeline.stage import Outcome, Stage

__all__ = ["run", "score_sectors"]

log = logging.getLogger(__name__)


class _Actor:
    """Holds a stage, and with it the network's weights, for all the partitions it is given."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Execute the partitions of a batch; an error is an answer, so that it stops no other partition."""
        return {"key": list(batch["key"]), "answer": [json.dumps(self._answer(key)) for key in batch["key"]]}

    def _answer(self, key: str) -> dict[str, Any]:
        try:
            return {"outcome": vars(self.stage.execute(Key.parse(key)))}
        except SkysiftError as error:
            return {"refused": type(error).__name__, "message": str(error)}
        except Exception as error:  # whatever it was: its inputs are failed, the rest goes on
            log.exception("%s", key)
            return {"failed": f"{type(error).__name__}: {error}"}


def run(stage: Stage, actors: int, gpus: float = 0, keys: Sequence[Key] | None = None) -> Report:
    """Execute a stage's partitions on an actor pool of the connected Ray cluster.

    Parameters
    ----------
    stage : Stage
        Already prepared; travels to each actor once.
    actors : int
        How many.
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
    with track(stage.name, len(left)) as tick:
        deaths = 0
        while left and deaths < 2:
            before = len(left)
            try:
                _pass(stage, left, actors, gpus, report, tick)
            except RayError as error:
                log.warning("the actors died (%s); going on with %d partitions", error, len(left))
            deaths = deaths + 1 if len(left) == before else 0
        for key in left:
            log.warning("%s killed its actors; trying its inputs one by one", key)
            _settle(stage, key, report)
            tick(1, str(key))
    report.seconds = time.monotonic() - started
    return report


def quiet() -> None:
    """Leave progress to `pipeline.progress`: Ray Data's own bars and plans are for its developers."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def _pass(stage: Stage, left: list[Key], actors: int, gpus: float, report: Report, tick: Tick) -> None:
    """Run the keys of `left`, which shrinks as answers come, so that nothing is lost if the actors die."""
    data = ray.data.from_items([{"key": str(key)} for key in left], override_num_blocks=len(left))
    answers = data.map_batches(
        _Actor,
        fn_constructor_kwargs={"stage": stage},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(left))),
        num_cpus=1,
        num_gpus=gpus,
    )
    for row in answers.iter_rows():
        key, answer = Key.parse(row["key"]), json.loads(row["answer"])
        if "refused" in answer:
            raise getattr(errors, answer["refused"], SkysiftError)(answer["message"])
        if "failed" in answer:
            report.fail(key, len(stage.inputs(key)), answer["failed"])
        else:
            report.add(Outcome(**answer["outcome"]))
        left.remove(key)
        tick(1, str(key))


def _settle(stage: Stage, key: Key, report: Report) -> None:
    try:
        report.add(execute_isolated(stage, key))
    except ChildProcessError as error:
        report.fail(key, len(stage.inputs(key)), str(error))


def score_sectors(
    workspace: Folder,
    model: str,
    sectors: Sequence[int] | None,
    settings: ScoreSettings,
    pool: tuple[int, float],
    overwrite: bool = False,
    allow_missing: bool = False,
) -> Report:
    """Score segments, then combine everything the model has scored so far.

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

    Raises
    ------
    Missing
        If a sector is not preprocessed, or not in full.
    """
    entry = Registry(workspace).resolve(model)
    workspace.sweep()
    names = status.planned(workspace, sectors)
    status.check_sectors(workspace, names, sectors)
    if not allow_missing:
        status.check_complete(workspace, names, "preprocess")
    if overwrite:
        for name in names:
            for key in manifest.committed(workspace, "score", f"{PRODUCT}/model={entry.id}/sector={name[1:]}"):
                manifest.discard(workspace, "score", key)
    stage = Score(workspace, entry, names, settings, device="cuda" if pool[1] else "cpu")
    stage.prepare()
    report = run(stage, *pool)
    report.label = f"{entry.id}, {len(names)} stores"
    if not report.failures:
        snapshot = combine.combine(workspace, entry.id, entry.sha256)
        report.notes.append(f"{workspace.url(snapshot.path)}: {snapshot.rows} stars")
        if Registry(workspace).aliases(entry.name).get("production") == entry.id:
            combine.publish(workspace, snapshot)
            report.notes.append(f"{workspace.url(combine.CURRENT)}: the same")
        else:
            cure = f"python -m jobs.promote {entry.name}@{entry.id} publishes it"
            report.notes.append(f"{combine.CURRENT} is left as it is, {entry.id} is not in production; {cure}")
    return report
