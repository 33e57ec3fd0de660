"""What is to be looked at next: what a model cannot decide, what it has not seen the like of, or simply the best.

Novelty is learnt from the answers: by an isolation forest on the network's embeddings, whose leaves are weighted so
that what was called unusual is isolated first and what was called anything else is not (Active Anomaly Discovery: Das
et al. 2017, arXiv:1708.09441; package coniferest), and by the plane that parts what was called unusual from the rest:
the sum of the two ranks finds more than either. Until something was called unusual, every other question goes to what
has the fewest neighbours, which finds a small crowd at a place of its own where no forest looks.
"""

import numpy as np
import pandas as pd
from coniferest.aadforest import AADForest
from coniferest.isoforest import IsolationForest
from coniferest.label import Label
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from catalogs.review import consensus
from models.standing import principal
from pipeline.errors import UsageError

__all__ = ["QUEUES", "UNUSUAL", "answers", "axes", "features", "isolation", "line_up", "strangeness"]

Floats = NDArray[np.float64]

#: Name → what comes first.
QUEUES = {
    "uncertain": "probability nearest to the threshold",
    "novel": "unlike what the model knows; learns from what is called unusual",
    "rank": "highest probability",
}

#: Type of what reviewers want more of in the novelty queue; any other answer is "ordinary".
UNUSUAL = "unusual"

_AXES = 32  # what is rare may differ from the rest along the least of them only
_TREES, _SUBSAMPLE = 100, 256
_FEW = 16  # rows from which on a forest means something
_SAMPLE, _CROWD = 5000, 0.005  # rows whose neighbourhood stands for all; share of them that are neighbours
_WEIGHT = 100.0  # of what was called unusual, and of all the rest, against one of the penalty
_SURE = 1e-12  # no probability is nearer to 0 or 1


def line_up(
    items: pd.DataFrame, queue: str, given: pd.DataFrame, who: str = "", places: Floats | None = None
) -> pd.DataFrame:
    """Return the items that a reviewer has still to look at, the next one first.

    Left out is what counts as real or bogus already, and what this reviewer has labelled or skipped. What others
    disagree on comes first. The same items and labels give the same order.

    Parameters
    ----------
    items : pandas.DataFrame
        item_id; p, its threshold and novelty (NaN where unknown); ood: out of the model's distribution.
    queue : str
        Of `QUEUES`. Rows of unknown p are in "novel" alone, where those with ood come first as far as no forest tells
        them apart.
    given : pandas.DataFrame
        Of `catalogs.review.labels`.
    who : str
        The reviewer.
    places : (n, k) float, optional
        `features` of the rows, NaN where there are none; without, novelty is all that "novel" goes by.

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
        keys = _novelty(items, given, places)
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


def _novelty(items: pd.DataFrame, given: pd.DataFrame, places: Floats | None) -> list[NDArray[np.generic]]:
    """Return sort keys: by the forest; what it cannot place comes after, by ood and the model's own novelty."""
    known = [-items["novelty"].fillna(-1.0).to_numpy(float), ~items["ood"].fillna(False).to_numpy(bool)]
    if places is None or not places.shape[1]:
        return known
    placed = np.isfinite(places).all(1)
    score = np.full(len(items), np.inf)
    if placed.any():
        names = items["item_id"].to_numpy(object)
        order = np.argsort(names[placed].astype(str), kind="stable")
        rows = np.flatnonzero(placed)[order]
        score[rows] = -strangeness(places[rows], answers(items["item_id"].iloc[rows], given))
    return [*known, score]


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
    mean, directions, spread = principal(rows, count)
    return np.ascontiguousarray((rows - mean) @ directions.T / spread)


