#!/usr/bin/env python
"""Score candidates of image differences, ours or in the alerts of a survey, as real or bogus."""

import os
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models import night
from models.watch import watch
from pipeline.errors import UsageError
from pipeline.settings import CandidateScoreSettings

PATH = click.Path(exists=True, path_type=Path)


@options.job
@options.workspace
@click.option("--alerts", multiple=True, type=PATH, help="File or folder of alerts (Avro, Parquet, JSON); repeatable.")
@click.option("--model", default="realbogus", show_default=True, help="NAME, NAME@ID or NAME@ALIAS.")
@click.option("--prior", type=float, help="Share of real ones that p_prior is for.  [default: the model's]")
@click.option("--watch", "folder", type=PATH, help="Score every file of alerts that arrives in this folder.")
@click.option("--poll", type=click.FloatRange(0.05), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="With --watch: end when all that is there is scored.")
@options.partial
@options.overwrite
@options.dry_run
@options.settings_file
@options.ray
def main(
    workspace: Folder, alerts: tuple[Path, ...], model: str, prior: float | None, folder: Path | None, poll: float,
    once: bool, partial: bool, overwrite: bool, dry_run: bool, config: Path | None, workers: int | None,
    ray_address: str | None,
) -> None:  # fmt: skip
    """Score candidates into WORKSPACE/catalogs/transient_candidates.parquet: those of WORKSPACE, or --alerts.

    What is scored is not scored again by the same model; why an alert was rejected: jobs.status --outcomes
    score_candidates. With --watch, files are scored as they arrive, until Ctrl-C; the same command then goes on.
    """
    if folder is not None and (alerts or overwrite or dry_run):
        raise UsageError("--watch goes without --alerts, --overwrite and --dry-run")
    settings = CandidateScoreSettings.load(config, "candidates", prior=prior)
    source = list(alerts) or None
    if dry_run:
        click.echo(night.estimate(workspace, model, source, settings, workers or os.cpu_count() or 1, partial))
        return
    with options.ray_session(workers, ray_address, workspace) as pool:
        if folder is not None:
            options.finish([watch(workspace, model, folder, settings, pool, poll, once, click.echo)])
        options.finish(night.score_candidates(workspace, model, source, settings, pool, overwrite, partial))


if __name__ == "__main__":
    main()
