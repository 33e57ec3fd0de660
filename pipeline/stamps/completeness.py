"""How many pairs are found: simulated stacks, scored → shares by separation, difference of magnitudes and S/N.

The completeness of a bin is k / n, of n pairs simulated there the k with p at the threshold or above, with Wilson's
interval, for each survey by itself and for each group of surveys. A bin with fewer than 20 pairs borrows those of its
neighbours, in S/N first, where the share changes least, then in Δm, last in separation; how far it went is told, and a
bin that finds too few even so has none.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from catalogs import write as parquet
from catalogs.figures import Picture, canvas, embed
from catalogs.folder import Folder
from catalogs.stamps import COMPLETENESS, EVERY
from pipeline.bins import borrow, place
from pipeline.errors import UsageError
from pipeline.fusion import EDGES
from pipeline.metrics import wilson
from pipeline.stamps import surveys

__all__ = ["DM_EDGES", "ENOUGH", "SEP_EDGES", "SNR_EDGES", "counts", "draw", "of", "panel", "read", "table",
           "to_bytes", "write"]  # fmt: skip

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEP_EDGES = np.array(EDGES)
DM_EDGES = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0])
SNR_EDGES = np.array([5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 5000.0])
_EDGES = (SEP_EDGES, DM_EDGES, SNR_EDGES)
_SHAPE = tuple(edges.size - 1 for edges in _EDGES)

ENOUGH = 20  #: pairs of a bin

# Bins on each side that count, in separation, difference of magnitudes and S/N, step by step.
_REACH = ((0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1), (1, 1, 2))

_ANY = -2  # in the place of a bin: it is not known which

_ACROSS = 4


def table(lessons: pd.DataFrame, threshold: float | None = None) -> pd.DataFrame:
    """Count what is found of simulated pairs.

    Parameters
    ----------
    lessons : pandas.DataFrame
        survey, label, sep_arcsec, delta_mag and snr_1, as in `catalogs.stamps.LESSONS`, of stacks that nothing was
        learnt from; p, the score that the threshold is for, and without `threshold` also that. Stacks of single stars,
        and pairs off the bins, do not count.
    threshold : float, optional
        p from which on a pair is found.

    Returns
    -------
    pandas.DataFrame
        Rows of `catalogs.stamps.COMPLETENESS`.
    """
    own = lessons[(lessons["label"] == 1) & lessons["p"].notna()]
    own = own[(_bins(own["sep_arcsec"], own["delta_mag"], own["snr_1"]) >= 0).all(axis=1)]
    found = own["p"].to_numpy(float) >= (own["threshold"].to_numpy(float) if threshold is None else threshold)
    names = own["survey"].to_numpy(object)
    groups = {name: surveys.group(name) for name in sorted(set(names))}
    parts = []
    for group in sorted(set(groups.values())):
        members = [name for name in groups if groups[name] == group]
        for name, which in [(EVERY, members), *((member, [member]) for member in members)]:
            rows = np.isin(names, which)
            parts.append(_shares(*counts(own[rows], found[rows])).assign(group=group, survey=name))
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COMPLETENESS.names)
    return rows[COMPLETENESS.names].sort_values(list(COMPLETENESS.sort), ignore_index=True)


def _bins(sep: ArrayLike, dm: ArrayLike, snr: ArrayLike) -> Ints:
    """Return bins (n, 3), -1 off the edges; what is above the last S/N is as good as there."""
    brightest = np.minimum(np.asarray(snr, float), SNR_EDGES[-1])
    return np.stack([place(one, edges) for one, edges in zip((sep, dm, brightest), _EDGES, strict=True)], axis=1)


def counts(pairs: pd.DataFrame, found: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return how many pairs lie in each bin, and how many of these are found; those off the bins do not count.

    Parameters
    ----------
    pairs : pandas.DataFrame
        sep_arcsec, delta_mag, snr_1.
    found : (n,) array of bool
        Which are found.

    Returns
    -------
    there, seen : (8, 6, 7) int64
        By separation, difference of magnitudes and S/N.
    """
    bins = _bins(pairs["sep_arcsec"], pairs["delta_mag"], pairs["snr_1"])
    inside = (bins >= 0).all(axis=1)
    there, seen = np.zeros(_SHAPE, np.int64), np.zeros(_SHAPE, np.int64)
    np.add.at(there, tuple(bins[inside].T), 1)
    np.add.at(seen, tuple(bins[inside & found].T), 1)
    return there, seen


