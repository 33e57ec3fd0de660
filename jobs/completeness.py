#!/usr/bin/env python
"""Measure how complete a catalogue of eclipsing binaries is, and how reliable."""

import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models.completeness import measure
from pipeline.settings import CompletenessSettings


@options.job
@options.workspace
@options.sectors
@options.model
@click.option("--injections", type=click.IntRange(1), help="Eclipsing binaries put in. *  [default: 8192]")
@click.option("--inverted", type=click.IntRange(0), help="Stars turned upside down. *  [default: 4096]")
@click.option("--variables", type=click.IntRange(0), help="Variable stars put in. *  [default: 2048]")
@click.option("--periods/--no-periods", default=None, help="Look for the period of the binaries found, too.")
@click.option("--labelled", help="Parquet file of real light curves with labels, see `train`.")
@options.settings_file
@options.ray
def main(
    workspace: Folder, sectors: list[int] | None, model: str, labelled: str | None, config: Path | None,
    workers: int | None, ray_address: str | None, **values: Any,
) -> None:  # fmt: skip
    """Put light curves whose truth is known through everything that makes the catalogue of WORKSPACE.

    Simulated eclipsing binaries in the light curves of quiet stars tell how many are found, by magnitude, period and
    depth; light curves upside down and stars that vary without eclipses, how many rows are false, by class, period and
    depth. Tables and a summary are written beside the catalogue, and the report draws them. Trials are done once:
    run again, with more of them or after a kill, it does the others. Of labelled stars those are tried that the model
    did not learn from.

    Numbers marked * are rounded up to multiples of 64; a star is turned upside down once, so that there are at most as
    many as have tier none.
    """
    settings = CompletenessSettings.load(config, "completeness", **values)
    with options.ray_session(workers, ray_address, workspace) as pool:
        options.finish(measure(workspace, model, sectors, settings, labelled, pool))


if __name__ == "__main__":
    main()
