"""Would it have been found? A known transient, scored by a model that never saw a trace of it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from catalogs.folder import Folder
from catalogs.pages import Section
from models.examinees import Candidates, Examinee, scored
from models.sightings import seen
from models.splits import on_sky, units
from pipeline.errors import UsageError
from pipeline.images.footprints import unit_vectors

__all__ = ["ARCSEC", "retrospect", "section", "without"]

#: How near to the object something is a trace of it, arcsec.
ARCSEC = 60.0


def without(index: pd.DataFrame, object_id: str, arcsec: float = ARCSEC) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return candidates without a trace of an object, and the object's own.

    Parameters
    ----------
    index : pandas.DataFrame
        Columns of `catalogs.triplets.TRIPLETS`.
    object_id : str
        Of the object.
    arcsec : float
        What is as near to it on the sky is a trace, and so is whatever shares a field, an object or sky with it.

    Returns
    -------
    rest, own : pandas.DataFrame
        What is left to learn from, and the detections of the object.

    Raises
    ------
    UsageError
        If there is no such object.
    """
    own = (index["object_id"].astype(str) == object_id).to_numpy()
    if not own.any():
        some = ", ".join(sorted(set(index.loc[index["label"] == 1, "object_id"].astype(str)) - {""})[:5])
        raise UsageError(f"--hold-out-object {object_id}: no candidate is of it; objects are such as {some}")
    unit = units(index)
    trace = own | unit.isin(set(unit[own])).to_numpy() | _near(index, own, arcsec)
    return index[~trace], index[own]


def _near(index: pd.DataFrame, own: np.ndarray, arcsec: float) -> np.ndarray:
    """Return which rows of real surveys lie near a row of the object."""
    near = np.zeros(len(index), bool)
    if not (real := on_sky(index)).any():
        return near
    places = unit_vectors(index.loc[real, "ra"], index.loc[real, "dec"])
    for place in np.unique(places[own[real]], axis=0):
        near[real] |= np.linalg.norm(places - place, axis=1) < np.radians(arcsec / 3600)
    return near


def retrospect(
    workspace: Folder,
    candidates: Candidates,
    object_id: str,
    models: Sequence[Examinee],
    retrain: Callable[[pd.DataFrame], Examinee] | None = None,
) -> dict[str, Any]:
    """Return whether an object is found by a model that never saw it, its score, and how novel it is.

    Parameters
    ----------
    workspace : Folder
        Holds what the models learnt from.
    candidates : Candidates
        Of the object and others.
    object_id : str
        Of the object.
    models : sequence of Examinee
        The first that has no trace of it in training or validation is asked.
    retrain : callable, optional
        Rows without a trace → a model that learnt from some of them; asked if all models saw a trace.

    Returns
    -------
    dict
        object_id, model, how (a fold that never saw it, or trained again), traces (candidates taken out), others
        (held-out candidates that it is ranked among), found; detections, a dict each: candidate_id, mjd_mid, p_real,
        is_found, novelty, ood, novelty_rank and score_rank (1: the most novel, the most real), of best score first.

    Raises
    ------
    UsageError
        If all models learnt from a trace of it, and none can be trained again.
    """
    index = candidates.index
    rest, own = without(index, object_id)
    trace = index.index.difference(rest.index)
    how, judge = "", None
    for model in models:
        fold, _ = seen(workspace, model, index)
        if (fold[trace] == "test").all():
            others = rest[fold[rest.index] == "test"]
            how, judge = "a fold that never saw it", model
            break
    if judge is None:
        if retrain is None:
            names = ", ".join(model.name for model in models)
            raise UsageError(f"{object_id}: {names} learnt from it or from its field; give --retrain, or a model of a "
                             "fold that tests it (train with folds and fold)")  # fmt: skip
        how, judge = "trained again without it", retrain(rest)
        fold, _ = seen(workspace, judge, rest)
        others = rest[fold == "test"]
    table = scored(candidates, pd.concat([own, others]), [judge])[judge.name]
    return {
        "object_id": object_id, "model": judge.name, "how": how, "traces": len(trace), "others": len(others),
        **_ranked(table, len(own), judge),
    }  # fmt: skip


def _ranked(table: pd.DataFrame, own: int, model: Examinee) -> dict[str, Any]:
    """Return the detections, which come first in the table, with their ranks among the others."""
    p = model.standing.p_real(table["logit"])
    others = table.iloc[own:]
    detections = []
    for number, row in enumerate(table.iloc[:own].to_dict("records")):
        one = {"candidate_id": str(row.get("candidate_id", row["row"])), "mjd_mid": row.get("mjd_mid"),
               "p_real": float(p[number]), "is_found": bool(p[number] >= model.standing.threshold),
               "score_rank": 1 + int((others["logit"] > row["logit"]).sum())}  # fmt: skip
        if np.isfinite(row.get("novelty", np.nan)):
            rank = 1 + int((others["novelty"] > row["novelty"]).sum())
            one |= {"novelty": float(row["novelty"]), "novelty_rank": rank, "ood": bool(row["ood"])}
        detections.append(one)
    detections.sort(key=lambda one: -one["p_real"])
    return {"found": any(one["is_found"] for one in detections), "detections": detections}


def section(told: dict[str, Any]) -> Section:
    """Return the part of a report on an object, from `retrospect`."""
    text = (f"By {told['model']}, {told['how']}: {told['traces']} candidates of it, its field and its surroundings are "
            f"left out. Ranks are among {told['others']} held-out candidates: 1 is the most novel, the most real. "
            f"{'Found.' if told['found'] else 'Not found.'}")  # fmt: skip
    return Section(f"Held out: {told['object_id']}", text, pd.DataFrame(told["detections"]))
