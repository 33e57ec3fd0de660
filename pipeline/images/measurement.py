"""Measuring the PSF on the image's own stars: first its profile, then what is left of the stars without it."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, spline_filter

from pipeline.images import moffat
from pipeline.images.align import design
from pipeline.images.psf import Psf, render
from pipeline.images.stars import Stamps, Stars, place, total

__all__ = ["measure"]

Array = NDArray[np.float64]

#: A polynomial of degree d over the field is tried with at least this many stars.
_STARS_FOR = {0: 1, 1: 12, 2: 30, 3: 120}

#: Stars from which what is left of the profile may vary over the field, as a plane.
_STARS_FOR_REST = 60

#: Between which radii, in units of the FWHM, what is left of the profile is smoothed, averaged in rings and dropped.
_ZONES = ((1.0, 2.0), (1.75, 2.5), (2.5, 3.5))

#: Of log(size) and ellipticity, by which derivatives are taken.
_STEP = 0.01


def measure(stamps: Stamps, fwhm: float, half: int) -> tuple[Psf, Stars]:
    """Measure the PSF.

    Parameters
    ----------
    stamps : Stamps
        Stars that are not saturated; a few that are none are found out by their shape.
    fwhm : float
        First guess, px.
    half : int
        Half of the side of the PSF's stamps, px; no more than the stamps'.

    Returns
    -------
    psf : Psf
        The PSF; with fewer than three stars a Moffat profile of β = 3 and of the size guessed.
    stars : Stars
        The stars it was measured on, with the position and flux it gives them.
    """
    seen = np.flatnonzero(stamps.weight.any(axis=(1, 2))) if len(stamps) else np.zeros(0, int)
    psf, keep, centres = _round(stamps, fwhm, half), seen, np.zeros((len(stamps), 2))
    if len(seen) >= 3:
        psf, keep, centres = _profile(stamps, seen, fwhm, half)
    stars = place(psf, stamps, keep, centres[keep], fwhm)
    for turn in range(3 if len(keep) >= 3 else 0):
        psf = _with_rest(psf if turn == 0 else _reshaped(psf, stamps, stars, fwhm), stamps, stars, fwhm)
        middle = np.stack([stars.x - stamps.x[stars.index], stars.y - stamps.y[stars.index]], -1)
        stars = place(psf, stamps, stars.index, middle, fwhm)
        good = (stars.flux > 0) & (stars.chi2 < max(3.0, 4 * float(np.median(stars.chi2))))
        if good.sum() >= 3:
            stars = stars.take(good)
    return psf, stars


def _round(stamps: Stamps, fwhm: float, half: int) -> Psf:
    size = float(np.log(fwhm / (2 * np.sqrt(2 ** (1 / 3) - 1))))
    rest = np.zeros((1, 2 * half + 1, 2 * half + 1), np.float32)
    return Psf(stamps.shape, half, 3.0, 0, np.array([[size], [0.0], [0.0]]), 0, rest, 0)


def _profile(stamps: Stamps, seen: NDArray[Any], fwhm: float, half: int) -> tuple[Psf, NDArray[Any], Array]:
    """Return the PSF without `rest`, the stars it holds for and the centres of all."""
    reach = min(stamps.data.shape[1] // 2, max(6, round(3.0 * fwhm)))
    data, weight = stamps.cut(reach)
    order = np.argsort(-data[seen, reach, reach] / np.sqrt(stamps.background[seen]), kind="stable")
    bright = seen[order[:40]]
    gain = stamps.inverse_gain
    first = moffat.fit(data[bright], weight[bright], stamps.background[bright], gain, fwhm)
    usable = (first.amplitude > 0) & (first.beta > 1.3) & (first.beta < 11.5)
    size = moffat.spread(first.a, first.b, first.c)[0] - 0.5 * np.log(first.beta)
    if usable.any():
        off = np.abs(size - np.median(size[usable]))
        usable &= off < 3 * max(1.4826 * float(np.median(off[usable])), 0.05)
    beta = float(np.median(first.beta[usable])) if usable.any() else 3.0
    each = moffat.fit(data, weight, stamps.background, gain, fwhm, beta)
    shapes = np.stack(moffat.spread(each.a, each.b, each.c))
    u, v = 2 * (stamps.x + 0.5) / stamps.shape[1] - 1, 2 * (stamps.y + 0.5) / stamps.shape[0] - 1
    star = (each.amplitude > 0) & (each.snr > 5) & (np.hypot(each.x, each.y) < 0.6 * fwhm + 1)
    star &= stamps.weight.any(axis=(1, 2))
    error = np.hypot(0.003, 1.2 / np.maximum(each.snr, 1))
    good = star
    for _ in range(5):
        degree, terms = _over_field(u[good], v[good], shapes[:, good], error[good])
        off = np.abs(shapes - terms @ design(u, v, degree).T) / error
        limit = max(3.5, 3.5 * 1.4826 * float(np.median(off[:, good])))
        now = star & (off < limit).all(axis=0)
        if now.sum() < 3 or (now == good).all():
            break
        good = now
    rest = np.zeros((1, 2 * half + 1, 2 * half + 1), np.float32)
    psf = Psf(stamps.shape, half, beta, degree, terms, 0, rest, int(good.sum()))
    return psf, np.flatnonzero(good), np.stack([each.x, each.y], -1)


def _over_field(u: Array, v: Array, shapes: Array, error: Array) -> tuple[int, Array]:
    """Return degree and coefficients of the polynomial that describes shapes best, by the Bayesian criterion."""
    best: tuple[float, int, Any] = (np.inf, 0, shapes.mean(axis=1)[:, None])
    for order, least in _STARS_FOR.items():
        if len(u) < least:
            break
        matrix = design(u, v, order) / error[:, None]
        terms, *_ = np.linalg.lstsq(matrix, (shapes / error).T, rcond=None)
        rest = (shapes / error).T - matrix @ terms
        score = float(np.minimum(rest**2, 25).sum()) + 3 * matrix.shape[1] * np.log(len(u))
        if score < best[0]:
            best = score, order, terms.T
    return best[1], best[2]


def _reshaped(psf: Psf, stamps: Stamps, stars: Stars, fwhm: float) -> Psf:
    """Return the PSF with the polynomials of its shape improved: one Gauss–Newton step on all stars together.

    Flux, place and sky of each star are eliminated, so that each one counts with what it knows of the shape.
    """
    reach = min(stamps.data.shape[1] // 2, psf.half, max(5, round(2.0 * fwhm)))
    data, weight = stamps.cut(reach)
    u, v = 2 * (stars.x + 0.5) / psf.shape[1] - 1, 2 * (stars.y + 0.5) / psf.shape[0] - 1
    basis = design(u, v, psf.order)
    size = 3 * basis.shape[1]
    normal, right = np.zeros((size, size)), np.zeros(size)
    steps = np.concatenate([np.zeros((1, 3)), _STEP * np.eye(3), -_STEP * np.eye(3)])
    _, rest = psf.parameters(stars.x, stars.y)
    values = (basis @ psf.terms.T)[:, None, :] + steps
    shapes = np.stack(moffat.shape_of(*np.moveaxis(values, -1, 0)), -1)
    for i, k in enumerate(stars.index):
        inner, out = _inform(shapes[i], rest[i], psf.beta, data[k], weight[k], stamps.background[k],
                             stamps.inverse_gain, stars.x[i] - stamps.x[k], stars.y[i] - stamps.y[k], stars.flux[i],
                             stars.sky[i])  # fmt: skip
        products = basis[i][:, None] * basis[i]
        normal += (inner[:, None, :, None] * products[None, :, None, :]).reshape(size, size)
        right += (out[:, None] * basis[i]).ravel()
    step = np.linalg.solve(normal + 1e-9 * np.diag(np.diag(normal)) + 1e-30 * np.eye(size), right).reshape(3, -1)
    return Psf(psf.shape, psf.half, psf.beta, psf.order, psf.terms + step, psf.rest_order, psf.rest, psf.n_stars)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _inform(shapes, rest, beta, data, weight, background, inverse_gain, dx, dy, flux, sky):  # type: ignore[no-untyped-def]
    """Return what one star says of log(size), e1, e2: their normal equations, (3, 3) and (3,)."""
    m = data.shape[0]
    wide = np.zeros((7, m + 2, m + 2))
    none, shape, whole = np.zeros((1, 1)), np.empty(4), 1.0
    for k in range(7):
        shape[1:] = shapes[k]
        shape[0] = (beta - 1) / np.pi * np.sqrt(shape[1] * shape[3] - shape[2] ** 2)
        if k == 0:
            whole = total(shape, rest, beta)
        render(shape, rest if k == 0 else none, beta, dx, dy, wide[k])
    wide /= whole
    normal, right, terms = np.zeros((7, 7)), np.zeros(7), np.empty(7)
    for j in range(1, m + 1):
        for i in range(1, m + 1):
            if weight[j - 1, i - 1] <= 0:
                continue
            model = flux * wide[0, j, i]
            w = weight[j - 1, i - 1] / (background + max(model, 0.0) * inverse_gain + (0.003 * model) ** 2)
            for k in range(3):
                terms[k] = flux * (wide[1 + k, j, i] - wide[4 + k, j, i]) / (2 * _STEP)
            terms[3], terms[4] = wide[0, j, i], 1.0
            terms[5] = -0.5 * flux * (wide[0, j, i + 1] - wide[0, j, i - 1])
            terms[6] = -0.5 * flux * (wide[0, j + 1, i] - wide[0, j - 1, i])
            left = data[j - 1, i - 1] - model - sky
            for k in range(7):
                right[k] += w * terms[k] * left
                for h in range(7):
                    normal[k, h] += w * terms[k] * terms[h]
    for k in range(7):
        normal[k, k] += 1e-12 * normal[k, k] + 1e-30
    cross = np.ascontiguousarray(normal[:3, 3:])
    solved = np.linalg.solve(np.ascontiguousarray(normal[3:, 3:]), np.ascontiguousarray(cross.T))
    return normal[:3, :3] - cross @ solved, right[:3] - solved.T @ np.ascontiguousarray(right[3:])


def _with_rest(psf: Psf, stamps: Stamps, stars: Stars, fwhm: float) -> Psf:
    """Return the PSF with what the stars leave of its profile put in: a clipped mean, or a plane over the field."""
    bare = Psf(psf.shape, psf.half, psf.beta, psf.order, psf.terms, 0, np.zeros_like(psf.rest[:1]), psf.n_stars)
    n, m = len(stars.index), 2 * psf.half + 1
    left, weight = np.zeros((n, m, m)), np.zeros((n, m, m))
    data, seen = stamps.cut(psf.half)
    grid = np.arange(-psf.half, psf.half + 1)
    radius = np.hypot(*np.meshgrid(grid, grid))
    rim = radius > min(0.85 * psf.half, 4.0 * fwhm)
    shapes, nothing = bare.parameters(stars.x, stars.y)
    none, model = np.array([0.0, 1.0, 0.0, 1.0]), np.empty((m, m))
    for i, k in enumerate(stars.index):
        dx, dy = stars.x[i] - stamps.x[k], stars.y[i] - stamps.y[k]
        render(shapes[i], nothing[i], psf.beta, dx, dy, model)
        above = data[k] - stars.flux[i] * model
        # The sky is that far out: under the core it cannot be told from the wings, and the sum would follow it.
        free = rim & (seen[k] > 0)
        sky = float(np.median(above[free])) if free.sum() > 20 else 0.0
        relative = np.where(seen[k] > 0, (above - sky) / stars.flux[i], 0.0)
        render(none, spline_filter(relative, 5, np.float64, "mirror"), 0.0, -dx, -dy, left[i])
        light = stars.flux[i] * np.maximum(model, 0)
        variance = stamps.background[k] + light * stamps.inverse_gain + (0.003 * light) ** 2
        weight[i] = seen[k] * stars.flux[i] ** 2 / variance
    u, v = 2 * (stars.x + 0.5) / psf.shape[1] - 1, 2 * (stars.y + 0.5) / psf.shape[0] - 1
    order = 1 if n >= _STARS_FOR_REST else 0
    terms = design(u, v, order)
    left = _ringed(left, weight, radius > _ZONES[1][0] * fwhm)
    weight = _doubted(left, weight, stars, radius > 1.25 * fwhm)
    for _ in range(3):
        rest = _regression(terms, left, weight)
        off = np.abs(left - np.tensordot(terms, rest, 1)) * np.sqrt(weight)
        weight[off > 4 * max(1.0, 1.4826 * float(np.median(off[::5])))] = 0.0
    rest = np.stack(
        [_centred(_quiet(term, radius, fwhm), bare.model(psf.shape[1] / 2, psf.shape[0] / 2)) for term in rest]
    )
    return Psf(psf.shape, psf.half, psf.beta, psf.order, psf.terms, order, rest.astype(np.float32), n)


def _ringed(left: Array, weight: Array, outer: NDArray[np.bool_]) -> Array:
    """Return what is left of stars with their far wings replaced by medians of rings: a neighbour fills part of one."""
    out, rings = left.copy(), np.where(outer, _rings(left.shape[1]), -1)
    for ring in np.unique(rings[outer]):
        here = np.asarray(rings == ring)
        values = np.where(weight[:, here] > 0, left[:, here], np.nan)
        seen = np.asarray(np.isfinite(values).any(axis=1))
        out[seen[:, None, None] & here] = np.repeat(np.nanmedian(values[seen], axis=1), here.sum())
    return out


def _doubted(left: Array, weight: Array, stars: Stars, outer: NDArray[np.bool_]) -> Array:
    """Return weights that know by what bright stars differ on their wings: by their neighbours, not by their noise.

    Else the brightest one would speak for all, its neighbour included.
    """
    rank = np.argsort(stars.flux_err / stars.flux, kind="stable")
    bright = left[rank[: max(5, len(rank) // 3)]]
    scatter = 1.4826 * np.median(np.abs(bright - np.median(bright, axis=0)), axis=0)
    rings = _rings(left.shape[1])
    mean = (np.bincount(rings.ravel(), scatter.ravel()) / np.maximum(np.bincount(rings.ravel()), 1))[rings]
    doubt = np.where(outer, mean**2, 0.0)
    return np.asarray(weight / (1 + weight * doubt))


def _rings(m: int) -> NDArray[np.int64]:
    grid = np.arange(m) - m // 2
    return np.asarray(np.round(np.hypot(*np.meshgrid(grid, grid))), np.int64)


def _regression(terms: Array, left: Array, weight: Array) -> Array:
    """Return the coefficients (k, m, m) of the weighted linear regression in every pixel."""
    n, k = terms.shape
    m = left.shape[1]
    w = weight.reshape(n, -1)
    products = (terms[:, :, None] * terms[:, None, :]).reshape(n, -1)
    normal = (products.T @ w).T.reshape(-1, k, k)
    right = (terms.T @ (w * left.reshape(n, -1))).T
    normal += (1e-6 * np.einsum("pii->p", normal) + 1e-20)[:, None, None] * np.eye(k)
    return np.asarray(np.linalg.solve(normal, right[..., None])[..., 0].T.reshape(k, m, m))


def _centred(rest: Array, profile: Array) -> Array:
    """Return the rest without what would move the profile: where a star is, is for the profile alone to say."""
    slopes = np.stack([slope.ravel() for slope in np.gradient(profile)], axis=-1)
    moved, *_ = np.linalg.lstsq(slopes, rest.ravel(), rcond=None)
    return np.asarray(rest - (slopes @ moved).reshape(rest.shape))


def _quiet(rest: Array, radius: Array, fwhm: float) -> Array:
    """Return the rest with its noise outside the core averaged: smoothed first, then by rings, at last none.

    Far out the neighbours of the stars, and the sky, are wrong by more than the profile is.
    """
    smooth = gaussian_filter(rest, 1.0)
    rings = _rings(len(rest))
    ring = (np.bincount(rings.ravel(), rest.ravel()) / np.maximum(np.bincount(rings.ravel()), 1))[rings]
    near, outer, far = (np.clip((radius / fwhm - low) / (high - low), 0, 1) for low, high in _ZONES)
    return np.asarray(((rest * (1 - near) + smooth * near) * (1 - outer) + ring * outer) * (1 - far))
