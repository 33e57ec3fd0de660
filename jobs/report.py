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
from pipeline.errors import UsageError
from pipeline.lightcurves import combine, page
from pipeline.settings import ReportSettings


@options.job
@options.workspace
@click.option("--truth", help="Labelled stars to judge the catalogue by: .dat, .csv, .parquet; local or s3://.")
@click.option("--held-out", help="Those of them that the model was not trained on; a list of TIC.")
@click.option("--threshold", type=float, help="Score from which a star is a candidate.  [default: 0.5]")
@options.settings_file
def main(
    workspace: Folder, truth: str | None, held_out: str | None, threshold: float | None, config: Path | None
) -> None:
    """Write WORKSPACE/reports/eclipsing_binaries.html.

    It counts every outcome, draws scores and light curves folded at their period, and lists the best
    candidates. With labels of stars that the model has not seen (--truth and --held-out), it says how right
    the catalogue is.
    """
    if (truth is None) != (held_out is None):
        raise UsageError("--truth and --held-out go together: a star that the model was trained on proves nothing")
    settings = ReportSettings.load(config, "report", threshold=threshold)
    known, judges = None, None
    if truth is not None and held_out is not None:
        labels = read_labels(truth).drop_duplicates("tic_id")
        known = labels.assign(label=labels["label"].map({1: "EB", 0: "not EB"}), kind=labels["klass"])
        judges = set(read_negatives(held_out)["tic_id"])
    model = combine.current_model(workspace)
    card = Registry(workspace).resolve(model.replace("-", "@", 1)).card if model else None
    click.echo(page.write_report(workspace, known, judges, settings=settings, card=card))


if __name__ == "__main__":
    main()
