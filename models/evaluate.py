"""How good a model is on stars it has not seen: numbers with intervals, and figures."""

import io
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from pipeline.metrics import combine_scores, wilson

__all__ = ["best_epoch", "by_star", "curves", "evaluate", "figures", "judge", "metrics"]


def metrics(label: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> dict[str, Any]:
    """Return what a catalogue's reader wants to know of a score.

    Parameters
    ----------
    label, score : array_like, (n,)
        1 or 0, and the model's score in [0, 1].
    threshold : float
        Scores from here on count as positive.

    Returns
    -------
    dict
        n, positives, positive_fraction (AUCPR of a blind guess), threshold, tp, fp, fn, tn, accuracy, f1,
        precision and recall with 95% Wilson intervals (``*_interval``), aucpr, roc_auc; None where it has no
        meaning.
    """
    labels, scores = np.asarray(label, bool), np.asarray(score, float)
    chosen = scores >= threshold
    tp, fp = int(np.sum(chosen & labels)), int(np.sum(chosen & ~labels))
    fn, tn = int(np.sum(~chosen & labels)), int(np.sum(~chosen & ~labels))
    both = labels.any() and not labels.all()
    return {
        "n": len(labels),
        "positives": tp + fn,
        "positive_fraction": _ratio(tp + fn, len(labels)),
        "threshold": threshold,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "accuracy": _ratio(tp + tn, len(labels)),
        "precision": _ratio(tp, tp + fp),
        "precision_interval": list(wilson(tp, tp + fp)),
        "recall": _ratio(tp, tp + fn),
        "recall_interval": list(wilson(tp, tp + fn)),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "aucpr": float(average_precision_score(labels, scores)) if labels.any() else None,
        "roc_auc": float(roc_auc_score(labels, scores)) if both else None,
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def by_star(segments: pd.DataFrame) -> pd.DataFrame:
    """Return one row a star: tic_id, label, score: the mean log-odds of its segments.

    Models are compared by it, with a calibration and without; the catalogue combines segments by
    `pipeline.lightcurves.evidence`.
    """
    ordered = segments.sort_values("tic_id", kind="stable")
    stars, score = combine_scores(ordered["tic_id"], ordered["score"])
    label = ordered.groupby("tic_id", sort=True)["label"].max().to_numpy()
    return pd.DataFrame({"tic_id": stars, "label": label, "score": score})


def evaluate(segments: pd.DataFrame, threshold: float = 0.5) -> dict[str, Any]:
    """Return the metrics of segments (columns tic_id, label, score) and of their stars; weight 0 does not count."""
    if "weight" in segments:
        segments = segments[segments["weight"] > 0]
    stars = by_star(segments)
    return {
        "segments": metrics(segments["label"], segments["score"], threshold),
        "stars": metrics(stars["label"], stars["score"], threshold),
    }


def judge(history: list[dict[str, Any]], scored: pd.DataFrame) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what the card of a model of stars says of those held out, and figures.

    Parameters
    ----------
    history : list of dict
        One an epoch, see `figures`.
    scored : pandas.DataFrame
        fold (validation or test), tic_id, label, score, and weight if some do not count.
    """
    folds = {fold: evaluate(scored[scored["fold"] == fold]) for fold in ("validation", "test")}
    return {"metrics": folds}, figures(history, scored[scored["fold"] == "test"])


def best_epoch(history: list[dict[str, Any]]) -> int:
    """Return the epoch of highest validation AUCPR; of several, that of lowest validation loss."""
    best = max(history, key=lambda row: (row["validation_aucpr"], -row["validation_loss"]))
    return int(best["epoch"])


def figures(history: list[dict[str, Any]], segments: pd.DataFrame, threshold: float = 0.5) -> dict[str, bytes]:
    """Return PNG files by name: loss, accuracy, confusion, precision_recall.

    Parameters
    ----------
    history : list of dict
        One an epoch: epoch, loss and accuracy (``train_``, ``validation_``), validation_aucpr.
    segments : pandas.DataFrame
        Of the test stars: tic_id, label, score.
    threshold : float
        Of the confusion matrices.
    """
    stars = by_star(segments)
    return curves(history) | {
        "confusion.png": _confusion({"segments": segments, "stars": stars}, threshold),
        "precision_recall.png": _precision_recall({"segments": segments, "stars": stars}),
    }


def curves(history: list[dict[str, Any]]) -> dict[str, bytes]:
    """Return PNG files of how a training went: loss and accuracy.

    Parameters
    ----------
    history : list of dict
        One an epoch: epoch, loss and accuracy (``train_``, ``validation_``), validation_aucpr.
    """
    return {
        "loss.png": _curves(history, "loss", "cross entropy, nat"),
        "accuracy.png": _curves(history, "accuracy", "share right at 0.5"),
    }


def _curves(history: list[dict[str, Any]], what: str, label: str) -> bytes:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel=label)
    epochs = [row["epoch"] for row in history]
    for fold, style in (("train", "-"), ("validation", "--")):
        axes.plot(epochs, [row[f"{fold}_{what}"] for row in history], style, marker=".", label=fold)
    best = best_epoch(history)
    axes.axvline(best, color="0.7", zorder=0, label=f"best epoch, {best}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return _png(figure)


def _confusion(tables: dict[str, pd.DataFrame], threshold: float) -> bytes:
    figure = Figure(figsize=(4 * len(tables), 3.6), layout="constrained")
    names = ("other", "eclipsing")
    for axes, (title, table) in zip(figure.subplots(1, len(tables)), tables.items(), strict=True):
        found = metrics(table["label"], table["score"], threshold)
        matrix = np.array([[found["tn"], found["fp"]], [found["fn"], found["tp"]]])
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            text = f"{count}\n{share[row, column]:.1%}"
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour)
        axes.set(title=f"test {title}, score ≥ {threshold:g}", xlabel="model", ylabel="label")
        axes.set_xticks([0, 1], names)
        axes.set_yticks([0, 1], names)
    return _png(figure)


def _precision_recall(tables: dict[str, pd.DataFrame]) -> bytes:
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    for title, table in tables.items():
        precision, recall, _ = precision_recall_curve(table["label"], table["score"])
        area = average_precision_score(table["label"], table["score"])
        label = f"{title}, AUCPR {area:.4f}"
        (line,) = axes.step(np.append(0, recall), np.append(precision[0], precision), label=label)
        axes.axhline(table["label"].mean(), ls=":", color=line.get_color())
    axes.legend(loc="lower left", title="test; dotted: a blind guess")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()
