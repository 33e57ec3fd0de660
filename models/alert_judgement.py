"""Models on real alerts: what they miss of those that are real by other evidence, and how they agree with drb.

Only what a catalogue vouches for that knows nothing of the alert's own score counts as real. drb is braai itself:
agreement with it is conformance, never accuracy. Which alerts are bogus nobody knows before people have looked: a
false-positive rate is told only of alerts that reviewers have labelled.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from catalogs.pages import Section
from models.examinees import Examinee
from pipeline.alerts.batches import batches
from pipeline.alerts.witnesses import WITNESSES
from pipeline.images.sampling import sampled
from pipeline.metrics import wilson
from pipeline.settings import SamplingSettings

__all__ = ["INDEPENDENT", "OF_BRAAI", "judge_alerts", "sections", "witnessed"]

#: Kinds of evidence that make an alert independently real; a mere counterpart is told apart.
INDEPENDENT = WITNESSES[:3]

#: Version of drb that is braai's published weights, and the MJD since which alerts that name no version have it.
OF_BRAAI, _SINCE = "d6_m7", 58849.0

_BATCH = 256
_SHOWN = 20


def witnessed(paths: Iterable[str | Path], models: Sequence[Examinee]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return every alert that has a triplet, as models score it, and why others have none.

    Parameters
    ----------
    paths : iterable of path
        Files of alerts.
    models : sequence of Examinee
        Those from a registry see alerts as batch and service give them by their usual settings: the candidate in the
        middle, stars of a width that they know. Published ones see them as ZTF pads them, in their own pixels.

    Returns
    -------
    alerts : pandas.DataFrame
        As `pipeline.alerts.facts.row`, and a column logit:MODEL each.
    refused : dict
        Reason → count.
    """
    files = list(paths)
    tables, refused = [], Counter[str]()
    for centred in (False, True):
        ours = [model for model in models if (model.entry is not None) == centred]
        if ours:
            found, refused = _pass(files, ours, centred)
            tables.append(found)
    table = pd.concat(tables)
    table = table[~table.index.duplicated()].drop(columns=[name for name in table if name.startswith("logit:")])
    for found in tables:  # by name: the two ways may refuse different alerts
        table = table.join(found.filter(like="logit:"), validate="one_to_one")
    return table.reset_index(drop=True), dict(sorted(refused.items()))


def _pass(files: Sequence[str | Path], models: Sequence[Examinee], centred: bool) -> tuple[pd.DataFrame, Counter[str]]:
    """Return alerts as some models score them, by where they stand, and why others have no triplet."""
    rows, refused = [], Counter[str]()
    for batch in batches(files, _BATCH, centred=centred):
        refused.update(str(one.reason) for one in batch.refused)
        if batch.rows:
            pixels = batch.triplets
            if centred:
                fwhm = np.array([row["fwhm_px"] for row in batch.rows], float)
                pixels, _ = sampled(pixels, fwhm, SamplingSettings())  # type: ignore[call-arg]
            said = {f"logit:{model.name}": model.score(pixels)["logit"] for model in models}
            rows.append(pd.DataFrame(batch.rows).assign(**said))
    found = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"where": []})
    # Files of two folders may have one name.
    return found.set_index(["where", found.groupby("where").cumcount()], drop=False), refused


def judge_alerts(
    alerts: pd.DataFrame, model: Examinee, reviewed: Mapping[str, int] | None = None, met: "pd.Series | None" = None
) -> dict[str, Any]:
    """Return what a model makes of real alerts.

    Parameters
    ----------
    alerts : pandas.DataFrame
        From `witnessed`.
    model : Examinee
        One of its models.
    reviewed : mapping, optional
        candidate_id → 1 real, 0 bogus, by people who looked.
    met : pandas.Series, optional
        Which alerts the model learnt from or was tuned on: they do not count.

    Returns
    -------
    dict
        alerts, learnt_from, unscored; missed: independently real ones (all, and by kind of evidence) with how many
        fall below the threshold and below 0.5, Wilson's intervals; missed_ids; agreement with drb (conformance), of
        published weights alone; reviewed, if some of them are labelled: false positives and misses among them.
    """
    count = len(alerts)
    if met is not None:
        alerts = alerts[~met.to_numpy(bool)]
    logit = alerts[f"logit:{model.name}"].to_numpy(float)
    known = alerts[np.isfinite(logit)]
    p = pd.Series(model.standing.p_real(logit[np.isfinite(logit)]), known.index)
    real = known["witness"].isin(INDEPENDENT)
    missed = {"independently real": _missed(p[real], model.standing.threshold)}
    missed["or with a counterpart"] = _missed(p[known["witness"].isin(WITNESSES)], model.standing.threshold)
    missed |= {kind: _missed(p[known["witness"] == kind], model.standing.threshold) for kind in WITNESSES}
    ids = known.loc[real & (p < model.standing.threshold), "candidate_id"]
    told = {
        "alerts": count,
        "learnt_from": count - len(alerts),
        "unscored": len(alerts) - len(known),
        "threshold": model.standing.threshold,
        "missed": missed,
        "missed_ids": ids.tolist()[:_SHOWN],
    }
    if model.entry is None:  # that of another network with drb would mean nothing
        told["agreement"] = _agreement(known, logit[np.isfinite(logit)], p)
    if reviewed and known["candidate_id"].isin(list(reviewed)).any():
        told["reviewed"] = _reviewed(known, p, reviewed, model.standing.threshold)
    return told


