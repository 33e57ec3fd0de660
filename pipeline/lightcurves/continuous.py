"""From waves to an orbit: stars whose light varies all the time."""

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves import aliases, waves
from pipeline.lightcurves.orbits import Orbit, finished
from pipeline.lightcurves.profile import Profile
from pipeline.lightcurves.series import Series
from pipeline.lightcurves.systems import measure_orbit
from pipeline.lightcurves.waves import Wave

__all__ = ["continuous"]

Floats = NDArray[np.float64]


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
            flag, other = "alias_unresolved", cycle
            longer = _two_minima(series, wave, sigma, p_contact)
            probability = longer
            if longer < 0.5:
                period, epochs, other, probability = cycle, np.array(low), 2 * cycle, 1 - longer
        else:
            probability = float(1 / (1 + np.exp(-0.5 * (sigma**2 - 4))))
    guesses = tuple(Profile(0.6 * float(np.ptp(_level(series, period))), 0.2 * period) for _ in epochs)
    system = measure_orbit(native, period, epochs, guesses)
    if system is None:
        return None
    return finished(system, flag, probability, other)


def _two_minima(series: Series, wave: Wave, sigma: float, p_contact: float | None) -> float:
    """Probability that a cycle with one minimum is half an orbit: tides make two, an eclipse without another one."""
    smooth = float(np.clip((0.62 - wave.plateau) / 0.2, 0.0, 1.0))
    if p_contact is not None:
        smooth = max(smooth * (0.5 + 0.5 * p_contact), 0.9 * p_contact)
    depth = float(np.ptp(_level(series, wave.period)))
    return smooth * 0.92 + (1 - smooth) * aliases.twin(depth, sigma)


def _level(series: Series, period: float) -> Floats:
    return waves.mean_curve(series.time, series.flux, period, 48)
