"""Examples and the stores they lie in → a model in the registry, by way of Ray Train.

The driver has Ray Train run `models.loop` on a table of examples, and judges the outcome on those that were not
trained on. Everything of a run lies in ``models/<name>/runs/<hash>/`` of the workspace
until the model is registered: whoever starts the same training again goes on from there.
"""

import io
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from ray.train import (
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    WorkerGroupError,
)
from ray.train.torch import TorchConfig, TorchTrainer
from tensorboardX import SummaryWriter

from catalogs import write
from catalogs.folder import Folder
from models import checkpoint, loop, tasks
from models.ancestry import summary
from models.evaluate import best_epoch
from models.loop import Run, State
from models.registry import Registry
from models.spec import get_spec
from models.splits import rule
from pipeline import manifest
from pipeline.errors import Refused, SkysiftError, UsageError
from pipeline.settings import TrainSettings, digest
from pipeline.stage import Stage

__all__ = ["check_cluster", "fit", "make"]


#: Who is in which fold of light curves.
_BY_STAR = "sha256 of seed:tic_id, as a number in [0, 1), against the shares of test and validation"

#: The same of stamps.
_BY_SOURCE = _BY_STAR.replace("tic_id", "source_id")


def fit(
    workspace: Folder,
    name: str,
    examples: pd.DataFrame,
    facts: dict[str, Any],
    settings: TrainSettings,
    workers: int,
    gpu: bool,
    overwrite: bool = False,
) -> str:
    """Train a model on a table of examples and register it; no alias moves.

    Parameters
    ----------
    workspace : Folder
        Holds the stores that the table names; receives checkpoints and the model. Every worker must see it.
    name : str
        Of the model, see `models.spec`.
    examples : pandas.DataFrame
        Sorted by path and row: path (of a store), part, row, fold, label, weight, and the model's targets.
    facts : dict
        What the card tells of where they come from; anything JSON can hold.
    settings, workers, gpu, overwrite
        As for `train`.

    Returns
    -------
    str
        Id of the model.

    Raises
    ------
    UsageError
        If there are fewer examples than workers.
    SkysiftError
        If training fails; what was reached stays, and the same command goes on from there.
    """
    if (examples["fold"] == "train").sum() < workers:
        raise UsageError(f"--workers {workers}: more than there are examples to train on")
    about = {"model": name, "settings": settings.model_dump(mode="json"), **facts}
    identity = digest(about)[:16]
    run = Run(name, settings, workspace, f"models/{name}/runs/{identity}")
    registry = Registry(workspace)
    if overwrite:
        workspace.remove_tree(run.path)
    elif not run.folder.exists(loop.HISTORY) and (made := _made_by(registry, name, about)):
        print(f"train {name}: {made} was made of the same data, labels and settings; --overwrite trains anew")
        return made
    before = {} if settings.start_from is None else {"rehearsal": summary(registry, settings.start_from)}
    # The table names what every worker reads, so it comes first.
    run.folder.write(loop.INDEX, _parquet(examples))
    with tempfile.TemporaryDirectory(prefix="skysift-train-") as folder:
        with _following(run, folder):
            _fit(run, workers, gpu, folder)
        state = loop.read_state(run)
        if state.error:
            raise SkysiftError(f"{name}: {state.error}; its checkpoints are in {run.folder}")
        scored = write.read(run.folder, loop.PREDICTIONS).to_pandas()
        where = {"workers": workers, "device": "gpu" if gpu else "cpu", "run": identity}
        found, files = get_spec(name).judge(state.history, scored)
        card = _card(run, facts, state, found) | where | before
        files = {**files, "held_out.parquet": _parquet(scored)}
        (events,) = Path(folder).glob("events.*")
        files["tb/events.out.tfevents.training"] = events.read_bytes()
    weights = checkpoint.read_weights(run.folder, card["best_epoch"])
    model_id = registry.save(name, weights, card, files)
    if "report.txt" in files:
        print(f"{model_id}, on sources of the test fold:\n{files['report.txt'].decode()}", end="")
    workspace.remove_tree(run.path)
    return model_id


def check_cluster(workers: int, gpu: bool) -> None:
    """Check that this process is connected to a Ray cluster with so many cores, and GPUs if they are wanted."""
    if not ray.is_initialized():
        raise UsageError("train: not connected to Ray; use cluster.local.ray_session")
    there = ray.cluster_resources()
    for kind in ("CPU", *(("GPU",) if gpu else ())):
        if there.get(kind, 0) < workers:
            raise UsageError(f"--workers {workers}: this Ray cluster has {there.get(kind, 0):g} {kind}s")


