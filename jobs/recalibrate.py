#!/usr/bin/env python
"""Move a catalogue's probabilities to another share of eclipsing binaries."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from jobs import options
from models.predict import calibration
from models.registry import Registry
from pipeline.errors import Mismatch
from pipeline.lightcurves import prevalence, snapshot


@options.job
@options.workspace
@options.model
@click.option("--prevalence", "prior", type=float, required=True, help="Share of eclipsing binaries, such as 0.028.")
def main(workspace: Folder, model: str, prior: float) -> None:
    """Write the model's newest catalogue anew, as it reads where the share of eclipsing binaries is another.

    A probability holds for a share, p_prior: where eclipsing binaries are rarer, the same light curve is less likely
    one. Probabilities, tiers and is_new are moved, completeness and reliability left empty, as they were measured with
    the tiers as they were, and a new snapshot is published; thresholds, ephemerides and everything else stay, and so
    do older snapshots. The next score_sectors goes back to the share the model was calibrated for.
    """
    registry = Registry(workspace)
    entry = registry.resolve(model)
    held = calibration(entry)
    if held is None:
        raise Mismatch(f"{entry.id} is not calibrated: its p_eb can be moved to no prior")
    moved = prevalence.move(workspace, entry.id, prior, held.low_threshold)
    click.echo(f"{entry.id}: p_prior {moved.prior_before:g} → {moved.prior_after:g}")
    for (before, after), stars in sorted(moved.tiers.items()):
        click.echo(f"  tier {before} → {after}: {stars} stars" + ("" if before != after else ", as before"))
    if moved.without:
        click.echo(f"  {moved.without} of them have no ephemeris: none was looked for below the former tier low;")
        click.echo("  score_sectors --stars FILE makes one for listed stars, [systems] min_p for all from a p_eb on")
    click.echo(f"{workspace.url(moved.after.path)}: {moved.after.rows} rows")
    if registry.aliases(entry.name).get("production") == entry.id:
        snapshot.publish(workspace, moved.after)
        click.echo(f"{workspace.url(snapshot.CURRENT)}: the same")


if __name__ == "__main__":
    main()
