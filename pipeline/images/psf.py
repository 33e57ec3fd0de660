"""The point-spread function, measured on the image's own stars: a Moffat profile that varies over the field, and what is
left of the stars once it is taken away."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, spline_filter, zoom

from pipeline.images import moffat
from pipeline.images.align import b_spline, design
from pipeline.images.frame import Pixels

__all__ = ["Psf", "Stamps", "Stars", "measure", "place", "width"]

Array = NDArray[np.float64]

#: A polynomial of degree d over the field is tried with at least this many stars.
_STARS_FOR = {0: 1, 1: 12, 2: 30, 3: 120}


#: Between which radii, in units of the FWHM, what is left of the profile is smoothed, averaged in rings and dropped.
_ZONES = ((1.0, 2.0), (1.75, 2.5), (2.5, 3.5))


#: Of log(size) and ellipticity, by which derivatives are taken.
_STEP = 0.01


@dataclass(frozen=True, eq=False)
class Stamps:
    """Cutouts of stars.

    Parameters
    ----------
    x, y : (n,) int64
        Pixel of the image that is the middle of each stamp.
    data : (n, m, m) float64
        Counts above the sky.
    weight : (n, m, m) float64
        1 where a pixel shows this star and is good, else 0.
    background : (n,) float64
        Variance of the sky's pixels, counts².
    inverse_gain : float
        Counts per electron.
    shape : tuple of int
        Rows and columns of the image.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    data: Array
    weight: Array
    background: Array
    inverse_gain: float
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.x)

    def cut(self, half: int) -> tuple[Array, Array]:
        """Return data and weights of the inner 2·half + 1 pixels."""
        middle = self.data.shape[1] // 2
        inner = slice(middle - half, middle + half + 1)
        return np.ascontiguousarray(self.data[:, inner, inner]), np.ascontiguousarray(self.weight[:, inner, inner])


@dataclass(frozen=True, eq=False)
class Stars:
    """What a PSF makes of stars.

    Parameters
    ----------
    index : (n,) int64
        Which stamps they are.
    x, y : (n,) float64
        Where they are, px of the image.
    flux, flux_err : (n,) float64
        Counts.
    sky : (n,) float64
        What is left of it under the star, counts.
    chi2 : (n,) float64
        Reduced, of the core.
    """

    index: NDArray[np.int64]
    x: Array
    y: Array
    flux: Array
    flux_err: Array
    sky: Array
    chi2: Array

    def take(self, which: NDArray[Any]) -> "Stars":
        """Return some of them."""
        return Stars(*(value[which] for value in vars(self).values()))


