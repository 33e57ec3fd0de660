"""Where a model of visual binaries stands, as its card tells: probabilities by one and by several surveys, a threshold.

All of it is learnt from stacks that the training held out to choose the best epoch; the test stacks only judge.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import expit, logit, logsumexp

from models.standing import platt
from models.visual import BINS
from pipeline.errors import CorruptModel, UsageError
from pipeline.fusion import Calibration, Curve

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VisualStanding", "expected_precision", "learn"]

Floats = NDArray[np.float64]

_ENOUGH = 300  # rows of each label from which on a survey is calibrated by itself
_LEAST_SHARE = 1e-3


class VisualStanding(BaseModel):
    """What turns a model's logits into what a catalogue says."""

    model_config = ConfigDict(extra="ignore")

    every: Calibration = Field(description="of surveys that are not named")
    surveys: dict[str, Calibration] = Field(description="of those that many held-out stacks are of")
    shares: list[float] = Field(min_length=BINS - 1, description="of the bins of separation among doubles")
    threshold: float = Field(ge=0, le=1, description="p_prior from which a source counts as double")
    prior: float = Field(gt=0, lt=1, description="share of doubles that threshold and p_prior are for")
    precision: float = Field(0.9, gt=0, lt=1, description="that the threshold is for, at that share")
    curve: Curve | None = Field(None, description="what thresholds cost, on held-out stacks")

    @staticmethod
    def of(card: Mapping[str, Any], where: str) -> "VisualStanding":
        """Return what a card says.

        Raises
        ------
        CorruptModel
            If it does not say it.
        """
        try:
            return VisualStanding.model_validate(card["standing"])
        except (KeyError, ValidationError) as error:
            raise CorruptModel(f"{where}: standing: {error}; train the model again, or copy its card anew") from error

    def evidence(self, scored: "Mapping[str, Any] | pd.DataFrame") -> Floats:
        """Return what each stack says for each separation.

        Parameters
        ----------
        scored : mapping or pandas.DataFrame
            survey, and the columns of `models.visual.read`: logit, l0, l1, …; of a network without bins logit alone.

        Returns
        -------
        (n, 8) float64
            Natural logarithm of how many times more often such a stack is seen of a double of that bin of separation
            than of what is not double; NaN where the logit is.
        """
        known = [self.surveys.get(str(name), self.every) for name in scored["survey"]]
        raw = np.asarray(scored["logit"], float)
        scale = np.array([one.scale for one in known])
        odds = scale * raw + np.array([one.offset for one in known])
        shares = np.log(self.shares)
        if "l1" not in scored:
            return np.repeat(odds[:, None], len(shares), 1)
        bins = scale[:, None] * np.stack([np.asarray(scored[f"l{k}"], float) for k in range(1, BINS)], 1)
        return np.asarray(odds[:, None] + bins - logsumexp(bins, axis=1, keepdims=True) - shares)

    def odds(self, evidence: Floats, source: ArrayLike | None = None, able: ArrayLike | None = None) -> Floats:
        """Return natural logarithms of the odds of a double where half of all are, of stacks or of sources.

        Parameters
        ----------
        evidence : (n, 8) array
            From `evidence`.
        source : (n,) array of int, optional
            Number of the source of each stack, from 0; default: each stack is a source.
        able : (n,) array of bool, optional
            Which stacks count: of surveys that resolve 2.5 arcsec. Default all. Those without a logit never do.

        Returns
        -------
        (m,) float64
            Of each source; NaN where no stack counts.
        """
        counts = np.isfinite(evidence).all(1) & (True if able is None else np.asarray(able, bool))
        group = np.arange(len(evidence)) if source is None else np.asarray(source, np.int64)
        size = int(group.max(initial=-1)) + 1
        total = np.zeros((size, len(self.shares)))
        np.add.at(total, group[counts], evidence[counts])
        told = np.bincount(group[counts], minlength=size) > 0
        return np.where(told, logsumexp(total + np.log(self.shares), axis=1), np.nan)

    def p_double(self, odds: ArrayLike) -> Floats:
        """Return the probability of a double where half of all are."""
        return np.asarray(expit(np.asarray(odds, float)))

    def p_prior(self, odds: ArrayLike, prior: float | None = None) -> Floats:
        """Return the probability of a double where a share `prior` of all are; default the card's."""
        return np.asarray(expit(np.asarray(odds, float) + logit(self.prior if prior is None else prior)))


def learn(held_out: "pd.DataFrame", prior: float = 0.09, precision: float = 0.9) -> VisualStanding:
    """Return where a model stands.

    Parameters
    ----------
    held_out : pandas.DataFrame
        survey, label, weight, bin_code, logit and, of a network with bins, l0, l1, …
    prior : float
        Share of doubles that the threshold is for.
    precision : float
        Share of doubles that is expected above the threshold, at that prior; where it cannot be reached, the threshold
        is where it is highest.

    Raises
    ------
    UsageError
        If doubles or others are missing.
    """
    rows = held_out[held_out["weight"] > 0]
    label, raw = rows["label"].to_numpy() > 0, rows["logit"].to_numpy(float)
    if label.all() or not label.any():
        raise UsageError(f"{len(rows)} held-out stacks, {int(label.sum())} of doubles: nothing can be calibrated")
    surveys = {}
    for name, some in rows.groupby("survey"):
        double = some["label"].to_numpy() > 0
        if min(double.sum(), (~double).sum()) >= _ENOUGH:
            surveys[str(name)] = _calibration(double, some["logit"].to_numpy(float))
    count = np.bincount(rows["bin_code"].to_numpy()[label], minlength=BINS)[1:BINS] if "bin_code" in rows else 1.0
    shares = np.maximum(np.broadcast_to(count, BINS - 1) / np.sum(np.broadcast_to(count, BINS - 1)), _LEAST_SHARE)
    standing = VisualStanding(every=_calibration(label, raw), surveys=surveys, shares=list(shares / shares.sum()),
                              curve=None, threshold=0.5, prior=prior, precision=precision)  # fmt: skip
    odds = standing.odds(standing.evidence(rows))
    chosen = _threshold(label, odds, prior, precision)
    curve = Curve.of(label, standing.p_double(odds))
    return standing.model_copy(update={"threshold": float(standing.p_prior(chosen)), "curve": curve})


def expected_precision(found: ArrayLike, false: ArrayLike, prior: float) -> Floats:
    """Return the share of doubles among what is taken for double.

    Parameters
    ----------
    found, false : array_like
        Share of the doubles, and of the others, that is taken for double.
    prior : float
        Share of doubles among all.
    """
    right, wrong = prior * np.asarray(found, float), (1 - prior) * np.asarray(false, float)
    with np.errstate(invalid="ignore"):
        return np.asarray(right / (right + wrong))


def _threshold(label: NDArray[np.bool_], odds: Floats, prior: float, precision: float) -> float:
    """Return the lowest odds above which precision is reached, else those where it is highest; one false is added."""
    order = np.argsort(-odds, kind="stable")
    found = np.cumsum(label[order]) / label.sum()
    false = (np.cumsum(~label[order]) + 1) / (~label).sum()
    reached = expected_precision(found, false, prior)
    enough = np.flatnonzero(reached >= precision)
    return float(odds[order][enough[-1] if len(enough) else int(np.argmax(reached))])


def _calibration(label: NDArray[np.bool_], logits: Floats) -> Calibration:
    scale, offset = platt(label, logits)
    return Calibration(scale=scale, offset=offset)
