"""What speaks against an orbit: eclipses no deeper than what else the light does, cycles that do not repeat."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from pipeline.lightcurves.orbital import detrended
from pipeline.lightcurves.orbits import Orbit, seen, signal
from pipeline.lightcurves.series import Series, flatten
from pipeline.lightcurves.systems import System, eclipsed
from pipeline.lightcurves.waves import mean_curve

__all__ = ["coherence", "doubted", "unrest"]

Floats = NDArray[np.float64]

COHERENT = 0.85  # share of the variation that repeats every orbit where the light varies all the time
CYCLES = 10  # of fewer, more must repeat: a few of anything resemble each other by chance
MINIMA, PROMINENT_DIP = 2, 0.25  # an orbit has no more that stand out by this share of the range: pulsations have
PROMINENT = 5.0  # depth of eclipses over the scatter of the light between them, averaged over as long
FEW, CLEAR = 5, 12.0  # fewer eclipses than these must have this signal to noise together, a lone one too
SHORTEST = 0.15  # days: binaries that touch have longer orbits, pulsators shorter cycles
ALLOWED = 0.1  # of an eclipse: how far the ephemeris may be off at the ends of the data
SIGMAS = 3.0
UNSURE = 0.9  # probability of a doubted period


def doubted(orbit: Orbit, series: Series) -> Orbit:
    """Call a period unresolved that noise, spots or pulsations may have made.

    Parameters
    ----------
    orbit : Orbit
        Any.
    series : Series
        Relative flux in search bins, not flattened.

    Returns
    -------
    Orbit
        The same object where nothing speaks against it.
    """
    if orbit.flag != "exact" or _sound(orbit.system, series):
        return orbit
    other = orbit.other if np.isfinite(orbit.other) else 2 * orbit.system.period
    return replace(orbit, flag="alias_unresolved", probability=min(orbit.probability, UNSURE), other=other)


def _sound(system: System, series: Series) -> bool:
    width = min(shape.profile.width for shape in system.shapes)
    span = float(np.ptp(series.time))
    if not SIGMAS * system.period_err * span / system.period < ALLOWED * width:
        return False
    number = sum(seen(events) for events in system.events)
    together = max(signal(events) for events in system.events)
    lone = [signal(events) for events in system.events if seen(events) == 1]
    if min([together if number < FEW else CLEAR, *lone]) < CLEAR:
        return False
    if all(np.isfinite(shape.width_err) for shape in system.shapes):
        return max(shape.profile.depth for shape in system.shapes) > PROMINENT * unrest(system, series)
    twice = all(seen(events) > 1 for events in system.events)
    if not system.period > SHORTEST or not twice or _count_minima(series, system.period) > MINIMA:
        return False
    cycles = np.unique(np.floor(series.time / system.period)).size
    return coherence(series, system.period) > 1 - (1 - COHERENT) * min(1.0, cycles / CYCLES)


def _count_minima(series: Series, period: float, bins: int = 64) -> int:
    """Minima of the mean curve that stand out."""
    phase = (np.arange(bins) + 0.5) / bins
    level = detrended(series, period, 100, max(2.0, 1.5 * period))
    label = np.minimum((level.time / period % 1.0 * bins).astype(np.int64), bins - 1)
    count = np.bincount(label, minlength=bins)
    mean = np.bincount(label, level.flux, bins)[count > 0] / count[count > 0]
    spectrum = np.fft.rfft(np.interp(phase, phase[count > 0], mean, period=1.0))
    spectrum[9:] = 0.0
    smooth = np.tile(np.fft.irfft(spectrum, bins), 3)
    return int(np.sum((find_peaks(-smooth, prominence=PROMINENT_DIP * np.ptp(smooth))[0] // bins) == 1))


def coherence(series: Series, period: float) -> float:
    """Share of the variation, white noise left out, that repeats every orbit.

    Parameters
    ----------
    series : Series
        Relative flux.
    period : float
        Days.

    Returns
    -------
    float
        At most 1; robust against a few bad stretches.
    """
    level = detrended(series, period, 100, max(2.0, 1.5 * period))
    rest = level.flux - mean_curve(level.time, level.flux, period, 60)
    white = float(np.median(level.error)) ** 2
    cycles = max(np.unique(np.floor(level.time / period)).size, 2)
    loose = (1.4826 * float(np.median(np.abs(rest)))) ** 2 / (1 - 1 / cycles) - white
    return 1 - max(loose, 0.0) / max(float(level.flux.var()) - white, 1e-12)


def unrest(system: System, series: Series) -> float:
    """Scatter of means as long as an eclipse of the light between eclipses.

    Parameters
    ----------
    system : System
        Measured.
    series : Series
        Relative flux.

    Returns
    -------
    float
        Relative; 0 where there is too little light between eclipses to tell.
    """
    widths = np.array([shape.profile.width for shape in system.shapes])
    inside = eclipsed(series.time, system.period, system.epochs, widths, 1.2)
    flat = flatten(series, inside).where(~inside)
    if flat.time.size < 50:
        return 0.0
    _, index, count = np.unique(np.floor(flat.time / widths[0]), return_inverse=True, return_counts=True)
    return float((np.bincount(index, flat.flux) / count)[count >= 0.5 * np.median(count)].std())
