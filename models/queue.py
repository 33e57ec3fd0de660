"""What is to be looked at next: what a model cannot decide, what it has not seen the like of, or simply the best.

Novelty is learnt from the answers: an isolation forest on the main axes of the network's embeddings, whose leaves are
weighted so that what was called unusual is isolated first and what was called anything else is not (Active Anomaly
Discovery: Das et al. 2017, arXiv:1708.09441; package coniferest).
"""

import numpy as np
import pandas as pd
from coniferest.aadforest import AADForest
from coniferest.isoforest import IsolationForest
from coniferest.label import Label
from numpy.typing import NDArray
from scipy.special import logit

from catalogs.review import consensus
from pipeline.errors import UsageError

__all__ = ["QUEUES", "UNUSUAL", "answers", "axes", "line_up", "strangeness"]

Floats = NDArray[np.float64]

#: Name → what comes first.
QUEUES = {
    "uncertain": "probability nearest to the threshold",
    "novel": "unlike what the model knows; learns from what is called unusual",
    "rank": "highest probability",
}

#: Type of what reviewers want more of in the novelty queue; any other answer is "ordinary".
UNUSUAL = "unusual"

_AXES = 16
_TREES = 100
_FEW = 16  # rows from which on a forest means something
_SURE = 1e-12  # no probability is nearer to 0 or 1


def line_up(
    items: pd.DataFrame, queue: str, given: pd.DataFrame, who: str = "", embeddings: Floats | None = None
) -> pd.DataFrame:
    """Return the items that a reviewer has still to look at, the next one first.

    Left out is what counts as real or bogus already, and what this reviewer has labelled or skipped. What others
    disagree on comes first. The same items and labels give the same order.

    Parameters
    ----------
    items : pandas.DataFrame
        item_id; p, its threshold and novelty (NaN where unknown); ood: out of the model's distribution.
    queue : str
        Of `QUEUES`. Rows of unknown p are in "novel" alone, where those with ood come before the others.
    given : pandas.DataFrame
        Of `catalogs.review.labels`.
    who : str
        The reviewer.
    embeddings : (n, k) float, optional
        Of the rows, NaN where there is none; without, novelty is all that "novel" goes by.

    Raises
    ------
    UsageError
        If there is no such queue.
    """
    if queue not in QUEUES:
        raise UsageError(f"no queue {queue!r}; there are {', '.join(QUEUES)}")
    counted = consensus(given)
    disputed = set(counted["item_id"][counted["label"] == "disputed"])
    done = (set(counted["item_id"]) - disputed) | set(given["item_id"][given["who"] == who])
    names, p = items["item_id"].to_numpy(object), items["p"].to_numpy(float)
    left = ~items["item_id"].isin(done).to_numpy()
    keys: list[NDArray[np.generic]]
    if queue == "novel":
        keys = [*_novelty(items, given, embeddings), ~items["ood"].fillna(False).to_numpy(bool)]
    elif queue == "uncertain":
        keys = [np.abs(_odds(p) - _odds(items["threshold"].to_numpy(float)))]
    else:
        keys = [-p]
    left &= np.isfinite(p) | (queue == "novel")
    # The last key is the first to decide; names make it the same whatever order the rows come in.
    order = np.lexsort([names.astype(str), *keys, ~items["item_id"].isin(disputed).to_numpy()])
    return items.iloc[order[left[order]]].reset_index(drop=True)


def _odds(p: Floats) -> Floats:
    return np.asarray(logit(np.clip(p, _SURE, 1 - _SURE)))


def _novelty(items: pd.DataFrame, given: pd.DataFrame, embeddings: Floats | None) -> list[Floats]:
    """Return sort keys: by the forest; what it cannot place comes after, by the model's own novelty."""
    known = -items["novelty"].fillna(-1.0).to_numpy(float)
    if embeddings is None or not embeddings.shape[1]:
        return [known]
    placed = np.isfinite(embeddings).all(1)
    score = np.full(len(items), np.inf)
    if placed.any():
        names = items["item_id"].to_numpy(object)
        order = np.argsort(names[placed].astype(str), kind="stable")
        rows = np.flatnonzero(placed)[order]
        score[rows] = -strangeness(axes(embeddings[rows]), answers(items["item_id"].iloc[rows], given))
    return [known, score]


def answers(names: pd.Series, given: pd.DataFrame) -> NDArray[np.int8]:
    """Return what reviewers said of items: 1 unusual, -1 anything else, 0 nothing that counts."""
    counted = consensus(given).set_index("item_id")
    counted = counted[counted["label"] != "disputed"]
    said = np.where(counted["type"] == UNUSUAL, 1, -1)
    places = counted.index.get_indexer(names)
    return np.where(places >= 0, said[places] if len(said) else 0, 0).astype(np.int8)


def axes(embeddings: Floats, count: int = _AXES) -> Floats:
    """Return embeddings along their main axes, in units of the spread along each.

    Parameters
    ----------
    embeddings : (n, k) float
        Finite.
    count : int
        Axes kept, at most.
    """
    rows = np.asarray(embeddings, np.float64)
    rows = rows - rows.mean(0)
    spread, directions = np.linalg.eigh(rows.T @ rows / max(len(rows) - 1, 1))
    kept = np.argsort(-spread, kind="stable")[:count]
    kept = kept[spread[kept] > 1e-12 * max(float(spread.max()), 1e-300)]
    return np.ascontiguousarray(rows @ directions[:, kept] / np.sqrt(spread[kept]))


def strangeness(rows: Floats, said: NDArray[np.int8] | None = None, seed: int = 0) -> Floats:
    """Return how strange rows are, higher for stranger; with answers, how like what was called unusual.

    Parameters
    ----------
    rows : (n, k) float
        Finite.
    said : (n,) int8, optional
        Of `answers`; without any, the forest is an isolation forest as Liu et al. (2008) have it.
    seed : int
        Of the forest.
    """
    if len(rows) < _FEW or not rows.shape[1]:
        return np.zeros(len(rows))
    some = min(256, len(rows))  # of which each tree is made, as Liu et al. found enough
    told = np.zeros(0, int) if said is None else np.flatnonzero(said)
    if said is not None and len(told):
        forest = AADForest(_TREES, some, random_seed=seed, n_jobs=1)
        forest.fit_known(rows, rows[told], np.where(said[told] > 0, Label.ANOMALY, Label.REGULAR))
        found = -np.asarray(forest.score_samples(rows), float)
        if np.isfinite(found).all():  # else no weights meet what was said
            return found
    plain = IsolationForest(_TREES, some, random_seed=seed, n_jobs=1).fit(rows)
    return -np.asarray(plain.score_samples(rows), float)
