#!/usr/bin/env python
"""Make objects of the candidates of all epochs, and say of each whether it may be a supernova."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs import movers as bodies
from catalogs import transients
from catalogs.folder import Folder
from catalogs.supernovae import is_selected, tally
from jobs import options
from pipeline import recipes
from pipeline.images import supernovae
from pipeline.settings import AssociateSettings, SelectSettings


@options.job
@options.workspace
@click.option("--variables", help="Known variables and active nuclei: name, ra, dec; CSV, Parquet or JSON.")
@click.option("--movers", help="Where bodies of the solar system were: name, mjd (or jd), ra, dec.")
@click.option("--known", multiple=True, help="Known transients, by which objects are named; may be repeated.")
@click.option(
    "--p-real", type=click.FloatRange(0, 1), help="Least p_real that counts.  [default: the model's threshold]"
)
@click.option("--pages", type=click.IntRange(0), default=200, show_default=True, help="Pages drawn, by p_real and S/N.")
@options.settings_file
@options.dask
def main(
    workspace: Folder, variables: str | None, movers: str | None, known: tuple[str, ...], p_real: float | None,
    pages: int, config: Path | None, workers: int | None, dask_address: str | None,
) -> None:  # fmt: skip
    """Group the candidates of difference_images into objects, over epochs and filters, and select supernova candidates.

    WORKSPACE/catalogs/supernova_candidates.parquet has a row an object: what speaks against one is a bit of its column
    selection, and none is ever dropped. forced_photometry.parquet has the flux of each in every difference that covers
    it, detected there or not; supernova_detections.parquet says whose detection a candidate is. Look at
    WORKSPACE/reports/supernovae/index.html. New epochs: run difference_images, then this again; names stay.
    """
    lists = supernovae.Lists(
        None if variables is None else transients.read(variables).table,
        None if movers is None else bodies.read(movers),
        tuple(transients.read(path) for path in known),
    )
    association, selection = (
        AssociateSettings.load(config, "associate"),
        SelectSettings.load(config, "select", p_real=p_real),
    )
    with options.dask_session(workers, dask_address, workspace) as client:
        reports = list(recipes.select_supernovae(client, workspace, association, selection, lists, pages))
    bits = supernovae.read(workspace).objects["selection"]
    for bit, count in tally(bits):
        click.echo(f"{count:8d}  {bit.text} ({int(bit)})")
    count = int(is_selected(bits).sum())
    click.echo(f"{count:8d}  selected of {len(bits)}; to see {'them' if count else 'the others'}:\n")
    clean = " --clean" if count else ""
    click.echo(f"python -m jobs.query --workspace {workspace} --catalog supernova_candidates{clean}\n")
    options.finish(reports)


if __name__ == "__main__":
    main()
