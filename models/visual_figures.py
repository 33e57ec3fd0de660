"""Figures of how a model of visual binaries does: what it finds, what it lets pass, how far probabilities hold."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.figures import COLORS, Picture, canvas, embed
from models.visual_rates import FALSE, FRAME, framed, grid
from models.visual_standing import VisualStanding
from pipeline.stamps.completeness import DM_EDGES, SEP_EDGES, panel
from pipeline.stamps.surveys import able, get

__all__ = ["figures"]

Floats = NDArray[np.float64]

_LEAST = 1e-4
_ENOUGH = 10  # pairs of a cell whose share is told


def figures(
    told: Mapping[str, Any], rows: pd.DataFrame, standing: VisualStanding, every: pd.DataFrame
) -> dict[str, Picture]:
    """Return pictures by name of file: completeness, reliability, rates.

    Parameters
    ----------
    told : mapping
        From `models.visual_judgement.judge`.
    rows, standing
        What it was made of.
    every : pandas.DataFrame
        All that `rows` were drawn from, for the completeness of pairs.
    """
    odds = standing.odds(standing.evidence(rows))
    pairs = every[(every["label"] > 0).to_numpy() & framed(every)]
    found = _completeness(told, pairs, standing.odds(standing.evidence(pairs)))
    drawn = {"completeness.png": found, "rates.png": _rates(rows, odds)}
    return drawn | {"reliability.png": _reliability(told["calibration"])}


def _completeness(told: Mapping[str, Any], pairs: pd.DataFrame, odds: Floats) -> Picture:
    """Draw completeness at the first share of false ones by separation and difference of magnitudes."""
    names = [name for name in told["surveys"] if able(get(name))] or list(told["surveys"])
    columns = min(4, len(names))
    figure, axes = canvas(-(-len(names) // columns), columns, 2.6 * columns, 2.3 * -(-len(names) // columns))
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        cut = told["surveys"][name][f"at_{FALSE[0]:g}"]["cut"]
        some = (pairs["survey"] == name).to_numpy()
        cells = grid(pairs[some], odds[some], np.inf if cut is None else cut)
        counts = cells.groupby(["sep_arcsec", "delta_mag"])[["n", "found"]].sum()
        shares = (counts["found"] / counts["n"]).where(counts["n"] >= _ENOUGH).unstack()
        panel(axis, shares.reindex(index=SEP_EDGES[:-1], columns=DM_EDGES[:-1]).to_numpy(float))
        axis.set(title=name, xlabel="separation, arcsec", ylabel="Δm")
    caption = (
        f"Per cent of doubles that are found, S/N {FRAME['snr_1'][0]:g} to {FRAME['snr_1'][1]:g}; {FALSE[0]:.0%} of "
        f"what is not double is taken for it. A dash: fewer than {_ENOUGH} pairs."
    )
    return embed(figure, "Completeness by separation and difference of magnitudes in each survey", caption, wide=True)


def _rates(rows: pd.DataFrame, odds: Floats) -> Picture:
    figure, ((axes,),) = canvas(width=5.5, height=4)
    inside = framed(rows)
    for number, (name, some) in enumerate(rows[inside].assign(odds=odds[inside]).groupby("survey")):
        double = (some["label"] > 0).to_numpy()
        if not double.any() or double.all():
            continue
        cuts = np.quantile(some["odds"], np.linspace(0, 1, 400))
        false = [(some["odds"].to_numpy()[~double] > cut).mean() for cut in cuts]
        found = [(some["odds"].to_numpy()[double] > cut).mean() for cut in cuts]
        axes.plot(np.maximum(false, _LEAST), found, color=COLORS[number % len(COLORS)],
                  ls="-" if number < len(COLORS) else "--", label=name)  # fmt: skip
    axes.axvline(FALSE[0], color="#888888", ls=":")
    axes.set(xscale="log", xlabel="share of others taken for double", ylabel="completeness")
    axes.legend(fontsize=7)
    return embed(figure, "Completeness of each survey against the share of others taken for double")


def _reliability(told: Mapping[str, Any]) -> Picture:
    figure, ((axes,),) = canvas(width=5.5, height=4)
    axes.plot([0, 1], [0, 1], color="#888888", ls=":")
    p, real = (np.array([bin[key] for bin in told["reliability"]]) for key in ("p", "real"))
    low, high = np.array([bin["interval"] for bin in told["reliability"]]).T
    axes.errorbar(p, real, np.maximum([real - low, high - real], 0), fmt="o-", color=COLORS[0], capsize=2)
    axes.set(xlabel="p_double", ylabel="share of doubles, where half are", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return embed(figure, "Share of doubles among stacks of each probability", "Dotted: as it should be.")
