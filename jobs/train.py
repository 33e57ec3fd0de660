#!/usr/bin/env python
"""Train a network on labelled stars."""

import os
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models.train import outline, train
from pipeline.settings import TrainSettings


@options.job
@options.workspace
@options.sectors
@click.option("--model", "name", default="calnet", show_default=True, help="Network to train.")
@click.option("--labels", required=True, help="Labelled stars: .dat (fixed width), .csv, .parquet; local or s3://.")
@click.option("--negatives", help="Stars that are no eclipsing binaries, same formats.")
@click.option("--unlisted-as-negative", type=click.IntRange(0), help="Draw N stars that are on no list as negatives.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training stars.")
@click.option("--batch-size", type=click.IntRange(1), help="Segments a step, over all workers.")
@click.option("--learning-rate", type=float, help="Highest learning rate.")
@click.option("--max-seconds", type=float, help="Stop after this time, s.")
@click.option("--split-by", type=click.Choice(["star", "sector"]), help="What is held out as a whole.")
@click.option("--seed", type=click.IntRange(0), help="Of weights, order, split and drawn negatives.")
@click.option("--overwrite", is_flag=True, help="Train anew, though the same training was begun or is done.")
@click.option("--dry-run", is_flag=True, help="Print stars, segments, folds and time; make nothing.")
@options.settings_file
@options.ray
def main(
    workspace: Folder, sectors: list[int] | None, name: str, labels: str, negatives: str | None, overwrite: bool,
    dry_run: bool, config: Path | None, workers: int | None, ray_address: str | None, **values: object,
) -> None:  # fmt: skip
    """Train on the committed segments of labelled stars; the result is NAME@candidate until it is promoted.

    Stars, never segments, are split into training, validation and test. Weights, card, curves and confusion matrix go
    to WORKSPACE/models/NAME/<version>/. Run again after a kill, it goes on from its last checkpoint.
    """
    settings = TrainSettings.load(config, "train", **values)
    if dry_run:
        cores = workers or os.cpu_count() or 1
        click.echo(outline(workspace, name, labels, negatives, settings, sectors, cores))
        return
    with options.ray_session(workers, ray_address, workspace) as (count, gpus):
        made = train(workspace, name, labels, negatives, settings, sectors, count, gpus > 0, overwrite)
    click.echo(f"{made}: now {name}@candidate; `python -m jobs.promote {name}@candidate` makes it production")


if __name__ == "__main__":
    main()
