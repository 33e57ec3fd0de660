"""Sets of triplets or stamps that a training begins with: made, told of beforehand, and on the card."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from models.data import FOLDS
from models.fit import make
from pipeline import manifest
from pipeline.images.gathered import Gathered
from pipeline.images.setfile import Described
from pipeline.images.training import CandidateSet
from pipeline.settings import TrainSettings
from pipeline.stamps.training import StampSet

__all__ = ["Made", "facts", "make_sets", "outline"]

Made = CandidateSet | Gathered | StampSet
Told = Mapping[str, Any]


def make_sets(stages: Sequence[Made], workers: int, overwrite: bool = False) -> None:
    """Make what is not there of sets, on the connected Ray cluster."""
    for stage in stages:
        make(stage, workers, overwrite)


def facts(
    stages: Sequence[Made], sets: Sequence[Described | StampSet], examples: pd.DataFrame,
    count: Callable[[pd.DataFrame], Told],
) -> dict[str, Any]:  # fmt: skip
    """Return for the card where examples come from.

    Parameters
    ----------
    stages, sets : sequence
        What makes the sets, and what describes them.
    examples : pandas.DataFrame
        With their fold.
    count : callable
        Returns what there is to say of those of a fold.
    """
    records = [manifest.read(stage.workspace, stage.name, key) for stage in stages for key in stage.keys()]  # noqa: SIM118
    return {"data": {
        "partitions": {manifest.path(one.stage, one.key): one.identity for one in records if one is not None},
        "sets": [one.describe() for one in sets],
        "counts": {fold: count(examples[examples["fold"] == fold]) for fold in FOLDS},
    }}  # fmt: skip


def outline(
    stages: Sequence[Made], gather: Callable[[], tuple[pd.DataFrame, Told]], settings: TrainSettings, workers: int,
    words: tuple[Callable[[Told], str], str], seconds: float,
) -> str:  # fmt: skip
    """Return what a training would learn from and how long it may take on CPUs; nothing is written.

    Parameters
    ----------
    stages : sequence
        What makes the sets.
    gather : callable
        Returns the examples, with their fold, and the `facts`; called only if all sets are there.
    settings, workers
        Epochs, and cores.
    words : tuple
        How much a set is, by what describes it, and what is learnt from it.
    seconds : float
        That an example and an epoch take on one core.
    """
    absent = [stage.describe() for stage in stages if not _complete(stage)]
    if absent:
        much, what = words
        lines = [f"to be made first: {much(about)}, {about['store']}" for about in absent]
        return "\n".join([*lines, f"{settings.epochs} epochs of {what}"])
    examples, told = gather()
    lines = [f"{fold}: {counts}" for fold, counts in told["data"]["counts"].items()]
    minutes = (examples["fold"] == "train").sum() * settings.epochs * seconds / workers / 60
    return "\n".join([*lines, f"{settings.epochs} epochs: about {minutes:.0f} min on {workers} cores"])


def _complete(stage: Made) -> bool:
    return all(manifest.read(stage.workspace, stage.name, key) is not None for key in stage.keys())  # noqa: SIM118
