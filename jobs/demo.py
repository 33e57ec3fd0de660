#!/usr/bin/env python
"""Run the main jobs from end to end on simulated light curves, images and stamps: files in, catalogues out."""

import sys
from collections.abc import Iterable
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models.night import score_candidates
from models.predict import score_sectors
from models.registry import Registry
from models.visual_catalogue import score_stamps
from pipeline import recipes, settings
from pipeline.images import gallery
from pipeline.lightcurves import atlas, page
from pipeline.report import Report
from pipeline.simulate import demo, demo_stamps
from pipeline.stamps import gallery as stamps

_ABOUT = "All of them are simulated: figures here show that the way works, not how well it does in the sky."

#: Vetting pages that are drawn.
_PAGES = 12


@options.job
@click.option("--workspace", type=click.Path(file_okay=False), default="demo", show_default=True)
@click.option("--stars", type=click.IntRange(10), default=120, show_default=True, help="Each seen in two sectors.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
def main(workspace: str, stars: int, workers: int | None) -> None:
    """Simulate archives of light curves, images and stamps, and make the catalogues that come of them.

    Scores are by the models that ship, which were never shown these stars, this field and these sources. Run again,
    the demo takes up what is there; remove the folder to begin anew.
    """
    folder, top = Folder(workspace), Path(workspace)
    click.echo(
        f"simulating {stars} stars, half of them eclipsing, a field with six supernovae, and stamps: {workspace}"
    )
    truth, field = demo.write_demo_archive(top / "archive", stars), demo.write_demo_images(top / "field")
    sources = demo_stamps.write_demo_stamps(top / "sources", stars // 5)
    reports: list[Report] = []

    def go(steps: Iterable[Report]) -> None:
        for report in steps:
            click.echo(report)
            reports.append(report)

    with options.dask_session(workers, None, folder) as client:
        go(demo.prepare_curves(client, folder, top / "archive"))
        go(demo.find_candidates(client, folder, field))
        go(demo_stamps.measure_sources(client, folder, top / "sources"))
    with options.ray_session(workers, None, folder) as pool:
        go(score_sectors(folder, "eb", None, settings.ScoreSettings.load(None, "score"), pool))
        go(score_candidates(folder, "realbogus", None, settings.CandidateScoreSettings.load(None, "candidates"), pool))
        if "production" in Registry(folder).aliases("visualbinary"):
            go(score_stamps(folder, "visualbinary", settings.VisualScoreSettings.load(None, "visual"), pool))
    with options.dask_session(workers, None, folder) as client:
        drawn, pages = recipes.draw_candidates(client, folder, atlas.tasks(folder, _PAGES))
        go([drawn, *demo.find_supernovae(client, folder, field, _PAGES, _ABOUT)])
    path = page.write_report(folder, truth, set(truth["tic_id"]), [_ABOUT], pages=pages)
    click.echo(f"{demo.best(folder)}\n\n{demo_stamps.compare(folder, sources)}")
    others = [one for one in (f"{gallery.PATH}/index.html", stamps.PATH) if folder.exists(one)]
    click.echo("\n".join(["", *(f"report: {one}" for one in [path, *map(folder.url, others)])]))
    sys.exit(max(report.exit_status for report in reports))


if __name__ == "__main__":
    main()
