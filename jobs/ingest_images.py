#!/usr/bin/env python
"""Read survey images into chunked stores with variance and mask planes, and an index of them."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from pipeline import recipes
from pipeline.errors import UsageError
from pipeline.images import forecast
from pipeline.settings import ImageSettings


@options.job
@click.option("--archive", type=options.FOLDER, required=True, help="Top of the FITS files, local or s3://.")
@options.workspace
@click.option("--pattern", help="Globs below the archive, by commas.  [default: every ending FITS files have]")
@click.option("--bias", help="Bias frame (local), for images whose header does not say that it was subtracted.")
@click.option("--dark", help="Dark frame, the same; scaled by exposure.")
@click.option("--flat", help="Flat field, the same.")
@click.option("--bad-pixels", help="Image that is not 0 where a pixel is bad, for all images.")
@click.option("--cosmic-rays/--no-cosmic-rays", default=None, help="Look for cosmic rays.  [default: yes]")
@options.overwrite
@options.dry_run
@options.settings_file
@options.dask
def main(
    archive: Folder, workspace: Folder, pattern: str | None, bias: str | None, dark: str | None, flat: str | None,
    bad_pixels: str | None, cosmic_rays: bool | None, overwrite: bool, dry_run: bool, config: Path | None,
    workers: int | None, dask_address: str | None,
) -> None:  # fmt: skip
    """Read FITS images into WORKSPACE/images/SURVEY/ID.zarr and list them in WORKSPACE/catalogs/images.parquet.

    ZTF, Pan-STARRS, Swift UVOT, HST, DECam and GOTO are known by their headers, any other image with a WCS is read by
    common words; .gz and .fz too; fields, filters and surveys may lie in one folder. Every image ends in the outcome
    table, a bad one with its reason (status --outcomes ingest_images). Killed or run again, the job goes on where it
    was. Then: difference_images.
    """
    settings = ImageSettings.load(config, "images", pattern=pattern, cosmic_rays=cosmic_rays)
    if archive.is_local and not Path(archive.root).is_dir():
        what = "a file; give the folder it lies in" if Path(archive.root).exists() else "no such folder"
        raise UsageError(f"--archive {archive}: {what}")
    given = {"bias": bias, "dark": dark, "flat": flat, "bad_pixels": bad_pixels}
    references = {name: str(Path(file).absolute()) for name, file in given.items() if file is not None}
    with options.dask_session(workers, dask_address, None if dry_run else workspace) as client:
        if dry_run:
            changes = recipes.plan_images(client, workspace, archive, settings, overwrite)
            click.echo(forecast.forecast(workspace, changes, settings, options.cores(client), overwrite))
        else:
            options.finish(recipes.ingest_images(client, workspace, archive, settings, references, overwrite))


if __name__ == "__main__":
    main()
