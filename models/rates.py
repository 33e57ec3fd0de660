"""How well a score orders real and bogus: areas and rates, again and again on fields drawn anew.

Candidates of one field share their seeing, their sky and their flaws, and are wrong together: intervals come from
drawing fields, not candidates.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ordered", "Rates", "interval"]

Floats = NDArray[np.float64]

_ALLOWED = 0.01
_TOLERANCE = 1e-9  # of counts


class Rates(NamedTuple):
    """What an order is worth.

    Parameters
    ----------
    aucpr : float
        Area under precision against recall (average precision), of the rows as they are: a blind guess has their share
        of real.
    aucpr_half : float
        The same if half of the rows were real.
    fpr : float
        Share of bogus that is taken for real where 1% of the real ones is missed.
    fnr : float
        Share of real that is missed where 1% of the bogus is taken for real.
    """

    aucpr: float
    aucpr_half: float
    fpr: float
    fnr: float


class Ordered:
    """Candidates in the order of a score, best first.

    Parameters
    ----------
    label, score : (n,) array
        1 real, 0 bogus; larger for more real; no NaN.
    field : (n,) array
        What is drawn as a whole.
    """

    def __init__(self, label: NDArray[np.integer], score: Floats, field: NDArray[np.object_]) -> None:
        order = np.argsort(-score, kind="stable")
        self.label = np.asarray(label)[order] > 0
        ordered = np.asarray(score)[order]
        #: Last row of each run of equal scores: only there may a threshold part the rows.
        self.ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else np.empty(0, int)
        # By name: two orders of the same rows then draw the same fields.
        names, code = np.unique(np.asarray(field).astype(str), return_inverse=True)
        self.code, self.fields = code[order], len(names)

    def rates(self, often: NDArray[np.integer] | None = None) -> Rates:
        """Return the rates, of rows that count `often` times each, in this order; NaN where a label is missing."""
        count = np.ones(len(self.label)) if often is None else often.astype(float)
        real = np.cumsum(count * self.label)[self.ends]
        bogus = np.cumsum(count * ~self.label)[self.ends]
        if not len(real) or not real[-1] or not bogus[-1]:
            return Rates(np.nan, np.nan, np.nan, np.nan)
        recall, false = real / real[-1], bogus / bogus[-1]
        step = np.diff(recall, prepend=0.0)
        precision = real / np.maximum(real + bogus, 1)
        halved = recall / np.maximum(recall + false, 1e-300)
        enough = int(np.argmax(real >= (1 - _ALLOWED) * real[-1] - _TOLERANCE))
        allowed = np.flatnonzero(bogus <= _ALLOWED * bogus[-1] + _TOLERANCE)
        missed = 1 - recall[allowed[-1]] if len(allowed) else 1.0
        return Rates(float(step @ precision), float(step @ halved), float(false[enough]), float(missed))

    def drawn(self, resamples: int, seed: int = 0) -> Floats:
        """Return the rates of so many draws of fields (resamples, 4); empty where there are fewer than two fields."""
        if self.fields < 2:
            return np.empty((0, len(Rates._fields)))
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, self.fields, (resamples, self.fields))
        return np.array([self.rates(np.bincount(row, minlength=self.fields)[self.code]) for row in chosen])


def interval(values: Floats) -> list[float] | None:
    """Return the 95% interval of resampled values, None where there are none."""
    known = values[np.isfinite(values)]
    return [float(q) for q in np.quantile(known, (0.025, 0.975))] if len(known) else None
