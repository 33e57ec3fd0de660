"""Stars that vary without eclipsing, drawn at random: rotation, pulsation, flares, granulation, transiting planets.

Amplitudes and periods are drawn to be wide, not as a population model. Shapes of RR Lyrae stars and Cepheids: Fourier
parameters about those of Simon & Lee (1981, ApJ 248, 291) and Simon & Teays (1982, ApJ 261, 586).
"""

import numpy as np

from pipeline.simulate.eclipses import Floats, Orbit, hidden_fraction
from pipeline.simulate.light import Light, PhaseCurve, Spots, Waves

__all__ = ["draw_light", "draw_pulsation", "draw_spots"]

_EPOCH = 1325.0


def draw_light(kind: str, rng: np.random.Generator) -> tuple[Light, float, float]:
    """Draw the light of a star.

    Parameters
    ----------
    kind : str
        One of `pipeline.simulate.stars.OTHER_KINDS` but the binaries.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    light : Light
        Its light.
    period, t0 : float
        Strongest period, days, and phase 0, BTJD; NaN if none.
    """
    if kind == "ROT":
        spots = draw_spots(_log_uniform(rng, 0.25, 20.0), _log_uniform(rng, 0.0006, 0.06), rng)
        flares = rng.uniform(0, 0.5) if rng.random() < 0.3 else 0.0
        return Light((spots,), flares=flares), float(spots.period[0]), _EPOCH
    if kind == "FLARE":
        spots = draw_spots(_log_uniform(rng, 0.3, 12.0), _log_uniform(rng, 0.0003, 0.03), rng)
        return Light((spots,), flares=_log_uniform(rng, 0.1, 2.0)), float(spots.period[0]), _EPOCH
    if kind in ("DSCT", "GDOR", "SPB"):
        waves = draw_pulsation(kind, rng)
        return Light((waves,)), float(1 / waves.frequency[np.argmax(waves.amplitude)]), waves.t0
    if kind in ("RRL", "CEP", "HADS"):
        curve = _sawtooth(kind, rng)
        return Light((curve,)), curve.period, curve.t0
    if kind == "PLANET":
        curve, period = _transits(rng)
        spots = draw_spots(_log_uniform(rng, 3, 30), _log_uniform(rng, 1e-4, 5e-3), rng)
        return Light((curve, spots) if rng.random() < 0.4 else (curve,)), period, curve.t0
    if kind == "GIANT":
        scale = _log_uniform(rng, 0.05, 1.5)
        return Light(granulation=_log_uniform(rng, 2e-4, 5e-3), timescale=scale), np.nan, np.nan
    granulation = _log_uniform(rng, 1e-5, 2e-4) if rng.random() < 0.4 else 0.0
    return Light(granulation=granulation, timescale=rng.uniform(0.02, 0.3)), np.nan, np.nan


def draw_spots(period: float, strength: float, rng: np.random.Generator) -> Spots:
    """Draw the spots of a star.

    Parameters
    ----------
    period : float
        Of the rotation, days.
    strength : float
        Light that all of them take at the most, about.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Spots
        One to seven, often in two groups on opposite sides, so that half the period is strong.
    """
    count = int(rng.integers(1, 8))
    centres = rng.uniform(0, 2 * np.pi) + (np.pi + rng.normal(0, 0.3)) * rng.integers(0, 2, count)
    scattered = rng.uniform(0, 2 * np.pi, count)
    longitude = np.where(rng.random(count) < 0.7, centres + rng.normal(0, 0.3, count), scattered)
    share = rng.uniform(0.3, 1.0, count)
    latitude = np.abs(rng.normal(0.3, 0.35, count))
    shear = rng.choice([0.0, rng.uniform(0.01, 0.15)])
    return Spots(
        period * (1 + shear * (np.sin(latitude) ** 2 - np.sin(latitude[0]) ** 2)),
        strength * share / share.sum() * rng.uniform(1.0, 2.0),
        longitude,
        latitude,
        np.exp(rng.uniform(np.log(15), np.log(400), count)),
        float(np.arccos(rng.uniform(0, 0.9))),
    )


