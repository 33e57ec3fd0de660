"""How many eclipsing binaries of a kind the catalogue finds: injections → shares by magnitude, period and depth.

The completeness of a bin is k / n, of n binaries injected there the k that are found, with Wilson's interval
(Christiansen et al. 2013, ApJS 207, 35; 2020, AJ 160, 159). It takes in everything: whether an eclipse falls into the
data, whether the network sees it, and whether it passes the threshold. A bin with fewer than 20 injections borrows
those of its neighbours, in period first, where the share changes least, then in magnitude, last in depth; how far it
went is told, and a bin that finds too few even so has none.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline.bins import borrow, place
from pipeline.metrics import wilson
from pipeline.simulate.injection import DEPTHS, PERIODS

__all__ = ["DEPTH_EDGES", "ENOUGH", "PERIOD_EDGES", "TMAG_EDGES", "at", "place", "tabulate"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _geometric(limits: tuple[float, float], bins: int) -> Floats:
    # Four digits, so that tables can be read.
    return np.array([float(f"{edge:.4g}") for edge in np.geomspace(*limits, bins + 1)])


TMAG_EDGES = np.array([4.0, 8.0, 10.0, 11.0, 12.0, 13.0, 14.0, 16.0])
PERIOD_EDGES = _geometric(PERIODS, 8)
DEPTH_EDGES = _geometric(DEPTHS, 7)
_SHAPE = (TMAG_EDGES.size - 1, PERIOD_EDGES.size - 1, DEPTH_EDGES.size - 1)

ENOUGH = 20  #: trials of a bin

# Bins on each side that count, in Tmag, period and depth, step by step.
_REACH = ((0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1), (2, 2, 1))


def _bins(tmag: ArrayLike, period: ArrayLike, depth: ArrayLike) -> tuple[Ints, NDArray[np.bool_]]:
    """Return bins (n, 3), and which of them are inside the grid."""
    edges = ((tmag, TMAG_EDGES), (period, PERIOD_EDGES), (depth, DEPTH_EDGES))
    bins = np.stack([place(values, own) for values, own in edges], axis=1)
    return bins, np.asarray((bins >= 0).all(axis=1))


def tabulate(trials: pd.DataFrame) -> pd.DataFrame:
    """Count what was found of what was injected.

    Parameters
    ----------
    trials : pandas.DataFrame
        Rows of `catalogs.recovery.INJECTIONS`; those injected count.

    Returns
    -------
    pandas.DataFrame
        Rows of `catalogs.recovery.COMPLETENESS`, one a bin.
    """
    own = trials[trials["sort"] == "injected"]
    bins, inside = _bins(own["tmag"], own["period"], own["depth"])
    tier, counts = own["tier"].to_numpy(), []
    for kept in (inside, inside & (tier == "high"), inside & (tier != "none")):
        count = np.zeros(_SHAPE, np.int64)
        np.add.at(count, tuple(bins[kept].T), 1)
        counts.append(count)
    borrowed, summed = borrow(counts, _REACH, ENOUGH)
    injected, found, found_low = (count.ravel() for count in summed)
    lows, highs = zip(*map(wilson, found.tolist(), injected.tolist()), strict=True)
    enough = injected >= ENOUGH
    t, p, d = (axis.ravel() for axis in np.indices(_SHAPE))
    columns = {
        "tmag_low": TMAG_EDGES[t],
        "tmag_high": TMAG_EDGES[t + 1],
        "period_low": PERIOD_EDGES[p],
        "period_high": PERIOD_EDGES[p + 1],
        "depth_low": DEPTH_EDGES[d],
        "depth_high": DEPTH_EDGES[d + 1],
        "own": counts[0].ravel(),
        "borrowed": borrowed.ravel(),
        "injected": injected,
        "found": found,
        "found_low": found_low,
        "completeness": np.where(enough, found / np.maximum(injected, 1), np.nan),
        "lower": np.where(enough, lows, np.nan),
        "upper": np.where(enough, highs, np.nan),
    }
    return pd.DataFrame(columns)


def at(table: pd.DataFrame, tmag: ArrayLike, period: ArrayLike, depth: ArrayLike) -> Floats:
    """Look up the completeness at some places.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tabulate`, its rows in any order.
    tmag, period, depth : (n,) array_like
        Magnitudes, days, relative depths; NaN allowed.

    Returns
    -------
    (n,) float64
        Of the bin; NaN outside the grid, and where too few were injected.
    """
    grid = np.full(_SHAPE, np.nan)
    rows, known = _bins(table["tmag_low"], table["period_low"], table["depth_low"])
    grid[tuple(rows[known].T)] = table["completeness"].to_numpy(float)[known]
    bins, inside = _bins(tmag, period, depth)
    return np.where(inside, grid[tuple(np.where(inside[:, None], bins, 0).T)], np.nan)
