"""Map a stage's keys over Ray Data's actors and report: for a stage with a network, loaded once per actor."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from models.tasks import TRIES, Tally, attempt, isolate, tally
from pipeline.partition import Key
from pipeline.report import Report
from pipeline.stage import Stage

__all__ = ["run"]

log = logging.getLogger(__name__)

_FRUITLESS = 2  # passes in a row without a single answer


class _Actor:
    """Holds a stage, and with it the network's weights, for all the partitions it is given."""

    def __init__(self, stage: Stage, ledger: Any) -> None:
        self.stage = stage
        self.ledger = ledger

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Execute the partitions of a batch."""
        return {"key": list(batch["key"]), "answer": [json.dumps(self._try(key)) for key in batch["key"]]}

    def _try(self, key: str) -> dict[str, Any]:
        if ray.get(self.ledger.begin.remote(key)) > TRIES:
            return {"deadly": True}
        return attempt(self.stage.execute, Key.parse(key))


def _ledger() -> Any:
    """Start the actor that counts how often each partition was begun; it outlives those that execute them."""

    class Ledger:  # in here, so that Ray sends it by value: its process need import nothing of ours
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
    with tally(stage, keys) as counted:
        if left := counted.unsettled():
            quiet()
            ledger = _ledger()
            try:
                _Run(counted, actors, gpus, left, ledger).finish()
            finally:
                ray.kill(ledger)
    return counted.report


def quiet() -> None:
    """Leave progress to `pipeline.progress`: Ray Data's own bars and plans are for its developers."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Tell what a reader of the log learns from, from what was asked for: that there are no bars."""
    return not record.getMessage().startswith("Progress bars disabled")


@dataclass
class _Run:
    """Partitions on their way from `left` into the tally, some of them through `deadly`."""

    counted: Tally
    actors: int
    gpus: float
    left: list[Key]
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
        isolate(self.counted, self.deadly + self.left, self.gpus)

    def _pass(self) -> None:
        """Run what is left, which shrinks as answers come, so that nothing is lost if the actors die.

        Ray Data starts actors anew, and has them take up what they were at, as often as they die: it need not be
        told when to stop, as the ledger gives up whatever has killed `TRIES` of them.
        """
        data = ray.data.from_items([{"key": str(key)} for key in self.left], override_num_blocks=len(self.left))
        answers = data.map_batches(
            _Actor,
            fn_constructor_kwargs={"stage": self.counted.stage, "ledger": self.ledger},
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.actors, len(self.left))),
            num_cpus=1,
            num_gpus=self.gpus,
        )
        for row in answers.iter_rows():
            key, answer = Key.parse(row["key"]), json.loads(row["answer"])
            self.left.remove(key)
            if "deadly" in answer:
                self.deadly.append(key)
            else:
                self.counted.take(key, answer)
