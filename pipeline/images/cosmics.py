"""Cosmic rays: L.A.Cosmic (van Dokkum 2001, PASP 113, 1420) by astroscrappy, with the cores of sharp stars kept."""

import astroscrappy
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.images.frame import Pixels

__all__ = ["cosmic_rays"]

_SHARP, _UNKNOWN = 2.5, 2.0  # px
_SHARP_SHARE = 0.4
_BORDER = 8


def cosmic_rays(
    data: Pixels,
    variance: Pixels,
    mask: NDArray[np.bool_],
    fwhm: float | None,
    sigclip: float = 5.0,
    objlim: float = 5.0,
    saturation: float | None = None,
) -> NDArray[np.bool_]:
    """Return where cosmic rays have hit.

    Parameters
    ----------
    data, variance : (ny, nx) float32
        Sky-subtracted counts, and their variance.
    mask : (ny, nx) bool
        Pixels to leave out.
    fwhm : float or None
        Of stars, px; None if unknown.
    sigclip : float
        Laplacian over noise of a hit.
    objlim : float
        Laplacian over fine structure of a hit.
    saturation : float, optional
        Level over which nothing is told apart, counts over the sky.

    Returns
    -------
    (ny, nx) bool
        True where hit.
    """
    # A star sharper than 2.5 px is as sharp as a hit. What is left to tell them apart is the PSF itself: the fine
    # structure is then what it passes, at a lower limit (measured: no cores of stars lost down to 1.4 px, and hits
    # found from 1.8 px on). Where the width is not known it may be as sharp as that.
    width = fwhm or _UNKNOWN
    sharp = width < _SHARP
    contrast = objlim * (_SHARP_SHARE if sharp else 1.0)
    # Its median filters stop short of the edge, where every star would be a hit: give them something to go on with.
    found, _ = astroscrappy.detect_cosmics(
        np.pad(data, _BORDER, "symmetric" if sharp else "linear_ramp"),
        inmask=np.pad(mask, _BORDER, "edge"),
        invar=np.pad(variance, _BORDER, "edge"),
        sigclip=sigclip,
        sigfrac=0.3,
        objlim=contrast,
        gain=1.0,
        readnoise=1.0,
        satlevel=np.float32(saturation) if saturation else np.float32(3e38),
        niter=3,
        cleantype="medmask",
        fsmode="convolve" if sharp else "median",
        psfmodel="gauss",
        psffwhm=max(width, 1.2),
        psfsize=7,
    )
    return _inner(np.array(found[_BORDER:-_BORDER, _BORDER:-_BORDER], bool), round(width) + 2)


def _inner(found: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Return hits without those that come within `reach` px of the border: a star cut by it is as sharp."""
    labels, _ = ndimage.label(found, np.ones((3, 3), bool))
    inside = np.zeros(found.shape, bool)
    inside[reach:-reach, reach:-reach] = True
    outer = np.unique(labels[~inside])
    return found & ~np.isin(labels, outer)
