"""Simulated sources, measured by fits: what the odds of `pipeline.stamps.odds` are learnt from.

::

    python -m pipeline.simulate.stamp_odds --sources 200
"""

import json
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import pandas as pd

from pipeline.simulate.stamps import described, draw, render
from pipeline.stamps import odds, surveys
from pipeline.stamps.light import Plane
from pipeline.stamps.measure import measure
from pipeline.stamps.measures import psfs_of
from pipeline.stamps.picture import Stamp

__all__ = ["measured_set", "stamp_of"]

#: Surveys that tell, and numbers of parts that no training set has.
_SURVEYS, _PART = ("SDSS", "Pan-STARRS", "DECaLS", "HSCLA", "HST", "JWST"), 70_000


def measured_set(survey: str, part: int, count: int) -> pd.DataFrame:
    """Return sources of one survey with what fits say of them.

    Parameters
    ----------
    survey : str
        Name.
    part : int
        Which are drawn.
    count : int
        How many.

    Returns
    -------
    DataFrame
        survey, label, kind, sep_arcsec, pa_deg, delta_mag (true, of the first filter), and what `measure` returns of a
        source, its own separation as ``fit_sep_arcsec`` and so on.
    """
    rng = np.random.default_rng([part, count])
    made, rows = [], []
    for scene in draw(described(None), survey, part, count):
        seen = [render(scene, survey, name, rng) for name in scene.exposures]
        sky, light = scene.sky, seen[0].facts["light"]
        told = {"survey": survey, "label": sky.label, "kind": sky.kind, "snr": max(one.facts["snr"] for one in seen)}
        if sky.label:
            angle = np.degrees(np.arctan2(sky.east[1], sky.north[1])) + (180 if light[1] > 1 else 0)
            told |= {"sep_arcsec": sky.separation, "pa_deg": angle % 360, "delta_mag": abs(2.5 * np.log10(light[1]))}
        made.append([stamp_of(one.plane(surveys.get(survey), rng), survey) for one in seen])
        rows.append(told | {"fwhm_arcsec": min(one.facts["fwhm_arcsec"] for one in seen)})
    psfs = psfs_of([stamp for stamps in made for stamp in stamps])
    own = {"sep_arcsec", "sep_arcsec_err", "pa_deg", "pa_deg_err", "delta_mag", "delta_mag_err"}
    for row, stamps in zip(rows, made, strict=True):
        found = measure(stamps, psfs=psfs).source
        row |= {f"fit_{name}" if name in own else name: value for name, value in found.items()}
    return pd.DataFrame(rows)


def stamp_of(plane: Plane, survey: str) -> Stamp:
    """Return a simulated filter of a survey as fits see it."""
    told = surveys.get(survey)
    known = bool(np.isfinite(plane.fwhm_arcsec))
    fwhm = plane.fwhm_arcsec if known else told.filter(plane.filter).fwhm_arcsec
    mask = np.zeros(plane.image.shape, np.uint8) if plane.mask is None else plane.mask
    return Stamp(plane.image, mask, float("nan"), survey, plane.filter, told.pixscale, plane.x0, plane.y0,
                 plane.mjd, fwhm, known)  # fmt: skip


@click.command()
@click.option("--sources", type=click.IntRange(20), default=200, show_default=True, help="Of each survey.")
@click.option("--survey", multiple=True, default=_SURVEYS, help="Whose stamps; may be repeated.")
def main(sources: int, survey: Sequence[str]) -> None:
    """Learn how far fits of one and two stars tell doubles from all else, and write pipeline/stamps/odds.json."""
    parts = [measured_set(name, _PART, sources) for name in survey]
    table = pd.concat(parts, ignore_index=True)
    table = table[table["n_images"] > 0]
    text = json.dumps(odds.learnt(table), indent=2)
    Path(odds.__file__).with_name("odds.json").write_text(text + "\n")
    click.echo(text)


if __name__ == "__main__":
    main()
