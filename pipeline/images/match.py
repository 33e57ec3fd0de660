"""A pair of images, matched: the way between them, their PSFs, how their counts compare, what noise is left."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import spline_filter
from scipy.spatial import cKDTree

from pipeline.images import align, psf
from pipeline.images.align import Coordinates, Warp
from pipeline.images.frame import UNUSABLE, Bit
from pipeline.images.psf import Psf, Stamps, Stars
from pipeline.images.register import correct, pair_up
from pipeline.images.view import Buffered, Image, Smoothed

__all__ = ["Match", "match"]


#: Stars below which everything bright is tried as one.
_FEW = 40

#: Light of others, relative to a star's own, that its wings may have.
_LITTLE = 0.003

#: By how much a source's FWHM may differ from that of most stars, relative, if it shall be tried as one.
_ALIKE = 0.3

#: FWHM below which a PSF is too narrow for its pixels, and the one that it is brought to, px.
UNDERSAMPLED, SAMPLED = 2.0, 2.5


@dataclass(frozen=True, eq=False)
class Match:
    """What is measured of a pair before it is subtracted.

    Parameters
    ----------
    order, correction : int, (2, n) float64
        Polynomial that corrects the WCSs, as in `Warp`.
    offset : (2,) float64
        How far the WCSs are off in the middle of the reference, x and y, reference px: what was corrected.
    rms, jitter : (2,) float64
        Residuals of the stars, and what of them is no error of measurement, reference px.
    overlap : float
        Share of the science image that the reference covers.
    science_psf, reference_psf : Psf
        After resampling, on the reference's pixels.
    flux_ratio, flux_ratio_err : float
        Reference counts of a source of one science count.
    science_noise, reference_noise : float
        Scatter of the sky, counts; the science image's on the reference's pixels.
    smoothing : float
        σ of the Gaussian that both images are convolved with first, px; 0: none is needed.
    n_stars : int
        Stars in both images that the registration is from.
    notes : tuple of str
        What one should know.
    """

    order: int
    correction: Coordinates
    offset: Coordinates
    rms: Coordinates
    jitter: Coordinates
    overlap: float
    science_psf: Psf
    reference_psf: Psf
    flux_ratio: float
    flux_ratio_err: float
    science_noise: float
    reference_noise: float
    smoothing: float
    n_stars: int
    notes: tuple[str, ...] = field(default=())

    def warp(self, science: Image, reference: Image) -> Warp:
        """Return the way from reference to science pixels."""
        return Warp(reference.wcs, science.wcs, reference.shape, self.order, self.correction)

    def seen(self, science: Image, reference: Image) -> tuple[Image, Image]:
        """Return the images as they are subtracted: smoothed, if need be."""
        if self.smoothing == 0:
            return science, reference
        scale = _scale(self.warp(science, reference))
        return Smoothed(science, self.smoothing * scale), Smoothed(reference, self.smoothing)

    def to_json(self) -> str:
        """Return it as text."""
        raw: dict[str, Any] = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}
        raw["science_psf"], raw["reference_psf"] = self.science_psf.to_json(), self.reference_psf.to_json()
        return json.dumps(raw)

    @classmethod
    def from_json(cls, text: str) -> "Match":
        """Return what `to_json` wrote."""
        raw = json.loads(text)
        for name in ("correction", "offset", "rms", "jitter"):
            raw[name] = np.array(raw[name])
        raw["science_psf"], raw["reference_psf"] = (
            Psf.from_json(raw["science_psf"]),
            Psf.from_json(raw["reference_psf"]),
        )
        return cls(**(raw | {"notes": tuple(raw["notes"])}))


def match(
    science: Image,
    reference: Image,
    science_sources: pd.DataFrame,
    reference_sources: pd.DataFrame,
    science_psf: NDArray[Any] | None = None,
    reference_psf: NDArray[Any] | None = None,
    reach: float = 15.0,
    max_stars: int = 250,
) -> Match:
    """Match a pair.

    Parameters
    ----------
    science, reference : Image
        The images.
    science_sources, reference_sources : DataFrame
        Their sources: x, y, flux, fwhm, snr, mask, is_star.
    science_psf, reference_psf : (m, m) array, optional
        PSFs that are known, instead of measured ones.
    reach : float
        How far the WCSs may be off, science px.
    max_stars : int
        Stars a PSF is measured on, at most.

    Returns
    -------
    Match
        All that subtraction needs.
    """
    warp = Warp(reference.wcs, science.wcs, reference.shape)
    a, b = _ranked(science_sources), _ranked(reference_sources)
    i, j, found = pair_up(warp, a[["x", "y"]].to_numpy()[:3000], b[["x", "y"]].to_numpy()[:3000], reach)
    stars = _choose(a.iloc[i], b.iloc[j], reference_sources, reference.shape, max_stars)
    science, reference = Buffered(science), Buffered(reference)
    fwhm_r = psf.width(_cut(reference, stars, b, 10), _fwhm(b)) or _fwhm(b)
    fwhm_n = psf.width(_cut_aligned(science, found, stars, b, 10), _fwhm(a) / _scale(found)) or _fwhm(a) / _scale(found)
    smoothing = 0.0
    if min(fwhm_r, fwhm_n) < UNDERSAMPLED:
        smoothing = float(np.sqrt(SAMPLED**2 - min(fwhm_r, fwhm_n) ** 2) / 2.3548)
        science = Buffered(Smoothed(science, smoothing * _scale(found)))
        reference = Buffered(Smoothed(reference, smoothing))
        fwhm_r, fwhm_n = (float(np.hypot(fwhm, 2.3548 * smoothing)) for fwhm in (fwhm_r, fwhm_n))
    half_r, half_n = _half(fwhm_r), _half(fwhm_n)
    stamps_r = stamps_n = _cut(reference, stars, b, half_r + 2)
    psf_r, on_r = psf.measure(stamps_r, fwhm_r, half_r)
    rms = jitter = np.zeros(2)
    psf_n, on_n, used = psf_r, on_r, 0
    for _ in range(2):
        stamps_n = _cut_aligned(science, found, stars, b, half_n + 2)
        psf_n, on_n = psf.measure(stamps_n, fwhm_n, half_n)
        both, p, q = np.intersect1d(on_n.index, on_r.index, return_indices=True)
        if not len(both):
            break
        places = np.stack([on_r.x[q], on_r.y[q]], -1)
        offset = np.stack([on_n.x[p] - places[:, 0], on_n.y[p] - places[:, 1]], -1)
        fit = correct(
            found, places, offset, np.hypot(_centroid_error(on_n, fwhm_n)[p], _centroid_error(on_r, fwhm_r)[q])
        )
        found, rms, jitter, used = fit.warp, fit.rms, fit.jitter, int(fit.used.sum())
        if fit.moved < 0.02:
            break
    if science_psf is not None:
        psf_n = Psf.given(_on_grid(science_psf, found), reference.shape)
        on_n = psf.place(psf_n, stamps_n, on_n.index, _centres(on_n, stamps_n), fwhm_n)
    if reference_psf is not None:
        psf_r = Psf.given(reference_psf, reference.shape)
        on_r = psf.place(psf_r, stamps_r, on_r.index, _centres(on_r, stamps_r), fwhm_r)
    ratio, ratio_err = _flux_ratio(on_n, on_r)
    middle = np.array([(reference.shape[1] - 1) / 2]), np.array([(reference.shape[0] - 1) / 2])
    moved = np.stack(found._shift(*middle), -1)[0]
    area = abs(float(np.linalg.det(found.jacobian(*middle)[0])))
    return Match(
        order=found.order,
        correction=found.correction,
        offset=np.linalg.solve(found.jacobian(*middle)[0], moved),
        rms=rms,
        jitter=jitter,
        overlap=_overlap(found, science.shape),
        science_psf=psf_n,
        reference_psf=psf_r,
        flux_ratio=ratio,
        flux_ratio_err=ratio_err,
        science_noise=science.sky_rms * area,
        reference_noise=reference.sky_rms,
        smoothing=smoothing,
        n_stars=used,
    )


def _ranked(sources: pd.DataFrame) -> pd.DataFrame:
    """Return sources that have a place, brightest first; one bad pixel among many does no harm."""
    harmed = sources["mask"] & int(Bit.SATURATED | Bit.EDGE | Bit.TRAIL)
    good = sources[(sources["snr"] > 8) & (harmed == 0)]
    return good.sort_values(["snr", "x", "y"], ascending=[False, True, True], kind="stable").reset_index(drop=True)


def _fwhm(sources: pd.DataFrame) -> float:
    """Return a first guess of the FWHM of stars, px."""
    bright = sources[sources["snr"] > 20]
    stars = bright[bright["is_star"]]
    if len(stars) >= 3:
        return float(stars["fwhm"].median())
    return float(np.clip(bright["fwhm"].quantile(0.3), 1.5, 10.0)) if len(bright) else 3.0


def _half(fwhm: float) -> int:
    """Return half of the side of a PSF's stamp: a Moffat profile of β = 3 has 99.7% of its light inside."""
    return int(np.clip(np.ceil(5.5 * fwhm), 10, 40))