def _shares(there: Ints, seen: Ints) -> pd.DataFrame:
    borrowed, summed = borrow([there, seen], _REACH, ENOUGH)
    pairs, kept = (count.ravel() for count in summed)
    lower, upper = np.array([_interval(*one) for one in zip(kept.tolist(), pairs.tolist(), strict=True)]).T
    places = [axis.ravel() for axis in np.indices(_SHAPE)]
    enough = pairs >= ENOUGH
    columns = {
        f"{name}_{end}": edges[where + (end == "high")]
        for name, edges, where in zip(("sep", "dm", "snr"), _EDGES, places, strict=True)
        for end in ("low", "high")
    }
    return pd.DataFrame(columns).assign(
        own=there.ravel(), borrowed=borrowed.ravel(), pairs=pairs, found=kept,
        completeness=np.where(enough, kept / np.maximum(pairs, 1), np.nan),
        lower=np.where(enough, lower, np.nan), upper=np.where(enough, upper, np.nan),
    )  # fmt: skip


@lru_cache(maxsize=1 << 16)
def _interval(found: int, pairs: int) -> tuple[float, float]:
    return wilson(found, pairs)


def of(table: pd.DataFrame, survey: str | Sequence[str], snr: ArrayLike, sep: ArrayLike, dm: ArrayLike) -> Floats:
    """Look up the share of such pairs that is found.

    Parameters
    ----------
    table : pandas.DataFrame
        From `table`.
    survey : str or (n,) sequence of str
        Survey; of one of skysift's own without rows of its own it is that of its group.
    snr, sep, dm : (n,) array_like
        Signal to noise of the brighter star, separation (arcsec), difference of magnitudes; NaN where it is not known:
        the mean over the pairs that were simulated there.

    Returns
    -------
    (n,) float64
        NaN off the bins, and where too few were simulated.
    """
    numbers = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in (sep, dm, snr)))
    names = np.broadcast_to(np.asarray(survey, object), numbers[0].shape)
    bins = np.where(np.isnan(numbers).T, _ANY, _bins(*numbers))
    out = np.full(numbers[0].shape, np.nan)
    for name in sorted(set(names)):
        if (found := _grid(table, str(name))) is not None:
            rows = np.flatnonzero(names == name)
            places, which = np.unique(bins[rows], axis=0, return_inverse=True)
            shares = np.array([_mean(*found, [_slice(one) for one in where]) for where in places.tolist()])
            out[rows] = shares[which.ravel()]
    return out


def _slice(place: int) -> slice:
    return slice(None) if place == _ANY else slice(place, place + 1) if place >= 0 else slice(0, 0)


def _mean(share: Floats, own: Floats, where: Sequence[slice]) -> float:
    """Return the mean share of bins by how many pairs were simulated in each; by itself, that of one bin."""
    inside, weight = share[tuple(where)], own[tuple(where)]
    known = np.isfinite(inside)
    if not known.any():
        return float("nan")
    weight = weight[known] if weight[known].any() else np.ones(int(known.sum()))
    return float(np.average(inside[known], weights=weight))


def _grid(table: pd.DataFrame, survey: str) -> tuple[Floats, Floats] | None:
    """Return the shares of a survey in all bins, and how many pairs were simulated there; None if none at all."""
    try:
        survey, group = surveys.get(survey).name, surveys.group(survey)
    except UsageError:
        group = None
    own = table[table["survey"] == survey]
    if not len(own):
        own = table[(table["survey"] == EVERY) & (table["group"] == group)]
    if not len(own):
        return None
    bins = tuple(place(own[f"{name}_low"], edges) for name, edges in zip(("sep", "dm", "snr"), _EDGES, strict=True))
    grids = []
    for name, empty in (("completeness", np.nan), ("own", 0.0)):
        grid = np.full(_SHAPE, empty)
        grid[bins] = own[name].to_numpy(float)
        grids.append(grid)
    return grids[0], grids[1]


