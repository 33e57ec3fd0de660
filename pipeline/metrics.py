"""How good verdicts are: what is counted and what interval goes with it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import binomtest

__all__ = ["calibration_error", "combine_scores", "wilson"]

_BINS = 10


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95% interval of a share; 0 to 1 without trials.

    References
    ----------
    Wilson 1927, J. Am. Stat. Assoc. 22, 209.
    """
    if not trials:
        return 0.0, 1.0
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def calibration_error(
    p: ArrayLike, truth: ArrayLike, weight: ArrayLike, within: tuple[float, float] = (0.05, 0.95)
) -> float:
    """Return the expected calibration error in ten bins of equal count, where the answer is not clear.

    Parameters
    ----------
    p, truth, weight : (n,) array_like
        Probability, outcome (1 or 0), and how much each counts.
    within : tuple of float
        Only probabilities between these count.

    Returns
    -------
    float
        0 where there is none.
    """
    said, came, counted = (np.asarray(values, float) for values in (p, truth, weight))
    order = np.argsort(said, kind="stable")
    order = order[(said[order] > within[0]) & (said[order] < within[1])]
    if not len(order):
        return 0.0
    bins = np.array_split(order, min(_BINS, len(order)))
    errors = [abs(((said - came)[rows] * counted[rows]).sum()) for rows in bins]
    return float(sum(errors) / counted[order].sum())


def combine_scores(tic_id: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Combine scores of segments into one a star: the mean of their log-odds, as a probability.

    A star that is seen often gains no score by that alone.

    Parameters
    ----------
    tic_id : (n,) array_like of int
        Star of each segment, in increasing order.
    score : (n,) array_like
        Score of each segment in [0, 1].

    Returns
    -------
    stars : (m,) ndarray of int64
        Each star once.
    combined : (m,) ndarray of float64
        Its score.
    """
    stars, starts, counts = np.unique(np.asarray(tic_id, np.int64), return_index=True, return_counts=True)
    odds = logit(np.clip(np.asarray(score, float), 1e-7, 1 - 1e-7))
    return stars, expit(np.add.reduceat(odds, starts) / counts) if len(stars) else np.empty(0)
