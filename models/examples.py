"""Which triplets a real/bogus model learns from, and the training itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from catalogs import write
from catalogs.folder import Folder
from models.data import FOLDS, Segments
from models.examinees import identities
from models.fit import check_cluster, fit
from models.inputs import statistics
from models.realbogus import embedding, type_code
from models.reference import Reference
from models.reference import learn as learn_usual
from models.registry import Entry, Registry
from models.sets import Made, facts, make_sets, outline
from models.sightings import met
from models.spec import get_spec
from models.splits import check, split
from models.standing import Standing
from pipeline.errors import UsageError
from pipeline.images import training
from pipeline.images.setfile import Described
from pipeline.settings import TrainSettings

__all__ = ["asked", "gather", "learn_triplets", "outline_triplets", "read_index", "retrained", "usual"]

#: Seconds a triplet and an epoch on one core (measured, bfloat16).
_TRIPLET_S = 0.004

_TOGETHER = 512  # triplets that are looked at together


def learn_triplets(
    workspace: Folder,
    name: str,
    sets: Sequence[Described],
    settings: TrainSettings,
    workers: int,
    gpu: bool,
    overwrite: bool = False,
) -> str:
    """Train a model of triplets on the connected Ray cluster; return its id.

    Parameters
    ----------
    workspace : Folder
        Receives the sets, checkpoints and the model.
    name : str
        Of the model.
    sets : sequence of Described
        What to learn from; made now, as far as they are not there.
    settings : TrainSettings
        From `asked`.
    workers, gpu, overwrite
        As in `models.fit.fit`.
    """
    check_cluster(workers, gpu)
    make_sets(_stages(sets), workers, overwrite)
    examples, told = gather(workspace, name, sets, settings)
    made = fit(workspace, name, examples, told, settings, workers, gpu, overwrite)
    registry = Registry(workspace)
    entry = registry.resolve(f"{name}@{made}")
    if "drift" not in entry.card:
        registry.annotate(entry, {"drift": usual(workspace, entry).model_dump(mode="json")})
    return made


def asked(
    workspace: Folder, name: str, sets: Sequence[Described], config: Path | None, options: Mapping[str, Any]
) -> TrainSettings:
    """Return the settings of a training: by the user's options, else by the sets' files, else as usual.

    Parameters
    ----------
    workspace : Folder
        Holds the model to begin with, if one is named: by its id, or by an alias, which becomes the id.
    name, sets
        As in `learn_triplets`.
    config : Path, optional
        Settings file.
    options : mapping
        Settings of the training that the user gave.

    Raises
    ------
    UsageError
        If two files do not split alike.
    """
    told = [one.file.split.options() for one in sets if one.file is not None]
    if any(one != told[0] for one in told):
        raise UsageError(f"--set: the files split differently, {' and '.join(map(str, told))}; let them say the same")
    given = {option: value for option, value in options.items() if value is not None}
    settings = TrainSettings.load(config, "train", get_spec(name).training, **((told[0] if told else {}) | given))
    if settings.start_from is None:
        return settings
    return settings.model_copy(update={"start_from": Registry(workspace).resolve(f"{name}@{settings.start_from}").id})


def usual(workspace: Folder, entry: Entry) -> Reference:
    """Return what is usual for a model: images and scores of the triplets that chose its best epoch.

    Parameters
    ----------
    workspace : Folder
        Holds the sets that it was trained on.
    entry : Entry
        The model, with ``held_out.parquet`` beside its card.
    """
    scored = write.read(entry.folder, "held_out.parquet").to_pandas()
    rows = scored[(scored["fold"] == "validation") & (scored["weight"] > 0)].reset_index(drop=True)
    standing = Standing.of(entry.card, entry.folder.url("card.json"))
    stored = Segments(workspace, rows, get_spec(entry.name).inputs)
    told = pd.concat([statistics(batch.inputs[0]).set_index(batch.position) for batch in stored.in_order(_TOGETHER)])
    novelty = standing.novelty(embedding(rows))
    known = rows[["survey", "filter", "label", "logit"]].assign(image=rows["field"], novelty=novelty)
    return learn_usual(pd.concat([known, told.sort_index()], axis=1))


def outline_triplets(workspace: Folder, name: str, sets: Sequence[Described], settings: TrainSettings,
                     workers: int) -> str:  # fmt: skip
    """Return what `learn_triplets` would learn from and how long it may take on CPUs; nothing is written."""
    return outline(
        _stages(sets), lambda: gather(workspace, name, sets, settings), settings, workers, (_much, "their triplets"),
        _TRIPLET_S,
    )  # fmt: skip


def gather(
    workspace: Folder, name: str, sets: Sequence[Described], settings: TrainSettings
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the examples with their fold, and for the card where they come from.

    Both labels weigh the same in total, however rare one is. What a model that is begun with has learnt from neither
    chooses an epoch nor judges, and what it was tuned on does not judge.

    Raises
    ------
    UsageError
        If there is nothing to learn from, or a fold lacks a label.
    """
    if not sets:
        raise UsageError("nothing to train on: give --simulated or --set")
    examples = split(read_index(workspace, sets), settings)
    if settings.start_from is not None:
        examples = _unseen(workspace, name, examples, settings)
    examples = _weighted(examples)
    return examples, facts(_stages(sets), sets, examples, _counts)


