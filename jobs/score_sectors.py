#!/usr/bin/env python
"""Score segments with a network and combine them into a catalogue of eclipsing binaries."""

import os
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from catalogs.known import read
from jobs import options
from models import predict, score
from models.files import score_files
from models.labels import read_negatives
from pipeline.errors import UsageError
from pipeline.lightcurves import estimate
from pipeline.settings import ScoreSettings, SystemsSettings


@options.job
@options.workspace
@options.sectors
@options.model
@click.option("--files", is_flag=True, help="Score the FITS files given as arguments, without a workspace.")
@click.option("--runtime", type=click.Choice(["auto", "openvino", "torch"]), help="On a CPU.  [default: auto]")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="auto: the fastest the CPU has.")
@click.option("--known", multiple=True, help="Published list to look stars up in; may be repeated.")
@click.option("--stars", help="List of TIC whose ephemerides are looked for whatever they score.")
@options.partial
@options.overwrite
@options.dry_run
@options.settings_file
@options.ray
@click.argument("paths", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(
    workspace: Folder, sectors: list[int] | None, model: str, files: bool, runtime: str | None,
    precision: str | None, known: tuple[str, ...], stars: str | None, partial: bool, overwrite: bool,
    dry_run: bool, config: Path | None, workers: int | None, ray_address: str | None, paths: tuple[Path, ...],
) -> None:  # fmt: skip
    """Score segments into WORKSPACE/catalogs/eclipsing_binary_scores/ and stars into eclipsing_binaries.parquet.

    Scores are written once: a partition that is scored is not scored again by the same model. At the end all
    sectors scored so far are combined, one row a system: each star's probability, and for candidates ephemerides
    from all sectors together. With --files, what the files alone say of their stars is printed.
    """
    if files != bool(paths) or (files and dry_run):
        raise UsageError("--files and the paths of FITS files go together, without --dry-run: --files a.fits b.fits")
    settings = ScoreSettings.load(config, "score", runtime=runtime, precision=precision)
    listed = read_negatives(stars)["tic_id"].tolist() if stars else []
    wanted = predict.Wanted(SystemsSettings.load(config, "systems"), listed, [read(path) for path in known])
    if files:
        click.echo(score_files(workspace, model, list(paths), settings).to_string(index=False))
    elif dry_run:
        scored = score.committed_parts(workspace, model)
        cores = workers or os.cpu_count() or 1
        click.echo(estimate.segments(workspace, sectors, "score", set() if overwrite else scored, cores, partial))
    else:
        if overwrite:
            score.discard_systems(workspace, model, sectors)
        with options.ray_session(workers, ray_address, workspace) as pool:
            options.finish(predict.score_sectors(workspace, model, sectors, settings, pool, overwrite, partial, wanted))


if __name__ == "__main__":
    main()
