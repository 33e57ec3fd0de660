"""Candidates with truth, as several models score them."""

import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.folder import Folder
from models.braai import load_published
from models.planes import CHANNELS
from models.registry import Entry
from models.scorer import Scorer
from models.standing import Standing
from pipeline import manifest, stores
from pipeline.alerts.surveys import PROFILES
from pipeline.errors import Missing, UsageError
from pipeline.images import triplets
from pipeline.images.setfile import load
from pipeline.images.training import read_index, store_path
from pipeline.partition import Key

__all__ = [
    "Candidates",
    "Examinee",
    "examinee",
    "identities",
    "joined",
    "of_arrays",
    "of_description",
    "of_stores",
    "published",
    "scored",
]

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

    Their differences are science - reference. Published networks are shown those of candidates that fade (S/N below 0)
    upside down, as they were taught, unless the alert came like that.

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
        frames += [read_index(workspace, key) for key in keys]

    def read(rows: pd.DataFrame) -> Pixels:  # numpydoc ignore=GL08
        first, last = int(rows["row"].min()), int(rows["row"].max())
        found = stores.read(workspace, str(rows["path"].iloc[0]), [triplets.NAME], slice(first, last + 1))
        return np.asarray(found[triplets.NAME], np.float32)[rows["row"].to_numpy() - first]

    return Candidates(", ".join(names), pd.concat(frames, ignore_index=True), read)


def identities(workspace: Folder, path: str, parts: Collection[int]) -> dict[str, str]:
    """Return which committed partitions of a store of triplets there are: their manifests and identities.

    Parameters
    ----------
    workspace : Folder
        Holds it.
    path : str
        Of the store.
    parts : collection of int
        Partitions that are meant.
    """
    keys = [Key("training", Path(path).stem, part) for part in sorted(parts)]
    records = [manifest.read(workspace, stage, key) for stage in _STAGES for key in keys]
    return {manifest.path(one.stage, one.key): one.identity for one in records if one is not None}


def of_description(workspace: Folder, path: Path) -> Candidates:
    """Return the candidates of a set that a file describes, without what it cuts.

    Parameters
    ----------
    workspace : Folder
        Holds its stores.
    path : Path
        See `pipeline.images.setfile`.

    Raises
    ------
    Missing
        If it is not made.
    """
    found = load(path).gather(workspace)
    for stage in found.stages:
        keys = stage.keys()
        if absent := [key for key in keys if manifest.read(workspace, stage.name, key) is None]:
            cure = f"make it by python -m jobs.train --model realbogus --set {path} --only-sets"
            raise Missing(f"{path}: {len(absent)} of {len(keys)} partitions of {stage.where} are not made; {cure}")
    whole = of_stores(workspace, [stage.where for stage in found.stages])
    return replace(whole, name=path.stem, index=found.taught(whole.index).reset_index(drop=True))


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Return the candidates of several sets of one workspace as one, each once."""
    index = pd.concat([one.index for one in parts], ignore_index=True)
    once = index.drop_duplicates(["path", "row"], ignore_index=True)
    return Candidates(", ".join(one.name for one in parts), once, parts[0].read)


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
    flipped : bool
        It was taught on differences in which candidates that fade are bright, as ZTF sends them.
    """

    name: str
    standing: Standing
    score: Callable[[Pixels], dict[str, NDArray[Any]]]
    entry: Entry | None = None
    flipped: bool = False


def examinee(scorer: Scorer) -> Examinee:
    """Return a model of a registry as one to be judged."""

    def score(pixels: Pixels) -> dict[str, NDArray[Any]]:  # numpydoc ignore=GL08
        found = scorer.score(pixels)
        return {"logit": found.logit, "novelty": found.novelty, "ood": found.ood}

    return Examinee(scorer.entry.id, scorer.standing, score, scorer.entry)


def published(path: str | Path, norm: str = "row") -> Examinee:
    """Return published weights of braai as a model to be judged: its score is its probability, its threshold 0.5.

    It sees raw counts, 0 where there are none. Candidates that fade are bright in the differences that it was taught
    on, so it is shown those of `scored` like that; alerts are scored as they are sent.
    """
    logits = load_published(path, norm)

    def score(pixels: Pixels) -> dict[str, NDArray[Any]]:  # numpydoc ignore=GL08
        empty = ~np.isfinite(pixels).all(1).reshape(len(pixels), -1).any(1)
        return {"logit": np.where(empty, np.nan, logits(pixels.transpose(0, 2, 3, 1)).astype(float))}

    name = Path(path).name.partition(".")[0]
    return Examinee(name, Standing(scale=1.0, offset=0.0, threshold=0.5, prior=0.5), score, flipped=True)


def scored(candidates: Candidates, rows: pd.DataFrame, models: Sequence[Examinee]) -> dict[str, pd.DataFrame]:
    """Return rows of candidates with what each model says of them; the pixels are read once."""
    said: dict[str, list[pd.DataFrame]] = {model.name: [] for model in models}
    for places, pixels in candidates.pieces(rows):
        for model in models:
            shown = _flipped(rows.iloc[places], pixels) if model.flipped else pixels
            said[model.name].append(pd.DataFrame(model.score(shown), index=places))
    tables = {name: pd.concat(found).sort_index() for name, found in said.items()}
    return {name: rows.reset_index(drop=True).join(table) for name, table in tables.items()}


def _flipped(rows: pd.DataFrame, pixels: Pixels) -> Pixels:
    """Return triplets with the difference of candidates that fade upside down, as ZTF sends it.

    In stores the difference is science - reference, and S/N is below 0 where a candidate fades; in those of alerts
    whose survey has turned it already, it stays as it was sent.
    """
    if "snr" not in rows:
        return pixels
    turned = [name for name, profile in PROFILES.items() if profile.flips_negative]
    fades = (rows["snr"] < 0) & ~rows["survey"].isin(turned)
    sign = np.where(fades, -1, 1).astype(np.float32)
    return np.concatenate([pixels[:, :-1], pixels[:, -1:] * sign[:, None, None, None]], axis=1)
