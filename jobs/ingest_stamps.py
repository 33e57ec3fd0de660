#!/usr/bin/env python
"""Read stamps of sources from many surveys into chunked stores, and stack the filters of each."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from pipeline.errors import UsageError
from pipeline.settings import StampSettings
from pipeline.stamps import plan, recipe

_FEW = 300  # stamps that are read in this process: a cluster's start would take longer


@options.job
@click.option("--archive", type=options.FOLDER, required=True, help="Top of the FITS files, local or s3://.")
@options.workspace
@click.option("--pattern", metavar="NAME",
              help="Of names: '<survey>/<source>', '<source>_<filter><survey=PS1>'.  [default: as above]")  # fmt: skip
@click.option("--method", type=click.Choice(["weighted", "clipped", "mean"]), help="Of stacking.  [default: weighted]")
@click.option("--surveys", metavar="FILE", help="TOML file of further surveys, as pipeline/stamps/surveys.toml.")
@options.overwrite
@options.dry_run
@options.settings_file
@options.dask
def main(
    archive: Folder, workspace: Folder, pattern: str | None, method: str | None, surveys: str | None, overwrite: bool,
    dry_run: bool, config: Path | None, workers: int | None, dask_address: str | None,
) -> None:  # fmt: skip
    """Read FITS stamps into WORKSPACE/stamps/SURVEY.zarr and stack them in WORKSPACE/stacks/SURVEY.zarr.

    Files are called SOURCE_SURVEY_FILTER.fits (22466_SDSS_r.fits; .gz and .fz too), SOURCE_stacked_SURVEY.fits,
    SOURCE/SURVEY/SURVEY_FILTER.fits, as panstamps does, or as --pattern says. DECaLS, unWISE, AllWISE, NEOWISE-R,
    Spitzer, GALEX, 2MASS, ZTF, SkyMapper, Pan-STARRS, SDSS, HST, JWST and HSCLA are known; --surveys adds others.

    The source is where RA_OBJ, DEC_OBJ in the header, or panstamps' names, say, else in the middle. What a survey shows
    around it is cut in arcseconds, north up, east left; --method mean is the plain mean of the filters. Every FITS file
    ends in the outcome table, a bad one with its reason (status --outcomes ingest_stamps). Killed or run again, the job
    goes on where it was; new sources are added at the end. A further filter of a source that is there is rejected as
    late, until --overwrite makes all anew. Then: measure_stamps, score_stamps.
    """
    settings = StampSettings.load(config, "stamps", pattern=pattern, method=method, surveys=surveys)
    if archive.is_local and not Path(archive.root).is_dir():
        what = "a file; give the folder it lies in" if Path(archive.root).exists() else "no such folder"
        raise UsageError(f"--archive {archive}: {what}")
    few = len(plan.find(archive)) <= _FEW
    with options.dask_session(workers, dask_address, None if dry_run else workspace, few) as client:
        if dry_run:
            changes = recipe.plan_stamps(client, workspace, archive, settings, overwrite)
            cores = options.cores(client) if client else 1
            click.echo(recipe.forecast(workspace, changes, settings, cores, overwrite))
        else:
            options.finish(recipe.ingest_stamps(client, workspace, archive, settings, overwrite))


if __name__ == "__main__":
    main()
