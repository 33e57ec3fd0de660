"""A catalogue beside the truth: what was found, missed and wrongly called an eclipsing binary."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from pipeline.metrics import wilson

__all__ = ["Judgement", "average_precision", "judge", "precision_recall"]


@dataclass(frozen=True, eq=False)
class Judgement:
    """How a catalogue does on stars whose nature is known.

    Parameters
    ----------
    stars : pandas.DataFrame
        The stars judged: tic_id, is_eb, kind, p_eb (NaN: no score), found (p_eb at or above the threshold).
    threshold : float
        p_eb from which a star counts as found.
    """

    stars: pd.DataFrame
    threshold: float

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Stars, shape (2, 2): truth (not EB, EB) by verdict (left, found)."""
        truth, found = self.stars["is_eb"].to_numpy(int), self.stars["found"].to_numpy(int)
        return np.bincount(2 * truth + found, minlength=4).reshape(2, 2)

    @property
    def unscored(self) -> int:
        """Stars that have no score, such as those without a segment long enough; they count as left."""
        return int(self.stars["p_eb"].isna().sum())

    @property
    def base_rate(self) -> float:
        """Share of eclipsing binaries: the average precision of a coin."""
        return float(self.stars["is_eb"].mean())

    @property
    def average_precision(self) -> float:
        """Area under the curve of precision over recall."""
        return average_precision(self.stars["is_eb"], self.stars["p_eb"])

    def rates(self) -> pd.DataFrame:
        """Return each measure with its 95% interval (Wilson, for shares of stars) and what it is made of."""
        (left, wrong), (missed, right) = self.confusion.tolist()
        shares = {
            "precision": (right, right + wrong, "stars found are eclipsing binaries"),
            "recall": (right, right + missed, "eclipsing binaries are found"),
            "specificity": (left, left + wrong, "other stars are left"),
            "accuracy": (right + left, len(self.stars), "stars are told right"),
        }
        rows = []
        for name, (k, n, text) in shares.items():
            low, high = wilson(k, n)
            rows.append(
                (
                    name,
                    f"{k / n:.3f}" if n else "–",
                    f"{low:.3f} – {high:.3f}" if n else "–",
                    f"{k} of {n} {text}",
                )
            )
        f1 = 2 * right / max(2 * right + wrong + missed, 1)
        base = f"any threshold; a coin reaches {self.base_rate:.3f}"
        rows += [
            ("F1", f"{f1:.3f}", "", "of precision and recall"),
            ("AUCPR", f"{self.average_precision:.3f}", "", base),
        ]
        return pd.DataFrame(rows, columns=["measure", "value", "95% interval (Wilson)", "stars"])

    def kinds(self) -> pd.DataFrame:
        """Return a row a kind of star: kind, truth, stars, found, share, low, high (95% of the share)."""
        rows = []
        for (is_eb, kind), stars in self.stars.groupby(["is_eb", "kind"], sort=True):
            found, total = int(stars["found"].sum()), len(stars)
            rows.append((kind, "EB" if is_eb else "not EB", total, found, found / total, *wilson(found, total)))
        names = ["kind", "truth", "stars", "found", "share", "low", "high"]
        return pd.DataFrame(rows, columns=names).sort_values(["truth", "kind"], ignore_index=True)


def judge(
    catalogue: pd.DataFrame, truth: pd.DataFrame, stars: Collection[int] | None = None, threshold: float = 0.5
) -> Judgement:
    """Compare the probabilities of stars with the truth.

    Parameters
    ----------
    catalogue : pandas.DataFrame
        tic_id, p_eb; one row a star.
    truth : pandas.DataFrame
        tic_id, label ('EB' or anything else) and, if known, kind.
    stars : collection of int, optional
        Those to judge by; default all of the truth. Leave out what the model was trained on.
    threshold : float
        p_eb from which a star counts as found.
    """
    known = truth[truth["tic_id"].isin(list(stars))] if stars is not None else truth
    joined = known.merge(catalogue[["tic_id", "p_eb"]], on="tic_id", how="left", validate="one_to_one")
    kind = joined["kind"] if "kind" in joined else joined["label"]
    found = joined["p_eb"].ge(threshold)  # no score: not found
    columns = {
        "tic_id": joined["tic_id"],
        "is_eb": joined["label"].eq("EB"),
        "kind": kind,
        "p_eb": joined["p_eb"],
    }
    return Judgement(pd.DataFrame(columns | {"found": found}), threshold)


def precision_recall(is_eb: pd.Series, p_eb: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return precision and recall at every threshold that changes them, the highest first.

    Stars without a score are found by no threshold.
    """
    scored = p_eb.notna()
    if not is_eb[scored].any():
        return np.empty(0), np.empty(0)
    precision, recall, _ = precision_recall_curve(is_eb[scored], p_eb[scored])
    return precision[-2::-1], recall[-2::-1] * is_eb[scored].sum() / is_eb.sum()


def average_precision(is_eb: pd.Series, p_eb: pd.Series) -> float:
    """Return the area under precision over recall as a sum of steps, not interpolated; NaN without any EB."""
    precision, recall = precision_recall(is_eb, p_eb)
    return float(np.sum(precision * np.diff(recall, prepend=0.0))) if len(recall) else float("nan")
