#!/usr/bin/env python
"""Show what is to be looked at next, and export what people said."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs import review
from catalogs.folder import Folder
from jobs import options
from models.queue import QUEUES
from models.review_pages import PRODUCTS, Desk


@options.job
@options.workspace
@click.option("--product", type=click.Choice(list(PRODUCTS)), default="transient_candidates", show_default=True)
@click.option("--queue", type=click.Choice(list(QUEUES)), default="uncertain", show_default=True, help="What is first.")
@click.option("--who", default="", help="As this reviewer would see it.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Rows to print.")
@click.option("--export", is_flag=True, help="Print as CSV what counts of each item instead.")
@click.option("--merge", is_flag=True, help="Put the files of labels into one first; it may be done at any time.")
def main(workspace: Folder, product: str, queue: str, who: str, limit: int, export: bool, merge: bool) -> None:
    """Print the review queue of a catalogue, or the labels that were given.

    Labels are given by keyboard on a page: run `python -m jobs.serve` and open /review/ there. They are kept as
    WORKSPACE/labels/PRODUCT/*.parquet, and nothing is ever removed from these.
    """
    if merge:
        review.merge(workspace, product)
    given = review.labels(workspace, product)
    if export:
        click.echo(review.consensus(given).to_csv(index=False), nl=False)
        return
    line, *_ = Desk(workspace, product, PRODUCTS[product](workspace)).line(queue, who)
    options.show(line.head(limit), "nothing is left to look at")
    click.echo(f"{len(line)} left; {len(review.consensus(given))} labelled")
    click.echo(f"to label them: python -m jobs.serve --workspace {workspace}, then open /review/ there")


if __name__ == "__main__":
    main()
