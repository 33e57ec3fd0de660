"""Segments and sectors of a star → one probability, class and shape; how, says `pipeline.lightcurves.calibration`."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from catalogs.binaries import KINDS
from pipeline.lightcurves.calibration import ORDER, Calibration, features, fit
from pipeline.lightcurves.kinds import share_out

__all__ = ["THRESHOLD", "Calibration", "evidence", "fit", "recalibrate", "tiers"]

Floats = NDArray[np.float64]

#: p_eb from which a star counts as found where a model has no calibration.
THRESHOLD = 0.5

# Columns of a segment that share out the probability of an eclipsing binary, if the model gives them.
_SHARES = tuple(KINDS.values())


def evidence(segments: pd.DataFrame, calibration: Calibration | None) -> pd.DataFrame:
    """Combine the segments of each star.

    Parameters
    ----------
    segments : pandas.DataFrame
        One row a segment, in any order: tic_id, score and, null or absent if the model does not give them, p_ea,
        p_beta, p_ew, p_ell, morph, morph_err.
    calibration : Calibration or None
        The model's; without one p_eb is the mean of log-odds, as a probability, and p_prior is null.

    Returns
    -------
    pandas.DataFrame
        One row a star, by tic_id: tic_id, p_eb, p_prior, threshold, low_threshold, tier, score_max, p_ea, p_beta, p_ew
        (which add up to p_eb), p_ell, morph, morph_err.

    Notes
    -----
    Classes are shared out as the segments do it, each weighted by its own probability: a segment without an eclipse
    says nothing of the shape of one; then weighed anew, see `pipeline.lightcurves.kinds`. So it is with ``morph``, by
    inverse variance too; its error is never less than the scatter of the segments allows.
    """
    # A sum depends on its order in the last bit: rows are put in one.
    ordered = segments.sort_values([c for c in ORDER if c in segments], kind="stable", ignore_index=True)
    slope, intercept = (1.0, 0.0) if calibration is None else (calibration.slope, calibration.intercept)
    found = features(ordered, slope, intercept)
    if calibration is None:
        p_eb, limits = np.asarray(expit(found["mean"].to_numpy())), (THRESHOLD, THRESHOLD)
    else:
        p_eb, limits = calibration.probability(found), (calibration.threshold, calibration.low_threshold)
    stars = pd.DataFrame({"tic_id": found.index.to_numpy(np.int64), "p_eb": p_eb})
    stars["p_prior"] = np.nan if calibration is None else calibration.prior
    stars["threshold"], stars["low_threshold"] = limits
    stars["tier"] = tiers(p_eb, *limits)
    stars["score_max"] = ordered.groupby("tic_id")["score"].max().to_numpy()
    return stars.assign(**_classes(ordered, p_eb, calibration), **_shape(ordered))


def tiers(p_eb: Floats, threshold: float, low_threshold: float) -> list[str]:
    """Return the tier of each probability: ``high``, ``low`` or ``none``."""
    return np.select([p_eb >= threshold, p_eb >= low_threshold], ["high", "low"], "none").tolist()


def recalibrate(p: Floats, prior_from: float, prior_to: float) -> Floats:
    """Return probabilities as they are where another share of the stars are eclipsing binaries.

    Parameters
    ----------
    p : (n,) float64
        Probabilities that hold where the share is `prior_from`.
    prior_from, prior_to : float
        Shares, between 0 and 1.

    Returns
    -------
    (n,) float64
        By Bayes: odds times the ratio of prior odds.
    """
    return np.asarray(expit(logit(p) + logit(prior_to) - logit(prior_from)))


def _sums(ordered: pd.DataFrame, values: Floats) -> Floats:
    """Return the sums over each star's segments; null counts as nothing."""
    return pd.Series(values).groupby(ordered["tic_id"].to_numpy()).sum().to_numpy(float)


def _column(ordered: pd.DataFrame, name: str) -> Floats:
    if name not in ordered:
        return np.full(len(ordered), np.nan)
    return pd.to_numeric(ordered[name]).to_numpy(float, na_value=np.nan)


def _classes(ordered: pd.DataFrame, p_eb: Floats, calibration: Calibration | None) -> dict[str, Floats]:
    """Return p_ea, p_beta, p_ew, which share out p_eb, and p_ell, which is part of the rest."""
    shares = np.column_stack([_sums(ordered, _column(ordered, name)) for name in _SHARES])
    known = _sums(ordered, np.isfinite(_column(ordered, "p_ea")).astype(float)) > 0
    weighed = share_out(shares, *(() if calibration is None else (calibration.kind_slope, calibration.kind_offsets)))
    found = dict(zip(_SHARES, (p_eb[:, None] * weighed).T, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = _sums(ordered, 1 - sum((_column(ordered, name) for name in _SHARES), np.zeros(len(ordered))))
        ell = _sums(ordered, _column(ordered, "p_ell"))
        found["p_ell"] = (1 - p_eb) * np.clip(np.where(rest > 0, ell / rest, 0), 0, 1)
    # What is shared out must add up to the last bit.
    found["p_ew"] = np.maximum(p_eb - found["p_ea"] - found["p_beta"], 0)
    return {name: np.where(known, values, np.nan) for name, values in found.items()}


def _shape(ordered: pd.DataFrame) -> dict[str, Floats]:
    """Return the mean morphology, weighted by probability and inverse variance, and its error."""
    morph, error = _column(ordered, "morph"), _column(ordered, "morph_err")
    p = ordered["score"].to_numpy(float)
    weight = np.where(np.isfinite(morph) & (error > 0), p / error**2, 0.0)
    morph = np.where(weight > 0, morph, 0.0)
    total = _sums(ordered, weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = _sums(ordered, weight * morph) / total
        each = pd.Series(mean, np.unique(ordered["tic_id"])).reindex(ordered["tic_id"]).to_numpy()
        scatter = _sums(ordered, weight * np.nan_to_num(morph - each) ** 2) / total
        # Kish's number of segments that count.
        number = total**2 / _sums(ordered, weight**2)
        spread = np.sqrt(scatter / np.maximum(number - 1, 1))
        return {"morph": mean, "morph_err": np.maximum(1 / np.sqrt(total), spread)}
