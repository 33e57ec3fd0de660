"""Point-spread functions as mixtures of Gaussians, and light drawn through them, integrated over pixels.

A Moffat profile is a mixture of Gaussians whose inverse variances follow a gamma distribution. With as many of them as
make it good to 1e-5, a galaxy that is a mixture itself has an exact convolution with the point-spread function, at any
place between pixels, and what is drawn as a star and as a galaxy's core is blurred by the very same function.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaln

__all__ = [
    "DEVAUCOULEURS",
    "EXPONENTIAL",
    "Floats",
    "Optics",
    "Profile",
    "double_gaussian",
    "ellipse",
    "moffat",
    "render",
    "stretched",
]

Floats = NDArray[np.float64]

# Share of the flux that all truncated Gaussians of a source may lose together.
_LOST = 5e-5
# Nodes and weights of the Gauss-Legendre rule over a pixel.
_NODES, _WEIGHTS = (-np.sqrt(0.15), 0.0, np.sqrt(0.15)), (5 / 18, 8 / 18, 5 / 18)


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
_POINT = Profile(np.ones(1), np.zeros(1))


def ellipse(e1: Floats, e2: Floats, size: Floats) -> Floats:
    """Return matrices that stretch a round profile without changing its area.

    Parameters
    ----------
    e1, e2 : (n,) float64
        Ellipticity 1 - b/a times cos 2θ and sin 2θ, θ from +x to +y.
    size : (n,) float64
        Scale of the round profile, px.

    Returns
    -------
    (n, 3) float64
        xx, xy and yy of a symmetric matrix, px².
    """
    e1, e2, size = np.broadcast_arrays(np.asarray(e1, float), e2, size)
    ellipticity = np.hypot(e1, e2)
    ratio = 1 - np.minimum(ellipticity, 0.95)
    mean, half = (1 / ratio + ratio) / 2, (1 / ratio - ratio) / 2
    with np.errstate(invalid="ignore"):
        cos, sin = (np.where(ellipticity > 0, e / ellipticity, 0) for e in (e1, e2))
    return np.stack([mean + half * cos, half * sin, mean - half * cos], axis=-1) * size[..., None] ** 2


def stretched(matrices: Floats, jacobian: Floats) -> Floats:
    """Return matrices in other coordinates.

    Parameters
    ----------
    matrices : (n, 3) float64
        xx, xy, yy.
    jacobian : (n, 2, 2) float64
        Of the new coordinates by the old.

    Returns
    -------
    (n, 3) float64
        xx, xy, yy.
    """
    full = matrices[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    return (jacobian @ full @ jacobian.transpose(0, 2, 1)).reshape(-1, 4)[:, [0, 1, 3]]


@dataclass(frozen=True, eq=False)
class Optics:
    """The point-spread function of a frame and how it varies over it.

    Parameters
    ----------
    profile : Profile
        In units of the FWHM.
    fwhm : float
        Geometric mean of the axes, px, in the middle of its range.
    ellipticity : tuple of float
        e1, e2 as in `ellipse`, without the variation.
    shape : tuple of int
        Rows and columns.
    variation, shear : float
        Largest change of the FWHM, relative, and of e1 and e2, anywhere on the frame.
    terms : (3, 5) float64
        Coefficients of the changes of FWHM, e1 and e2: x, y, x², xy, y².
    """

    profile: Profile
    fwhm: float
    ellipticity: tuple[float, float]
    shape: tuple[int, int]
    variation: float
    shear: float
    terms: Floats

    def matrices(self, x: Floats, y: Floats) -> Floats:
        """Return the stretch of the profile at places of the frame.

        Parameters
        ----------
        x, y : (n,) float64
            0-based pixels.

        Returns
        -------
        (n, 3) float64
            As of `ellipse`, px².
        """
        grid = np.linspace(-1, 1, 21)
        every = self._powers(*(axis.ravel() for axis in np.meshgrid(grid, grid))) @ self.terms.T
        low, high = every.min(axis=0), every.max(axis=0)
        ny, nx = self.shape
        change = self._powers(2 * x / (nx - 1) - 1, 2 * y / (ny - 1) - 1) @ self.terms.T
        change = np.clip(2 * (change - low) / np.maximum(high - low, 1e-9) - 1, -1.5, 1.5)
        e1, e2 = self.ellipticity
        size = self.fwhm * (1 + self.variation * change[:, 0])
        return ellipse(e1 + self.shear * change[:, 1], e2 + self.shear * change[:, 2], size)

    @staticmethod
    def _powers(u: Floats, v: Floats) -> Floats:
        return np.stack([u, v, u * u, u * v, v * v], axis=-1)

    def stamp(self, x: float, y: float, size: int) -> Floats:
        """Return the point-spread function at a place, integrated over pixels.

        Parameters
        ----------
        x, y : float
            0-based pixel of the frame.
        size : int
            Odd number of rows and of columns.

        Returns
        -------
        (size, size) float64
            Centred on its middle pixel; sums to 1.
        """
        image = np.zeros((size, size))
        middle, one = np.array([size // 2 + 0.0]), np.ones(1)
        render(image, middle, middle, one, self.profile, self.matrices(np.array([x]), np.array([y])), 1e-12)
        return image / image.sum()


def render(
    image: Floats,
    x: Floats,
    y: Floats,
    flux: Floats,
    profile: Profile,
    matrices: Floats,
    faint: float,
    own: Profile = _POINT,
    shapes: Floats | None = None,
) -> None:
    """Add sources to an image, integrated over its pixels.

    Parameters
    ----------
    image : (ny, nx) float64
        Changed in place.
    x, y : (n,) float64
        0-based pixels, inside the image or not.
    flux : (n,) float64
        Counts of the whole source, of either sign.
    profile : Profile
        Of the point-spread function.
    matrices : (n, 3) float64
        Its stretch at every source (`Optics.matrices`).
    faint : float
        Surface brightness under which the light of one Gaussian does not matter, counts; what is cut off is also
        less than 1e-4 of the source's flux.
    own : Profile
        Of the sources; a point by default.
    shapes : (n, 3) float64, optional
        Their stretch.
    """
    shapes = np.zeros((len(x), 3)) if shapes is None else shapes
    columns = (np.ascontiguousarray(column, np.float64) for column in (x, y, flux))
    _render(image, *columns, profile.weight, profile.variance, matrices, own.weight, own.variance, shapes, faint)


@njit(cache=True)
def _render(image, x, y, flux, weight, variance, matrices, own_weight, own_variance, shapes, faint):  # type: ignore[no-untyped-def]
    lost = _LOST / (weight.size * own_weight.size)
    for i in range(x.size):
        for a in range(own_weight.size):
            for b in range(weight.size):
                share = own_weight[a] * weight[b]
                cov = own_variance[a] * shapes[i] + variance[b] * matrices[i]
                det = cov[0] * cov[2] - cov[1] * cov[1]
                floor = min(lost * abs(flux[i]), 2 * np.pi * np.sqrt(det) * faint)
                if share * abs(flux[i]) <= floor:
                    continue
                reach = 2 * np.log(share * abs(flux[i]) / floor)
                # A pixel widens a Gaussian of σ > 2 px by 1/12 px², to 1e-4 of its peak.
                if det > 4 * (cov[0] + cov[2]):
                    cov[0] += 1 / 12
                    cov[2] += 1 / 12
                    _add(image, x[i], y[i], flux[i] * share, cov, reach)
                else:
                    for m in range(3):
                        for n in range(3):
                            part = flux[i] * share * _WEIGHTS[m] * _WEIGHTS[n]
                            _add(image, x[i] + _NODES[m], y[i] + _NODES[n], part, cov, reach)


@njit(cache=True)
def _add(image, x, y, flux, cov, reach):  # type: ignore[no-untyped-def]
    """Add one Gaussian within the ellipse `reach`, each row by a recurrence of two products a pixel."""
    ny, nx = image.shape
    det = cov[0] * cov[2] - cov[1] * cov[1]
    a, b, c = cov[2] / det, -cov[1] / det, cov[0] / det
    peak = flux / (2 * np.pi * np.sqrt(det))
    half = np.sqrt(reach * cov[2])
    step = np.exp(-a)
    for row in range(max(0, int(np.ceil(y - half))), min(ny - 1, int(np.floor(y + half))) + 1):
        dy = row - y
        rest = reach - dy * dy / cov[2]
        if rest <= 0:
            continue
        middle, width = x + dy * cov[1] / cov[2], np.sqrt(rest / a)
        first = max(0, int(np.ceil(middle - width)))
        last = min(nx - 1, int(np.floor(middle + width)))
        if first > last:
            continue
        dx = first - x
        value = peak * np.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy))
        ratio = np.exp(-a * (dx + 0.5) - b * dy)
        for column in range(first, last + 1):
            image[row, column] += value
            value *= ratio
            ratio *= step
