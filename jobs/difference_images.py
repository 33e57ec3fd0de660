#!/usr/bin/env python
"""Subtract images of one field at two times: differences, their significance, and candidates with triplets."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs import transients
from catalogs.folder import Folder
from jobs import options
from pipeline import recipes
from pipeline.images import onepair, pairing, roster
from pipeline.settings import DifferenceSettings, ImageSettings, InjectionSettings, PairSettings


@options.job
@options.workspace
@click.option("--pairs", "listed", help="CSV of science,reference (ids or names): these are added, none is chosen.")
@click.option("--science", help="One pair: FITS file, or file.fits[1], file.fits[SCI,2].")
@click.option("--reference", help="One pair: what is subtracted from it.")
@click.option("--out", type=options.FOLDER, help="One pair: folder of its results.")
@click.option("--science-psf", help="One pair: FITS stamp of the PSF, odd.  [default: measured on the stars]")
@click.option("--reference-psf", help="One pair: the same of the reference.")
@click.option("--mask", help="One pair: image that is not 0 where a pixel of the science image is bad.")
@click.option("--keep", is_flag=True, help="One pair: leave the temporary workspace OUT/.work.")
@click.option("--known", multiple=True, help="List of known transients, to name candidates by; may be repeated.")
@click.option("--threshold", type=float, help="|S_corr| of a candidate.  [default: 5]")
@click.option("--injections", type=click.IntRange(0), help="Transients to put into each pair, to count those found.")
@options.overwrite
@options.dry_run
@options.settings_file
@options.dask
def main(
    workspace: Folder, listed: str | None, science: str | None, reference: str | None, out: Folder | None,
    science_psf: str | None, reference_psf: str | None, mask: str | None, keep: bool, known: tuple[str, ...],
    threshold: float | None, injections: int | None, overwrite: bool, dry_run: bool, config: Path | None,
    workers: int | None, dask_address: str | None,
) -> None:  # fmt: skip
    """Pair the images of WORKSPACE, subtract each pair, and list candidates in WORKSPACE/catalogs/candidates.parquet.

    \b
    One pair of files needs no workspace; whatever their dates, OUT receives difference.fits, significance.fits,
    footprint.fits, candidates.parquet, triplets.zarr and panel.png:
      python -m jobs.difference_images --science new.fits --reference old.fits --out diff
    """
    settings = DifferenceSettings.load(config, "difference", threshold=threshold)
    injected = InjectionSettings.load(config, "injections", count=injections)
    lists = [transients.read(path) for path in known]
    if science or reference or out:
        images = ImageSettings.load(config, "images")
        pair = onepair.look(science, reference, out, images, settings, science_psf, reference_psf, mask)
        click.echo(str(pair))
        if not dry_run:
            session = options.dask_session(workers, dask_address, pair.workspace, small=pair.bands <= 2)
            with pair.claimed(overwrite), session as client:
                click.echo(recipes.difference_pair(client, pair, lists, overwrite, keep, injected))
        return
    pairs, given = PairSettings.load(config, "pairs"), None if listed is None else pairing.read_list(listed)
    if dry_run:
        options.finish([roster.change(workspace, pairs, given, overwrite).report])
    with options.dask_session(workers, dask_address, workspace) as client:
        options.finish(recipes.difference_images(client, workspace, pairs, settings, given, lists, overwrite, injected))


if __name__ == "__main__":
    main()
