"""A trained model's scores → calibrated probabilities of stars, learnt and checked on stars it was not trained on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.folder import Folder
from models import predict
from models.ancestry import learnt, trainings
from models.data import training_index
from models.registry import Registry
from models.runtime import Predictor
from models.spec import get_spec
from pipeline import stores
from pipeline.lightcurves.calibration import Calibration, fit
from pipeline.lightcurves.evidence import evidence, recalibrate
from pipeline.lightcurves.training import KLASSES, TrainingSet
from pipeline.metrics import wilson
from pipeline.settings import CalibrationSettings, TrainSettings
from pipeline.simulate.population import shares

__all__ = ["calibrate", "check"]

Floats = NDArray[np.float64]

_SEEN = (1, 3, 10, 30)  # sectors
_BINS = 10
_RESAMPLES = 1000


def calibrate(
    workspace: Folder,
    model_id: str,
    sets: Sequence[TrainingSet],
    trained: TrainSettings,
    settings: CalibrationSettings,
    workers: int,
) -> Calibration:
    """Fit and check the calibration of a model, and put both into its card.

    Three kinds of stars count, none of which the network was trained on: those that its training held out, simulated
    and real, and simulated ones seen in many sectors each, made now.

    Parameters
    ----------
    workspace : Folder
        Holds the model and its training sets; receives the simulated stars.
    model_id : str
        Of the model, as `models.train.train` returns it.
    sets : sequence of TrainingSet
        What the model and its rehearsal were trained on.
    trained : TrainSettings
        How, which tells whom they held out.
    settings : CalibrationSettings
        Prior, precision of the tiers, stars, sectors.
    workers : int
        Actors that simulate.

    Returns
    -------
    Calibration
        Fitted on half the stars; the other half is what the figures in the card are of.
    """
    name = model_id.rpartition("-")[0]
    registry = Registry(workspace)
    entry = registry.resolve(f"{name}@{model_id}")
    predictor = Predictor(get_spec(name), registry.load_weights(entry))
    frames = [_scored(workspace, predictor, _held_out(workspace, stage, trained)) for stage in sets]
    known = next(stage.settings for stage in sets if stage.labelled is None)
    often = {"stars": settings.stars, "seed": (known.seed + 1) % 1000, "sectors": settings.sectors}
    stage = TrainingSet(workspace, known.model_copy(update=often))
    stage.prepare()
    print(predict.run(stage, workers))
    frames.append(_scored(workspace, predictor, training_index(workspace, stage.keys())))
    stars = _counted(pd.concat(frames, ignore_index=True))
    learnt = (stars["tic_id"] // 2) % 2 == 0  # simulated identifiers are consecutive, real ones as good as random
    calibration = fit(stars[learnt], settings.prior, settings.precision, settings.low_precision)
    facts = {"calibration": calibration.model_dump(mode="json")}
    facts["calibration_check"] = check(stars[~learnt], calibration) | {"seen_often": stage.describe()}
    registry.annotate(entry, facts)
    return calibration


def _held_out(workspace: Folder, stage: TrainingSet, trained: TrainSettings) -> pd.DataFrame:
    """Return the segments of a training set that were not trained on, less those whose label is in doubt."""
    index = training_index(workspace, stage.keys())
    every = trainings(Registry(workspace), {"settings": trained.model_dump(mode="json")})
    index = index[~index["tic_id"].isin(learnt(every, index["tic_id"].unique()))]
    return index if stage.labelled is None else index[(index["weight"] > 0) & (index["klass"] != "E")]


def _scored(workspace: Folder, predictor: Predictor, index: pd.DataFrame) -> pd.DataFrame:
    """Return segments with the model's columns and is_eb; simulated binaries that never show it are left out."""
    names = predictor.spec.inputs
    frames = []
    for (path, _), rows in index.groupby(["path", "part"]):
        first = int(rows["row"].min())
        data = stores.read(workspace, str(path), names, slice(first, int(rows["row"].max()) + 1))
        places = rows["row"].to_numpy() - first
        frames.append(rows.assign(**predictor.columns(*(data[name][places] for name in names))))
    scored = pd.concat(frames, ignore_index=True)
    shown = ((scored["label"] == 1) & (scored["weight"] > 0)).groupby(scored["tic_id"]).transform("any")
    binary = shown | scored["kind"].isin(KLASSES)
    return scored.assign(is_eb=binary & (scored["kind"] != "ELL"))[~binary | shown | (scored["kind"] == "ELL")]


