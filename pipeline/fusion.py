"""What a network says of the stacks of several surveys → one probability of a second star, and where it is double.

The network tells apart one star and pairs in bins of separation. Of each survey only the ratio of likelihoods counts,
bin by bin: its probability of the bin over that of one star, each over its share in training. Surveys see the same
pair, but their noise is their own: ratios of one bin multiply, and only then bins are added. So a survey that cannot
see a close pair says nothing about it, instead of against it. What misleads one survey, a galaxy or a neighbour, may
mislead the others as well: n that say the same count as the square root of n.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.special import expit, logit, logsumexp

from pipeline.errors import CorruptModel

__all__ = ["EDGES", "Calibration", "Curve", "Fusion", "fused", "precise", "separation"]

Floats = NDArray[np.float64]
Shares = TypeVar("Shares", float, Floats)

_BEYOND = 0.1

#: Stacks that say less than the root of this, in e-folds of the odds, are not told to agree.
_SLIGHT = 0.1

#: Of the bins of separation, arcsec, where a card does not say others.
EDGES = (0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.4, 1.9, 2.5)


def fused(log_ratios: ArrayLike, shares: ArrayLike) -> Floats:
    """Return the logarithm of the odds that a source is double, were half of all sources.

    Parameters
    ----------
    log_ratios : (..., b) array
        Of b bins of separation, multiplied over the surveys: logarithm of the likelihood of a pair there over that of
        one star.
    shares : (b,) array
        Of the bins among double sources; their sum is 1.
    """
    return np.asarray(logsumexp(np.asarray(log_ratios, float) + np.log(np.asarray(shares, float)), axis=-1))


def separation(log_ratios: ArrayLike, shares: ArrayLike, edges: ArrayLike) -> Floats:
    """Return the median separation, arcsec, of sources that are double; even inside a bin.

    Parameters
    ----------
    log_ratios : (n, b) array
        Multiplied over the surveys.
    shares : (b,) array
        Of the bins among double sources.
    edges : (b + 1,) array
        Of the bins, arcsec, increasing.
    """
    weight = np.asarray(log_ratios, float) + np.log(np.asarray(shares, float))
    total = np.cumsum(np.exp(weight - logsumexp(weight, axis=-1, keepdims=True)), axis=-1)
    limits, rows = np.asarray(edges, float), np.arange(len(total))
    place = np.minimum((total < 0.5).sum(-1), total.shape[-1] - 1)
    before = np.where(place > 0, total[rows, place - 1], 0.0)
    inside = (0.5 - before) / np.maximum(total[rows, place] - before, 1e-300)
    return np.asarray(limits[place] + np.clip(inside, 0, 1) * (limits[place + 1] - limits[place]))


class Curve(BaseModel):
    """What a threshold costs, on stacks that nothing was learnt from.

    Parameters
    ----------
    p : list of float
        Thresholds of the probability at half double, increasing.
    completeness, false_positives : list of float
        Share of the doubles, and of the others, at each of them or above.
    negatives : int
        How many others there were.
    """

    model_config = ConfigDict(extra="ignore")

    p: list[float] = Field(min_length=1)
    completeness: list[float]
    false_positives: list[float]
    negatives: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_a_curve(self) -> Self:
        columns = np.array([self.p, self.completeness, self.false_positives], float)  # of unequal length: an error
        if not ((columns >= 0) & (columns <= 1)).all() or (np.diff(columns[0]) <= 0).any():
            raise ValueError("p has to increase, and all of it to be from 0 to 1")
        return self

    @staticmethod
    def of(label: ArrayLike, p: ArrayLike, count: ArrayLike | None = None, points: int = 200) -> "Curve":
        """Return the curve of stacks with a label (n,) and a probability (n,), half of its points where p is highest.

        Parameters
        ----------
        label : (n,) array of bool
            Which ones are double; some have to be, and some not.
        p : (n,) array
            Probability of each at half double.
        count : (n,) array, optional
            How much each counts; default all alike.
        points : int
            How many thresholds, at most.
        """
        double, values = np.asarray(label, bool), np.asarray(p, float)
        many = np.ones(len(values)) if count is None else np.asarray(count, float)
        shares = np.append(
            np.linspace(0, 0.9, points // 2), 1 - np.geomspace(0.1, 1 / len(values), points - points // 2)
        )
        limits = np.unique(np.quantile(values, np.clip(shares, 0, 1)))
        above = [_above(values[double == kind], many[double == kind], limits) for kind in (True, False)]
        return Curve(p=limits.tolist(), completeness=above[0].tolist(), false_positives=above[1].tolist(),
                     negatives=int((~double).sum()))  # fmt: skip

    def rates(self, threshold: float) -> tuple[float, float]:
        """Return completeness and rate of false positives at a threshold.

        A rate that was measured as nothing is not nothing: one more false one is taken to be among the others.
        """
        found = float(np.interp(threshold, self.p, self.completeness))
        false = float(np.interp(threshold, self.p, self.false_positives))
        return found, (false * self.negatives + 1) / (self.negatives + 1)


def _above(values: Floats, count: Floats, limits: Floats) -> Floats:
    """Return the share of values, each counted so often, at limits or above."""
    order = np.argsort(values)
    below = np.concatenate([[0.0], np.cumsum(count[order])])
    return np.clip(1 - below[np.searchsorted(values[order], limits, "left")] / below[-1], 0, 1)


class Calibration(BaseModel):
    """What the logits of stacks of a survey mean.

    Parameters
    ----------
    scale, offset : float
        Natural logarithm of the odds of a double that can be seen, where half of all are: scale · logit + offset.
    taught : list of float, optional
        Shares of the bins of separation among these; those of all doubles if left out.
    seen : list of float, optional
        Share of all doubles of each bin that can be seen; all if left out.
    """

    model_config = ConfigDict(extra="forbid")

    scale: float = Field(gt=0)
    offset: float
    taught: list[Annotated[float, Field(gt=0, le=1)]] | None = None
    seen: list[Annotated[float, Field(ge=0, le=1)]] | None = None


class Fusion(BaseModel):
    """What turns the logits of a network of stamps into probabilities; the part ``standing`` of its card.

    Parameters
    ----------
    every : Calibration
        Of surveys that have none of their own.
    surveys : dict
        Survey → its own.
    shares : list of float
        Of the bins of separation among all doubles, seen or not.
    edges : list of float
        Of the bins, arcsec, increasing.
    threshold : float
        p_prior from which a source counts as double, at the prior and precision of the card.
    prior, precision : float
        What that is for.
    limit : float
        Logarithm of the factor up to which a stack may change the odds, one way or the other: beyond it nothing was
        measured, and a tenth counts.
    curve : Curve, optional
        What thresholds cost.
    """

    model_config = ConfigDict(extra="ignore")

    every: Calibration
    surveys: dict[str, Calibration] = Field(default_factory=dict)
    shares: list[float] = Field(min_length=1)
    edges: list[float] = Field(default=list(EDGES))
    threshold: float = Field(ge=0, le=1)
    prior: float = Field(gt=0, lt=1)
    precision: float = Field(default=0.9, gt=0, lt=1)
    limit: float = Field(default=9.2, gt=0)
    curve: Curve | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if len(self.edges) != len(self.shares) + 1 or (np.diff(self.edges) <= 0).any():
            raise ValueError(f"edges {self.edges} are not those of {len(self.shares)} bins, one after the other")
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"shares {self.shares} have to be positive and to add up to 1")
        for one in (self.every, *self.surveys.values()):
            if {len(bins) for bins in (one.taught, one.seen) if bins is not None} - {len(self.shares)}:
                raise ValueError(f"taught and seen have to be of {len(self.shares)} bins, as shares are")
        return self

    @classmethod
    def of(cls, card: Mapping[str, Any], where: str) -> Self:
        """Return what the card of a model says of it.

        Parameters
        ----------
        card : mapping
            The card.
        where : str
            Its place, for the error.

        Raises
        ------
        CorruptModel
            If it does not say it.
        """
        try:
            return cls.model_validate(card["standing"])
        except (KeyError, ValidationError) as error:
            raise CorruptModel(f"{where}: standing: {error}; train the model again, or copy its card anew") from error

    def log_ratios(self, logits: ArrayLike, surveys: ArrayLike) -> Floats:
        """Return what each stack says of each separation.

        A pair that a survey cannot see looks like one star to it: of those it says nothing.

        Parameters
        ----------
        logits : (n, b + 1) or (n, 2) array
            Of the network: single, and the bins of separation, or all of them in one.
        surveys : (n,) array of str
            Of which survey a stack is.

        Returns
        -------
        (n, b) array
            Natural logarithm of how many times likelier such a stack is of a double of that bin than of what is not
            double; NaN where a logit is.
        """
        values = np.asarray(logits, float)
        known = [self.surveys.get(str(name), self.every) for name in np.asarray(surveys, object)]
        scale, offset = (np.array([getattr(one, name) for one in known], float) for name in ("scale", "offset"))
        pairs = logsumexp(values[:, 1:], axis=1)
        odds = (scale * (pairs - values[:, 0]) + offset)[:, None]
        found = np.repeat(odds, len(self.shares), 1)
        if values.shape[1] > 2:
            bins = scale[:, None] * (values[:, 1:] - pairs[:, None])
            taught = np.array([one.taught or self.shares for one in known]).reshape(found.shape)
            found = odds + bins - logsumexp(bins, axis=1, keepdims=True) - np.log(taught)
        seen = np.array([one.seen or [1.0] * len(self.shares) for one in known]).reshape(found.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.logaddexp(np.log(seen) + found, np.log1p(-seen))
        total = fused(found, self.shares)
        beyond = total - np.clip(total, -self.limit, self.limit)
        return np.asarray(found - (1 - _BEYOND) * beyond[:, None])

    def odds(self, log_ratios: Floats, source: ArrayLike | None = None, able: ArrayLike | None = None) -> Floats:
        """Return natural logarithms of the odds of a double where half of all are, of stacks or of sources.

        Parameters
        ----------
        log_ratios : (n, b) array
            Of stacks.
        source : (n,) array of int, optional
            Number of the source of each stack, from 0; default: each stack is a source.
        able : (n,) array of bool, optional
            Which stacks count: of surveys that resolve 2.5 arcsec. Default all. Those without a ratio never do.

        Returns
        -------
        (m,) float64
            Of each source; NaN where no stack counts.
        """
        counts = np.isfinite(log_ratios).all(1) & (True if able is None else np.asarray(able, bool))
        group = np.arange(len(log_ratios)) if source is None else np.asarray(source, np.int64)
        size = int(group.max(initial=-1)) + 1
        told = np.bincount(group[counts], minlength=size) > 0
        return np.where(told, fused(self.together(log_ratios[counts], group[counts], size), self.shares), np.nan)

    def together(self, log_ratios: Floats, source: NDArray[np.integer], size: int) -> Floats:
        """Return what all stacks of each source say together of each separation.

        The sum over √n, where n stacks say the same: (Σl)² / (0.1 + Σl²), 1 at least, l the logarithm of the odds by
        one alone. On simulated sources of two and three surveys the plain sum is too sure, and this is not (`python -m
        tests.benchmarks fused`).

        Parameters
        ----------
        log_ratios : (n, b) array
            Of stacks, each finite; 0 of what says nothing.
        source : (n,) array of int
            Number of the source of each.
        size : int
            How many sources there are.

        Returns
        -------
        (size, b) float64
            Natural logarithms of ratios of likelihoods; 0 of a source without a stack.
        """
        total = np.zeros((size, len(self.shares)))
        np.add.at(total, source, log_ratios)
        said = fused(log_ratios, self.shares)
        once, twice = (np.bincount(source, said**power, minlength=size) for power in (1, 2))
        alike = np.maximum(once**2 / (_SLIGHT + twice), 1.0)
        return np.asarray(total / np.sqrt(alike)[:, None])

    def p_prior(self, odds: ArrayLike, prior: float | None = None) -> Floats:
        """Return the probability of a double where a share `prior` of all are, default the card's; see `odds`."""
        return np.asarray(expit(np.asarray(odds, float) + logit(self.prior if prior is None else prior)))

    def separation(self, log_ratios: ArrayLike) -> Floats:
        """Return the median separation of each, arcsec; see `separation`."""
        return separation(log_ratios, self.shares, self.edges)

    def chosen(self, prior: float, precision: float) -> float:
        """Return the lowest p_double from which on so large a share is double, where a share `prior` of all is.

        By the curve; without one the card's own threshold, if it is for the same. Else, or where none of the curve is
        so precise, that at which each single source is double with a probability of `precision`: it costs completeness,
        and promises more than is asked.
        """
        if self.curve is not None:
            for p in self.curve.p:
                if precise(*self.curve.rates(p), prior) >= precision:
                    return float(p)
        elif (prior, precision) == (self.prior, self.precision):
            return float(expit(logit(self.threshold) - logit(prior)))
        return float(expit(logit(precision) - logit(prior)))


def precise(found: Shares, false: Shares, prior: float) -> Shares:
    """Return the share of doubles among what is taken for double; 0 where nothing is.

    Parameters
    ----------
    found, false : float or array
        Share of the doubles, and of the others, that is taken for double.
    prior : float
        Share of doubles among all.
    """
    right, wrong = prior * found, (1 - prior) * false
    return right / np.maximum(right + wrong, 1e-300)
