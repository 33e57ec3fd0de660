"""Where a model of visual binaries stands, as its card tells: probabilities by one and by several surveys, a threshold.

All of it is learnt from stacks that the training held out to choose the best epoch; the test stacks only judge.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from models.standing import platt
from models.visual import BINS
from models.visual_rates import framed
from pipeline.errors import UsageError
from pipeline.fusion import Calibration, Curve, Fusion

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VisualStanding", "learn"]

Floats = NDArray[np.float64]

_ENOUGH = 300  # rows of each label from which on a survey is calibrated by itself
_SOME = 50  # pairs from which on it is known what a survey can see
_LEAST_SHARE = 1e-3


class VisualStanding(Fusion):
    """What a training learns of how its model's logits become what a catalogue says."""

    def evidence(self, scored: "Mapping[str, Any] | pd.DataFrame") -> Floats:
        """Return what each stack says for each separation.

        Parameters
        ----------
        scored : mapping or pandas.DataFrame
            survey, and the columns of `models.visual.read`: logit, l0, l1, …; of a network without bins logit alone.

        Returns
        -------
        (n, 8) float64
            As of `log_ratios`; NaN where the logit is.
        """
        if "l1" in scored:
            return self.log_ratios(np.stack([np.asarray(scored[f"l{k}"]) for k in range(BINS)], 1), scored["survey"])
        double = np.asarray(scored["logit"], float)
        return self.log_ratios(np.stack([np.zeros(len(double)), double], 1), scored["survey"])

    def told(self) -> dict[str, Any]:
        """Return what a card says of it: all that is learnt."""
        return self.model_dump(exclude={"edges", "limit"})


def learn(held_out: "pd.DataFrame", prior: float = 0.09, precision: float = 0.9) -> VisualStanding:
    """Return where a model stands.

    Parameters
    ----------
    held_out : pandas.DataFrame
        survey, label, weight (0: a pair that nobody can see), delta_mag, snr_1, bin_code, logit and, of a network with
        bins, l0, l1, … Those outside of `FRAME` do not count: of what is too faint to be seen training holds more than
        the sky that is asked of. Pairs of all separations do.
    prior : float
        Share of doubles that the threshold is for.
    precision : float
        Share of doubles that is expected above the threshold, at that prior; see `pipeline.fusion.Fusion.chosen`.

    Raises
    ------
    UsageError
        If doubles or others are missing.
    """
    held_out = held_out[framed(held_out, ("delta_mag", "snr_1"))]
    visible = held_out[held_out["weight"] > 0]
    label = visible["label"].to_numpy() > 0
    if label.all() or not label.any():
        raise UsageError(f"{len(visible)} held-out stacks, {int(label.sum())} of doubles: nothing can be calibrated")
    every = _calibration(label, visible["logit"].to_numpy(float))
    bins = "bin_code" in held_out
    surveys = {str(name): _of_survey(some, every, bins) for name, some in held_out.groupby("survey")}
    shares = _shares(_counts(held_out)) if bins else np.full(BINS - 1, 1 / (BINS - 1))
    known = {name: one for name, one in surveys.items() if one is not None}
    standing = VisualStanding(every=every, surveys=known, shares=list(shares), curve=None, threshold=0.5, prior=prior,
                              precision=precision)  # fmt: skip
    odds, double = standing.odds(standing.evidence(held_out)), held_out["label"].to_numpy() > 0
    standing = standing.model_copy(update={"curve": Curve.of(double, standing.p_prior(odds, 0.5))})
    threshold = standing.p_prior(logit(standing.chosen(prior, precision)))
    return standing.model_copy(update={"threshold": float(threshold)})


def _of_survey(rows: "pd.DataFrame", every: Calibration, bins: bool) -> Calibration | None:
    """Return what logits of a survey mean, None if there are too few stacks of it to say."""
    visible = rows[rows["weight"] > 0]
    label = visible["label"].to_numpy() > 0
    own = every
    if min(label.sum(), (~label).sum()) >= _ENOUGH:
        own = _calibration(label, visible["logit"].to_numpy(float))
    if not bins or label.sum() < _SOME:
        return None if own is every else own
    there, all_ = _counts(visible), _counts(rows)
    # Of a bin without a pair nothing is known: as one half.
    seen = (there + 0.5 * (all_ == 0)) / np.maximum(all_, 1)
    return own.model_copy(update={"taught": list(_shares(there)), "seen": list(seen)})


def _counts(rows: "pd.DataFrame") -> Floats:
    double = rows["label"].to_numpy() > 0
    return np.bincount(rows["bin_code"].to_numpy()[double], minlength=BINS)[1:BINS].astype(float)


def _shares(count: Floats) -> Floats:
    shares = np.maximum(count / count.sum(), _LEAST_SHARE)
    return np.asarray(shares / shares.sum())


def _calibration(label: NDArray[np.bool_], logits: Floats) -> Calibration:
    scale, offset = platt(label, logits)
    return Calibration(scale=scale, offset=offset)
