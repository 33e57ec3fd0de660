"""Least squares of stars on pixels: several images at once, that share where companions lie from the first star.

Variable projection: fluxes and skies follow from the rest by linear least squares (Golub & Pereyra 1973, SIAM J.
Numer. Anal. 10, 413; Kaufman's variant), positions and PSFs by Levenberg–Marquardt steps. What belongs to one image
alone is eliminated from the normal equations image by image (Schur complement), so the cost grows with the images and
not with their cube. An image's parameters are, in order: offsets of companions (east, north, arcsec; shared), x and y
of the first star and of each neighbour, `moffat.render`'s theta, fluxes, sky.
"""

import numba
import numpy as np

from pipeline.stamps.moffat import render

__all__ = ["descend", "errors", "model", "normal_equations"]

_STEPS = 30

#: A descent ends where a step gains less of χ².
_GAIN = 3e-3


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _dot(a, b, w):  # type: ignore[no-untyped-def]
    """Return Σ a b w.

    Four sums at a time, as the processor adds; were that left to fastmath, the order of adding, and with it the last
    digits, would depend on whether a process has compiled what calls this or has read it from numba's cache.
    """
    first, second, third, fourth = 0.0, 0.0, 0.0, 0.0
    whole = len(a) - len(a) % 4
    for i in range(0, whole, 4):
        first += a[i] * b[i] * w[i]
        second += a[i + 1] * b[i + 1] * w[i + 1]
        third += a[i + 2] * b[i + 2] * w[i + 2]
        fourth += a[i + 3] * b[i + 3] * w[i + 3]
    for i in range(whole, len(a)):
        first += a[i] * b[i] * w[i]
    return (first + second) + (third + fourth)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _linear(stars, value, weight):  # type: ignore[no-untyped-def]
    """Return fluxes, none negative, and the sky that fit best."""
    count = len(stars)
    flat = np.ones(len(value))
    matrix, right = np.zeros((count + 1, count + 1)), np.zeros(count + 1)
    for k in range(count + 1):
        one = stars[k, 0] if k < count else flat
        right[k] = _dot(one, value, weight)
        for h in range(k + 1):
            matrix[k, h] = matrix[h, k] = _dot(one, stars[h, 0] if h < count else flat, weight)
    for k in range(count + 1):
        matrix[k, k] = matrix[k, k] * (1 + 1e-10) + 1e-30
    found = np.linalg.solve(matrix, right)
    for _ in range(count):
        worst = np.argmin(found[:count])
        if found[worst] >= 0:
            break
        matrix[worst, :] = 0.0
        matrix[:, worst] = 0.0
        matrix[worst, worst], right[worst] = 1.0, 0.0
        found = np.linalg.solve(matrix, right)
        found[worst] = 0.0
    return found


