"""The point-spread function, measured on the image's own stars: a Moffat profile that varies over the field, and what is
left of the stars once it is taken away."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from pipeline.images import moffat
from pipeline.images.align import design
from pipeline.images.frame import Pixels

__all__ = ["Psf", "Stars", "Stamps", "measure"]

Array = NDArray[np.float64]

#: A polynomial of degree d over the field is tried with this many stars.
_STARS_FOR = {1: 12, 2: 30, 3: 120}


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

    def take(self, which: NDArray[Any]) -> "Stamps":
        """Return some of them."""
        parts = (self.x, self.y, self.data, self.weight, self.background)
        return Stamps(*(part[which] for part in parts), self.inverse_gain, self.shape)  # type: ignore[arg-type]


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
    chi2 : (n,) float64
        Reduced, of the core.
    """

    index: NDArray[np.int64]
    x: Array
    y: Array
    flux: Array
    flux_err: Array
    chi2: Array


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
        stamp = self._core(x, y, 0.0, 0.0)
        image: Pixels = (stamp / stamp.sum()).astype(np.float32)
        return image

    def fwhm(self, x: float, y: float) -> float:
        """Return the full width at half maximum, px: that of the circle of the same area."""
        stamp = self.at(x, y).astype(float)
        fine = shift_stamp(stamp, 0.0, 0.0)
        # The area over half the maximum, the pixels on its edge counted in part.
        peak = fine.max()
        return float(2 * np.sqrt(_area_above(fine, 0.5 * peak) / np.pi))

    @property
    def variation(self) -> float:
        """Root mean square by which the size varies over the field, relative."""
        if self.beta == 0:
            return 0.0
        u, v = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
        values = design(u, v, self.order) @ self.terms.T
        return float(np.sqrt((values.std(axis=(0, 1)) ** 2).sum()))

    def _core(self, x: float, y: float, dx: float, dy: float) -> Array:
        """Return profile and rest of a star that is (dx, dy) from the middle pixel."""
        ny, nx = self.shape
        u, v = np.asarray(2 * (x + 0.5) / nx - 1), np.asarray(2 * (y + 0.5) / ny - 1)
        rest = np.tensordot(design(u, v, self.rest_order), self.rest, 1)
        if dx or dy:
            rest = shift_stamp(rest, dx, dy)
        if self.beta == 0:
            return np.asarray(rest)
        log_size, e1, e2 = self.terms @ design(u, v, self.order)
        a, b, c = moffat.shape_of(log_size, e1, e2)
        grid = np.arange(-self.half, self.half + 1, dtype=float)
        gx, gy = np.meshgrid(grid - dx, grid - dy)
        norm = (self.beta - 1) / np.pi * np.sqrt(a * c - b * b)
        return np.asarray(norm * moffat.profile(gx, gy, a, b, c, np.asarray(self.beta)) + rest)

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(self).items()})

    @classmethod
    def from_json(cls, text: str) -> "Psf":
        """Return what `to_json` wrote."""
        raw = json.loads(text)
        raw["terms"], raw["rest"] = np.array(raw["terms"]), np.array(raw["rest"], np.float32)
        return cls(**(raw | {"shape": tuple(raw["shape"])}))


def shift_stamp(stamp: Array, dx: float, dy: float) -> Array:
    """Return a stamp whose content is moved by (dx, dy) px."""
    return np.asarray(shift(stamp, (dy, dx), order=5, mode="constant", prefilter=True)) if dx or dy else stamp


