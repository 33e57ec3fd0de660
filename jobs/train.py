#!/usr/bin/env python
"""Train a network on labelled light curves, triplets of images, or stamps of stars."""

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


@options.job
@options.workspace
@options.sectors
@click.option("--model", "name", default="eb", show_default=True, help="Network to train.")
@options.star_lists
@options.training_sets
@options.triplet_sets
@options.steps
@options.splits
@click.option("--overwrite", is_flag=True, help="Train anew, though the same training was begun or is done.")
@click.option("--dry-run", is_flag=True, help="Print what would be learnt from and how often, once the sets are made "
              "folds and time too; make nothing.")  # fmt: skip
@options.settings_file
@options.ray
def main(
    workspace: Folder, sectors: list[int] | None, name: str, labels: str | None, negatives: str | None, overwrite: bool,
    dry_run: bool, only_sets: bool, described: tuple[Path, ...], config: Path | None, workers: int | None,
    ray_address: str | None, simulated: int | None, labelled: str | None, known: tuple[str, ...], leave_out: str | None,
    **values: object,
) -> None:  # fmt: skip
    """Train on labelled curves, triplets or stamps; the result is NAME@candidate until promoted, unless of a fold.

    `eb` learns from simulated stars and, if given, from a Parquet file of real labelled light curves (--labelled); any
    model of light curves can learn from the committed segments of stars on a list (--labels). With --labelled, `eb`
    first rehearses on simulated stars alone: what is marked * is of the training after it; [rehearsal] of --config
    says it of that. Stars, never segments, are split into training, validation and test.

    `realbogus` learns from simulated fields, or from what a file names (--set; pipeline/images/setfile.py tells how).
    What reviewers said is learnt with --set pipeline/images/reviewed.toml --start-from production --epochs 4.
    Whole fields, objects and pieces of sky, never triplets, are split. `visualbinary` and `poster` learn from simulated
    stamps of double and single stars ([stampset] of --config), split by source.

    Weights, card and figures go to WORKSPACE/models/NAME/<version>/. Run again after a kill, it goes on from its last
    checkpoint.
    """
    sources = Sources(labels, negatives, sectors, simulated, labelled, known, leave_out, described)
    if dry_run:
        click.echo(describe(workspace, name, sources, config, values, workers or os.cpu_count() or 1))
        return
    with options.ray_session(workers, ray_address, workspace) as (count, gpus):
        if only_sets:
            make(workspace, name, sources, config, count, overwrite)
            return
        made = learn(workspace, name, sources, config, values, count, gpus > 0, overwrite)
    if Registry(workspace).aliases(name).get("candidate") == made:
        click.echo(f"{made}: now {name}@candidate; `python -m jobs.promote {name}@candidate` makes it production")
    else:
        click.echo(f"{made}: of a fold, so no candidate; held_out.parquet beside its card judges it")


if __name__ == "__main__":
    main()
