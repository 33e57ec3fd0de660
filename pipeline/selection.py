"""From the candidates of all epochs to supernova candidates: `pipeline.recipes.select_supernovae`."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from distributed import Client

from catalogs.folder import Folder
from catalogs.supernovae import MEMBERS, OBJECTS
from pipeline.errors import SkysiftError
from pipeline.images import coverage, gallery, showcase, supernovae
from pipeline.report import Report
from pipeline.run import map_batches
from pipeline.settings import AssociateSettings, SelectSettings

__all__ = ["select_supernovae"]

#: Differences that one task measures light curves in, and pages that one draws.
_DIFFERENCES, _PAGES = 4, 5


def select_supernovae(
    client: Client | None,
    workspace: Folder,
    association: AssociateSettings,
    selection: SelectSettings,
    lists: supernovae.Lists | None = None,
    pages: int = 200,
    notes: Sequence[str] = (),
) -> Iterator[Report]:
    """Make objects of the candidates of all epochs, with light curves and every reason for and against; draw the best.

    Parameters
    ----------
    client : distributed.Client or None
        Where light curves are measured and pages drawn; None: here.
    workspace : Folder
        Holds candidates and differences.
    association, selection : AssociateSettings, SelectSettings
        Distances and limits.
    lists : supernovae.Lists, optional
        Known variables, bodies of the solar system and transients.
    pages : int
        Largest number of pages.
    notes : sequence of str
        Sentences that stand at the top of their index.

    Yields
    ------
    Report
        Of the catalogue, then of its pages.

    Raises
    ------
    Missing
        If there are no candidates yet.
    """
    workspace.sweep()
    started = time.monotonic()

    def spread(function: Callable[..., list[Any]], items: Sequence[Any], size: int, name: str) -> list[Any]:
        """Return what a function of batches makes of all items."""
        done, killers = map_batches(client, partial(function, workspace), items, size, name)
        if killers:
            raise SkysiftError(f"{name}: {len(killers)} tasks kill their worker even alone; give workers more memory")
        return done

    def measure(items: Sequence[coverage.Task]) -> list[Any]:
        """Return the light curves' points in all differences."""
        return spread(coverage.photographed, items, _DIFFERENCES, "light curves")

    rows = supernovae.combine(workspace, measure, association, selection, lists)
    report = Report("select_supernovae", workspace.url(supernovae.CURRENT), partitions=1, rows=rows[OBJECTS.name])
    report.notes = [f"{count} rows in catalogs/{name}.parquet" for name, count in sorted(rows.items())]
    report.counts["done"], report.seconds = rows[MEMBERS.name], time.monotonic() - started
    yield report
    started, wanted = time.monotonic(), gallery.tasks(workspace, pages)
    pictures = dict(spread(gallery.draw, wanted, _PAGES, "pages"))
    shown = dict(spread(showcase.panels, showcase.telling(workspace), 1, "panels")) if pages else {}
    index = gallery.write_index(workspace, pictures, notes, [shown[name] for name in sorted(shown)])
    report = Report("pages", index, partitions=len(wanted), rows=len(wanted))
    report.counts["done"], report.seconds = len(wanted), time.monotonic() - started
    yield report
