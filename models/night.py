"""Candidates of differences, or alerts of files → scores → the catalogue of transient candidates."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from catalogs import review
from catalogs.folder import Folder
from catalogs.transient_candidates import TRANSIENT_CANDIDATES
from models import pool as actors
from models.alerts import ScoreAlerts
from models.candidates import ScoreCandidates
from models.differences import ScoreDifferences
from models.registry import Entry, Registry
from pipeline import candidates, manifest
from pipeline.alerts.plan import Plan, find
from pipeline.errors import Missing
from pipeline.lightcurves.estimate import Estimate
from pipeline.report import Report
from pipeline.settings import CandidateScoreSettings

__all__ = ["catalogue", "estimate", "planned", "score_candidates"]

#: Bytes of a megabyte; of an alert as stored, of a candidate's triplet, of a row; seconds of one, one core: about.
_MB, _ALERT, _TRIPLET, _ROW, _SECONDS = 1e6, 45e3, 50e3, 600, 0.0015


def planned(
    workspace: Folder,
    model: str,
    source: Sequence[Path] | None,
    settings: CandidateScoreSettings,
    device: str = "cpu",
    allow_missing: bool = False,
) -> ScoreCandidates:
    """Return the stage that scores what is asked for.

    Parameters
    ----------
    workspace : Folder
        Holds differences, receives scores.
    model : str
        ``realbogus``, ``realbogus@candidate``, ``realbogus@<id>``.
    source : sequence of Path, optional
        Files of alerts and folders of them; default the workspace's own differences.
    settings : CandidateScoreSettings
        Runtime, precision, batch, prior.
    device : str
        ``cpu`` or ``cuda``.
    allow_missing : bool
        Go on without bands of pairs that are not subtracted, and without any.

    Raises
    ------
    Missing
        If there is nothing to score, or not all of it.
    """
    entry = Registry(workspace).resolve(model)
    if source is not None:
        plan = Plan(workspace)
        found = plan.add(find(source), settings.part_mb * _MB).values()
        numbers = {number for one in found for number in one.parts}
        return ScoreAlerts(workspace, entry, settings, device, {number: plan.parts[number] for number in numbers})
    stage = ScoreDifferences(workspace, entry, settings, device)
    missing = stage.missing()
    if missing and not allow_missing:
        names = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        raise Missing(f"{workspace}: not subtracted: {names}; run difference_images, or go on with --partial")
    if not stage.keys() and not allow_missing:
        raise Missing(f"{workspace}: no differences to score; run difference_images, or give alerts with --alerts")
    return stage


def score_candidates(
    workspace: Folder,
    model: str,
    source: Sequence[Path] | None,
    settings: CandidateScoreSettings,
    pool: tuple[int, float],
    overwrite: bool = False,
    allow_missing: bool = False,
) -> Iterator[Report]:
    """Score candidates, then make the catalogue of all that the model has scored so far.

    Parameters
    ----------
    workspace, model, source, settings
        As of `planned`.
    pool : tuple
        Number of actors, GPUs each.
    overwrite : bool
        Score again what this model has scored of them.
    allow_missing : bool
        As of `planned`.

    Yields
    ------
    Report
        Of the scores, with the catalogue among its notes unless a partition failed.

    Raises
    ------
    Missing
        If there is nothing to score, or not all of it.
    """
    workspace.sweep()
    stage = planned(workspace, model, source, settings, "cuda" if pool[1] else "cpu", allow_missing)
    stage.prepare()
    if overwrite:
        for key in stage.keys():  # noqa: SIM118
            manifest.discard(workspace, stage.name, key)
    report = actors.run(stage, *pool)
    report.label = f"{stage.entry.id}, {'alerts' if source is not None else 'differences'}"
    if not report.failures:
        report.notes += catalogue(workspace, stage.entry)
    yield report


def catalogue(workspace: Folder, entry: Entry) -> list[str]:
    """Put the catalogue of a model together, publish it if the model is in production, and say so."""
    said = review.labels(workspace, TRANSIENT_CANDIDATES.name)
    snapshot, notes = candidates.combine(workspace, entry.id, entry.sha256, said if len(said) else None)
    notes.append(f"{workspace.url(snapshot.path)}: {snapshot.rows} rows")
    if Registry(workspace).aliases(entry.name).get("production") != entry.id:
        cure = f"python -m jobs.promote {entry.name}@{entry.id} publishes it"
        return [*notes, f"{candidates.CURRENT} is left as it is, {entry.id} is not in production; {cure}"]
    candidates.publish(workspace, snapshot)
    return [*notes, f"{workspace.url(candidates.CURRENT)}: the same"]


def estimate(
    workspace: Folder,
    model: str,
    source: Sequence[Path] | None,
    settings: CandidateScoreSettings,
    workers: int,
    allow_missing: bool = False,
) -> Estimate:
    """Return what `score_candidates` would do, and make nothing; of alerts, all that are given are counted.

    Parameters
    ----------
    workspace, model, source, settings
        As of `planned`.
    workers : int
        How many actors.
    allow_missing : bool
        As of `planned`.
    """
    if source is not None:
        Registry(workspace).resolve(model)
        sizes = [path.stat().st_size for _, path in find(source)]
        size, count = sum(sizes), -(-sum(sizes) // int(_ALERT))
        parts = -(-size // int(settings.part_mb * _MB))
    else:
        stage = planned(workspace, model, None, settings, allow_missing=allow_missing)
        left = [key for key in stage.keys() if stage.settled(key) is None]  # noqa: SIM118
        count, parts = sum(len(stage.listed(key)) for key in left), len(left)
        size = int(count * _TRIPLET)
    return Estimate(count, parts, size, int(count * _ROW), workspace.free, count * _SECONDS / workers)