def _area_above(stamp: Array, level: float) -> float:
    """Return the area, px, over which a stamp, interpolated tenfold, is above a level."""
    half = stamp.shape[0] // 2
    core = stamp[max(0, half - 15) : half + 16, max(0, half - 15) : half + 16]
    from scipy.ndimage import zoom

    fine = zoom(core, 8, order=3, grid_mode=False)
    step = (core.shape[0] - 1) / (fine.shape[0] - 1)
    return float((fine > level * 1.0).sum() * step**2)


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
    if len(stamps) < 3:
        size = np.log(fwhm / (2 * np.sqrt(2 ** (1 / 3) - 1)))
        terms = np.array([[size], [0.0], [0.0]])
        rest = np.zeros((1, 2 * half + 1, 2 * half + 1), np.float32)
        psf = Psf(stamps.shape, half, 3.0, 0, terms, 0, rest, 0)
        return psf, _fit_stars(psf, stamps, np.arange(len(stamps)), fwhm)
    psf, keep, centres = _profile(stamps, fwhm, half)
    psf, stars = _with_rest(psf, stamps, keep, centres, fwhm)
    return psf, stars


def _profile(stamps: Stamps, fwhm: float, half: int) -> tuple[Psf, NDArray[np.int64], Array]:
    """Return the PSF without `rest`, the stars it holds for and their centres."""
    middle = stamps.data.shape[1] // 2
    reach = min(middle, max(6, round(3.0 * fwhm)))
    inner = slice(middle - reach, middle + reach + 1)
    data, weight = stamps.data[:, inner, inner], stamps.weight[:, inner, inner]
    peak = np.sort(-data[:, reach, reach] / np.sqrt(stamps.background + 1e-30))
    bright = np.argsort(-data[:, reach, reach] / np.sqrt(stamps.background), kind="stable")[: min(40, len(stamps))]
    del peak
    first = moffat.fit(data[bright], weight[bright], stamps.background[bright], stamps.inverse_gain, fwhm)
    usable = (first.amplitude > 0) & (first.beta > 1.3) & (first.beta < 11.5)
    size = moffat.spread(first.a, first.b, first.c)[0]
    usable &= _inliers(size - 0.5 * np.log(first.beta), usable, 3.0, 0.05)
    beta = float(np.median(first.beta[usable])) if usable.any() else 3.0
    each = moffat.fit(data, weight, stamps.background, stamps.inverse_gain, fwhm, beta)
    shapes = np.stack(moffat.spread(each.a, each.b, each.c))
    u, v = _normalised(stamps)
    good = (each.amplitude > 0) & (each.snr > 5) & (np.hypot(each.x, each.y) < 0.6 * fwhm + 1)
    error = np.hypot(0.02, 2.0 / np.maximum(each.snr, 1))
    for _ in range(4):
        order, terms = _over_field(u[good], v[good], shapes[:, good], error[good])
        off = (shapes - terms @ design(u, v, order).T) / error
        worst = np.abs(off).max(axis=0)
        limit = max(3.0, 3.5 * 1.4826 * float(np.median(np.abs(off[:, good]))))
        new = (each.amplitude > 0) & (each.snr > 5) & (worst < limit)
        if new.sum() < 3 or (new == good).all():
            break
        good = new
    zero = np.zeros((1, 2 * half + 1, 2 * half + 1), np.float32)
    psf = Psf(stamps.shape, half, beta, order, terms, 0, zero, int(good.sum()))
    return psf, np.flatnonzero(good), np.stack([each.x, each.y])


def _inliers(values: Array, among: NDArray[np.bool_], sigmas: float, floor: float) -> NDArray[np.bool_]:
    if not among.any():
        return among
    middle = np.median(values[among])
    spread = max(1.4826 * float(np.median(np.abs(values[among] - middle))), floor)
    return np.asarray(np.abs(values - middle) < sigmas * spread)


def _normalised(stamps: Stamps) -> tuple[Array, Array]:
    ny, nx = stamps.shape
    return 2 * (stamps.x + 0.5) / nx - 1, 2 * (stamps.y + 0.5) / ny - 1


