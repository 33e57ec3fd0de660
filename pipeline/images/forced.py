"""Forced photometry: the flux of a point source at a given place of a difference, whether it is detected or not.

A difference's flux as a point source is S_corr times its error at that place (Zackay, Ofek & Gal-Yam 2016, eq. 40-42);
both are smooth, and a spline of fifth order reads them between pixels: of a PSF of two pixels a cubic one loses a
hundredth.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import spline_filter1d

from pipeline.images.align import DEGREE, b_spline
from pipeline.images.frame import UNUSABLE, Pixels, bits_around

__all__ = ["LIMIT_SIGMA", "calibrated", "interpolate", "magnitude", "microjansky", "photometry"]

#: Sigmas of an upper limit, and from which a measurement is none.
LIMIT_SIGMA = 3.0

#: Pixels on each side that the spline needs to be as if it had the whole image: its poles are 0.43.
_REACH = 14

_MICROJANSKY = 23.9  # AB magnitude of 1 µJy


def interpolate(image: Pixels, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an image between its pixels, by a B-spline of fifth order through the pixels around each place.

    Parameters
    ----------
    image : (ny, nx) float32
        Pixels; what is not finite counts as 0.
    x, y : (n,) float64
        Places, px.

    Returns
    -------
    (n,) float64
        Values; NaN off the frame.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    ny, nx = image.shape
    inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    left, low = (np.floor(np.where(inside, axis, 0)).astype(int) for axis in (x, y))
    span = np.arange(-_REACH, _REACH + 2)
    # Off the frame the image goes on as in a mirror, as splines have it.
    columns, rows = _mirrored(left[:, None] + span, nx), _mirrored(low[:, None] + span, ny)
    stamps = np.nan_to_num(image[rows[:, :, None], columns[:, None, :]].astype(float), posinf=0, neginf=0)
    for axis in (1, 2):
        stamps = spline_filter1d(stamps, DEGREE, axis=axis, mode="mirror")
    near = stamps[:, _REACH - 2 : _REACH + 4, _REACH - 2 : _REACH + 4]
    value = np.einsum(
        "nyx,ny,nx->n", near, _weights(np.where(inside, y, 0) - low), _weights(np.where(inside, x, 0) - left)
    )
    return np.where(inside, value, np.nan)


def _mirrored(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    if size == 1:
        return np.zeros_like(index)
    folded = np.abs(index) % (2 * size - 2)
    return np.asarray(np.where(folded < size, folded, 2 * size - 2 - folded))


def _weights(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the six weights of the B-spline at fractions of a pixel."""
    weights = np.empty((6, len(t)))
    b_spline(t, weights)
    return weights.T


def photometry(
    x: NDArray[np.float64], y: NDArray[np.float64], significance: Pixels, flux_err: Pixels, mask: NDArray[np.uint16],
    radius: float = 2.0,
) -> pd.DataFrame:  # fmt: skip
    """Measure places of a difference.

    Parameters
    ----------
    x, y : (n,) float64
        Places, px of the difference.
    significance, flux_err : (ny, nx) float32
        S_corr, and the error of a point source's flux at each pixel, counts.
    mask : (ny, nx) uint16
        `Bit`.
    radius : float
        Radius in which bits count, px: one FWHM.

    Returns
    -------
    pandas.DataFrame
        flux, flux_err (counts), snr, flux_limit (`LIMIT_SIGMA`; NaN where snr is as high) and flags. All but flags are
        NaN off the frame and where the nearest pixel cannot be used.
    """
    x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
    snr, error = interpolate(significance, x, y), interpolate(flux_err, x, y)
    flags = bits_around(mask, x, y, radius)
    ny, nx = mask.shape
    row, column = (np.rint(np.nan_to_num(axis)).astype(int).clip(0, n - 1) for axis, n in ((y, ny), (x, nx)))
    good = np.isfinite(snr) & (error > 0) & ((mask[row, column] & int(UNUSABLE)) == 0)
    good &= np.isfinite(significance[row, column])
    snr, error = np.where(good, snr, np.nan), np.where(good, error, np.nan)
    limit = np.where(snr < LIMIT_SIGMA, (np.maximum(snr, 0) + LIMIT_SIGMA) * error, np.nan)
    return pd.DataFrame({"flux": snr * error, "flux_err": error, "snr": snr, "flux_limit": limit, "flags": flags})


def calibrated(table: pd.DataFrame, zp_ab: float | None) -> pd.DataFrame:
    """Return fluxes in µJy and magnitudes where there is a zero point, in counts and without magnitudes where not.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns flux and flux_err in counts; flux_limit and snr if there.
    zp_ab : float or None
        AB magnitude of one count.

    Returns
    -------
    pandas.DataFrame
        With flux_unit, mag_ab (NaN if flux is not positive or below `LIMIT_SIGMA`), mag_err and, with flux_limit,
        mag_limit.
    """
    known = zp_ab is not None and bool(np.isfinite(zp_ab))
    scale = microjansky(zp_ab) if zp_ab is not None and known else 1.0
    scaled = {name: table[name].to_numpy(float) * scale for name in ("flux", "flux_err", "flux_limit") if name in table}
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = scaled["flux"] / scaled["flux_err"]
        seen = snr >= LIMIT_SIGMA
        columns = scaled | {
            "flux_unit": "uJy" if known else "count",
            "mag_ab": np.where(seen, magnitude(scaled["flux"], known), np.nan),
            "mag_err": np.where(seen & known, 2.5 / np.log(10) / snr, np.nan),
        }
    if "flux_limit" in scaled:
        columns["mag_limit"] = magnitude(scaled["flux_limit"], known)
    return table.assign(**columns)


def microjansky(zp_ab: float) -> float:
    """Return the µJy of one count.

    Parameters
    ----------
    zp_ab : float
        AB magnitude of one count.
    """
    return float(10 ** (0.4 * (_MICROJANSKY - zp_ab)))


def magnitude(flux: NDArray[np.float64], known: bool = True) -> NDArray[np.float64]:
    """Return AB magnitudes; NaN where flux is not positive.

    Parameters
    ----------
    flux : (n,) float64
        µJy.
    known : bool
        Whether it is, as there is a zero point; all are NaN if not.
    """
    positive = np.where((flux > 0) & known, flux, np.nan)
    return np.asarray(_MICROJANSKY - 2.5 * np.log10(positive))
