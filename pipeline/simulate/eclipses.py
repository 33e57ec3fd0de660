"""The light that one disc hides of another, and orbits seen from the Earth: the analytic part of an eclipse.

Stars here are limb-darkened discs; those that tides have distorted are in `roche`.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Eclipse", "Orbit", "hidden_fraction"]

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_STEPS = 1 - np.cos(np.linspace(0, np.pi, 97))[1:]  # 0 to 2, dense at both ends


def hidden_fraction(separation: Floats, radius: float, front: float, limb: float) -> Floats:
    """Share of a limb-darkened disc's light that an opaque disc hides.

    The hidden arc of each annulus is exact. Annuli wholly covered are summed in closed form, those partly covered
    by Gauss-Legendre in an angle that takes the square roots out of both ends.

    Parameters
    ----------
    separation : (n,) float64
        Distance of the centres, in the unit of the radii.
    radius, front : float
        Radius of the disc that is hidden and of the one in front.
    limb : float
        Linear limb-darkening coefficient u of I(mu) = 1 - u (1 - mu).

    Returns
    -------
    (n,) float64
        0 (uncovered) to 1 (wholly covered), to 1e-7.
    """
    distance, ahead = np.maximum(separation / radius, 1e-9)[:, None], front / radius
    inner = np.minimum(np.abs(distance - ahead), 1.0)
    outer = np.clip(distance + ahead, inner, 1.0)
    mu2 = 1 - inner**2
    whole = (1 - limb) * inner**2 + (2 / 3) * limb * (1 - mu2 * np.sqrt(mu2))  # light within `inner`
    angle = (_NODES + 1) * (np.pi / 2)
    half = (outer - inner) / 2
    annulus = (outer + inner) / 2 - half * np.cos(angle)
    cosine = (annulus**2 + distance**2 - ahead**2) / (2 * annulus * distance + 1e-300)
    arc = np.arccos(np.clip(cosine, -1, 1))
    light = (1 - limb + limb * np.sqrt(np.maximum(1 - annulus**2, 0))) * annulus
    partly = half * ((arc * light) @ (_WEIGHTS * np.sin(angle)))[:, None]
    return np.asarray((np.where(distance < ahead, whole, 0.0) + partly)[:, 0] / (1 - limb / 3))


@dataclass(frozen=True)
class Eclipse:
    """One of the two eclipses of an orbit.

    Parameters
    ----------
    start, end : float
        First and last contact, in phase from the conjunction that phases are counted from.
    phase, separation : (m,) float64
        Places between them, dense at the contacts, and the distance of the discs' centres there.
    """

    start: float
    end: float
    phase: Floats
    separation: Floats


@dataclass(frozen=True)
class Orbit:
    """A Keplerian orbit of star 2 around star 1, lengths in units of the semi-major axis.

    Phase, in periods, is counted from the conjunction with star 2 in front.

    Parameters
    ----------
    cos_i : float
        Cosine of the inclination.
    eccentricity : float
        0 to 0.95.
    omega : float
        Argument of periastron, radians: star 2 passes in front at true anomaly pi/2 - omega.
    """

    cos_i: float
    eccentricity: float = 0.0
    omega: float = 0.0

    def place(self, phase: Floats) -> tuple[Floats, Floats, Floats]:
        """Where star 2 is.

        Parameters
        ----------
        phase : (n,) float64
            Phase.

        Returns
        -------
        separation, distance, toward : (n,) float64
            On the sky; in space; and cosine of the angle between star 2 seen from star 1 and the observer.
        """
        e = self.eccentricity
        if e == 0:
            toward = np.cos(2 * np.pi * phase) * np.sqrt(1 - self.cos_i**2)
            return np.sqrt(1 - toward**2), np.ones_like(phase), toward
        anomaly = _eccentric_anomaly(2 * np.pi * phase + self._mean_anomaly(np.pi / 2 - self.omega), e)
        distance = 1 - e * np.cos(anomaly)
        cosine, sine = (np.cos(anomaly) - e) / distance, np.sqrt(1 - e**2) * np.sin(anomaly) / distance
        toward = (sine * np.cos(self.omega) + cosine * np.sin(self.omega)) * np.sqrt(1 - self.cos_i**2)
        return distance * np.sqrt(np.maximum(1 - toward**2, 0)), distance, toward

    @property
    def opposite(self) -> float:
        """Phase of the conjunction with star 2 behind."""
        step = self._mean_anomaly(1.5 * np.pi - self.omega) - self._mean_anomaly(np.pi / 2 - self.omega)
        return float(step / (2 * np.pi) % 1)

    def phases(self, n: int) -> Floats:
        """Phases from 0 to 1 that follow the star in equal steps of eccentric anomaly, close together at periastron.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        (n + 2,) float64
            Rising, 0 and 1 included.
        """
        e = self.eccentricity
        anomaly = np.linspace(0, 2 * np.pi, n, endpoint=False)
        mean = anomaly - e * np.sin(anomaly) - self._mean_anomaly(np.pi / 2 - self.omega)
        return np.concatenate([[0.0], np.sort(mean / (2 * np.pi) % 1), [1.0]])

    def eclipse(self, centre: float, r1: float, r2: float) -> Eclipse | None:
        """Find the eclipse at a conjunction.

        Parameters
        ----------
        centre : float
            Phase of the conjunction: 0 or `opposite`.
        r1, r2 : float
            Radii.

        Returns
        -------
        Eclipse or None
            None if the discs do not meet.
        """
        total = r1 + r2
        _, distance, _ = self.place(np.array([centre]))
        speed = np.sqrt(1 - self.eccentricity**2) / distance[0]  # on the sky at conjunction, per radian
        window = min(1.6 * np.arcsin(min(total / speed, 1.0)) / (2 * np.pi), 0.25)
        grid = centre + window * np.linspace(-1, 1, 601)
        apart = self.place(grid)[0]
        lowest = int(np.argmin(apart))
        if apart[lowest] >= total:
            return None
        left = _inverse(apart[lowest::-1], grid[lowest::-1], abs(r1 - r2), total)
        right = _inverse(apart[lowest:], grid[lowest:], abs(r1 - r2), total)
        phase = np.concatenate([left[::-1], [grid[lowest]], right])
        return Eclipse(float(phase[0]), float(phase[-1]), phase, self.place(phase)[0])

    def _mean_anomaly(self, true: float) -> float:
        e = self.eccentricity
        half = np.sqrt((1 - e) / (1 + e)) * np.tan(true / 2)
        anomaly = 2 * np.arctan(half)
        return float(anomaly - e * np.sin(anomaly))


def _inverse(apart: Floats, phase: Floats, inner: float, total: float) -> Floats:
    """Phases from mid-eclipse outwards at separations that are dense at the contacts."""
    apart = np.maximum.accumulate(apart)
    edges = [apart[0], *([inner] if apart[0] < inner < total else []), min(total, apart[-1])]
    steps = [low + (high - low) / 2 * _STEPS for low, high in pairwise(edges)]
    return np.interp(np.concatenate(steps), apart, phase)


def _eccentric_anomaly(mean: Floats, e: float) -> Floats:
    """Solve Kepler's equation by Newton's method from E = M + e sin M / (1 - e cos M), safe up to e of 0.95."""
    mean = mean - 2 * np.pi * np.round(mean / (2 * np.pi))
    anomaly = mean + 0.85 * e * np.sign(mean) if e > 0.5 else mean + e * np.sin(mean)
    for _ in range(12):
        step = (anomaly - e * np.sin(anomaly) - mean) / (1 - e * np.cos(anomaly))
        anomaly = anomaly - step
        if np.abs(step).max() < 1e-12:
            break
    return np.asarray(anomaly)
