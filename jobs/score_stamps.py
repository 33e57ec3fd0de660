#!/usr/bin/env python
"""Score stacked stamps and combine surveys into a catalogue of visual binaries."""

import os
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models import visual_catalogue
from pipeline.settings import VisualScoreSettings


@options.job
@options.workspace
@click.option("--model", default="visualbinary", show_default=True, help="NAME, NAME@ID or NAME@ALIAS.")
@click.option("--prior", type=float, help="Share of doubles that p_prior and threshold are for.  [default: 0.09]")
@click.option("--runtime", type=click.Choice(["auto", "openvino", "torch"]), help="On a CPU.  [default: auto]")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="auto: the fastest the CPU has.")
@options.partial
@options.overwrite
@options.dry_run
@options.settings_file
@options.ray
def main(
    workspace: Folder, model: str, prior: float | None, runtime: str | None, precision: str | None, partial: bool,
    overwrite: bool, dry_run: bool, config: Path | None, workers: int | None, ray_address: str | None,
) -> None:  # fmt: skip
    """Score the stacks of all surveys into WORKSPACE/catalogs/visual_binaries.parquet, a row a source.

    What is scored is not scored again by the same model. At the end all surveys of a source are put together, with
    what measure_stamps has measured so far; visual_binaries_filters.parquet holds a row for each filter. How many
    doubles are false is told for catalogues of which half, 9% and 1% are double. WORKSPACE/reports/visual_binaries.html
    shows the best and the doubtful, catalogs/visual_binaries/model=ID/completeness.png which pairs are found at all.
    """
    settings = VisualScoreSettings.load(config, "visual", prior=prior, runtime=runtime, precision=precision)
    if dry_run:
        click.echo(visual_catalogue.estimate(workspace, model, settings, workers or os.cpu_count() or 1, partial))
        return
    visual_catalogue.planned(
        workspace, model, settings, allow_missing=partial
    )  # what is wrong is told before Ray starts
    with options.ray_session(workers, ray_address, workspace) as pool:
        options.finish(visual_catalogue.score_stamps(workspace, model, settings, pool, overwrite, partial))


if __name__ == "__main__":
    main()
