"""How complete a model's catalogue is, and how reliable: trials on Ray, then tables beside the catalogue."""

from collections.abc import Iterator, Mapping, Sequence

from catalogs import write
from catalogs.folder import Folder
from catalogs.recovery import INJECTIONS
from models import pool as actors
from models.ancestry import learnt, saw_real_stars, trainings
from models.injections import Injections
from models.registry import Entry, Registry
from pipeline.errors import UsageError
from pipeline.lightcurves import recovery, sensitivity
from pipeline.lightcurves.labelled import Labelled
from pipeline.lightcurves.trials import survey
from pipeline.report import Report
from pipeline.settings import CompletenessSettings

__all__ = ["measure"]


def measure(
    workspace: Folder,
    model: str,
    sectors: Sequence[int] | None,
    settings: CompletenessSettings,
    labelled: str | None,
    pool: tuple[int, float],
) -> Iterator[Report]:
    """Measure completeness and reliability of a model's catalogue, on the connected Ray cluster.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue; receives trials and tables.
    model : str
        As in `Registry.resolve`.
    sectors : sequence of int, optional
        Sectors whose light curves are taken, and to whose stars the catalogue is cut; default all that are scored.
    settings : CompletenessSettings
        How many trials, seed, runtime.
    labelled : str, optional
        Parquet file of labelled light curves, see `pipeline.lightcurves.labelled`; the stars that the model did not
        learn from are tried.
    pool : tuple
        Number of actors, GPUs each.

    Yields
    ------
    Report
        Of the trials; then, unless one of their partitions failed, of the tables.

    Raises
    ------
    Missing
        If there is no catalogue, or no quiet star in it.
    UsageError
        If there are labelled stars, and the model's card does not tell whom it held out.
    """
    entry = Registry(workspace).resolve(model)
    workspace.sweep()
    sky = survey(workspace, entry.id, sectors, settings.quiet_power)
    if not len(sky.stars):
        raise UsageError(f"{workspace}: no star of the catalogue was observed in these sectors")
    file = None if labelled is None else _held_out(workspace, entry, labelled)
    stage = Injections(workspace, entry, sky, settings, file, "cuda" if pool[1] else "cpu")
    report = actors.run(stage, *pool)
    report.label = f"{entry.id}, {len(sky.quiet)} quiet stars of {len(sky.stars)}"
    if file is not None:
        report.notes.append(f"{len(file.left_out)} labelled stars are not tried: the model may have learnt from them")
    report.notes += _unlike(settings, stage.counts)
    yield report
    if report.failures:
        return
    tables = recovery.Tables(workspace, entry.id, sky, stage.keys(), settings)
    last = Report(tables.name, entry.id)
    last.add(tables.replace())
    last.notes.append(f"light curves of sectors {', '.join(map(str, sky.sectors))}, and the catalogue's stars there")
    last.notes += _summary(workspace, entry.id)
    yield last


def _unlike(settings: CompletenessSettings, counts: Mapping[str, int]) -> list[str]:
    """Return, in lines, which numbers of trials are not those asked for, and why."""
    asked = {"injected": settings.injections, "inverted": settings.inverted, "simulated": settings.variables}
    return [
        f"{counts[sort]} trials {sort} for {wanted} ({'rounded up' if counts[sort] > wanted else 'all there are'})"
        for sort, wanted in asked.items()
        if counts[sort] != wanted
    ]


def _held_out(workspace: Folder, entry: Entry, path: str) -> Labelled:
    """Return the labelled stars that no training of a model on real stars learnt from."""
    every = [card for card in trainings(Registry(workspace), entry.card) if saw_real_stars(card)]
    return Labelled(path, left_out=learnt(every, Labelled(path).tic_ids))


def _summary(workspace: Folder, model_id: str) -> list[str]:
    """Return what was found, in lines, and where it is written."""
    where = recovery.path(model_id, INJECTIONS)
    counted = sensitivity.rates(write.read(workspace, where, INJECTIONS).to_pandas())
    lines = [
        f"{row.sort} {row.kind}: tier high {row.high} of {row.trials} ({row.share:.3f}, 95% {row.lower:.3f} – "
        f"{row.upper:.3f}), high or low {row.high_or_low}"
        for row in counted.itertuples()
    ]
    lines.append(f"{workspace.url(where)}; completeness.parquet and reliability.parquet beside it")
    return [*lines, "score_sectors, run again as it was, makes a catalogue whose rows carry their values"]
