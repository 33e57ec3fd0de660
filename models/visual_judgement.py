"""How good a model of visual binaries is on sources that it did not learn from: numbers, their intervals, in words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.evaluate import curves
from models.judgement import calibration
from models.visual_completeness import kept
from models.visual_figures import figures
from models.visual_rates import FALSE, at_false, typical
from models.visual_standing import VisualStanding, learn
from pipeline.doubles import PREVALENCES
from pipeline.fusion import precise
from pipeline.metrics import wilson

__all__ = ["card", "classification", "judge", "report"]

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]

_CLASSES = ("single", "double")
_RESAMPLES = 200


def card(history: list[dict[str, Any]], scored: pd.DataFrame) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what the card of a model of stamps says of it, and figures and `report` by name of file.

    Parameters
    ----------
    history : list of dict
        One an epoch, see `models.evaluate.curves`.
    scored : pandas.DataFrame
        Columns as of `judge`, and fold: the validation fold tells where the model stands, the test fold judges it, as
        many of it as are `typical`.
    """
    standing = learn(scored[scored["fold"] == "validation"])
    held_out = scored[scored["fold"] == "test"]
    test = typical(held_out)
    if test["label"].nunique() < 2:  # a training of so few that there is nothing to choose from
        test = held_out
    told = judge(test, standing)
    pictures = {name: one.png for name, one in figures(told, test, standing, held_out).items()}
    files = {**kept(held_out, standing), "report.txt": f"{report(told)}\n".encode()}
    return {"standing": standing.told(), "judgement": {"test": told}}, curves(history) | pictures | files


def judge(rows: pd.DataFrame, standing: VisualStanding) -> dict[str, Any]:
    """Return what a model's scores are worth.

    Parameters
    ----------
    rows : pandas.DataFrame
        Stacks that the model neither learnt from nor was tuned on: those of `catalogs.stamps.LESSONS` and of
        `models.visual.read`.
    standing : VisualStanding
        Its calibration and threshold, which come of other stacks.

    Returns
    -------
    dict
        n, doubles; classification and calibration where half of all are double, and classification at the threshold;
        expected: at each prevalence the precision and the false ones of 10,000 sources; surveys: of
        each the completeness within `FRAME` at each share of `FALSE` (see `at_false`), and of each kind of what is not
        double the share taken for double.
    """
    odds = standing.odds(standing.evidence(rows))
    p, even = standing.p_prior(odds), standing.p_prior(odds, 0.5)
    double = rows["label"].to_numpy() > 0
    told: dict[str, Any] = {
        "n": len(rows),
        "doubles": int(double.sum()),
        "threshold": standing.threshold,
        "prior": standing.prior,
        "classification": classification(double, even >= 0.5),
        "at_threshold": classification(double, p >= standing.threshold),
        "calibration": calibration(double.astype(float), even),
        "expected": _expected(double, p >= standing.threshold),
        "surveys": {},
    }
    for name in sorted(rows["survey"].unique()):
        here = (rows["survey"] == name).to_numpy()
        told["surveys"][name] = _survey(rows[here], odds[here], p[here] >= standing.threshold)
    return told


def _survey(rows: pd.DataFrame, odds: Floats, taken: Rows) -> dict[str, Any]:
    other = rows[rows["label"] == 0]
    kinds = taken[(rows["label"] == 0).to_numpy()]
    by_kind = {
        str(kind): {"n": len(of), "taken_for_double": float(kinds[of].mean())}
        for kind, of in sorted(other.groupby("kind").indices.items())
    }
    return {f"at_{share:g}": at_false(rows, odds, share) for share in FALSE} | {"kinds": by_kind}