def draw(table: pd.DataFrame, snr: tuple[float, float] = (20.0, 500.0)) -> Picture:
    """Draw the share found over separation and difference of magnitudes, a panel a survey and a group.

    Parameters
    ----------
    table : pandas.DataFrame
        From `table`.
    snr : tuple of float
        Edges of the S/N that are taken together, in the numbers in which they were simulated.
    """
    panels = list(_panels(table, snr))
    across = min(_ACROSS, max(len(panels), 1))
    rows = max(-(-len(panels) // across), 1)
    figure, axes = canvas(rows, across, width=13.0 * across / _ACROSS, height=2.9 * rows, sharex=True, sharey=True)
    for axis, (title, shares) in zip(axes.flat, panels, strict=False):
        panel(axis, shares)
        axis.set_title(title)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("separation (arcsec)")
    for axis in axes[:, 0]:
        axis.set_ylabel("Δm (mag)")
    words = (
        f"Per cent of simulated pairs that are found at the threshold of the model's card, S/N {snr[0]:g} to "
        f"{snr[1]:g}; a dash: too few to tell"
    )
    names = ", ".join(title for title, _ in panels)
    return embed(figure, f"{words}: {names}.", words + ".", wide=across > 2)


def _panels(table: pd.DataFrame, snr: tuple[float, float]) -> Iterator[tuple[str, Floats]]:
    """Return titles and shares (separation, difference of magnitudes): surveys first, the finest before the others."""
    kept = table[(table["snr_low"] >= snr[0]) & (table["snr_high"] <= snr[1])]
    single = kept[kept["survey"] != EVERY]
    names = single[["group", "survey"]].drop_duplicates().sort_values(["group", "survey"], ascending=[False, True])
    groups = [(int(group), EVERY) for group in sorted(set(table["group"]), reverse=True)]
    for group, name in [*names.itertuples(index=False), *groups]:
        own = kept[(kept["group"] == group) & (kept["survey"] == name)]
        found = _grid(own, name)
        if found is not None:
            shares = [[_mean(*found, [slice(i, i + 1), slice(j, j + 1), slice(None)]) for j in range(_SHAPE[1])]
                      for i in range(_SHAPE[0])]  # fmt: skip
            yield (f"group {group}" if name == EVERY else f"{name}"), np.array(shares)


def panel(axis: Axes, shares: Floats) -> None:
    """Draw shares (separation, difference of magnitudes) of the bins as per cents, NaN as a dash.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        Where.
    shares : (8, 6) array
        Of pairs in each bin that are found.
    """
    axis.pcolormesh(SEP_EDGES, DM_EDGES, np.ma.masked_invalid(shares.T), cmap="Blues", vmin=0, vmax=1, linewidth=0)
    for (i, j), share in np.ndenumerate(shares):
        where = np.sqrt(SEP_EDGES[i] * SEP_EDGES[i + 1]), (DM_EDGES[j] + DM_EDGES[j + 1]) / 2
        text, color = ("–", "#888888") if np.isnan(share) else (f"{100 * share:.0f}", "w" if share > 0.6 else "#333333")
        axis.text(*where, text, ha="center", va="center", fontsize=7.5, color=color)
    axis.set_xscale("log")
    axis.set_xticks([0.1, 0.3, 1.0, 2.5], labels=["0.1", "0.3", "1", "2.5"])
    axis.set_xticks([], minor=True)
    axis.grid(False)


def to_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as a Parquet file; the same table gives the same bytes."""
    return parquet.to_bytes(_arrow(table), COMPLETENESS)


def _arrow(table: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(table, COMPLETENESS.arrow_schema(), preserve_index=False)


def write(folder: Folder, where: str, table: pd.DataFrame) -> None:
    """Write ``completeness.parquet`` and ``completeness.png`` beside a catalogue; the picture first.

    Parameters
    ----------
    folder : Folder
        Workspace.
    where : str
        Folder in it, ``catalogs/visual_binaries/model=<id>``.
    table : pandas.DataFrame
        From `table`.
    """
    folder.write(f"{where}/completeness.png", draw(table).png)
    parquet.write(folder, f"{where}/completeness.parquet", _arrow(table), COMPLETENESS)


def read(folder: Folder, where: str = "") -> pd.DataFrame | None:
    """Return the table that `write` has written to a folder; None if there is none."""
    path = f"{where}/completeness.parquet".removeprefix("/")
    return parquet.read(folder, path, COMPLETENESS).to_pandas() if folder.exists(path) else None
