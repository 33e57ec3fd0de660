"""Companions made of another real star's pixels, scaled and shifted, put into real images.

What simulated PSFs lack (wings, spikes, correlated noise) is in them, since it is in the pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import shift

from pipeline.stamps.measure import measure
from pipeline.stamps.pairs import fit
from pipeline.stamps.picture import Picture, Stamp, picture
from pipeline.stamps.psf import Psf, nominal
from pipeline.stamps.stars import example, isolated, psf_among

__all__ = ["Donor", "cutout", "donor", "inject", "round_stars", "trials"]

Array = NDArray[np.float64]

#: FWHM around a donor whose pixels are taken, and share of them that is faded out.
_REACH, _FADED = 4.0, 0.25

#: By how much, in ln FWHM and in ellipticity, a star may differ from the others and still be one round star.
_WIDE, _FLAT = 0.12, 0.1


@dataclass(frozen=True, eq=False)
class Donor:
    """Pixels of a star.

    Parameters
    ----------
    pixels : (m, m) float64
        Counts above the sky, m odd, faded out to the edges.
    x, y : float
        Where in the image it stands, px.
    dx, dy : float
        Where it stands from the middle pixel.
    flux : float
        Counts.
    snr : float
        Signal to noise.
    """

    pixels: Array
    x: float
    y: float
    dx: float
    dy: float
    flux: float
    snr: float


def cutout(stamp: Stamp, x: float, y: float, side: int | None = None) -> Stamp:
    """Return the part of an image around a place; NaN beyond its edges, x0 and y0 at the place.

    Parameters
    ----------
    stamp : Stamp
        The image.
    x, y : float
        Px.
    side : int, optional
        Px; default the whole image, about the place.
    """
    if side is None:
        return replace(stamp, x0=x, y0=y)
    left, low = round(x) - (side - 1) // 2, round(y) - (side - 1) // 2
    image = np.full((side, side), np.nan, np.float32)
    mask = np.full((side, side), 2, np.uint8)
    height, width = stamp.image.shape
    rows, columns = slice(max(0, low), min(height, low + side)), slice(max(0, left), min(width, left + side))
    to = np.s_[rows.start - low : rows.stop - low, columns.start - left : columns.stop - left]
    image[to] = stamp.image[rows, columns]
    mask[to] = stamp.mask[rows, columns]
    return replace(stamp, image=image, mask=mask, x0=x - left, y0=y - low)


def _fitted(stamp: Stamp, x: float, y: float, psf: Psf) -> tuple[Picture, Any] | None:
    """Return the pixels around a star and the fit of one star to them."""
    one = picture(replace(stamp, x0=x, y0=y), psf)
    if one is None:
        return None
    found = fit([one], [np.array([[x, y]])], np.empty((0, 2)))
    one = one.weighed(one.modelled(found.places[0], found.thetas[0], found.fluxes[0]), 0.0, one.psf.error)
    return one, fit([one], found.places, np.empty((0, 2)), found.thetas)


def donor(stamp: Stamp, x: float, y: float, psf: Psf) -> Donor | None:
    """Return a star's pixels, or None where they are not all there.

    Parameters
    ----------
    stamp : Stamp
        The image.
    x, y : float
        The star, px.
    psf : Psf
        What is expected of it.
    """
    found = _fitted(stamp, x, y, psf)
    if found is None:
        return None
    one, fitted = found
    x, y = fitted.places[0][0]
    half = int(np.ceil(_REACH * psf.fwhm))
    column, row = round(x), round(y)
    box = np.s_[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]
    pixels = np.asarray(stamp.image[box], float)
    if pixels.shape != (2 * half + 1,) * 2 or not np.isfinite(pixels).all() or stamp.mask[box].any():
        return None
    flux = float(fitted.fluxes[0][0])
    ring = np.hypot(*np.indices(pixels.shape) - half)
    edge = ring > half - 1
    fade = np.clip((half - ring) / (_FADED * half), 0, 1)
    pixels = (pixels - np.median(pixels[edge])) * fade
    share = one.modelled(fitted.places[0], fitted.thetas[0], np.ones(1))
    return Donor(pixels, x, y, x - column, y - row, flux * one.unit, flux * float(np.sqrt((share**2).sum())))


def inject(stamp: Stamp, star: Donor, x: float, y: float, flux: float) -> Stamp:
    """Return an image with a donor's star at a place of it.

    Parameters
    ----------
    stamp : Stamp
        The image.
    star : Donor
        Whose pixels are used.
    x, y : float
        Where, px.
    flux : float
        How bright, counts. The donor's noise is scaled with it, and added.
    """
    image = np.array(stamp.image, np.float32)
    half = star.pixels.shape[0] // 2
    column, row = round(x), round(y)
    wide = np.pad(star.pixels, 1) * (flux / star.flux)
    moved = shift(wide, (y - row - star.dy, x - column - star.dx), order=5, mode="constant")
    rows, columns = np.arange(row - half - 1, row + half + 2), np.arange(column - half - 1, column + half + 2)
    inside = np.ix_((rows >= 0) & (rows < image.shape[0]), (columns >= 0) & (columns < image.shape[1]))
    image[np.ix_(rows[inside[0].ravel()], columns[inside[1].ravel()])] += moved[inside].astype(np.float32)
    return replace(stamp, image=image)


def round_stars(stamp: Stamp, snr: float = 30.0) -> tuple[list[Donor], Psf]:
    """Return the isolated round stars of an image, the brightest first, and their PSF as `stars.psf_among` does.

    Parameters
    ----------
    stamp : Stamp
        The image, of a field; the place of its source counts as no star's.
    snr : float
        Least signal to noise.
    """
    before = nominal(stamp.fwhm / stamp.pixscale, stamp.measured)
    places = isolated(stamp, snr, apart=max(3.0, 3.5 / stamp.fwhm))
    told = [(place, one) for place in places if (one := example(stamp, *place, before)) is not None]
    psf = psf_among([one for _, one in told], nominal(1.0, stamp.measured))
    found = []
    for place, one in told:
        away, sigma = np.abs(one.theta - psf.theta), np.sqrt(np.diag(one.covariance))
        if away[0] < _WIDE + 3 * sigma[0] and np.hypot(*away[1:3]) < _FLAT + 3 * np.hypot(*sigma[1:3]):
            star = donor(stamp, *place, psf.scaled(stamp.fwhm / stamp.pixscale))
            if star is not None and star.snr >= snr:
                found.append(star)
    return found, psf


def trials(
    stamp: Stamp, stars: Sequence[Donor], count: int, seed: int = 0, side: int = 64,
    separations: tuple[float, float] = (0.2, 2.5), delta_mags: tuple[float, float] = (0.0, 4.0), psf: Psf | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Measure real stars with and without companions that are other stars' pixels.

    Parameters
    ----------
    stamp : Stamp
        An image of a field.
    stars : sequence of Donor
        Its isolated round stars.
    count : int
        Companions to put in, in turn to each star.
    seed : int
        Of what is drawn.
    side : int
        Of the stamps, px.
    separations, delta_mags : (float, float)
        Arcsec and magnitudes; drawn evenly between.
    psf : Psf, optional
        Of the image's stars, as `round_stars` returns it.

    Returns
    -------
    DataFrame
        A row a trial: star, donor (-1: untouched), sep_arcsec, pa_deg, delta_mag, snr_1 (true), and what was measured:
        n_components, delta_chi2, delta_chi2_extended, fit_sep_arcsec, fit_sep_arcsec_err, fit_pa_deg, fit_delta_mag,
        fit_delta_mag_err. First come all stars untouched.
    """
    rng = np.random.default_rng(seed)
    rows = [
        _trial(cutout(stamp, star.x, star.y, side), psf, star=k, donor=-1, snr_1=star.snr)
        for k, star in enumerate(stars)
    ]
    for n in range(count if len(stars) > 1 else 0):
        k = n % len(stars)
        other = int(rng.choice([j for j in range(len(stars)) if j != k]))
        sep, pa = rng.uniform(*separations), rng.uniform(0, 360)
        dm = rng.uniform(*delta_mags)
        star = stars[k]
        x = star.x - sep * np.sin(np.radians(pa)) / stamp.pixscale
        y = star.y + sep * np.cos(np.radians(pa)) / stamp.pixscale
        double = inject(stamp, stars[other], x, y, star.flux * 10 ** (-0.4 * dm))
        told = {"star": k, "donor": other, "sep_arcsec": sep, "pa_deg": pa, "delta_mag": dm, "snr_1": star.snr}
        rows.append(_trial(cutout(double, star.x, star.y, side), psf, **told))
    return pd.DataFrame(rows)


def _trial(stamp: Stamp, psf: Psf | None, **told: Any) -> dict[str, Any]:
    """Return the row of one stamp."""
    psfs = None if psf is None else {(stamp.survey, stamp.filter): psf}
    found = measure([stamp], most=2, psfs=psfs).source
    names = ("sep_arcsec", "sep_arcsec_err", "pa_deg", "delta_mag", "delta_mag_err")
    kept = {name: found[name] for name in ("n_components", "delta_chi2", "delta_chi2_extended")}
    return told | kept | {f"fit_{name}": found[name] for name in names}
