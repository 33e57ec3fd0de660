"""How much of the catalogue is real: false alarms on what is no eclipsing binary → reliability by class and place.

A bin of tier, class, period and depth holds F rows of the catalogue. How many of them are false is measured by
trials on what cannot be one (Thompson et al. 2018, ApJS 235, 38, section 4):

- dips (class EA): light curves upside down. Of n of them k end in the bin, so that of the N stars of the catalogue that
  are no eclipsing binaries N k / n do; N is the sum of 1 - p_eb. Flares, which no dip mirrors, are taken out before.
- waves (classes EB and EW): stars that vary all the time, simulated and labelled. Of the V stars of the catalogue that
  vary and are no eclipsing binaries V k / n end in the bin; V is the sum of 1 - p_eb over those that vary.
- class E, of models that tell no classes: both, added up.

    reliability = 1 - expected / F, from 0 to 1

This is Thompson's R = 1 - (N_FP / N_PC) (1 - E) / E, with E the share of false signals that are recognised: as trials
are counted by star here, (1 - E) is k / n, and N_FP / E the number of stars. The interval is that of k / n (Wilson); F
is taken as it is. Were all rows false, F n / N trials would end in the bin; of these there must be as many as
`completeness` asks of injections, or no alarm at all could still leave every row false. Bins with fewer, or with fewer
than ten rows, take in their neighbours'; those with too few trials even so have no reliability. Rows without an
ephemeris are a bin of their own.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import convolve

from catalogs.recovery import KLASSES
from pipeline.lightcurves.completeness import ENOUGH, place
from pipeline.metrics import wilson

__all__ = ["DEPTH_EDGES", "PERIOD_EDGES", "at", "tabulate"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PERIOD_EDGES = np.array([0.05, 0.2, 0.6, 2.0, 6.0, 20.0, 60.0, 1000.0])
DEPTH_EDGES = np.array([1e-4, 1e-3, 4e-3, 0.016, 0.06, 0.25, 1.0])
_SHAPE = (PERIOD_EDGES.size - 1, DEPTH_EDGES.size - 1)

#: Sorts of trials that are a null for dips, and for waves.
_DIPS, _WAVES = ("inverted",), ("simulated", "labelled")
_ROWS = 10
_REACH = (0, 1, 2)  # bins on each side that count, step by step
_TIERS = ("high", "low")


def places(period: ArrayLike, depth: ArrayLike) -> Ints:
    """Return the number of each bin from 1; 0 without an ephemeris, -1 outside the grid."""
    periods, depths = np.asarray(period, float), np.asarray(depth, float)
    p, d = place(periods, PERIOD_EDGES), place(depths, DEPTH_EDGES)
    inside = np.where((p >= 0) & (d >= 0), 1 + p * _SHAPE[1] + d, -1)
    return np.where(np.isfinite(periods), inside, 0)


def tabulate(trials: pd.DataFrame, systems: pd.DataFrame, stars: pd.DataFrame) -> pd.DataFrame:
    """Compare false alarms with what the catalogue has.

    Parameters
    ----------
    trials : pandas.DataFrame
        Rows of `catalogs.recovery.INJECTIONS`.
    systems : pandas.DataFrame
        Rows of the catalogue: tier, klass (as found), period, depth_1.
    stars : pandas.DataFrame
        A row a star: p_eb, varies.

    Returns
    -------
    pandas.DataFrame
        Rows of `catalogs.recovery.RELIABILITY`, one a tier, class and bin.
    """
    other = 1 - stars["p_eb"].to_numpy(float)
    populations = float(other.sum()), float(other[stars["varies"].to_numpy(bool)].sum())
    nulls = [trials[trials["sort"].isin(sorts)] for sorts in (_DIPS, _WAVES)]
    frames = []
    for tier in _TIERS:
        rows = systems[systems["tier"] == tier]
        alarms = [null[null["tier"] == tier] for null in nulls]
        for klass in KLASSES:
            own = rows[rows["klass"] == klass]
            if klass == "E" and not len(own):
                continue
            found = _count(own["period"], own["depth_1"])
            false = [_of_class(kept, klass, kind) for kind, kept in enumerate(alarms)]
            frames.append(_bins(found, false, [len(null) for null in nulls], populations, klass).assign(
                tier=tier, klass=klass
            ))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def _of_class(alarms: pd.DataFrame, klass: str, kind: int) -> Ints:
    """Count alarms of a class by bin; dips (kind 0) are a null for EA, waves (1) for EB and EW."""
    if klass != "E" and (klass == "EA") == bool(kind):
        return np.zeros(_SHAPE[0] * _SHAPE[1] + 1, np.int64)
    own = alarms[alarms["klass_found"] == klass]
    return _count(own["period_found"], own["depth_found"])


def _count(period: pd.Series, depth: pd.Series) -> Ints:
    number = places(period, depth)
    return np.bincount(number[number >= 0], minlength=_SHAPE[0] * _SHAPE[1] + 1)


def _bins(
    found: Ints, false: list[Ints], trials: list[int], populations: tuple[float, float], klass: str
) -> pd.DataFrame:
    used = [klass in ("EA", "E"), klass != "EA"]
    needed = [ENOUGH * stars / n for stars, n, uses in zip(populations, trials, used, strict=True) if uses and n]
    enough = max([1, *needed])
    borrowed, (rows, dips, waves) = _borrow([found, *false], max(_ROWS, enough))
    columns: dict[str, object] = {"place": np.arange(rows.size), **_edges(), "borrowed": borrowed, "rows": rows}
    columns |= {"dips_trials": trials[0], "dips_alarms": dips, "waves_trials": trials[1], "waves_alarms": waves}
    expected, least, most = np.zeros((3, rows.size))
    for counts, n, stars, uses in zip((dips, waves), trials, populations, used, strict=True):
        if not uses:
            continue
        ends = np.array([wilson(int(k), n) for k in counts])
        expected += stars * counts / n if n else np.nan
        least, most = least + stars * ends[:, 0], most + stars * ends[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [np.clip(1 - false / rows, 0, 1) for false in (expected, most, least)]
    known = (rows >= enough) & np.isfinite(expected)
    names = ("reliability", "lower", "upper")
    columns |= {name: np.where(known, share, np.nan) for name, share in zip(names, shares, strict=True)}
    return pd.DataFrame(columns | {"expected": expected})


def _edges() -> dict[str, Floats]:
    p, d = (axis.ravel() for axis in np.indices(_SHAPE))
    edges = {"period_low": PERIOD_EDGES[p], "period_high": PERIOD_EDGES[p + 1]}
    edges |= {"depth_low": DEPTH_EDGES[d], "depth_high": DEPTH_EDGES[d + 1]}
    return {name: np.r_[np.nan, values] for name, values in edges.items()}


def _borrow(counts: list[Ints], least: float) -> tuple[Ints, list[Ints]]:
    """Return how far each bin went for the least rows, the first of `counts`, and sums over as far; 0 stands alone."""
    grids = [count[1:].reshape(_SHAPE) for count in counts]
    borrowed, summed = np.zeros(_SHAPE, np.int64), [grid.copy() for grid in grids]
    for step, reach in enumerate(_REACH):
        box = np.ones((2 * reach + 1, 2 * reach + 1), np.int64)
        wanting = (summed[0] < least) if step else np.ones(_SHAPE, bool)
        borrowed[wanting] = step
        for total, grid in zip(summed, grids, strict=True):
            total[wanting] = convolve(grid, box, mode="constant")[wanting]
    together = [np.r_[count[0], total.ravel()] for count, total in zip(counts, summed, strict=True)]
    return np.r_[0, borrowed.ravel()], together


def at(table: pd.DataFrame, systems: pd.DataFrame) -> Floats:
    """Look up the reliability of rows.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tabulate`.
    systems : pandas.DataFrame
        tier, klass, period, depth_1.

    Returns
    -------
    (n,) float64
        At the row's own tier, class and place; NaN for tier none, outside the grid, and where nothing is known.
    """
    known = table.set_index(["tier", "klass", "place"])["reliability"].astype(float)
    own = pd.MultiIndex.from_arrays([systems["tier"], systems["klass"], places(systems["period"], systems["depth_1"])])
    return known.reindex(own).to_numpy(float)
