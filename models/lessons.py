"""What a model learns from, and in which order: simulated stars first, then real ones among simulated ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalogs import known
from catalogs.folder import Folder
from models.calibrate import calibrate
from models.examples import asked, learn_triplets, outline_triplets
from models.labels import read_negatives
from models.registry import Registry
from models.sets import Made, make_sets
from models.spec import get_spec
from models.train import outline, train
from models.visual_lessons import asked as asked_of_stamps
from models.visual_lessons import learn_stamps, outline_stamps
from models.visual_lessons import sets as sets_of_stamps
from pipeline.errors import UsageError
from pipeline.images import setfile
from pipeline.images.setfile import Described
from pipeline.images.training import CandidateSet
from pipeline.lightcurves.labelled import Labelled
from pipeline.lightcurves.training import TrainingSet
from pipeline.settings import CalibrationSettings, CandidateSetSettings, TrainingSetSettings, TrainSettings
from pipeline.simulate.nights import BRIGHT
from pipeline.stamps.training import StampSet

__all__ = ["Sources", "describe", "learn", "make"]

#: Whom the last training holds out, its rehearsal holds out.
_SPLIT = ("seed", "validation", "test", "split_by")

#: Simulated stars among the real ones: what the real ones do not show must not be forgotten.
_REMEMBERED = 2048

#: Fields of bright changes for each other simulated field.
_BRIGHT_SHARE = 0.08


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
        Simulated stars, or for a model of triplets fields, of stamps stacks a survey; by default as many as the
        settings say for a model with classes, else none.
    labelled : str, optional
        Parquet file of real light curves, see `pipeline.lightcurves.labelled`.
    known : sequence of str
        Lists of eclipsing binaries; stars on them that `labelled` calls something else are not learnt from.
    leave_out : str, optional
        List of stars in `labelled` that are not learnt from at all.
    described : sequence of Path
        Files that describe sets of triplets, see `pipeline.images.setfile`.
    """

    labels: str | None = None
    negatives: str | None = None
    sectors: list[int] | None = None
    simulated: int | None = None
    labelled: str | None = None
    known: Sequence[str] = ()
    leave_out: str | None = None
    described: Sequence[Path] = ()

    def sets(self, workspace: Folder, name: str, config: Path | None) -> list[TrainingSet]:
        """Return the training sets, real stars first."""
        if self.described:
            raise UsageError(f"--set {self.described[0]}: describes triplets; {name} learns from light curves")
        spec = get_spec(name)
        asked = self.simulated if self.simulated is not None or spec.targets else 0
        settings = TrainingSetSettings.load(config, "training", stars=asked, recipe=spec.recipe)
        sets = [] if self.labelled is None else [TrainingSet(workspace, settings, self.labelled_stars())]
        return sets + ([TrainingSet(workspace, settings)] if settings.stars else [])

    def triplets(self, workspace: Folder, config: Path | None) -> list[Described]:
        """Return the sets that a model of triplets learns from: those described, by default simulated fields.

        Raises
        ------
        UsageError
            If lists of stars are given, or both fields and descriptions.
        """
        self._no_stars("realbogus learns from --simulated fields, or --set")
        if self.described and self.simulated is not None:
            cure = f'put [[source]] kind = "simulated", fields = {self.simulated} into the file'
            raise UsageError(f"--simulated {self.simulated}: not with --set; {cure}")
        if self.described:
            return [setfile.load(path).gather(workspace) for path in self.described]
        asked = CandidateSetSettings.load(config, "triplets", fields=self.simulated)
        sets = [CandidateSet(workspace, asked)]
        if asked.description is None:
            fields = max(1, round(_BRIGHT_SHARE * sets[0].description.fields))
            few = asked.model_copy(update={"description": str(BRIGHT), "seed": None, "fields": fields})
            sets.append(CandidateSet(workspace, few))
        return [Described((one,)) for one in sets]

    def stamps(self, workspace: Folder, config: Path | None) -> list[StampSet]:
        """Return the sets that a model of stamps learns from: simulated stacks.

        Raises
        ------
        UsageError
            If lists of stars or descriptions of triplets are given.
        """
        self._no_stars("models of stamps learn from --simulated stacks of each survey")
        if self.described:
            raise UsageError(f"--set {self.described[0]}: describes triplets; what stamps are drawn from is said by "
                             "[stampset] description of --config")  # fmt: skip
        return sets_of_stamps(workspace, config, self.simulated)

    def _no_stars(self, cure: str) -> None:
        stars = {"--labels": self.labels, "--negatives": self.negatives, "--labelled": self.labelled,
                 "--sectors": self.sectors, "--leave-out": self.leave_out, "--known": self.known}  # fmt: skip
        if given := [option for option, value in stars.items() if value]:
            raise UsageError(f"{', '.join(given)}: for models of light curves; {cure}")

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
    not done again: the folds of a cross-validation share it, so what the card of a fold's model says of simulated
    stars flatters it. A model that learnt from simulated stars is calibrated, and last the alias ``candidate`` moves
    to it; neither is done for the model of a fold, which is judged, never put into production, nor is the alias
    moved to a model of triplets that holds out a survey, a kind or the like.

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
        As in `models.train.train`; the rehearsal is overwritten, too.

    Raises
    ------
    UsageError
        If the settings of the two trainings hold out different stars, or training sets are to be split by sector.
    """
    if "stack" in get_spec(name).inputs:
        asked_for = asked_of_stamps(workspace, name, config, options)
        made = learn_stamps(workspace, name, sources.stamps(workspace, config), asked_for, workers, gpu, overwrite)
        if asked_for.folds is None:
            Registry(workspace).set_alias(name, "candidate", made)
        return made
    if "triplet" in get_spec(name).inputs:
        described = sources.triplets(workspace, config)
        chosen = asked(workspace, name, described, config, options)
        made = learn_triplets(workspace, name, described, chosen, workers, gpu, overwrite)
        if chosen.folds is None and chosen.split_by == "field":
            Registry(workspace).set_alias(name, "candidate", made)
        return made
    *before, (settings, sets) = _trainings(workspace, name, sources, config, options)
    for first, simulated in before:
        made = train(workspace, name, None, None, first, None, workers, gpu, overwrite, simulated)
        settings = settings.model_copy(update={"start_from": made})
    where = sources.labels, sources.negatives, settings, sources.sectors
    made = train(workspace, name, *where, workers, gpu, overwrite, sets)
    if settings.folds is not None:
        return made
    if sets and sets[-1].labelled is None:
        about = CalibrationSettings.load(config, "calibration")
        calibrate(workspace, made, sources.sets(workspace, name, config), settings, about, workers)
    Registry(workspace).set_alias(name, "candidate", made)
    return made


def _trainings(
    workspace: Folder, name: str, sources: Sources, config: Path | None, options: Mapping[str, Any]
) -> list[tuple[TrainSettings, list[TrainingSet]]]:
    """Return settings and training sets of the rehearsal, if there is one, and of the last training."""
    sets, spec = sources.sets(workspace, name, config), get_spec(name)
    settings = TrainSettings.load(config, "train", spec.training, **options)
    if sets and settings.split_by != "star":
        raise UsageError(f"split_by {settings.split_by}: simulated and real labelled stars are split by star; leave it "
                         "out, or train on --labels alone, with --simulated 0 and no --labelled")  # fmt: skip
    if settings.start_from is not None:
        raise UsageError(
            f"--start-from {settings.start_from}: for models of triplets; {name} begins with its rehearsal"
        )
    if len(sets) < 2 or not spec.rehearsal:
        return [(settings, sets)]
    split = settings.model_dump(include=set(_SPLIT))
    own = TrainSettings.load(config, "rehearsal", spec.rehearsal)
    for one in own.model_fields_set & set(_SPLIT):
        if getattr(own, one) != split[one]:
            raise UsageError(f"[rehearsal] {one} is {getattr(own, one)}, that of the training is {split[one]}: stars "
                             f"held out would be learnt from; say it in [train] alone")  # fmt: skip
    rehearsal = own.model_copy(update=split)
    return [(rehearsal, sets[1:]), (settings, [sets[0], sets[1].first(_REMEMBERED)])]


def make(workspace: Folder, name: str, sources: Sources, config: Path | None, workers: int, overwrite: bool) -> None:
    """Make the sets that a model of triplets or stamps learns from, on the connected Ray cluster; say what is there.

    Raises
    ------
    UsageError
        For a model of light curves.
    """
    stages: list[Made] = []
    if "stack" in get_spec(name).inputs:
        stages += sources.stamps(workspace, config)
    elif "triplet" in get_spec(name).inputs:
        stages += [stage for one in sources.triplets(workspace, config) for stage in one.stages]
    else:
        raise UsageError(f"--only-sets: {name} is none of triplets or stamps")
    make_sets(stages, workers, overwrite)
    for about in (stage.describe() for stage in stages):
        if "stacks" in about:
            print(f"{about['store']}: {sum(about['stacks'].values())} stacks")
        else:
            print(f"{about['store']}: {about['triplets']} triplets, sha256 {about['sha256']}")


def describe(
    workspace: Folder, name: str, sources: Sources, config: Path | None, options: Mapping[str, Any], workers: int
) -> str:
    """Return what `learn` would do, in lines; nothing is written."""
    if "stack" in get_spec(name).inputs:
        stamps, asked_for = sources.stamps(workspace, config), asked_of_stamps(workspace, name, config, options)
        return outline_stamps(workspace, stamps, asked_for, workers)
    if "triplet" in get_spec(name).inputs:
        sets = sources.triplets(workspace, config)
        return outline_triplets(workspace, name, sets, asked(workspace, name, sets, config, options), workers)
    *before, (settings, stars) = _trainings(workspace, name, sources, config, options)
    lines = []
    for first, simulated in before:
        lines += ["rehearsal, unless it is done already:"]
        lines += [outline(workspace, name, None, None, first, None, workers, simulated), "then:"]
    where = sources.labels, sources.negatives, settings, sources.sectors
    return "\n".join([*lines, outline(workspace, name, *where, workers, stars)])
