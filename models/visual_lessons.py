"""Which stacks a model of visual binaries learns from, and the training itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from catalogs.folder import Folder
from models.ancestry import trainings
from models.data import FOLDS, side
from models.fit import check_cluster, fit
from models.registry import Registry
from models.sets import facts, make_sets, outline
from models.spec import get_spec
from models.visual import bin_code
from pipeline.errors import Leak, UsageError
from pipeline.settings import StampSetSettings, TrainSettings
from pipeline.stamps import training
from pipeline.stamps.training import StampSet

__all__ = ["asked", "gather", "learn_stamps", "outline_stamps", "prove", "read_index", "sets", "split"]

#: Seconds a stack and an epoch on one core (measured, float32; 0.004 with bfloat16), and to draw a stack.
_STACK_S, _DRAWN_S = 0.010, 0.016

#: Settings that say which source is in which fold.
_SPLIT = ("seed", "validation", "test", "folds", "fold")


def sets(workspace: Folder, config: Path | None, stacks: int | None = None) -> list[StampSet]:
    """Return the sets that a model of stamps learns from: simulated stacks.

    Parameters
    ----------
    workspace : Folder
        Receives the stores.
    config : Path, optional
        Settings file, section ``[stampset]``.
    stacks : int, optional
        Stacks a survey; default as the settings or their description say.
    """
    return [StampSet(workspace, StampSetSettings.load(config, "stampset", stacks=stacks))]


def asked(workspace: Folder, name: str, config: Path | None, options: Mapping[str, Any]) -> TrainSettings:
    """Return the settings of a training.

    Parameters
    ----------
    workspace : Folder
        Holds the model to begin with, if one is named: by its id, or by an alias, which becomes the id.
    name : str
        Of the model.
    config : Path, optional
        Settings file.
    options : mapping
        What the user gave.

    Raises
    ------
    UsageError
        If it is to be split by something else than source.
    """
    given = {option: value for option, value in options.items() if value is not None}
    settings = TrainSettings.load(config, "train", get_spec(name).training, **given)
    if settings.split_by != "source":
        raise UsageError(f"split_by {settings.split_by}: stamps are split by source; leave it out")
    if settings.start_from is None:
        return settings
    return settings.model_copy(update={"start_from": Registry(workspace).resolve(f"{name}@{settings.start_from}").id})


def learn_stamps(
    workspace: Folder,
    name: str,
    stages: Sequence[StampSet],
    settings: TrainSettings,
    workers: int,
    gpu: bool,
    overwrite: bool = False,
) -> str:
    """Train a model of stamps on the connected Ray cluster; return its id.

    Parameters
    ----------
    workspace : Folder
        Receives the sets, checkpoints and the model.
    name : str
        Of the model.
    stages : sequence of StampSet
        What to learn from; made now, as far as they are not there.
    settings : TrainSettings
        From `asked`.
    workers, gpu, overwrite
        As in `models.fit.fit`.
    """
    check_cluster(workers, gpu)
    make_sets(stages, workers, overwrite)
    examples, told = gather(workspace, stages, settings)
    return fit(workspace, name, examples, told, settings, workers, gpu, overwrite)


def outline_stamps(workspace: Folder, stages: Sequence[StampSet], settings: TrainSettings, workers: int) -> str:
    """Return what `learn_stamps` would learn from and how long it may take on CPUs; nothing is written."""
    count = sum(sum(stage.describe()["stacks"].values()) for stage in stages)
    drawn = count * _DRAWN_S / workers / 60
    learnt = count * (1 - settings.validation - settings.test) * settings.epochs * _STACK_S / workers / 60
    words = (
        lambda about: f"{sum(about['stacks'].values())} stacks",
        f"them; to draw them takes about {drawn:.0f} min on {workers} cores, to learn from them about {learnt:.0f}",
    )
    return outline(stages, lambda: gather(workspace, stages, settings), settings, workers, words, _STACK_S)


def gather(
    workspace: Folder, stages: Sequence[StampSet], settings: TrainSettings
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the examples with their fold, and for the card where they come from.

    Raises
    ------
    UsageError
        If a fold lacks doubles or others, or sources that are held out were learnt from by a model to begin with.
    Leak
        If a source is in two folds.
    """
    if settings.start_from is not None:
        _unmet(Registry(workspace), stages, settings)
    index = pd.concat([read_index(workspace, stage) for stage in stages], ignore_index=True)
    examples = _weighted(split(_mixed(index), settings))
    return examples, facts(stages, stages, examples, _counts)