def features(embeddings: Floats, seed: int = 0) -> Floats:
    """Return what `strangeness` goes by: the main axes, and how far the neighbours are.

    Parameters
    ----------
    embeddings : (n, k) float
        NaN where there is none; such rows are NaN here too.
    seed : int
        Of the sample whose neighbourhood stands for that of all.

    Returns
    -------
    (n, m) float64
        `axes`; last the logarithm of the distance within which 0.5% of all rows are, 16 at least.
    """
    known = np.isfinite(embeddings).all(1)
    found = axes(embeddings[known]) if known.any() else np.zeros((0, 0))
    if len(found) < _FEW or not found.shape[1]:
        return np.full((len(embeddings), 0), np.nan)
    chosen = np.random.default_rng(seed).permutation(len(found))[:_SAMPLE]
    crowd = min(max(round(_CROWD * len(chosen)), _FEW), len(chosen) - 1)
    far = cKDTree(found[chosen]).query(found, k=[crowd + 1])[0]
    out = np.full((len(embeddings), found.shape[1] + 1), np.nan)
    out[known] = np.column_stack([found, np.log(far[:, 0] + 1e-9)])
    return out


def strangeness(rows: Floats, said: NDArray[np.int8] | None = None, seed: int = 0) -> Floats:
    """Return how strange rows are, higher for stranger; with answers, how like what was called unusual.

    Parameters
    ----------
    rows : (n, m) float
        Of `features`, finite.
    said : (n,) int8, optional
        Of `answers`.
    seed : int
        Of the forest.
    """
    if len(rows) < _FEW:
        return rows[:, -1].copy()
    said = np.zeros(len(rows), np.int8) if said is None else said
    found = _learnt(rows, said, seed)
    if (said > 0).any() and (said <= 0).any():
        return -(_ranks(found, said) + _ranks(_likeness(rows, said, seed), said))
    # Whose turn it is comes first of the two.
    turn = 0.5 * (np.count_nonzero(said) % 2)
    return -np.minimum(_ranks(found, said) + turn, _ranks(rows[:, -1], said) + 0.5 - turn)


def _ranks(score: Floats, said: NDArray[np.int8]) -> Floats:
    """Return places from 0, the strangest, among what was not asked for yet; that comes last."""
    order = np.lexsort([-score, said != 0])
    ranks = np.empty(len(score))
    ranks[order] = np.arange(len(score))
    return ranks


def _likeness(rows: Floats, said: NDArray[np.int8], seed: int) -> Floats:
    """Return the side of the plane between what was called unusual and the rest: a sample, and what was called so."""
    unusual, ordinary = np.flatnonzero(said > 0), np.flatnonzero(said < 0)
    sample = np.random.default_rng(seed).permutation(np.flatnonzero(said == 0))[:_SAMPLE]
    parts = [part for part in (ordinary, sample) if len(part)]
    shares = [np.full(len(part), _WEIGHT / len(parts) / len(part)) for part in parts]
    weights = np.concatenate([np.full(len(unusual), _WEIGHT / len(unusual)), *shares])
    known = np.concatenate([unusual, *parts])
    plane = LogisticRegression(max_iter=200).fit(rows[known], said[known] > 0, weights)
    return np.asarray(plane.decision_function(rows), float)


def _learnt(rows: Floats, said: NDArray[np.int8], seed: int) -> Floats:
    told = np.flatnonzero(said)
    if len(told):
        forest = AADForest(_TREES, min(_SUBSAMPLE, len(rows)), random_seed=seed, n_jobs=1)
        forest.fit_known(rows, rows[told], np.where(said[told] > 0, Label.ANOMALY, Label.REGULAR))
        found = -np.asarray(forest.score_samples(rows), float)
        if np.isfinite(found).all():  # else no weights meet what was said
            return found
    return isolation(rows, seed)


def isolation(rows: Floats, seed: int = 0) -> Floats:
    """Return how strange rows (n, m) are by an isolation forest (Liu et al. 2008), which learns nothing."""
    forest = IsolationForest(_TREES, min(_SUBSAMPLE, len(rows)), random_seed=seed, n_jobs=1)
    return -np.asarray(forest.fit(rows).score_samples(rows), float)
