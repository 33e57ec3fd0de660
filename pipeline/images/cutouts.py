"""Stars for PSFs: which ones, and their stamps from both images on the reference's pixels."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import spline_filter
from scipy.spatial import cKDTree

from pipeline.images import align
from pipeline.images.align import Warp
from pipeline.images.frame import UNUSABLE
from pipeline.images.stars import Stamps
from pipeline.images.view import Image

__all__ = ["choose", "cut", "cut_aligned", "first_fwhm", "middle", "scale"]

#: Stars below which everything bright is tried as one.
_FEW = 40

#: By how much a source's FWHM may differ from that of most stars, relative, if it shall be tried as one.
_ALIKE = 0.3

#: Light of others, relative to a star's own, that its wings may have.
_LITTLE = 0.003


def first_fwhm(sources: pd.DataFrame) -> float:
    """Return a first guess of the FWHM of stars, px."""
    bright = sources[sources["snr"] > 20]
    stars = bright[bright["is_star"]]
    if len(stars) >= 3:
        return float(stars["fwhm"].median())
    return float(np.clip(bright["fwhm"].quantile(0.3), 1.5, 10.0)) if len(bright) else 3.0


def middle(warp: Warp) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the place of the reference, x and y, nearest to its middle from which there is a way to the science."""
    ny, nx = warp.shape
    x, y = (v.ravel() for v in np.meshgrid(np.linspace(0, nx - 1, 9), np.linspace(0, ny - 1, 9)))
    away = np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2) + np.where(np.isfinite(warp(x, y)[0]), 0.0, np.inf)
    best = int(np.argmin(away))
    return x[best : best + 1], y[best : best + 1]


def scale(warp: Warp) -> float:
    """Return science pixels a reference pixel, in length, in the middle of the field; 1 if there is no way."""
    size = float(np.sqrt(abs(np.linalg.det(warp.jacobian(*middle(warp))[0]))))
    return size if np.isfinite(size) and size > 0 else 1.0


def choose(a: pd.DataFrame, b: pd.DataFrame, sources: pd.DataFrame, shape: tuple[int, int], most: int) -> pd.DataFrame:
    """Return the stars, on the reference, that PSFs are measured on: the brightest, from all over the field.

    Where the tables know few stars everything bright is tried: what is none is found out by its shape.
    """
    bright = (a["snr"].to_numpy() > 15) & (b["snr"].to_numpy() > 15)
    star = bright.copy()
    # Not `is_star` alone: where the PSF varies its own limits are too narrow, and shapes are judged again with the PSF.
    for table in (a, b):
        width = table["fwhm"].to_numpy() / first_fwhm(table)
        star &= table["is_star"].to_numpy() | (np.abs(width - 1) < _ALIKE)
    if star.sum() < _FEW:
        star = bright
    rank = np.minimum(a["snr"].to_numpy(), b["snr"].to_numpy())[star]
    chosen = b[star].assign(rank=rank)
    chosen = chosen[_alone(chosen, sources, max(first_fwhm(a), first_fwhm(b)))]
    cell = (chosen["x"] * 4 // shape[1]).astype(int) * 4 + (chosen["y"] * 4 // shape[0]).astype(int)
    chosen = chosen.assign(turn=chosen.groupby(cell)["rank"].rank(ascending=False, method="first"))
    chosen = chosen.sort_values(["turn", "rank"], ascending=[True, False]).head(most)
    return chosen.sort_values(["y", "x"]).reset_index(drop=True)


def _alone(stars: pd.DataFrame, sources: pd.DataFrame, fwhm: float) -> NDArray[np.bool_]:
    """Return which stars have least light of others on their wings: all that have little, or the better two thirds."""
    places, flux = sources[["x", "y"]].to_numpy(float), sources["flux"].to_numpy(float)
    own, light = stars[["x", "y"]].to_numpy(float), stars["flux"].to_numpy(float)
    others = np.zeros(len(own))
    for k, near in enumerate(cKDTree(places).query_ball_point(own, 10 * fwhm) if len(own) else []):
        distance = np.hypot(*(places[near] - own[k]).T)
        # At two FWHM from the star, on the side of the neighbour, as a Moffat profile has it.
        wing = (1 + (np.maximum(distance - 2 * fwhm, 0.0) / (0.9 * fwhm)) ** 2) ** -3.0
        others[k] = float((np.maximum(flux[near], 0) * wing * (distance > 1.0)).sum()) / max(light[k], 1e-9)
    return np.asarray(others <= max(_LITTLE, float(np.percentile(others, 70)) if len(others) else 0.0))


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


def cut(image: Image, stars: pd.DataFrame, sources: pd.DataFrame, half: int) -> Stamps:
    """Return stamps of stars from the reference, their neighbours among `sources` left out; 2·half + 1 px a side."""
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


def cut_aligned(image: Image, warp: Warp, stars: pd.DataFrame, sources: pd.DataFrame, half: int) -> Stamps:
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
        parts.append((int(x[k]), int(y[k]), data - _border(data, good), good, image.sky_rms**2 * area * max(area, 1.0)))
    gain = image.facts.gain / max(scale(warp) ** 2, 1e-6)
    return _stamps(parts, gain, warp.shape)