def _unmet(registry: Registry, stages: Sequence[StampSet], settings: TrainSettings) -> None:
    """Check that what a model to begin with has learnt from is of other sets, or was split alike."""
    name, _, _ = str(settings.start_from).rpartition("-")
    # Sources are called by the name and seed of their set, as its store is, whatever else its description says.
    stores, split = {stage.describe()["store"] for stage in stages}, settings.model_dump(include=set(_SPLIT))
    for card in trainings(registry, registry.resolve(f"{name}@{settings.start_from}").card):
        before, sets = card.get("settings", {}), card.get("data", {}).get("sets")
        if all(before.get(one) == value for one, value in split.items()):
            continue
        if sets is None or stores & {one["store"] for one in sets}:
            raise UsageError(
                f"--start-from {settings.start_from}: it learnt from the same set, split otherwise, or its card does "
                f"not say from what; give another seed in [stampset] of --config, or in [train] what it was split by: "
                f"{', '.join(_SPLIT)}"
            )


def read_index(workspace: Folder, stage: StampSet) -> pd.DataFrame:
    """Return one row a stack of a committed set: its index, and path (of its store), part and bin_code."""
    keys = stage.keys()
    index = pd.concat([training.read_index(workspace, key) for key in keys], ignore_index=True)
    return index.assign(bin_code=bin_code(index["label"].to_numpy(), index["sep_arcsec"].to_numpy(float)))


def split(index: pd.DataFrame, settings: TrainSettings) -> pd.DataFrame:
    """Return rows with their `fold`; whatever surveys a source was seen by, it is in one.

    Parameters
    ----------
    index : pandas.DataFrame
        source_id, label, weight.
    settings : TrainSettings
        seed, validation, test, folds, fold.
    """
    folds = {source: side(source, settings) for source in index["source_id"].unique()}
    done = index.assign(fold=index["source_id"].map(folds))
    done = done[(done["fold"] != "train") | (done["weight"] > 0)].reset_index(drop=True)
    for fold in FOLDS:
        if set(done.loc[done["fold"] == fold, "label"]) != {0, 1}:
            raise UsageError(
                f"the {fold} fold has not both doubles and others ({len(done)} stacks of {len(folds)} sources): "
                "give more stacks, larger shares (settings validation and test), or another --seed"
            )
    prove(done)
    return done


def prove(examples: pd.DataFrame) -> None:
    """Check that no source is in two folds.

    Raises
    ------
    Leak
        If one is; the message names some.
    """
    folds = examples.groupby("source_id")["fold"].nunique()
    if (shared := folds.index[folds > 1]).size:
        raise Leak(f"in two folds: source {', '.join(map(str, shared[:5]))}; split by models.visual_lessons.split")


def _mixed(index: pd.DataFrame) -> pd.DataFrame:
    """Return rows in an order in which every run of partitions has all surveys: it is what a worker learns from.

    Workers who see different surveys disagree on what batch normalisation takes for usual.
    """
    parts = index[["survey", "path", "part"]].drop_duplicates().sort_values(["survey", "path", "part"])
    group = parts.groupby("survey")
    place = (group.cumcount() + 0.5) / group["part"].transform("size")
    ordered = index.merge(parts.assign(place=place), on=["survey", "path", "part"])
    return ordered.sort_values(["place", "path", "part", "row"], ignore_index=True).drop(columns="place")


def _weighted(index: pd.DataFrame) -> pd.DataFrame:
    """Return rows with weights such that in each survey doubles and others weigh the same in training."""
    taught = index[index["fold"] == "train"]
    total = taught.groupby(["survey", "label"])["weight"].sum().rename("total").reset_index()
    share = index[["survey", "label"]].merge(total, how="left", on=["survey", "label"])["total"].to_numpy()
    rows = taught.groupby("survey")["weight"].sum().reindex(index["survey"]).to_numpy()
    factor = pd.Series(rows / (2 * share), index.index).fillna(1.0)
    return index.assign(weight=index["weight"] * factor)


def _counts(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "sources": int(rows["source_id"].nunique()),
        "stacks": len(rows),
        "doubles": int(rows["label"].sum()),
        "surveys": {str(name): int(count) for name, count in rows["survey"].value_counts().sort_index().items()},
        "kinds": {str(kind): int(count) for kind, count in rows["kind"].value_counts().sort_index().items()},
    }
