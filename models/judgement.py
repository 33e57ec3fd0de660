"""How good a real/bogus model is on candidates that it did not learn from: numbers with intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.evaluate import metrics
from models.groups import groups
from models.rates import Ordered, interval
from models.standing import Standing, operating_point
from pipeline.errors import UsageError
from pipeline.metrics import calibration_error, wilson

__all__ = ["MISSED", "PREVALENCES", "calibration", "chosen", "compare", "judge"]

Floats = NDArray[np.float64]

#: Share of real ones that the operating point may miss: the rule that ZTF chose by (Duev et al. 2019).
MISSED = 0.01

#: Shares of real that precision is told for.
PREVALENCES = (0.5, 0.01, 0.0001)

_RESAMPLES = 500
_FEW = 100  # resamples of a group
_BINS = 10
_MIDDLE = (0.05, 0.95)


def chosen(validation: pd.DataFrame, standing: Standing, missed: float = MISSED) -> Standing:
    """Return where a model stands with an operating point chosen by the rule, on rows that do not judge it.

    Parameters
    ----------
    validation : pandas.DataFrame
        label, logit and, if weights are given, weight.
    standing : Standing
        Its calibration.
    missed : float
        Share of the real ones that may fall below the threshold.

    Raises
    ------
    UsageError
        If there are no real ones.
    """
    rows = _counted(validation)
    label = rows["label"].to_numpy() > 0
    if not label.any():
        raise UsageError("no real candidate in the validation fold: the operating point cannot be chosen there; use "
                         "that of the model's card, or give a set that has some")  # fmt: skip
    threshold = operating_point(label, standing.p_real(rows["logit"]), missed)
    return standing.model_copy(update={"threshold": threshold})


def judge(held_out: pd.DataFrame, standing: Standing) -> dict[str, Any]:
    """Return what a model's scores are worth.

    Parameters
    ----------
    held_out : pandas.DataFrame
        Candidates that the model neither learnt from nor was tuned on: label, logit, field; where known weight (those
        of 0 do not count) and the columns of `models.groups`. Those without a logit are counted apart; of these the
        real ones are missed, as nobody is shown them, at whatever threshold.
    standing : Standing
        Its calibration and its threshold, which was chosen on other candidates.

    Returns
    -------
    dict
        n, unscored, unscored_real, fields, real_fraction; threshold; those of `models.evaluate.metrics` at it, fpr and
        fnr there with Wilson's intervals, confusion ([bogus, real] by [taken for bogus, for real]); aucpr, aucpr_half,
        fpr_at_fnr_1pc, fnr_at_fpr_1pc with intervals by bootstrap over fields; calibration; precision_at each
        prevalence; by: each of `models.groups.GROUPS`, each group, with the same without calibration.
    """
    rows = _counted(held_out)
    known = rows[np.isfinite(rows["logit"])]
    lost = int((rows["label"] > 0).sum() - (known["label"] > 0).sum())
    judged = _missed(rows)
    p = standing.p_real(judged["logit"])
    told: dict[str, Any] = {"unscored": len(rows) - len(known), "unscored_real": lost}
    told |= _figures(judged, p, standing.threshold, _RESAMPLES)
    told["calibration"] = calibration(known["label"].to_numpy(float), standing.p_real(known["logit"]))
    told["precision_at"] = {f"{share:g}": _precision(told, share) for share in PREVALENCES}
    told["by"] = {}
    for by, name, of in groups(judged):
        told["by"].setdefault(by, {})[name] = _figures(judged[of], p[of], standing.threshold, _FEW)
    return told


def _missed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows without the bogus ones that have no logit; that of the real ones without is below all others."""
    unscored = ~np.isfinite(rows["logit"])
    kept = rows.assign(logit=rows["logit"].where(~unscored, -np.inf))
    return kept[~unscored | (rows["label"] > 0)].reset_index(drop=True)


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["weight"] > 0] if "weight" in rows else rows


def _figures(rows: pd.DataFrame, p: Floats, threshold: float, resamples: int) -> dict[str, Any]:
    """Return what counts and order tell of some rows."""
    found = metrics(rows["label"], p, threshold)
    tp, fp, fn, tn = (found[name] for name in ("tp", "fp", "fn", "tn"))
    found |= {
        "fields": int(rows["field"].nunique()),
        "real_fraction": found.pop("positive_fraction"),
        "confusion": [[tn, fp], [fn, tp]],
        "fpr": fp / (fp + tn) if fp + tn else None,
        "fpr_interval": list(wilson(fp, fp + tn)),
        "fnr": fn / (fn + tp) if fn + tp else None,
        "fnr_interval": list(wilson(fn, fn + tp)),
    }
    ordered = Ordered(rows["label"].to_numpy(), rows["logit"].to_numpy(float), rows["field"].to_numpy())
    once, again = ordered.rates(), ordered.drawn(resamples if found["roc_auc"] is not None else 0)
    for number, name in enumerate(("aucpr", "aucpr_half", "fpr_at_fnr_1pc", "fnr_at_fpr_1pc")):
        found[name] = None if np.isnan(once[number]) else once[number]
        found[f"{name}_interval"] = interval(again[:, number]) if len(again) else None
    return found


