"""What triplets are like, in a few numbers each: how much is missing, noise, sky, widths, the peak in the middle.

They say at a twentieth of the cost of a score whether a model is given what it has learnt from.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.monitor import INPUTS
from models.planes import CHANNELS, levels

__all__ = ["statistics"]

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

_STEP = 2  # every second pixel of those that `levels` would take: a width of a bin is ten times its error
_REACH = 2  # px about the middle in which the peak of the difference is looked for
_LAGS = (1, 3)  # px; less than one is noise, and hits of particles; more are galaxies
_SURE = 5.0  # standard errors by which light has to correlate with its neighbours' for a width
_FWHM = 2 * np.sqrt(2 * np.log(2))


def statistics(triplets: NDArray[np.floating]) -> pd.DataFrame:
    """Return what each triplet is like.

    Parameters
    ----------
    triplets : (n, 3, s, s) array
        Science, reference, difference in counts; NaN where there are no pixels.

    Returns
    -------
    pandas.DataFrame
        A row a triplet, the columns of `catalogs.monitor.INPUTS`; NaN where there is nothing to tell it from.
    """
    pixels = np.asarray(triplets, np.float32)
    if not len(pixels):
        return pd.DataFrame({one.name: np.empty(0) for one in INPUTS})
    sky, noise = levels(pixels[..., ::_STEP, ::_STEP])
    missing = 1 - np.isfinite(pixels).reshape(len(pixels), CHANNELS, -1).mean(2)
    scale = np.where(missing < 1, noise, np.nan).astype(float)
    level, dex = np.arcsinh(sky / scale), np.log10(scale)
    widths = [_width(pixels[:, i] - sky[:, i, None, None], noise[:, i]) for i in (0, 1)]
    peak = _peak(pixels[:, 2], sky[:, 2]) / scale[:, 2]
    columns = (
        missing.mean(1), dex[:, 0], dex[:, 1], dex[:, 2], dex[:, 0] - dex[:, 1], level[:, 0], level[:, 1], level[:, 2],
        *widths, np.log10(np.maximum(peak, 1e-3)),
    )  # fmt: skip
    return pd.DataFrame({one.name: values for one, values in zip(INPUTS, columns, strict=True)})


def _width(light: Pixels, noise: Pixels) -> Floats:
    """Return the FWHM, px, of a Gaussian whose light correlates with its own at two distances as that of images does.

    White noise correlates with nothing; a Gaussian of width s does as exp(-d² / 4 s²).
    """
    light[~np.isfinite(light)] = 0
    rows, size = light.reshape(len(light), -1), light.shape[2]
    near, far = (_correlation(rows, by) + _correlation(rows, by * size) for by in _LAGS)
    sure = far > _SURE * np.sqrt(2.0 * rows.shape[1]) * noise.astype(float) ** 2
    drop = np.log(np.where(sure & (near > far), near, np.nan) / np.where(sure, far, np.nan))
    return np.asarray(_FWHM * np.sqrt((_LAGS[1] ** 2 - _LAGS[0] ** 2) / (4 * drop)))


def _correlation(rows: Pixels, by: int) -> Floats:
    """Return the sum of the products of each image's pixels with those `by` further on (n,).

    The few that are on another side of the image by that are noise.
    """
    return np.asarray(np.einsum("nk,nk->n", rows[:, by:], rows[:, :-by]), float)


def _peak(difference: Pixels, sky: Pixels) -> Floats:
    y, x = difference.shape[1] // 2, difference.shape[2] // 2
    middle = difference[:, max(0, y - _REACH) : y + _REACH + 1, max(0, x - _REACH) : x + _REACH + 1]
    high = np.abs(middle - sky[:, None, None])
    return np.asarray(np.where(np.isfinite(high), high, 0).max((1, 2)), float)
