#!/usr/bin/env python
"""Write a catalogue in another format."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.export import FORMATS, export
from catalogs.folder import Folder
from catalogs.query import query
from jobs import options


@options.job
@options.workspace
@click.option("--catalog", default="eclipsing_binaries", show_default=True, help="Any that query opens.")
@click.option("--format", "form", type=click.Choice([*FORMATS, "list"]), help="Default: by the ending of TARGET.")
@click.option("--min-score", type=float, help="Lowest p_eb (segments: score; images: p_real; stamps: p_double).")
@click.option("--where", help="""SQL condition, such as "tmag < 12".""")
@click.option("--as-of", help="Snapshot number, release, or ISO date or time (UTC).")
@click.option("--tic", type=click.Path(exists=True, path_type=Path), help="For list: TIC table with V, G and names.")
@click.argument("target", type=click.Path(dir_okay=False))
def main(
    workspace: Folder, catalog: str, form: str | None, min_score: float | None, where: str | None,
    as_of: str | None, tic: Path | None, target: str,
) -> None:  # fmt: skip
    """Write a catalogue to TARGET as CSV, ECSV, VOTable (.vot, .xml) or the published list's format.

    `--format list` is astropy's ascii.fixed_width_two_line with TIC, RAJ2000, DEJ2000, Vmag, Gmag and other names,
    joined from the table given by --tic (MAST's column names or ours); blank where unknown.
    """
    rows = query(workspace, catalog, min_score=min_score, where=where, as_of=as_of)
    export(rows, target, form, tic)
    click.echo(f"{target}: {len(rows)} rows")


if __name__ == "__main__":
    main()
