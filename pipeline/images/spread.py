"""How values are spread, as counts that add over images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Spread"]

# Fine where significances are small, wide enough for a failure to show how large it is.
_EDGES = np.sinh(np.linspace(-7.6, 7.6, 3041))


@dataclass(frozen=True, eq=False)
class Spread:
    """How significances of pixels are spread.

    Parameters
    ----------
    counts : (3040,) int64
        Histogram over fixed bins; values beyond ±1000 are in the outermost.
    beyond : tuple of int
        How many lie below -5 and above 5.
    """

    counts: NDArray[np.int64]
    beyond: tuple[int, int]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> "Spread":
        """Count values.

        Parameters
        ----------
        values : (n,) ndarray
            Finite significances.

        Returns
        -------
        Spread
            Their counts.
        """
        inside = np.clip(values.astype(np.float64), _EDGES[0], _EDGES[-1])
        counts = np.histogram(np.arcsinh(inside), len(_EDGES) - 1, (-7.6, 7.6))[0]
        return cls(counts.astype(np.int64), (int((values < -5).sum()), int((values > 5).sum())))

    def __add__(self, other: "Spread") -> "Spread":
        """Add counts."""
        below, above = (a + b for a, b in zip(self.beyond, other.beyond, strict=True))
        return Spread(self.counts + other.counts, (below, above))

    @property
    def size(self) -> int:
        """How many values there were."""
        return int(self.counts.sum())

    @property
    def median(self) -> float:
        """Half of the values are above it; NaN without values."""
        if not self.size:
            return float("nan")
        return float(np.interp(0.5, np.concatenate([[0.0], np.cumsum(self.counts) / self.size]), _EDGES))

    @property
    def std(self) -> float:
        """Half of what lies between the percentiles 15.87 and 84.13; NaN without values."""
        if not self.size:
            return float("nan")
        share = np.concatenate([[0.0], np.cumsum(self.counts) / self.size])
        low, high = np.interp([0.1587, 0.8413], share, _EDGES)
        return float(high - low) / 2
