"""From waves to an orbit: stars whose light varies all the time."""

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves import aliases, waves
from pipeline.lightcurves.orbits import Orbit, finished, odd_even
from pipeline.lightcurves.profile import Profile
from pipeline.lightcurves.series import Series
from pipeline.lightcurves.systems import measure_orbit
from pipeline.lightcurves.waves import Wave

__all__ = ["continuous"]

Floats = NDArray[np.float64]

MOST_COUNTS = 6  # counts of cycles across gaps that are tried
NEAR = 0.02  # periods nearer than this differ by the count of cycles
ALIKE = 0.05  # relative difference between odd and even minima that shows


def continuous(native: Series, series: Series, wave: Wave, p_contact: float | None) -> Orbit | None:
    """Find the orbit of a star whose light varies all the time.

    An orbit has two minima: where the shortest cycle has one, the orbit is twice as long, unless it is no orbit.

    Parameters
    ----------
    native : Series
        All data at the finest cadence.
    series : Series
        Search bins, centred.
    wave : Wave
        The shortest cycle.
    p_contact : float, optional
        Probability of a contact binary.

    Returns
    -------
    Orbit
        None where the orbit cannot be fitted.
    """
    cycle = wave.period
    low = waves.minima(series, cycle)
    flag, probability, other = "exact", 1.0, float("nan")
    if len(low) == 2:
        period, epochs = cycle, np.array(low)
    else:
        period, epochs = 2 * cycle, np.array([low[0], low[0] + cycle])
        sigma = waves.halves(series, cycle)
        if sigma < aliases.DECISIVE:
            guess = Profile(0.6 * float(np.ptp(_level(series, cycle))), 0.4 * cycle)
            single = measure_orbit(native, cycle, np.array(low), (guess,))
            unlike = odd_even(single.events[0]) if single is not None else np.nan
            sigma = max(sigma, unlike) if np.isfinite(unlike) else sigma
        if sigma < aliases.DECISIVE:
            flag, other = "alias_unresolved", cycle
            longer = _two_minima(series, wave, sigma, p_contact)
            probability = longer
            if longer < 0.5:
                period, epochs, other, probability = cycle, np.array(low), 2 * cycle, 1 - longer
        else:
            probability = float(1 / (1 + np.exp(-0.5 * (sigma**2 - 4))))
    guesses = tuple(Profile(0.6 * float(np.ptp(_level(series, period))), 0.2 * period) for _ in epochs)
    best: Orbit | None = None
    counts = [period, *(period / cycle * rival for rival in wave.rivals)]
    for trial in counts:
        # the times within each season tell the counts of cycles apart
        system = measure_orbit(native, trial, epochs, guesses)
        orbit = None if system is None else finished(system, flag, probability, other)
        if orbit is not None and (best is None or orbit.probability > best.probability):
            best = orbit
        if best is None or best.probability > 0.5 * probability:
            break
        if trial == counts[-1] and len(counts) < MOST_COUNTS and abs(best.other / period - 1) < NEAR:
            counts.append(best.other)
    return best


def _two_minima(series: Series, wave: Wave, sigma: float, p_contact: float | None) -> float:
    """Probability that a cycle with one minimum is half an orbit: tides make two, an eclipse without another one."""
    smooth = float(np.clip((0.62 - wave.plateau) / 0.2, 0.0, 1.0))
    if p_contact is not None:
        smooth = max(smooth * (0.5 + 0.5 * p_contact), 0.9 * p_contact)
    depth = float(np.ptp(_level(series, wave.period)))
    return smooth * 0.92 + (1 - smooth) * aliases.twin(depth, ALIKE * depth, sigma)


def _level(series: Series, period: float) -> Floats:
    return waves.mean_curve(series.time, series.flux, period, 48)
