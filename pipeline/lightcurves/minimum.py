"""A minimum of a light curve that varies all the time, eclipse and tides together, as if it were an eclipse."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Minimum"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Minimum:
    """What times and depths are measured with where eclipses alone are too shallow: the fitted light about a minimum.

    Parameters
    ----------
    depth : float
        Below maximum light, relative.
    width : float
        Days that must be seen of it.
    x, lost : (n,) float64
        Days from the minimum, rising, and the light lost there.
    """

    depth: float
    width: float
    x: Floats
    lost: Floats

    def loss(self, offset: Floats, exposure: Floats) -> Floats:
        """Relative light lost; the exposure matters little for what is so wide.

        Parameters
        ----------
        offset, exposure : (n,) float64
            Days from the minimum, and over which each sample is averaged.

        Returns
        -------
        (n,) float64
            As an eclipse's.
        """
        return np.asarray(np.interp(offset, self.x, self.lost))

    def slope(self, offset: Floats, exposure: Floats) -> Floats:
        """Change of the loss with the time of the minimum.

        Parameters
        ----------
        offset, exposure : (n,) float64
            As for `loss`.

        Returns
        -------
        (n,) float64
            A day's worth.
        """
        return np.asarray(np.interp(offset, self.x, -np.gradient(self.lost, self.x)))
