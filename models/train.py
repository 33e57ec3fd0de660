"""Labelled stars and a store of curves → a model in the registry.

The driver gathers and splits the labelled segments, has Ray Train run `models.loop`, and judges the outcome
on stars that were not trained on. Everything of a run lies in ``models/<name>/runs/<hash>/`` of the workspace
until the model is registered: whoever starts the same training again goes on from there.
"""

import io
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
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
from models.data import FOLDS, committed_curves, label_segments, segment_index, split, training_index
from models.evaluate import best_epoch, evaluate, figures
from models.labels import gather
from models.loop import Run, State
from models.registry import Registry
from models.spec import get_spec
from pipeline import manifest
from pipeline.errors import Refused, SkysiftError, UsageError
from pipeline.lightcurves.training import TrainingSet, store_path
from pipeline.settings import TrainSettings, digest

__all__ = ["outline", "train"]

#: Seconds a segment and an epoch on one core (measured: 0.015 in bfloat16, 0.022 without); an order of magnitude.
_SEGMENT_S = 0.02


def train(
    workspace: Folder,
    name: str,
    labels: str | Path | None,
    negatives: str | Path | None,
    settings: TrainSettings,
    sectors: list[int] | None,
    workers: int,
    gpu: bool,
    overwrite: bool = False,
    sets: Sequence[TrainingSet] = (),
) -> str:
    """Train a model on the connected Ray cluster and register it; no alias moves.

    Parameters
    ----------
    workspace : Folder
        Holds the curves; receives checkpoints and the model. Every worker must see it.
    name : str
        Of the model, see `models.spec`.
    labels, negatives : str or Path, optional
        Lists of stars of the workspace's sectors, see `models.labels`.
    settings : TrainSettings
        Epochs, rates, seed, split, limits.
    sectors : list of int or None
        Where to take segments from; None: every sector that was ingested.
    workers : int
        Processes that train together, on one core each, and on one GPU each if `gpu`.
    gpu : bool
        Train on GPUs, with nccl; else on CPUs, with gloo.
    overwrite : bool
        Train anew, though the same run was begun or its model is registered; make training sets anew that are stale.
    sets : sequence of TrainingSet
        Simulated and real stars to learn from beside those of the lists; made now, as far as they are not there.

    Returns
    -------
    str
        Id of the model.

    Raises
    ------
    UsageError
        If lists, settings or cluster do not allow it.
    Refused
        If partitions are missing, stale or of another recipe.
    SkysiftError
        If training fails; what was reached stays, and the same command goes on from there.
    """
    _check_cluster(workers, gpu)
    for stage in sets:
        _make(stage, workers, overwrite)
    segments, facts = _training_set(workspace, name, labels, negatives, settings, sectors, sets)
    if facts["data"]["counts"]["train"]["segments"] < workers:
        raise UsageError(f"--workers {workers}: more than there are segments to train on")
    about = {"model": name, "settings": settings.model_dump(mode="json"), **facts}
    identity = digest(about)[:16]
    run = Run(name, settings, workspace, f"models/{name}/runs/{identity}")
    registry = Registry(workspace)
    if overwrite:
        workspace.remove_tree(run.path)
    elif not run.folder.exists(loop.HISTORY) and (made := _made_by(registry, name, about)):
        print(f"train {name}: {made} was made of the same curves, labels and settings; --overwrite trains anew")
        return made
    before = {} if settings.start_from is None else {"rehearsal": summary(registry, settings.start_from)}
    # The table names what every worker reads, so it comes first.
    run.folder.write(loop.INDEX, _parquet(segments))
    with tempfile.TemporaryDirectory(prefix="skysift-train-") as folder:
        with _following(run, folder):
            _fit(run, workers, gpu, folder)
        state = loop.read_state(run)
        if state.error:
            raise SkysiftError(f"{name}: {state.error}; its checkpoints are in {run.folder}")
        scored = write.read(run.folder, loop.PREDICTIONS).to_pandas()
        where = {"workers": workers, "device": "gpu" if gpu else "cpu", "run": identity}
        card = _card(run, facts, state, scored) | where | before
        files = figures(state.history, scored[scored["fold"] == "test"], get_spec(name).threshold)
        files["held_out.parquet"] = _parquet(scored)
        (events,) = Path(folder).glob("events.*")
        files["tb/events.out.tfevents.training"] = events.read_bytes()
    weights = checkpoint.read_weights(run.folder, card["best_epoch"])
    model_id = registry.save(name, weights, card, files)
    workspace.remove_tree(run.path)
    return model_id


