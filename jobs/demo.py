#!/usr/bin/env python
"""Run the main jobs from end to end on simulated light curves and images: files in, catalogues and pages out."""

import sys
from itertools import chain
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
import pandas as pd

from catalogs.binaries import BRIEF
from catalogs.folder import Folder
from jobs import options
from models.predict import score_sectors
from pipeline import recipes
from pipeline.images import gallery
from pipeline.lightcurves import atlas, combine, page
from pipeline.settings import IngestSettings, PreprocessSettings, ScoreSettings
from pipeline.simulate.demo import find_supernovae, write_demo_archive, write_demo_images

_ABOUT = "All of them are simulated: figures here show that the way works, not how well it does in the sky."

#: Vetting pages that are drawn.
_PAGES = 12


@options.job
@click.option("--workspace", type=click.Path(file_okay=False), default="demo", show_default=True)
@click.option("--stars", type=click.IntRange(10), default=120, show_default=True, help="Each seen in two sectors.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
def main(workspace: str, stars: int, workers: int | None) -> None:
    """Simulate archives of light curves and images, and make the catalogues of eclipsing binaries and of supernovae.

    Scores are by the model that ships, which was never shown these stars. Run again, the demo takes up what is there;
    remove the folder to begin anew.
    """
    folder, archive = Folder(workspace), Path(workspace, "archive")
    click.echo(f"simulating {stars} stars in two sectors, about half of them eclipsing binaries: {archive}")
    truth = write_demo_archive(archive, stars)
    ingest, preprocess = IngestSettings.load(None, "ingest"), PreprocessSettings.load(None, "preprocess")
    field = write_demo_images(Path(workspace, "field"))
    click.echo(f"simulating a field at three times, six supernovae in it: {field}")
    reports = []
    with options.dask_session(workers, None, folder) as client:
        ingested = recipes.ingest_sectors(client, folder, Folder(archive), None, ingest)
        curves = chain(ingested, recipes.preprocess_sectors(client, folder, None, preprocess))
        for report in chain(curves, find_supernovae(client, folder, field, _PAGES, _ABOUT)):
            click.echo(report)
            reports.append(report)
    with options.ray_session(workers, None, folder) as pool:
        for report in score_sectors(folder, "eb", None, ScoreSettings.load(None, "score"), pool):
            click.echo(report)
            reports.append(report)
    with options.dask_session(workers, None, folder) as client:
        drawn, pages = recipes.draw_candidates(client, folder, atlas.tasks(folder, _PAGES))
    click.echo(drawn)
    reports.append(drawn)
    path = page.write_report(folder, truth, set(truth["tic_id"]), [_ABOUT], pages=pages)
    click.echo(f"\ncatalogue: {folder.url(combine.CURRENT)}; the best of its rows, and some of its columns:")
    rows = pd.read_parquet(folder.url(combine.CURRENT), columns=list(BRIEF)).nlargest(8, "p_eb")
    click.echo(rows.to_string())
    click.echo(f"\nreport: {path}\nreport: {folder.url(gallery.PATH)}/index.html")
    sys.exit(max(report.exit_status for report in reports))


if __name__ == "__main__":
    main()
