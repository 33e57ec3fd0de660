#!/usr/bin/env python
"""Judge models that tell real from bogus."""

import sys
from contextlib import nullcontext
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models import inquiry

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@options.job
@options.workspace
@click.option("--model", "names", multiple=True, help="NAME, NAME@ID or NAME@ALIAS; repeat to compare.  [realbogus]")
@click.option("--weights", multiple=True, type=FILE, help="Published weights of braai (HDF5), beside the models.")
@click.option("--norm", type=click.Choice(["row", "frobenius"]), default="row", show_default=True,
              help="What braai's weights were taught with: row (d6_m7) or frobenius (d6_m9).")  # fmt: skip
@click.option("--set", "sets", multiple=True, help="Set of triplets in the workspace, or a TOML file that "
              "describes one; or a .npz file.")  # fmt: skip
@click.option("--fold", type=click.Choice(["test", "validation", "train", "all"]), default="test", show_default=True,
              help="What the candidates are to all models.")  # fmt: skip
@click.option("--missed", type=click.FloatRange(0, 0.5), help="Choose thresholds anew: miss at most this share.")
@click.option("--alerts", multiple=True, type=FILE, help="Real alerts: Avro, Parquet, JSON.")
@click.option("--hold-out-object", "held_out", help="Object of --set: does a model that never saw it find it?")
@click.option("--retrain", type=click.IntRange(1), help="Train again without it, so many epochs, if all models saw it.")
@click.option("--out", type=options.FOLDER, help="Folder of the report.  [default: in WORKSPACE/evaluations]")
@options.ray
def main(
    workspace: Folder, names: tuple[str, ...], weights: tuple[Path, ...], norm: str, sets: tuple[str, ...], fold: str,
    missed: float | None, alerts: tuple[Path, ...], held_out: str | None, retrain: int | None, out: Folder | None,
    workers: int | None, ray_address: str | None,
) -> None:  # fmt: skip
    """Judge models on candidates that they did not learn from, on real alerts, and on one known transient.

    Precision, recall, F1, areas, what is let pass where 1% is missed, calibration, precision where real ones are rare:
    for all candidates and by signal to noise, host, filter, seeing, season, survey and kind, with 95% intervals. Models
    are compared on the same candidates, those that none of them learnt from. Of real alerts only those count that
    another catalogue vouches for; no false-positive rate is told of them unless people have labelled some.

    Written: index.html, report.md, report.json, figures (PNG) and the scores (Parquet).
    """
    models = inquiry.models_of(workspace, names or (() if weights else ("realbogus",)), weights, norm)
    with options.ray_session(workers, ray_address, workspace) if retrain else nullcontext((1, 0.0)) as (count, gpus):
        asked = inquiry.Inquiry(sets, fold, missed, alerts, held_out, retrain, count, gpus > 0)
        click.echo("\n".join(inquiry.inquire(workspace, models, asked, out)))


if __name__ == "__main__":
    main()
