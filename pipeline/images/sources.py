"""Sources of an image: where, how bright, how wide, and which are stars."""

import re
from typing import Any

import numpy as np
import pandas as pd
import sep
from numpy.typing import NDArray

from pipeline.images.frame import Bit, Frame, Pixels

__all__ = ["COLUMNS", "classify", "detect", "moffat_widths", "width_of_stars"]

COLUMNS = (
    "x", "y", "flux", "flux_err", "peak", "fwhm", "ellipticity", "theta", "snr", "mask", "is_star",
)  # fmt: skip

_KERNEL = np.outer([1, 2, 1], [1, 2, 1]) / 16.0
_MIN_STARS, _FITTED = 3, 40
#: S/N of the sources that tell the width of stars, if there are so many of them.
_ENOUGH = ((30, 8), (12, 20), (7, _MIN_STARS))
_BOX = 3.0  # half side of the box a profile is fitted in, half-light diameters
_APERTURE = 2.0  # radius, half-light diameters


def detect(frame: Frame, level: Pixels, rms: Pixels, threshold: float = 5.0) -> pd.DataFrame:
    """Return the sources of an image or a part of one.

    Parameters
    ----------
    frame : Frame
        Image.
    level, rms : (ny, nx) float32
        Sky level and noise.
    threshold : float
        Peak over noise, after smoothing.

    Returns
    -------
    pandas.DataFrame
        Columns of `COLUMNS`, by y. `fwhm` is twice the half-light radius until `classify` has seen all of the image,
        `is_star` false.
    """
    data = np.ascontiguousarray(frame.data - level)
    noise = np.ascontiguousarray(rms)
    bad = (frame.mask & np.uint16(Bit.BAD | Bit.EDGE)) != 0
    found = _extracted(data, noise, bad, threshold)
    if not len(found):
        return pd.DataFrame({name: [] for name in COLUMNS}).astype(_TYPES)
    x, y = found["x"], found["y"]
    reach = np.clip(6 * found["a"], 5, 40)
    half, _ = sep.flux_radius(data, x, y, reach, 0.5, mask=bad, subpix=5)
    half = np.where(np.isfinite(half) & (half > 0.3), half, 0.3)
    x, y, _ = sep.winpos(data, x, y, half * 2 / 2.35, mask=bad)
    flux, flux_err, _ = sep.sum_circle(
        data, x, y, 2 * _APERTURE * np.median(half), var=np.ascontiguousarray(frame.variance), mask=bad, subpix=5
    )
    with np.errstate(all="ignore"):
        table = pd.DataFrame(
            {
                "x": x,
                "y": y,
                "flux": flux,
                "flux_err": np.where(np.isfinite(flux_err) & (flux_err > 0), flux_err, np.nan),
                "peak": found["peak"],
                "fwhm": 2 * half,
                "ellipticity": 1 - found["b"] / found["a"],
                "theta": found["theta"],
                "snr": flux / flux_err,
                "mask": _bits(frame.mask, x, y, half),
                "is_star": False,
            }
        )
    good = np.isfinite(table[["x", "y", "flux", "flux_err", "snr", "ellipticity", "theta"]]).all(axis=1)
    return table[good].sort_values(["y", "x"], ignore_index=True).astype(_TYPES)


#: Pixels above the threshold that sep has room for at first (it fills all of it), and parts of one source.
_PIXELS, _PARTS = 300_000, 8192


def _extracted(data: Pixels, noise: Pixels, bad: NDArray[np.bool_], threshold: float) -> NDArray[np.void]:
    """Return what sep finds; sources that have too many parts to be taken apart are left whole."""
    sep.set_sub_object_limit(_PARTS)
    most = max(2 * data.size, _PIXELS)
    for pixels, levels in ((_PIXELS, 32), (most, 32), (most, 1)):
        sep.set_extract_pixstack(pixels)
        try:
            # The smoothed image has less noise: sep scales the threshold itself where it is given the noise.
            return np.asarray(
                sep.extract(data, threshold, err=noise, mask=bad, filter_kernel=_KERNEL, minarea=3, deblend_cont=0.005,
                            deblend_nthresh=levels)
            )  # fmt: skip
        except Exception as error:
            # sep has no class of errors for it.
            if levels == 1 or not re.search("pixel buffer full|overflow", str(error)):
                raise
    raise AssertionError


