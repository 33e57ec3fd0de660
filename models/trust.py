"""How far calibrated probabilities can be trusted: figures of stars that neither network nor calibration has seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.binaries import KINDS
from models import classes
from pipeline.lightcurves.calibration import Calibration
from pipeline.lightcurves.evidence import evidence, recalibrate
from pipeline.metrics import calibration_error, wilson

__all__ = ["PREVALENCES", "SECTOR_STARS", "SEEN", "check"]

Floats = NDArray[np.float64]
Judged = Sequence[tuple[pd.DataFrame, Calibration]]

#: Numbers of sectors, and shares of eclipsing binaries, that there are figures for.
SEEN, PREVALENCES = (1, 3, 10, 30), (0.5, 0.028, 0.01)

#: 2-minute targets of a sector, about.
SECTOR_STARS = 20_000

_RESAMPLES = 1000
_TIERS = {"high": ("high",), "high or low": ("high", "low")}


def check(judged: Judged) -> dict[str, Any]:
    """Return figures of calibrated probabilities, with 95% intervals.

    Parameters
    ----------
    judged : sequence of (pandas.DataFrame, Calibration)
        Segments of stars, and a calibration that was not fitted to these: tic_id, sector, segment, kind, is_eb, score
        and the model's other columns; share, the weight of the star among its kind; true_morph. No star is in two.

    Returns
    -------
    dict
        stars; share, of binaries among them; prior.

        At that share, with kinds as common as in the sky: brier_skill over the base rate; ece over 0.05 < p < 0.95 in
        ten bins of equal count, ece_interval by bootstrap over stars, ece_stars in that range, and ece_of_chance: its
        mean and 95% interval if every probability were right, for the number of stars makes it larger than 0.

        by_prevalence: of stars seen in one sector, for each tier and share of binaries the expected precision, and the
        false rows in a sector of 20,000 stars; false_alarm_rate and recall, which they follow from.

        by_sectors: how many are taken for binaries at the threshold, by the first sector of all stars, and by the
        first 1, 3, 10, 30 of those that are seen most often; Wilson's intervals of these numbers, and rates with kinds
        as common as in the sky.

        classes: of simulated binaries of tier high, and of simulated ellipsoidal variables, the most probable class
        against the true one; classes_of_binaries, the same without the latter; morph: that of the former against truth.
    """
    stars = _stars(judged)
    truth, share = stars["is_eb"].to_numpy(float), float(stars["is_eb"].mean())
    prior = judged[0][1].prior
    p = recalibrate(stars["p_eb"].to_numpy(), prior, share)
    weight = stars["share"].to_numpy()
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(p), (_RESAMPLES, len(p)))
    again = [calibration_error(p[rows], truth[rows], weight[rows]) for rows in drawn]
    chance = [calibration_error(p, (rng.random(len(p)) < p).astype(float), weight) for _ in range(_RESAMPLES)]
    return {
        "stars": len(stars),
        "share": share,
        "prior": prior,
        "brier_skill": float(1 - np.average((p - truth) ** 2, weights=weight) / (share * (1 - share))),
        "ece": calibration_error(p, truth, weight),
        "ece_interval": _interval(again),
        "ece_stars": int(((p > 0.05) & (p < 0.95)).sum()),
        "ece_of_chance": [float(np.mean(chance)), *_interval(chance)],
        "by_prevalence": _by_prevalence(_first(judged, 1)),
        "by_sectors": _by_sectors(judged),
        **_classes(stars),
    }


def _classes(stars: pd.DataFrame) -> dict[str, Any]:
    """Return how well simulated binaries are told apart; a real one's kind is another catalogue's word, no truth."""
    if stars["p_ea"].isna().all():
        return {}
    said = classes.said(stars)
    found = stars["kind"].isin(KINDS) & (stars["tier"] == "high")
    both = found | (stars["kind"] == "ELL")
    return {
        "classes": classes.confusion(stars["kind"][both], said[both]),
        "classes_of_binaries": classes.confusion(stars["kind"][found], said[found], tuple(KINDS)),
        "morph": classes.shape(stars["morph"][found], stars["true_morph"][found]),
    }


def _stars(judged: Judged) -> pd.DataFrame:
    """Return what the segments say of each star, and the truth."""
    frames = []
    for segments, calibration in judged:
        truth = segments.groupby("tic_id")[["is_eb", "share", "kind", "true_morph"]].first()
        frames.append(evidence(segments, calibration).join(truth, on="tic_id"))
    return pd.concat(frames, ignore_index=True)


def _first(judged: Judged, seen: int, least: int = 1) -> pd.DataFrame:
    """Return what the first so many sectors say of the stars that are seen in at least so many."""
    parts = []
    for segments, calibration in judged:
        sector = segments.groupby("tic_id")["sector"].rank("dense")
        most = sector.groupby(segments["tic_id"]).transform("max")
        if (rows := (sector <= seen) & (most >= least)).any():
            parts.append((segments[rows], calibration))
    return _stars(parts)


def _interval(values: Sequence[float] | Floats) -> list[float]:
    return [float(q) for q in np.quantile(values, (0.025, 0.975))]


def _by_prevalence(stars: pd.DataFrame) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    truth, share = stars["is_eb"].to_numpy(bool), stars["share"].to_numpy()
    drawn = [np.bincount(rows, minlength=len(stars)) for rows in rng.integers(0, len(stars), (_RESAMPLES, len(stars)))]
    tables = {}
    for name, tiers in _TIERS.items():
        found = stars["tier"].isin(tiers).to_numpy(float)
        # of the stars as they are, then of the samples: (1 + resamples, 2)
        rates = np.array([
            [np.average(found[kind], weights=(share * often)[kind]) for kind in (~truth, truth)]
            for often in (np.ones(len(stars)), *drawn)
        ])  # fmt: skip
        false, right = rates.T
        table: dict[str, Any] = {
            "false_alarm_rate": float(false[0]),
            "false_alarm_interval": _interval(false[1:]),
            "recall": float(right[0]),
            "recall_interval": _interval(right[1:]),
        }
        for prevalence in PREVALENCES:
            rows = (1 - prevalence) * false
            precision = prevalence * right / np.maximum(prevalence * right + rows, 1e-12)
            table[f"{prevalence:g}"] = {
                "precision": float(precision[0]),
                "precision_interval": _interval(precision[1:]),
                "false_rows_a_sector": float(SECTOR_STARS * rows[0]),
                "false_rows_interval": _interval(SECTOR_STARS * rows[1:]),
            }
        tables[name] = table
    return tables


def _by_sectors(judged: Judged) -> dict[str, Any]:
    often = max(int(segments.groupby("tic_id")["sector"].nunique().max()) for segments, _ in judged)
    looked = [seen for seen in SEEN if seen <= often]
    found = {str(seen): _found(_first(judged, seen, looked[-1])) for seen in looked}
    return {"1, all stars": _found(_first(judged, 1)), **found}


def _found(stars: pd.DataFrame) -> dict[str, Any]:
    """Count the stars of tier high among binaries and others."""
    high, binary, weight = stars["tier"] == "high", stars["is_eb"].astype(bool), stars["share"]
    alarms, right = int((high & ~binary).sum()), int((high & binary).sum())
    return {
        "others": int((~binary).sum()),
        "false_alarms": alarms,
        "false_alarm_interval": list(wilson(alarms, int((~binary).sum()))),
        "binaries": int(binary.sum()),
        "found": right,
        "found_interval": list(wilson(right, int(binary.sum()))),
        "false_alarm_rate": float(weight[high & ~binary].sum() / weight[~binary].sum()),
        "recall": float(weight[high & binary].sum() / weight[binary].sum()),
    }
