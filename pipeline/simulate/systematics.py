"""What TESS and its pipeline leave in a light curve that is not the star: trends, jumps, scattered light, red noise.

How much is left differs from star to star by orders of magnitude, as in real PDCSAP light curves: about one star in
ten shows it plainly.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.simulate.eclipses import Floats
from pipeline.simulate.sector import Clock

__all__ = ["Systematics", "draw_systematics", "red_noise"]


@dataclass(frozen=True, eq=False)
class Systematics:
    """What is left in a light curve.

    Parameters
    ----------
    relative : (n,) float64
        Share of the star's light.
    additive : float
        Share of the background's excess that is left.
    trend : (n,) float64
        What differs from orbit to orbit, share of the star's light.
    """

    relative: Floats
    additive: float
    trend: Floats


def draw_systematics(clock: Clock, tmag: float, swing: float, strong: bool, rng: np.random.Generator) -> Systematics:
    """Draw the systematics of a star in a sector.

    Parameters
    ----------
    clock : Clock
        The sector.
    tmag : float
        TESS magnitude; fainter stars are worse off.
    swing : float
        Standard deviation of the star's light: what varies much is fitted worse by the pipeline.
    strong : bool
        Whether they are to be seen for sure.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Systematics
        Rising and falling with the sector's own weather.
    """
    time = clock.time
    worse = 10 ** (0.15 * max(tmag - 10, 0)) * (1 + 40 * min(swing, 0.1))
    scale = min(rng.lognormal(-7.0 if strong else -10.4, 0.9) * worse, 0.01)
    relative = (scale * rng.normal(0, 2)) * clock.ramp
    relative += (scale * rng.normal(0, 1)) * clock.settling
    relative += (scale * rng.normal(0, 6)) * clock.drift1
    if strong or rng.random() < 0.15:  # sawteeth between momentum dumps
        steps = np.cumsum(np.r_[0, rng.normal(0, 0.7 * scale, clock.dumps.size)])
        steps = 0.3 * steps + rng.normal(0, scale, steps.size)
        number = np.searchsorted(clock.dumps, time)
        since = time - np.r_[time[0], clock.dumps][number]
        relative += steps[number] + rng.normal(0, 0.3 * scale) * since
    relative += scale * rng.choice([0.3, 1.0, 3.0]) * red_noise(time, np.exp(rng.uniform(-3.5, 1.2)), rng)
    if rng.random() < (0.4 if strong else 0.04):  # a pixel loses sensitivity, and regains part of it
        for _ in range(int(rng.integers(1, 3))):
            drop = rng.uniform(time[0], time[-1])
            depth = np.exp(rng.uniform(np.log(3e-4), np.log(2e-2)))
            after = np.maximum(time - drop, 0)
            lasting = rng.uniform(0, 1)
            relative -= depth * (time > drop) * (lasting + (1 - lasting) * np.exp(-after / rng.uniform(0.05, 2)))
    if rng.random() < (0.4 if strong else 0.05):  # bumps and dips that come with the background
        for _ in range(int(rng.integers(1, 4))):
            beside = (time - rng.uniform(time[0], time[-1])) / rng.uniform(0.05, 0.6)
            relative += rng.normal(0, 4 * scale) * np.exp(-0.5 * beside**2)
    trend = np.zeros(time.size)
    size = min(rng.lognormal(-6.3 if strong else -9.9, 1.1) * worse, 0.03)
    for begin, end in clock.orbits:
        inside = slice(*np.searchsorted(time, (begin - 1e-6, end + 1e-6)))
        x = (time[inside] - (begin + end) / 2) / (end - begin)
        level, slope, bend = rng.normal(0, size, 3)
        trend[inside] = 0.5 * level + slope * x + 2 * bend * (x**2 - 1 / 12)
    additive = rng.normal(0, 1) * rng.lognormal(-3.3 if strong else -6.7, 1.0) * np.sqrt(worse)
    return Systematics(relative, float(np.clip(additive, -0.2, 0.2)), trend)


def red_noise(time: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Random noise of unit variance whose power falls with the square of the frequency beyond 1 / scale.

    Parameters
    ----------
    time : (n,) float64
        Days, rising.
    scale : float
        Time scale, days.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    (n,) float64
        The noise at the times.
    """
    step = min(max(scale / 6, 0.01), 0.05)
    count = int((time[-1] - time[0]) / step) + 2
    frequency = np.fft.rfftfreq(2 * count, step)
    shape = 1 / (1 + (2 * np.pi * frequency * scale) ** 2)
    spectrum = np.sqrt(shape) * (rng.standard_normal((2, frequency.size)) * [[1], [1j]]).sum(axis=0)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum)[:count]
    return np.interp(time, time[0] + step * np.arange(count), noise * (2 * count) / np.sqrt(4 * shape.sum()))
