"""Segments and sectors of a star → one calibrated probability, and what it rests on.

A score s of a segment first becomes its log-likelihood ratio, x = `intercept` + `slope` · logit s (Platt 1999, fitted
with as many binaries as others). Of a star's n segments two things are kept:

- ``mean`` of x: what holds if all segments show the same. A contact binary, or a pulsator mistaken for one.
- ``top`` = ln mean exp x: the evidence for "at least one of them, nobody knows which, shows an eclipse", a detached
  binary of long period. It is the mixture over the n segments, so that under noise its expectation does not depend on
  n (the mean of a likelihood ratio is 1 where there is no eclipse, whatever n), while one segment that is certain
  still carries the star, at the price of ln n.

    z = (mean + mean_log · ln n) · mean(x) + (top + top_log · ln n) · top(x) + number · ln n
    logit p = constant + a rising, piecewise straight line through z

More segments make both surer, so their weights may grow with ln n; were segments independent, the mean's would grow
with n, but what deceives a network in one sector deceives it in the next. All weights of x are fitted under the bound
≥ 0: p rises with every segment's score. ``number`` takes up what real scores' heavier tails add, and is lowered until
false alarms are no more frequent among stars seen often. The line has knots because binaries are of several kinds: one
straight through all would be wrong by 0.1 between them.
"""

from collections.abc import Sequence
from typing import Annotated, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.optimize import minimize
from scipy.special import expit, logit

__all__ = ["ORDER", "Calibration", "features", "fit"]

Floats = NDArray[np.float64]
Bounds = Sequence[tuple[float | None, float | None]]

#: Stars seen in so many sectors, and more, are judged as one group when false alarms are counted.
_EDGES = (1, 2, 4, 9, 21)

#: Strength of the ridge that keeps separable stars' coefficients finite.
_RIDGE = 1e-4

#: Bends of the line from z to log-odds, and the least it rises: no two scores become one.
_KNOTS, _FLATTEST = 8, 0.02

#: Samples of the stars by which a threshold is tried, and the share of them that it must stand.
_DRAWS, _CONFIDENCE = 200, 0.95

#: What orders the segments of a star, where it is there.
ORDER = ("tic_id", "sector", "cadence_s", "segment", "score")


