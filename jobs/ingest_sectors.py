#!/usr/bin/env python
"""Read TESS light-curve files into one chunked store a sector."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from pipeline import recipes
from pipeline.errors import UsageError
from pipeline.lightcurves import estimate
from pipeline.settings import IngestSettings


@options.job
@click.option("--archive", type=options.FOLDER, required=True, help="Top of the FITS files, local or s3://.")
@options.workspace
@options.sectors
@click.option("--pattern", help="Glob below the archive, e.g. 's{sector:03d}/*.fits'.  [default: **/*.fits*]")
@options.overwrite
@options.dry_run
@options.settings_file
@options.dask
def main(
    archive: Folder, workspace: Folder, sectors: list[int] | None, pattern: str | None, overwrite: bool,
    dry_run: bool, config: Path | None, workers: int | None, dask_address: str | None,
) -> None:  # fmt: skip
    """Read TESS light curves into WORKSPACE/lightcurves/s0001.zarr, …

    ARCHIVE holds folders s001, s002, … (or the mission's nested ones) of SPOC light curves of 2 min or 20 s or of
    TESS-SPOC full-frame ones, .fits or .fits.gz. Every file ends in the outcome table (`status --outcomes ingest`),
    a bad one with its reason. Killed or run again, the job goes on where it was; new files are added at the end.
    """
    settings = IngestSettings.load(config, "ingest", pattern=pattern)
    if archive.is_local and not Path(archive.root).is_dir():
        what = "a file; give the folder it lies in" if Path(archive.root).exists() else "no such folder"
        raise UsageError(f"--archive {archive}: {what}")
    with options.dask_session(workers, dask_address, None if dry_run else workspace) as client:
        if dry_run:
            plans = recipes.plan_sectors(client, workspace, archive, sectors, settings, overwrite)
            click.echo(estimate.ingest(workspace, plans, options.cores(client), overwrite))
        else:
            options.finish(recipes.ingest_sectors(client, workspace, archive, sectors, settings, overwrite))


if __name__ == "__main__":
    main()
