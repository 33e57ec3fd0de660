"""Counts in bins of several quantities; a bin with too few trials borrows those of its neighbours."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import convolve

__all__ = ["borrow", "place"]

Ints = NDArray[np.int64]


def place(values: ArrayLike, edges: NDArray[np.float64]) -> Ints:
    """Return the bin of each value, -1 outside the edges; the last edge belongs to the last bin."""
    numbers = np.asarray(values, float)
    found = np.searchsorted(edges, numbers, side="right") - 1
    found = np.where(numbers == edges[-1], edges.size - 2, found)
    return np.where((numbers >= edges[0]) & (numbers <= edges[-1]), found, -1).astype(np.int64)


def borrow(counts: Sequence[Ints], reach: Sequence[tuple[int, ...]], enough: int) -> tuple[Ints, list[Ints]]:
    """Add neighbours' counts to those of bins with too few trials.

    Parameters
    ----------
    counts : sequence of int64 array
        Trials in each bin, then of these what was found; all of one shape.
    reach : sequence of tuple of int
        Bins on each side that count, along each axis, step by step; none in the first step.
    enough : int
        Trials of a bin from which on it borrows no more.

    Returns
    -------
    borrowed : int64 array
        How many steps each bin went.
    summed : list of int64 array
        The counts with what was borrowed.
    """
    shape = counts[0].shape
    borrowed, summed = np.zeros(shape, np.int64), [count.copy() for count in counts]
    for step, widths in enumerate(reach):
        box = np.ones([2 * width + 1 for width in widths], np.int64)
        wanting = (summed[0] < enough) if step else np.ones(shape, bool)
        borrowed[wanting] = step
        for total, count in zip(summed, counts, strict=True):
            total[wanting] = convolve(count, box, mode="constant")[wanting]
    return borrowed, summed
