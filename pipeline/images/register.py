"""Registration: which star of one image is which of the other, and what the WCSs leave of a shift."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.images.align import Coordinates, Warp, design

__all__ = ["Fit", "correct", "pair_up"]

#: Jitter below it is none, px: it changes no significance by a tenth up to an S/N of 100.
_STEADY = 0.005

#: Pairs of stars that must agree on a shift, beyond those that do by chance.
_AGREE = 3

#: A polynomial of degree d is tried with at least this many stars.
_STARS_FOR = {0: 1, 1: 8, 2: 25, 3: 120}


@dataclass(frozen=True, eq=False)
class Fit:
    """What stars say of the way between two images.

    Parameters
    ----------
    warp : Warp
        Corrected.
    rms : (2,) float64
        Of the stars' residuals in x and y, clipped, weighted by their errors, reference px.
    jitter : (2,) float64
        What of it the errors of the positions do not explain: σ of the registration.
    used : (n,) bool
        Stars that were not clipped.
    moved : float
        The most that the correction moves any of the stars, px.
    """

    warp: Warp
    rms: Coordinates
    jitter: Coordinates
    used: NDArray[np.bool_]
    moved: float


def pair_up(
    warp: Warp, science: Coordinates, reference: Coordinates, reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Warp]:
    """Find stars of the reference in the science image.

    Parameters
    ----------
    warp : Warp
        The way by the WCSs.
    science, reference : (n, 2) and (m, 2) float64
        Positions, px of each image, brightest first.
    reach : float
        How far the WCSs may be off, science px.

    Returns
    -------
    i, j : (k,) int64
        Rows of `science` and `reference` that are the same star.
    warp : Warp
        Corrected by the shift, or the plane, that they tell.
    """
    none = np.zeros(0, np.int64)
    if not len(science) or not len(reference):
        return none, none, warp
    xs, ys = warp(reference[:, 0], reference[:, 1])
    seen = np.flatnonzero(np.isfinite(xs))
    tree = cKDTree(science)
    expected = np.stack([xs, ys], -1)
    shift = _vote(tree, expected[seen], reach)
    if shift is None:
        return none, none, warp
    correction = np.array([[shift[0]], [shift[1]]])
    order, i, j = 0, none, none
    for tolerance in (2.0, 1.5, 1.0):
        trial = warp.corrected(order, correction)
        at = np.stack(trial(reference[seen, 0], reference[seen, 1]), -1)
        distance, nearest = tree.query(at, distance_upper_bound=tolerance)
        # One star each: of those that share a partner the nearest has it.
        ranked = np.lexsort((distance,))
        _, first = np.unique(nearest[ranked], return_index=True)
        chosen = ranked[first]
        chosen = np.sort(chosen[np.isfinite(distance[chosen])])
        i, j = nearest[chosen].astype(np.int64), seen[chosen].astype(np.int64)
        if not len(i):
            return none, none, warp
        rest = science[i] - expected[j]
        order, correction, _ = _polynomial(warp, reference[j], rest, np.full(len(i), 0.1), 1)
    return i, j, warp.corrected(order, correction)


def _vote(tree: cKDTree, expected: Coordinates, reach: float) -> Coordinates | None:
    """Return the shift on which most pairs of stars agree, or None without a pair."""
    pairs = tree.query_ball_point(expected, reach)
    offsets = np.concatenate(
        [tree.data[found] - at for found, at in zip(pairs, expected, strict=True) if found] or [[]]
    )
    if not len(offsets):
        return None
    offsets = offsets.reshape(-1, 2)
    near = cKDTree(offsets).query_ball_point(offsets, 1.0)
    # Of equally many the smallest shift: a WCS is more often right than wrong.
    best = min(range(len(near)), key=lambda k: (-len(near[k]), float(np.hypot(*offsets[k]))))
    # So many agree by chance that are no pairs at all; where no more do, the WCS is believed.
    chance = len(offsets) / reach**2
    if len(near[best]) < _AGREE + 3 * np.sqrt(chance) + chance:
        return np.zeros(2) if (np.hypot(*offsets.T) < 2.0).any() else None
    return np.asarray(np.median(offsets[near[best]], axis=0))


def correct(warp: Warp, reference: Coordinates, offset: Coordinates, error: Coordinates, order: int = 3) -> Fit:
    """Correct a way by the residuals of stars on it.

    Parameters
    ----------
    warp : Warp
        The way by which the science image was resampled.
    reference : (n, 2) float64
        Stars on the reference, px.
    offset : (n, 2) float64
        How far the same stars are from there on the resampled science image, reference px.
    error : (n,) float64
        Error of each offset, px in each coordinate.
    order : int
        Highest degree of the polynomial over the field.

    Returns
    -------
    Fit
        The corrected way and what is left.
    """
    jacobian = warp.jacobian(reference[:, 0], reference[:, 1])
    moved = np.einsum("nij,nj->ni", jacobian, offset)
    degree, terms, used = _polynomial(warp, reference, moved, error, order)
    change = design(*warp.normalised(*reference.T), degree) @ terms.T
    rest = moved - change
    rest = np.linalg.solve(jacobian, rest[..., None])[..., 0]
    weight = 1 / (error[used] ** 2 + 0.01**2)
    squares = rest[used] ** 2
    rms = np.sqrt((weight[:, None] * squares).sum(0) / weight.sum())
    expected = (weight * error[used] ** 2).sum() / weight.sum()
    free = max(1 - design(np.zeros(1), np.zeros(1), degree).shape[-1] / max(used.sum(), 1), 0.1)
    # What the fit itself is uncertain by, with few stars, is part of it.
    jitter = np.sqrt(np.maximum(rms**2 / free - expected, 0.0) + 1 / weight.sum() * (1 / free))
    jitter = np.where(jitter < _STEADY, 0.0, jitter)
    total = max(degree, warp.order)
    sum_of = _padded(warp.correction, total) + _padded(terms, total)
    return Fit(warp.corrected(total, sum_of), rms, jitter, used, float(np.abs(change).max()))


def _padded(terms: Coordinates, order: int) -> Coordinates:
    """Return coefficients of a polynomial written as one of a higher degree."""
    out = np.zeros((2, (order + 1) * (order + 2) // 2))
    out[:, : terms.shape[1]] = terms
    return out


def _polynomial(
    warp: Warp, reference: Coordinates, offset: Coordinates, error: Coordinates, highest: int
) -> tuple[int, Coordinates, NDArray[np.bool_]]:
    """Return degree, coefficients (2, k) and stars used of the polynomial that explains offsets best (BIC), clipped."""
    u, v = warp.normalised(reference[:, 0], reference[:, 1])
    used: NDArray[np.bool_] = np.ones(len(u), bool)
    sigma = np.hypot(error, 0.003)[:, None]
    best: tuple[float, int, Any] = (np.inf, 0, np.median(offset, axis=0)[:, None])
    middle = np.median(offset, axis=0)
    for _ in range(4):
        best = (np.inf, 0, middle[:, None])
        for order in range(highest + 1):
            if used.sum() < _STARS_FOR[order]:
                break
            matrix = design(u, v, order)
            terms, *_ = np.linalg.lstsq(matrix[used] / sigma[used], offset[used] / sigma[used], rcond=None)
            rest = (offset - matrix @ terms) / sigma
            scale = max(1.0, 1.4826 * float(np.median(np.abs(rest[used]))))
            chi2 = float(np.minimum((rest[used] / scale) ** 2, 25).sum()) + 4 * used.sum() * np.log(scale)
            score = chi2 + 2 * matrix.shape[1] * np.log(2 * used.sum())
            if score < best[0]:
                best = score, order, terms.T
        rest = np.abs(offset - design(u, v, best[1]) @ best[2].T) / sigma
        scale = max(1.0, 1.4826 * float(np.median(rest[used])))
        now = np.asarray((rest < 4 * scale).all(axis=1))
        if now.sum() < 3 or (now == used).all():
            break
        used = now
    return best[1], best[2], used
