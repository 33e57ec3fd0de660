"""Metrics against scikit-learn's, and figures that are files."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from models.evaluate import best_epoch, by_star, evaluate, figures, metrics


def scored(n: int = 500, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    tic_id = rng.integers(0, n // 3, n)
    label = (tic_id % 4 == 0).astype(int)
    score = np.clip(np.round(0.3 + 0.3 * label + 0.2 * rng.standard_normal(n), 2), 0, 1)
    return pd.DataFrame({"tic_id": tic_id, "label": label, "score": score})


def test_counts_equal_scikit_learn():
    table = scored()
    label, score = table["label"], table["score"]
    found = metrics(label, score)
    tn, fp, fn, tp = reference.confusion_matrix(label, score >= 0.5).ravel()
    assert (found["tn"], found["fp"], found["fn"], found["tp"]) == (tn, fp, fn, tp)
    assert found["f1"] == pytest.approx(reference.f1_score(label, score >= 0.5))
    assert found["precision_interval"][0] < found["precision"] < found["precision_interval"][1]
    assert found["positive_fraction"] == label.mean()


def test_what_has_no_meaning_is_none():
    found = metrics([0, 0], [0.1, 0.2])
    assert found["recall"] is None and found["aucpr"] is None and found["roc_auc"] is None and found["tn"] == 2


def test_a_star_scores_the_mean_log_odds_of_its_segments():
    table = pd.DataFrame({"tic_id": [1, 1, 2], "label": [1, 1, 0], "score": [0.9, 0.1, 1.0]})
    stars = by_star(table)
    assert stars["score"].to_numpy() == pytest.approx([0.5, 1 - 1e-7])
    assert evaluate(table)["stars"]["n"] == 2 and evaluate(table)["segments"]["n"] == 3


def test_best_epoch_is_the_first_by_area_then_loss():
    rows = [(1, 0.9, 0.1), (2, 0.95, 0.4), (3, 0.95, 0.3), (4, 0.95, 0.3)]
    history = [{"epoch": e, "validation_aucpr": a, "validation_loss": loss} for e, a, loss in rows]
    assert best_epoch(history) == 3


def test_figures_are_png_and_the_same_each_time():
    keys = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy", "validation_aucpr")
    history = [{"epoch": epoch} | dict.fromkeys(keys, 1 / epoch) for epoch in (1, 2, 3)]
    first = figures(history, scored())
    assert sorted(first) == ["accuracy.png", "confusion.png", "loss.png", "precision_recall.png"]
    assert all(data.startswith(b"\x89PNG") for data in first.values())
    assert first == figures(history, scored())
