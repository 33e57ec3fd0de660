"""Candidates with truth, as several models score them, and which of them a model may be judged on."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs import schema, write
from catalogs.folder import Folder
from models.braai import load_published
from models.planes import CHANNELS
from models.registry import Entry
from models.scorer import Scorer
from models.splits import split, units
from models.standing import Standing
from pipeline import manifest, stores
from pipeline.errors import Missing, UsageError
from pipeline.images import triplets
from pipeline.images.training import index_path, store_path
from pipeline.partition import Key
from pipeline.settings import TrainSettings

__all__ = ["Candidates", "Examinee", "examinee", "of_arrays", "of_stores", "published", "scored", "seen"]

Pixels = NDArray[np.float32]

_STAGES = ("candidate_set", "gathered_set")  # what makes sets of triplets
_COLUMNS: dict[str, Any] = {"field": "", "object_id": "", "survey": "", "kind": "", "weight": 1.0}


@dataclass(frozen=True)
class Candidates:
    """Triplets with truth.

    Parameters
    ----------
    name : str
        What they are called in a report.
    index : pandas.DataFrame
        Columns of `catalogs.triplets.TRIPLETS`, path (of their store) and part.
    read : callable
        Rows of one path and part → their triplets (n, 3, s, s).
    """

    name: str
    index: pd.DataFrame
    read: Callable[[pd.DataFrame], Pixels]

    def pieces(self, rows: pd.DataFrame) -> Iterator[tuple[NDArray[np.int64], Pixels]]:
        """Yield places among `rows` and their triplets, part by part."""
        for places in rows.groupby(["path", "part"]).indices.values():
            yield places, self.read(rows.iloc[places])


def of_stores(workspace: Folder, names: Sequence[str]) -> Candidates:
    """Return the candidates of sets in a workspace.

    Parameters
    ----------
    workspace : Folder
        Holds ``training/NAME.zarr`` and ``training/NAME.triplets/``.
    names : sequence of str
        Of the sets.

    Raises
    ------
    Missing
        If there is none of that name.
    """
    committed = sorted(Key.parse(key) for stage in _STAGES for key in manifest.committed(workspace, stage, "training"))
    frames = []
    for name in names:
        keys = [key for key in committed if key.where == name]
        if not keys:
            there = ", ".join(sorted({key.where for key in committed})) or "none"
            raise Missing(f"{workspace.url(store_path(name))}: no such set of triplets; there are: {there}")
        for key in keys:
            table = write.read(workspace, index_path(key), schema.TRIPLETS).to_pandas()
            frames.append(table.assign(path=store_path(name), part=key.part))

    def read(rows: pd.DataFrame) -> Pixels:  # numpydoc ignore=GL08
        first, last = int(rows["row"].min()), int(rows["row"].max())
        found = stores.read(workspace, str(rows["path"].iloc[0]), [triplets.NAME], slice(first, last + 1))
        return np.asarray(found[triplets.NAME], np.float32)[rows["row"].to_numpy() - first]

    return Candidates(", ".join(names), pd.concat(frames, ignore_index=True), read)


def of_arrays(path: Path) -> Candidates:
    """Return the candidates of a NumPy file.

    Parameters
    ----------
    path : Path
        ``.npz``: triplet (n, 3, s, s), label (n,) and any column of `catalogs.triplets.TRIPLETS`, without objects.

    Raises
    ------
    UsageError
        If it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        pixels, count = arrays.pop("triplet"), len(arrays["label"])
        index = pd.DataFrame({name: values for name, values in arrays.items() if values.shape == (count,)})
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, BadZipFile, zlib.error) as error:
        raise UsageError(f"{path}: {error}; give a .npz of triplet (n, 3, s, s), label (n,) and columns") from error
    if pixels.ndim != 4 or pixels.shape[:2] != (count, CHANNELS):
        raise UsageError(f"{path}: triplet is {pixels.shape}, label {count} long; give (n, 3, s, s) and (n,)")
    for name, value in _COLUMNS.items():
        index[name] = index.get(name, value)
    index = index.assign(row=np.arange(count), path=str(path), part=np.arange(count) // 512)
    unnamed = index["field"].astype(str) == ""
    index["field"] = index["field"].astype(str).where(~unnamed, index["object_id"].astype(str))
    index["field"] = index["field"].where(index["field"] != "", index["row"].astype(str))
    return Candidates(path.stem, index, lambda rows: np.asarray(pixels[rows["row"].to_numpy()], np.float32))


@dataclass(frozen=True)
class Examinee:
    """A model to be judged.

    Parameters
    ----------
    name : str
        What it is called in a report.
    standing : Standing
        Its calibration and operating point.
    score : callable
        Triplets (n, 3, s, s) → columns of n: logit, and novelty and ood if it has them.
    entry : Entry, optional
        Where it stands in the registry.
    """

    name: str
    standing: Standing
    score: Callable[[Pixels], dict[str, NDArray[Any]]]
    entry: Entry | None = None


def examinee(scorer: Scorer) -> Examinee:
    """Return a model of a registry as one to be judged."""

    def score(pixels: Pixels) -> dict[str, NDArray[Any]]:  # numpydoc ignore=GL08
        found = scorer.score(pixels)
        return {"logit": found.logit, "novelty": found.novelty, "ood": found.ood}

    return Examinee(scorer.entry.id, scorer.standing, score, scorer.entry)


def published(path: str | Path, norm: str = "row") -> Examinee:
    """Return published weights of braai as a model to be judged: its score is its probability, its threshold 0.5."""
    logits = load_published(path, norm)

    def score(pixels: Pixels) -> dict[str, NDArray[Any]]:  # numpydoc ignore=GL08
        empty = ~np.isfinite(pixels).all(1).reshape(len(pixels), -1).any(1)
        return {"logit": np.where(empty, np.nan, logits(pixels.transpose(0, 2, 3, 1)).astype(float))}

    name = Path(path).name.partition(".")[0]
    return Examinee(name, Standing(scale=1.0, offset=0.0, threshold=0.5, prior=0.5), score)


def scored(candidates: Candidates, rows: pd.DataFrame, models: Sequence[Examinee]) -> dict[str, pd.DataFrame]:
    """Return rows of candidates with what each model says of them; the pixels are read once."""
    said: dict[str, list[pd.DataFrame]] = {model.name: [] for model in models}
    for places, pixels in candidates.pieces(rows):
        for model in models:
            said[model.name].append(pd.DataFrame(model.score(pixels), index=places))
    tables = {name: pd.concat(found).sort_index() for name, found in said.items()}
    return {name: rows.reset_index(drop=True).join(table) for name, table in tables.items()}


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
    fold = pd.Series("test", index.index)
    if model.entry is None:
        return fold, f"{model.name}: what its authors trained it on is not known here"
    card = model.entry.card
    sets = [one for about in card.get("data", {}).get("sets", []) for one in about.get("sources", [about])]
    names = [Path(one["store"]).stem for one in sets if "store" in one]
    try:
        learnt = of_stores(workspace, names).index if names else None
    except Missing:
        learnt = None
    if learnt is None:
        told = ", ".join(names) or "nothing that its card names"
        return fold, f"{model.name} learnt from {told}, not here: that it met none of these candidates is not proven"
    known = _folds(model.entry, learnt, card)
    own = pd.MultiIndex.from_frame(index[["path", "row"]]).isin(known.index)
    fold[own] = known.reindex(pd.MultiIndex.from_frame(index.loc[own, ["path", "row"]])).to_numpy()
    if (~own).any():
        taught = learnt[learnt.set_index(["path", "row"]).index.map(known).to_numpy() == "train"]
        unit = units(pd.concat([taught, index[~own]], ignore_index=True)).to_numpy()
        met = np.isin(unit[len(taught) :], unit[: len(taught)])
        fold[fold.index[~own][met]] = "train"
    return fold, ""


def _folds(entry: Entry, learnt: pd.DataFrame, card: Mapping[str, Any]) -> "pd.Series[str]":
    """Return the fold of what a model learnt from, by path and row: as it was told when it was trained."""
    place = ["path", "row"]
    if entry.folder.exists("held_out.parquet"):
        told = write.read(entry.folder, "held_out.parquet").to_pandas()
        held_out = told.set_index(place)["fold"]
    else:
        held_out = split(learnt, TrainSettings.load(None, "train", card["settings"])).set_index(place)["fold"]
    return held_out.reindex(pd.MultiIndex.from_frame(learnt[place])).fillna("train")
