#!/usr/bin/env python
"""Walk a star, a candidate or a source of a catalogue back to the files it was made from."""

import json
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from pipeline.alerts import lineage as alerts
from pipeline.errors import Missing
from pipeline.images import lineage as detections
from pipeline.lightcurves import lineage
from pipeline.stamps import lineage as stamps


@options.job
@options.workspace
@click.argument("identifier", metavar="TIC|CANDIDATE_ID|SOURCE_ID")
def main(workspace: Folder, identifier: str) -> None:
    """Show a catalogue row and all that it was made from, as JSON.

    A number is a TIC: its row and its model, and for each sector its file, checksum and steps. A step (ingest,
    preprocess, score) shows its manifest, version, settings, when and where it ran, whether it is stale, and what it
    made of the star: segments, and their scores with the runtime.

    A source of stamps, as its files call it, is looked for first, be it a number: why it is of its tier, its row and
    rows by filter, and for each survey its stack, how that was scored and stacked, and its files. To have a TIC
    instead: "TIC 7".

    Anything else is a candidate: of an alert that was scored (ztf:1234) its row, packet and file, scores and model; of
    image differencing its row, pair, match, difference, and the files of both images.
    The candidates of an object: query --catalog candidates --id OBJECT_ID.
    """
    star = identifier.removeprefix("TIC ").strip()
    try:
        found = stamps.explain(workspace, identifier)
        if found is None and star.isdigit():
            found = lineage.explain(workspace, int(star))
        found = found or alerts.explain(workspace, identifier) or detections.explain(workspace, identifier)
    except Missing:
        stamps.check_scored(workspace, star)
        raise
    click.echo(json.dumps(found, indent=2, default=str))


if __name__ == "__main__":
    main()
