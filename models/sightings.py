"""Which candidates a model has met in training: it learnt from some, some chose its epoch, the others may judge it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from catalogs import write
from catalogs.folder import Folder
from models.ancestry import trainings
from models.examinees import Examinee, of_stores
from models.registry import Entry, Registry
from models.splits import split, units
from pipeline.errors import Missing
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
        what it learnt from: then it is train.
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
    cards = trainings(Registry(workspace), entry.card)
    found = [_met(workspace, card.get("id", entry.id), card, entry.folder if not place else None, index)
             for place, card in enumerate(cards)]  # fmt: skip
    rank = pd.concat([fold.map(_ORDER.index) for fold, _ in found], axis=1).min(axis=1)
    return rank.map(dict(enumerate(_ORDER))), "; ".join(note for _, note in found if note)


def _met(
    workspace: Folder, name: str, card: Mapping[str, Any], folder: Folder | None, index: pd.DataFrame
) -> tuple["pd.Series[str]", str]:
    """Return the fold of each candidate to one training."""
    fold = pd.Series("test", index.index)
    sets = [(one, about.get("cuts", {})) for about in card.get("data", {}).get("sets", [])
            for one in about.get("sources", [about]) if "store" in one]  # fmt: skip
    names = [Path(one["store"]).stem for one, _ in sets]
    try:
        all_ = [of_stores(workspace, [name]).index for name in names]
    except Missing:
        all_ = []
    if not all_:
        told = ", ".join(names) or "nothing that its card names"
        return fold, f"{name} learnt from {told}, not here: that it met none of these candidates is not proven"
    cut = [one[Cuts(**about).keep(one)] for one, (_, about) in zip(all_, sets, strict=True)]
    learnt = pd.concat(cut, ignore_index=True)
    known = _folds(folder, learnt, card)
    own = pd.MultiIndex.from_frame(index[["path", "row"]]).isin(known.index)
    fold[own] = known.reindex(pd.MultiIndex.from_frame(index.loc[own, ["path", "row"]])).to_numpy()
    if (~own).any():
        taught = learnt[learnt.set_index(["path", "row"]).index.map(known).to_numpy() == "train"]
        unit = units(pd.concat([taught, index[~own]], ignore_index=True)).to_numpy()
        shared = np.isin(unit[len(taught) :], unit[: len(taught)])
        fold[fold.index[~own][shared]] = "train"
    return fold, ""


def _folds(folder: Folder | None, learnt: pd.DataFrame, card: Mapping[str, Any]) -> "pd.Series[str]":
    """Return the fold of what a model learnt from, by path and row: as it was told when it was trained."""
    place = ["path", "row"]
    if folder is not None and folder.exists("held_out.parquet"):
        told = write.read(folder, "held_out.parquet").to_pandas()
        held_out = told.set_index(place)["fold"]
    else:
        held_out = split(learnt, TrainSettings.load(None, "train", card["settings"])).set_index(place)["fold"]
    return held_out.reindex(pd.MultiIndex.from_frame(learnt[place])).fillna("train")
