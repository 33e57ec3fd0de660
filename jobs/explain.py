#!/usr/bin/env python
"""Walk a star of the catalogue back to the files it was made from."""

import json
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from pipeline.lightcurves import lineage


@options.job
@options.workspace
@click.argument("tic", type=int)
def main(workspace: Folder, tic: int) -> None:
    """Show TIC's catalogue row and its model, and for each sector its file, checksum and steps, as JSON.

    A step (ingest, preprocess, score) shows its manifest, version, settings, when and where it ran, whether it is
    stale, and what it made of the star: segments, and their scores with the runtime.
    """
    click.echo(json.dumps(lineage.explain(workspace, tic), indent=2, default=str))


if __name__ == "__main__":
    main()
