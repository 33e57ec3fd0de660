"""The profile of a star on pixels: an elliptical Moffat integrated over each pixel, with its derivatives.

P(x, y) = (β − 1) / (π h²) · (1 + q)^−β, q = [(1 − e1) x² − 2 e2 x y + (1 + e1) y²] / (h² √(1 − e²)), with
h = ½ FWHM / √(2^(1/β) − 1) (Moffat 1969, A&A 3, 455). What four numbers do not tell of a PSF is added as a map of
the rest. Parameters are ln FWHM (pixels), e1, e2 and ln β; the FWHM and β hardly correlate, so fits go quickly.
"""

import numba
import numpy as np

__all__ = ["NO_REST", "REST_STEPS", "render"]

#: Nodes and weights of Gauss–Legendre of 1, 2 and 3 points over a pixel, a row each.
_NODES = np.array([[0.0, 0.0, 0.0], [-0.28867513459481287, 0.28867513459481287, 0.0],
                   [-0.3872983346207417, 0.0, 0.3872983346207417]])  # fmt: skip
_WEIGHTS = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [5 / 18, 8 / 18, 5 / 18]])

#: Steps of the map of the rest in one FWHM.
REST_STEPS = 4

#: Map of a PSF that is a Moffat and nothing else.
NO_REST = np.zeros((3, 0, 0))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def render(theta, x, y, px, py, rest, out):  # type: ignore[no-untyped-def]
    """Put a star of flux one on pixels.

    Parameters
    ----------
    theta : (4,) float64
        ln FWHM in pixels, e1, e2, ln β.
    x, y : float
        Where the star is.
    px, py : (n,) float64
        Pixel centres.
    rest : (3, m, m) float64
        What is added, times FWHM², and its derivatives by x and y over FWHM; steps of FWHM / `REST_STEPS`;
        m = 0: nothing.
    out : (7, n) float64
        Receives the value and its derivatives by x, y (of the star) and the four of `theta`.
    """
    fwhm, e1, e2, beta = np.exp(theta[0]), theta[1], theta[2], np.exp(theta[3])
    power = 2 ** (1 / beta)
    h2 = 0.25 * fwhm * fwhm / (power - 1)
    kappa = 0.5 * power * np.log(2.0) / (beta * beta * (power - 1))
    round_ = max(1 - e1 * e1 - e2 * e2, 1e-6)
    scale = 1 / (h2 * np.sqrt(round_))
    a, b, c = (1 - e1) * scale, -e2 * scale, (1 + e1) * scale
    norm = (beta - 1) / (np.pi * h2)
    fine = 2 if fwhm > 2.5 else 3
    for i in range(len(px)):
        dx, dy = px[i] - x, py[i] - y
        n = fine if dx * dx + dy * dy < 6 * fwhm * fwhm + 1 else 1
        s0, s1, s2, s3, s4, s5, s6 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for u in range(n):
            for v in range(n):
                sx, sy = dx + _NODES[n - 1, u], dy + _NODES[n - 1, v]
                q = a * sx * sx + 2 * b * sx * sy + c * sy * sy
                log = np.log(1 + q)
                value = _WEIGHTS[n - 1, u] * _WEIGHTS[n - 1, v] * norm * np.exp(-beta * log)
                slope = beta * value / (1 + q)
                s0 += value
                s1 += slope * 2 * (a * sx + b * sy)
                s2 += slope * 2 * (b * sx + c * sy)
                s3 += 2 * (slope * q - value)
                s4 -= slope * ((sy * sy - sx * sx) * scale + q * e1 / round_)
                s5 -= slope * (q * e2 / round_ - 2 * sx * sy * scale)
                s6 += beta * (value * (1 / (beta - 1) - 2 * kappa - log) + 2 * kappa * slope * q)
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i], out[5, i], out[6, i] = s0, s1, s2, s3, s4, s5, s6
        if rest.shape[1] > 1:
            _add(rest, dx / fwhm, dy / fwhm, fwhm, out, i)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add(rest, u, v, fwhm, out, i):  # type: ignore[no-untyped-def]
    """Add the map of the rest, bilinear, at u, v FWHM from the star."""
    half = rest.shape[1] // 2
    x, y = u * REST_STEPS + half, v * REST_STEPS + half
    column, row = int(np.floor(x)), int(np.floor(y))
    if column < 0 or row < 0 or column + 1 >= rest.shape[2] or row + 1 >= rest.shape[1]:
        return
    fx, fy = x - column, y - row
    area = 1 / (fwhm * fwhm)
    value, by_x, by_y = 0.0, 0.0, 0.0
    for t in range(2):
        for s in range(2):
            w = (fy if t else 1 - fy) * (fx if s else 1 - fx) * area
            value += w * rest[0, row + t, column + s]
            by_x += w * rest[1, row + t, column + s] / fwhm
            by_y += w * rest[2, row + t, column + s] / fwhm
    out[0, i] += value
    out[1, i] -= by_x
    out[2, i] -= by_y
    out[3, i] -= 2 * value + u * fwhm * by_x + v * fwhm * by_y