def _counted(segments: pd.DataFrame) -> pd.DataFrame:
    """Return segments with the share of their star: kinds count as they do in the sky."""
    stars = segments.drop_duplicates("tic_id")
    share = pd.Series(shares(stars["kind"], stars["is_eb"]), stars["tic_id"].to_numpy())
    return segments.assign(share=segments["tic_id"].map(share))


def check(segments: pd.DataFrame, calibration: Calibration) -> dict[str, Any]:
    """Return how far probabilities can be trusted.

    Parameters
    ----------
    segments : pandas.DataFrame
        Of stars that neither network nor calibration has seen: tic_id, sector, segment, kind, is_eb, score and the
        model's other columns; share, the weight of the star among its kind.
    calibration : Calibration
        What is checked.

    Returns
    -------
    dict
        stars; prior; brier_skill over the base rate and ece over 0.05 < p < 0.95 (bins of equal count, with 95%
        interval by bootstrap), both at the share of binaries among these stars and with kinds as common as in the sky;
        by_sectors: false alarms and recall at the threshold among stars seen in 1, 3, 10, 30 sectors, of the stars as
        they are (numbers) and as common as in the sky (rates).
    """
    stars = _stars(segments, calibration)
    truth, share = stars["is_eb"].to_numpy(float), float(stars["is_eb"].mean())
    p = recalibrate(stars["p_eb"].to_numpy(), calibration.prior, share)
    weight = stars["share"].to_numpy()
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(p), (_RESAMPLES, len(p)))
    again = [_ece(p[rows], truth[rows], weight[rows]) for rows in drawn]
    return {
        "stars": len(stars),
        "share": share,
        "prior": calibration.prior,
        "brier_skill": float(1 - np.average((p - truth) ** 2, weights=weight) / (share * (1 - share))),
        "ece": _ece(p, truth, weight),
        "ece_interval": [float(q) for q in np.quantile(again, (0.025, 0.975))],
        "by_sectors": {str(seen): _at(segments, calibration, seen) for seen in _SEEN},
    }


def _stars(segments: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    truth = segments.groupby("tic_id")[["is_eb", "share"]].first()
    return evidence(segments, calibration).join(truth, on="tic_id")


def _ece(p: Floats, truth: Floats, weight: Floats) -> float:
    """Return the expected calibration error in bins of equal count, where the answer is not clear."""
    order = np.argsort(p, kind="stable")
    order = order[(p[order] > 0.05) & (p[order] < 0.95)]
    if not len(order):
        return 0.0
    bins = np.array_split(order, min(_BINS, len(order)))
    errors = [abs(((p - truth)[rows] * weight[rows]).sum()) for rows in bins]
    return float(sum(errors) / weight[order].sum())


def _at(segments: pd.DataFrame, calibration: Calibration, seen: int) -> dict[str, Any] | None:
    """Return false alarms and recall among the stars that are seen in as many sectors, or more, by their first ones."""
    sectors = segments.groupby("tic_id")["sector"].rank("dense")
    most = sectors.groupby(segments["tic_id"]).transform("max")
    rows = segments[(sectors <= seen) & (most >= seen)]
    if not len(rows):
        return None
    stars = _stars(rows, calibration)
    found = stars["tier"] == "high"
    others, binaries = ~stars["is_eb"], stars["is_eb"]
    alarms, right = int((found & others).sum()), int((found & binaries).sum())
    weight = stars["share"]
    return {
        "others": int(others.sum()),
        "false_alarms": alarms,
        "false_alarm_interval": list(wilson(alarms, int(others.sum()))),
        "binaries": int(binaries.sum()),
        "found": right,
        "false_alarm_rate": float(weight[found & others].sum() / weight[others].sum()),
        "recall": float(weight[found & binaries].sum() / weight[binaries].sum()),
    }
