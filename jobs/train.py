#!/usr/bin/env python
"""Train a network on labelled stars."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models.train import train
from pipeline.settings import TrainSettings

_LIST = click.Path(exists=True, dir_okay=False, path_type=Path)


@options.job
@options.workspace
@options.sectors
@click.option("--model", "name", default="calnet", show_default=True, help="Network to train.")
@click.option("--labels", type=_LIST, required=True, help="Labelled stars: .dat (fixed width), .csv, .parquet.")
@click.option("--negatives", type=_LIST, help="Stars that are no eclipsing binaries, same formats.")
@click.option("--unlisted-as-negative", type=click.IntRange(0), help="Draw N stars that are on no list as negatives.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training stars.")
@click.option("--batch-size", type=click.IntRange(1), help="Segments a step, over all workers.")
@click.option("--learning-rate", type=float, help="Highest learning rate.")
@click.option("--max-seconds", type=float, help="Stop after this time, s.")
@click.option("--split-by", type=click.Choice(["star", "sector"]), help="What is held out as a whole.")
@click.option("--seed", type=click.IntRange(0), help="Of weights, order, split and drawn negatives.")
@options.settings_file
@options.ray
def main(
    workspace: Folder, sectors: list[int] | None, name: str, labels: Path, negatives: Path | None,
    config: Path | None, workers: int | None, ray_address: str | None, **values: object,
) -> None:  # fmt: skip
    """Train on the committed segments of labelled stars; the result is NAME@candidate until it is promoted.

    Stars, never segments, are split into training, validation and test. Weights, card, curves and confusion matrix go
    to WORKSPACE/models/NAME/<version>/. Run again after a kill, it goes on from its last checkpoint.
    """
    settings = TrainSettings.load(config, "train", **values)
    with options.ray_session(workers, ray_address, workspace) as (count, gpus):
        made = train(workspace, name, labels, negatives, settings, sectors, count, gpus > 0)
    click.echo(f"{made}: now {name}@candidate; `python -m jobs.promote {name}@candidate` makes it production")


if __name__ == "__main__":
    main()
