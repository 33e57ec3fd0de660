"""Other stars of a stamp, and the PSF they tell."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from pipeline.stamps.pairs import fit
from pipeline.stamps.picture import Stamp, picture, scatter
from pipeline.stamps.psf import Psf, of_shapes

__all__ = ["isolated", "psf_of", "shape_of"]

Array = NDArray[np.float64]

#: Signal to noise from which a star tells of the PSF, and stars that are asked, at most.
_SNR, _MOST = 25.0, 5

#: FWHM around a star in which there must be no other that has a tenth of its light, and arcsec around the source.
_APART, _AWAY = 3.0, 3.0


def isolated(stamp: Stamp, snr: float = _SNR, apart: float = _APART) -> Array:
    """Return places (n, 2) of stars that stand alone, px, the brightest first; the source itself apart.

    Parameters
    ----------
    stamp : Stamp
        The image.
    snr : float
        Least signal to noise in a Gaussian of the PSF's width.
    apart : float
        FWHM around a star in which nothing has a tenth of its light.
    """
    image = np.asarray(stamp.image, float)
    good = np.isfinite(image) & (np.asarray(stamp.mask) == 0)
    if good.sum() < 100:
        return np.empty((0, 2))
    sky, noise = scatter(image[good])
    noise = stamp.noise if np.isfinite(stamp.noise) and stamp.noise > 0 else noise
    if not noise > 0:
        return np.empty((0, 2))
    fwhm = max(stamp.fwhm / stamp.pixscale, 1.0)
    width = fwhm / 2.355
    filtered = gaussian_filter(np.where(good, (image - sky) / noise, 0), width) * 2 * np.sqrt(np.pi) * max(width, 0.5)
    tops = (filtered == maximum_filter(filtered, size=max(3, int(fwhm) | 1))) & (filtered > 0.05 * snr)
    y, x = np.nonzero(tops)
    order = np.argsort(-filtered[y, x], kind="stable")
    x, y, value = x[order], y[order], filtered[y, x][order]
    edge = 2 * fwhm
    kept = []
    for k in range(len(x)):
        if value[k] < snr or len(kept) == 40:
            break
        distance = np.hypot(x - x[k], y - y[k])
        others = (distance < apart * fwhm) & (value > 0.1 * value[k]) & (distance > 0)
        inside = edge <= x[k] < image.shape[1] - edge and edge <= y[k] < image.shape[0] - edge
        away = np.hypot(x[k] - stamp.x0, y[k] - stamp.y0) * stamp.pixscale > _AWAY + 1.5 * stamp.fwhm
        if inside and away and not others.any():
            reach = int(np.ceil(1.5 * fwhm))
            box = np.s_[max(0, y[k] - reach) : y[k] + reach + 1, max(0, x[k] - reach) : x[k] + reach + 1]
            if good[box].all():
                kept.append((float(x[k]), float(y[k])))
    return np.array(kept).reshape(-1, 2)


def shape_of(stamp: Stamp, x: float, y: float, before: Psf) -> tuple[Array, Array] | None:
    """Return the PSF's parameters (4,) that one star has, and their covariance (4, 4); None where nothing fits."""
    one = picture(replace(stamp, x0=x, y0=y), before.loose())
    if one is None:
        return None
    found = fit([one], [np.array([[x, y]])], np.empty((0, 2)))
    weighed = one.weighed(found.places[0], found.thetas[0], found.fluxes[0], 0.0)
    found = fit([weighed], found.places, np.empty((0, 2)), found.thetas)
    moved = np.hypot(*(found.places[0][0] - (x, y))) > before.fwhm
    if found.fluxes[0][0] <= 0 or moved or found.chi2 > 3 * one.px.size:
        return None
    return found.thetas[0], found.own[0][2:6, 2:6]


def psf_of(stamp: Stamp, before: Psf) -> Psf:
    """Return the PSF of a stamp: of the stars that stand alone in it, and of what was expected."""
    places = isolated(stamp)[:_MOST]
    found = [shape for x, y in places if (shape := shape_of(stamp, x, y, before)) is not None]
    if not found:
        return before
    return of_shapes(np.array([one for one, _ in found]), np.array([error for _, error in found]), before)
