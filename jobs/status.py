#!/usr/bin/env python
"""Show where a workspace stands."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from pipeline.images import status as images
from pipeline.lightcurves import lineage, status
from pipeline.stamps import status as stamps


@options.job
@options.workspace
@options.sectors
@click.option(
    "--outcomes",
    type=click.Choice(["ingest", "preprocess", "score", "systems", *images.STAGES, *stamps.STAGES]),
    help="List what became of each input; systems: of each candidate of the catalogue; pairs: of each image.",
)
@click.option("--all", "everything", is_flag=True, help="With --outcomes: also what was done without trouble.")
def main(workspace: Folder, sectors: list[int] | None, outcomes: str | None, everything: bool) -> None:
    """Show, for each sector and step, what is done, rejected, missing and stale; the same of images, pairs, stamps.

    `--outcomes ingest_images` says what is wrong with files, `--outcomes pairs --all` why an image has no reference.
    """
    if not outcomes:
        pairs = images.status(workspace)
        cut = stamps.status(workspace)
        for table in (pairs, cut):
            if len(table):
                options.show(table, "")
        if len(pairs) + len(cut) and not status.planned(workspace):
            return
        empty = f"nothing is ingested in {workspace}; run ingest_sectors, ingest_images or ingest_stamps"
        options.show(status.status(workspace, sectors), empty)
        counts = lineage.systems(workspace, ()).counts
        if counts["planned"]:
            click.echo("\nephemerides of the catalogue: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
        return
    if outcomes in images.STAGES:
        table = images.outcomes(workspace, outcomes)
    elif outcomes in stamps.STAGES:
        table = stamps.outcomes(workspace, outcomes)
    elif outcomes == "systems":
        table = lineage.systems(workspace).outcomes
    else:
        table = status.outcomes(workspace, outcomes, sectors)
    if not everything:
        table = table[table["message"].notna() | (table["state"] != "done")]
    options.show(table, "every input is done, none with a remark")


if __name__ == "__main__":
    main()
