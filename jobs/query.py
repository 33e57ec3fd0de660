#!/usr/bin/env python
"""Look rows of a catalogue up."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs import binaries, candidates, supernovae, transient_candidates, visual_binaries
from catalogs.folder import Folder
from catalogs.query import query
from catalogs.schema import PROVENANCE, TABLES
from jobs import options

#: Catalogue → columns of a table on the screen, where there are too many for one.
_BRIEF = {
    "eclipsing_binaries": binaries.BRIEF,
    "supernova_candidates": supernovae.BRIEF,
    "candidates": candidates.BRIEF,
    "transient_candidates": transient_candidates.BRIEF,
    "visual_binaries": visual_binaries.BRIEF,
}


@options.job
@options.workspace
@click.option("--catalog", default="eclipsing_binaries", show_default=True, help=f"One of: {', '.join(TABLES)}.")
@click.option("--id", "ids", multiple=True, help="TIC, or name of object, candidate, transient, source; repeatable.")
@click.option("--cone", type=(float, float, float), help="RA, Dec and radius in degrees; nearest first.")
@click.option("--min-score", type=float, help="Lowest p_eb (segments: score; images: p_real; stamps: p_double).")
@click.option("--clean", is_flag=True, help="Only rows nothing speaks against: best tier, or selected; no bad flag.")
@click.option("--where", help="""SQL condition, such as "tmag < 12 and n_segments > 2".""")
@click.option("--as-of", help="Snapshot number, release, or ISO date or time (UTC).")
@click.option("--model", help="Model id.  [default: the published one]")
@click.option("--columns", help="Columns, separated by commas.")
@click.option("--limit", type=click.IntRange(0), help="Largest number of rows.")
@click.option("--csv", is_flag=True, help="Print CSV with all columns; else a table of a few of them.")
def main(
    workspace: Folder, catalog: str, ids: tuple[str, ...], cone: tuple[float, float, float] | None,
    min_score: float | None, clean: bool, where: str | None, as_of: str | None, model: str | None,
    columns: str | None, limit: int | None, csv: bool,
) -> None:  # fmt: skip
    """Print the rows of a catalogue by identifier, cone, score or any condition, now or as it was.

    In Python, `pandas.read_parquet("WORKSPACE/catalogs/CATALOG.parquet")` opens the same table; object_id and
    selection of candidates are filled in by query only.
    """
    wanted = columns.split(",") if columns else None
    found = query(
        workspace, catalog, ids=ids or None, cone=cone, min_score=min_score, clean=clean, where=where,
        as_of=as_of, model=model, columns=wanted, limit=limit,
    )  # fmt: skip
    for note in found.attrs["notes"]:
        click.echo(note, err=True)
    if csv:
        click.echo(found.to_csv(index=False), nl=False)
        return
    if not wanted:
        provenance = [column.name for column in PROVENANCE]
        brief = [name for name in (*_BRIEF.get(catalog, ()), "separation") if name in found]
        found = found[brief] if catalog in _BRIEF else found.drop(columns=provenance, errors="ignore")
    options.show(found, "no rows")


if __name__ == "__main__":
    main()
