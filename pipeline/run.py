"""Map a stage's keys over Dask and report. The runners over Ray are `models.tasks` and `models.pool`.

Without a client the work is done here, one key after the other: what takes seconds is not worth a cluster.
"""

import itertools
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from distributed import Client, KilledWorker, as_completed

from pipeline.errors import SkysiftError
from pipeline.isolate import execute_isolated
from pipeline.partition import Key
from pipeline.progress import track
from pipeline.report import Report
from pipeline.stage import Outcome, Stage

__all__ = ["map_batches", "run"]

log = logging.getLogger(__name__)


def run(stage: Stage, client: Client | None, keys: Sequence[Key] | None = None) -> Report:
    """Execute a stage's partitions on Dask.

    Parameters
    ----------
    stage : Stage
        Already prepared.
    client : distributed.Client or None
        Where to run it; task names are the keys, so that the dashboard reads. None: here.
    keys : sequence of Key, optional
        Partitions; default all of the stage.

    Returns
    -------
    Report
        One outcome per partition.

    Raises
    ------
    Refused
        If a committed partition was made with other inputs or settings; the rest is cancelled.
    """
    keys = stage.keys() if keys is None else keys
    report = Report(stage.name)
    started = time.monotonic()
    if client is None:
        for key in keys:
            report.add(stage.execute(key))
        report.seconds = time.monotonic() - started
        return report
    run_id = _run_id()
    futures = {client.submit(stage.execute, key, key=f"{stage.name}/{key}-{run_id}", pure=False): key for key in keys}
    with track(stage.name, len(keys)) as tick:
        for future in as_completed(futures):
            key = futures[future]
            try:
                report.add(_result(stage, key, future))
            except SkysiftError:
                client.cancel(list(futures))
                raise
            except Exception as error:  # noqa: BLE001 — whatever a task raised: its inputs are failed, the rest goes on
                report.fail(key, len(stage.inputs(key)), f"{type(error).__name__}: {error}")
            future.release()
            tick(1, str(key))
    report.seconds = time.monotonic() - started
    return report


def _result(stage: Stage, key: Key, future: object) -> Outcome:
    try:
        outcome: Outcome = future.result()  # type: ignore[attr-defined]
    except KilledWorker:
        log.warning("%s killed its workers; trying its inputs one by one", key)
        outcome = execute_isolated(stage, key)
    return outcome


def _run_id() -> str:
    """Return a word that tells this run's tasks from another driver's on the same scheduler."""
    return uuid.uuid4().hex[:6]


def map_batches(
    client: Client | None, function: Callable[[list[Any]], list[Any]], items: Sequence[Any], size: int, name: str
) -> tuple[list[Any], list[Any]]:
    """Apply a function to batches of items on Dask.

    Parameters
    ----------
    client : distributed.Client or None
        Where to run it; None: here, all items at once.
    function : callable
        Takes a list of items and returns a list of results.
    items : sequence
        What to work on.
    size : int
        Items a task.
    name : str
        Prefix of the task names.

    Returns
    -------
    results : list
        In no particular order.
    killers : list
        Items that kill a worker even alone.
    """
    if client is None:
        return (function(list(items)) if items else []), []
    run_id, number = _run_id(), itertools.count()
    queue = as_completed()

    def submit(batch: list[Any]) -> None:
        """Start a task for a batch and remember which it is."""
        future = client.submit(function, batch, key=f"{name}/batch-{next(number):05d}-{run_id}", pure=False)
        batches[future] = batch
        queue.add(future)

    batches: dict[Any, list[Any]] = {}
    results: list[Any] = []
    killers: list[Any] = []
    for start in range(0, len(items), size):
        submit(list(items[start : start + size]))
    with track(name, len(items)) as tick:
        for future in queue:
            batch = batches.pop(future)
            try:
                results += future.result()
            except KilledWorker:
                middle = len(batch) // 2
                if middle:
                    submit(batch[:middle])
                    submit(batch[middle:])
                    continue
                killers += batch
            tick(len(batch))
    return results, killers
