"""Where a source is in each of its images, if not where it was asked for: it moves, or its position is a coarse one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from pipeline.stamps.pairs import fit
from pipeline.stamps.picture import Picture
from pipeline.stamps.search import scores
from pipeline.stamps.surveys import REACH

__all__ = ["sought"]

Array = NDArray[np.float64]

#: Signal to noise of a star that is looked for, and by how much it is brighter than what is at the place asked for.
_SEEN, _BRIGHTER = 5.0, 1.5

#: χ² by which fits that came to the same star from two places differ, at most.
_ALIKE = 1.0

_NONE = np.empty((0, 2))


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one image shows within reach.

    Parameters
    ----------
    place : (2,) float64
        Where its source is, east and north of where it was asked for, arcsec.
    snr : float
        Of what is there.
    stars : (n, 2) float64
        All that it shows, likewise.
    width : float
        FWHM, arcsec.
    """

    place: Array
    snr: float
    stars: Array
    width: float

    def shows(self, place: Array, width: float) -> bool:
        """Return whether a star is at a place, which is known as well as an image of a FWHM knows it."""
        return bool((np.hypot(*(self.stars - place).T) <= 0.5 * max(self.width, width)).any())


def sought(pictures: Sequence[Picture]) -> list[Array]:
    """Return where the source is in each image, x and y, px.

    That is where it was asked for, unless a star within reach, brighter than what is there, fits no worse. Images
    may disagree, as a star may have moved from one to the next; but where one shows the star of another as well as its
    own, these are two, and all begin at that of the image with the highest signal to noise.

    Parameters
    ----------
    pictures : sequence of Picture
        The images of one source, without weights.

    Returns
    -------
    list of (2,) float64
        Equal to x0 and y0 where the source is not elsewhere.
    """
    seen = [_seen(one) for one in pictures]
    first = max(seen, key=lambda one: one.snr)
    places = []
    for picture, one in zip(pictures, seen, strict=True):
        same = np.hypot(*(one.place - first.place)) <= 0.5 * max(one.width, first.width)
        two = not same and (one.shows(first.place, first.width) or first.shows(one.place, one.width))
        places.append(_pixel(picture, first.place if two else one.place))
    return places


def _pixel(picture: Picture, place: Array) -> Array:
    return np.array([picture.x0, picture.y0]) + place / picture.scale * np.array([-1, 1])


def _seen(picture: Picture) -> _Seen:
    theta, asked = picture.psf.theta, np.array([picture.x0, picture.y0])
    flux, error = scores(picture, _NONE, theta, np.append(picture.px, asked[0]), np.append(picture.py, asked[1]))
    snr, there = (flux / error)[:-1], float((flux / error)[-1])
    grid = np.stack([picture.px, picture.py], axis=1)
    whole = np.zeros(picture.index.shape)
    whole[picture.py.astype(int), picture.px.astype(int)] = snr
    highest = maximum_filter(whole, size=2 * int(np.ceil(picture.psf.fwhm)) + 1)
    reach = max(REACH / picture.scale, 2.0)
    # What is highest among all around it is no flank of what is out of reach.
    tops = (whole == highest)[picture.index >= 0] & (snr > _SEEN) & (np.hypot(*(grid - asked).T) <= reach)
    order = np.flatnonzero(tops)[np.argsort(-snr[tops], kind="stable")]
    stars = (grid[order] - asked) * picture.scale * np.array([-1, 1])
    width = picture.psf.fwhm * picture.scale
    away = np.hypot(*stars[0]) > max(0.5 * width, picture.scale) if len(order) else False
    if away and snr[order[0]] > _BRIGHTER * there and _fits(picture, grid[order[0]], asked):
        return _Seen(stars[0], float(snr[order[0]]), stars, width)
    return _Seen(np.zeros(2), there, stars, width)


def _fits(picture: Picture, place: Array, asked: Array) -> bool:
    """Return whether one star that begins at a place fits no worse than one that begins where it was asked for.

    Around a saturated core, or in a galaxy, the brightest place may be that of no star.
    """
    here, there = (fit([picture], [one[None]], _NONE).chi2 for one in (place, asked))
    return here < there + _ALIKE
