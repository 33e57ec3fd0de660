"""Curves → scores → catalogue, for the sectors and the model that are asked for."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import ray
from pydantic import ValidationError

from catalogs.folder import Folder
from catalogs.known import KnownList
from models import pool as actors
from models import tasks
from models.registry import Entry, Registry
from models.score import PRODUCT, Score
from pipeline import manifest
from pipeline.errors import CorruptModel
from pipeline.lightcurves import combine, status
from pipeline.lightcurves.evidence import Calibration
from pipeline.report import Report
from pipeline.settings import ScoreSettings, SystemsSettings

__all__ = ["Wanted", "calibration", "score_sectors"]


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a catalogue shall tell besides scores.

    Parameters
    ----------
    systems : SystemsSettings, optional
        From which probability on a star's ephemeris is looked for.
    stars : collection of int
        Stars for which it is whatever their probability.
    known : sequence of KnownList
        Published lists that stars are looked up in.
    """

    systems: SystemsSettings | None = None
    stars: Collection[int] = ()
    known: Sequence[KnownList] = ()


def score_sectors(
    workspace: Folder,
    model: str,
    sectors: Sequence[int] | None,
    settings: ScoreSettings,
    pool: tuple[int, float],
    overwrite: bool = False,
    allow_missing: bool = False,
    wanted: Wanted | None = None,
) -> Iterator[Report]:
    """Score segments, then make the catalogue of everything the model has scored so far.

    Parameters
    ----------
    workspace : Folder
        Holds the segments, receives scores and catalogue.
    model : str
        ``calnet``, ``calnet@candidate``, ``calnet@<id>``.
    sectors : sequence of int, optional
        Sectors wanted; default all that are planned.
    settings : ScoreSettings
        Runtime, precision, batch.
    pool : tuple
        Number of actors, GPUs each.
    overwrite : bool
        Score again what this model has scored.
    allow_missing : bool
        Go on without partitions that are not preprocessed.
    wanted : Wanted, optional
        Whose ephemerides are looked for, and the lists that stars are looked up in.

    Yields
    ------
    Report
        Of the scores; then, unless a partition of these failed, of the candidates' ephemerides, with the catalogue
        among its notes.

    Raises
    ------
    Missing
        If a sector is not preprocessed, or not in full.
    """
    entry = Registry(workspace).resolve(model)
    workspace.sweep()
    names = status.planned(workspace, sectors)
    if not allow_missing:
        status.check_sectors(workspace, names, sectors)
        status.check_complete(workspace, names, "preprocess")
    if overwrite:
        for name in names:
            for key in manifest.committed(workspace, "score", f"{PRODUCT}/model={entry.id}/sector={name[1:]}"):
                manifest.discard(workspace, "score", key)
    stage = Score(workspace, entry, names, settings, device="cuda" if pool[1] else "cpu")
    stage.prepare()
    report = actors.run(stage, *pool)
    report.label = f"{entry.id}, {len(names)} stores"
    yield report
    if not report.failures:
        yield _catalogue(workspace, entry, pool, wanted or Wanted())


def _catalogue(workspace: Folder, entry: Entry, pool: tuple[int, float], wanted: Wanted) -> Report:
    """Find the candidates' ephemerides, as many at a time as there were actors, and put the catalogue together."""
    made = combine.draft(workspace, entry.id, entry.sha256, calibration(entry), wanted.systems, wanted.stars)
    # No GPU is of use here: where one actor a GPU has scored, all cores look for periods.
    workers = pool[0] if not pool[1] else max(int(ray.cluster_resources().get("CPU", 1)), 1)
    report = tasks.run(made.systems, workers)
    report.label = f"{entry.id}, {len(made.stars)} stars"
    if made.unscored:
        some = ", ".join(map(str, made.unscored[:5])) + (" …" if len(made.unscored) > 5 else "")
        report.notes.append(f"listed, but without a score: {len(made.unscored)} stars, TIC {some}")
    if report.failures:
        return report
    forgotten = combine.forgotten(made, wanted.known)
    snapshot = combine.combine(made, wanted.known)
    report.notes += [forgotten] if forgotten else []
    report.notes.append(f"{workspace.url(snapshot.path)}: {snapshot.rows} rows")
    if Registry(workspace).aliases(entry.name).get("production") == entry.id:
        combine.publish(workspace, snapshot)
        report.notes.append(f"{workspace.url(combine.CURRENT)}: the same")
    else:
        cure = f"python -m jobs.promote {entry.name}@{entry.id} publishes it"
        report.notes.append(f"{combine.CURRENT} is left as it is, {entry.id} is not in production; {cure}")
    return report


def calibration(entry: Entry) -> Calibration | None:
    """Return how a model's scores become probabilities, or None if its card does not say.

    Raises
    ------
    CorruptModel
        If the card says it in no way that is understood.
    """
    if (found := entry.card.get("calibration")) is None:
        return None
    try:
        return Calibration.model_validate(found)
    except ValidationError as error:
        cure = "train it again, or copy its card anew"
        raise CorruptModel(f"{entry.folder.url('card.json')}: calibration: {error}; {cure}") from error
