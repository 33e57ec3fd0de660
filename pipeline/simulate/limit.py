"""The matched-filter limit: the best significance that a change can have in two frames of known blur and noise."""

import numpy as np
from scipy import fft

from pipeline.simulate.profiles import Floats

__all__ = ["WINDOW", "flux_at", "weights"]

#: Pixels of the square around a source over which the limit is worked out.
WINDOW = 96


def weights(
    science_psf: Floats, reference_psf: Floats, science_sigma: float, reference_sigma: float, ratio: float
) -> tuple[Floats, Floats]:
    """Return what the optimal statistic at a source's place multiplies the two frames with.

    Parameters
    ----------
    science_psf, reference_psf : (n, n) float64
        A source of unit flux at its place in both frames, on one grid.
    science_sigma, reference_sigma : float
        Background noise of a pixel of that grid, counts.
    ratio : float
        Counts of a source in the reference for one in the science frame.

    Returns
    -------
    science, reference : (n, n) float64
        The statistic is the sum of science frame times the first less that of the reference times the second.

    References
    ----------
    Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27, equations 12 to 17; with the source in its place instead of at the origin,
    the kernels k_n and k_r of equations 28 to 31 stand here turned around it.
    """
    shape = science_psf.shape
    new, ref = fft.rfft2(science_psf), fft.rfft2(reference_psf)
    new2, ref2 = np.abs(new) ** 2, np.abs(ref) ** 2
    below = (reference_sigma**2) * new2 + (science_sigma * ratio) ** 2 * ref2
    # Both vanish only where no frequency of the sky arrives.
    below = np.maximum(below, 1e-12 * below.max())
    return fft.irfft2(ratio**2 * ref2 * new / below, shape), fft.irfft2(ratio * new2 * ref / below, shape)


def flux_at(snr: float, signal: float, variance: float, own: float) -> float:
    """Return the flux that reaches a significance, its own photons' noise included.

    Parameters
    ----------
    snr : float
        Wanted.
    signal : float
        Statistic of a source of one count.
    variance : float
        Of the statistic without the source.
    own : float
        Variance that a source of one count adds.

    Returns
    -------
    float
        Counts f, with snr = f signal / sqrt(variance + f own).
    """
    half = snr**2 * own
    return float((half + np.sqrt(half**2 + 4 * signal**2 * snr**2 * variance)) / (2 * signal**2))
