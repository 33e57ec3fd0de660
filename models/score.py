"""Segments → scores: the stage that runs a network over a partition of curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs import schema, write
from catalogs.folder import Folder
from models.registry import Entry, Registry
from models.runtime import Predictor
from models.spec import get_spec
from pipeline import manifest, stores
from pipeline.errors import Corrupt, Mismatch
from pipeline.lightcurves import combine, preprocess, status
from pipeline.manifest import Object
from pipeline.partition import Key, where_sector
from pipeline.settings import ScoreSettings
from pipeline.stage import InputOutcome, Product, Stage, State

__all__ = ["PRODUCT", "Score", "committed_parts", "discard_systems", "load_predictor", "score_key"]

PRODUCT = "eclipsing_binary_scores"


def score_key(model_id: str, curves: Key) -> Key:
    """Return the key of the scores of a partition of curves; it is the path below ``catalogs/`` too."""
    sector = f"{where_sector(curves.where):04d}{curves.where[5:]}"
    return Key(PRODUCT, f"model={model_id}/sector={sector}", curves.part)


def curves_key(key: Key) -> Key:
    """Return the partition of curves that a partition of scores is made from."""
    return Key("curves", f"s{key.where.rsplit('=', 1)[1]}", key.part)


class Score(Stage):
    """Scores of one model for the segments of some sectors.

    Parameters
    ----------
    workspace : Folder
        Holds the curves; receives the scores.
    entry : Entry
        The model, from `Registry.resolve`.
    names : list of str
        Stores, ``s0001``.
    settings : ScoreSettings
        Runtime, precision, batch.
    device : str
        ``cpu``, ``cuda`` or ``auto``; no part of the settings, as it is the cluster's.
    """

    name = "score"
    version = 2

    settings: ScoreSettings

    def __init__(
        self, workspace: Folder, entry: Entry, names: list[str], settings: ScoreSettings, device: str = "auto"
    ) -> None:
        super().__init__(workspace, settings)
        self.entry = entry
        self.names = names
        self.device = device
        self._predictor: Predictor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_predictor": None}

    @property
    def predictor(self) -> Predictor:
        """The network, loaded at first use and kept: once per actor."""
        if self._predictor is None:
            self._predictor = load_predictor(self.workspace, self.entry, self.settings, self.device)
        return self._predictor

    def keys(self) -> list[Key]:
        """Return a partition for every one that is preprocessed, sorted."""
        keys = []
        for name in self.names:
            found = manifest.committed(self.workspace, "preprocess", f"curves/{name}")
            keys += [score_key(self.entry.id, Key.parse(key)) for key in found]
        return sorted(keys)

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the identities of a partition's curves and of the model."""
        return self.require("preprocess", curves_key(key)) | {f"model/{self.entry.id}": self.entry.sha256}

    def prepare(self) -> None:
        """Check that the stores were made by the recipe that the model needs."""
        wanted = get_spec(self.entry.name).recipe
        for name in self.names:
            recipe = stores.shape(self.workspace, preprocess.store_path(name)).get("recipe")
            if recipe not in (None, wanted):
                raise Mismatch(
                    f"{preprocess.store_path(name)} was made by recipe {recipe}, {self.entry.id} needs {wanted}; "
                    f"run preprocess_sectors --recipe {wanted} --sectors {where_sector(name)} --overwrite"
                )

    def _index(self, key: Key) -> pa.Table:
        path = preprocess.index_path(curves_key(key))
        try:
            return write.read(self.workspace, path, schema.SEGMENTS)
        except FileNotFoundError:
            cure = f"run preprocess_sectors --sectors {where_sector(curves_key(key).where)} --overwrite"
            raise Corrupt(f"{self.workspace.url(path)}: committed, but not there; {cure}") from None

    def inputs(self, key: Key) -> list[str]:
        """Return the segments of a partition, by row."""
        return _names(self._index(key))

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Score the segments of a partition and write one row each."""
        index = self._index(key)
        names = _names(index)
        kept = np.array([name not in skip for name in names], bool)
        scored = self._scores(key, index, kept)
        finite = np.isfinite(scored["score"])
        outcomes = [skip[name] for name in names if name in skip]
        for name, good in zip(np.array(names, object)[kept], finite, strict=True):
            outcomes.append(_outcome(name, bool(good)))
        columns = ("sector", "cadence_s", "tic_id", "segment", "t_start", "t_end")
        table = index.filter(pa.array(kept)).filter(pa.array(finite)).select(columns)
        constants = {
            "catalog_release": f"{self.entry.id}-{self.version}",
            "model_id": self.entry.id,
            "model_sha256": self.entry.sha256,
            "stage_version": self.version,
            "settings_hash": self.settings.hash,
            "manifest_key": f"{self.name}/{key}",
        }
        for name in schema.SCORES.names[len(columns) : -len(constants)]:
            values = scored[name][finite] if name in scored else pa.nulls(len(table), pa.float64())
            table = table.append_column(name, pa.array(values, pa.float64()))
        for name, value in constants.items():
            table = table.append_column(name, pa.repeat(pa.scalar(value), len(table)))
        path = f"catalogs/{key}.parquet"
        written = Object(*write.write(self.workspace, path, table, schema.SCORES))
        return Product([written], len(table), outcomes, {"runtime": self.predictor.describe()})

    def probe(self, key: Key, name: str) -> None:
        """Run the network on one segment and throw the score away."""
        index = self._index(key)
        self._scores(key, index.slice(_names(index).index(name), 1), np.ones(1, bool))

    def _scores(self, key: Key, index: pa.Table, kept: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """Run the network on the rows that are kept, and on no other."""
        if not kept.any():
            return {"score": np.empty(0)}
        curves = curves_key(key)
        first = index["row"][0].as_py()
        rows = slice(first, first + len(index))
        names = self.predictor.spec.inputs
        data = stores.read(self.workspace, preprocess.store_path(curves.where), names, rows)
        return self.predictor.columns(*(data[name][kept] for name in names))


def _names(index: pa.Table) -> list[str]:
    pairs = zip(index["tic_id"].to_pylist(), index["segment"].to_pylist(), strict=True)
    return [f"TIC {tic_id} segment {segment}" for tic_id, segment in pairs]


def _outcome(name: str, finite: bool) -> InputOutcome:
    if finite:
        return InputOutcome(name, State.DONE)
    return InputOutcome(name, State.FAILED, "not_finite", "the network gave no number; report this as a bug")


def load_predictor(workspace: Folder, entry: Entry, settings: ScoreSettings, device: str) -> Predictor:
    """Return a model, ready to score on a device: ``cpu``, ``cuda`` or ``auto``."""
    return Predictor(
        get_spec(entry.name),
        Registry(workspace).load_weights(entry),
        runtime=settings.runtime,
        precision=settings.precision,
        batch_size=settings.batch_size,
        device=device,
    )


def discard_systems(workspace: Folder, model: str, sectors: Sequence[int] | None) -> None:
    """Undo the ephemerides of a model's newest catalogue that rest on some sectors; see `combine.discard`."""
    combine.discard(workspace, Registry(workspace).resolve(model).id, status.planned(workspace, sectors))


def committed_parts(workspace: Folder, model: str) -> set[str]:
    """Return ``s0001/part-00007`` of every partition that a model has scored."""
    entry = Registry(workspace).resolve(model)
    return status.committed_parts(workspace, Score.name, f"{PRODUCT}/model={entry.id}")
