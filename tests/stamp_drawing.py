"""Stamps drawn with a Moffat PSF, for tests of the fits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

from pipeline.stamps.moffat import NO_REST, render
from pipeline.stamps.picture import Stamp

_SKY = 100.0


def drawn(
    rng: np.random.Generator, sep: float = 0.0, pa: float = 0.0, dm: float = 0.0, snr: float = 100.0, fwhm: float = 1.2,
    scale: float = 0.25, side: int = 64, beta: float = 3.2, e: Sequence[float] = (0.0, 0.0), gain: float | None = None,
    told: float | None = None, others: Sequence[tuple[float, float, float]] = (), filter: str = "r", unit: float = 1.0,
) -> Stamp:  # fmt: skip
    """Return a star, with a companion if `sep` (arcsec) is not 0; `others` are (dx, dy in arcsec, flux ratio)."""
    axis = np.arange(float(side))
    px, py = (one.ravel() for one in np.meshgrid(axis, axis))
    theta = np.array([np.log(fwhm / scale), *e, np.log(beta)])
    middle, noise = (side - 1) / 2, 5.0
    x, y = middle + rng.uniform(-0.5, 0.5, 2)

    def star(x: float, y: float) -> np.ndarray:
        out = np.empty((7, px.size))
        render(theta, x, y, px, py, NO_REST, out)
        return out[0]

    image = star(x, y)
    flux = snr * noise / np.sqrt((image**2).sum())
    image = flux * image
    angle = np.radians(pa)
    if sep:
        image += flux * 10 ** (-0.4 * dm) * star(x - sep * np.sin(angle) / scale, y + sep * np.cos(angle) / scale)
    for dx, dy, ratio in others:
        image += flux * ratio * star(x + dx / scale, y + dy / scale)
    sigma = np.sqrt(noise**2 + (np.maximum(image, 0) / gain if gain else 0))
    image = ((image + _SKY + rng.normal(size=image.size) * sigma) * unit).reshape(side, side).astype(np.float32)
    mask = np.zeros((side, side), np.uint8)
    return Stamp(image, mask, noise * unit, "SDSS", filter, scale, middle, middle, 55000.3, told or fwhm, True)


def saved(stamp: Stamp, path: Path, ra: float, dec: float, zeropoint: float | None = 22.5) -> None:
    """Write a stamp as FITS with a WCS whose reference is the source."""
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec})
    header.update({"CRPIX1": stamp.x0 + 1, "CRPIX2": stamp.y0 + 1, "CUNIT1": "deg", "CUNIT2": "deg"})
    header.update({"CD1_1": -stamp.pixscale / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": stamp.pixscale / 3600})
    header.update({"RA_OBJ": ra, "DEC_OBJ": dec, "MJD-OBS": stamp.mjd, "EXPTIME": 54.0})
    if zeropoint is not None:
        header["MAGZP"] = zeropoint
    fits.PrimaryHDU(stamp.image, header).writeto(path)