@numba.njit(cache=True, nogil=True, error_model="numpy")
def normal_equations(px, py, value, weight, place, theta, shared, scale, rest):  # type: ignore[no-untyped-def]
    """Return what one image says of its parameters.

    Parameters
    ----------
    px, py, value, weight : (n,) float64
        Pixels, counts, and one over their variances.
    place : (k, 2) float64
        x and y of the stars: the first, its companions, neighbours.
    theta : (4,) float64
        The PSF.
    shared : int
        Companions.
    scale : float
        Arcsec a pixel.
    rest : (3, m, m) float64
        Of the PSF, as in `moffat.render`.

    Returns
    -------
    chi2 : float
        Of the pixels.
    linear : (k + 1,) float64
        Fluxes and sky.
    normal, gradient : (p, p), (p,) float64
        By the parameters of the module's docstring.
    columns, left : (p, n), (n,) float64
        Derivatives and residuals.
    """
    count, n = len(place), len(px)
    stars = np.empty((count, 7, n))
    for k in range(count):
        render(theta, place[k, 0], place[k, 1], px, py, rest, stars[k])
    linear = _linear(stars, value, weight)
    own = 2 * shared
    first = own + 2 * (count - shared)
    columns = np.zeros((first + 4 + count + 1, n))
    left = value - linear[count]
    for k in range(count):
        flux = linear[k]
        left -= flux * stars[k, 0]
        at = own if k <= shared else own + 2 * (k - shared)
        columns[at] += flux * stars[k, 1]
        columns[at + 1] += flux * stars[k, 2]
        if 0 < k <= shared:
            columns[2 * k - 2] = -flux / scale * stars[k, 1]
            columns[2 * k - 1] = flux / scale * stars[k, 2]
        for t in range(4):
            columns[first + t] += flux * stars[k, 3 + t]
        columns[first + 4 + k] = stars[k, 0]
    columns[-1] = 1.0
    gradient = np.empty(len(columns))
    for k in range(len(columns)):
        gradient[k] = _dot(columns[k], left, weight)
    normal = (columns * weight) @ columns.T
    return _dot(left, left, weight), linear, normal, gradient, columns, left


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _held(normal, gradient, theta, mean, precision, first):  # type: ignore[no-untyped-def]
    """Add what was known of the PSF before to normal equations; return its χ²."""
    away = theta - mean
    pull = precision @ away
    gradient[first : first + 4] -= pull
    normal[first : first + 4, first : first + 4] += precision
    return away @ pull


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _look(pixels, starts, places, counts, thetas, means, precisions, offsets, scales, rests):  # type: ignore[no-untyped-def]
    """Return χ² and, padded, linear parameters, normal equations and gradients of all images."""
    images, shared = len(scales), len(offsets)
    size = 2 * shared + 3 * places.shape[1] + 7
    linears = np.zeros((images, places.shape[1] + 1))
    normals, gradients = np.zeros((images, size, size)), np.zeros((images, size))
    chi2 = 0.0
    for i in range(images):
        count, a, b = counts[i], starts[i], starts[i + 1]
        one, linear, normal, gradient, _, _ = normal_equations(
            pixels[0, a:b], pixels[1, a:b], pixels[2, a:b], pixels[3, a:b],
            places[i, :count], thetas[i], shared, scales[i], rests[i],
        )  # fmt: skip
        first = 2 * shared + 2 * (count - shared)
        chi2 += one + _held(normal, gradient, thetas[i], means[i], precisions[i], first)
        linears[i, :count], linears[i, -1] = linear[:count], linear[count]
        normals[i, : len(normal), : len(normal)] = normal
        gradients[i, : len(normal)] = gradient
    return chi2, linears, normals, gradients


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _step(normals, gradients, sizes, shared, damping):  # type: ignore[no-untyped-def]
    """Return the damped steps of what is shared and of what each image has."""
    images, own = len(normals), 2 * shared
    whole, right = np.zeros((own, own)), np.zeros(own)
    steps = np.zeros(gradients.shape)
    for i in range(images):
        for k in range(sizes[i]):
            normals[i, k, k] += normals[i, k, k] * damping + 1e-12
    for i in range(images):
        inner = np.ascontiguousarray(normals[i, own : sizes[i], own : sizes[i]])
        cross = np.ascontiguousarray(normals[i, own : sizes[i], :own])
        solved = np.linalg.solve(inner, cross)
        whole += normals[i, :own, :own] - np.ascontiguousarray(cross.T) @ solved
        right += gradients[i, :own] - np.ascontiguousarray(solved.T) @ gradients[i, own : sizes[i]]
    common = np.zeros(own)
    if own:
        for k in range(own):
            whole[k, k] += 1e-12
        common = np.linalg.solve(whole, right)
    for i in range(images):
        inner = np.ascontiguousarray(normals[i, own : sizes[i], own : sizes[i]])
        cross = np.ascontiguousarray(normals[i, own : sizes[i], :own])
        steps[i, own : sizes[i]] = np.linalg.solve(inner, gradients[i, own : sizes[i]] - cross @ common)
    return common, steps


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _moved(places, counts, thetas, offsets, scales, common, steps):  # type: ignore[no-untyped-def]
    """Return places, PSFs and offsets after a step, held within bounds."""
    places, thetas, offsets = places.copy(), thetas.copy(), offsets.copy()
    shared = len(offsets)
    most = 1e9
    for i in range(len(scales)):
        most = min(most, 0.5 * np.exp(thetas[i, 0]) * scales[i])
    for k in range(shared):
        for t in range(2):
            offsets[k, t] += min(max(common[2 * k + t], -most), most)
    for i in range(len(scales)):
        reach = 0.5 * np.exp(thetas[i, 0])
        at = 2 * shared
        for k in range(counts[i]):
            if 0 < k <= shared:
                continue
            for t in range(2):
                places[i, k, t] += min(max(steps[i, at + t], -reach), reach)
            at += 2
        for k in range(shared):
            places[i, k + 1, 0] = places[i, 0, 0] - offsets[k, 0] / scales[i]
            places[i, k + 1, 1] = places[i, 0, 1] + offsets[k, 1] / scales[i]
        thetas[i, 0] = min(max(thetas[i, 0] + min(max(steps[i, at], -0.3), 0.3), -0.7), 4.0)
        flat = np.hypot(thetas[i, 1] + steps[i, at + 1], thetas[i, 2] + steps[i, at + 2])
        for t in range(1, 3):
            thetas[i, t] = (thetas[i, t] + steps[i, at + t]) * min(1.0, 0.8 / max(flat, 1e-9))
        thetas[i, 3] = min(max(thetas[i, 3] + min(max(steps[i, at + 3], -0.4), 0.4), 0.2), 2.7)
    return places, thetas, offsets


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sizes(counts, shared):  # type: ignore[no-untyped-def]
    return 2 * shared + 2 * (counts - shared) + 4 + counts + 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def descend(pixels, starts, places, counts, thetas, means, precisions, offsets, scales, rests, steps=_STEPS):  # type: ignore[no-untyped-def]
    """Fit stars to images from a start.

    Parameters
    ----------
    pixels : (4, n) float64
        x, y, counts and one over their variances, image after image.
    starts : (i + 1,) int64
        Where each image begins.
    places : (i, k, 2) float64
        x and y of the stars; what is beyond `counts` is not looked at.
    counts : (i,) int64
        Stars in each image.
    thetas, means : (i, 4) float64
        PSF to start from, and what it is expected to be.
    precisions : (i, 4, 4) float64
        Inverse covariances of that.
    offsets : (s, 2) float64
        East and north of the companions from the first star, arcsec.
    scales : (i,) float64
        Arcsec a pixel.
    rests : (i, 3, m, m) float64
        Rest of the PSFs.
    steps : int
        At most.

    Returns
    -------
    chi2 : float
        Of pixels and PSFs' expectations.
    places, thetas, offsets : float64
        As fitted.
    linears : (i, k + 1) float64
        Fluxes, and last the sky.
    normals : (i, p, p) float64
        Normal equations there, padded.
    """
    places, thetas, offsets = _moved(
        places, counts, thetas, offsets, scales, np.zeros(2 * len(offsets)), np.zeros((len(scales), 99))
    )
    sizes = _sizes(counts, len(offsets))
    chi2, linears, normals, gradients = _look(
        pixels, starts, places, counts, thetas, means, precisions, offsets, scales, rests
    )
    damping, failed = 1e-3, 0
    for _ in range(steps):
        common, moves = _step(normals.copy(), gradients, sizes, len(offsets), damping)
        to, shapes, there = _moved(places, counts, thetas, offsets, scales, common, moves)
        after, lines, equations, slopes = _look(
            pixels, starts, to, counts, shapes, means, precisions, there, scales, rests
        )
        if after <= chi2:
            gain, failed = chi2 - after, 0
            places, thetas, offsets, chi2 = to, shapes, there, after
            linears, normals, gradients = lines, equations, slopes
            damping = max(damping / 8, 1e-7)
            if gain < _GAIN:
                break
        else:
            damping, failed = min(damping * 10, 1e8), failed + 1
            if failed > 6:
                break
    return chi2, places, thetas, offsets, linears, normals


