#!/usr/bin/env python
"""Run the main jobs from end to end on simulated light curves and images: files in, catalogues and pages out."""

import sys
from collections.abc import Iterable
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs import binaries, supernovae, transient_candidates
from catalogs.folder import Folder
from catalogs.query import query
from jobs import options
from models.night import score_candidates
from models.predict import score_sectors
from pipeline import recipes, settings
from pipeline.images import gallery
from pipeline.lightcurves import atlas, page
from pipeline.report import Report
from pipeline.simulate.demo import find_candidates, find_supernovae, write_demo_archive, write_demo_images

_ABOUT = "All of them are simulated: figures here show that the way works, not how well it does in the sky."

#: Vetting pages that are drawn.
_PAGES = 12


def _show(folder: Folder, name: str, order: str, columns: tuple[str, ...], clean: bool = False) -> None:
    rows = query(folder, name, columns=columns, clean=clean)
    click.echo(f"\ncatalogue: {', '.join(rows.attrs['source'])}; the best of its rows, and some of its columns:")
    click.echo(rows.nlargest(8, order).to_string())


@options.job
@click.option("--workspace", type=click.Path(file_okay=False), default="demo", show_default=True)
@click.option("--stars", type=click.IntRange(10), default=120, show_default=True, help="Each seen in two sectors.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
def main(workspace: str, stars: int, workers: int | None) -> None:
    """Simulate archives of light curves and images, and make the catalogues of eclipsing binaries and of supernovae.

    Scores are by the models that ship, which were never shown these stars and this field. Run again, the demo takes up
    what is there; remove the folder to begin anew.
    """
    folder, archive = Folder(workspace), Path(workspace, "archive")
    click.echo(f"simulating {stars} stars, half of them eclipsing, and a field with six supernovae: {workspace}")
    truth, field = write_demo_archive(archive, stars), write_demo_images(Path(workspace, "field"))
    reports: list[Report] = []

    def go(steps: Iterable[Report]) -> None:
        for report in steps:
            click.echo(report)
            reports.append(report)

    with options.dask_session(workers, None, folder) as client:
        go(recipes.ingest_sectors(client, folder, Folder(archive), None, settings.IngestSettings.load(None, "ingest")))
        go(recipes.preprocess_sectors(client, folder, None, settings.PreprocessSettings.load(None, "preprocess")))
        go(find_candidates(client, folder, field))
    with options.ray_session(workers, None, folder) as pool:
        go(score_sectors(folder, "eb", None, settings.ScoreSettings.load(None, "score"), pool))
        go(score_candidates(folder, "realbogus", None, settings.CandidateScoreSettings.load(None, "candidates"), pool))
    with options.dask_session(workers, None, folder) as client:
        drawn, pages = recipes.draw_candidates(client, folder, atlas.tasks(folder, _PAGES))
        go([drawn, *find_supernovae(client, folder, field, _PAGES, _ABOUT)])
    path = page.write_report(folder, truth, set(truth["tic_id"]), [_ABOUT], pages=pages)
    _show(folder, "eclipsing_binaries", "p_eb", binaries.BRIEF)
    _show(folder, "transient_candidates", "p_real", transient_candidates.BRIEF)
    _show(folder, "supernova_candidates", "snr_max", supernovae.BRIEF, clean=True)
    click.echo(f"\nreport: {path}\nreport: {folder.url(gallery.PATH)}/index.html")
    sys.exit(max(report.exit_status for report in reports))


if __name__ == "__main__":
    main()
