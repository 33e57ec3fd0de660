"""Elliptical Moffat profiles, fitted to many stars at once."""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["Profiles", "fit", "profile", "shape_of", "spread"]

Array = NDArray[np.float64]

_STEPS = 20

#: Of e1² + e2², at most: one axis is 63 times the other. From 1 on there is no ellipse.
_FLATTEST = 1 - 1e-3


@dataclass(frozen=True, eq=False)
class Profiles:
    """Fitted profiles of n stars: amplitude · (1 + a X² + 2 b X Y + c Y²)^−β + sky, X and Y from the star's centre.

    Parameters
    ----------
    amplitude, sky : (n,) float64
        Counts.
    x, y : (n,) float64
        Centre, px from the middle of the stamp.
    a, b, c : (n,) float64
        Shape, px⁻².
    beta : (n,) float64
        Exponent.
    chi2 : (n,) float64
        Reduced.
    snr : (n,) float64
        Amplitude over its error.
    """

    amplitude: Array
    sky: Array
    x: Array
    y: Array
    a: Array
    b: Array
    c: Array
    beta: Array
    chi2: Array
    snr: Array

    @property
    def flux(self) -> Array:
        """Integral to infinity, counts."""
        det = np.maximum(self.a * self.c - self.b**2, 1e-12)
        return np.asarray(self.amplitude * np.pi / ((self.beta - 1) * np.sqrt(det)))


