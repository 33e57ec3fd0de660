"""The training set: which segments carry which label, on which side of the split, and their arrays.

A star is on one side only, whatever its sectors and segments; which side follows from the seed and its
identifier alone, so that it stays there when others are added. A split by segment flatters: 99% of the test
segments then have their star in training.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest, stores
from pipeline.errors import Mismatch, Missing, Refused, Stale, UsageError
from pipeline.lightcurves import training
from pipeline.lightcurves.preprocess import Preprocess, index_path, store_path
from pipeline.partition import Key, where_sector
from pipeline.settings import PreprocessSettings, TrainSettings

__all__ = [
    "FOLDS",
    "Batch",
    "Segments",
    "chance",
    "committed_curves",
    "label_segments",
    "segment_index",
    "side",
    "split",
    "training_index",
]

FOLDS = ("train", "validation", "test")


def committed_curves(workspace: Folder, sectors: list[int] | None, recipe: str) -> dict[Key, str]:
    """Return the partitions of curves to train on, each with its manifest's identity.

    Parameters
    ----------
    workspace : Folder
        Holds light curves and curves.
    sectors : list of int or None
        Sectors wanted; None: all that were ingested.
    recipe : str
        What the model was made for.

    Raises
    ------
    Missing
        If a sector or a partition is not preprocessed, naming each.
    Stale
        If one is older than its light curves or this version, naming each.
    Mismatch
        If a store was made by another recipe.
    """
    ingested = [Key.parse(key) for key in manifest.committed(workspace, "ingest", "lightcurves")]
    keys = sorted(Key("curves", k.where, k.part) for k in ingested if _wanted(k.where, sectors))
    absent = sorted(set(sectors or []) - {where_sector(key.where) for key in keys})
    if absent or not keys:
        names = ", ".join(f"sector {sector}" for sector in absent) or "no sector"
        raise Missing(f"{workspace}: {names}: nothing ingested; run `python -m jobs.ingest_sectors` first")
    for name in sorted({key.where for key in keys}):
        found = stores.shape(workspace, store_path(name)).get("recipe")
        if found not in (None, recipe):
            raise Mismatch(
                f"{workspace.url(store_path(name))}: made by recipe {found}, the model needs {recipe}; "
                f"run preprocess_sectors --recipe {recipe} --sectors {where_sector(name)} --overwrite"
            )
    return _identities(workspace, keys)


def _wanted(name: str, sectors: list[int] | None) -> bool:
    return sectors is None or where_sector(name) in sectors


def _identities(workspace: Folder, keys: list[Key]) -> dict[Key, str]:
    identities, missing, stale = {}, [], []
    for key in keys:
        record = manifest.read(workspace, "preprocess", key)
        if record is None:
            missing.append(str(key))
            continue
        settings = PreprocessSettings.load(None, "preprocess", **record.settings)
        try:
            Preprocess(workspace, key.where, settings).compare(key, record)
        except Refused:
            stale.append(str(key))
        identities[key] = record.identity
    if missing:
        cure = "run `python -m jobs.preprocess_sectors`"
        raise Missing(f"{workspace}: not preprocessed: {_some(missing)}; {cure}")
    if stale:
        cure = "run `python -m jobs.preprocess_sectors --overwrite`"
        raise Stale(f"{workspace}: light curves or code have changed since: {_some(stale)}; {cure}")
    return identities


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def segment_index(workspace: Folder, keys: list[Key]) -> pd.DataFrame:
    """Return one row a segment: path (of the store), where, part, row (in the store), tic_id, sector, segment."""
    frames = []
    for key in keys:
        table = write.read(workspace, index_path(key), schema.SEGMENTS)
        columns = table.select(["row", "tic_id", "sector", "segment"])
        frames.append(columns.to_pandas().assign(where=key.where, part=key.part, path=store_path(key.where)))
    return pd.concat(frames, ignore_index=True)


def training_index(workspace: Folder, keys: Sequence[Key]) -> pd.DataFrame:
    """Return one row a segment of committed training sets, with its targets.

    Columns as of `label_segments`, and kind, morph (NaN where unknown) and weight.
    """
    frames = []
    for key in keys:
        table = write.read(workspace, training.index_path(key), schema.TRAINING).to_pandas()
        frames.append(table.assign(where=key.where, part=key.part, path=training.store_path(key.where)))
    index = pd.concat(frames, ignore_index=True)
    index["klass_code"] = index["klass"].map(training.KLASSES)
    index["label"] = (index["klass_code"] >= training.KLASSES["EA"]).astype("int8")
    columns = ["row", "tic_id", "sector", "segment", "where", "part", "path", "label", "klass", "klass_code"]
    return index[[*columns, "kind", "morph", "weight"]].sort_values(["path", "row"], ignore_index=True)


def label_segments(index: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Return the labelled segments of an index, with columns label, klass, klass_code and morph.

    A label without a sector holds in all of them, one with a sector only there.
    """
    everywhere = labels[labels["sector"].isna()].drop(columns="sector")
    somewhere = labels[labels["sector"].notna()].astype({"sector": "int64"})
    found = pd.concat(
        [
            index.merge(everywhere, on="tic_id"),
            index.merge(somewhere[~somewhere["tic_id"].isin(everywhere["tic_id"])], on=["tic_id", "sector"]),
        ]
    )
    found["klass_code"] = _codes(found)
    found["morph"] = np.nan
    return found.sort_values(["path", "row"], ignore_index=True)


