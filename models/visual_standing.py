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
from models.visual_rates import framed, typically
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
        survey, label, kind, weight (0: a pair that nobody can see), sep_arcsec, delta_mag, snr_1, bin_code, logit and,
        of a network with bins, l0, l1, … They count as `models.visual_rates.typically` says: training holds more than
        the sky that is asked of of what is too close or too faint to be seen, and more of what is easy.
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
    held_out = held_out.assign(count=typically(held_out))
    label = held_out.loc[(held_out["weight"] > 0) & (held_out["count"] > 0), "label"].to_numpy() > 0
    if label.all() or not label.any():
        raise UsageError(f"{len(label)} held-out stacks, {int(label.sum())} of doubles: nothing can be calibrated")
    bins = "bin_code" in held_out
    shares = _shares(_pairs(held_out, held_out["count"])) if bins else np.full(BINS - 1, 1 / (BINS - 1))
    standing = VisualStanding(every=Calibration(scale=1, offset=0), shares=list(shares), threshold=0.5, prior=prior,
                              precision=precision)  # fmt: skip
    standing.every = _fitted(standing, _blind(standing.every, held_out) if bins else standing.every, held_out)
    for name, rows in held_out.groupby("survey"):
        if (own := _of_survey(standing, rows, bins)) is not None:
            standing.surveys[str(name)] = own
    held_out = held_out[held_out["count"] > 0]
    odds, double = standing.odds(standing.evidence(held_out)), held_out["label"].to_numpy() > 0
    curve = Curve.of(double, standing.p_prior(odds, 0.5), held_out["count"])
    standing = standing.model_copy(update={"curve": curve})
    threshold = standing.p_prior(logit(standing.chosen(prior, precision)))
    return standing.model_copy(update={"threshold": float(threshold)})


def _of_survey(standing: VisualStanding, rows: "pd.DataFrame", bins: bool) -> Calibration | None:
    """Return what logits of a survey mean, None if there are too few stacks of it to say."""
    double = rows["label"].to_numpy() > 0
    own = standing.every
    if bins and (double & (rows["weight"] > 0)).sum() >= _SOME:
        own = _blind(own, rows)
    counted = (rows["weight"] > 0) & (rows["count"] > 0)
    if min((double & counted).sum(), (~double & counted).sum()) >= _ENOUGH:
        own = _fitted(standing, own, rows)
    return None if own is standing.every else own


def _blind(known: Calibration, rows: "pd.DataFrame") -> Calibration:
    """Return a calibration with what its network was taught, not what it is asked, and which pairs cannot be seen."""
    there, all_ = _pairs(rows, rows["weight"] > 0), _pairs(rows)
    # Of a bin without a pair nothing is known: as one half.
    seen = (there + 0.5 * (all_ == 0)) / np.maximum(all_, 1)
    return known.model_copy(update={"taught": list(_shares(there)), "seen": list(seen)})


def _fitted(standing: VisualStanding, known: Calibration, rows: "pd.DataFrame") -> Calibration:
    """Return a calibration with the scale and offset by which rows are likeliest.

    By the odds that a stack ends with: what the bins of separation and unseen pairs do to them counts.
    """
    rows = rows[rows["count"] > 0]

    def calibrated(scale: float, offset: float) -> Calibration:  # numpydoc ignore=GL08
        return known.model_copy(update={"scale": scale, "offset": offset})

    def odds(scale: float, offset: float) -> Floats:  # numpydoc ignore=GL08
        one = standing.model_copy(update={"every": calibrated(scale, offset), "surveys": {}})
        return one.odds(one.evidence(rows))

    return calibrated(*platt(rows["label"].to_numpy() > 0, odds, rows["count"].to_numpy()))


def _pairs(rows: "pd.DataFrame", count: "pd.Series | None" = None) -> Floats:
    """Return how many pairs there are in each bin (8,), each counted so often."""
    double = rows["label"] > 0
    many = None if count is None else count[double].astype(float)
    return np.bincount(rows["bin_code"][double], many, minlength=BINS)[1:BINS].astype(float)


def _shares(count: Floats) -> Floats:
    shares = np.maximum(count / count.sum(), _LEAST_SHARE)
    return np.asarray(shares / shares.sum())
