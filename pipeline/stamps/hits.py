"""Pixels of a stamp that particles hit: sharper than any star could be."""

import numpy as np
from numpy.typing import NDArray

from pipeline.stamps.moments import sky

__all__ = ["hits"]

#: FWHM, px, below which a star may be as sharp as a hit.
_SAMPLED = 2.0

#: FWHM of the sharpest stars over what is usual: by better seeing, or where what is usual is that of several cameras.
_SHARPEST = 0.75

#: Steps to the next pixels along four lines, and their length.
_LINES = ((0, 1, 1.0), (1, 0, 1.0), (1, 1, np.sqrt(2)), (1, -1, np.sqrt(2)))


def hits(image: NDArray[np.float32], fwhm: float) -> NDArray[np.bool_]:
    """Return which pixels were hit by particles.

    Along any line through a star's brightest pixel both neighbours have their share of its light, exp(-4 ln 2 d²/FWHM²)
    of it on average at a distance d; a pixel whose neighbours have less than half of that share along one line is none
    of a star.

    Parameters
    ----------
    image : (ny, nx) float32
        Counts, in the detector's own pixels; NaN where there are none.
    fwhm : float
        Of stars as they usually are, px; where the sharpest may have less than 2 nothing is found.

    Notes
    -----
    The idea is that of L.A.Cosmic (van Dokkum 2001, PASP 113, 1420): edges of hits are sharper than the optics.
    """
    fwhm *= _SHARPEST
    found = np.zeros(image.shape, bool)
    finite = np.isfinite(image)
    if fwhm < _SAMPLED or not finite.any():
        return found
    level, noise = sky(image[finite])
    if not noise > 0:
        return found
    light = np.where(finite, image - np.float32(level), 0).astype(np.float32)
    core = light[1:-1, 1:-1]
    ny, nx = image.shape
    for dy, dx, length in _LINES:
        one = light[1 + dy : ny - 1 + dy, 1 + dx : nx - 1 + dx]
        other = light[1 - dy : ny - 1 - dy, 1 - dx : nx - 1 - dx]
        share = np.exp(-4 * np.log(2) * (length / fwhm) ** 2)
        beside = np.maximum(one / 2 + other / 2, 0)
        found[1:-1, 1:-1] |= (core - beside / share > 8 * noise * (1 + 1 / share)) & (beside < 0.5 * share * core)
    return found
