"""One star or two: fits to the images of one source, and what tells them apart.

The companion lies east and north of the first star by the same angle in all images; where the first star is, fluxes,
sky and PSF are each image's own. What is expected of a PSF counts as data, in both hypotheses alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from pipeline.stamps import descent
from pipeline.stamps.picture import Picture
from pipeline.stamps.search import disc, peaks, scores, splits
from pipeline.stamps.surveys import REACH

__all__ = ["SURE", "Comparison", "Fit", "compare", "fit"]

Array = NDArray[np.float64]

#: Gain of χ² from which a neighbour, and a component beyond the second, is taken for real.
SURE = 30.0

#: Neighbours of one image that are modelled, at most.
_NEIGHBOURS = 6

#: No companions.
_NONE = np.empty((0, 2))


@dataclass(frozen=True, eq=False)
class Fit:
    """Stars fitted to i images.

    Parameters
    ----------
    chi2 : float
        Of pixels and of the PSFs' expectations.
    offsets : (s, 2) float64
        East and north of each companion from the first star, arcsec.
    covariance : (2 s, 2 s) float64
        Of the offsets.
    places : list of (k, 2) float64
        x and y of the stars of each image: the first, companions, neighbours.
    thetas : (i, 4) float64
        PSFs.
    fluxes : list of (k,) float64
        Of each image, in units of its noise.
    own : list of (p, p) float64
        Covariances of each image's own parameters, as `descent` orders them.
    skies : (i,) float64
        In units of the noise.
    """

    chi2: float
    offsets: Array
    covariance: Array
    places: list[Array]
    thetas: Array
    fluxes: list[Array]
    own: list[Array]
    skies: Array

    def place_error(self, image: int) -> Array:
        """Return the covariance of x and y of the first star of an image."""
        return self.own[image][:2, :2]

    def flux_error(self, image: int) -> Array:
        """Return the covariance of an image's fluxes."""
        count = len(self.fluxes[image])
        first = 2 * (count - len(self.offsets)) + 4
        return self.own[image][first : first + count, first : first + count]