_TYPES = dict.fromkeys(COLUMNS, "float64") | {"mask": "int32", "is_star": "bool"}


def _bits(
    mask: NDArray[np.uint16], x: NDArray[np.float64], y: NDArray[np.float64], half: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Return the bits of the pixels within the half-light radius, one px at least, of each position."""
    if not mask.any():
        return np.zeros(len(x), np.int32)
    ny, nx = mask.shape
    bits = np.zeros(len(x), np.int32)
    radius = np.clip(np.round(half), 1, 5)
    for dy in range(-5, 6):
        for dx in range(-5, 6):
            inside = dy**2 + dx**2 <= radius**2
            v, u = np.clip(np.round(y + dy), 0, ny - 1).astype(int), np.clip(np.round(x + dx), 0, nx - 1).astype(int)
            bits |= np.where(inside, mask[v, u], 0).astype(np.int32)
    return bits


def classify(table: pd.DataFrame, fwhm: float | None) -> pd.DataFrame:
    """Return a table with widths as FWHM and stars marked.

    Stars of one image have one width: the mode of the widths of what is bright and unharmed, where galaxies are
    wider and hits of particles narrower. A star lies within 15% of it, less where it is bright, and is about as round
    as the others.

    Parameters
    ----------
    table : pandas.DataFrame
        From `detect`, of a whole image.
    fwhm : float or None
        Of stars, px, from `width_of_stars`; None leaves the half-light diameters.
    """
    table = table.copy()
    bright = _bright(table)
    if bright.sum() < _MIN_STARS:
        return table
    mode = _mode(np.log(table.loc[bright, "fwhm"].to_numpy()))
    spread = np.abs(np.log(table["fwhm"]) - mode)
    round_ = np.median(table.loc[bright & (spread < 0.15), "ellipticity"])
    tolerance = np.clip(0.06 + 1.2 / table["snr"].clip(lower=1), 0.06, 0.2)
    harmed = (table["mask"] & int(Bit.SATURATED | Bit.COSMIC_RAY | Bit.TRAIL | Bit.HOT | Bit.BAD | Bit.EDGE)) != 0
    table["is_star"] = (spread < tolerance) & (table["ellipticity"] < round_ + 0.15) & ~harmed & (table["snr"] > 8)
    if fwhm is not None:
        table["fwhm"] *= fwhm / np.exp(mode)
    return table


def _bright(table: pd.DataFrame) -> pd.Series:
    """Return which sources are bright and unharmed enough to tell the width of stars."""
    clean = ((table["mask"] & ~int(Bit.WEAK)) == 0) & (table["ellipticity"] < 0.5) & (table["fwhm"] > 0.7)
    enough = clean
    for snr, number in _ENOUGH:
        enough = clean & (table["snr"] > snr)
        if enough.sum() >= number:
            break
    return enough


def _mode(values: NDArray[np.float64]) -> float:
    """Return the half-sample mode (Bickel & Frühwirth 2006, Comput. Stat. Data Anal. 50, 3500)."""
    values = np.sort(values)
    while len(values) > 3:
        size = -(-len(values) // 2)
        widths = values[size - 1 :] - values[: len(values) - size + 1]
        first = int(np.argmin(widths))
        values = values[first : first + size]
    return float(np.median(values))


def width_of_stars(frame: Frame, level: Pixels, table: pd.DataFrame) -> tuple[float | None, int]:
    """Return the median FWHM of stars, px, by fits of round Moffat profiles, and how many were fitted.

    Parameters
    ----------
    frame : Frame
        Image.
    level : (ny, nx) float32
        Sky level.
    table : pandas.DataFrame
        Its sources, from `detect`.
    """
    bright = table[_bright(table)]
    if len(bright) < _MIN_STARS:
        return None, 0
    mode = np.exp(_mode(np.log(bright["fwhm"].to_numpy())))
    alike = bright[np.abs(np.log(bright["fwhm"] / mode)) < 0.2]
    stars = alike.sort_values(["snr", "y", "x"], ascending=False).head(_FITTED)
    reach = int(np.ceil(_BOX / 2 * mode)) + 2
    boxes = [box for star in stars.itertuples() if (box := _box(frame, level, star.x, star.y, reach)) is not None]
    if len(boxes) < _MIN_STARS:
        return None, len(boxes)
    data, error = (np.stack(planes) for planes in zip(*boxes, strict=True))
    widths = moffat_widths(data, error, float(mode))
    widths = widths[np.isfinite(widths)]
    return (float(np.median(widths)), len(widths)) if len(widths) >= _MIN_STARS else (None, len(widths))


def _box(frame: Frame, level: Pixels, x: float, y: float, reach: int) -> tuple[Any, Any] | None:
    """Return counts over the sky and their errors around a star; None if it is too near the edge."""
    column, row = round(x), round(y)
    ny, nx = frame.shape
    if not (reach <= column < nx - reach and reach <= row < ny - reach):
        return None
    box = (slice(row - reach, row + reach + 1), slice(column - reach, column + reach + 1))
    return (frame.data[box] - level[box]).astype(float), np.sqrt(frame.variance[box].astype(float))


def moffat_widths(data: NDArray[np.float64], error: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the FWHM of round Moffat profiles, as the pixels sample them, fitted to stars; NaN if one does not fit.

    All stars are fitted at once, by Levenberg and Marquardt's method, for brightness, width, wings, place and sky.

    Parameters
    ----------
    data, error : (n, m, m) float64
        Counts over the sky and their errors, a star near the middle of each box.
    width : float
        About the FWHM, px.
    """
    n, m, _ = data.shape
    grid = np.arange(m) - m // 2.0
    v, u = (g.ravel() for g in np.meshgrid(grid, grid, indexing="ij"))
    data, weight = data.reshape(n, -1), 1 / error.reshape(n, -1)
    p = np.zeros((n, 6))
    p[:, 0] = np.maximum(data.max(1), 1e-3)
    p[:, 1], p[:, 2] = np.log(max(width * 0.9, 1.0)), np.log(2.0)

    def residual(p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the model less the data, in the errors, of all stars."""
        a, f, b, x, y, sky = (p[:, k, None] for k in range(6))
        beta = 1 + np.exp(b)
        alpha2 = np.exp(2 * f) / (2 ** (1 / beta) - 1) / 4
        return (a * (1 + ((u - x) ** 2 + (v - y) ** 2) / alpha2) ** -beta + sky - data) * weight

    damping, now = np.full(n, 1e-2), residual(p)
    for _ in range(25):
        step = np.maximum(np.abs(p), 1e-2) * 1e-6
        slopes = [(residual(p + step * (np.arange(6) == k)) - now) / step[:, k, None] for k in range(6)]
        jac = np.stack(slopes, axis=-1)
        normal = jac.transpose(0, 2, 1) @ jac
        diagonal = np.einsum("nkk->nk", normal)
        diagonal += damping[:, None] * diagonal + 1e-12
        move = np.linalg.solve(normal, (jac.transpose(0, 2, 1) @ now[..., None]))[..., 0]
        tried = p - move
        # Beyond these no star of ours is: wings from β = 1.2 to 20, a place within 2 px, a width within a factor of 3.
        tried[:, 1] = np.clip(tried[:, 1], np.log(width / 3), np.log(width * 3))
        tried[:, 2] = np.clip(tried[:, 2], np.log(0.2), np.log(19.0))
        tried[:, 3:5] = np.clip(tried[:, 3:5], -2, 2)
        new = residual(tried)
        better = (new**2).sum(1) < (now**2).sum(1)
        p, now = np.where(better[:, None], tried, p), np.where(better[:, None], new, now)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-9, 1e9)
    inside = (p[:, 0] > 0) & (np.abs(p[:, 3:5]) < 1.99).all(1) & (np.abs(p[:, 1] - np.log(width)) < np.log(2.9))
    return np.where(inside, np.exp(p[:, 1]), np.nan)
