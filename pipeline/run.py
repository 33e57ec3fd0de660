"""Map a stage's keys over Dask and report. The other runner, over Ray Data, is `models.predict`."""

import logging
import time
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


def run(stage: Stage, client: Client, keys: Sequence[Key] | None = None) -> Report:
    """Execute a stage's partitions on Dask.

    Parameters
    ----------
    stage : Stage
        Already prepared.
    client : distributed.Client
        Where to run it; task names are the keys, so that the dashboard reads.
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
    futures = {client.submit(stage.execute, key, key=f"{stage.name}/{key}", pure=False): key for key in keys}
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


def map_batches(client: Client, function: Callable[..., Any], batches: Sequence[Any], name: str) -> list[Any]:
    """Return ``[function(batch) for batch in batches]``, worked out on Dask, in order.

    Parameters
    ----------
    client : distributed.Client
        Where to run it.
    function : callable
        Pure; called with one batch.
    batches : sequence
        One task each.
    name : str
        Prefix of the task names.
    """
    futures = [
        client.submit(function, batch, key=f"{name}/batch-{number:05d}", pure=False)
        for number, batch in enumerate(batches)
    ]
    with track(name, len(futures)) as tick:
        for _ in as_completed(futures):
            tick()
    return list(client.gather(futures))
