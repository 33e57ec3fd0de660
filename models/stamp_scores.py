"""Stacks of stamps → scores: the stage that runs a network of visual binaries over a partition of one survey."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamps import STACKS, StampFlag
from catalogs.visual_binaries import VISUAL_SCORES
from models.registry import Entry
from models.runtime import Predictor
from models.score import load_predictor
from pipeline import manifest, stores
from pipeline.errors import Corrupt
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import VisualScoreSettings
from pipeline.stage import InputOutcome, Product, Stage, State
from pipeline.stamps import layout
from pipeline.stamps.surveys import REACH

__all__ = ["ScoreStamps", "able"]

_LOT = 256  # stacks in memory at a time, about: 4 MB as they are, 16 MB of HST's


def able(index: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which stacks can show a second star within 2.5 arcsec.

    Parameters
    ----------
    index : pandas.DataFrame
        Columns flags, fwhm_arcsec and pixscale of `catalogs.stamps.STACKS`.

    Notes
    -----
    The survey has to be able to, in general; and in this stack neither its FWHM nor two of its cells may be wider.
    """
    general = (index["flags"].to_numpy(np.int64) & int(StampFlag.UNABLE)) == 0
    widest = np.fmax(index["fwhm_arcsec"].to_numpy(float), 2 * index["pixscale"].to_numpy(float))
    return np.asarray(general & ~(widest > REACH))


class ScoreStamps(Stage):
    """Scores of one model for the stacks of all surveys.

    Parameters
    ----------
    workspace : Folder
        Holds the stacks, receives the scores.
    entry : Entry
        The model, from `Registry.resolve`.
    settings : VisualScoreSettings
        Runtime, precision, batch.
    device : str
        ``cpu``, ``cuda`` or ``auto``; no part of the settings, as it is the cluster's.
    """

    name = layout.SCORE
    version = 3

    settings: VisualScoreSettings

    def __init__(self, workspace: Folder, entry: Entry, settings: VisualScoreSettings, device: str = "cpu") -> None:
        super().__init__(workspace, settings)
        self.entry = entry
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

    def prepare(self) -> None:
        """Load the model, so that a wrong one is told before any actor starts."""
        _ = self.predictor

    def keys(self) -> list[Key]:
        """Return a partition for every one that is stacked, sorted."""
        found = map(Key.parse, manifest.committed(self.workspace, layout.STACK, "stacks"))
        return sorted(layout.score_key(self.entry.id, key) for key in found)

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the identities of a partition's stacks and of the model."""
        return self.require(layout.STACK, layout.stacks_key(key)) | {f"model/{self.entry.id}": self.entry.sha256}

    def inputs(self, key: Key) -> list[str]:
        """Return the stacks of a partition, by row."""
        return _names(self._index(key))

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Score the stacks of a partition and write one row each."""
        index = self._index(key)
        names = np.array(_names(index), object)
        kept = np.array([name not in skip for name in names], bool)
        tells = able(index)
        logits = self._logits(key, index, kept & tells)
        sound: NDArray[np.bool_] = np.asarray(np.isfinite(logits).all(axis=1))
        outcomes = [skip[name] for name in names[~kept]]
        outcomes += [_outcome(*one) for one in zip(names[kept], tells[kept], sound[kept], strict=True)]
        rows = index[kept & (sound | ~tells)]
        table = self._table(key, rows, [one if tell else [] for one, tell in zip(
            logits[rows.index].tolist(), tells[rows.index], strict=True)])  # fmt: skip
        written = Object(*write.write(self.workspace, f"catalogs/{key}.parquet", table, VISUAL_SCORES))
        return Product([written], len(table), outcomes, {"runtime": self.predictor.describe()})

    def probe(self, key: Key, name: str) -> None:
        """Run the network on one stack and throw the score away."""
        index = self._index(key)
        self._logits(key, index, np.array([other == name for other in _names(index)], bool))

    def _index(self, key: Key) -> pd.DataFrame:
        path = layout.stacks_index(layout.stacks_key(key))
        try:
            return write.read(self.workspace, path, STACKS).to_pandas()
        except FileNotFoundError:
            cure = "run ingest_stamps --overwrite"
            raise Corrupt(f"{self.workspace.url(path)}: committed, but not there; {cure}") from None

    def _logits(self, key: Key, index: pd.DataFrame, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the logits (n, classes) of the rows wanted, NaN of the others; the network sees no other."""
        found = np.full((len(index), self.predictor.spec.outputs), np.nan)
        store = layout.stacks_store(layout.stacks_key(key))
        size = self.predictor.batch_size * max(1, _LOT // self.predictor.batch_size)
        places = np.flatnonzero(wanted)
        for first in range(0, len(places), size):
            some = places[first : first + size]
            rows = index["row"].to_numpy()[some]
            pixels = stores.read(self.workspace, store, ["stack"], slice(rows[0], rows[-1] + 1))["stack"]
            found[some] = self._outputs(pixels[rows - rows[0]], index.iloc[some])
        return found

    def _outputs(self, pixels: NDArray[np.floating], index: pd.DataFrame) -> NDArray[np.float32]:
        """Return what the network gives for stacks; NaN of those without a pixel."""
        known = index[list(self.predictor.spec.columns)].to_numpy(np.float64, na_value=np.nan)
        outputs = self.predictor.outputs(pixels, known)
        return np.where(np.isfinite(pixels).any((1, 2))[:, None], outputs, np.nan)

    def _table(self, key: Key, rows: pd.DataFrame, logits: list[list[float]]) -> pa.Table:
        constants = {
            "catalog_release": f"{self.entry.id}-{self.version}", "model_id": self.entry.id,
            "model_sha256": self.entry.sha256, "stage_version": self.version, "settings_hash": self.settings.hash,
            "manifest_key": f"{self.name}/{key}",
        }  # fmt: skip
        own = rows[[name for name in VISUAL_SCORES.names if name in rows]]
        full = own.assign(logits=pd.Series(logits, own.index, object), **constants)
        return pa.Table.from_pandas(full[VISUAL_SCORES.names], VISUAL_SCORES.arrow_schema(), preserve_index=False)


def _names(index: pd.DataFrame) -> list[str]:
    return [f"{source} {survey}" for source, survey in zip(index["source_id"], index["survey"], strict=True)]


def _outcome(name: str, tells: bool, sound: bool) -> InputOutcome:
    if not tells:
        return InputOutcome(name, State.NOTHING, "unable", "does not resolve 2.5 arcsec: nothing is asked of it")
    if sound:
        return InputOutcome(name, State.DONE)
    return InputOutcome(name, State.REJECTED, "no_pixels", "there is no pixel, or the network gave NaN")
