"""Sources of an image: where, how bright, how wide, and which are stars."""

import numpy as np
import pandas as pd
import sep
from numpy.typing import NDArray
from scipy import optimize

from pipeline.images.frame import Bit, Frame, Pixels

__all__ = ["COLUMNS", "classify", "detect", "width_of_stars"]

COLUMNS = (
    "x", "y", "flux", "flux_err", "peak", "fwhm", "ellipticity", "theta", "snr", "mask", "is_star",
)  # fmt: skip

_KERNEL = np.outer([1, 2, 1], [1, 2, 1]) / 16.0
_FITTED = 60
_MIN_STARS = 3
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
    # The smoothed image has less noise: sep scales the threshold itself where it is given the noise.
    found = sep.extract(data, threshold, err=noise, mask=bad, filter_kernel=_KERNEL, minarea=3, deblend_cont=0.005)
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


_TYPES = {name: "float64" for name in COLUMNS} | {"mask": "int32", "is_star": "bool"}


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
    table["is_star"] = (spread < tolerance) & (table["ellipticity"] < round_ + 0.15) & ~harmed & (table["snr"] > 10)
    if fwhm is not None:
        table["fwhm"] *= fwhm / np.exp(mode)
    return table


def _bright(table: pd.DataFrame) -> pd.Series:
    """Return which sources are bright and unharmed enough to tell the width of stars."""
    clean = (table["mask"] & ~int(Bit.WEAK)) == 0
    enough = clean & (table["snr"] > 30) & (table["ellipticity"] < 0.5) & (table["fwhm"] > 0.7)
    return enough if enough.sum() >= 10 else clean & (table["snr"] > 12) & (table["ellipticity"] < 0.6)


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
    widths = [_fitted(frame, level, star.x, star.y, mode, reach) for star in stars.itertuples()]
    widths = [width for width in widths if width is not None]
    return (float(np.median(widths)), len(widths)) if len(widths) >= _MIN_STARS else (None, len(widths))


def _fitted(frame: Frame, level: Pixels, x: float, y: float, width: float, reach: int) -> float | None:
    """Return the FWHM of a Moffat profile, integrated over pixels, fitted to a star; None if it does not fit."""
    column, row = round(x), round(y)
    ny, nx = frame.shape
    if not (reach <= column < nx - reach and reach <= row < ny - reach):
        return None
    box = (slice(row - reach, row + reach + 1), slice(column - reach, column + reach + 1))
    data = (frame.data[box] - level[box]).astype(float)
    error = np.sqrt(frame.variance[box].astype(float))
    v, u = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(float)

    def residual(p: NDArray[np.float64]) -> NDArray[np.float64]:
        alpha2 = np.exp(2 * p[1]) / (2 ** (1 / p[2]) - 1) / 4
        # Pixel and sub-pixel centres (Simpson's rule in one step): sharp stars vary within a pixel.
        model = sum(w * (1 + ((u - p[3] - du) ** 2 + (v - p[4] - dv) ** 2) / alpha2) ** -p[2] for dv, du, w in _NODES)
        return ((p[0] * model + p[5] - data) / error).ravel()

    start = np.array([data[reach, reach], np.log(max(width * 0.9, 1.0)), 3.0, x - column, y - row, 0.0])
    low = [0, np.log(0.5), 1.2, -2, -2, -np.inf]
    high = [np.inf, np.log(50), 20, 2, 2, np.inf]
    try:
        fit = optimize.least_squares(residual, start, bounds=(low, high), max_nfev=30, x_scale="jac")
    except (ValueError, np.linalg.LinAlgError):
        return None
    return float(np.exp(fit.x[1])) if np.isfinite(fit.x).all() else None


_NODES = [
    (dv, du, wv * wu / 36) for dv, wv in ((-0.5, 1), (0, 4), (0.5, 1)) for du, wu in ((-0.5, 1), (0, 4), (0.5, 1))
]
