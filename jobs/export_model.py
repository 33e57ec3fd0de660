#!/usr/bin/env python
"""Write a real/bogus model as one ONNX file, and say how far its scores are from the model's."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models.onnx_export import check, export, summary
from models.onnx_samples import samples


@options.job
@options.workspace
@click.option("--model", default="realbogus", show_default=True, help="NAME, NAME@ID or NAME@ALIAS.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File, ending in .onnx.")
@click.option("--int8", is_flag=True, help="Compute in 8 bits: a quarter of the bytes, faster, scores change a little.")
@click.option("--set", "name", help="Set of triplets in the workspace, or a .npz file.")
@click.option("--alerts", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="File of alerts; repeatable.")  # fmt: skip
def main(workspace: Folder, model: str, out: Path, int8: bool, name: str | None, alerts: tuple[Path, ...]) -> None:
    """Write a model of triplets to OUT as ONNX, and what that changes beside it as JSON.

    The file takes planes (n, 4, 63, 63) and gives logit, types and embedding; its metadata say how planes are made and
    what makes a logit a probability. Scores are compared with torch's on triplets of --set that the model did not learn
    from, of --alerts, or of eight simulated fields (a minute); with --int8 half of the fields or objects
    calibrate, and the others compare.
    """
    check(workspace, model, out)
    calibration, held_out = samples(workspace, model, name, alerts)
    click.echo(summary(export(workspace, model, out, held_out, calibration if int8 else None)))
    click.echo(f"{out}, {out.with_suffix('.json')}")


if __name__ == "__main__":
    main()
