#!/usr/bin/env python
"""Judge models on real labelled stars, each by a model that did not learn from it."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models.crossvalidate import crossvalidate, save
from models.lessons import Sources
from models.verdict import judge, markdown


@options.job
@options.workspace
@click.option("--model", "names", multiple=True, default=["eb"], show_default=True, help="Networks; repeat to compare.")
@options.training_sets
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="Folds of the stars.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the stars of a fold, not of its rehearsal.")
@click.option("--seed", type=click.IntRange(0), help="Of weights, order and folds.")
@options.settings_file
@options.ray
def main(
    workspace: Folder, names: tuple[str, ...], folds: int, config: Path | None, workers: int | None,
    ray_address: str | None, simulated: int | None, labelled: str | None, known: tuple[str, ...],
    leave_out: str | None, **values: object,
) -> None:  # fmt: skip
    """Train each model once a fold and score every real star by the one that did not see it.

    Prints, for a threshold that 1% of the stars that do not eclipse pass, how many of each kind are found; scores,
    verdicts and a page with the light curves of the mistakes go to WORKSPACE/evaluations/. Folds that are done are not
    done again.
    """
    sources = Sources(None, None, None, simulated, labelled, known, leave_out)
    sources.labelled_stars()
    tables = {}
    with options.ray_session(workers, ray_address, workspace) as (count, gpus):
        for name in names:
            tables[name] = crossvalidate(workspace, name, sources, folds, config, values, count, gpus > 0)
    click.echo(markdown({name: judge(table) for name, table in tables.items()}))
    click.echo(workspace.url(save(workspace, sources, tables)))


if __name__ == "__main__":
    main()
