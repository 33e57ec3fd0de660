"""How good a model of visual binaries is on sources that it did not learn from: numbers with intervals, and figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.figures import COLORS, Picture, canvas, embed
from models.evaluate import curves
from models.judgement import calibration
from models.visual_completeness import kept
from models.visual_standing import VisualStanding, learn
from pipeline.fusion import precise
from pipeline.metrics import wilson

__all__ = [
    "FALSE", "FRAME", "GRID", "PREVALENCES", "at_false", "card", "classification", "figures", "grid", "judge", "report",
]  # fmt: skip

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]

#: Shares of what is not double that may be taken for double.
FALSE = (0.01, 0.001)

#: What completeness is told for: separation, difference of magnitudes, signal to noise of the primary.
FRAME = {"sep_arcsec": (0.2, 2.5), "delta_mag": (0.0, 4.0), "snr_1": (20.0, 500.0)}

#: Edges of the cells that completeness is told for one by one.
GRID = {
    "sep_arcsec": (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 1.9, 2.5),
    "delta_mag": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0),
    "snr_1": (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0),
}

#: Shares of doubles that precision is told for.
PREVALENCES = (0.5, 0.09, 0.01)

_CLASSES = ("single", "double")
_RESAMPLES = 200
_LEAST = 1e-4


def card(history: list[dict[str, Any]], scored: pd.DataFrame) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what the card of a model of stamps says of it, and figures by name of file.

    Parameters
    ----------
    history : list of dict
        One an epoch, see `models.evaluate.curves`.
    scored : pandas.DataFrame
        Columns as of `judge`, and fold: the validation fold tells where the model stands, the test fold judges it.
    """
    standing = learn(scored[scored["fold"] == "validation"])
    test = scored[scored["fold"] == "test"]
    told = judge(test, standing)
    pictures = {name: one.png for name, one in figures(told, test, standing).items()}
    files = kept(scored[scored["fold"] != "train"], standing)
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
        n, doubles; classification where half of all are double, and at the threshold; calibration, of stacks that
        teach; expected: at each prevalence the precision and the false ones of 10,000 sources; surveys: of each the
        completeness within `FRAME` at each share of `FALSE` (see `at_false`), and of each kind of what is not double
        the share taken for double.
    """
    odds = standing.odds(standing.evidence(rows))
    p, even = standing.p_prior(odds), standing.p_prior(odds, 0.5)
    double = rows["label"].to_numpy() > 0
    teaches = rows["weight"].to_numpy() > 0
    told: dict[str, Any] = {
        "n": len(rows),
        "doubles": int(double.sum()),
        "threshold": standing.threshold,
        "prior": standing.prior,
        "classification": classification(double[teaches], even[teaches] >= 0.5),
        "at_threshold": classification(double[teaches], p[teaches] >= standing.threshold),
        "calibration": calibration(double[teaches].astype(float), even[teaches]),
        "expected": _expected(double[teaches], p[teaches] >= standing.threshold),
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


def framed(rows: pd.DataFrame) -> Rows:
    """Return which rows lie in `FRAME`; of what is not double the signal to noise alone counts."""
    inside = np.ones(len(rows), bool)
    double = rows["label"].to_numpy() > 0
    for name, (low, high) in FRAME.items():
        value = rows[name].to_numpy(float)
        within = (value >= low) & (value <= high)
        inside &= within | (~double if name != "snr_1" else ~np.isfinite(value))
    return inside


def at_false(rows: pd.DataFrame, score: Floats, share: float) -> dict[str, Any]:
    """Return how many doubles are found where a share of the others is taken for double.

    Parameters
    ----------
    rows : pandas.DataFrame
        Stacks of one survey: label, sep_arcsec, delta_mag, snr_1, psf_fwhm_arcsec. Those outside of `FRAME` do not
        count.
    score : (n,) array
        Larger for more double; what has none is not found.
    share : float
        Of the others, false positives.

    Returns
    -------
    dict
        doubles, others, cut (score above which it is double), completeness and its 95% interval (both doubles and
        others drawn anew), easy: the same of those with a difference below 2 mag and a separation above one FWHM.
    """
    inside = framed(rows)
    some, value = rows[inside], np.nan_to_num(score[inside], nan=-np.inf)
    double = some["label"].to_numpy() > 0
    wide = (some["sep_arcsec"] > some["psf_fwhm_arcsec"]).to_numpy()
    easy = double & (some["delta_mag"] < 2).to_numpy() & wide
    told = {"doubles": int(double.sum()), "others": int((~double).sum())}
    if not double.any() or double.all():
        return told | {"cut": None, "completeness": None, "interval": None, "easy": None, "easy_interval": None}
    others, found, plain = np.sort(value[~double]), value[double], value[easy]
    cut = _cut(others, share)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(_RESAMPLES):
        again = _cut(np.sort(rng.choice(others, len(others))), share)
        drawn.append([
            (rng.choice(part, len(part)) > again).mean() if len(part) else np.nan for part in (found, plain)
        ])  # fmt: skip
    spread = np.quantile(drawn, (0.025, 0.975), axis=0).T.tolist()
    return told | {
        "cut": float(cut), "completeness": float((found > cut).mean()), "interval": spread[0],
        "easy": float((plain > cut).mean()) if len(plain) else None,
        "easy_interval": spread[1] if len(plain) else None,
    }  # fmt: skip


def _cut(ordered: Floats, share: float) -> float:
    """Return the score above which no more than a share of these lies."""
    allowed = int(np.floor(share * len(ordered)))
    return float(ordered[len(ordered) - 1 - allowed])


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


def grid(rows: pd.DataFrame, score: Floats, cut: float) -> pd.DataFrame:
    """Return completeness by separation, difference of magnitudes and signal to noise.

    Parameters
    ----------
    rows : pandas.DataFrame
        Stacks of one survey: label, sep_arcsec, delta_mag, snr_1.
    score : (n,) array
        Larger for more double.
    cut : float
        Score above which it is double.

    Returns
    -------
    pandas.DataFrame
        A row a cell of `GRID` that has doubles: sep_arcsec, delta_mag, snr_1 (lower edges), n, completeness, low, high
        (Wilson's 95% interval).
    """
    double = (rows["label"] > 0).to_numpy()
    cells = {
        name: pd.cut(rows.loc[double, name], edges, labels=edges[:-1], include_lowest=True).astype(float)
        for name, edges in GRID.items()
    }
    found = pd.DataFrame(cells).assign(found=score[double] > cut).dropna()
    told = found.groupby(list(GRID))["found"].agg(["size", "sum"]).reset_index()
    limits = np.array([wilson(int(k), int(n)) for k, n in zip(told["sum"], told["size"], strict=True)]).reshape(-1, 2)
    return told[list(GRID)].assign(
        n=told["size"], completeness=told["sum"] / told["size"], low=limits[:, 0], high=limits[:, 1]
    )


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


def figures(told: Mapping[str, Any], rows: pd.DataFrame, standing: VisualStanding) -> dict[str, Picture]:
    """Return pictures by name of file: completeness, reliability, rates.

    Parameters
    ----------
    told : mapping
        From `judge`.
    rows, standing
        What it was made of.
    """
    odds = standing.odds(standing.evidence(rows))
    drawn = {"completeness.png": _completeness(told, rows, odds), "rates.png": _rates(rows, odds)}
    return drawn | {"reliability.png": _reliability(told["calibration"])}


def _completeness(told: Mapping[str, Any], rows: pd.DataFrame, odds: Floats) -> Picture:
    """Draw completeness at the first share of false ones by separation and difference of magnitudes."""
    names = list(told["surveys"])
    columns = min(4, len(names))
    figure, axes = canvas(-(-len(names) // columns), columns, 2.6 * columns, 2.3 * -(-len(names) // columns))
    sep, mag = (np.array(GRID[name]) for name in ("sep_arcsec", "delta_mag"))
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        cut = told["surveys"][name][f"at_{FALSE[0]:g}"]["cut"]
        some = ((rows["survey"] == name) & (rows["label"] > 0)).to_numpy() & framed(rows)
        place = rows.loc[some, "sep_arcsec"], rows.loc[some, "delta_mag"]
        there, *_ = np.histogram2d(*place, bins=(sep, mag))
        found, *_ = np.histogram2d(*place, bins=(sep, mag), weights=(odds[some] > (np.inf if cut is None else cut)))
        with np.errstate(invalid="ignore"):
            axis.pcolormesh(sep, mag, (found / there).T, vmin=0, vmax=1, cmap="viridis")
        axis.set(xscale="log", title=name, xlabel="separation, arcsec", ylabel="Δm")
        axis.grid(False)
    caption = f"Yellow: all found, dark: none; {FALSE[0]:.0%} of what is not double taken for it."
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
