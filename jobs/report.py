#!/usr/bin/env python
"""Write the page that says what became of every input, and what was found."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models.labels import read_labels, read_negatives
from models.registry import Registry
from pipeline import recipes
from pipeline.errors import UsageError
from pipeline.lightcurves import atlas, combine, page
from pipeline.report import Report
from pipeline.settings import ReportSettings


@options.job
@options.workspace
@click.option("--truth", help="Labelled stars to judge the catalogue by: .dat, .csv, .parquet; local or s3://.")
@click.option("--held-out", help="Those of them that the model was not trained on; a list of TIC.")
@click.option("--threshold", type=float, help="p_eb from which a star is a candidate.  [default: the catalogue's]")
@click.option("--pages", type=click.IntRange(0), help="Vetting pages, by rank; 0 draws none.  [default: 200]")
@options.settings_file
@options.dask
def main(
    workspace: Folder, truth: str | None, held_out: str | None, threshold: float | None, pages: int | None,
    config: Path | None, workers: int | None, dask_address: str | None,
) -> None:  # fmt: skip
    """Write WORKSPACE/reports/eclipsing_binaries.html, and a vetting page for each of the best candidates.

    (Pages of supernova candidates are made by select_supernovae.) The report counts every outcome, draws scores and
    light curves folded at their period, and lists the best candidates; from it links lead to reports/candidates/.
    With labels of stars that the model has not seen (--truth and --held-out), it says how right the catalogue is.
    """
    if (truth is None) != (held_out is None):
        raise UsageError("--truth and --held-out go together: a star that the model was trained on proves nothing")
    settings = ReportSettings.load(config, "report", threshold=threshold, pages=pages)
    known, judges = None, None
    if truth is not None and held_out is not None:
        labels = read_labels(truth).drop_duplicates("tic_id")
        known = labels.assign(label=labels["label"].map({1: "EB", 0: "not EB"}), kind=labels["klass"])
        judges = set(read_negatives(held_out)["tic_id"])
    model = combine.current_model(workspace)
    card = Registry(workspace).resolve(model.replace("-", "@", 1)).card if model else None
    drawn, linked = list[Report](), dict[tuple[int, int], str]()
    if tasks := atlas.tasks(workspace, settings.pages):
        with options.dask_session(workers, dask_address, workspace) as client:
            made, linked = recipes.draw_candidates(client, workspace, tasks)
            drawn.append(made)
    click.echo(f"report: {page.write_report(workspace, known, judges, settings=settings, card=card, pages=linked)}")
    options.finish(drawn)


if __name__ == "__main__":
    main()