def _codes(segments: pd.DataFrame) -> pd.Series:
    """Return the code of each segment's class; of an eclipsing binary whose label names no class, ECLIPSING."""
    named = segments["klass"].str.upper().str.split(":").str[-1].map(training.KLASSES)
    fits = (named >= training.KLASSES["EA"]) == (segments["label"] == 1)
    otherwise = segments["label"].map({0: training.KLASSES["other"], 1: training.ECLIPSING})
    return named.where(fits, otherwise).fillna(otherwise).astype("int64")


def side(unit: int | str, settings: TrainSettings) -> str:
    """Return the fold of a star or field: a hash of seed and identifier, taken as a number in [0, 1).

    Of `folds` folds the `fold`-th is the test; together the folds test every one once. Validation is a share of the
    others, by another hash.
    """
    number = chance(f"{settings.seed}:{unit}")
    if settings.folds is not None:
        if int(number * settings.folds) == settings.fold:
            return "test"
        return "validation" if chance(f"{settings.seed}:{unit}:validation") < settings.validation else "train"
    held_out = settings.test + settings.validation
    return "test" if number < settings.test else "validation" if number < held_out else "train"


def chance(text: str) -> float:
    """Return a number in [0, 1) that follows from a text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split(segments: pd.DataFrame, settings: TrainSettings) -> pd.DataFrame:
    """Return the segments with their `fold`; no star is in two.

    Parameters
    ----------
    segments : pandas.DataFrame
        From `label_segments`.
    settings : TrainSettings
        seed, validation, test, split_by. By sector, whole sectors are held out, and their stars are left out
        of the others.

    Raises
    ------
    UsageError
        If a fold lacks positives or negatives, or there are fewer than three sectors to split by.
    """
    if settings.split_by not in ("star", "sector"):
        raise UsageError(f"split_by {settings.split_by}: light curves are split by star or sector")
    if settings.validation + settings.test >= 1:
        shares = f"validation {settings.validation} + test {settings.test}"
        raise UsageError(f"{shares}: nothing is left to train on; make them smaller")
    if len(segments) and not (segments["label"] == 0).any():
        raise UsageError("no negatives are given: name a list by --negatives, or draw some by --unlisted-as-negative N")
    if settings.split_by == "star":
        folds = {star: side(star, settings) for star in segments["tic_id"].unique()}
        done = segments.assign(fold=segments["tic_id"].map(folds))
    else:
        done = _split_by_sector(segments, settings)
    for fold in FOLDS:
        labels = set(done.loc[done["fold"] == fold, "label"])
        if labels != {0, 1}:
            lacking = " and ".join(n for v, n in ((1, "positive"), (0, "negative")) if v not in labels)
            raise UsageError(
                f"no {lacking} segment in the {fold} fold ({len(done)} labelled segments of "
                f"{done['tic_id'].nunique()} stars): give more stars (--negatives, --unlisted-as-negative), "
                "larger shares (settings validation and test), or another --seed"
            )
    return _weighted(done).reset_index(drop=True)


def _weighted(segments: pd.DataFrame) -> pd.DataFrame:
    """Return segments with a weight; where none is given, both labels weigh the same in total, however rare one is.

    Segments of weight 0 teach nothing, but are scored when they are held out.
    """
    if "weight" in segments:
        return segments[(segments["fold"] != "train") | (segments["weight"] > 0)]
    counts = np.bincount(segments.loc[segments["fold"] == "train", "label"], minlength=2)
    return segments.assign(weight=(counts.sum() / (2 * counts))[segments["label"]])


def _split_by_sector(segments: pd.DataFrame, settings: TrainSettings) -> pd.DataFrame:
    sectors = sorted(segments["sector"].unique())
    if len(sectors) < 3:
        raise UsageError(f"split_by sector needs three sectors or more, here are {sectors}; split by star")
    order = sorted(sectors, key=lambda s: hashlib.sha256(f"{settings.seed}:sector {s}".encode()).digest())
    test = max(1, round(settings.test * len(order)))
    validation = max(1, round(settings.validation * len(order)))
    folds = dict.fromkeys(order, "train") | dict.fromkeys(order[:test], "test")
    folds |= dict.fromkeys(order[test : test + validation], "validation")
    done = segments.assign(fold=segments["sector"].map(folds))
    # A star seen in a held-out sector is held out with it: first for the test, then for the validation.
    tested = done["tic_id"].isin(done.loc[done["fold"] == "test", "tic_id"])
    done = done[~tested | (done["fold"] == "test")]
    validated = done["tic_id"].isin(done.loc[done["fold"] == "validation", "tic_id"])
    return done[~validated | (done["fold"] != "train")]


@dataclass(frozen=True)
class Batch:
    """Some segments: position in their table (n,), one float32 (n, …) an input of the model, one (n,) a target."""

    position: NDArray[np.int64]
    inputs: tuple[NDArray[np.float32], ...]
    targets: dict[str, NDArray[np.generic]]

    def __len__(self) -> int:
        return len(self.position)

    def take(self, rows: NDArray[np.int64]) -> "Batch":
        """Return some of the segments, in the order of `rows`."""
        targets = {name: values[rows] for name, values in self.targets.items()}
        return Batch(self.position[rows], tuple(values[rows] for values in self.inputs), targets)

    @staticmethod
    def join(batches: list["Batch"]) -> "Batch":
        """Return the segments of several batches, in order."""
        if len(batches) == 1:
            return batches[0]
        inputs = tuple(np.concatenate(values) for values in zip(*(b.inputs for b in batches), strict=True))
        position = np.concatenate([b.position for b in batches])
        targets = {name: np.concatenate([b.targets[name] for b in batches]) for name in batches[0].targets}
        return Batch(position, inputs, targets)


@dataclass
class Segments:
    """The share of one worker in a table of segments, read partition by partition.

    Parameters
    ----------
    workspace : Folder
        Holds the stores.
    table : pandas.DataFrame
        Segments with path (of their store), part, row, label, weight and what else `targets` names, sorted by store
        and row.
    inputs : mapping
        Arrays of the store in the order of the network's arguments, with the shape that it wants of a row.
    targets : tuple of str
        Columns of the table that go with the inputs.
    rank, world : int
        This worker and their number. A worker reads a run of neighbouring rows, so that few partitions are
        read twice.
    memory : int
        Bytes of segments to hold. A share that fits is read once; else partitions come in shuffled order, as
        many at a time as fit, and are shuffled among each other.
    prepare : callable, optional
        Turns what is read into what the network sees; then rows may have any shape that it takes.
    columns : tuple of str
        Columns of the table that it takes, too, as one array (n, k) after those of the store.
    seen : sequence of tuple, optional
        Shapes of a row after that.
    """

    workspace: Folder
    table: pd.DataFrame
    inputs: Mapping[str, tuple[int, ...]]
    targets: tuple[str, ...] = ("label", "weight")
    rank: int = 0
    world: int = 1
    memory: int = 2 << 30
    prepare: Callable[..., tuple[NDArray[np.float32], ...]] | None = None
    columns: tuple[str, ...] = ()
    seen: Sequence[tuple[int, ...]] | None = None
    _kept: Batch | None = field(default=None, repr=False)

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Rows of the table that are this worker's."""
        return np.array_split(np.arange(len(self.table)), self.world)[self.rank]

    def steps(self, size: int) -> int:
        """Return how many batches of `size` an epoch has, the same for every worker."""
        return -(-len(self.table) // (size * self.world))

    def in_order(self, size: int) -> Iterator[Batch]:
        """Yield this worker's segments once, in order."""
        for pool in self._pools(np.arange(len(self._blocks))):
            for first in range(0, len(pool), size):
                yield pool.take(np.arange(first, min(first + size, len(pool))))

    def shuffled(self, size: int, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield exactly `steps` batches that hold every segment once; only the last may be smaller."""
        done, rest, batch = 0, None, None
        for pool in self._pools(generator.permutation(len(self._blocks))):
            pool = pool if rest is None else Batch.join([rest, pool])
            order = generator.permutation(len(pool))
            full = len(order) // size * size
            for first in range(0, full, size):
                done, batch = done + 1, pool.take(order[first : first + size])
                yield batch
            rest = pool.take(order[full:])
        if rest is not None and len(rest):
            done, batch = done + 1, rest
            yield rest
        # Shares differ by one segment, and so may batches by one: workers wait for each other at every step.
        if batch is not None and done < self.steps(size):
            yield batch

    @cached_property
    def _blocks(self) -> list[NDArray[np.int64]]:
        mine = self.table.iloc[self.positions]
        return [self.positions[rows] for _, rows in sorted(mine.groupby(["path", "part"]).indices.items())]

    def _pools(self, order: NDArray[np.int64]) -> Iterator[Batch]:
        if self._kept is not None:
            yield self._kept
            return
        shapes = self.inputs.values() if self.seen is None else self.seen
        room = max(1, self.memory // sum(4 * math.prod(shape) for shape in shapes))
        waiting: list[Batch] = []
        for number in order:
            block = self._read(self._blocks[number])
            if waiting and sum(len(batch) for batch in waiting) + len(block) > room:
                yield Batch.join(waiting)
                waiting = []
            waiting.append(block)
        if waiting:
            pool, waiting = Batch.join(waiting), []  # what is joined need not be kept twice
            if len(pool) == len(self.positions):
                pool = pool.take(np.argsort(pool.position))  # the same whatever order it was read in
                self._kept = pool
            yield pool

    def _read(self, positions: NDArray[np.int64]) -> Batch:
        rows = self.table.iloc[positions]
        first, last = int(rows["row"].iloc[0]), int(rows["row"].iloc[-1])
        data = stores.read(self.workspace, str(rows["path"].iloc[0]), self.inputs, slice(first, last + 1))
        wanted = rows["row"].to_numpy() - first
        targets = {name: rows[name].to_numpy() for name in self.targets}
        if self.prepare is not None:
            read = [data[name][wanted].astype(np.float32, copy=False) for name in self.inputs]
            known = [rows[list(self.columns)].to_numpy(np.float64)] if self.columns else []
            return Batch(positions, self.prepare(*read, *known), targets)
        arrays = tuple(
            data[name][wanted].reshape(-1, *shape).astype(np.float32, copy=False) for name, shape in self.inputs.items()
        )
        return Batch(positions, arrays, targets)
