"""What a model learns from, and in which order: simulated stars first, then real ones among simulated ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalogs import known
from catalogs.folder import Folder
from models.calibrate import calibrate
from models.labels import read_negatives
from models.spec import get_spec
from models.train import outline, train
from pipeline.errors import UsageError
from pipeline.lightcurves.labelled import Labelled
from pipeline.lightcurves.training import TrainingSet
from pipeline.settings import CalibrationSettings, TrainingSetSettings, TrainSettings

__all__ = ["Sources", "describe", "learn"]

#: Simulated stars among the real ones: what the real ones do not show must not be forgotten.
_REMEMBERED = 2048


@dataclass(frozen=True)
class Sources:
    """Where labelled stars come from.

    Parameters
    ----------
    labels, negatives : str, optional
        Lists of stars of the workspace's sectors, see `models.labels`.
    sectors : list of int, optional
        Sectors of these; default all.
    simulated : int, optional
        Simulated stars; by default as many as the settings say for a model with classes, else none.
    labelled : str, optional
        Parquet file of real light curves, see `pipeline.lightcurves.labelled`.
    known : sequence of str
        Lists of eclipsing binaries; stars on them that `labelled` calls something else are not learnt from.
    leave_out : str, optional
        List of stars in `labelled` that are not learnt from at all.
    """

    labels: str | None = None
    negatives: str | None = None
    sectors: list[int] | None = None
    simulated: int | None = None
    labelled: str | None = None
    known: Sequence[str] = ()
    leave_out: str | None = None

    def sets(self, workspace: Folder, name: str, config: Path | None) -> list[TrainingSet]:
        """Return the training sets, real stars first."""
        spec = get_spec(name)
        asked = self.simulated if self.simulated is not None or spec.targets else 0
        settings = TrainingSetSettings.load(config, "training", stars=asked, recipe=spec.recipe)
        sets = [] if self.labelled is None else [TrainingSet(workspace, settings, self.labelled_stars())]
        return sets + ([TrainingSet(workspace, settings)] if settings.stars else [])

    def labelled_stars(self) -> Labelled:
        """Return the real stars.

        Raises
        ------
        UsageError
            If there are none.
        """
        if self.labelled is None:
            raise UsageError("--labelled: name a Parquet file of real labelled light curves")
        doubted = set().union(*(_eclipsing(path) for path in self.known))
        left_out = set() if self.leave_out is None else set(read_negatives(self.leave_out)["tic_id"].astype(int))
        return Labelled(self.labelled, doubted, left_out)


def _eclipsing(path: str) -> set[int]:
    """Return the stars that a published list has as eclipsing binaries, by TIC identifier."""
    found = known.read(path)
    return set(found.stars["tic_id"][found.is_eclipsing].dropna().astype(int))


def learn(
    workspace: Folder,
    name: str,
    sources: Sources,
    config: Path | None,
    options: Mapping[str, Any],
    workers: int,
    gpu: bool,
    overwrite: bool = False,
) -> str:
    """Train a model on the connected Ray cluster; return its id.

    Where there are both real and simulated stars, it is first trained on the simulated ones (settings
    ``[rehearsal]``), then on the real ones among some of these (``[train]``). A rehearsal that is done is
    not done again: the folds of a cross-validation share it. A model that learnt from simulated stars is calibrated,
    but for those of a fold.

    Parameters
    ----------
    workspace : Folder
        Receives training sets, checkpoints and the model.
    name : str
        Of the model.
    sources : Sources
        What to learn from.
    config : Path, optional
        Settings file.
    options : mapping
        Settings of the training that the user gave.
    workers, gpu, overwrite
        As in `models.train.train`.
    """
    sets = sources.sets(workspace, name, config)
    settings = TrainSettings.load(config, "train", get_spec(name).training, **options)
    if len(sets) == 2 and get_spec(name).rehearsal:
        first = TrainSettings.load(config, "rehearsal", get_spec(name).rehearsal)
        made = train(workspace, name, None, None, first, None, workers, gpu, sets=[sets[1]])
        settings = settings.model_copy(update={"start_from": made})
        sets[1] = sets[1].first(_REMEMBERED)
    where = sources.labels, sources.negatives, settings, sources.sectors
    made = train(workspace, name, *where, workers, gpu, overwrite, sets)
    if sets and sets[-1].labelled is None and settings.folds is None:
        about = CalibrationSettings.load(config, "calibration")
        calibrate(workspace, made, sources.sets(workspace, name, config), settings, about, workers)
    return made


def describe(
    workspace: Folder, name: str, sources: Sources, config: Path | None, options: Mapping[str, Any], workers: int
) -> str:
    """Return what `learn` would do, in lines; nothing is written."""
    settings = TrainSettings.load(config, "train", get_spec(name).training, **options)
    sets = sources.sets(workspace, name, config)
    return outline(workspace, name, sources.labels, sources.negatives, settings, sources.sectors, workers, sets)