def _scale(warp: Warp) -> float:
    middle = np.array([warp.shape[1] / 2]), np.array([warp.shape[0] / 2])
    return float(np.sqrt(abs(np.linalg.det(warp.jacobian(*middle)[0]))))


def _choose(a: pd.DataFrame, b: pd.DataFrame, sources: pd.DataFrame, shape: tuple[int, int], most: int) -> pd.DataFrame:
    """Return the stars, on the reference, that PSFs are measured on: the brightest, from all over the field.

    Where the tables know few stars everything bright is tried: what is none is found out by its shape.
    """
    bright = (a["snr"].to_numpy() > 15) & (b["snr"].to_numpy() > 15)
    star = bright.copy()
    # Not `is_star` alone: where the PSF varies its own limits are too narrow, and shapes are judged again with the PSF.
    for table in (a, b):
        width = table["fwhm"].to_numpy() / _fwhm(table)
        star &= table["is_star"].to_numpy() | (np.abs(width - 1) < _ALIKE)
    if star.sum() < _FEW:
        star = bright
    rank = np.minimum(a["snr"].to_numpy(), b["snr"].to_numpy())[star]
    chosen = b[star].assign(rank=rank)
    chosen = chosen[_alone(chosen, sources, max(_fwhm(a), _fwhm(b)))]
    cell = (chosen["x"] * 4 // shape[1]).astype(int) * 4 + (chosen["y"] * 4 // shape[0]).astype(int)
    chosen = chosen.assign(turn=chosen.groupby(cell)["rank"].rank(ascending=False, method="first"))
    chosen = chosen.sort_values(["turn", "rank"], ascending=[True, False]).head(most)
    return chosen.sort_values(["y", "x"]).reset_index(drop=True)


def _alone(stars: pd.DataFrame, sources: pd.DataFrame, fwhm: float) -> NDArray[np.bool_]:
    """Return which stars have least light of others on their wings: all that have little, or the better half."""
    places, flux = sources[["x", "y"]].to_numpy(float), sources["flux"].to_numpy(float)
    own, light = stars[["x", "y"]].to_numpy(float), stars["flux"].to_numpy(float)
    others = np.zeros(len(own))
    for k, near in enumerate(cKDTree(places).query_ball_point(own, 10 * fwhm) if len(own) else []):
        distance = np.hypot(*(places[near] - own[k]).T)
        # At two FWHM from the star, on the side of the neighbour, as a Moffat profile has it.
        wing = (1 + (np.maximum(distance - 2 * fwhm, 0.0) / (0.9 * fwhm)) ** 2) ** -3.0
        others[k] = float((np.maximum(flux[near], 0) * wing * (distance > 1.0)).sum()) / max(light[k], 1e-9)
    return np.asarray(others <= max(_LITTLE, float(np.median(others)) if len(others) else 0.0))


def _weights(stars: pd.DataFrame, sources: pd.DataFrame, half: int) -> Callable[[int, int, int], NDArray[np.float64]]:
    """Return a function that gives, for star k at (x, y), weights that leave its neighbours out."""
    places, own = sources[["x", "y"]].to_numpy(float), stars[["x", "y"]].to_numpy(float)
    flux, fwhm, light = (column.to_numpy(float) for column in (sources["flux"], sources["fwhm"], stars["flux"]))
    near = cKDTree(places).query_ball_point(own, 1.6 * half) if len(places) and len(own) else [[]] * len(own)
    grid = np.arange(-half, half + 1)

    def weights(k: int, x: int, y: int) -> NDArray[np.float64]:
        out = np.ones((2 * half + 1, 2 * half + 1))
        for other in near[k]:
            if np.hypot(*(places[other] - own[k])) < 1.0:
                continue
            brighter = max(0.0, np.log10(max(flux[other] / max(light[k], 1e-9), 1e-3)) + 1.5)
            dx, dy = grid - (places[other, 0] - x), grid - (places[other, 1] - y)
            out[dx**2 + dy[:, None] ** 2 < (fwhm[other] * (1.2 + 0.6 * brighter)) ** 2] = 0.0
        return out

    return weights


def _stamps(parts: list[tuple[int, int, Any, Any, float]], gain: float, shape: tuple[int, int]) -> Stamps:
    x, y = np.array([p[0] for p in parts], np.int64), np.array([p[1] for p in parts], np.int64)
    m = parts[0][2].shape[0] if parts else 1
    data = np.array([p[2] for p in parts], float).reshape(-1, m, m)
    weight = np.array([p[3] for p in parts], float).reshape(-1, m, m)
    return Stamps(x, y, data, weight, np.array([p[4] for p in parts]), 1 / gain, shape)


def _border(data: NDArray[Any], good: NDArray[Any]) -> float:
    """Return the local sky of a stamp, by its outer pixels."""
    rim = _rim(data.shape[0]) & (good > 0)
    return float(np.median(data[rim])) if rim.sum() > 10 else float(np.median(data))


@cache
def _rim(m: int) -> NDArray[np.bool_]:
    grid = np.arange(m) - m // 2
    return np.asarray(np.hypot(*np.meshgrid(grid, grid)) > 0.8 * (m // 2))


def _cut(image: Image, stars: pd.DataFrame, sources: pd.DataFrame, half: int) -> Stamps:
    weights, parts = _weights(stars, sources, half), []
    ny, nx = image.shape
    for k, (x, y) in enumerate(zip(stars["x"].round().astype(int), stars["y"].round().astype(int), strict=True)):
        if not (half <= x < nx - half and half <= y < ny - half):
            parts.append(_nothing(x, y, half))
            continue
        frame = image.read(y - half, y + half + 1, x - half, x + half + 1)
        good = weights(k, x, y) * (frame.mask & int(UNUSABLE) == 0)
        parts.append((x, y, frame.data - _border(frame.data, good), good, image.sky_rms**2))
    return _stamps(parts, image.facts.gain, image.shape)


def _nothing(x: int, y: int, half: int) -> tuple[int, int, Any, Any, float]:
    empty = np.zeros((2 * half + 1, 2 * half + 1))
    return x, y, empty, empty, 1.0


def _cut_aligned(image: Image, warp: Warp, stars: pd.DataFrame, sources: pd.DataFrame, half: int) -> Stamps:
    """Return stamps of the science image on the reference's pixels: over a stamp the way is a plane."""
    weights, parts = _weights(stars, sources, half), []
    x, y = stars["x"].round().to_numpy(), stars["y"].round().to_numpy()
    if not len(stars):
        return _stamps([], image.facts.gain, warp.shape)
    xs, ys = warp(x, y)
    jacobians = warp.jacobian(x, y)
    ny, nx = image.shape
    grid = np.arange(-half, half + 1, dtype=float)
    gx, gy = np.meshgrid(grid, grid)
    for k in range(len(stars)):
        area = abs(float(np.linalg.det(jacobians[k])))
        wide = int(np.ceil(half * np.abs(jacobians[k]).sum(axis=1).max())) + 8
        if not (np.isfinite(xs[k]) and wide <= xs[k] < nx - wide and wide <= ys[k] < ny - wide):
            parts.append(_nothing(int(x[k]), int(y[k]), half))
            continue
        left, top = int(xs[k]) - wide, int(ys[k]) - wide
        frame = image.read(top, top + 2 * wide + 1, left, left + 2 * wide + 1)
        sx = xs[k] - left + jacobians[k, 0, 0] * gx + jacobians[k, 0, 1] * gy
        sy = ys[k] - top + jacobians[k, 1, 0] * gx + jacobians[k, 1, 1] * gy
        data, variance = np.empty(gx.shape, np.float32), np.empty(gx.shape, np.float32)
        mask = np.empty(gx.shape, np.uint16)
        coefficients = spline_filter(frame.data, align.DEGREE, np.float32, "mirror")
        align.sample(coefficients, frame.variance, frame.mask, sx, sy, data, variance, mask)
        good = weights(k, int(x[k]), int(y[k])) * (mask & int(UNUSABLE) == 0)
        data *= np.float32(area)
        parts.append((int(x[k]), int(y[k]), data - _border(data, good), good, (image.sky_rms * area) ** 2))
    gain = image.facts.gain / max(_scale(warp) ** 2, 1e-6)
    return _stamps(parts, gain, warp.shape)


def _centroid_error(stars: Stars, fwhm: float) -> NDArray[np.float64]:
    """Return the error of positions, px in each coordinate: σ of the PSF over S/N, and what a PSF's own error adds."""
    return np.asarray(np.hypot(0.6 * fwhm * stars.flux_err / np.maximum(stars.flux, 1e-9), 0.002))


def _centres(stars: Stars, stamps: Stamps) -> NDArray[np.float64]:
    return np.stack([stars.x - stamps.x[stars.index], stars.y - stamps.y[stars.index]], -1)


def _flux_ratio(science: Stars, reference: Stars) -> tuple[float, float]:
    """Return reference over science counts of the same stars: weighted mean in the logarithm, clipped."""
    _, p, q = np.intersect1d(science.index, reference.index, return_indices=True)
    ratio = reference.flux[q] / np.maximum(science.flux[p], 1e-9)
    good = (ratio > 0) & (science.flux[p] > 0)
    if not good.any():
        return 1.0, np.inf
    log = np.log(ratio[good])
    error = np.hypot(reference.flux_err[q] / reference.flux[q], science.flux_err[p] / science.flux[p])[good]
    error = np.hypot(error, 0.003)
    keep, mean = np.ones(len(log), bool), float(np.median(log))
    for _ in range(5):
        weight = keep / error**2
        mean = float((weight * log).sum() / weight.sum())
        off = np.abs(log - mean) / error
        keep = off < 4 * max(1.0, 1.4826 * float(np.median(off)))
    return float(np.exp(mean)), float(np.exp(mean) / np.sqrt((keep / error**2).sum()))


def _on_grid(stamp: NDArray[Any], warp: Warp) -> NDArray[np.float32]:
    """Return a PSF of the science image on the reference's pixels."""
    image = np.asarray(stamp, np.float32)
    middle = np.array([warp.shape[1] / 2]), np.array([warp.shape[0] / 2])
    jacobian = warp.jacobian(*middle)[0]
    half = image.shape[0] // 2
    if np.abs(jacobian - np.eye(2)).max() * half < 1e-3:
        return image
    grid = np.arange(-half, half + 1, dtype=float)
    gx, gy = np.meshgrid(grid, grid)
    sx, sy = half + jacobian[0, 0] * gx + jacobian[0, 1] * gy, half + jacobian[1, 0] * gx + jacobian[1, 1] * gy
    out, variance = np.empty_like(image), np.empty_like(image)
    mask = np.empty(image.shape, np.uint16)
    none = np.zeros(image.shape, np.uint16)
    align.sample(spline_filter(image, align.DEGREE, np.float32, "mirror"), image, none, sx, sy, out, variance, mask)
    return out


def _overlap(warp: Warp, shape: tuple[int, int]) -> float:
    """Return the share of the science image that the reference covers, from a grid on the reference."""
    ny, nx = warp.shape
    x, y = np.meshgrid(np.linspace(0, nx - 1, 64), np.linspace(0, ny - 1, 64))
    xs, ys = warp(x, y)
    covered = np.mean((xs > -0.5) & (xs < shape[1] - 0.5) & (ys > -0.5) & (ys < shape[0] - 0.5))
    return float(min(1.0, covered * ny * nx * _scale(warp) ** 2 / (shape[0] * shape[1])))
