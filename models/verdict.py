"""What a model finds among real labelled stars that it did not learn from, and how two models compare.

One threshold holds for all stars: that at which one in a hundred of the stars that do not eclipse would be taken for
eclipsing binaries.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from models import classes
from pipeline.errors import UsageError
from pipeline.metrics import wilson

__all__ = ["compare", "judge", "markdown", "mistakes", "threshold"]

_FALSE_POSITIVES = 0.01
_RESAMPLES = 2000
_DIPS = (0.0, 7.0, 10.0, 15.0, 30.0, np.inf)  # edges of the bins of signal to noise

_KNOWN = ("EA", "EB", "EW")


def threshold(stars: pd.DataFrame) -> float:
    """Return the score that 1% of the stars that do not eclipse reach; stars of weight 0 do not count.

    Raises
    ------
    UsageError
        If none counts.
    """
    negative = np.sort(stars.loc[(stars["label"] == 0) & (stars["weight"] > 0), "score"])[::-1]
    if not len(negative):
        raise UsageError("no star that does not eclipse counts: give some whose label is not in doubt")
    allowed = int(_FALSE_POSITIVES * len(negative))
    return float(np.nextafter(negative[allowed], np.inf))


def _counted(stars: pd.DataFrame) -> pd.Series:
    """Return which stars are eclipsing binaries of known class, and count."""
    return stars["klass"].isin(_KNOWN) & (stars["weight"] > 0)


def judge(stars: pd.DataFrame) -> dict[str, Any]:
    """Return what a model finds at its threshold.

    Parameters
    ----------
    stars : pandas.DataFrame
        From `models.crossvalidate.crossvalidate`.

    Returns
    -------
    dict
        threshold; and groups of stars, each with its stars, found, share and the share's 95% Wilson interval:
        kinds (each label, with whether it is eclipsing and whether it counts, by weight above 0); dips (eclipsing
        binaries of unknown class by the signal to noise of their best box); sectors (those of known class, and the
        stars that do not eclipse, in the most frequent sector and in the others). If the model gives classes: classes
        and vsx, the confusion of the most probable kind with the label's and with VSX's, and morph against Prša's.
    """
    limit = threshold(stars)
    found = stars["score"] >= limit
    kinds = {}
    for (kind, label, counted), rows in stars.groupby(["kind", "label", stars["weight"] > 0]):
        name = str(kind) if counted else f"{kind}, in doubt"
        kinds[name] = {"eclipsing": bool(label), "counted": bool(counted)} | _share(found[rows.index])
    unsure = stars[stars["klass"] == "E"]
    ranges = pd.cut(unsure["dip_snr"], _DIPS)
    dips = {f"{at.left:g} to {at.right:g}": _share(found[rows.index]) for at, rows in unsure.groupby(ranges)}
    verdict = {"threshold": limit, "kinds": kinds, "dips": dips, "sectors": _by_sector(stars, found)}
    return verdict | (_classes(stars[(stars["label"] == 1) & found]) if stars["p_ea"].notna().any() else {})


def _classes(found: pd.DataFrame) -> dict[str, Any]:
    """Return how the classes of eclipsing binaries that were found compare with what others call them."""
    said = classes.said(found)
    vsx = found["vsx"].astype(object).fillna("").astype(str).str.extract(r"^(EA|EB|EW|ELL)\b", expand=False).fillna("")
    morph = classes.shape(found["morph"], found["prsa_morph"])
    return {"classes": classes.confusion(found["klass"], said), "vsx": classes.confusion(vsx, said), "morph": morph}


def _by_sector(stars: pd.DataFrame, found: pd.Series) -> dict[str, Any]:
    main = int(stars["sector"].mode().iloc[0])
    sets = {"eclipsing": _counted(stars), "other": (stars["label"] == 0) & (stars["weight"] > 0)}
    found_by = {}
    for name, chosen in sets.items():
        for place, here in ((f"sector {main}", stars["sector"] == main), ("others", stars["sector"] != main)):
            found_by[f"{name}, {place}"] = _share(found[chosen & here])
    return found_by


def _share(found: pd.Series) -> dict[str, Any]:
    count, stars = int(found.sum()), len(found)
    share = count / stars if stars else None
    return {"stars": stars, "found": count, "share": share, "interval": list(wilson(count, stars))}


def compare(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Any]:
    """Compare two models on the eclipsing binaries of known class, each at its own threshold.

    Returns
    -------
    dict
        stars; missed by each; missed_by_one_only; p_value of McNemar's exact test; ratio of the misses (ours over
        theirs) with its 95% interval by bootstrap over stars.
    """
    joined = ours[_counted(ours)].merge(theirs[["tic_id", "score"]], on="tic_id", suffixes=("", "_theirs"))
    missed: NDArray[np.bool_] = (joined["score"] < threshold(ours)).to_numpy()
    others: NDArray[np.bool_] = (joined["score_theirs"] < threshold(theirs)).to_numpy()
    only, only_theirs = int((missed & ~others).sum()), int((others & ~missed).sum())
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(joined), (_RESAMPLES, len(joined)))
    ratios = missed[drawn].sum(axis=1) / np.maximum(others[drawn].sum(axis=1), 0.5)
    return {
        "stars": len(joined),
        "missed": int(missed.sum()),
        "missed_theirs": int(others.sum()),
        "missed_by_one_only": [only, only_theirs],
        "p_value": float(binomtest(only, only + only_theirs).pvalue) if only + only_theirs else 1.0,
        "ratio": float(missed.sum() / max(others.sum(), 0.5)),
        "ratio_interval": [float(q) for q in np.quantile(ratios, (0.025, 0.975))],
    }


def mistakes(stars: pd.DataFrame, doubted: list[int]) -> dict[str, pd.DataFrame]:
    """Return the stars that a person should look at, best score first.

    Parameters
    ----------
    stars : pandas.DataFrame
        As for `judge`.
    doubted : list of int
        Stars labelled as not eclipsing that stand in a list of eclipsing binaries.

    Returns
    -------
    dict
        ``doubted``; ``missed``, of known class and below the threshold; ``false``, not eclipsing and above it.
    """
    ordered = stars.sort_values(["score", "tic_id"], ascending=[False, True])
    found, counted = ordered["score"] >= threshold(stars), _counted(ordered)
    return {
        "doubted": ordered[ordered["tic_id"].isin(doubted)],
        "missed": ordered[counted & ~found],
        "false": ordered[(ordered["label"] == 0) & (ordered["weight"] > 0) & found],
    }


def markdown(judged: Mapping[str, dict[str, Any]]) -> str:
    """Return the verdicts of several models as one table: found/stars = share (95% interval)."""
    lines = [f"| | {' | '.join(judged)} |", "|---" * (len(judged) + 1) + "|"]
    for group, said in (("kinds", ""), ("dips", "unknown class, dip S/N "), ("sectors", "")):
        names = dict.fromkeys(name for verdict in judged.values() for name in verdict[group])
        for name in names:
            cells = [_cell(verdict[group].get(name)) for verdict in judged.values()]
            lines.append(f"| {said}{name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None or not found["stars"]:
        return "–"
    low, high = found["interval"]
    return f"{found['found']}/{found['stars']} = {found['share']:.3f} ({low:.3f}–{high:.3f})"
