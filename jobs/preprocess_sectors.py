#!/usr/bin/env python
"""Cut light curves into segments and make what the networks look at."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from pipeline import recipes
from pipeline.lightcurves import estimate, status
from pipeline.settings import PreprocessSettings


@options.job
@options.workspace
@options.sectors
@click.option("--recipe", type=click.Choice(["calnet", "robust"]), help="calnet: as published; robust: mended.")
@options.partial
@options.overwrite
@options.dry_run
@options.settings_file
@options.dask
def main(
    workspace: Folder, sectors: list[int] | None, recipe: str | None, partial: bool, overwrite: bool,
    dry_run: bool, config: Path | None, workers: int | None, dask_address: str | None,
) -> None:  # fmt: skip
    """Make segments with curve and periodogram in WORKSPACE/curves/s0001.zarr, …

    Recipe calnet follows arXiv 2504.15875 step by step, for its published network; robust keeps depths and
    resolves short and long periods. A store holds one recipe; --overwrite changes it.
    """
    settings = PreprocessSettings.load(config, "preprocess", recipe=recipe)
    with options.dask_session(workers, dask_address, None if dry_run else workspace) as client:
        if dry_run:
            done = set() if overwrite else status.committed_parts(workspace, "preprocess")
            cores = options.cores(client)
            click.echo(estimate.segments(workspace, sectors, "preprocess", done, cores, partial))
        else:
            options.finish(recipes.preprocess_sectors(client, workspace, sectors, settings, overwrite, partial))


if __name__ == "__main__":
    main()
