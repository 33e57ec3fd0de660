"""Elliptical Moffat profiles, fitted to many stars at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Profiles", "fit", "profile", "shape_of", "spread"]

Array = NDArray[np.float64]

_STEPS = 15


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
    """Return log(size), e1, e2 of shapes: size is the geometric mean of the axes' scale lengths, px; e = (A − B)/(A + B)
    of the squared axes, along x and along the diagonal."""
    det = np.maximum(a * c - b * b, 1e-12)
    total = (a + c) / det
    return -0.25 * np.log(det), (c - a) / det / total, -2 * b / det / total


def shape_of(log_size: Array, e1: Array, e2: Array) -> tuple[Array, Array, Array]:
    """Return a, b, c of log(size), e1, e2; the inverse of `spread`."""
    size2 = np.exp(2 * log_size) / np.sqrt(np.maximum(1 - e1**2 - e2**2, 1e-3))
    xx, yy, xy = size2 * (1 + e1), size2 * (1 - e1), size2 * e2
    det = xx * yy - xy * xy
    return yy / det, -xy / det, xx / det


def profile(x: Array, y: Array, a: Array, b: Array, c: Array, beta: Array) -> Array:
    """Return (1 + a x² + 2 b x y + c y²)^−β."""
    return np.asarray((1 + a * x * x + 2 * b * x * y + c * y * y) ** -beta)


def fit(
    data: Array, weight: Array, background: Array, inverse_gain: float, fwhm: float, beta: float | None = None
) -> Profiles:
    """Fit a profile to each of many stamps by damped Gauss–Newton steps, all together.

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
    grid = np.arange(-half, half + 1, dtype=float)
    gx, gy = np.meshgrid(grid, grid)
    free = beta is None
    start = 3.0 if beta is None else beta
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / start) - 1))
    p = np.zeros((n, 8))
    p[:, 0] = np.maximum(data[:, half - 1 : half + 2, half - 1 : half + 2].max(axis=(1, 2)), 1e-3)
    p[:, 4] = p[:, 6] = alpha**-2
    p[:, 7] = start
    damping = np.full(n, 1e-2)
    chi2, normal, gradient = _system(p, data, weight, background, inverse_gain, gx, gy, free)
    for _ in range(_STEPS):
        diagonal = np.einsum("nii->ni", normal)
        damped = normal + np.einsum("ni,ij->nij", diagonal * damping[:, None] + 1e-12, np.eye(8))
        step = np.linalg.solve(damped, gradient[..., None])[..., 0]
        trial = _limited(p + step, half, fwhm)
        after, normal_after, gradient_after = _system(trial, data, weight, background, inverse_gain, gx, gy, free)
        better = after <= chi2
        p = np.where(better[:, None], trial, p)
        chi2 = np.where(better, after, chi2)
        normal = np.where(better[:, None, None], normal_after, normal)
        gradient = np.where(better[:, None], gradient_after, gradient)
        damping = np.where(better, damping / 5, damping * 5).clip(1e-6, 1e6)
    error = np.sqrt(1 / np.maximum(np.einsum("nii->ni", normal)[:, 0], 1e-30))
    count = np.maximum(weight.sum(axis=(1, 2)) - 8, 1)
    return Profiles(*p.T, chi2 / count, p[:, 0] / error)


def _limited(p: Array, half: int, fwhm: float) -> Array:
    """Return parameters kept where a star can be."""
    p = p.copy()
    p[:, 2:4] = p[:, 2:4].clip(-0.5 * half, 0.5 * half)
    low, high = 0.05 / fwhm**2, 20 / fwhm**2
    p[:, 4], p[:, 6] = p[:, 4].clip(low, high), p[:, 6].clip(low, high)
    limit = 0.9 * np.sqrt(p[:, 4] * p[:, 6])
    p[:, 5] = p[:, 5].clip(-limit, limit)
    p[:, 7] = p[:, 7].clip(1.2, 12.0)
    return p


def _system(
    p: Array, data: Array, weight: Array, background: Array, inverse_gain: float, gx: Array, gy: Array, free: bool
) -> tuple[Array, Array, Array]:
    """Return χ² and the normal equations of every star."""
    amplitude, sky, x0, y0, a, b, c, beta = (column[:, None, None] for column in p.T)
    x, y = gx - x0, gy - y0
    q = 1 + a * x * x + 2 * b * x * y + c * y * y
    shape = q**-beta
    model = amplitude * shape
    slope = -beta * model / q
    # One per cent of the model is allowed for: the profile is not the PSF, and no one star shall decide.
    variance = background[:, None, None] + np.maximum(model, 0) * inverse_gain + (0.01 * model) ** 2
    w = weight / variance
    rest = data - sky - model
    terms = [shape, np.ones_like(shape), -slope * 2 * (a * x + b * y), -slope * 2 * (b * x + c * y),
             slope * x * x, slope * 2 * x * y, slope * y * y]  # fmt: skip
    terms.append(-model * np.log(q) if free else np.zeros_like(shape))
    jacobian = np.stack([term.reshape(len(p), -1) for term in terms], axis=1)
    w, rest = w.reshape(len(p), -1), rest.reshape(len(p), -1)
    weighted = jacobian * w[:, None, :]
    normal = weighted @ jacobian.transpose(0, 2, 1)
    gradient = (weighted @ rest[..., None])[..., 0]
    return (w * rest**2).sum(axis=1), normal, gradient
