"""Peaks of significance, positive and negative."""

import numba
import numpy as np
import pandas as pd

from pipeline.images.frame import Pixels
from pipeline.images.subtract import Band
from pipeline.images.zogy import MARGIN

__all__ = ["detect"]

#: How much of a bright peak's own profile may be wrong, relative to its height: nothing below it is believed near it.
_DOUBT = 0.04


def detect(band: Band, threshold: float = 5.0) -> pd.DataFrame:
    """Find the peaks of |S_corr| in a band.

    What the profile of a brighter peak explains is no peak of its own.

    Parameters
    ----------
    band : Band
        Subtracted.
    threshold : float
        Of |S_corr|.

    Returns
    -------
    DataFrame
        x, y (px of the reference), snr, flux, flux_err (science counts), by y and x.
    """
    y, x = _maxima(band.significance, np.float32(threshold))
    own = (y + band.top >= band.y0) & (y + band.top < band.y1)
    order = np.argsort(-np.abs(band.significance[y, x]), kind="stable")
    y, x, own = y[order], x[order], own[order]
    keep = _explained(band, y, x, threshold)
    y, x = y[keep & own], x[keep & own]
    dx, dy, snr = _refine(band.significance, y, x)
    flux_err = band.flux_err[y, x]
    table = pd.DataFrame(
        {
            "x": x + dx,
            "y": y + band.top + dy,
            "snr": snr,
            "flux": snr * flux_err,
            "flux_err": flux_err,
        }
    ).astype(float)
    return table.sort_values(["y", "x"], kind="stable").reset_index(drop=True)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _maxima(s, threshold):  # type: ignore[no-untyped-def]
    """Return the pixels over the threshold that stand above their eight neighbours, in their own sign."""
    ny, nx = s.shape
    ys, xs = [], []
    for y in range(1, ny - 1):
        for x in range(1, nx - 1):
            value = s[y, x]
            if not abs(value) >= threshold:
                continue
            sign = 1.0 if value > 0 else -1.0
            top = True
            for j in range(-1, 2):
                for i in range(-1, 2):
                    other = sign * s[y + j, x + i]
                    # Of equals the first one counts.
                    if (j or i) and (other > sign * value or (other == sign * value and (j < 0 or (j == 0 and i < 0)))):
                        top = False
            if top:
                ys.append(y)
                xs.append(x)
    return np.array(ys, np.int64), np.array(xs, np.int64)


def _profile(band: Band, y: int, x: int) -> Pixels:
    """Return what a point source at a pixel makes of S, one at its place, ± MARGIN px around it."""
    response = band.tiles.near(x, y + band.top).response
    profile: Pixels = np.roll(response, (MARGIN, MARGIN), (0, 1))[: 2 * MARGIN + 1, : 2 * MARGIN + 1]
    return profile


def _explained(band: Band, y: np.ndarray, x: np.ndarray, threshold: float) -> np.ndarray:
    """Return which peaks, brightest first, are more than the flanks of brighter ones."""
    keep = np.ones(len(y), bool)
    s, error = band.significance, band.flux_err
    for k in range(len(y)):
        height = abs(s[y[k], x[k]])
        if not keep[k] or height < 2 * threshold:
            continue
        near = np.flatnonzero((np.abs(y - y[k]) <= MARGIN) & (np.abs(x - x[k]) <= MARGIN))
        near = near[(near > k) & keep[near]]
        if not len(near):
            continue
        profile = _profile(band, int(y[k]), int(x[k]))[MARGIN + y[near] - y[k], MARGIN + x[near] - x[k]]
        flux = s[y[k], x[k]] * error[y[k], x[k]]
        expected = flux * profile / error[y[near], x[near]]
        # The flanks of a profile are known worse the higher it is; far out it is known to be nothing.
        distance = np.hypot(y[near] - y[k], x[near] - x[k])
        doubt = _DOUBT * height * np.exp(-((distance / (0.4 * MARGIN)) ** 2))
        rest = np.abs(s[y[near], x[near]] - expected) - doubt
        keep[near[rest < threshold]] = False
    return keep


def _refine(s: Pixels, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the offset of each maximum from its pixel and its height, by a parabola along each axis."""
    c, l, r, d, u = (s[y + j, x + i].astype(float) for j, i in ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)))  # noqa: E741
    with np.errstate(divide="ignore", invalid="ignore"):
        dx, dy = 0.5 * (l - r) / (l - 2 * c + r), 0.5 * (d - u) / (d - 2 * c + u)
    dx, dy = (np.nan_to_num(v).clip(-0.5, 0.5) for v in (dx, dy))
    return dx, dy, c - 0.25 * (l - r) * dx - 0.25 * (d - u) * dy