@numba.njit(cache=True, nogil=True, error_model="numpy")
def errors(normals, counts, shared):  # type: ignore[no-untyped-def]
    """Return covariances: of what is shared, and of each image's own parameters, in their order, padded."""
    images, own = len(normals), 2 * shared
    sizes = _sizes(counts, shared)
    whole = np.zeros((own, own))
    inverses = np.zeros(normals.shape)
    for i in range(images):
        size = sizes[i] - own
        inner = np.ascontiguousarray(normals[i, own : sizes[i], own : sizes[i]])
        for k in range(size):
            inner[k, k] = inner[k, k] * (1 + 1e-9) + 1e-12
        inverse = np.linalg.inv(inner)
        inverses[i, :size, :size] = inverse
        cross = np.ascontiguousarray(normals[i, own : sizes[i], :own])
        whole += normals[i, :own, :own] - np.ascontiguousarray(cross.T) @ (inverse @ cross)
    for k in range(own):
        whole[k, k] = whole[k, k] * (1 + 1e-9) + 1e-12
    common = np.ascontiguousarray(np.linalg.inv(whole)) if own else whole
    for i in range(images):
        size = sizes[i] - own
        inverse = np.ascontiguousarray(inverses[i, :size, :size])
        along = inverse @ np.ascontiguousarray(normals[i, own : sizes[i], :own])
        inverses[i, :size, :size] = inverse + along @ common @ np.ascontiguousarray(along.T)
    return common, inverses


@numba.njit(cache=True, nogil=True, error_model="numpy")
def model(px, py, place, theta, linear, rest):  # type: ignore[no-untyped-def]
    """Return what stars put on pixels, sky apart."""
    total, star = np.zeros(len(px)), np.empty((7, len(px)))
    for k in range(len(place)):
        if linear[k] > 0:
            render(theta, place[k, 0], place[k, 1], px, py, rest, star)
            total += linear[k] * star[0]
    return total