def fit(
    pictures: Sequence[Picture], places: Sequence[Array], offsets: Array, thetas: Array | None = None, steps: int = 30
) -> Fit:
    """Fit stars from a start.

    Parameters
    ----------
    pictures : sequence of Picture
        The images, with weights.
    places : sequence of (k, 2) float64
        Of each image, where the first star and the neighbours are at the start, px.
    offsets : (s, 2) float64
        Companions, east and north, arcsec.
    thetas : (i, 4) float64, optional
        PSFs to start from; default what is expected.
    steps : int
        At most.
    """
    shared, images = len(offsets), len(pictures)
    counts = np.array([len(one) + shared for one in places])
    table = np.zeros((images, counts.max(), 2))
    for i, one in enumerate(places):
        table[i, 0] = one[0]
        table[i, 1 + shared : counts[i]] = one[1:]
    starts = np.cumsum([0] + [one.px.size for one in pictures])
    pixels = np.concatenate([one.pixels for one in pictures], axis=1)
    means = np.stack([one.psf.theta for one in pictures])
    chi2, table, shapes, offsets, linears, normals = descent.descend(
        np.ascontiguousarray(pixels), starts, table, counts, means.copy() if thetas is None else thetas.copy(), means,
        np.stack([one.psf.precision for one in pictures]), np.ascontiguousarray(offsets, float),
        np.array([one.scale for one in pictures]), np.stack([one.psf.rest for one in pictures]), steps,
    )  # fmt: skip
    covariance, own = descent.errors(normals, counts, shared)
    return Fit(
        float(chi2), offsets, covariance, [table[i, : counts[i]] for i in range(images)], shapes,
        [linears[i, : counts[i]] for i in range(images)], list(own), linears[:, -1],
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Comparison:
    """One star against two, and more.

    Parameters
    ----------
    pictures : list of Picture
        The images, with weights.
    fitted : list of Picture
        The pixels of them that count in the figures of χ².
    one, two : Fit
        The best of either.
    extended : float
        χ² of one star whose PSF is free: what an extended source or another PSF would explain.
    more : Fit
        As many stars as are there; `two` where there are not more.
    """

    pictures: list[Picture]
    fitted: list[Picture]
    one: Fit
    two: Fit
    extended: float
    more: Fit

    @property
    def delta_chi2(self) -> float:
        """What the second star gains."""
        return max(self.one.chi2 - self.two.chi2, 0.0)

    @property
    def delta_extended(self) -> float:
        """What the second star gains over an extended source; negative where that is the better one."""
        return self.extended - self.two.chi2


def compare(pictures: Sequence[Picture], most: int = 2) -> Comparison:
    """Fit one star and two (or more), and return both.

    Parameters
    ----------
    pictures : sequence of Picture
        Images of one source.
    most : int
        Components that are fitted, at most.
    """
    pictures = list(pictures)
    starts = [np.array([[one.x0, one.y0]]) for one in pictures]
    one, pictures = _with_neighbours(pictures, fit(pictures, starts, _NONE, steps=0))
    for _ in range(3):
        slim, two = _second(pictures, one)
        if np.hypot(*two.offsets[0]) <= REACH or _again(slim, one).chi2 - two.chi2 < SURE:
            break
        # It is a neighbour, and near enough to hide a companion.
        one = fit(pictures, two.places, _NONE, two.thetas)
        pictures = _weighed(pictures, one)
    for _ in range(2):
        slim = _weighed(slim, two)
        one = _again(slim, one)
        two = _again(slim, two)
    extended = _extended(slim, one)
    pictures = _weighed(pictures, two)
    more, further = two, one
    while len(more.offsets) + 1 < most and further.chi2 - more.chi2 > SURE:
        found = _further(pictures, slim, more)
        further, more = more, found if found is not None and more.chi2 - found.chi2 > SURE else more
    return Comparison(pictures, slim, one, two, extended, more)


def _points(picture: Picture, places: Array, candidates: Array) -> Array:
    """Return where stars are or may be, (n, 2), px."""
    return np.concatenate([places, places[0] + candidates / picture.scale * np.array([-1, 1])])


def _again(pictures: Sequence[Picture], last: Fit, steps: int = 30) -> Fit:
    """Fit once more from where a fit ended."""
    shared = len(last.offsets)
    places = [np.delete(one, slice(1, 1 + shared), axis=0) for one in last.places]
    return fit(pictures, places, last.offsets, last.thetas, steps)


def _weighed(pictures: Sequence[Picture], last: Fit) -> list[Picture]:
    """Return pictures with the variances that a fit and its residuals say."""
    weighed = []
    for i, one in enumerate(pictures):
        model = one.modelled(last.places[i], last.thetas[i], last.fluxes[i])
        gain, error = _excess(one, model, last.skies[i])
        weighed.append(one.weighed(model, gain, error))
    return weighed


def _excess(picture: Picture, model: Array, sky: float) -> tuple[float, float]:
    """Return what light adds to the variance: by its photons, a unit of flux, and by the PSF's relative error.

    The residuals say it; never less than what is known of both.
    """
    # A PSF that is wrong is so over a star's width, and what it leaves does not average out there any more than the
    # noise of pixels that share it.
    known, least = np.nan_to_num(picture.gain), picture.correlation * picture.psf.error
    bright = model > 1
    if bright.sum() < 4:
        return float(known), least
    # As of pixels that know nothing of one another: `value` is in units of what the sky scatters over a star's width.
    counts, left = model[bright], picture.correlation * (picture.value - sky - model)[bright]
    # Eight parameters took their share of the residuals where the light is.
    free = counts.sum() ** 2 / (counts**2).sum()
    square = left**2 * (1 + 8 / max(2 * free, 8)) - 1
    gain, error = float(known), least
    for _ in range(3):
        weight = 1 / (1 + gain * counts + (error * counts) ** 2)
        columns = np.stack([counts, counts**2], axis=1) * weight[:, None]
        (more, wrong), _ = nnls(columns, (square - known * counts - (least * counts) ** 2) * weight)
        gain, error = known + (more if np.isnan(picture.gain) else 0.0), float(np.sqrt(least**2 + wrong))
    return float(gain), min(error, 0.3)


def _with_neighbours(pictures: list[Picture], one: Fit) -> tuple[Fit, list[Picture]]:
    """Return the fit of one star with the stars around it that are no companions, and the weights it says."""
    for turn in range(3):
        added = [_neighbours(picture, one.places[i], one.thetas[i]) for i, picture in enumerate(pictures)]
        if turn and not any(map(len, added)):
            break
        one = fit(pictures, [np.concatenate(pair) for pair in zip(one.places, added)], _NONE, one.thetas)
        kept = [place[~_companions(place, picture)] for place, picture in zip(one.places, pictures)]
        if any(len(few) < len(all_) for few, all_ in zip(kept, one.places)):
            one = fit(pictures, kept, _NONE, one.thetas)
        pictures = _weighed(pictures, one)
    return one, pictures


def _companions(places: Array, picture: Picture) -> NDArray[np.bool_]:
    """Return which stars are near enough to the first to be companions, not neighbours."""
    apart = np.hypot(*(places - places[0]).T) * picture.scale
    return (apart <= REACH) & (apart > 0)


def _neighbours(picture: Picture, places: Array, theta: Array) -> Array:
    """Return where further stars (n, 2) are that are no companions: maxima of the gain of χ², px."""
    room = _NEIGHBOURS + 1 - len(places)
    grid = np.stack([picture.px, picture.py], axis=1)
    apart = np.hypot(*(grid - places[0]).T) * picture.scale
    if not room or apart.max() < REACH:
        return _NONE
    flux, error = scores(picture, places, theta, *grid.T)
    gain = np.where(flux > 0, (flux / error) ** 2, 0)
    # A maximum at the edge of what is no companion's may be the flank of one.
    tops = peaks(grid, gain, picture.psf.fwhm, _NEIGHBOURS, SURE, summits=True)
    far = np.hypot(*(tops - places[0]).T) * picture.scale > REACH
    return tops[far][: min(room, 2)]


def _second(pictures: Sequence[Picture], one: Fit) -> tuple[list[Picture], Fit]:
    """Return the pixels that count and the best fit with a companion, of starts at all separations and directions."""
    width = min(picture.psf.fwhm * picture.scale for picture in pictures)
    candidates = _candidates(pictures, one, width)
    slim = [picture.thinned(_points(picture, one.places[i], candidates)) for i, picture in enumerate(pictures)]
    tried = [_begun(slim, one, offset, steps=10) for offset in candidates]
    close = splits(width)
    values = [_split(slim, one, offset, 0) for offset in close]
    best = int(np.argmin([value.chi2 for value in values]))
    tried.append(_split(slim, one, close[best], 10))
    tried = [_again(slim, min(tried, key=lambda fit: fit.chi2)), *tried]
    lead = tried[0]
    within = [one for one in tried if np.hypot(*one.offsets[0]) <= REACH]
    inner = min(within, key=lambda fit: fit.chi2, default=lead)
    if np.hypot(*lead.offsets[0]) > REACH and inner.chi2 - lead.chi2 < SURE:
        lead = inner
    return slim, lead


def _candidates(pictures: Sequence[Picture], last: Fit, width: float, most: int = 2) -> Array:
    """Return offsets (n, 2) from the first star, arcsec, where one more star gains most."""
    grid = disc(REACH, 0.45 * width)
    gain = np.zeros(len(grid))
    for i, picture in enumerate(pictures):
        x, y = last.places[i][0]
        flux, error = scores(
            picture, last.places[i], last.thetas[i], x - grid[:, 0] / picture.scale, y + grid[:, 1] / picture.scale
        )
        gain += np.where(flux > 0, (flux / error) ** 2, 0)
    return peaks(grid, gain, width, most)


def _begun(pictures: Sequence[Picture], last: Fit, offset: Array, steps: int) -> Fit:
    """Fit with one more companion at an offset from the first star."""
    shared = len(last.offsets)
    places = [np.delete(one, slice(1, 1 + shared), axis=0) for one in last.places]
    return fit(pictures, places, np.concatenate([last.offsets, offset[None]]), last.thetas, steps)


def _split(pictures: Sequence[Picture], one: Fit, offset: Array, steps: int) -> Fit:
    """Fit two stars that begin on either side of the one."""
    places = []
    for i, picture in enumerate(pictures):
        moved = one.places[i].copy()
        moved[0] += 0.5 * offset / picture.scale * np.array([1, -1])
        places.append(moved)
    # A pair looks like one wide star: the PSF begins where it is expected, not where one star has pulled it.
    return fit(pictures, places, offset[None], None, steps)


def _extended(pictures: Sequence[Picture], one: Fit) -> float:
    """Return χ² of one star with a free PSF."""
    free = [replace(picture, psf=picture.psf.loose()) for picture in pictures]
    return _again(free, one).chi2


def _further(pictures: Sequence[Picture], slim: Sequence[Picture], last: Fit) -> Fit | None:
    """Return the best fit with one more companion, if there is any place for it."""
    width = min(picture.psf.fwhm * picture.scale for picture in pictures)
    tried = [_begun(slim, last, offset, steps=30) for offset in _candidates(pictures, last, width)]
    return min(tried, key=lambda fit: fit.chi2) if tried else None
