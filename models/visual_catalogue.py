"""Stacks of stamps → scores → the catalogue of visual binaries."""

from collections.abc import Iterator

from catalogs import review
from catalogs.folder import Folder
from catalogs.visual_binaries import VISUAL_BINARIES
from models import pool as actors
from models import visual_completeness
from models.registry import Entry, Registry
from models.spec import get_spec
from models.stamp_scores import ScoreStamps
from pipeline import visual
from pipeline.doubles import expected
from pipeline.errors import Missing, ModelNotFound
from pipeline.fusion import Fusion
from pipeline.lightcurves.estimate import Estimate
from pipeline.partition import Key
from pipeline.report import Report
from pipeline.settings import VisualScoreSettings
from pipeline.stamps import gallery, layout, plan, status

__all__ = ["catalogue", "estimate", "planned", "score_stamps"]

#: Bytes of a stack as stored, and of a row; seconds of one, one core: about.
_STACK, _ROW, _SECONDS = 16e3, 300, 0.003


def planned(
    workspace: Folder, model: str, settings: VisualScoreSettings, device: str = "cpu", allow_missing: bool = False
) -> ScoreStamps:
    """Return the stage that scores what is stacked.

    Parameters
    ----------
    workspace : Folder
        Holds stacks, receives scores.
    model : str
        ``visualbinary``, ``visualbinary@candidate``, ``visualbinary@<id>``.
    settings : VisualScoreSettings
        Runtime, precision, batch.
    device : str
        ``cpu`` or ``cuda``.
    allow_missing : bool
        Go on without partitions that are not stacked, and without any.

    Raises
    ------
    ModelNotFound
        If there is none such, or it is no model of stacks.
    CorruptModel
        If its card does not say how surveys are put together.
    Missing
        If there is nothing to score, or not all of it.
    """
    entry = Registry(workspace).resolve(model)
    if "stack" not in (inputs := get_spec(entry.name).inputs):
        raise ModelNotFound(f"{entry.id} scores no stamps but {', '.join(inputs)}; say --model visualbinary")
    Fusion.of(entry.card, entry.folder.url("card.json"))
    stage = ScoreStamps(workspace, entry, settings, device)
    missing = _missing(workspace, stage)
    if missing and not allow_missing:
        names = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        raise Missing(f"{workspace}: not stacked: {names}; run ingest_stamps, or go on with --partial")
    if not stage.keys() and not allow_missing:
        raise Missing(f"{workspace}: no stacks to score; run ingest_stamps")
    return stage


def _missing(workspace: Folder, stage: ScoreStamps) -> list[str]:
    """Return the partitions that are planned but not stacked."""
    there = {layout.stacks_key(key) for key in stage.keys()}  # noqa: SIM118
    tables = {slug: plan.load(workspace, slug).to_pandas() for slug in plan.surveys(workspace)}
    wanted = {Key("stacks", slug, int(part)) for slug, table in tables.items() for part in table["part"].dropna()}
    return [str(key) for key in sorted(wanted - there)]


def score_stamps(
    workspace: Folder,
    model: str,
    settings: VisualScoreSettings,
    pool: tuple[int, float],
    overwrite: bool = False,
    allow_missing: bool = False,
) -> Iterator[Report]:
    """Score stacks, then make the catalogue of all that the model has scored so far.

    Parameters
    ----------
    workspace, model, settings
        As of `planned`.
    pool : tuple
        Number of actors, GPUs each.
    overwrite : bool
        Score again what is stale or damaged.
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
    stage = planned(workspace, model, settings, "cuda" if pool[1] else "cpu", allow_missing)
    stage.prepare()
    status.renew(stage, overwrite, layout.score_folder(stage.entry.id))
    report = actors.run(stage, *pool)
    report.label = f"{stage.entry.id}, stacks"
    if not report.failures:
        report.notes += catalogue(workspace, stage.entry, settings)
    yield report


def catalogue(workspace: Folder, entry: Entry, settings: VisualScoreSettings) -> list[str]:
    """Put the catalogue of a model together, publish it if the model is in production, and say so."""
    fusion = Fusion.of(entry.card, entry.folder.url("card.json"))
    said = review.labels(workspace, VISUAL_BINARIES.name)
    model = visual.Model(entry.id, entry.sha256, fusion)
    visual_completeness.adopt(workspace, entry)
    made = visual.combine(workspace, model, settings, said if len(said) else None)
    notes = [*made.notes, *expected(made.sources, fusion)]
    notes += [f"{workspace.url(one.path)}: {one.rows} rows" for one in made.snapshots.values()]
    if Registry(workspace).aliases(entry.name).get("production") != entry.id:
        cure = f"python -m jobs.promote {entry.name}@{entry.id} publishes it"
        return [*notes, f"{visual.CURRENT} is left as it is, {entry.id} is not in production; {cure}"]
    visual.publish(workspace, made.snapshots)
    page = gallery.draw_visual(workspace, made.sources, figures=visual_completeness.figures(workspace, entry))
    return [*notes, f"{workspace.url(visual.CURRENT)}: the same", f"report: {page}"]


def estimate(
    workspace: Folder, model: str, settings: VisualScoreSettings, workers: int, allow_missing: bool = False
) -> Estimate:
    """Return what `score_stamps` would do, and make nothing.

    Parameters
    ----------
    workspace, model, settings
        As of `planned`.
    workers : int
        How many actors.
    allow_missing : bool
        As of `planned`.
    """
    stage = planned(workspace, model, settings, allow_missing=allow_missing)
    left = [key for key in stage.keys() if stage.settled(key) is None]  # noqa: SIM118
    count = sum(len(stage.inputs(key)) for key in left)
    size, rows = int(count * _STACK), int(count * _ROW)
    return Estimate(count, len(left), size, rows, workspace.free, count * _SECONDS / workers)