def make(stage: Stage, workers: int, overwrite: bool) -> None:
    """Make a training set, as far as it is not there; what there is of another version only to overwrite it.

    Parameters
    ----------
    stage : Stage
        The set.
    workers : int
        Tasks at a time.
    overwrite : bool
        Make anew what is stale.

    Raises
    ------
    SkysiftError
        If a partition fails.
    """
    for key in stage.keys() if overwrite else []:
        record = manifest.read(stage.workspace, stage.name, key)
        try:
            if record is not None:
                stage.compare(key, record)
        except Refused:
            manifest.discard(stage.workspace, stage.name, key)
    stage.prepare()
    report = tasks.run(stage, workers)
    print(report)
    if report.failures:
        where = stage.keys()[0].where
        raise SkysiftError(f"training/{where}.zarr: {len(report.failures)} partitions failed, nothing was trained; "
                           "what is wrong with them is told above, run it again to make them")  # fmt: skip


def _made_by(registry: Registry, name: str, about: dict[str, Any]) -> str | None:
    """Return the id of the workspace's model that was made of the same, in the same way, as its card tells."""
    entries = (registry.resolve(f"{name}@{version}") for version in registry.own_versions(name))
    wanted = digest(about)
    return next((e.id for e in entries if digest({fact: e.card.get(fact) for fact in about}) == wanted), None)


def _parquet(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()


def _fit(run: Run, workers: int, gpu: bool, folder: str) -> None:
    """Run the loop on Ray Train; checkpoints are ours, in the workspace: Ray's own storage may be lost."""
    if len(ray.nodes()) == 1:
        # Nothing preempts this machine, and the watcher's start prints an error; and looking every 2 s is seldom.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    resources = {"CPU": 1.0} | ({"GPU": 1.0} if gpu else {})
    trainer = TorchTrainer(
        loop.work,
        train_loop_config={"run": run},
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo", timeout_s=600),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu, resources_per_worker=resources),
        run_config=RunConfig(
            name=f"{run.model}-{Path(run.path).name}",
            storage_path=f"{folder}/ray",
            failure_config=FailureConfig(max_failures=3),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    try:
        with _signals_kept():
            trainer.fit()
    except WorkerGroupError as error:
        ours = [_cause(failure) for failure in error.worker_failures.values()]
        raise next((e for e in ours if isinstance(e, SkysiftError)), _failed(run, error)) from error
    except TrainingFailedError as error:
        raise _failed(run, error) from error


def _cause(failure: BaseException) -> BaseException:
    return getattr(failure, "_base_exc", failure)


def _failed(run: Run, error: BaseException) -> SkysiftError:
    return SkysiftError(f"training of {run.model} failed: {error}\nrun it again to go on from {run.folder}")


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back the handler of Ctrl-C, which Ray Train replaces for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _following(run: Run, folder: str) -> Iterator[None]:
    """Say a line an epoch and keep TensorBoard's log in `folder`, from the history that the workers write."""
    stop = threading.Event()
    with SummaryWriter(folder) as board:

        def follow() -> None:
            said = 0
            while True:
                over = stop.wait(1.0)
                history = loop.read_state(run).history
                for row in history[said:]:
                    _say(run, row, board)
                said = len(history)
                if over:
                    return

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _say(run: Run, row: dict[str, Any], board: SummaryWriter) -> None:
    print(
        f"train {run.model}: epoch {row['epoch']}/{run.settings.epochs}, loss {row['train_loss']:.4f}, "
        f"validation loss {row['validation_loss']:.4f}, accuracy {row['validation_accuracy']:.4f}, "
        f"AUCPR {row['validation_aucpr']:.4f}, {row['seconds']:.0f} s",
        flush=True,
    )
    for key, value in row.items():
        fold, _, what = key.partition("_")
        if fold in ("train", "validation"):
            board.add_scalar(f"{what}/{fold}", value, row["epoch"])
    board.add_scalar("learning_rate", row["learning_rate"], row["epoch"])


def _card(run: Run, facts: dict[str, Any], state: State, found: dict[str, Any]) -> dict[str, Any]:
    settings = run.settings
    return {
        "model": run.model,
        **facts,
        "split": {
            "by": settings.split_by,
            "seed": settings.seed,
            "rule": _rule(run.model, settings),
        },
        "settings": settings.model_dump(mode="json"),
        "settings_hash": settings.hash,
        "best_epoch": best_epoch(state.history),
        "history": state.history,
        **found,
        "provenance": manifest.provenance(time.time() - state.seconds),
    }


def _rule(model: str, settings: TrainSettings) -> str:
    """Return in words who is in which fold."""
    inputs = get_spec(model).inputs
    return rule(settings) if "triplet" in inputs else _BY_SOURCE if "stack" in inputs else _BY_STAR
