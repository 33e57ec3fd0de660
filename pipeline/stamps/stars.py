"""Other stars of a stamp, and the PSF they tell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from pipeline.errors import UsageError
from pipeline.stamps.pairs import fit
from pipeline.stamps.picture import Stamp, picture, scatter
from pipeline.stamps.psf import Psf, interpolated, of_optics, of_shapes, rest_map
from pipeline.stamps.surveys import get

__all__ = ["Example", "example", "expected", "isolated", "psf_among", "psf_of"]

Array = NDArray[np.float64]

#: Signal to noise from which a star tells of the PSF, and stars that are asked, at most.
_SNR, _MOST = 25.0, 5

#: Stars that are looked for, at most.
_STARS = 200

#: FWHM around a star in which there must be no other that has a tenth of its light, and arcsec around the source.
_APART, _AWAY = 3.0, 3.0

#: Examples without which no PSF is made of them; noise of an example, over what the PSF has in its middle (about one),
#: that is too much to see what a Moffat lacks; least and greatest relative error of a PSF.
_FEW, _BRIGHT, _LEAST, _MOST_WRONG = 6, 0.1, 0.01, 0.1

#: Parts of which each is asked whether what the others lack describes it.
_PARTS = 5

#: FWHM over λ/D below which optics, not the air, make a star's width.
_SHARP = 3.0

#: χ² a pixel of a star, where the PSF's shares are wrong by so much, that is too much for a star.
_WRONG, _UNLIKE = 0.1, 5.0


def expected(stamp: Stamp) -> Psf:
    """Return what is expected of a stamp's PSF before any star was looked at: by its optics, or by its FWHM alone."""
    try:
        survey = get(stamp.survey)
    except UsageError:  # one that a user added
        return stamp.psf
    disc = np.degrees(1e-6 * survey.filter(stamp.filter).wavelength_um / survey.aperture_m) * 3600
    if not stamp.fwhm < _SHARP * disc:
        return stamp.psf
    return of_optics(round(stamp.fwhm / stamp.pixscale, 2), round(disc / stamp.pixscale, 3))


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
    edge = 1.5 * fwhm
    kept: list[tuple[float, float]] = []
    for k in range(len(x)):
        if value[k] < snr or len(kept) == _STARS:
            break
        distance = np.hypot(x - x[k], y - y[k])
        others = (distance < apart * fwhm) & (value > 0.1 * value[k]) & (distance > 0)
        inside = edge <= x[k] < image.shape[1] - edge and edge <= y[k] < image.shape[0] - edge
        away = np.hypot(x[k] - stamp.x0, y[k] - stamp.y0) * stamp.pixscale > _AWAY + 1.5 * stamp.fwhm
        if inside and away and not others.any() and _whole(good, int(x[k]), int(y[k]), fwhm):
            kept.append((float(x[k]), float(y[k])))
    return np.array(kept).reshape(-1, 2)


def _whole(good: NDArray[np.bool_], x: int, y: int, fwhm: float) -> bool:
    """Return whether the pixels within a FWHM of a place, and most of those around, are good."""
    reach = int(np.ceil(1.5 * fwhm))
    low, left = max(0, y - reach), max(0, x - reach)
    box = good[low : y + reach + 1, left : x + reach + 1]
    rows, columns = np.indices(box.shape)
    core = np.hypot(rows + low - y, columns + left - x) <= fwhm
    return bool(box[core].all() and box.mean() > 0.8)


@dataclass(frozen=True, eq=False)
class Example:
    """A star that tells of a PSF.

    Parameters
    ----------
    theta, covariance : (4,), (4, 4) float64
        Its parameters as `moffat.render` takes them, ln FWHM over the FWHM that its stamp tells, and their errors.
    x, y : (n,) float64
        Its pixels, from its centre, FWHM.
    lacking : (n,) float64
        What a Moffat leaves there, over flux, times FWHM².
    share : (n,) float64
        What the Moffat has there, in the same unit.
    noise : float
        Of these.
    """

    theta: Array
    covariance: Array
    x: Array
    y: Array
    lacking: Array
    share: Array
    noise: float


