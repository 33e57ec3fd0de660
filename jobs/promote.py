#!/usr/bin/env python
"""Make a model the production one."""

import shlex
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models.registry import Registry
from models.spec import get_spec
from pipeline import candidates, visual
from pipeline.lightcurves import combine


@options.job
@options.workspace
@click.argument("model")
@click.option("--ship", is_flag=True, help="Put it into models/weights too, for all who use this tree.")
@click.option("--rollback", is_flag=True, help="Put back what was in production before; MODEL is then a NAME.")
def main(workspace: Folder, model: str, ship: bool, rollback: bool) -> None:
    """Make MODEL (NAME@candidate, NAME@ID) what scores, and what the catalogue of its scores shows.

    The way back is --rollback, or the same command with the former id, which is printed.
    """
    registry = Registry(workspace)
    entry = registry.resolve(f"{model}@{registry.former(model)}" if rollback else model)
    before = registry.aliases(entry.name).get("production")
    if rollback:
        registry.rollback(entry.name, entry.id)
    else:
        before = registry.set_alias(entry.name, "production", entry.id)
    click.echo(f"production of {entry.name}: {before or 'none'} → {entry.id}")
    if ship:
        registry.ship(entry)
        click.echo(f"shipped: {registry.shipped.url(entry.name)}")
    inputs = get_spec(entry.name).inputs
    if "triplet" in inputs or "stack" in inputs:
        click.echo((candidates if "triplet" in inputs else visual).follow(workspace, entry.id))
        return
    if found := combine.newest(workspace, entry.id):
        combine.publish(workspace, found)
        click.echo(f"{workspace.url(combine.CURRENT)}: {found.rows} rows")
        return
    shown = combine.current_model(workspace)
    state = f"still shows {shown}" if shown else "is not there yet"
    cure = f"python -m jobs.score_sectors --workspace {shlex.quote(str(workspace))} --model {entry.name}"
    click.echo(f"{entry.id} has no catalogue: {workspace.url(combine.CURRENT)} {state}; to make it: {cure}")


if __name__ == "__main__":
    main()