def _over_field(u: Array, v: Array, shapes: Array, error: Array) -> tuple[int, Array]:
    """Return degree and coefficients of the polynomial that describes shapes best, by the Bayesian criterion."""
    best: tuple[float, int, Array] | None = None
    for order in range(4):
        if order and len(u) < _STARS_FOR[order]:
            break
        matrix = design(u, v, order) / error[:, None]
        terms, *_ = np.linalg.lstsq(matrix, (shapes / error).T, rcond=None)
        rest = (shapes / error).T - matrix @ terms
        scale = max(1.0, float(np.median(np.abs(rest)) * 1.4826)) if order == 0 and best is None else 1.0
        del scale
        score = float(np.minimum(rest**2, 25).sum()) + 3 * matrix.shape[1] * np.log(len(u))
        if best is None or score < best[0]:
            best = score, order, terms.T
    assert best is not None
    return best[1], best[2]


def _fit_stars(psf: Psf, stamps: Stamps, index: NDArray[np.int64], fwhm: float, centres: Array | None = None) -> Stars:
    """Return positions and fluxes by the PSF: weighted least squares on the core, three steps from the first centres."""
    n, middle = len(index), stamps.data.shape[1] // 2
    out = np.zeros((5, n))
    reach = min(middle, psf.half, max(4, round(1.5 * fwhm)))
    cut = slice(middle - reach, middle + reach + 1)
    own = slice(psf.half - reach, psf.half + reach + 1)
    for i, k in enumerate(index):
        dx, dy = (0.0, 0.0) if centres is None else (float(centres[0, k]), float(centres[1, k]))
        data, weight = stamps.data[k, cut, cut], stamps.weight[k, cut, cut]
        total = float(psf._core(float(stamps.x[k]), float(stamps.y[k]), 0.0, 0.0).sum())
        for _ in range(3):
            core = psf._core(float(stamps.x[k]), float(stamps.y[k]), dx, dy)[own, own] / total
            gy, gx = np.gradient(core)
            flux = max(float((weight * core * data).sum() / max((weight * core * core).sum(), 1e-12)), 1e-9)
            w = weight / (stamps.background[k] + flux * core.clip(0) * stamps.inverse_gain + (0.003 * flux * core) ** 2)
            jacobian = np.stack([core, -flux * gx, -flux * gy, np.ones_like(core)]).reshape(4, -1)
            weighted = jacobian * w.ravel()
            normal = weighted @ jacobian.T + 1e-12 * np.eye(4)
            step = np.linalg.solve(normal, weighted @ (data - flux * core).ravel())
            flux += step[0]
            dx, dy = np.clip([dx + step[1], dy + step[2]], -fwhm, fwhm)
        rest = (data - flux * core - step[3]).ravel()
        chi2 = float((w.ravel() * rest**2).sum() / max((weight > 0).sum() - 4, 1))
        error = float(np.sqrt(np.linalg.inv(normal)[0, 0]))
        out[:, i] = stamps.x[k] + dx, stamps.y[k] + dy, flux, error, chi2
    return Stars(index, *out)


def _with_rest(
    psf: Psf, stamps: Stamps, keep: NDArray[np.int64], centres: Array, fwhm: float
) -> tuple[Psf, Stars]:
    """Add to a profile what it leaves of the stars, twice: the second time with the fluxes of the first PSF."""
    stars = _fit_stars(psf, stamps, keep, fwhm, centres)
    for _ in range(2):
        psf = _rest(psf, stamps, stars, fwhm)
        stars = _fit_stars(psf, stamps, keep, fwhm, np.stack(_offsets(stars, stamps, len(centres[0]))))
        good = (stars.flux > 0) & (stars.chi2 < max(3.0, 4 * float(np.median(stars.chi2))))
        if good.sum() >= 3:
            keep = keep[good]
            stars = Stars(*(getattr(stars, name)[good] for name in ("index", "x", "y", "flux", "flux_err", "chi2")))
    return psf, stars


def _offsets(stars: Stars, stamps: Stamps, n: int) -> tuple[Array, Array]:
    dx, dy = np.zeros(n), np.zeros(n)
    dx[stars.index], dy[stars.index] = stars.x - stamps.x[stars.index], stars.y - stamps.y[stars.index]
    return dx, dy


