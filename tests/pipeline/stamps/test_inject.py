from pathlib import Path

import numpy as np
from astropy.io import fits

from pipeline.stamps.inject import cutout, donor, inject, round_stars, trials
from pipeline.stamps.picture import Stamp, scatter


def _field(path: Path, hdu: int, pixscale: float, fwhm: float) -> Stamp:
    with fits.open(path) as opened:
        image = opened[hdu].data.astype(np.float32)
    mask = np.zeros(image.shape, np.uint8)
    return Stamp(image, mask, scatter(image[np.isfinite(image)])[1], "SDSS", "r", pixscale, -999.0, -999.0, fwhm=fwhm)


def test_what_is_put_in_is_a_star(shared_data: Path) -> None:
    field = _field(shared_data / "stamps/blast/2010H/SDSS/SDSS_r.fits.gz", 0, 0.396, 1.3)
    stars, psf = round_stars(field)
    one = stars[4]
    moved = inject(field, one, one.x + 60.3, one.y + 45.6, 0.5 * one.flux)
    difference = cutout(moved, one.x + 60.3, one.y + 45.6, 31)
    image = difference.image - cutout(field, one.x + 60.3, one.y + 45.6, 31).image
    y, x = np.indices(image.shape)
    assert abs((image * x).sum() / image.sum() - difference.x0) < 0.05
    assert abs((image * y).sum() / image.sum() - difference.y0) < 0.05
    found = donor(moved, one.x + 60.3, one.y + 45.6, psf.scaled(1.3 / 0.396))
    assert found is not None and abs(found.flux / one.flux - 0.5) < 0.03


def test_real_stars_with_and_without_companions(shared_data: Path) -> None:
    field = _field(shared_data / "stamps/blast/2010H/SDSS/SDSS_r.fits.gz", 0, 0.396, 1.3)
    stars, psf = round_stars(field)
    assert len(stars) >= 38
    chosen = stars[5:45]
    table = trials(field, chosen, 40, seed=1, psf=psf)
    alone, pairs = table[table["donor"] < 0], table[table["donor"] >= 0]
    assert len(alone) == 40
    assert (alone["n_components"] > 1).mean() <= 0.1
    wide = pairs[(pairs["sep_arcsec"] > 1.3) & (pairs["delta_mag"] < 2)]
    assert (wide["n_components"] > 1).mean() >= 0.9
    found = pairs[(pairs["sep_arcsec"] > 1.3) & (pairs["n_components"] > 1)]
    assert np.median(np.abs(found["fit_sep_arcsec"] - found["sep_arcsec"])) < 0.05
    assert np.median(np.abs(found["fit_delta_mag"] - found["delta_mag"])) < 0.1
