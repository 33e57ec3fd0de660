"""What pages show of light curves and scores."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from catalogs.pages import COLORS, Picture, canvas, embed
from pipeline.lightcurves.periodogram import gls

__all__ = ["confusion", "folded", "histogram", "kinds", "ranked", "trade"]

Floats = NDArray[np.float64]

_EB, _OTHER, _PLAIN = COLORS[1], COLORS[0], "#6b7686"
_PAIR, _WIDE = 6.3, 13.0


def histogram(scores: Mapping[str, Sequence[float]], threshold: float, caption: str) -> Picture:
    """Draw a histogram of probabilities.

    Parameters
    ----------
    scores : mapping
        Name of a group ('EB', 'not EB', anything else) → p_eb of its stars.
    threshold : float
        Where candidates begin.
    caption : str
        Line below.
    """
    figure, axes = canvas(width=_PAIR, height=3.6)
    axis, bins = axes[0, 0], np.linspace(0, 1, 26)
    colors = {"EB": _EB, "not EB": _OTHER}
    for name, values in scores.items():
        color = colors.get(name, _PLAIN)
        label = f"{name} ({len(values):,})"
        axis.hist(values, bins, histtype="stepfilled", color=color, alpha=0.25)
        axis.hist(values, bins, histtype="step", color=color, linewidth=1.6, label=label)
    _threshold(axis, threshold)
    if max((len(values) for values in scores.values()), default=0) > 2000:
        axis.set_yscale("log")
    axis.set(xlabel="p_eb", ylabel="stars", xlim=(0, 1))
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_ylim(top=axis.get_ylim()[1] * (30 if axis.get_yscale() == "log" else 1.3))
    axis.legend(frameon=False, fontsize=9.5, loc=(0.04, 0.82))
    counts = "; ".join(f"{name}: {np.sum(np.asarray(v) >= threshold)} of {len(v)}" for name, v in scores.items())
    return embed(figure, f"Histogram of p_eb. At or above {threshold:.3g}: {counts}.", caption)


def _threshold(axis: Axes, threshold: float) -> None:
    axis.axvline(threshold, color="#333333", linewidth=1, linestyle=(0, (4, 3)))
    place = ("right", -5) if threshold > 0.5 else ("left", 5)
    axis.annotate(
        f"threshold {threshold:.3g}", (threshold, 0.93), xycoords=("data", "axes fraction"), ha=place[0],
        xytext=(place[1], 0), textcoords="offset points", fontsize=8.5, color="#333333",
    )  # fmt: skip


def ranked(scores: Sequence[float], threshold: float, caption: str) -> Picture:
    """Draw how many stars have a p_eb of at least so much."""
    figure, axes = canvas(width=_PAIR, height=3.6)
    axis, values = axes[0, 0], np.sort(np.asarray(scores))[::-1]
    axis.step(values, np.arange(1, len(values) + 1), where="post", color=_OTHER, linewidth=1.6)
    _threshold(axis, threshold)
    axis.set(xlabel="p_eb", ylabel="stars with at least that p_eb", xlim=(0, 1), ylim=(0.8, None), yscale="log")
    return embed(figure, f"Number of stars above each p_eb; {np.sum(values >= threshold)} at {threshold:.3g}.", caption)


def trade(precision: Floats, recall: Floats, base: float, point: tuple[float, float], caption: str) -> Picture:
    """Draw precision over recall.

    Parameters
    ----------
    precision, recall : (n,) float64
        From `pipeline.lightcurves.truth.precision_recall`.
    base : float
        Share of eclipsing binaries, which a coin would reach.
    point : tuple of float
        Recall and precision at the threshold.
    caption : str
        Line below.
    """
    figure, axes = canvas(width=_PAIR, height=3.6)
    axis = axes[0, 0]
    axis.step(np.r_[0, recall], np.r_[precision[:1], precision], where="pre", color=_EB, linewidth=1.8)
    axis.axhline(base, color="#333333", linewidth=1, linestyle=(0, (4, 3)))
    axis.annotate(
        f"a coin: {base:.2f}",
        (0.02, base),
        xytext=(0, 5),
        textcoords="offset points",
        fontsize=8.5,
        color="#333333",
    )
    axis.plot(*point, "o", color=_EB, markersize=7)
    axis.annotate(
        "at the threshold",
        point,
        xytext=(-9, -12),
        textcoords="offset points",
        fontsize=8.5,
        color="#333333",
        ha="right",
    )
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.04))
    return embed(figure, f"Precision over recall; at the threshold {point[1]:.2f} over {point[0]:.2f}.", caption)


def confusion(counts: NDArray[np.int64], caption: str) -> Picture:
    """Draw a confusion matrix, shape (2, 2): truth (not EB, EB) by verdict (left, found)."""
    figure, axes = canvas(width=_PAIR, height=3.6)
    axis = axes[0, 0]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(2, dtype=bool)
    for row, column in np.ndindex(2, 2):
        color = _OTHER if right[row, column] else _EB
        alpha = 0.08 + 0.62 * float(share[row, column])
        axis.fill_between([column - 0.48, column + 0.48], row - 0.47, row + 0.47, color=color, alpha=alpha, linewidth=0)
        axis.text(column, row - 0.06, f"{counts[row, column]:,}", ha="center", va="center", fontsize=22)
        axis.text(column, row + 0.25, f"{share[row, column]:.0%} of row", ha="center", va="center", fontsize=9)
    axis.set(xlim=(-0.52, 1.52), ylim=(1.52, -0.52), xticks=[0, 1], yticks=[0, 1])
    axis.set_xticklabels(["left\n(below the threshold, or no score)", "found\n(at or above it)"], fontsize=9.5)
    axis.set_yticklabels(["in truth\nnot EB", "in truth\nEB"], fontsize=9.5)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.grid(False)
    (a, b), (c, d) = counts.tolist()
    alt = f"Confusion matrix: eclipsing binaries {d} found, {c} left; other stars {b} found, {a} left."
    return embed(figure, alt, caption)


def kinds(table: pd.DataFrame, caption: str) -> Picture:
    """Draw which share of each kind of star was found: kind, truth, stars, found, share, low, high."""
    figure, axes = canvas(width=_PAIR, height=3.6)
    axis, rows = axes[0, 0], np.arange(len(table))
    for truth, color in (("EB", _EB), ("not EB", _OTHER)):
        own = (table["truth"] == truth).to_numpy()
        low, high, share = (table.loc[own, name].to_numpy() for name in ("low", "high", "share"))
        axis.hlines(rows[own], low, high, color=color, linewidth=5, alpha=0.3)
        axis.plot(share, rows[own], "o", color=color, markersize=6, label=truth)
    labels = [f"{r.kind}  ({r.found} of {r.stars})" for r in table.itertuples()]
    axis.set_yticks(rows, labels)
    axis.set(xlabel="share found", xlim=(-0.03, 1.03), ylim=(len(table) - 0.4, -0.6))
    axis.grid(axis="y", visible=False)
    return embed(figure, f"Stars found by kind: {'; '.join(labels)}.", caption)


def _minimum(time: Floats, flux: Floats, period: float) -> float:
    """Return a time of minimum, the middle of the faintest two-hundredth of the cycle."""
    # Means, not medians: an eclipse that only some cycles have counts too.
    phase = (time / period) % 1
    return float((int(np.nanargmin(_binned(phase, flux, 200, "mean"))) + 0.5) / 200 * period)


def _binned(phase: Floats, flux: Floats, bins: int, how: str = "median") -> Floats:
    """Medians or means of flux in bins of phase in [0, 1), NaN where a bin is empty."""
    groups = pd.Series(flux).groupby(np.minimum((phase * bins).astype(int), bins - 1)).agg(how)
    return np.asarray(groups.reindex(np.arange(bins)), dtype=np.float64)


def folded(time: Floats, flux: Floats, period: float, name: str, caption: str, what: str = "gls_period") -> Picture:
    """Draw a light curve in time, folded at a period and folded at twice that.

    Parameters
    ----------
    time, flux : (n,) float64
        BTJD, and flux relative to its median; finite.
    period : float
        Days.
    name : str
        Whose light curve it is.
    caption : str
        Line below.
    what : str
        What the period is called; a ``gls_period``, which is of a grid, is sharpened to the peak of the periodogram
        that lies within 0.8% of it.
    """
    figure, axes = canvas(1, 3, width=_WIDE, height=2.5, sharey=True, width_ratios=[1.5, 1, 1])
    left = axes[0, 0]
    # Ten thousand dots show their density, one thousand would fade from sight.
    few = len(time) < 3000
    dots = {"markersize": 3.2 if few else 1.8, "color": _PLAIN, "alpha": 0.8 if few else 0.45, "markeredgewidth": 0}
    left.plot(time, flux, ".", **dots)
    left.set(xlabel="BTJD (d)", ylabel="relative flux", title=name)
    low, high = np.percentile(flux, [0.05, 99.7])
    left.set_ylim(low - 0.08 * (high - low), high + 0.1 * (high - low))
    period = _sharpened(time, flux, period) if what == "gls_period" else period
    start = _minimum(time, flux, 2 * period)
    # In units of the double cycle: one minimum at 0, the other near a half.
    phase = ((time - start) / (2 * period) + 0.25) % 1 - 0.25
    lines, middles = _binned(phase + 0.25, flux, 200), (np.arange(200) + 0.5) / 200 - 0.25
    cycles = ((slice(0, 100), 0.0, _OTHER), (slice(100, 200), 0.5, _EB))
    single, double = axes[0, 1:]
    single.plot((2 * phase + 0.5) % 1 - 0.5, flux, ".", **dots)
    double.plot(phase, flux, ".", **dots)
    for half, origin, color in cycles:
        single.plot(2 * (middles[half] - origin), lines[half], color=color, linewidth=1.6)
        double.plot(middles[half], lines[half], color=color, linewidth=1.6)
    single.set(xlabel="phase", xlim=(-0.5, 0.5), title=f"folded at {what}: {period:.5g} d")
    double.set(xlabel="phase", xlim=(-0.25, 0.75), title=f"folded at twice {what}: {2 * period:.5g} d")
    return embed(
        figure,
        f"{name}: light curve in time, folded at {period:.5g} d and at twice that.",
        caption,
        wide=True,
    )


def _sharpened(time: Floats, flux: Floats, period: float) -> float:
    """Return the period of highest power near one from a grid whose steps of 0.8% would smear the fold."""
    steps = int(np.clip(1.6 * np.ptp(time) / period, 20, 20_000))  # a hundred to a width of the peak
    periods = period * np.linspace(0.992, 1.008, 2 * (steps // 2) + 1)
    return float(periods[np.argmax(gls(time, flux, periods))])
