"""Where a model of visual binaries stands, as its card tells: probabilities by one and by several surveys, a threshold.

All of it is learnt from stacks that the training held out to choose the best epoch; the test stacks only judge.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.standing import platt
from models.visual import BINS
from pipeline.errors import UsageError
from pipeline.fusion import Calibration, Curve, Fusion, precise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VisualStanding", "learn"]

Floats = NDArray[np.float64]

_ENOUGH = 300  # rows of each label from which on a survey is calibrated by itself
_LEAST_SHARE = 1e-3


class VisualStanding(Fusion):
    """What a training learns of how its model's logits become what a catalogue says."""

    def evidence(self, scored: "Mapping[str, Any] | pd.DataFrame") -> Floats:
        """Return what each stack says for each separation, as it is judged: without a limit.

        Parameters
        ----------
        scored : mapping or pandas.DataFrame
            survey, and the columns of `models.visual.read`: logit, l0, l1, …; of a network without bins logit alone.

        Returns
        -------
        (n, 8) float64
            As of `unlimited`; NaN where the logit is.
        """
        if "l1" in scored:
            return self.unlimited(np.stack([np.asarray(scored[f"l{k}"]) for k in range(BINS)], 1), scored["survey"])
        double = np.asarray(scored["logit"], float)
        return self.unlimited(np.stack([np.zeros(len(double)), double], 1), scored["survey"])

    def told(self) -> dict[str, Any]:
        """Return what a card says of it: all that is learnt."""
        return self.model_dump(exclude={"edges", "limit"})


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
    curve = Curve.of(label, standing.p_prior(odds, 0.5))
    return standing.model_copy(update={"threshold": float(standing.p_prior(chosen)), "curve": curve})


def _threshold(label: NDArray[np.bool_], odds: Floats, prior: float, precision: float) -> float:
    """Return the lowest odds above which precision is reached, else those where it is highest; one false is added."""
    order = np.argsort(-odds, kind="stable")
    found = np.cumsum(label[order]) / label.sum()
    false = (np.cumsum(~label[order]) + 1) / (~label).sum()
    reached = precise(found, false, prior)
    enough = np.flatnonzero(reached >= precision)
    return float(odds[order][enough[-1] if len(enough) else int(np.argmax(reached))])


def _calibration(label: NDArray[np.bool_], logits: Floats) -> Calibration:
    scale, offset = platt(label, logits)
    return Calibration(scale=scale, offset=offset)
