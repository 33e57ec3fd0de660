"""The vetting pages of candidates, drawn on Dask."""

import time
from collections.abc import Sequence
from functools import partial

from distributed import Client

from catalogs.folder import Folder
from pipeline.lightcurves import atlas
from pipeline.report import Report
from pipeline.run import map_batches

__all__ = ["draw_candidates"]

#: Vetting pages that one task draws.
_PAGES = 5


def draw_candidates(
    client: Client, workspace: Folder, tasks: Sequence[atlas.Task]
) -> tuple[Report, dict[tuple[int, int], str]]:
    """Draw the vetting pages of candidates, and their index.

    Parameters
    ----------
    client : distributed.Client
        Where to work.
    workspace : Folder
        Holds light curves, receives ``reports/candidates/``.
    tasks : sequence of atlas.Task
        From `pipeline.lightcurves.atlas.tasks`.

    Returns
    -------
    report : Report
        What became of them; pages that could not be drawn are named.
    pages : dict
        Star and system → page, as `pipeline.lightcurves.page.write_report` takes them.
    """
    started = time.monotonic()
    done, killers = map_batches(client, partial(atlas.draw, workspace), tasks, _PAGES, "pages")
    done += [atlas.spoil(workspace, task, "drawing it kills the worker") for task in killers]
    pages = atlas.complete(workspace, tasks)
    report = Report("pages", workspace.url(atlas.PATH), partitions=len(tasks), rows=len(done))
    report.failures = {name: error for name, error in sorted(done) if error}
    report.counts.update(done=len(done) - len(report.failures), failed=len(report.failures))
    report.seconds = time.monotonic() - started
    return report, pages
