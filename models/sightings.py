"""Which candidates a model has met in training: it learnt from some, some chose its epoch, the others may judge it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from catalogs import write
from catalogs.folder import Folder
from models.ancestry import trainings
from models.examinees import Examinee, of_stores
from models.registry import Entry, Registry
from models.splits import split, units
from pipeline.errors import Missing, ModelNotFound
from pipeline.images.setfile import Cuts
from pipeline.settings import TrainSettings

__all__ = ["met", "seen"]

_ORDER = ("train", "validation", "test")  # what is the first of these to one training is that to the model


def seen(workspace: Folder, model: Examinee, index: pd.DataFrame) -> tuple[pd.Series, str]:
    """Return the fold of each candidate to a model, and what could not be told.

    Parameters
    ----------
    workspace : Folder
        Holds the sets that the model learnt from, if they are still there.
    model : Examinee
        The model.
    index : pandas.DataFrame
        Candidates.

    Returns
    -------
    fold : pandas.Series
        train, validation or test. What the model never met is test, unless it shares an object, a field or sky with
        what it learnt from or was tuned on: then it is train or validation, whichever comes first.
    note : str
        Empty, or why that is not sure.
    """
    if model.entry is None:
        return pd.Series("test", index.index), f"{model.name}: what its authors trained it on is not known here"
    return met(workspace, model.entry, index)


def met(workspace: Folder, entry: Entry, index: pd.DataFrame) -> tuple["pd.Series[str]", str]:
    """Return the fold of each candidate to a model and to those that it began with, and what could not be told.

    Parameters
    ----------
    workspace : Folder
        Holds the sets that they learnt from, if they are still there.
    entry : Entry
        The model.
    index : pandas.DataFrame
        Candidates.

    Returns
    -------
    fold, note
        As of `seen`; what one of the trainings learnt from is train.
    """
    registry = Registry(workspace)
    found = [_met(workspace, card.get("id", entry.id), card, _folder(registry, entry, card), index)
             for card in trainings(registry, entry.card)]  # fmt: skip
    rank = pd.concat([fold.map(_ORDER.index) for fold, _ in found], axis=1).min(axis=1)
    return rank.map(dict(enumerate(_ORDER))), "; ".join(note for _, note in found if note)


def _folder(registry: Registry, entry: Entry, card: Mapping[str, Any]) -> Folder | None:
    """Return where the folds of a training are told, None if its model is gone."""
    name = card.get("id", entry.id)
    if name == entry.id:
        return entry.folder
    try:
        return registry.resolve(f"{entry.name}@{name}").folder
    except ModelNotFound:
        return None


def _met(
    workspace: Folder, name: str, card: Mapping[str, Any], folder: Folder | None, index: pd.DataFrame
) -> tuple["pd.Series[str]", str]:
    """Return the fold of each candidate to one training."""
    fold = pd.Series("test", index.index)
    sets = [(one, about.get("cuts", {})) for about in card.get("data", {}).get("sets", [])
            for one in about.get("sources", [about]) if "store" in one]  # fmt: skip
    tables, gone = [], []
    for one, cuts in sets:
        try:
            table = of_stores(workspace, [Path(one["store"]).stem]).index
            tables.append(table[Cuts(**cuts).keep(table)])
        except Missing:
            gone.append(Path(one["store"]).stem)
    told = ", ".join(gone) or "nothing that its card names"
    note = f"{name} learnt from {told}, not here: that it met none of these candidates is not proven"
    if not tables:
        return fold, note
    learnt = pd.concat(tables).drop_duplicates(["path", "row"], ignore_index=True)
    known = _folds(folder, learnt, card, bool(gone))
    own = pd.MultiIndex.from_frame(index[["path", "row"]]).isin(known.index)
    fold[own] = known.reindex(pd.MultiIndex.from_frame(index.loc[own, ["path", "row"]])).to_numpy()
    if (~own).any():
        unit = units(pd.concat([learnt, index[~own]], ignore_index=True)).to_numpy()
        worst = known.map(_ORDER.index).groupby(unit[: len(learnt)]).min()
        rank_of_others = worst.reindex(unit[len(learnt) :]).fillna(_ORDER.index("test")).astype(int)
        fold[~own] = rank_of_others.map(dict(enumerate(_ORDER))).to_numpy()
    return fold, note if gone else ""


def _folds(
    folder: Folder | None, learnt: pd.DataFrame, card: Mapping[str, Any], is_part: bool
) -> "pd.Series[str]":  # fmt: skip
    """Return the fold of what a model learnt from, by path and row, in its order: as was told when it was trained.

    Where that is lost, it is split again; of a part of it nobody knows what was held out.
    """
    place = ["path", "row"]
    if folder is not None and folder.exists("held_out.parquet"):
        told = write.read(folder, "held_out.parquet").to_pandas()
        held_out = told.set_index(place)["fold"]
    elif is_part:
        return pd.Series("train", pd.MultiIndex.from_frame(learnt[place]))
    else:
        held_out = split(learnt, TrainSettings.load(None, "train", card["settings"])).set_index(place)["fold"]
    return held_out.reindex(pd.MultiIndex.from_frame(learnt[place])).fillna("train")
