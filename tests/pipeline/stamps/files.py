"""FITS stamps of simulated stars for the tests: any survey, orientation, header."""

from pathlib import Path

import numpy as np
from astropy.io import fits

from pipeline.stamps.surveys import get

RA, DEC = 150.1, 2.2


def wcs(shape, pixscale, ra=RA, dec=DEC, angle=0.0, flip=False, place=None):
    """Return the cards of a WCS: north up and east left at angle 0; `place` (x, y from 0) is at (ra, dec)."""
    x, y = ((shape[1] - 1) / 2, (shape[0] - 1) / 2) if place is None else place
    c, s, scale = np.cos(np.radians(angle)), np.sin(np.radians(angle)), pixscale / 3600
    cd = scale * (np.array([[c, -s], [s, c]]) if flip else np.array([[-c, s], [s, c]]))
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": x + 1, "CRPIX2": y + 1, "CRVAL1": ra, "CRVAL2": dec}
    return cards | {f"CD{i + 1}_{j + 1}": cd[i, j] for i in (0, 1) for j in (0, 1)}


def stars(shape, places, fwhm, noise=3.0, sky=100.0, seed=0):
    """Return an image of Gaussian stars (x, y, flux)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    s = fwhm / 2.3548
    image = sky + np.random.default_rng(seed).normal(0, noise, shape)
    for x, y, flux in places:
        image += flux * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / s**2) / (2 * np.pi * s * s)
    return image.astype(np.float32)


def write(path: Path, image, cards) -> Path:
    """Write a FITS file, gzipped if it is called so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(image, fits.Header(list(cards.items()))).writeto(path)
    return path


def stamp(folder: Path, source="7", survey="SDSS", filter="r", size=64, flux=5000.0, offset=(0.0, 0.0), seed=0,
          name="{source}_{survey}_{filter}.fits", **cards) -> Path:  # fmt: skip
    """Write a stamp of one star in a survey's own pixels, its place `offset` px from the middle of the image."""
    one = get(survey)
    place = (size - 1) / 2 + offset[0], (size - 1) / 2 + offset[1]
    image = stars((size, size), [(*place, flux)], max(one.filter(filter).fwhm_arcsec / one.pixscale, 2), seed=seed)
    own = wcs(image.shape, one.pixscale, place=place) | {"RA_OBJ": RA, "DEC_OBJ": DEC} | cards
    path = folder / name.format(source=source, survey=survey, filter=filter)
    return write(path, image, {key: value for key, value in own.items() if value is not None})
