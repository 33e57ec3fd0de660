"""A trained model's scores → calibrated probabilities of stars, learnt and checked on stars it was not trained on."""

from collections.abc import Sequence

import pandas as pd

from catalogs.binaries import KINDS
from catalogs.folder import Folder
from models import tasks
from models.ancestry import learnt, trainings
from models.data import training_index
from models.registry import Registry
from models.runtime import Predictor
from models.spec import get_spec
from models.trust import check
from pipeline import stores
from pipeline.lightcurves.calibration import Calibration, fit
from pipeline.lightcurves.evidence import evidence
from pipeline.lightcurves.kinds import fit_kinds
from pipeline.lightcurves.training import KLASSES, TrainingSet
from pipeline.settings import CalibrationSettings, TrainingSetSettings, TrainSettings
from pipeline.simulate import demo
from pipeline.simulate.population import shares

__all__ = ["calibrate"]

_FOLDS = 5


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
    and real, and simulated ones made now, some of them seen in many sectors each.

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
        Processes that simulate.

    Returns
    -------
    Calibration
        Fitted to all these stars. The figures in the card are of all, too, but each star is judged by a calibration
        fitted to four fifths that it is not among.
    """
    name = model_id.rpartition("-")[0]
    registry = Registry(workspace)
    entry = registry.resolve(f"{name}@{model_id}")
    predictor = Predictor(get_spec(name), registry.load_weights(entry))
    frames = [_scored(workspace, predictor, _held_out(workspace, stage, trained)) for stage in sets]
    known = next(stage.settings for stage in sets if stage.labelled is None)
    for stage in (made := _fresh(workspace, known, settings)):
        stage.prepare()
        print(tasks.run(stage, workers))
        frames.append(_scored(workspace, predictor, training_index(workspace, stage.keys())))
    stars = _counted(pd.concat(frames, ignore_index=True))
    fold = (stars["tic_id"] // 2) % _FOLDS  # simulated identifiers are consecutive, real ones as good as random
    wanted = settings.prior, settings.precision, settings.low_precision
    judged = [(stars[fold == number], _fitted(stars[fold != number], *wanted)) for number in range(_FOLDS)]
    calibration = _fitted(stars, *wanted)
    checked = {"folds": _FOLDS} | check(judged) | {"simulated_for_it": [stage.describe() for stage in made]}
    registry.annotate(entry, {"calibration": calibration.model_dump(mode="json"), "calibration_check": checked})
    return calibration


def _fitted(segments: pd.DataFrame, prior: float, precision: float, low_precision: float) -> Calibration:
    """Return the calibration of stars, and of the kinds of the binaries among them whose kind is simulated truth."""
    calibration = fit(segments, prior, precision, low_precision)
    stars = evidence(segments, calibration).join(segments.groupby("tic_id")["kind"].first(), on="tic_id")
    found = stars[stars["tier"] != "none"]
    slope, offsets = fit_kinds(found[list(KINDS.values())].to_numpy(float), found["kind"].to_numpy(str))
    return calibration.model_copy(update={"kind_slope": slope, "kind_offsets": offsets})


def _fresh(workspace: Folder, known: TrainingSetSettings, settings: CalibrationSettings) -> list[TrainingSet]:
    """Return sets of simulated stars that are neither those of the training nor the demo's."""
    seeds = [seed % 1000 for seed in range(known.seed + 1, known.seed + 4) if seed % 1000 != demo.SEED]
    many = {"seed": seeds[0], "stars": settings.stars, "sectors": settings.sectors}
    once = {"seed": seeds[1], "stars": settings.once, "sectors": 1}
    return [TrainingSet(workspace, known.model_copy(update=facts)) for facts in (many, once) if facts["stars"]]


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
        rows = rows.rename(columns={"morph": "true_morph"})
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
