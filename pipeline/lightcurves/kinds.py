"""What a network says of the kinds of binaries → probabilities of EA, EB and EW, given that it is one.

A network that learns from labels which overlap puts its borders where the most common kind of its training set wants
them. So its shares r of the kinds are weighed anew, by vector scaling (Guo et al. 2017, ICML, sect. 4.2):

    ln r' = slope · ln r + offset + const

fitted on stars that it was not trained on, with the three kinds equally common.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from catalogs.binaries import KINDS

__all__ = ["fit_kinds", "share_out"]

Floats = NDArray[np.float64]

_KINDS = tuple(KINDS)  # in the order of the columns of shares

_LEAST = 1e-6  # share below which a network's word is not taken
_RIDGE = 1e-5  # keeps the coefficients of separable stars finite


def share_out(shares: Floats, slope: float = 1.0, offsets: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Floats:
    """Return shares weighed anew, shape (n, 3); rows add up to 1.

    Parameters
    ----------
    shares : (n, 3) float64
        Of the kinds, as the network gives them, rows in any scale.
    slope, offsets
        From `fit_kinds`.
    """
    return np.asarray(softmax(slope * _logs(shares) + np.array(offsets), axis=1))


def _logs(shares: Floats) -> Floats:
    total = shares.sum(axis=1, keepdims=True)
    # Without any probability of an eclipse its kinds are equally unlikely.
    even = np.full_like(shares, 1 / len(_KINDS))
    relative = np.divide(shares, total, out=even, where=total > 0)
    return np.asarray(np.log(relative.clip(_LEAST)))


def fit_kinds(shares: Floats, kinds: NDArray[np.str_]) -> tuple[float, tuple[float, ...]]:
    """Learn slope and offsets from stars of known kind; the first offset is 0.

    Parameters
    ----------
    shares : (n, 3) float64
        As for `share_out`.
    kinds : (n,) array of str
        True kinds; stars of other kinds than EA, EB and EW do not count.

    Returns
    -------
    slope : float
        1 where not every kind is there.
    offsets : tuple of float
        Zeros where not every kind is there.
    """
    codes = {kind: code for code, kind in enumerate(_KINDS)}
    known = np.isin(kinds, _KINDS)
    truth = np.array([codes[str(kind)] for kind in kinds[known]], dtype=int)
    counts = np.bincount(truth, minlength=len(_KINDS))
    if not counts.all():
        return 1.0, (0.0,) * len(_KINDS)
    logs, weights = _logs(shares[known]), 1 / counts[truth] / len(_KINDS)

    def loss(values: Floats) -> float:
        """Return the mean of -ln likelihood, kinds equally common."""
        told = log_softmax(values[0] * logs + np.r_[0.0, values[1:]], axis=1)
        penalty = _RIDGE * float(np.sum((values - (1.0, 0.0, 0.0)) ** 2))
        return float(-weights @ told[np.arange(len(truth)), truth]) + penalty

    slope, *offsets = minimize(loss, (1.0, 0.0, 0.0), method="L-BFGS-B", bounds=[(0.1, None), *[(None, None)] * 2]).x
    return float(slope), (0.0, *map(float, offsets))
