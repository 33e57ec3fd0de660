"""Triplets that an exported network is calibrated on, and others that its scores are compared on."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from catalogs.folder import Folder
from models.examinees import Candidates, examinee, of_arrays, of_stores
from models.scorer import Scorer
from models.sightings import seen
from pipeline.alerts.batches import batches
from pipeline.errors import UsageError
from pipeline.images.training import CandidateSet
from pipeline.settings import CandidateSetSettings, ScoreSettings

__all__ = ["of_alerts", "of_set", "samples", "simulated"]

Pixels = NDArray[np.float32]
Samples = tuple[Pixels, Pixels]

_CALIBRATION, _COMPARED = 512, 2048  # triplets at most
_SEED = 90_417  # of no set that is trained or judged on
_BATCH = 256


def samples(workspace: Folder, model: str, name: str | None = None, alerts: Sequence[Path] = ()) -> Samples:
    """Return triplets to calibrate on and, of other fields or objects, triplets to compare scores on.

    Parameters
    ----------
    workspace : Folder
        Holds the set and the model.
    model : str
        As in `Registry.resolve`: of a set, what it learnt from is left out.
    name : str, optional
        A set of the workspace, or a ``.npz`` file as `models.examinees.of_arrays` takes it.
    alerts : sequence of Path
        Files of alerts. With neither, eight fields are simulated.

    Returns
    -------
    calibration, held_out : (n, 3, 63, 63) float32
        In counts; NaN where there are no pixels.

    Raises
    ------
    UsageError
        If both are given, or nothing is left.
    Missing
        If there is no such set.
    """
    if name is not None and alerts:
        raise UsageError("--set and --alerts: give one of them")
    if alerts:
        return of_alerts(alerts)
    return simulated() if name is None else of_set(workspace, model, name)


def of_set(workspace: Folder, model: str, name: str) -> Samples:
    """Return triplets of a set that the model did not learn from; see `samples`."""
    candidates = of_arrays(Path(name)) if name.endswith(".npz") else of_stores(workspace, [name])
    settings = ScoreSettings.load(None, "score", runtime="torch")
    known = examinee(Scorer.load(workspace, model, settings))
    fold, _ = seen(workspace, known, candidates.index)
    index = candidates.index[fold != "train"].reset_index(drop=True)
    if index.empty:
        raise UsageError(f"{name}: {model} learnt from all of its triplets; give another set")
    return _halves(Candidates(candidates.name, index, candidates.read))


def of_alerts(paths: Sequence[Path]) -> Samples:
    """Return the triplets of alerts, as far as they can be read; see `samples`."""
    found = [batch for batch in batches(paths, _BATCH, centred=True) if len(batch.triplets)]
    if not found:
        raise UsageError(f"{', '.join(map(str, paths))}: no alert with three cutouts; give other files")
    pixels = np.concatenate([batch.triplets for batch in found])
    return _parted([row["object_id"] for batch in found for row in batch.rows], pixels)


def simulated() -> Samples:
    """Return candidates of eight simulated fields; see `samples`."""
    with TemporaryDirectory() as folder:
        workspace = Folder(folder)
        stage = CandidateSet(workspace, CandidateSetSettings(fields=8, seed=_SEED, description=None))
        stage.prepare()
        for key in stage.keys():  # noqa: SIM118 — no mapping
            stage.execute(key)
        return _halves(of_stores(workspace, [stage.where]))


def _halves(candidates: Candidates) -> Samples:
    """Return so many triplets of every second field, and so many of the others."""
    index = candidates.index
    chosen = np.sort(np.concatenate(_places(index["field"])))
    rows = index.iloc[chosen].reset_index(drop=True)
    pieces = list(candidates.pieces(rows))
    order = np.argsort(np.concatenate([places for places, _ in pieces]))
    return _parted(rows["field"], np.concatenate([pixels for _, pixels in pieces])[order])


def _parted(groups: ArrayLike, pixels: Pixels) -> Samples:
    calibration, compared = _places(groups)
    return pixels[calibration], pixels[compared]


def _places(groups: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of every second group, and of the others, spread evenly where there are too many."""
    code = pd.factorize(np.asarray(groups, object), sort=True)[0]
    first, second = np.flatnonzero(code % 2 == 0), np.flatnonzero(code % 2 == 1)
    return _thinned(first, _CALIBRATION), _thinned(second, _COMPARED)


def _thinned(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]