def classification(double: Rows, taken: Rows) -> dict[str, Any]:
    """Return precision, recall and F1 of each class, as the poster's table 2 does.

    Parameters
    ----------
    double, taken : (n,) array of bool
        Which are double, and which are taken for double.

    Returns
    -------
    dict
        single and double: precision, recall, f1, support; macro and weighted: their means; accuracy. Each with the 95%
        interval (Wilson's; of f1 and the means by drawing rows anew).
    """
    told: dict[str, Any] = {}
    for number, name in enumerate(_CLASSES):
        truth, said = double == bool(number), taken == bool(number)
        right = int((truth & said).sum())
        told[name] = {
            "precision": right / max(int(said.sum()), 1), "precision_interval": list(wilson(right, int(said.sum()))),
            "recall": right / max(int(truth.sum()), 1), "recall_interval": list(wilson(right, int(truth.sum()))),
            "support": int(truth.sum()),
        }  # fmt: skip
    counts = np.array([[(~double & ~taken).sum(), (~double & taken).sum()],
                       [(double & ~taken).sum(), (double & taken).sum()]])  # fmt: skip
    drawn = np.random.default_rng(0).multinomial(counts.sum(), counts.ravel() / max(counts.sum(), 1), _RESAMPLES)
    once, again = _means(counts[None].astype(float)), _means(drawn.reshape(-1, 2, 2).astype(float))
    for name, values in once.items():
        group, figure = name.split(".")
        interval = np.quantile(again[name], (0.025, 0.975)).tolist()
        told.setdefault(group, {})[figure] = float(values[0])
        told[group][f"{figure}_interval"] = interval
    right = int(counts[0, 0] + counts[1, 1])
    return told | {"accuracy": right / max(len(double), 1), "accuracy_interval": list(wilson(right, len(double)))}


def _means(counts: Floats) -> dict[str, Floats]:
    """Return f1 of each class, macro and weighted means, of confusions (k, 2, 2)."""
    right = counts[:, [0, 1], [0, 1]]
    support, said = counts.sum(2), counts.sum(1)
    parts = {
        "precision": right / np.maximum(said, 1),
        "recall": right / np.maximum(support, 1),
        "f1": 2 * right / np.maximum(support + said, 1),
    }
    told = {f"{name}.f1": parts["f1"][:, number] for number, name in enumerate(_CLASSES)}
    for figure, values in parts.items():
        told[f"macro.{figure}"] = values.mean(1)
        told[f"weighted.{figure}"] = (values * support).sum(1) / np.maximum(support.sum(1), 1)
    return told


def _expected(double: Rows, taken: Rows) -> dict[str, Any]:
    """Return, at each prevalence, precision with a wide interval and the false ones of 10,000 sources."""
    found, false = int(taken[double].sum()), int(taken[~double].sum())
    rates = [(found / max(double.sum(), 1), false / max((~double).sum(), 1))]
    here, there = wilson(found, int(double.sum())), wilson(false, int((~double).sum()))
    rates += [(here[0], there[1]), (here[1], there[0])]
    told = {}
    for share in PREVALENCES:
        once, low, high = (float(precise(*rate, share)) for rate in rates)
        told[f"{share:g}"] = {
            "precision": once, "precision_interval": [low, high],
            "false_in_10000": 1e4 * (1 - share) * rates[0][1], "doubles_found_in_10000": 1e4 * share * rates[0][0],
        }  # fmt: skip
    return told


def report(told: Mapping[str, Any]) -> str:
    """Return a verdict of `judge` in lines: the poster's table, then what is found in each survey."""
    lines = [f"{'':10}{'precision':>22}{'recall':>22}{'F1':>22}{'support':>9}"]
    both = told["classification"]
    for name in (*_CLASSES, "macro", "weighted"):
        cells = [_with(both[name], figure) for figure in ("precision", "recall", "f1")]
        lines.append(f"{name:10}" + "".join(f"{cell:>22}" for cell in cells) + f"{both[name].get('support', ''):>9}")
    lines += [f"accuracy  {_with(both, 'accuracy')}", ""]
    for share, one in told["expected"].items():
        lines.append(
            f"p ≥ {told['threshold']:.3g}, where {float(share):.0%} are double: precision {_with(one, 'precision')}, "
            f"of 10,000 sources {one['doubles_found_in_10000']:.0f} doubles found, {one['false_in_10000']:.0f} false"
        )
    known = told["calibration"]
    held = f"Brier skill {_number(known['brier_skill'])}, ECE {_number(known['ece_middle'])} over 0.05 < p < 0.95"
    lines += [held, ""]
    for survey, one in told["surveys"].items():
        for share in FALSE:
            at = one[f"at_{share:g}"]
            lines.append(
                f"{survey:12} {share:.1%} false: completeness {_with(at, 'completeness', 'interval')} of "
                f"{at['doubles']}, easy ones {_with(at, 'easy', 'easy_interval')}; {at['others']} others"
            )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _with(told: Mapping[str, Any], name: str, interval: str | None = None) -> str:
    limits = told[interval or f"{name}_interval"]
    return "–" if told[name] is None else f"{told[name]:.3f} [{limits[0]:.3f}, {limits[1]:.3f}]"