def outline(
    workspace: Folder,
    name: str,
    labels: str | Path | None,
    negatives: str | Path | None,
    settings: TrainSettings,
    sectors: list[int] | None,
    workers: int,
    sets: Sequence[TrainingSet] = (),
) -> str:
    """Return what `train` would learn from and how long it may take on CPUs; no Ray is needed, nothing is written."""
    absent = [stage.describe() for stage in sets if not _complete(workspace, stage)]
    if absent:
        lines = [f"to be made first: {about['stars']} stars, {about['store']}" for about in absent]
        stars = sum(stage.describe()["stars"] for stage in sets)
        return "\n".join([*lines, f"{settings.epochs} epochs of the segments of {stars} stars"])
    _, facts = _training_set(workspace, name, labels, negatives, settings, sectors, sets)
    data = facts["data"]
    lines = [f"{data['labelled_stars']} labelled stars, {data['labelled_stars_with_segments']} of them with segments"]
    for fold, counts in data["counts"].items():
        text = "{stars} stars ({positive_stars} eclipsing binaries), {segments} segments ({positive_segments})"
        lines.append(f"{fold}: {text.format(**counts)}")
    segments = data["counts"]["train"]["segments"]
    seconds = segments * settings.epochs * _SEGMENT_S / workers
    most = settings.max_seconds
    limit = "" if most is None or most > seconds else f", stopped after {most:g} s"
    spent = f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"
    return "\n".join([*lines, f"{settings.epochs} epochs of {segments} segments: {spent} on {workers} cores{limit}"])


def _complete(workspace: Folder, stage: TrainingSet) -> bool:
    keys = stage.keys()
    return all(manifest.read(workspace, stage.name, key) is not None for key in keys)


def _make(stage: TrainingSet, workers: int, overwrite: bool) -> None:
    """Make a training set, as far as it is not there; what there is of another version only to overwrite it."""
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
        raise SkysiftError(f"{store_path(stage.where)}: {len(report.failures)} partitions failed, nothing was trained; "
                           "what is wrong with them is told above, run it again to make them")  # fmt: skip


def _made_by(registry: Registry, name: str, about: dict[str, Any]) -> str | None:
    """Return the id of the workspace's model that was made of the same, in the same way, as its card tells."""
    entries = (registry.resolve(f"{name}@{version}") for version in registry.own_versions(name))
    wanted = digest(about)
    return next((e.id for e in entries if digest({fact: e.card.get(fact) for fact in about}) == wanted), None)


def _check_cluster(workers: int, gpu: bool) -> None:
    if not ray.is_initialized():
        raise UsageError("train: not connected to Ray; use cluster.local.ray_session")
    there = ray.cluster_resources()
    for kind in ("CPU", *(("GPU",) if gpu else ())):
        if there.get(kind, 0) < workers:
            raise UsageError(f"--workers {workers}: this Ray cluster has {there.get(kind, 0):g} {kind}s")


def _training_set(
    workspace: Folder,
    name: str,
    labels: str | Path | None,
    negatives: str | Path | None,
    settings: TrainSettings,
    sectors: list[int] | None,
    sets: Sequence[TrainingSet],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return labelled segments with their fold, and for the card where they come from."""
    recipe = get_spec(name).recipe
    tables: list[pd.DataFrame] = []
    facts: dict[str, Any] = {"partitions": {}}
    if labels is not None:
        partitions = committed_curves(workspace, sectors, recipe)
        index = segment_index(workspace, list(partitions))
        stars, sources = gather(labels, negatives, index["tic_id"], settings.unlisted_as_negative, settings.seed)
        tables.append(label_segments(index, stars))
        facts |= sources | {"labelled_stars": int(stars["tic_id"].nunique())}
        facts["partitions"] = {manifest.path("preprocess", key): value for key, value in partitions.items()}
    for stage in sets:
        keys = stage.keys()
        records = [manifest.read(workspace, stage.name, key) for key in keys]
        facts["partitions"] |= {manifest.path(r.stage, r.key): r.identity for r in records if r is not None}
        tables.append(training_index(workspace, keys))
        facts.setdefault("sets", []).append(stage.describe())
    if not tables:
        raise UsageError(f"nothing to train {name} on: give --labels, --simulated or --labelled")
    labelled = pd.concat(tables, ignore_index=True).sort_values(["path", "row"], ignore_index=True)
    segments = split(labelled, settings)
    counts = {fold: _counts(segments[segments["fold"] == fold]) for fold in FOLDS}
    facts |= {
        "labelled_stars_with_segments": int(labelled["tic_id"].nunique()),
        "segments_left_out_by_split": len(labelled) - len(segments),
        "counts": counts,
    }
    facts.setdefault("labelled_stars", facts["labelled_stars_with_segments"])
    return segments, {"recipe": recipe, "data": facts}


def _counts(segments: pd.DataFrame) -> dict[str, Any]:
    stars = segments.drop_duplicates("tic_id")
    return {
        "stars": len(stars),
        "segments": len(segments),
        "positive_stars": int(stars["label"].sum()),
        "positive_segments": int(segments["label"].sum()),
        "stars_by_class": {str(k): int(n) for k, n in stars["klass"].value_counts().sort_index().items()},
    }


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


def _card(run: Run, facts: dict[str, Any], state: State, scored: pd.DataFrame) -> dict[str, Any]:
    settings = run.settings
    return {
        "model": run.model,
        **facts,
        "split": {
            "by": settings.split_by,
            "seed": settings.seed,
            "rule": "sha256 of seed:tic_id, as a number in [0, 1), against the shares of test and validation",
        },
        "settings": settings.model_dump(mode="json"),
        "settings_hash": settings.hash,
        "best_epoch": best_epoch(state.history),
        "history": state.history,
        "metrics": {
            fold: evaluate(scored[scored["fold"] == fold], get_spec(run.model).threshold)
            for fold in ("validation", "test")
        },
        "provenance": manifest.provenance(time.time() - state.seconds),
    }
