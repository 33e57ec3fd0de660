#!/usr/bin/env python
"""Fit one and two stars to the stamps of all sources: separation, position angle, magnitudes, limits."""

import os
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from pipeline.settings import MeasureSettings
from pipeline.stamps.measures import forecast, measure_stamps, planned


@options.job
@options.workspace
@click.option("--gaia", help="Table of Gaia's stars: CSV, ECSV, Parquet or FITS; Gaia's names of columns or VizieR's.")
@click.option("--counts", help="Table of star counts: mag, per_arcsec2 (or per_deg2) of stars brighter than mag.")
@click.option("--most", type=int, help="Stars that are fitted to one source, at most.  [default: 4]")
@click.option("--surveys", help="TOML file of further surveys, as for ingest_stamps.")
@options.overwrite
@options.dry_run
@options.settings_file
@options.dask
def main(
    workspace: Folder, gaia: str | None, counts: str | None, most: int | None, surveys: str | None, overwrite: bool,
    dry_run: bool, config: Path | None, workers: int | None, dask_address: str | None,
) -> None:  # fmt: skip
    """Fit the stamps that ingest_stamps has stored, all surveys and filters of a source together.

    WORKSPACE/measures receives a row a source (components, separation, position angle, how faint a companion would
    have been seen) and a row a stamp (difference of magnitudes, gain of chi squared). score_stamps puts them into its
    catalogue. With --gaia the stars are looked up, with --counts the probability of a chance alignment is given.
    """
    settings = MeasureSettings.load(config, "measure", gaia=gaia, counts=counts, most=most, surveys=surveys)
    if dry_run:
        click.echo(forecast(workspace, settings, workers or os.cpu_count() or 1, overwrite))
        return
    planned(workspace, settings)  # what is wrong is told before Dask starts
    with options.dask_session(workers, dask_address, workspace) as client:
        options.finish(measure_stamps(client, workspace, settings, overwrite))


if __name__ == "__main__":
    main()
