"""Round profiles of stars and galaxies as mixtures of Gaussians.

A Moffat profile is a mixture of Gaussians whose inverse variances follow a gamma distribution: a few of them make it
good to 1e-5. With a galaxy that is a mixture itself its convolution is exact.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaln

__all__ = ["DEVAUCOULEURS", "EXPONENTIAL", "POINT", "Floats", "Profile", "double_gaussian", "moffat"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Profile:
    """A round profile of unit flux as a mixture of Gaussians.

    Parameters
    ----------
    weight : (k,) float64
        Share of the flux in each.
    variance : (k,) float64
        Along one axis, in units of the square of the profile's own scale (its FWHM or its half-light radius).
    """

    weight: Floats
    variance: Floats


def moffat(beta: float) -> Profile:
    """Return a Moffat profile, in units of its FWHM.

    Parameters
    ----------
    beta : float
        Exponent of (1 + r²/α²)^-β, above 1.

    Returns
    -------
    Profile
        Equal to it to 1e-5 of the peak.

    References
    ----------
    Moffat 1969, A&A 3, 455.
    """
    low = np.log(1e-6 * np.exp(gammaln(beta))) / (beta - 1)  # below it: 1e-6 of the flux
    log_s = np.arange(low, np.log(beta + 8 + 4 * np.sqrt(beta)), 0.5)
    weight = np.exp((beta - 1) * log_s - np.exp(log_s) - gammaln(beta - 1))
    alpha2 = 0.25 / (2 ** (1 / beta) - 1)
    return Profile(weight / weight.sum(), alpha2 / (2 * np.exp(log_s)))


def double_gaussian(share: float, ratio: float) -> Profile:
    """Return the sum of a narrow and a wide Gaussian, in units of the FWHM of the sum.

    Parameters
    ----------
    share : float
        Share of the flux in the wide one.
    ratio : float
        How many times wider it is.

    Returns
    -------
    Profile
        Two Gaussians.
    """
    weight, variance = np.array([1 - share, share]), np.array([1.0, ratio**2])
    peak = weight / variance
    half = brentq(lambda r: (peak * (np.exp(-(r**2) / (2 * variance)) - 0.5)).sum(), 0.1, 3 * ratio)
    return Profile(weight, variance / (2 * half) ** 2)


def _profile(amplitude: list[float], variance: list[float]) -> Profile:
    weight = np.array(amplitude)
    return Profile(weight / weight.sum(), np.array(variance))


#: Exponential disk and de Vaucouleurs bulge in units of their half-light radii (Hogg & Lang 2013, PASP 125, 719).
EXPONENTIAL = _profile(
    [2.34853813e-03, 3.07995260e-02, 2.23364214e-01, 1.17949102, 4.33873750, 5.99820770],
    [1.20078965e-03, 8.84526493e-03, 3.91463084e-02, 1.39976817e-01, 4.60962500e-01, 1.50159566],
)
DEVAUCOULEURS = _profile(
    [4.26347652e-02, 2.40127183e-01, 6.85907632e-01, 1.51937350, 2.83627243, 4.46467501, 5.72440830, 5.60989349],
    [2.2376e-04, 1.00220e-03, 4.187311e-03, 1.694326e-02, 6.848505e-02, 2.872071e-01, 1.33320254, 8.40215071],
)
#: No extent at all.
POINT = Profile(np.ones(1), np.zeros(1))