def example(stamp: Stamp, x: float, y: float, before: Psf) -> Example | None:
    """Return what a star tells of the PSF; None where nothing fits.

    Parameters
    ----------
    stamp : Stamp
        The image.
    x, y : float
        Where it is, px.
    before : Psf
        What is expected.
    """
    one = picture(replace(stamp, x0=x, y0=y), before.loose())
    if one is None:
        return None
    found = fit([one], [np.array([[x, y]])], np.empty((0, 2)))
    one = one.weighed(one.modelled(found.places[0], found.thetas[0], found.fluxes[0]), 0.0, one.psf.error)
    found = fit([one], found.places, np.empty((0, 2)), found.thetas)
    place, theta, flux = found.places[0][0], found.thetas[0], found.fluxes[0]
    model = one.modelled(found.places[0], theta, flux)
    unlike = found.chi2 / one.px.size
    if before.rest.any():  # what optics make of a star is never quite what was expected, be it ever so bright
        unlike = np.mean((one.value - found.skies[0] - model) ** 2 / (1 + (_WRONG * model) ** 2))
    if flux[0] <= 0 or np.hypot(*(place - (x, y))) > before.fwhm or not unlike < _UNLIKE:
        return None
    fwhm = float(np.exp(theta[0]))
    unit = fwhm**2 / flux[0]
    told = theta - np.array([np.log(stamp.fwhm / stamp.pixscale), 0, 0, 0])
    return Example(told, found.own[0][2:6, 2:6], (one.px - place[0]) / fwhm, (one.py - place[1]) / fwhm,
                   (one.value - found.skies[0] - model) * unit, model * unit, unit)  # fmt: skip


def psf_of(stamp: Stamp, before: Psf) -> Psf:
    """Return the PSF of a stamp: of the stars that stand alone in it, and of what was expected."""
    found = [one for x, y in isolated(stamp)[:_MOST] if (one := example(stamp, x, y, before)) is not None]
    if not found:
        return before
    shift = np.array([np.log(stamp.fwhm / stamp.pixscale), 0, 0, 0])
    return of_shapes(
        np.array([one.theta + shift for one in found]), np.array([one.covariance for one in found]), before
    )


def psf_among(examples: Sequence[Example], before: Psf) -> Psf:
    """Return the PSF of stars of many stamps, of one survey and filter; to be `Psf.scaled` for each stamp.

    Parameters
    ----------
    examples : sequence of Example
        Stars, some of which may be pairs: the narrower ones count.
    before : Psf
        What is expected of a stamp whose FWHM is one pixel; its rest is that which the examples were fitted with.

    Returns
    -------
    Psf
        `before` if there are too few. Its rest, and a smaller error, are told if they describe stars that they were not
        learnt on; else the error is no smaller than before.
    """
    if len(examples) < _FEW:
        return before
    psf = of_shapes(np.array([one.theta for one in examples]), np.array([one.covariance for one in examples]), before)
    # The stamps' PSFs differ as the stars do; the mean of many is known better than that, and of no use.
    spread = np.sqrt(np.diag(psf.covariance))
    good = [
        one for one in examples
        if np.all(np.abs(one.theta - psf.theta) < 2 * spread + 2 * np.sqrt(np.diag(one.covariance)))
        and one.noise < _BRIGHT
    ]  # fmt: skip
    if len(good) < _FEW:
        return psf
    # What noise draws, or some stamps have and others have not, describes no star that it was not learnt on.
    part = np.arange(len(good)) * _PARTS // len(good)  # stars of a stamp, mostly together
    rests = [_lacking([one for one, own in zip(good, part, strict=True) if own != k]) for k in range(_PARTS)]
    nothing = np.zeros_like(rests[0])
    plain = [_excess(one, nothing) for one in good]
    told = [_excess(one, rests[own]) for one, own in zip(good, part, strict=True)]
    better = int((np.array(told) < plain).sum())
    if better > len(good) / 2 + np.sqrt(len(good)):  # two sigma of a coin
        error = np.sqrt(np.clip(np.median(told), _LEAST**2, _MOST_WRONG**2))
        return replace(psf, rest=psf.rest + _lacking(good), error=float(error))
    return replace(psf, error=float(np.sqrt(np.clip(np.median(plain), psf.error**2, _MOST_WRONG**2))))


def _lacking(examples: Sequence[Example]) -> Array:
    """Return the map of what stars have beside what was expected of them."""
    return rest_map([(one.x, one.y, one.lacking) for one in examples], 1.0)


def _excess(one: Example, rest: Array) -> float:
    """Return the square of a star's relative error in its core, beyond its noise, with a map of the rest."""
    core = one.share > 0.3 * one.share.max()
    left = one.lacking[core] - interpolated(rest, one.x[core], one.y[core])
    return float(np.mean(left**2 - one.noise**2) / np.mean(one.share[core] ** 2))
