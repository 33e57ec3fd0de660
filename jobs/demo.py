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
from catalogs.schema import PROVENANCE, STARS
from jobs import options
from models.predict import score_sectors
from models.registry import Registry
from models.train import train
from pipeline import recipes
from pipeline.lightcurves import combine, page
from pipeline.settings import IngestSettings, PreprocessSettings, ScoreSettings, TrainSettings
from pipeline.simulate.damaged import write_damaged
from pipeline.simulate.spoc import write_archive

_ABOUT = "All of them are simulated: figures here show that the way works, not how well it does in the sky."
_FIRST = [name for name in STARS.names if name not in {column.name for column in PROVENANCE}]


@options.job
@click.option(
    "--workspace", type=click.Path(file_okay=False, path_type=Path), default="demo", show_default=True
)
@click.option(
    "--stars",
    type=click.IntRange(20),
    default=240,
    show_default=True,
    help="To train on; half as many to judge by.",
)
@click.option(
    "--seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="Longest time of training."
)
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
def main(workspace: Path, stars: int, seconds: float, workers: int | None) -> None:
    """Simulate an archive, ingest, preprocess, train, score, combine and report; run again, it takes up what is there."""
    archive, folder = workspace / "archive", Folder(workspace)
    truth, sky = _simulate(archive, stars)
    with options.dask_session(workers, None, folder) as client:
        files = recipes.ingest_sectors(client, folder, Folder(archive), None, IngestSettings())
        for report in chain(files, recipes.preprocess_sectors(client, folder, None, PreprocessSettings())):
            click.echo(report)
    with options.ray_session(workers, None, folder) as (count, gpus):
        if "production" not in Registry(folder).aliases("calnet"):
            click.echo(
                f"no weights ship yet: training CALNet on simulated light curves, {seconds:g} s at most"
            )
            settings = TrainSettings(epochs=100, batch_size=32, learning_rate=5e-4, max_seconds=seconds)
            made = train(folder, "calnet", archive / "known/truth.csv", None, settings, [1], count, gpus > 0)
            Registry(folder).set_alias("calnet", "production", made)
        for report in score_sectors(folder, "calnet", None, ScoreSettings(), (count, gpus)):
            click.echo(report)
    path = page.write_report(folder, truth, set(sky["tic_id"]), [_ABOUT])
    catalogue = folder.url(combine.CURRENT)
    click.echo(f"\ncatalogue: {catalogue}; its first rows, less the columns that say where they come from:")
    click.echo(pd.read_parquet(catalogue, columns=_FIRST).head(8).to_string())
    click.echo(f"\nreport: {path}")


def _simulate(archive: Path, stars: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write the archive unless it is there; return the truth about all stars, and about those to judge by."""
    click.echo(f"simulating light curves of {stars + stars // 2} stars into {archive}")
    for name, sectors, number, seed in (("known", [1], stars, 1), ("sky", [1, 2], stars // 2, 2)):
        if not (archive / name / "truth.csv").exists():  # written last
            write_archive(archive / name, sectors, number, seed)
    if not (archive / "damaged").exists():
        write_damaged(archive / "damaged", 1, 3)
    known, sky = (pd.read_csv(archive / name / "truth.csv") for name in ("known", "sky"))
    return pd.concat([known, sky], ignore_index=True), sky


if __name__ == "__main__":
    main()
