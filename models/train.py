"""Labelled stars and their light curves → examples, and a model that learnt from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from catalogs.folder import Folder
from models.data import FOLDS, committed_curves, label_segments, segment_index, split, training_index
from models.fit import check_cluster, fit, make
from models.labels import gather
from models.spec import get_spec
from pipeline import manifest
from pipeline.errors import UsageError
from pipeline.lightcurves.training import TrainingSet
from pipeline.settings import TrainSettings

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
    check_cluster(workers, gpu)
    for stage in sets:
        make(stage, workers, overwrite)
    segments, facts = _training_set(workspace, name, labels, negatives, settings, sectors, sets)
    return fit(workspace, name, segments, facts, settings, workers, gpu, overwrite)


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
