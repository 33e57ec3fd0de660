#!/usr/bin/env python
"""Run the main job from end to end on simulated light curves: files in, catalogue and report out."""

import sys
from itertools import chain
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
import pandas as pd

from catalogs.folder import Folder
from catalogs.schema import PROVENANCE
from jobs import options
from models.predict import score_sectors
from models.registry import Registry
from models.train import train
from pipeline import recipes
from pipeline.lightcurves import combine, page
from pipeline.settings import IngestSettings, PreprocessSettings, ScoreSettings, TrainSettings
from pipeline.simulate.demo import LABELS, write_demo_archive

_ABOUT = "All of them are simulated: figures here show that the way works, not how well it does in the sky."
_NO_WEIGHTS = "no weights ship yet: training CALNet on simulated segments, for {:g} s at most"
_PROVENANCE = {column.name for column in PROVENANCE}


@options.job
@click.option("--workspace", type=click.Path(file_okay=False), default="demo", show_default=True)
@click.option("--stars", type=click.IntRange(60), default=240, show_default=True, help="Half as many judge.")
@click.option("--seconds", type=click.FloatRange(1), default=60, show_default=True, help="Limit of training.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
def main(workspace: str, stars: int, seconds: float, workers: int | None) -> None:
    """Simulate an archive, ingest, preprocess, train, score, combine and report.

    The network learns from stars of sector 1 and is judged by others that it was never shown. Run again, the
    demo takes up what is there; remove the folder to begin anew.
    """
    folder, archive = Folder(workspace), Path(workspace, "archive")
    click.echo(f"simulating {stars + stars // 2} stars, about half of them eclipsing binaries: {archive}")
    truth, held_out = write_demo_archive(archive, stars)
    ingest, preprocess = IngestSettings.load(None, "ingest"), PreprocessSettings.load(None, "preprocess")
    reports = []
    with options.dask_session(workers, None, folder) as client:
        ingested = recipes.ingest_sectors(client, folder, Folder(archive), None, ingest)
        for report in chain(ingested, recipes.preprocess_sectors(client, folder, None, preprocess)):
            click.echo(report)
            reports.append(report)
    with options.ray_session(workers, None, folder) as pool:
        registry = Registry(folder)
        if "production" not in registry.aliases("calnet"):
            click.echo(_NO_WEIGHTS.format(seconds))
            limits = {"epochs": 100, "batch_size": 32, "learning_rate": 5e-4, "max_seconds": seconds}
            settings = TrainSettings.load(None, "train", **limits)
            made = train(folder, "calnet", archive / LABELS, None, settings, [1], pool[0], pool[1] > 0)
            registry.set_alias("calnet", "production", made)
        reports.append(score_sectors(folder, "calnet", None, ScoreSettings.load(None, "score"), pool))
        click.echo(reports[-1])
    path = page.write_report(folder, truth, held_out, [_ABOUT])
    click.echo(f"\ncatalogue: {folder.url(combine.CURRENT)}; its best rows, less the columns of provenance:")
    rows = pd.read_parquet(folder.url(combine.CURRENT)).nlargest(8, "score")
    click.echo(rows.drop(columns=_PROVENANCE).to_string())
    click.echo(f"\nreport: {path}")
    sys.exit(max(report.exit_status for report in reports))


if __name__ == "__main__":
    main()