def spread(a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """Return log(size), e1, e2 of shapes.

    Size is the geometric mean of the scale lengths of both axes, px; e1 and e2 are (A − B) / (A + B) of the squared
    axes, along x and along the diagonal.
    """
    det = np.maximum(a * c - b * b, 1e-12)
    total = (a + c) / det
    return -0.25 * np.log(det), (c - a) / det / total, -2 * b / det / total


def shape_of(log_size: Array, e1: Array, e2: Array) -> tuple[Array, Array, Array]:
    """Return a, b, c of log(size), e1, e2; the inverse of `spread`.

    A polynomial over the field may leave the ellipses where no star holds it: there the nearest ellipse of the same
    direction counts.
    """
    shrink = np.sqrt(_FLATTEST / np.maximum(e1**2 + e2**2, _FLATTEST))
    e1, e2 = e1 * shrink, e2 * shrink
    size2 = np.exp(2 * log_size) / np.sqrt(1 - e1**2 - e2**2)
    xx, yy, xy = size2 * (1 + e1), size2 * (1 - e1), size2 * e2
    det = xx * yy - xy * xy
    return yy / det, -xy / det, xx / det


def profile(x: Array, y: Array, a: Array, b: Array, c: Array, beta: Array) -> Array:
    """Return (1 + a x² + 2 b x y + c y²)^−β."""
    return np.asarray((1 + a * x * x + 2 * b * x * y + c * y * y) ** -beta)


def fit(
    data: Array, weight: Array, background: Array, inverse_gain: float, fwhm: float, beta: float | None = None
) -> Profiles:
    """Fit a profile to each of many stamps by damped Gauss–Newton steps.

    Parameters
    ----------
    data : (n, m, m) float64
        Counts above the sky, star near the middle.
    weight : (n, m, m) float64
        1 where a pixel is good, else 0.
    background : (n,) float64
        Variance of the sky's pixels, counts².
    inverse_gain : float
        Counts per electron: variance of a star's counts over the counts. Weights come from the model, never from the
        data: pixels that scattered low would count more.
    fwhm : float
        First guess, px.
    beta : float, optional
        Exponent; fitted for each star if not given.

    Returns
    -------
    Profiles
        One a stamp; those that make no sense have an amplitude that is not positive, or a chi2 of infinity.
    """
    n, m, _ = data.shape
    half = m // 2
    start = 3.0 if beta is None else beta
    first = np.zeros((n, 8))
    middle = slice(half - 1, half + 2)
    first[:, 0] = np.maximum(data[:, middle, middle].max(axis=(1, 2)), 1e-3) if n else 0.0
    first[:, 4] = first[:, 6] = (fwhm / (2 * np.sqrt(2 ** (1 / start) - 1))) ** -2
    first[:, 7] = start
    chi2, error = np.empty(n), np.empty(n)
    for k in range(n):
        chi2[k], error[k] = _descend(first[k], data[k], weight[k], background[k], inverse_gain, fwhm, beta is None)
    count = np.maximum(weight.sum(axis=(1, 2)) - 8, 1)
    amplitude, sky, x, y, a, b, c, exponent = first.T
    return Profiles(amplitude, sky, x, y, a, b, c, exponent, chi2 / count, amplitude / error)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _descend(p, data, weight, background, inverse_gain, fwhm, free):  # type: ignore[no-untyped-def]
    """Improve the parameters `p` in place; return χ² and the error of the amplitude."""
    half = data.shape[0] // 2
    size = 8 if free else 7
    damping = 1e-2
    chi2, normal, gradient = _system(p, data, weight, background, inverse_gain)
    trial = p.copy()
    for _ in range(_STEPS):
        damped = normal[:size, :size].copy()
        for i in range(size):
            damped[i, i] += damped[i, i] * damping + 1e-12
        step = np.linalg.solve(damped, gradient[:size])
        trial[:size] = p[:size] + step
        trial[2] = min(max(trial[2], -0.5 * half), 0.5 * half)
        trial[3] = min(max(trial[3], -0.5 * half), 0.5 * half)
        trial[4] = min(max(trial[4], 0.05 / fwhm**2), 20 / fwhm**2)
        trial[6] = min(max(trial[6], 0.05 / fwhm**2), 20 / fwhm**2)
        limit = 0.9 * np.sqrt(trial[4] * trial[6])
        trial[5] = min(max(trial[5], -limit), limit)
        trial[7] = min(max(trial[7], 1.2), 12.0)
        after, normal_after, gradient_after = _system(trial, data, weight, background, inverse_gain)
        if after <= chi2:
            p[:] = trial
            normal, gradient = normal_after, gradient_after
            damping = max(damping / 5, 1e-6)
            if chi2 - after < 1e-4 * (1 + 1e-3 * chi2):
                chi2 = after
                break
            chi2 = after
        else:
            damping = min(damping * 5, 1e6)
    return chi2, np.sqrt(1 / max(normal[0, 0], 1e-30))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _system(p, data, weight, background, inverse_gain):  # type: ignore[no-untyped-def]
    """Return χ² and the normal equations of one star."""
    m = data.shape[0]
    half = m // 2
    amplitude, sky, x0, y0, a, b, c, beta = p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]
    normal, gradient, terms = np.zeros((8, 8)), np.zeros(8), np.empty(8)
    chi2 = 0.0
    for j in range(m):
        for i in range(m):
            if weight[j, i] <= 0:
                continue
            x, y = i - half - x0, j - half - y0
            q = 1 + a * x * x + 2 * b * x * y + c * y * y
            log = np.log(q)
            shape = np.exp(-beta * log)
            model = amplitude * shape
            # One per cent of the model is allowed for: the profile is not the PSF, and no one star shall decide.
            w = weight[j, i] / (background + max(model, 0.0) * inverse_gain + (0.01 * model) ** 2)
            rest = data[j, i] - sky - model
            slope = -beta * model / q
            terms[0], terms[1] = shape, 1.0
            terms[2], terms[3] = -slope * 2 * (a * x + b * y), -slope * 2 * (b * x + c * y)
            terms[4], terms[5], terms[6] = slope * x * x, slope * 2 * x * y, slope * y * y
            terms[7] = -model * log
            chi2 += w * rest * rest
            for k in range(8):
                gradient[k] += w * terms[k] * rest
                for h in range(k + 1):
                    normal[k, h] += w * terms[k] * terms[h]
    for k in range(8):
        for h in range(k):
            normal[h, k] = normal[k, h]
    return chi2, normal, gradient