def draw_pulsation(kind: str, rng: np.random.Generator) -> Waves:
    """Draw pulsation in many modes.

    Parameters
    ----------
    kind : str
        'DSCT' (4 to 70 a day), 'GDOR' (0.3 to 4 a day, in groups, with sharp maxima) or 'SPB' (0.1 to 2 a day).
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Waves
        1 to 20 modes.
    """
    t0 = _EPOCH + rng.uniform(0, 10)
    total = _log_uniform(rng, 1e-4, 2e-2)
    if kind == "DSCT":
        count = (1, int(rng.integers(2, 5)), int(rng.integers(4, 12)))[int(rng.integers(3))]
        frequency = np.clip(_log_uniform(rng, 5, 40) * np.exp(rng.normal(0, 0.4, count)), 3, 75)
        if rng.random() < 0.3:  # hybrids
            frequency[-1] = rng.uniform(0.3, 4)
        skew = 0.0
    else:
        low, high = (0.35, 3.5) if kind == "GDOR" else (0.08, 2.0)
        count = int(rng.integers(2, 21)) if kind == "GDOR" else int(rng.integers(1, 8))
        centre = _log_uniform(rng, low, high)
        frequency = centre * np.exp(rng.normal(0, rng.uniform(0.02, 0.2), count))
        second = rng.random(count) < 0.25
        frequency[second] *= 2
        skew = max(rng.normal(0.15, 0.25), 0.0)
    amplitude = rng.exponential(1.0, count) ** 1.3 + 0.05
    amplitude *= total * np.sqrt(2 / (amplitude**2).sum())
    return Waves(frequency, amplitude, rng.uniform(0, 2 * np.pi, count), t0, skew)


def _sawtooth(kind: str, rng: np.random.Generator) -> PhaseCurve:
    """RR Lyrae stars, Cepheids and high-amplitude delta Scuti stars, from Fourier series in magnitude."""
    order = np.arange(1, 11)
    cycle, depth, shift = 1.0, 0.0, 0.0
    if kind == "RRL":
        if rng.random() < 0.65:  # ab: steep
            period, amplitude = rng.uniform(0.38, 0.85), rng.uniform(0.12, 0.35)
            ratio, phase21, step = rng.uniform(0.4, 0.55), rng.normal(2.4, 0.15), rng.normal(2.65, 0.1)
            if rng.random() < 0.3:
                cycle, depth, shift = _log_uniform(rng, 10, 120), rng.uniform(0.05, 0.35), rng.uniform(0, 0.02)
        else:
            period, amplitude = rng.uniform(0.22, 0.45), rng.uniform(0.07, 0.22)
            ratio, phase21, step = rng.uniform(0.05, 0.25), rng.normal(3.0, 0.4), rng.normal(2.8, 0.5)
    elif kind == "CEP":
        period, amplitude = _log_uniform(rng, 1.0, 30.0), rng.uniform(0.03, 0.3)
        overtone = rng.random() < 0.3
        ratio = rng.uniform(0.05, 0.2) if overtone else rng.uniform(0.25, 0.5)
        phase21, step = rng.normal(2.7 if period < 9 else 3.5, 0.4), rng.normal(2.8, 0.3)
    else:
        period, amplitude = _log_uniform(rng, 0.04, 0.25), rng.uniform(0.02, 0.2)
        ratio, phase21, step = rng.uniform(0.1, 0.4), rng.normal(2.4, 0.2), rng.normal(2.7, 0.2)
    sizes = amplitude * ratio ** ((order - 1) * rng.uniform(0.75, 1.0))
    phases = np.where(order == 1, 0.0, phase21 + (order - 2) * step)
    phase = np.linspace(0, 1, 513)
    magnitude = (sizes[:, None] * np.sin(2 * np.pi * np.outer(order, phase) + phases[:, None])).sum(axis=0)
    light = 10 ** (-0.4 * magnitude)
    share = rng.uniform(0.05, 1.0) if rng.random() < 0.3 else 1.0  # others in the same pixels
    light = 1 + share * (light / light[:-1].mean() - 1)
    return PhaseCurve(period, _EPOCH + rng.uniform(0, period), phase, light, cycle, depth, shift)


def _transits(rng: np.random.Generator) -> tuple[PhaseCurve, float]:
    period, ratio = _log_uniform(rng, 0.8, 40.0), _log_uniform(rng, 0.01, 0.15)
    r1 = min(rng.uniform(0.7, 2.0) / (4.208 * period ** (2 / 3)), 0.3)
    orbit = Orbit(rng.uniform(0, 0.95) * r1)
    eclipse = orbit.eclipse(0.0, r1, r1 * ratio)
    assert eclipse is not None
    lost = np.minimum(hidden_fraction(eclipse.separation, r1, r1 * ratio, rng.uniform(0.2, 0.6)), 0.025)
    half = eclipse.phase.size // 2 + 1  # after mid-transit, mirrored
    phase, lost = eclipse.phase[half - 1 :], lost[half - 1 :]
    nodes = np.r_[0.0, phase[1:], 0.5, 1 - phase[:0:-1], 1.0]
    light: Floats = 1 - np.r_[lost[0], lost[1:], 0.0, lost[:0:-1], lost[0]]
    return PhaseCurve(period, _EPOCH + rng.uniform(0, period), nodes, light), period


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