def _missed(p: pd.Series, threshold: float) -> dict[str, Any]:
    low, half = int((p < threshold).sum()), int((p < 0.5).sum())
    return {
        "alerts": len(p),
        "missed": low,
        "fnr": low / len(p) if len(p) else None,
        "fnr_interval": list(wilson(low, len(p))),
        "missed_at_0.5": half,
        "fnr_at_0.5": half / len(p) if len(p) else None,
        "fnr_at_0.5_interval": list(wilson(half, len(p))),
    }


def _agreement(alerts: pd.DataFrame, logit: np.ndarray, p: pd.Series) -> dict[str, Any]:
    """Return how near a model is to drb where that is braai d6_m7: conformance."""
    drb = alerts["drb"].astype(float)
    version = alerts["drbversion"].fillna("").astype(str)
    named = (version == OF_BRAAI) | ((version == "") & (alerts["mjd_mid"].astype(float) >= _SINCE))
    rows = ((alerts["survey"] == "ztf") & drb.notna() & named).to_numpy()
    if not rows.any():
        return {"alerts": 0, "largest_difference": None, "same_side_of_half": None}
    return {
        "alerts": int(rows.sum()),
        "largest_difference": float(np.abs(expit(logit[rows]) - drb[rows]).max()),
        "same_side_of_half": float(((p[rows] >= 0.5) == (drb[rows] >= 0.5)).mean()),
    }


def _reviewed(alerts: pd.DataFrame, p: pd.Series, labels: Mapping[str, int], threshold: float) -> dict[str, Any]:
    label = alerts["candidate_id"].map(labels)
    real, bogus = p[label == 1], p[label == 0]
    passed = int((bogus >= threshold).sum())
    return {
        "bogus": len(bogus),
        "let_pass": passed,
        "fpr": passed / len(bogus) if len(bogus) else None,
        "fpr_interval": list(wilson(passed, len(bogus))),
        "real": _missed(real, threshold),
    }


_TEXT = """Independently real: a known body of the Solar System within 5", a transient that the TNS names, or a
variable of SIMBAD; these are its parts. Missed: below the threshold. Alerts that a model learnt from or was tuned on,
or of their fields, do not count. A mere counterpart is told apart. Intervals: Wilson, 95%. Agreement with drb is
conformance, as drb is braai d6_m7 since 2020: it says nothing of accuracy."""

_NO_FPR = "No false-positive rate is told: nobody has labelled these alerts."


def sections(told: Mapping[str, Mapping[str, Any]], refused: Mapping[str, int]) -> list[Section]:
    """Return the parts of a report on alerts.

    Parameters
    ----------
    told : mapping
        Model → from `judge_alerts`.
    refused : mapping
        Reason → count, from `witnessed`.
    """
    rows = [
        {"model": name, "real by": kind, "alerts": one["alerts"], "threshold": f"{all_['threshold']:.3g}",
         "missed": _rate(one["missed"], one, "fnr"),
         "missed at 0.5": _rate(one["missed_at_0.5"], one, "fnr_at_0.5")}
        for name, all_ in told.items() for kind, one in all_["missed"].items()
    ]  # fmt: skip
    agreed = [{"model": name, **one["agreement"]} for name, one in told.items() if "agreement" in one]
    labelled = [
        {"model": name, "labelled bogus": one["reviewed"]["bogus"],
         "let pass": _rate(one["reviewed"]["let_pass"], one["reviewed"], "fpr")}
        for name, one in told.items() if "reviewed" in one
    ]  # fmt: skip
    parts = [
        Section("Real alerts: missed", _TEXT, pd.DataFrame(rows)),
        *([Section("Real alerts: agreement with drb", "Conformance only.", pd.DataFrame(agreed))] if agreed else []),
        Section("Real alerts: let pass", "" if labelled else _NO_FPR, pd.DataFrame(labelled) if labelled else None),
    ]
    if refused:
        table = pd.DataFrame({"reason": list(refused), "alerts": list(refused.values())})
        parts.append(Section("Alerts without a score", "None of these is scored.", table))
    return parts


def _rate(count: int, one: Mapping[str, Any], name: str) -> str:
    if one[name] is None:
        return "–"
    low, high = one[f"{name}_interval"]
    return f"{count} = {one[name]:.3f} ({low:.3f} to {high:.3f})"
