from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits

from pipeline.stamps.inject import Donor, companions, cutout, donor, doubled, inject, round_stars
from pipeline.stamps.measure import measure
from pipeline.stamps.picture import Stamp, scatter
from pipeline.stamps.psf import Psf


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


def _measured(stamp: Stamp, psf: Psf, **told) -> dict:
    found = measure([stamp], most=2, psfs={(stamp.survey, stamp.filter): psf}).source
    return told | {name: found[name] for name in ("n_components", "sep_arcsec", "delta_mag")}


def test_real_stars_with_and_without_companions(shared_data: Path) -> None:
    field = _field(shared_data / "stamps/blast/2010H/SDSS/SDSS_r.fits.gz", 0, 0.396, 1.3)
    stars, psf = round_stars(field)
    assert len(stars) >= 38
    chosen = stars[5:45]
    alone = pd.DataFrame([_measured(cutout(field, one.x, one.y, 64), psf) for one in chosen])
    assert len(alone) == 40
    assert (alone["n_components"] > 1).mean() <= 0.1
    rows = []
    for one in companions(chosen, 40, seed=1).itertuples():
        star, place = chosen[one.star], (one.sep_arcsec, one.pa_deg, one.delta_mag)
        double = doubled(field, star, chosen[one.donor], *place, np.eye(2) * field.pixscale)
        told = {"true_sep": one.sep_arcsec, "true_mag": one.delta_mag}
        rows.append(_measured(cutout(double, star.x, star.y, 64), psf, **told))
    pairs = pd.DataFrame(rows)
    wide = pairs[(pairs["true_sep"] > 1.3) & (pairs["true_mag"] < 2)]
    assert (wide["n_components"] > 1).mean() >= 0.9
    found = pairs[(pairs["true_sep"] > 1.3) & (pairs["n_components"] > 1)]
    assert np.median(np.abs(found["sep_arcsec"] - found["true_sep"])) < 0.05
    assert np.median(np.abs(found["delta_mag"] - found["true_mag"])) < 0.1


def test_companions_are_fainter_than_the_stars_whose_pixels_they_are() -> None:
    pixels = np.ones((3, 3))
    stars = [Donor(pixels, 10.0 * k, 5.0, 0.0, 0.0, flux, 50.0) for k, flux in enumerate((100.0, 50.0, 10.0))]
    drawn = companions(stars, 300, seed=2)
    assert drawn["star"].value_counts().eq(100).all() and (drawn["star"] != drawn["donor"]).all()
    fluxes = np.array([one.flux for one in stars])
    wanted = fluxes[drawn["star"]] * 10 ** (-0.4 * drawn["delta_mag"])
    others = np.where(drawn["star"] == 0, 50.0, 100.0)
    assert (fluxes[drawn["donor"]] >= np.minimum(wanted, others)).all()
    assert drawn["sep_arcsec"].between(0.2, 2.5).all() and drawn["delta_mag"].between(0, 4).all()
    assert not len(companions(stars[:1], 5))


def test_bad_pixels_of_a_donor_are_those_opposite() -> None:
    y, x = np.indices((61, 61))
    image = (1e4 * np.exp(-((x - 30) ** 2 + (y - 30) ** 2) / 8.0)).astype(np.float32)
    image += np.random.default_rng(0).normal(0, 5, image.shape).astype(np.float32)
    mask = np.zeros(image.shape, np.uint8)
    mask[35, 30] = 4
    field = Stamp(np.where(mask, 9e4, image).astype(np.float32), mask, 5.0, "SDSS", "r", 0.4, -99.0, -99.0, fwhm=1.9)
    found = donor(field, 30, 30, field.psf)
    assert found is not None
    half = found.pixels.shape[0] // 2
    assert found.pixels[half + 5, half] == found.pixels[half - 5, half]
    mask[31, 30] = 4
    assert donor(field, 30, 30, field.psf) is None
