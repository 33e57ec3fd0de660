"""Shape of an eclipse: a limb-darkened disc behind another, averaged over an exposure."""

from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["Profile", "discs"]

Floats = NDArray[np.float64]

LIMB = 0.45  # linear limb darkening; a wrong one changes widths by less than a percent
RATIOS = (0.1, 5.0)  # of the radii
IMPACTS = (0.0, 0.97)  # closest approach over the sum of the radii
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_MU = (_NODES + 1) / 2
_LIGHT = _WEIGHTS * (1 - LIMB + LIMB * _MU) * _MU
_LIGHT = _LIGHT / _LIGHT.sum()
_RING = np.sqrt(1 - _MU**2)
_TABLE = 2000  # points of half an eclipse: lines between them stray by 2e-5 of the depth, rms


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _hidden(distance, front, ring, light):  # type: ignore[no-untyped-def]
    """Share of a unit disc's light behind a disc of radius `front`, ring by ring."""
    if distance >= 1.0 + front:
        return 0.0
    lost = 0.0
    d = max(distance, 1e-9)
    for j in range(ring.size):
        r = ring[j]
        cosine = (r * r + d * d - front * front) / (2 * r * d)
        if cosine <= -1.0:
            lost += light[j]
        elif cosine < 1.0:
            lost += light[j] * np.arccos(cosine) / np.pi
    return lost


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _discs(offset, exposure, width, ratio, impact, ring, light):  # type: ignore[no-untyped-def]
    out = np.zeros(offset.size)
    total = 1.0 + ratio
    deepest = _hidden(impact * total, ratio, ring, light)
    if deepest <= 0.0:
        return out
    half = 0.5 * width
    chord = 1.0 - impact * impact
    for i in range(offset.size):
        if abs(offset[i]) - 0.5 * exposure[i] >= half:
            continue
        samples = min(max(1, int(12 * exposure[i] / width + 0.5)), 15)
        lost = 0.0
        for s in range(samples):
            x = (offset[i] + ((s + 0.5) / samples - 0.5) * exposure[i]) / half
            if abs(x) < 1.0:
                lost += _hidden(total * np.sqrt(impact * impact + chord * x * x), ratio, ring, light)
        out[i] = lost / samples / deepest
    return out


def discs(offset: Floats, exposure: Floats, width: float, ratio: float, impact: float) -> Floats:
    """Eclipse of unit depth by two discs passing each other on a straight line.

    Parameters
    ----------
    offset : (n,) float64
        Time from mid-eclipse, days.
    exposure : (n,) float64
        Days over which each sample is averaged.
    width : float
        From first to last contact, days.
    ratio : float
        Radius of the disc in front over that of the one behind.
    impact : float
        Closest approach of the centres over the sum of the radii.

    Returns
    -------
    (n,) float64
        0 outside, 1 in the middle of an eclipse that no exposure smears.
    """
    if offset.size < 2 * _TABLE:
        return np.asarray(_discs(offset, exposure, width, ratio, impact, _RING, _LIGHT))
    # Of many samples the most lie between others': an eclipse is symmetric, and smooth but at the contacts.
    out = np.empty(offset.size)
    for length in np.unique(exposure):
        rows = exposure == length
        x = np.linspace(0, 0.5 * (width + length), _TABLE)
        table = _discs(x, np.full(_TABLE, length), width, ratio, impact, _RING, _LIGHT)
        out[rows] = np.interp(np.abs(offset[rows]), x, table, right=0.0)
    return out


@dataclass(frozen=True)
class Profile:
    """An eclipse.

    Parameters
    ----------
    depth : float
        Relative to the light around it.
    width : float
        First to last contact, days.
    ratio, impact : float
        As in `discs`.
    """

    depth: float
    width: float
    ratio: float = 1.0
    impact: float = 0.4

    def loss(self, offset: Floats, exposure: Floats) -> Floats:
        """Relative light lost.

        Parameters
        ----------
        offset, exposure : (n,) float64
            As in `discs`.

        Returns
        -------
        (n,) float64
            Between 0 and the depth.
        """
        return self.depth * discs(offset, exposure, self.width, self.ratio, self.impact)

    def slope(self, offset: Floats, exposure: Floats) -> Floats:
        """Change of the loss with the time of mid-eclipse.

        Parameters
        ----------
        offset, exposure : (n,) float64
            As in `discs`.

        Returns
        -------
        (n,) float64
            A day's worth.
        """
        step = 0.01 * self.width
        return (self.loss(offset - step, exposure) - self.loss(offset + step, exposure)) / (2 * step)

    def scaled(self, depth: float) -> "Profile":
        """Return the same shape with another depth.

        Parameters
        ----------
        depth : float
            The depth.

        Returns
        -------
        Profile
            Of that depth.
        """
        return replace(self, depth=depth)
