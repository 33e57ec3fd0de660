"""The way of stamps: archive → plan → IngestStamps → StackStamps, survey by survey."""

import shlex
from collections.abc import Iterator
from functools import partial

from distributed import Client

from catalogs.folder import Folder
from pipeline import manifest
from pipeline.errors import Missing, Reason
from pipeline.partition import Key
from pipeline.report import Report
from pipeline.run import map_batches, run
from pipeline.settings import StampSettings
from pipeline.stamps import ingest, plan, stacks
from pipeline.stamps.surveys import get, surveys

__all__ = ["forecast", "ingest_stamps", "plan_stamps"]

#: Files that one task of the inventory reads.
_FILES = 200

#: Bytes of a cell in the stores, packed, and seconds a stamp takes on one core (measured).
_BYTES, _SECONDS = 6.0, 0.02


def plan_stamps(
    client: Client | None, workspace: Folder, archive: Folder, settings: StampSettings, overwrite: bool = False
) -> dict[str, plan.Change]:
    """Take stock of an archive of stamps; write nothing.

    Parameters
    ----------
    client : distributed.Client or None
        Where files are read; None: here.
    workspace, archive : Folder
        Where plans are, and the files.
    settings : StampSettings
        The pattern of file names, and further surveys.
    overwrite : bool, default: False
        Make the plans anew.

    Returns
    -------
    dict
        Survey → its plan, as it is and as it will be.

    Raises
    ------
    Missing
        If there is no file at all.
    Refused
        If a file has changed since it was ingested, or none would be left of what is to be overwritten.
    """
    surveys(settings.surveys)  # a table that does not parse is said before anything is read
    found = plan.find(archive)
    if not found:
        raise Missing(f"{archive}: no FITS file (.fits, .fit, .fts, also with .gz or .fz) in it; see --archive")
    entries = found if overwrite else plan.fresh(workspace, found)
    inspect = partial(plan.inspect, archive, settings)
    rows, killers = map_batches(client, inspect, entries, _FILES, "inventory")
    return plan.changes(workspace, rows + [plan.killed(entry) for entry in killers], settings, overwrite)


def ingest_stamps(
    client: Client | None, workspace: Folder, archive: Folder, settings: StampSettings, overwrite: bool = False
) -> Iterator[Report]:
    """Read stamps into stores and stack the filters of each source, two reports a survey.

    See `plan_stamps` for the parameters.
    """
    workspace.sweep()
    changes = plan_stamps(client, workspace, archive, settings, overwrite)
    if overwrite:
        _discard(workspace)
    # What names a survey now must leave those that name none before it joins the others, or a kill leaves it in both.
    for slug in sorted(changes, key=lambda slug: slug != plan.UNKNOWN):
        plan.save(workspace, slug, changes[slug])
    for slug, change in changes.items():
        if slug == plan.UNKNOWN:
            yield _told(workspace, Report(plan.STAGE, "files of no known survey"), change)
            continue
        cutting = ingest.IngestStamps(workspace, archive, slug, settings)
        cutting.prepare()
        report = run(cutting, client)
        report.label = slug
        yield _told(workspace, report, change)
        stacking = stacks.StackStamps(workspace, slug, settings)
        stacking.prepare()
        report = run(stacking, client)
        report.label = slug
        yield report


def _told(workspace: Folder, report: Report, change: plan.Change) -> Report:
    """Return a report with the files that were refused before any was read, and where to read why."""
    report.counts["rejected"] += change.refused
    if late := change.plan["reason"].to_pylist().count(str(Reason.LATE)):
        report.notes.append(f"late, until --overwrite: {late}, filters of sources that were there without them")
    if report.counts["rejected"]:
        where = shlex.quote(str(workspace))
        report.notes.append(f"why: python -m jobs.status --workspace {where} --outcomes {plan.STAGE}")
    return report


def _discard(workspace: Folder) -> None:
    """Undo all commits of stamps and stacks, manifests first, then what they list."""
    for stage, product in ((stacks.STAGE, "stacks"), (plan.STAGE, "stamps")):
        for key in manifest.committed(workspace, stage, product):
            manifest.discard(workspace, stage, key)
        workspace.remove_tree(product)
    for slug in plan.surveys(workspace):
        workspace.remove(plan.path(slug))


def forecast(
    workspace: Folder, changes: dict[str, plan.Change], settings: StampSettings, workers: int, overwrite: bool = False
) -> str:
    """Return in words what ingesting these plans would do; what is committed already is left out.

    Parameters
    ----------
    workspace : Folder
        Where stores will go.
    changes : dict
        Survey → its plan, from `plan_stamps`.
    settings : StampSettings
        Names further surveys.
    workers : int
        Processes.
    overwrite : bool, default: False
        What is committed is made again.
    """
    there = set(manifest.committed(workspace, plan.STAGE))
    done = set() if overwrite else there
    lines, size, count = [], 0.0, 0
    for slug, change in changes.items():
        rows = [row for row in change.plan.to_pylist() if row["verdict"] == plan.ACCEPTED]
        left = [row for row in rows if str(Key("stamps", slug, row["part"])) not in done]
        sources = {row["source_id"] for row in left}
        parts = {str(Key("stamps", slug, row["part"])) for row in left}
        again = f", {len(parts & there)} of which are replaced" if parts & there else ""
        what = "nothing new"
        if left:
            what = f"stamps to ingest: {len(left)}, sources: {len(sources)}, partitions: {len(parts)}{again}"
        lines.append(f"{slug}: {what}; {len(rows) - len(left)} there already, {change.refused} rejected")
        if slug != plan.UNKNOWN:
            size += (len(left) + len(sources)) * get(slug, settings.surveys).side ** 2 * _BYTES
        count += len(left)
    free = "" if workspace.free is None else f" of {workspace.free / 1e9:.1f} GB free"
    minutes = count * _SECONDS / workers / 60
    time = f"about {minutes:.0f} min" if minutes >= 1 else "under a minute"
    lines.append(f"writes about {size / 1e6:,.0f} MB{free}; {time}")
    return "\n".join(lines)
