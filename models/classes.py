"""How well a model tells kinds of binaries apart, and how well their shape."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from catalogs.binaries import PROBABILITIES

__all__ = ["confusion", "said", "shape"]

_NAMES = {column: klass for klass, column in PROBABILITIES.items()}


def said(stars: pd.DataFrame) -> pd.Series:
    """Return the most probable class of each star, from its columns p_ea, p_beta, p_ew, p_ell."""
    return stars[list(_NAMES)].idxmax(axis=1).map(_NAMES)


def confusion(
    truth: pd.Series, verdict: pd.Series, names: tuple[str, ...] = ("EA", "EB", "EW", "ELL")
) -> dict[str, Any]:
    """Return the confusion matrix of classes.

    Parameters
    ----------
    truth, verdict : (n,) Series of str
        With the same index; stars of no class in `names` do not count.
    names : tuple of str
        Classes.

    Returns
    -------
    dict
        classes; matrix, truth (rows) by verdict (columns); recall of each class that occurs; balanced_accuracy, the
        mean of these, None without any.
    """
    counts = [[int(((truth == row) & (verdict == column)).sum()) for column in names] for row in names]
    recall = {name: row[i] / sum(row) for i, (name, row) in enumerate(zip(names, counts, strict=True)) if sum(row)}
    balanced = float(np.mean(list(recall.values()))) if recall else None
    return {"classes": list(names), "matrix": counts, "recall": recall, "balanced_accuracy": balanced}


def shape(morph: ArrayLike, known: ArrayLike) -> dict[str, Any]:
    """Return how far morphologies are from known ones: stars, mean absolute error, Spearman's rank correlation."""
    ours, theirs = np.asarray(morph, float), np.asarray(known, float)
    both = np.isfinite(ours) & np.isfinite(theirs)
    if both.sum() < 3:
        return {"stars": int(both.sum()), "mae": None, "spearman": None}
    rank = float(spearmanr(ours[both], theirs[both]).statistic)
    return {"stars": int(both.sum()), "mae": float(np.abs(ours - theirs)[both].mean()), "spearman": rank}
