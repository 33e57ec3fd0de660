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

from pipeline.stamps.pairs import fit
from pipeline.stamps.picture import Picture, Stamp, picture
from pipeline.stamps.psf import Psf, of_shapes
from pipeline.stamps.stars import example, expected, isolated, psf_among
from pipeline.stamps.surveys import REACH

__all__ = ["Donor", "companions", "cutout", "donor", "doubled", "inject", "round_stars"]

Array = NDArray[np.float64]

#: FWHM around a donor whose pixels are taken, and share of them that is faded out.
_REACH, _FADED = 4.0, 0.25

#: Share of a donor's pixels that may be bad.
_SPOILT = 0.2

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
        Signal to noise; that of its own light counts where the image's gain is known.
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
    """Return a star's pixels, or None where those within a FWHM, or many of the others, are not there.

    The few others that are bad are taken from the opposite side of the star.

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
    pixels = np.where(stamp.mask[box], np.nan, stamp.image[box])
    if pixels.shape != (2 * half + 1,) * 2:
        return None
    ring = np.hypot(*np.indices(pixels.shape) - half)
    bad = ~np.isfinite(pixels)
    if bad[ring <= psf.fwhm].any() or bad.mean() > _SPOILT:
        return None
    level = np.nanmedian(pixels[ring > half - 1])
    pixels = np.where(bad, pixels[::-1, ::-1], pixels)
    flux = float(fitted.fluxes[0][0])
    fade = np.clip((half - ring) / (_FADED * half), 0, 1)
    pixels = np.nan_to_num(pixels - level) * fade
    share = one.modelled(fitted.places[0], fitted.thetas[0], np.ones(1))
    variance = 1 + np.nan_to_num(one.gain) * flux * np.maximum(share, 0)
    snr = flux * float(np.sqrt((share**2 / variance).sum()))
    return Donor(pixels, x, y, x - column, y - row, flux * one.unit, snr)


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
        Least signal to noise. Nearer to the edges than a companion may be to a star none is taken.
    """
    before = expected(stamp)
    places = isolated(stamp, snr, apart=max(3.0, 3.5 / stamp.fwhm))
    told = [(place, one) for place in places if (one := example(stamp, place[0], place[1], before)) is not None]
    usual = before.relative(stamp.fwhm / stamp.pixscale)
    psf = psf_among([one for _, one in told], usual)
    if not psf.n_stars and told:  # too few for its rest, but they are alike
        psf = of_shapes(np.array([one.theta for _, one in told]), np.array([one.covariance for _, one in told]), usual)
    margin = REACH / stamp.pixscale + before.fwhm
    size = np.array(stamp.image.shape[::-1])
    found = []
    for place, one in told:
        if (place < margin).any() or (place > size - 1 - margin).any():
            continue
        away, sigma = np.abs(one.theta - psf.theta), np.sqrt(np.diag(one.covariance))
        if away[0] < _WIDE + 3 * sigma[0] and np.hypot(*away[1:3]) < _FLAT + 3 * np.hypot(*sigma[1:3]):
            star = donor(stamp, place[0], place[1], psf.scaled(stamp.fwhm / stamp.pixscale))
            if star is not None and star.snr >= snr:
                found.append(star)
    return found, psf


def companions(
    stars: Sequence[Donor], count: int, seed: int = 0, separations: tuple[float, float] = (0.2, 2.5),
    delta_mags: tuple[float, float] = (0.0, 4.0),
) -> pd.DataFrame:  # fmt: skip
    """Draw companions to put in.

    Parameters
    ----------
    stars : sequence of Donor
        Isolated round stars of one image; none is drawn of a single one.
    count : int
        Companions, in turn to each star.
    seed : int
        Of what is drawn.
    separations, delta_mags : (float, float)
        Arcsec and magnitudes; drawn evenly between.

    Returns
    -------
    DataFrame
        A row a companion: star and donor (numbers among the stars; one that is brighter than the companion gives its
        pixels, so that their noise does not grow, or where there is none the brightest other), sep_arcsec, pa_deg
        (east of north), delta_mag.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for k in (n % len(stars) for n in range(count if len(stars) > 1 else 0)):
        sep, pa, dm = rng.uniform(*separations), rng.uniform(0, 360), rng.uniform(*delta_mags)
        others = [j for j in range(len(stars)) if j != k]
        bright = [j for j in others if stars[j].flux >= _flux(stars[k], dm)]
        donor = int(rng.choice(bright)) if bright else max(others, key=lambda j: stars[j].flux)
        rows.append((k, donor, sep, pa, dm))
    return pd.DataFrame(rows, columns=["star", "donor", "sep_arcsec", "pa_deg", "delta_mag"])


def doubled(
    stamp: Stamp, star: Donor, other: Donor, sep_arcsec: float, pa_deg: float, delta_mag: float, axes: Array
) -> Stamp:
    """Return an image in which a star has a companion made of another star's pixels.

    Parameters
    ----------
    stamp : Stamp
        The image.
    star, other : Donor
        Which gets the companion, and whose pixels it is.
    sep_arcsec, pa_deg, delta_mag : float
        Where, east of north, and how much fainter.
    axes : (2, 2) float64
        From steps in px to (west, north) in arcsec, as of `grid.Sight`.
    """
    angle = np.radians(pa_deg)
    dx, dy = np.linalg.solve(axes, sep_arcsec * np.array([-np.sin(angle), np.cos(angle)]))
    return inject(stamp, other, star.x + dx, star.y + dy, _flux(star, delta_mag))


def _flux(star: Donor, delta_mag: float) -> float:
    return float(star.flux * 10 ** (-0.4 * delta_mag))
