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
from models.lessons import Sources, describe, learn, make
from models.registry import Registry

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@options.job
@options.workspace
@options.sectors
@click.option("--model", "name", default="eb", show_default=True, help="Network to train.")
@click.option("--labels", help="Labelled stars of the workspace: .dat (fixed width), .csv, .parquet; local or s3://.")
@click.option("--negatives", help="Stars that are no eclipsing binaries, same formats.")
@click.option("--unlisted-as-negative", type=click.IntRange(0), help="Draw N stars that are on no list as negatives.")
@options.training_sets
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training stars. *")
@click.option("--batch-size", type=click.IntRange(1), help="Segments a step, over all workers. *")
@click.option("--learning-rate", type=float, help="Highest learning rate. *")
@click.option("--max-seconds", type=float, help="Stop after this time, s. *")
@click.option("--set", "described", multiple=True, type=FILE, help="TOML file of a set of triplets, see below.")
@click.option("--start-from", help="Begin with the weights of this model, an id or an alias; of triplets only.")
@click.option("--split-by", help="Held out as a whole: star, sector; of triplets field, temporal, ccd, filter, survey, "
              "kind, or one of these, survey:ztf.  [default: star, field]")  # fmt: skip
@click.option("--folds", type=click.IntRange(2), help="Hold out one of so many folds of the stars, see --fold.")
@click.option("--fold", type=click.IntRange(0), help="Which one, from 0.  [default: 0]")
@click.option("--seed", type=click.IntRange(0), help="Of weights, order, split and drawn negatives.")
@click.option("--overwrite", is_flag=True, help="Train anew, though the same training was begun or is done.")
@click.option("--only-sets", is_flag=True, help="Make the sets of triplets; train nothing.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print stars and epochs, once the training sets are made segments, folds and time too; make nothing.",
)
@options.settings_file
@options.ray
def main(
    workspace: Folder, sectors: list[int] | None, name: str, labels: str | None, negatives: str | None, overwrite: bool,
    dry_run: bool, only_sets: bool, described: tuple[Path, ...], config: Path | None, workers: int | None,
    ray_address: str | None, simulated: int | None, labelled: str | None, known: tuple[str, ...], leave_out: str | None,
    **values: object,
) -> None:  # fmt: skip
    """Train on labelled stars; the result is NAME@candidate until it is promoted, but for that of a fold.

    `eb` learns from simulated stars and, if given, from a Parquet file of real labelled light curves (--labelled);
    any model can learn from the committed segments of stars on a list (--labels). With --labelled, `eb` first
    rehearses on the simulated stars alone: what is marked * is of the training after it, and the table [rehearsal] of
    --config says the same of the rehearsal.

    Stars, never segments, are split into training, validation and test. Weights, card, curves and confusion matrix go
    to WORKSPACE/models/NAME/<version>/. Run again after a kill, it goes on from its last checkpoint.

    `realbogus` learns from simulated fields, or from what a file names (--set; pipeline/images/setfile.py tells how).
    What reviewers have labelled in the workspace is learnt with --set pipeline/images/reviewed.toml --start-from
    production --epochs 4 --learning-rate 3e-4.
    """
    sources = Sources(labels, negatives, sectors, simulated, labelled, known, leave_out, described)
    if dry_run:
        click.echo(describe(workspace, name, sources, config, values, workers or os.cpu_count() or 1))
        return
    with options.ray_session(workers, ray_address, workspace) as (count, gpus):
        if only_sets:
            click.echo(make(workspace, name, sources, config, count, overwrite))
            return
        made = learn(workspace, name, sources, config, values, count, gpus > 0, overwrite)
    if Registry(workspace).aliases(name).get("candidate") == made:
        click.echo(f"{made}: now {name}@candidate; `python -m jobs.promote {name}@candidate` makes it production")
    else:
        click.echo(f"{made}: of a fold, so no candidate; held_out.parquet beside its card judges it")


if __name__ == "__main__":
    main()
