"""Figures of how models of triplets do: what they let pass, how far their probabilities hold, where they are weak."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from catalogs.figures import COLORS, Picture, canvas, embed
from models.evaluate import curves
from models.groups import GROUPS
from models.judgement import judge
from models.standing import learn

__all__ = ["card", "figures"]

Told = Mapping[str, Mapping[str, Any]]
Tables = Mapping[str, pd.DataFrame]

_LEAST = 1e-4


def card(history: list[dict[str, Any]], scored: pd.DataFrame) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what the card of a model of triplets says of it, and figures by name of file.

    Parameters
    ----------
    history : list of dict
        One an epoch, see `models.evaluate.curves`.
    scored : pandas.DataFrame
        Columns as of `models.judgement.judge`, and fold: the validation fold tells where the model stands and what its
        operating point is, the test fold judges it.
    """
    standing = learn(scored[scored["fold"] == "validation"])
    test = scored[scored["fold"] == "test"]
    told = {"test": judge(test, standing)}
    pictures = {name: one.png for name, one in figures(told, {"test": test}).items()}
    return {"standing": standing.model_dump(), "judgement": told}, curves(history) | pictures


def figures(told: Told, tables: Tables) -> dict[str, Picture]:
    """Return pictures by name of file: rates, precision_recall, reliability, confusion, groups.

    Parameters
    ----------
    told : mapping
        Model → its verdict, from `models.judgement.judge`.
    tables : mapping
        Model → the candidates it was judged on: label, logit.
    """
    known = {name: rows[np.isfinite(rows["logit"])] for name, rows in tables.items()}
    known = {name: rows for name, rows in known.items() if rows["label"].nunique() == 2}
    drawn = {"confusion.png": _confusion(told)}
    if known:
        drawn |= {
            "rates.png": _rates(told, known),
            "precision_recall.png": _precision_recall(told, known),
            "reliability.png": _reliability({name: told[name] for name in known}),
        }
    return drawn | ({"groups.png": _groups(told)} if any(one["by"] for one in told.values()) else {})


def _rates(told: Told, tables: Tables) -> Picture:
    figure, ((axes,),) = canvas(width=5.5, height=4)
    for color, (name, rows) in zip(_colors(tables), tables.items(), strict=True):
        false, found, _ = roc_curve(rows["label"], rows["logit"])
        axes.plot(np.maximum(1 - found, _LEAST), np.maximum(false, _LEAST), color=color, label=name, drawstyle="steps")
        at = told[name]
        axes.plot(max(at["fnr"], _LEAST), max(at["fpr"], _LEAST), "o", color=color)
    axes.axvline(0.01, color="#888888", ls=":")
    axes.set(xscale="log", yscale="log", xlabel="share of real missed", ylabel="share of bogus let pass")
    axes.legend(fontsize=8)
    alt = "Share of bogus that each model lets pass against the share of real ones it misses"
    return embed(figure, alt, "Points: operating points; dotted: 1% missed.")


def _precision_recall(told: Told, tables: Tables) -> Picture:
    figure, ((axes,),) = canvas(width=5.5, height=4)
    for color, (name, rows) in zip(_colors(tables), tables.items(), strict=True):
        precision, recall, _ = precision_recall_curve(rows["label"], rows["logit"])
        text = f"{name}, AUCPR {told[name]['aucpr']:.4f} at {told[name]['real_fraction']:.0%} real"
        axes.step(recall, precision, color=color, label=text)
    axes.set(xlabel="recall", ylabel="precision", ylim=(None, 1.002))
    axes.legend(fontsize=8, loc="lower left")
    return embed(figure, "Precision against recall of each model")


def _reliability(told: Told) -> Picture:
    figure, ((axes,),) = canvas(width=5.5, height=4)
    axes.plot([0, 1], [0, 1], color="#888888", ls=":")
    for color, (name, one) in zip(_colors(told), told.items(), strict=True):
        bins = one["calibration"]["reliability"]
        p, real = (np.array([bin[key] for bin in bins]) for key in ("p", "real"))
        low, high = np.array([bin["interval"] for bin in bins]).T
        error = np.maximum([real - low, high - real], 0)
        axes.errorbar(p, real, error, fmt="o-", color=color, label=name, capsize=2)
    axes.set(xlabel="p_real", ylabel="share of real, where half are", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(fontsize=8)
    return embed(figure, "Share of real ones among candidates of each probability", "Dotted: as it should be.")


def _confusion(told: Told) -> Picture:
    figure, axes = canvas(1, len(told), width=3.2 * len(told), height=3)
    for axis, (name, one) in zip(axes[0], told.items(), strict=True):
        matrix = np.array(one["confusion"])
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if share[row, column] > 0.5 else "black"
            axis.text(column, row, f"{count}\n{share[row, column]:.1%}", ha="center", va="center", color=color)
        axis.grid(False)
        axis.set_xticks([0, 1], ["bogus", "real"])
        axis.set_yticks([0, 1], ["bogus", "real"])
        axis.set(title=f"{name}, p ≥ {one['threshold']:.3g}", xlabel="model", ylabel="truth")
    return embed(figure, "Confusion of real and bogus at each model's operating point", wide=len(told) > 2)


def _groups(told: Told) -> Picture:
    """Draw what is missed and what is let pass in each group, with Wilson's intervals."""
    first: Mapping[str, Any] = next(iter(told.values()))["by"]
    rows = [(by, name) for by in GROUPS for name in first.get(by, {})]
    figure, axes = canvas(1, 2, width=10, height=1 + 0.22 * len(rows), sharey=True)
    for axis, rate, title in zip(axes[0], ("fnr", "fpr"), ("real missed", "bogus let pass"), strict=True):
        for number, (color, one) in enumerate(zip(_colors(told), told.values(), strict=True)):
            for row, (by, name) in enumerate(rows):
                found = one["by"].get(by, {}).get(name)
                if found is None or found[rate] is None:
                    continue
                low, high = found[f"{rate}_interval"]
                place = row + 0.2 * (number - (len(told) - 1) / 2)
                axis.plot([max(low, _LEAST), max(high, _LEAST)], [place, place], color=color, lw=1)
                axis.plot(max(found[rate], _LEAST), place, "o", ms=3, color=color)
        axis.set(xscale="log", xlabel=f"share of {title}")
    axes[0, 0].set_yticks(range(len(rows)), [f"{by}: {name}" for by, name in rows])
    axes[0, 0].invert_yaxis()
    caption = "At each model's operating point; 95% intervals; colours as above."
    return embed(figure, "Share of real missed and of bogus let pass in each group of candidates", caption, wide=True)


def _colors(models: Mapping[str, Any]) -> Sequence[str]:
    return [COLORS[number % len(COLORS)] for number in range(len(models))]
