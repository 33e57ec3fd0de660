"""Pairs of stars and their orbits, drawn at random, before anybody looks at them.

Masses, radii and orbits are drawn to be wide, within what stars and Kepler's third law allow, not as a population
model: periods are about uniform in their logarithm, 0.4 to 80 d for detached, 0.3 to 15 d for semi-detached and 0.2 to
3 d for contact binaries.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.simulate.eclipses import Floats, Orbit
from pipeline.simulate.roche import lobe_radius

__all__ = ["Pair", "draw_pair"]


@dataclass(frozen=True)
class Pair:
    """Two stars and their orbit.

    Parameters
    ----------
    period : float
        Days.
    q : float
        Mass of star 2 over that of star 1.
    r1, r2 : float
        Radii in units of the semi-major axis.
    teff1, teff2 : float
        K.
    orbit : Orbit
        Its shape and how it lies.
    fill1, fill2 : float
        As in `pipeline.simulate.roche.CloseBinary`.
    limb : float
        Linear limb-darkening coefficient.
    """

    period: float
    q: float
    r1: float
    r2: float
    teff1: float
    teff2: float
    orbit: Orbit
    fill1: float
    fill2: float
    limb: float


def draw_pair(kind: str, rng: np.random.Generator) -> Pair:
    """Draw stars and an orbit that may make a binary of a kind.

    Parameters
    ----------
    kind : str
        'EA', 'EB', 'EW', 'ELL' or 'HB'.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Pair
        Nearly always of that kind.
    """
    chance = rng.random()
    if kind == "EA":
        pair = _semidetached(rng) if chance < 0.12 else _detached(rng)
    elif kind == "EB":
        pair = _semidetached(rng) if chance < 0.35 else _near_contact(rng) if chance < 0.93 else _hot_dwarf(rng)
    elif kind == "EW":
        pair = _contact(rng) if chance < 0.92 else _near_contact(rng)
    elif kind == "ELL":
        pair = (_contact, _near_contact, _semidetached)[int(3 * chance)](rng)
        if rng.random() < 0.25:  # a white dwarf or something darker is what pulls
            pair = replace(pair, fill1=min(pair.fill1, 1.0), fill2=0.05, r2=0.02, teff2=3000.0)
    else:
        pair = _heartbeat(rng)
    total = pair.r1 + pair.r2
    if kind == "ELL":
        return replace(pair, orbit=Orbit(rng.uniform(min(total, 0.9), 0.97)))
    if kind == "HB" or pair.orbit.eccentricity > 0:
        return pair
    return replace(pair, orbit=Orbit(min(rng.uniform(0, 1.0) * total, 0.97)))


def _detached(rng: np.random.Generator) -> Pair:
    period = _log_uniform(rng, 0.4, 80.0)
    mass1 = _log_uniform(rng, 0.4, 5.0)
    q = rng.uniform(0.9, 1.0) if rng.random() < 0.3 else rng.uniform(0.12, 1.0)
    evolved = np.exp(rng.uniform(0, 0.7)) * (rng.uniform(2, 8) if rng.random() < 0.15 else 1.0)
    radius1, radius2 = _radius(mass1) * evolved, _radius(q * mass1) * np.exp(rng.uniform(0, 0.2))
    axis = 4.208 * (mass1 * (1 + q)) ** (1 / 3) * period ** (2 / 3)  # solar radii
    lobes = lobe_radius(1 / q), lobe_radius(q)
    fills = [min(r / axis / lobe, rng.uniform(0.3, 0.85)) for r, lobe in zip((radius1, radius2), lobes, strict=True)]
    teff1 = float(np.clip(5772 * mass1**0.55 * evolved**-0.15, 3000, 20000))
    teff2 = float(np.clip(5772 * (q * mass1) ** 0.55 * np.exp(rng.normal(0, 0.05)), 2800, 20000))
    r1, r2 = fills[0] * lobes[0], fills[1] * lobes[1]
    e = 0.0
    if rng.random() < (0.6 if period > 3 else 0.1):
        e = min(rng.beta(1.1, 2.0), 0.85) * max(0.0, 1 - (period / 0.6) ** (-2 / 3))
        e = max(min(e, 1 - max(fills) / 0.8), 0.0)
    omega = rng.uniform(0, 2 * np.pi)
    nearest = (1 - e**2) / (1 + e * abs(np.sin(omega)))
    orbit = Orbit(min(rng.uniform(0, 1) * (r1 + r2) / nearest, 0.9), e, omega)
    return Pair(period, q, r1, r2, teff1, teff2, orbit, fills[0], fills[1], rng.uniform(0.2, 0.65))


def _close(period: float, q: float, fills: Floats, teffs: Floats, rng: np.random.Generator) -> Pair:
    r1, r2 = np.minimum(fills, 1.1) * np.array([lobe_radius(1 / q), lobe_radius(q)])
    fill1, fill2 = (float(fill) for fill in fills)
    return Pair(period, q, r1, r2, float(teffs[0]), float(teffs[1]), Orbit(0.0), fill1, fill2, rng.uniform(0.2, 0.7))


def _near_contact(rng: np.random.Generator) -> Pair:
    teff = _log_uniform(rng, 4200, 15000)
    period = _log_uniform(rng, 0.25, 4.0)
    fills = rng.uniform(0.68, 1.0, 2) if rng.random() < 0.7 else rng.uniform(0.93, 1.0, 2)
    return _close(period, _log_uniform(rng, 0.2, 1.0), fills, np.array([teff, teff * rng.uniform(0.45, 1.02)]), rng)


def _semidetached(rng: np.random.Generator) -> Pair:
    teff = _log_uniform(rng, 5500, 14000)
    fills = np.array([rng.uniform(0.2, 0.85), 1.0])
    teffs = np.array([teff, max(teff * rng.uniform(0.38, 0.8), 3500)])
    return _close(_log_uniform(rng, 0.5, 15.0), _log_uniform(rng, 0.1, 0.7), fills, teffs, rng)


def _contact(rng: np.random.Generator) -> Pair:
    """W Ursae Majoris stars, hotter ones at longer periods, and one in ten a contact binary of hot stars."""
    period = float(np.clip(0.36 * np.exp(rng.normal(0, 0.35)), 0.2, 1.3))
    teff = float(np.clip(5700 * (period / 0.36) ** 0.6 * np.exp(rng.normal(0, 0.06)), 3900, 9000))
    if rng.random() < 0.1:
        period, teff = _log_uniform(rng, 0.5, 3.0), _log_uniform(rng, 7500, 25000)
    fills = np.full(2, 1 + rng.beta(1.2, 2.0))
    teffs = teff * np.array([1.0, np.clip(rng.normal(0.99, 0.03), 0.85, 1.08)])
    return _close(period, _log_uniform(rng, 0.08, 1.0), fills, teffs, rng)


def _hot_dwarf(rng: np.random.Generator) -> Pair:
    """A hot subdwarf that heats a red dwarf."""
    fills = np.array([rng.uniform(0.25, 0.6), rng.uniform(0.5, 0.95)])
    teffs = np.array([_log_uniform(rng, 20000, 35000), rng.uniform(2800, 3600)])
    return _close(_log_uniform(rng, 0.2, 1.0), rng.uniform(0.2, 0.6), fills, teffs, rng)


def _heartbeat(rng: np.random.Generator) -> Pair:
    pair = _detached(rng)
    e = rng.uniform(0.25, 0.85)
    fills = rng.uniform(0.4, 0.95) * (1 - e), rng.uniform(0.1, 0.9) * (1 - e)
    r1, r2 = fills[0] * lobe_radius(1 / pair.q), fills[1] * lobe_radius(pair.q)
    orbit = Orbit(rng.uniform(0.1, 0.97), e, rng.uniform(0, 2 * np.pi))
    return replace(pair, period=_log_uniform(rng, 2, 60), r1=r1, r2=r2, fill1=fills[0], fill2=fills[1], orbit=orbit)


def _radius(mass: float) -> float:
    """Of a star on the main sequence, solar units."""
    return float(mass**0.9 if mass < 1.2 else 1.06 * mass**0.6)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