def calibration(label: Floats, p: Floats) -> dict[str, Any]:
    """Return how far probabilities hold where half of all candidates are real: both labels weigh the same.

    Parameters
    ----------
    label, p : (n,) array
        1 real, 0 bogus; probability of real.

    Returns
    -------
    dict
        brier; brier_skill over the guess of one half; ece of all, ece_middle where 0.05 < p < 0.95, with the number of
        candidates there and the 95% limit that it stays below if every probability is right; reliability: ten bins.
    """
    real = int(label.sum())
    weight = np.where(label > 0, 0.5 / max(real, 1), 0.5 / max(len(label) - real, 1)) * len(label)
    rng = np.random.default_rng(0)
    middle = (p > _MIDDLE[0]) & (p < _MIDDLE[1])
    perfect = [
        calibration_error(p[middle], rng.random(middle.sum()) < p[middle], np.ones(middle.sum())) for _ in range(_FEW)
    ]
    both = 0 < real < len(label)
    return {
        "brier": float(np.average((p - label) ** 2, weights=weight)) if both else None,
        "brier_skill": float(1 - np.average((p - label) ** 2, weights=weight) / 0.25) if both else None,
        "ece": calibration_error(p, label, weight, (-1, 2)) if both else None,
        "ece_middle": calibration_error(p, label, weight, _MIDDLE) if both and middle.any() else None,
        "ece_middle_if_right": float(np.quantile(perfect, 0.95)),
        "middle": int(middle.sum()),
        "reliability": _reliability(label, p, weight),
    }


def _reliability(label: Floats, p: Floats, weight: Floats) -> list[dict[str, Any]]:
    """Return for ten bins of p its mean and the share of real, both labels weighing the same."""
    bins = []
    place = np.minimum((p * _BINS).astype(int), _BINS - 1)
    for number in range(_BINS):
        rows = place == number
        if not rows.any():
            continue
        share = float(np.average(label[rows], weights=weight[rows]))
        count = float(weight[rows].sum() ** 2 / (weight[rows] ** 2).sum())  # candidates of one weight that tell as much
        bins.append({
            "from": number / _BINS, "to": (number + 1) / _BINS, "n": int(rows.sum()),
            "p": float(np.average(p[rows], weights=weight[rows])), "real": share,
            "interval": list(wilson(round(share * count), max(round(count), 1))),
        })  # fmt: skip
    return bins


def _precision(found: Mapping[str, Any], share: float) -> dict[str, Any]:
    """Return the precision at the threshold if a share of the candidates were real; the interval is a wide one."""
    if found["fpr"] is None or found["fnr"] is None:
        return {"precision": None, "interval": [0.0, 1.0]}

    def precision(fnr: float, fpr: float) -> float:  # numpydoc ignore=GL08
        real, bogus = (1 - fnr) * share, fpr * (1 - share)
        return real / (real + bogus) if real + bogus else 0.0

    low = precision(found["fnr_interval"][1], found["fpr_interval"][1])
    high = precision(found["fnr_interval"][0], found["fpr_interval"][0])
    return {"precision": precision(found["fnr"], found["fpr"]), "interval": [low, high]}


def compare(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Any]:
    """Compare two models on the same candidates, each where it misses 1% of the real ones.

    Parameters
    ----------
    ours, theirs : pandas.DataFrame
        Rows of the same candidates in the same order: label, logit, field, weight if given.

    Returns
    -------
    dict
        n (bogus ones that one of them does not score are left out; real ones count as missed by it); fpr and
        fpr_theirs; their ratio, and the difference of AUCPR, with 95% intervals by drawing
        the same fields for both.

    Raises
    ------
    UsageError
        If they are not of the same candidates.
    """
    if len(ours) != len(theirs) or (ours["label"].to_numpy() != theirs["label"].to_numpy()).any():
        raise UsageError(f"{len(ours)} and {len(theirs)} scored candidates, or other labels: not the same candidates")
    kept = np.isfinite(ours["logit"].to_numpy(float)) & np.isfinite(theirs["logit"].to_numpy(float))
    kept |= ours["label"].to_numpy() > 0
    kept &= ours["weight"].to_numpy() > 0 if "weight" in ours else True
    pair = [_missed(one[kept]) for one in (ours, theirs)]
    ordered = [Ordered(one["label"].to_numpy(), one["logit"].to_numpy(float), one["field"].to_numpy()) for one in pair]
    once = [one.rates() for one in ordered]
    ours_drawn, theirs_drawn = (one.drawn(_RESAMPLES) for one in ordered)
    least = 0.5 / max(int((pair[0]["label"] == 0).sum()), 1)
    return {
        "n": int(kept.sum()),
        "fpr": once[0].fpr,
        "fpr_theirs": once[1].fpr,
        "ratio": once[0].fpr / max(once[1].fpr, least),
        "ratio_interval": interval(ours_drawn[:, 2] / np.maximum(theirs_drawn[:, 2], least)),
        "aucpr_more": once[0].aucpr - once[1].aucpr,
        "aucpr_more_interval": interval(ours_drawn[:, 0] - theirs_drawn[:, 0]),
    }
