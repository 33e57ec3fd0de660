"""Whether an object moves: a straight line through its places against a fixed one."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Motion", "fit"]

_Values = NDArray[np.float64]


class Motion(NamedTuple):
    """Motion of an object.

    Parameters
    ----------
    x, y : float
        Speed in both directions, unit of place over unit of time; NaN without two times.
    sigma : float
        Its significance: length of the speed in units of its standard error.
    scatter : float
        Largest distance of a place from the line.
    """

    x: float
    y: float
    sigma: float
    scatter: float


def fit(time: _Values, x: _Values, y: _Values, x_err: _Values, y_err: _Values) -> Motion:
    """Fit a straight motion, each direction by weighted least squares.

    Parameters
    ----------
    time : (n,) float64
        Times; places without one (NaN) are left out.
    x, y : (n,) float64
        Places.
    x_err, y_err : (n,) float64
        Their standard errors, positive.

    Notes
    -----
    Errors are scaled up to what the places scatter around the line, where there are enough of them to tell.
    """
    known = np.isfinite(time)
    time, x, y, x_err, y_err = (values[known] for values in (time, x, y, x_err, y_err))
    if len(time) < 2 or np.ptp(time) <= 0:
        return Motion(np.nan, np.nan, np.nan, np.nan)
    speeds, variances, chi2, left = [], [], 0.0, []
    for place, error in ((x, x_err), (y, y_err)):
        weight = error**-2.0
        middle = np.average(time, weights=weight)
        lever = float((weight * (time - middle) ** 2).sum())
        speed = float((weight * (time - middle) * place).sum() / lever)
        residual = place - np.average(place, weights=weight) - speed * (time - middle)
        chi2 += float((weight * residual**2).sum())
        speeds.append(speed)
        variances.append(1 / lever)
        left.append(residual)
    scale = max(1.0, chi2 / (2 * len(time) - 4)) if len(time) > 2 else 1.0
    sigma = np.sqrt(sum(speed**2 / variance for speed, variance in zip(speeds, variances, strict=True)) / scale)
    return Motion(speeds[0], speeds[1], float(sigma), float(np.hypot(*left).max()))