def _unseen(workspace: Folder, name: str, examples: pd.DataFrame, settings: TrainSettings) -> pd.DataFrame:
    """Return examples without those held out that the model to begin with has learnt from."""
    fold, note = met(workspace, Registry(workspace).resolve(f"{name}@{settings.start_from}"), examples)
    if note:
        print(f"train {name}: {note}")
    # It chose its epoch by its validation: these may choose again, but not judge.
    may_choose = (examples["fold"] == "validation") & (fold != "train")
    left = examples[(examples["fold"] == "train") | may_choose | (fold == "test")].reset_index(drop=True)
    check(left, settings)
    return left


def read_index(workspace: Folder, sets: Sequence[Described]) -> pd.DataFrame:
    """Return one row a triplet that is learnt from of committed sets: their index, and path, part and type_code."""
    frames = []
    for one in sets:
        tables = [training.read_index(workspace, key) for stage in one.stages for key in stage.keys()]  # noqa: SIM118
        frames.append(one.taught(pd.concat(tables, ignore_index=True)))
    index = pd.concat(frames, ignore_index=True)
    if len(sets) > 1:
        index = index.drop_duplicates("candidate_id")
    index["type_code"] = index["kind"].map(type_code).astype("int64")
    return index.sort_values(["path", "row"], ignore_index=True)


def retrained(
    workspace: Folder, entry: Entry, rest: pd.DataFrame, left_out: str, epochs: int, workers: int, gpu: bool
) -> str:
    """Train a model again, as it was, on what is left without an object; return its id, which no alias names.

    Parameters
    ----------
    workspace : Folder
        Holds the stores of the triplets; receives the model.
    entry : Entry
        The model.
    rest : pandas.DataFrame
        Rows of sets in the workspace, as of `read_index`.
    left_out : str
        The object, for the card.
    epochs : int
        Passes over the triplets.
    workers, gpu
        As in `models.fit.fit`.
    """
    settings = TrainSettings.load(None, "train", entry.card["settings"], epochs=epochs)
    # The one that it began with may have seen the object.
    settings = settings.model_copy(update={"start_from": None})
    index = rest.assign(type_code=rest["kind"].map(type_code).astype("int64"))
    examples = _weighted(split(index.sort_values(["path", "row"], ignore_index=True), settings))
    counts = {fold: _counts(examples[examples["fold"] == fold]) for fold in FOLDS}
    # The set that was asked for need not be the model's own.
    partitions = {
        place: identity
        for path, rows in index.groupby("path")
        for place, identity in identities(workspace, str(path), set(rows["part"])).items()
    }
    sets = [{"store": str(path), "triplets": len(rows)} for path, rows in index.groupby("path")]
    data = {"partitions": partitions, "sets": sets, "counts": counts, "left_out_object": left_out}
    return fit(workspace, entry.name, examples, {"data": data}, settings, workers, gpu)


def _much(about: Mapping[str, Any]) -> str:
    return f"{about['fields']} fields" if "fields" in about else "labelled triplets"


def _stages(sets: Sequence[Described]) -> list[Made]:
    return [stage for one in sets for stage in one.stages]


def _weighted(index: pd.DataFrame) -> pd.DataFrame:
    """Return rows with weights such that both labels weigh the same in training; where it was 0 it stays so."""
    taught = index[(index["fold"] == "train") & (index["weight"] > 0)]
    total = taught.groupby("label")["weight"].sum()
    factor = index["label"].map(total.sum() / (2 * total)).fillna(1.0)
    done = index.assign(weight=index["weight"] * factor)
    return done[(done["fold"] != "train") | (done["weight"] > 0)].reset_index(drop=True)


def _counts(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "fields": int(rows["field"].nunique()),
        "triplets": len(rows),
        "real": int(rows["label"].sum()),
        "kinds": {str(kind): int(count) for kind, count in rows["kind"].value_counts().sort_index().items()},
    }
