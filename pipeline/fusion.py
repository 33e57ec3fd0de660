"""What a network says of the stacks of several surveys → one probability of a second star, and where it is double.

The network tells apart one star and pairs in bins of separation. Of each survey only the ratio of likelihoods counts,
bin by bin: its probability of the bin over that of one star, each over its share in training. Surveys see the same
pair, but their noise is their own: ratios of one bin multiply, and only then bins are added. So a survey that cannot
see a close pair says nothing about it, instead of against it.
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.special import expit, logit, logsumexp

from pipeline.errors import CorruptModel

__all__ = ["Curve", "Fusion", "fuse", "fused", "of_card", "precise", "separation"]

Floats = NDArray[np.float64]


def fuse(log_ratios: ArrayLike, able: ArrayLike, shares: ArrayLike) -> Floats:
    """Return the logarithm of the odds that a source is double, were half of all sources.

    Parameters
    ----------
    log_ratios : (..., k, b) array
        Of k surveys and b bins of separation: logarithm of the likelihood of a pair there over that of one star.
    able : (..., k) array of bool
        Surveys that can tell; the others do not count, whatever they say.
    shares : (b,) array
        Of the bins among double sources; their sum is 1.
    """
    counted = np.where(np.asarray(able, bool)[..., None], np.asarray(log_ratios, float), 0.0)
    return fused(counted.sum(-2), shares)


def fused(log_ratios: ArrayLike, shares: ArrayLike) -> Floats:
    """Return the same of ratios (..., b) that are multiplied over the surveys already."""
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

    def rates(self, threshold: float) -> tuple[float, float]:
        """Return completeness and rate of false positives at a threshold.

        A rate that was measured as nothing is not nothing: one more false one is taken to be among the others.
        """
        found = float(np.interp(threshold, self.p, self.completeness))
        false = float(np.interp(threshold, self.p, self.false_positives))
        return found, (false * self.negatives + 1) / (self.negatives + 1)


class Fusion(BaseModel):
    """What turns the logits of a network of stamps into probabilities; the part ``fusion`` of its card.

    Parameters
    ----------
    temperature : float
        Logits are divided by it.
    temperatures : dict
        The same by survey, for those that have one of their own.
    shares : list of float
        Of the classes in training, with their weights: single, then the bins of separation.
    edges : list of float
        Of the bins, arcsec, increasing.
    separations : list of float
        Shares of the bins among double sources, as they are to be expected.
    limit : float
        No survey changes odds by more than this factor's logarithm, one way or the other: beyond it nothing was
        measured.
    curve : Curve, optional
        What thresholds cost.
    """

    model_config = ConfigDict(extra="ignore")

    temperature: float = Field(1.0, gt=0)
    temperatures: dict[str, float] = Field(default_factory=dict)
    shares: list[float] = Field(min_length=2)
    edges: list[float] = Field(min_length=2)
    separations: list[float] = Field(min_length=1)
    limit: float = Field(9.2, gt=0)
    curve: Curve | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        bins = len(self.separations)
        if len(self.shares) != bins + 1 or len(self.edges) != bins + 1:
            raise ValueError(f"{bins} bins need {bins + 1} shares and edges, not {len(self.shares)}, {len(self.edges)}")
        if min(self.shares) <= 0 or min(self.separations) <= 0 or abs(sum(self.separations) - 1) > 1e-6:
            raise ValueError("shares have to be positive, and separations to add up to 1")
        if (np.diff(self.edges) <= 0).any():
            raise ValueError(f"edges {self.edges} do not increase")
        return self

    def log_ratios(self, logits: ArrayLike, surveys: ArrayLike | None = None) -> Floats:
        """Return the logarithms of the ratios of likelihoods of each bin and one star, of every stack.

        Parameters
        ----------
        logits : (n, b + 1) array
            Of the network.
        surveys : (n,) array of str, optional
            Of which survey a stack is; without, all have the common temperature.

        Returns
        -------
        (n, b) array
            NaN where a logit is.
        """
        values = np.asarray(logits, float)
        names = [""] * len(values) if surveys is None else np.asarray(surveys, object).tolist()
        scale = np.array([self.temperatures.get(name, self.temperature) for name in names], float)[:, None]
        shares = np.log(np.asarray(self.shares))
        found = (values[:, 1:] - values[:, :1]) / scale - (shares[1:] - shares[0])
        return np.clip(found, -self.limit, self.limit)

    def p_double(self, log_ratios: ArrayLike) -> Floats:
        """Return the probability at half double, of ratios (n, b) that are multiplied over the surveys."""
        return np.asarray(expit(fused(log_ratios, self.separations)))

    def separation(self, log_ratios: ArrayLike) -> Floats:
        """Return the median separation of each, arcsec; see `separation`."""
        return separation(log_ratios, self.separations, self.edges)

    def threshold(self, prior: float, precision: float) -> float:
        """Return the lowest p_double from which on so large a share is double, where a share `prior` of all is.

        Without a curve, or where none of it is so precise, that at which each single source is double with a
        probability of `precision`: that costs completeness, and promises more.
        """
        if self.curve is not None:
            for p in self.curve.p:
                if precise(*self.curve.rates(p), prior) >= precision:
                    return float(p)
        return float(expit(logit(precision) - logit(prior)))


def precise(found: float, false: float, prior: float) -> float:
    """Return the share of doubles among what is found, of rates of doubles and others found, and a prior."""
    return found * prior / max(found * prior + false * (1 - prior), 1e-300)


def of_card(card: Mapping[str, Any], where: str) -> Fusion:
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
        return Fusion.model_validate(card["fusion"])
    except (KeyError, ValidationError) as error:
        raise CorruptModel(f"{where}: fusion: {error}; train the model again, or copy its card anew") from error