@dataclass(frozen=True, eq=False)
class Psf:
    """A PSF over an image.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    half : int
        Stamps have 2·half + 1 pixels a side.
    beta : float
        Exponent of the profile; 0: there is no profile, the PSF is `rest` alone.
    order : int
        Degree of the polynomials over the field.
    terms : (3, k) float64
        Their coefficients for log(size), e1, e2.
    rest_order : int
        Degree of the polynomial over the field of `rest`.
    rest : (j, m, m) float32
        What is added to the profile of sum one, term by term.
    n_stars : int
        Stars it was measured on.
    """

    shape: tuple[int, int]
    half: int
    beta: float
    order: int
    terms: Array
    rest_order: int
    rest: Pixels
    n_stars: int

    @classmethod
    def given(cls, stamp: NDArray[Any], shape: tuple[int, int]) -> "Psf":
        """Return the PSF that somebody brought: one odd stamp, the same everywhere."""
        image = np.asarray(stamp, np.float32)
        return cls(shape, image.shape[0] // 2, 0.0, 0, np.zeros((3, 1)), 0, (image / image.sum())[None], 0)

    def at(self, x: float, y: float) -> Pixels:
        """Return the PSF at a place of the image, (m, m) float32, of sum one, centred on the middle pixel."""
        stamp = self.model(x, y)
        image: Pixels = (stamp / stamp.sum()).astype(np.float32)
        return image

    def fwhm(self, x: float, y: float) -> float:
        """Return the full width at half maximum, px: the diameter of the circle that has the area above half."""
        reach = min(self.half, 15)
        inner = slice(self.half - reach, self.half + reach + 1)
        core = self.at(x, y)[inner, inner].astype(float)
        fine = zoom(core, 10, order=3)
        step = (core.shape[0] - 1) / (fine.shape[0] - 1)
        return float(2 * step * np.sqrt((fine > 0.5 * fine.max()).sum() / np.pi))

    @property
    def variation(self) -> float:
        """Root mean square by which size and ellipticity vary over the field, relative."""
        u, v = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
        values = design(u, v, self.order) @ self.terms.T
        return float(np.sqrt((values.std(axis=(0, 1)) ** 2).sum()))

    @cached_property
    def _coefficients(self) -> Array:
        """B-spline coefficients of `rest`; they are linear in it, so they add as its terms do."""
        return np.stack([spline_filter(term.astype(float), 5, np.float64, "mirror") for term in self.rest])

    def parameters(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """Return norm, a, b, c of the profile, (n, 4), and the coefficients of the rest, (n, m, m), at n places."""
        ny, nx = self.shape
        u, v = 2 * (np.atleast_1d(x) + 0.5) / nx - 1, 2 * (np.atleast_1d(y) + 0.5) / ny - 1
        rest = np.tensordot(design(u, v, self.rest_order), self._coefficients, 1)
        if self.beta == 0:
            return np.tile([0.0, 1.0, 0.0, 1.0], (len(u), 1)), rest
        a, b, c = moffat.shape_of(*(self.terms @ design(u, v, self.order).T))
        return np.stack([(self.beta - 1) / np.pi * np.sqrt(a * c - b * b), a, b, c], -1), rest

    def model(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> Array:
        """Return the PSF at a place, (m, m) float64, of a star (dx, dy) px from the middle pixel; of sum nearly one."""
        out = np.empty((2 * self.half + 1,) * 2)
        shapes, rest = self.parameters(x, y)
        _model(shapes[0], rest[0], self.beta, dx, dy, out)
        return out

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(self).items()})

    @classmethod
    def from_json(cls, text: str) -> "Psf":
        """Return what `to_json` wrote."""
        raw = json.loads(text)
        raw["terms"], raw["rest"] = np.array(raw["terms"]), np.array(raw["rest"], np.float32)
        return cls(**(raw | {"shape": tuple(raw["shape"])}))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _model(shape, rest, beta, dx, dy, out):  # type: ignore[no-untyped-def]
    """Put profile and rest of a star at (dx, dy) into `out`, which may be smaller than the rest's stamp."""
    norm, a, b, c = shape
    m, wide = out.shape[0], rest.shape[0]
    half, outer = m // 2, wide // 2
    ix, iy = int(np.floor(-dx)), int(np.floor(-dy))
    wx, wy = np.empty(6), np.empty(6)
    b_spline(-dx - ix, wx)
    b_spline(-dy - iy, wy)
    for j in range(m):
        for i in range(m):
            value = 0.0
            for t in range(6):
                row = j - half + outer + iy + t - 2
                if 0 <= row < wide:
                    for s in range(6):
                        column = i - half + outer + ix + s - 2
                        if 0 <= column < wide:
                            value += wy[t] * wx[s] * rest[row, column]
            x, y = i - half - dx, j - half - dy
            if norm > 0:
                value += norm * np.exp(-beta * np.log(1 + a * x * x + 2 * b * x * y + c * y * y))
            out[j, i] = value


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


def width(stamps: Stamps, guess: float) -> float | None:
    """Return the FWHM of stars, px: the median of Moffat profiles fitted to the brighter ones.

    Parameters
    ----------
    stamps : Stamps
        Stars, and perhaps some that are none.
    guess : float
        FWHM, px.

    Returns
    -------
    float or None
        None if nothing fits.
    """
    if not len(stamps):
        return None
    reach = stamps.data.shape[1] // 2
    order = np.argsort(-stamps.data[:, reach, reach] / np.sqrt(stamps.background), kind="stable")[:40]
    fitted = moffat.fit(stamps.data[order], stamps.weight[order], stamps.background[order], stamps.inverse_gain, guess)
    usable = (fitted.amplitude > 0) & (fitted.snr > 5) & (np.hypot(fitted.x, fitted.y) < 2)
    sizes = np.exp(moffat.spread(fitted.a, fitted.b, fitted.c)[0]) * 2 * np.sqrt(2 ** (1 / fitted.beta) - 1)
    # Galaxies are wider than stars and never narrower: the lower third is a star's, even if half of them are none.
    return float(np.percentile(sizes[usable], 35)) if usable.any() else None


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
    best: tuple[float, int, Array] = (np.inf, 0, shapes.mean(axis=1)[:, None])
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


def place(psf: Psf, stamps: Stamps, index: NDArray[Any], centres: Array, fwhm: float) -> Stars:
    """Return positions and fluxes that a PSF gives stars: weighted least squares on the core.

    Parameters
    ----------
    psf : Psf
        The PSF.
    stamps : Stamps
        Stars.
    index : (n,) int64
        Which of them.
    centres : (n, 2) float64
        First guess of x and y, px from the middle of the stamp.
    fwhm : float
        Of the PSF, px; 1.5 of it on either side are looked at.
    """
    reach = min(stamps.data.shape[1] // 2, psf.half, max(4, round(1.5 * fwhm)))
    data, weight = stamps.cut(reach)
    x, y = stamps.x[index].astype(float), stamps.y[index].astype(float)
    shapes, rest = psf.parameters(x, y)
    out = np.zeros((len(index), 6))
    for k, star in enumerate(index):
        _settle(shapes[k], rest[k], psf.beta, data[star], weight[star], stamps.background[star], stamps.inverse_gain,
                fwhm, centres[k, 0], centres[k, 1], out[k])  # fmt: skip
    out[:, 0] += x
    out[:, 1] += y
    return Stars(np.asarray(index, np.int64), *out.T)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _total(shape, rest, beta):  # type: ignore[no-untyped-def]
    """Return the sum of a PSF's stamp."""
    whole = np.empty(rest.shape)
    _model(shape, rest, beta, 0.0, 0.0, whole)
    return whole.sum()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _settle(shape, rest, beta, data, weight, background, inverse_gain, fwhm, dx, dy, out):  # type: ignore[no-untyped-def]
    """Put dx, dy, flux, its error, sky and reduced χ² of one star into `out`."""
    m = data.shape[0]
    wide = np.empty((m + 2, m + 2))
    total = _total(shape, rest, beta)
    flux, sky, chi2, error = 0.0, 0.0, 0.0, np.inf
    terms = np.empty(4)
    for step in range(5):
        _model(shape, rest, beta, dx, dy, wide)
        wide /= total
        if step == 0:
            above, below = 0.0, 1e-30
            for j in range(m):
                for i in range(m):
                    above += weight[j, i] * wide[j + 1, i + 1] * data[j, i]
                    below += weight[j, i] * wide[j + 1, i + 1] ** 2
            flux = max(above / below, 1e-9)
        normal, right = np.zeros((4, 4)), np.zeros(4)
        chi2, count = 0.0, 0
        for j in range(m):
            for i in range(m):
                if weight[j, i] <= 0:
                    continue
                core = wide[j + 1, i + 1]
                model = flux * core
                # The PSF is known to some tenths of a per cent: without this the brightest pixels alone would count.
                w = weight[j, i] / (background + max(model, 0.0) * inverse_gain + (0.003 * model) ** 2)
                terms[0], terms[1] = core, 1.0
                terms[2] = -0.5 * flux * (wide[j + 1, i + 2] - wide[j + 1, i])
                terms[3] = -0.5 * flux * (wide[j + 2, i + 1] - wide[j, i + 1])
                left = data[j, i] - model - sky
                chi2 += w * left * left
                count += 1
                for k in range(4):
                    right[k] += w * terms[k] * left
                    for h in range(4):
                        normal[k, h] += w * terms[k] * terms[h]
        for k in range(4):
            normal[k, k] += 1e-12 * normal[k, k] + 1e-30
        inverse = np.linalg.inv(normal)
        error = np.sqrt(inverse[0, 0])
        chi2 /= max(count - 4, 1)
        if step == 4:
            break
        delta = inverse @ right
        flux, sky = max(flux + delta[0], 1e-9), sky + delta[1]
        dx = min(max(dx + delta[2], -fwhm), fwhm)
        dy = min(max(dy + delta[3], -fwhm), fwhm)
    out[0], out[1], out[2], out[3], out[4], out[5] = dx, dy, flux, error, sky, chi2


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
    none, shape, total = np.zeros((1, 1)), np.empty(4), 1.0
    for k in range(7):
        shape[1:] = shapes[k]
        shape[0] = (beta - 1) / np.pi * np.sqrt(shape[1] * shape[3] - shape[2] ** 2)
        if k == 0:
            total = _total(shape, rest, beta)
        _model(shape, rest if k == 0 else none, beta, dx, dy, wide[k])
    wide /= total
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
    """Return the PSF with what the stars leave of its profile put in: a clipped weighted mean, or plane over the field."""
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
        _model(shapes[i], nothing[i], psf.beta, dx, dy, model)
        above = data[k] - stars.flux[i] * model
        # The sky is that far out: under the core it cannot be told from the wings, and the sum would follow it.
        free = rim & (seen[k] > 0)
        sky = float(np.median(above[free])) if free.sum() > 20 else 0.0
        relative = np.where(seen[k] > 0, (above - sky) / stars.flux[i], 0.0)
        _model(none, spline_filter(relative, 5, np.float64, "mirror"), 0.0, -dx, -dy, left[i])
        light = stars.flux[i] * np.maximum(model, 0)
        variance = stamps.background[k] + light * stamps.inverse_gain + (0.003 * light) ** 2
        weight[i] = seen[k] * stars.flux[i] ** 2 / variance
    u, v = 2 * (stars.x + 0.5) / psf.shape[1] - 1, 2 * (stars.y + 0.5) / psf.shape[0] - 1
    order = 1 if n >= 60 else 0
    terms = design(u, v, order)
    for _ in range(3):
        rest = _regression(terms, left, weight)
        off = np.abs(left - np.tensordot(terms, rest, 1)) * np.sqrt(weight)
        weight[off > 5 * max(1.0, 1.4826 * float(np.median(off[::5])))] = 0.0
    rest = np.stack([_quiet(term, radius, fwhm) for term in rest])
    return Psf(psf.shape, psf.half, psf.beta, psf.order, psf.terms, order, rest.astype(np.float32), n)


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


def _quiet(rest: Array, radius: Array, fwhm: float) -> Array:
    """Return the rest with its noise outside the core averaged: smoothed first, then by rings, at last none.

    Far out the neighbours of the stars, and the sky, are wrong by more than the profile is.
    """
    smooth = gaussian_filter(rest, 1.0)
    rings = np.round(radius).astype(int)
    ring = (np.bincount(rings.ravel(), rest.ravel()) / np.maximum(np.bincount(rings.ravel()), 1))[rings]
    near, outer, far = (np.clip((radius / fwhm - low) / (high - low), 0, 1) for low, high in _ZONES)
    return np.asarray(((rest * (1 - near) + smooth * near) * (1 - outer) + ring * outer) * (1 - far))