class Calibration(BaseModel):
    """How the scores of a model become probabilities of stars; stands as JSON in the model's card.

    Parameters
    ----------
    prior : float
        Share of eclipsing binaries among the stars that probabilities hold for.
    threshold, low_threshold : float
        Probability from which a star is of tier ``high``, and ``low``.
    intercept, slope : float
        Of a segment's log-likelihood ratio.
    constant, mean, mean_log, top, top_log, number : float
        Of a star's log-odds; see the module.
    knots, rises : tuple of float
        Where the line bends, and its slope before, between and behind the knots.
    kind_slope, kind_offsets : float and tuple of float
        How the kinds of binaries share out their probability, see `pipeline.lightcurves.kinds`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    prior: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0, le=1)
    low_threshold: float = Field(ge=0, le=1)
    intercept: float
    slope: float = Field(ge=0)
    constant: float
    mean: float = Field(ge=0)
    mean_log: float = Field(ge=0)
    top: float = Field(ge=0)
    top_log: float = Field(ge=0)
    number: float
    knots: tuple[float, ...] = ()
    rises: tuple[Annotated[float, Field(gt=0)], ...] = (1.0,)
    kind_slope: float = Field(1.0, gt=0)
    kind_offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @model_validator(mode="after")
    def _one_rise_more(self) -> Self:
        if len(self.rises) != len(self.knots) + 1 or list(self.knots) != sorted(self.knots):
            raise ValueError("knots must rise, and rises be one more than they are")
        return self

    def probability(self, stars: pd.DataFrame) -> Floats:
        """Return the probability of each star, of what `features` returns."""
        ramps = _ramps(self._line(stars), np.array(self.knots))
        return np.asarray(expit(self.constant + ramps @ np.array(self.rises)))

    def _line(self, stars: pd.DataFrame) -> Floats:
        log_n = np.log(stars["n"].to_numpy(float))
        mean, top = (stars[name].to_numpy() for name in ("mean", "top"))
        weighted = (self.mean + self.mean_log * log_n) * mean + (self.top + self.top_log * log_n) * top
        return np.asarray(weighted + self.number * log_n)


def features(ordered: pd.DataFrame, slope: float, intercept: float) -> pd.DataFrame:
    """Return mean and top of the log-likelihood ratios and their number n, a row a star, by tic_id."""
    ratio = intercept + slope * logit(ordered["score"].to_numpy(float).clip(1e-7, 1 - 1e-7))
    grouped = pd.Series(ratio).groupby(ordered["tic_id"].to_numpy())
    highest = grouped.max()
    relative = np.exp(ratio - highest.reindex(ordered["tic_id"]).to_numpy())
    top = highest + np.log(pd.Series(relative).groupby(ordered["tic_id"].to_numpy()).mean())
    return pd.DataFrame({"mean": grouped.mean(), "top": top, "n": grouped.size()})


def fit(segments: pd.DataFrame, prior: float, precision: float = 0.9, low_precision: float = 0.5) -> Calibration:
    """Learn how segments of known stars combine.

    Parameters
    ----------
    segments : pandas.DataFrame
        Of stars that the network was not trained on, seen in 1 to 30 sectors: tic_id, score, is_eb (of the star: an
        EB's segment without an eclipse is one of an EB) and, if known, sector and segment, which give the order, and
        share, the weight of the star among its kind (1 if absent).
        Every star is also looked at as if only its first 1, 2, 4, … sectors (segments, if no sector is given) were
        there.
    prior : float
        Share of eclipsing binaries for which probabilities shall hold.
    precision, low_precision : float
        Share of eclipsing binaries among the stars at or above `threshold`, and `low_threshold`, that is at least
        expected: by the lower end of a 95% interval from a bootstrap over stars.

    Raises
    ------
    ValueError
        If all stars are of one kind.
    """
    ordered = segments.sort_values([c for c in ORDER[:-1] if c in segments], kind="stable", ignore_index=True)
    truth = ordered["is_eb"].to_numpy(bool)
    if truth.all() or not truth.any():
        raise ValueError("is_eb: all stars are of one kind; give eclipsing binaries and others")
    x = logit(ordered["score"].to_numpy(float).clip(1e-7, 1 - 1e-7))
    alone = np.c_[np.ones(len(x)), x]
    intercept, slope = _logistic(alone, truth, _weights(truth, 0.5, _shares(ordered)), [(None, None), (0, None)])
    nested, labels = _nested(ordered, slope, intercept)
    looks = _Looks(nested, labels, prior)
    log_n = np.log(nested["n"].to_numpy(float))
    mean, top = nested["mean"].to_numpy(), nested["top"].to_numpy()
    design = np.c_[np.ones(len(nested)), mean, mean * log_n, top, top * log_n, log_n]
    bounds: Bounds = [(None, None), *[(0, None)] * 4, (None, None)]
    names = ("constant", "mean", "mean_log", "top", "top_log", "number")
    values = dict(zip(names, map(float, _logistic(design, labels, looks.fitted, bounds)), strict=True))
    limits = {"prior": prior, "threshold": 0.5, "low_threshold": 0.5}
    begun = Calibration.model_validate(limits | {"intercept": float(intercept), "slope": float(slope)} | values)
    return _settled(begun, looks, (precision, low_precision))


class _Looks:
    """Stars as they look after some of their segments, and what each of the looks weighs.

    Coefficients are fitted as if binaries were less rare, half way in log-odds from the prior to even numbers, and the
    constant is moved to the prior afterwards (Prentice & Pyke 1979, Biometrika 66, 403). At the prior itself the few
    others that resemble binaries would decide alone, and by chance; at even numbers little would be asked of the tail
    of others that high probabilities rest on. Thresholds are of stars as rare as they are (``weights``).
    """

    def __init__(self, nested: pd.DataFrame, labels: NDArray[np.bool_], prior: float) -> None:
        self.nested, self.labels = nested, labels
        share = nested["weight"].to_numpy()
        self.shift = float(logit(prior)) / 2
        self.fitted, self.weights = _weights(labels, float(expit(self.shift)), share), _weights(labels, prior, share)
        # Bayesian bootstrap (Rubin 1981, Ann. Stat. 9, 130), by star, not by look.
        _, star = np.unique(nested.index.to_numpy(), return_inverse=True)
        chance = np.random.default_rng(0).standard_exponential((_DRAWS, star.max() + 1), np.float32)[:, star]
        drawn = chance * self.weights.astype(np.float32)
        for kind, total in ((labels, prior), (~labels, 1 - prior)):
            drawn[:, kind] *= total / drawn[:, kind].sum(axis=1, keepdims=True)
        self._drawn = drawn

    def lowest(self, p: Floats, wanted: Sequence[float]) -> list[float]:
        """Return the lowest thresholds above which the share of binaries is as wanted, by all but few of the draws."""
        order = np.argsort(-p, kind="stable")
        drawn = self._drawn[:, order]
        share = np.cumsum(drawn * self.labels[order], axis=1) / np.cumsum(drawn, axis=1)
        few = int((1 - _CONFIDENCE) * _DRAWS)
        least = np.partition(share, few, axis=0)[few]
        good = [np.flatnonzero(least >= precision) for precision in wanted]
        return [float(p[order[rows[-1]]]) if len(rows) else float(p.max()) for rows in good]


def _ramps(z: Floats, knots: Floats) -> Floats:
    """Return how far z has gone in each of the ranges that the knots cut, shape (n, knots + 1)."""
    if not len(knots):
        return z[:, None]
    inner = np.clip(z[:, None], knots[:-1], knots[1:]) - knots[:-1]
    return np.c_[np.minimum(z - knots[0], 0), inner, np.maximum(z - knots[-1], 0)]


def _bent(begun: Calibration, looks: _Looks) -> Calibration:
    """Return a calibration whose line bends where the stars, as many of each kind, want it to."""
    z = begun._line(looks.nested)
    kinds = [np.quantile(z[looks.labels == kind], np.linspace(0.02, 0.98, _KNOTS)) for kind in (False, True)]
    knots = np.unique(np.quantile(np.concatenate(kinds), np.linspace(0, 1, _KNOTS)))
    ramps = _ramps(z, knots)
    design = np.c_[np.ones(len(z)), ramps]
    constant, *rises = _logistic(
        design, looks.labels, looks.fitted, [(None, None), *[(_FLATTEST, None)] * ramps.shape[1]]
    )
    line = {"constant": constant + looks.shift, "knots": tuple(knots.tolist()), "rises": tuple(map(float, rises))}
    return Calibration(**(begun.model_dump() | line))


def _settled(begun: Calibration, looks: _Looks, wanted: tuple[float, float]) -> Calibration:
    """Return a calibration with its thresholds, and with as many false alarms among stars seen often as seldom.

    Likelihood alone lets false alarms grow with n up to what binaries found are worth; a catalogue's reader compares
    stars. So ``number`` is lowered until no group of stars seen more often has a higher rate at the threshold.
    """
    group = np.searchsorted(_EDGES, looks.nested["seen"].to_numpy(), side="right") - 1
    sets = [~looks.labels & (group == g) for g in np.unique(group[~looks.labels])]
    calibration = begun
    for _ in range(40):
        calibration = _bent(calibration, looks)
        p = calibration.probability(looks.nested)
        high, low = looks.lowest(p, wanted)
        calibration = calibration.model_copy(update={"threshold": high, "low_threshold": min(low, high)})
        alarm = looks.weights * (p >= high)
        rates = [float(alarm[rows].sum() / looks.weights[rows].sum()) for rows in sets]
        if max(rates) <= max(1.2 * rates[0], 1e-4):
            return calibration
        calibration = calibration.model_copy(update={"number": calibration.number - 0.1})
    return calibration


def _weights(truth: NDArray[np.bool_], prior: float, shares: Floats) -> Floats:
    """Return weights in proportion to `shares` that add up to `prior` among the binaries, to the rest among others."""
    total = len(truth)
    return shares * np.where(truth, prior * total / shares[truth].sum(), (1 - prior) * total / shares[~truth].sum())


def _shares(ordered: pd.DataFrame) -> Floats:
    return ordered["share"].to_numpy(float) if "share" in ordered else np.ones(len(ordered))


def _nested(ordered: pd.DataFrame, slope: float, intercept: float) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return the features of each star and of its first 1, 2, 4, … sectors; one star weighs one in all.

    A star is seen in whole sectors: looks at parts of one would be calibrated at the expense of those that there are.
    """
    stars = ordered.groupby("tic_id")
    place = (stars["sector"].rank("dense") - 1 if "sector" in ordered else stars.cumcount()).to_numpy()
    size = pd.Series(place).groupby(ordered["tic_id"].to_numpy()).transform("max").to_numpy() + 1
    frames, first = [], 1
    while first <= 2 * size.max():
        # The last look at a star, with all its segments, comes once.
        kept = (place < first) & (first < 2 * size)
        frames.append(features(ordered[kept], slope, intercept).assign(seen=first))
        first *= 2
    nested = pd.concat(frames)
    share = pd.Series(_shares(ordered), ordered["tic_id"]).groupby(level=0).first()
    nested["weight"] = share.reindex(nested.index) / nested.groupby(level=0)["n"].transform("size")
    truth = ordered.groupby("tic_id")["is_eb"].first()
    return nested, truth.reindex(nested.index).to_numpy(bool)


def _logistic(design: Floats, truth: NDArray[np.bool_], weights: Floats, bounds: Bounds) -> Floats:
    """Return the coefficients of a weighted logistic regression under bounds, with a faint ridge.

    scikit-learn's has no bounds, and without them a star's probability could fall when a segment's score rises.
    """
    sign, total = np.where(truth, 1.0, -1.0), weights.sum()

    def loss(coefficients: Floats) -> tuple[float, Floats]:
        """Return the mean of -ln likelihood and its gradient."""
        margin = sign * (design @ coefficients)
        penalty = _RIDGE * np.r_[0.0, coefficients[1:]]
        slope = -(weights * sign * expit(-margin)) @ design / total
        value = float(weights @ np.logaddexp(0, -margin)) / total + 0.5 * float(penalty @ coefficients)
        return value, slope + penalty

    start = np.array([max(low or 0.0, 0.0) for low, _ in bounds])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)
