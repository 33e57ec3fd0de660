#!/usr/bin/env python
"""Say whether a model is still given what it has learnt from."""

import sys
from datetime import datetime
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
import pandas as pd
from astropy.time import Time

from catalogs.folder import Folder
from jobs import options
from models.alarm import judge, picture
from models.registry import Registry
from pipeline.errors import Missing
from pipeline.settings import DriftSettings


@options.job
@options.workspace
@click.option("--model", default="realbogus", show_default=True, help="NAME, NAME@ID or NAME@ALIAS.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Science images from this day (UTC) on only.")
@click.option("--by", type=click.Choice(["survey", "filter", "season"]), default="survey", show_default=True)
@click.option("--out", type=options.FOLDER, help="Where drift.csv and drift.png go.  [default: WORKSPACE/reports]")
@options.settings_file
def main(
    workspace: Folder, model: str, since: datetime | None, by: str, out: Folder | None, config: Path | None
) -> None:
    """Compare what a model was given, and what it said, with its training; print what has drifted.

    inputs: noise, sky, widths, …; scores: logits and novelty. Another share of real ones, as every night has, is none.
    Here exit status 1 is an alarm, 0 is none. What is strange or uncertain is asked about on the review page.
    """
    settings = DriftSettings.load(config, "drift")
    entry = Registry(workspace).resolve(model)
    first = None if since is None else float(Time(since).mjd)
    verdict = judge(workspace, entry, by, first, settings)
    if verdict.log.empty:
        raise Missing(f"{workspace}: {entry.id} has scored nothing yet that is logged; run score_candidates or serve")
    options.show(verdict.parts.round(4), "nothing in the log was scored")
    out = out or workspace.child("reports")
    out.write("drift.csv", pd.concat([verdict.parts, verdict.batches]).to_csv(index=False).encode())
    out.write("drift.png", picture(entry, verdict.log).png)
    click.echo(f"{out.url('drift.csv')}\n{out.url('drift.png')}")
    for line in verdict.alarms:
        click.echo(f"alarm: {line}")
    counts = f"{verdict.log['n'].sum():,} candidates in {verdict.log['batch'].nunique():,} batches"
    click.echo(f"{counts}: {len(verdict.alarms)} alarms")
    sys.exit(int(verdict.is_alarm))


if __name__ == "__main__":
    main()