def _rest(psf: Psf, stamps: Stamps, stars: Stars, fwhm: float) -> Psf:
    """Return the PSF with what the stars leave of its profile put in: clipped weighted mean or plane over the field."""
    bare = Psf(psf.shape, psf.half, psf.beta, psf.order, psf.terms, 0, np.zeros_like(psf.rest[:1]), psf.n_stars)
    middle, m = stamps.data.shape[1] // 2, 2 * psf.half + 1
    cut = slice(middle - psf.half, middle + psf.half + 1)
    n = len(stars.index)
    left, weight = np.zeros((n, m, m)), np.zeros((n, m, m))
    grid = np.arange(-psf.half, psf.half + 1)
    radius = np.hypot(*np.meshgrid(grid, grid))
    border = radius > min(psf.half - 1.0, 4.0 * fwhm)
    for i, k in enumerate(stars.index):
        dx, dy = stars.x[i] - stamps.x[k], stars.y[i] - stamps.y[k]
        model = bare._core(stars.x[i], stars.y[i], dx, dy)
        data, good = stamps.data[k, cut, cut], stamps.weight[k, cut, cut]
        rim = border & (good > 0)
        sky = float(np.median((data - stars.flux[i] * model)[rim])) if rim.sum() > 20 else 0.0
        relative = (data - sky) / stars.flux[i] - model
        left[i] = shift_stamp(np.where(good > 0, relative, 0.0), -dx, -dy)
        variance = stamps.background[k] + stars.flux[i] * model * stamps.inverse_gain + (0.01 * stars.flux[i] * model) ** 2
        weight[i] = shift_stamp(good, -round(dx), -round(dy)) * stars.flux[i] ** 2 / variance
    u, v = 2 * (stars.x + 0.5) / psf.shape[1] - 1, 2 * (stars.y + 0.5) / psf.shape[0] - 1
    order = 1 if n >= 60 else 0
    terms = design(u, v, order)
    for _ in range(3):
        rest = _regression(terms, left, weight)
        off = np.abs(left - np.tensordot(terms, rest, 1)) * np.sqrt(weight)
        weight = np.where(off > 5 * max(1.0, 1.4826 * float(np.median(off[weight > 0]))), 0.0, weight)
    for j in range(len(rest)):
        rest[j] = _quiet(rest[j], radius, 2.0 * fwhm)
    return Psf(psf.shape, psf.half, psf.beta, psf.order, psf.terms, order, rest.astype(np.float32), n)


def _regression(terms: Array, left: Array, weight: Array) -> Array:
    """Return the coefficients (k, m, m) of the weighted linear regression in every pixel."""
    n, k = terms.shape
    m = left.shape[1]
    w = weight.reshape(n, -1)
    normal = np.einsum("ni,nj,np->pij", terms, terms, w)
    right = np.einsum("ni,np->pi", terms, w * left.reshape(n, -1))
    normal += (1e-6 * np.einsum("pii->p", normal) + 1e-20)[:, None, None] * np.eye(k)
    return np.asarray(np.linalg.solve(normal, right[..., None])[..., 0].T.reshape(k, m, m))


def _quiet(rest: Array, radius: Array, core: float) -> Array:
    """Return the rest with its noise outside the core averaged: smoothed first, then by rings."""
    smooth = gaussian_filter(rest, 1.0)
    rings = np.round(radius).astype(int)
    count = np.bincount(rings.ravel())
    mean = np.bincount(rings.ravel(), rest.ravel()) / np.maximum(count, 1)
    ring = mean[rings]
    outer = np.clip((radius - core) / max(core, 1.0), 0, 1)
    near = np.clip(radius / max(core, 1.0) - 0.5, 0, 1)
    inner = rest * (1 - near) + smooth * near
    out = inner * (1 - outer) + ring * outer
    out[radius > rest.shape[0] // 2] = 0.0
    return np.asarray(out)
