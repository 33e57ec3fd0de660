"""Light drawn through a point-spread function and integrated over pixels, at any place between them."""

import numpy as np
from numba import njit

from pipeline.simulate.profiles import POINT, Floats, Profile

__all__ = ["render"]

# Share of the flux that all truncated Gaussians of a source may lose together.
_LOST = 5e-5
# Nodes and weights of the Gauss-Legendre rule over a pixel.
_NODES, _WEIGHTS = (-np.sqrt(0.15), 0.0, np.sqrt(0.15)), (5 / 18, 8 / 18, 5 / 18)


def render(
    image: Floats,
    x: Floats,
    y: Floats,
    flux: Floats,
    profile: Profile,
    matrices: Floats,
    faint: float,
    own: Profile = POINT,
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
    x, y, flux = (np.ascontiguousarray(column, np.float64) for column in (x, y, flux))
    mixtures = (profile.weight, profile.variance, matrices), (own.weight, own.variance, shapes)
    _render(image, x, y, flux, *mixtures[0], *mixtures[1], faint)


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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
