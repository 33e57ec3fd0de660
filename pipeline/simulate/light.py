"""Light that varies with time, free of any telescope: phase curves, sums of sines, spots, and products of them.

Every part answers `flux(time, exposure_d)`: light around 1, averaged over each exposure.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.simulate.eclipses import Floats

__all__ = ["Light", "Part", "PhaseCurve", "Spots", "Waves"]


class Part(Protocol):
    """Something whose light varies."""

    def flux(self, time: Floats, exposure_d: float) -> Floats:
        """Light averaged over exposures.

        Parameters
        ----------
        time : (n,) float64
            Mid-exposure, BTJD.
        exposure_d : float
            Length of an exposure, days.

        Returns
        -------
        (n,) float64
            Relative light, around 1.
        """


@dataclass(frozen=True, eq=False)
class PhaseCurve:
    """A strictly periodic curve, tabulated; straight lines between its nodes.

    Parameters
    ----------
    period, t0 : float
        Days; time of phase 0, BTJD.
    phase, light : (m,) float64
        Nodes from 0 to 1, both included.
    cycle, depth, shift : float
        A modulation (Blazhko's): its period in days, of the amplitude relative, of the phase in periods.
    """

    period: float
    t0: float
    phase: Floats
    light: Floats
    cycle: float = 1.0
    depth: float = 0.0
    shift: float = 0.0

    def flux(self, time: Floats, exposure_d: float) -> Floats:
        """Light averaged over exposures, from one sample every 150 s.

        Parameters
        ----------
        time : (n,) float64
            Mid-exposure, BTJD.
        exposure_d : float
            Length of an exposure, days.

        Returns
        -------
        (n,) float64
            Relative light.
        """
        # One sample suffices for 2-min data; an eclipse edge is resolved by one every 150 s otherwise.
        samples = max(1, round(exposure_d * 86400 / 150))
        offsets = ((np.arange(samples) + 0.5) / samples - 0.5) * exposure_d
        turns = (time - self.t0) / self.period
        if self.depth or self.shift:
            beat = 2 * np.pi / self.cycle * (time - self.t0)
            turns = turns + self.shift * np.cos(beat)
        turns = turns[:, None] + offsets / self.period
        flux = np.interp((turns - np.floor(turns)).ravel(), self.phase, self.light).reshape(turns.shape).mean(axis=1)
        return np.asarray(1 + (flux - 1) * (1 + self.depth * np.sin(beat)) if self.depth or self.shift else flux)


@dataclass(frozen=True, eq=False)
class Waves:
    """A sum of sines: pulsation.

    Parameters
    ----------
    frequency : (k,) float64
        Cycles a day.
    amplitude, phase : (k,) float64
        Relative amplitude, and phase in radians at `t0`.
    t0 : float
        BTJD.
    skew : float
        How much sharper maxima are than minima: the sum s becomes s + skew s^2 / (2 rms).
    """

    frequency: Floats
    amplitude: Floats
    phase: Floats
    t0: float
    skew: float = 0.0

    def flux(self, time: Floats, exposure_d: float) -> Floats:
        """Flux relative to its mean, averaged over each exposure.

        Parameters
        ----------
        time : (n,) float64
            Mid-exposure, BTJD.
        exposure_d : float
            Length of an exposure, days.

        Returns
        -------
        (n,) float64
            Relative flux.
        """
        grid = _coarse(time, 0.02 / self.frequency.max())
        angle = np.outer(2 * np.pi * self.frequency, grid - self.t0) + self.phase[:, None]
        total = (self.amplitude * np.sinc(self.frequency * exposure_d)) @ np.sin(angle)
        if self.skew:
            power = (self.amplitude**2).sum() / 2
            total += self.skew * (total**2 - power) / (2 * np.sqrt(power))
        return 1 + (total if grid is time else np.interp(time, grid, total))


@dataclass(frozen=True, eq=False)
class Spots:
    """Dark spots that turn with a star, grow and fade.

    Parameters
    ----------
    period : (k,) float64
        Each spot's, days: they differ with latitude.
    strength : (k,) float64
        Light that each takes when it faces us at its largest.
    longitude, latitude : (k,) float64
        Radians; longitude at BTJD 0.
    life : (k,) float64
        Cycle of growing and fading, days.
    tilt : float
        Inclination of the axis, radians.
    """

    period: Floats
    strength: Floats
    longitude: Floats
    latitude: Floats
    life: Floats
    tilt: float

    def flux(self, time: Floats, exposure_d: float) -> Floats:
        """Light relative to its mean over the spots' turns; spots turn too slowly for exposures to matter.

        Parameters
        ----------
        time : (n,) float64
            Mid-exposure, BTJD.
        exposure_d : float
            Length of an exposure, days.

        Returns
        -------
        (n,) float64
            Relative light.
        """
        grid = _coarse(time, float(self.period.min()) / 120)
        angle = np.outer(2 * np.pi / self.period, grid) + self.longitude[:, None]
        facing = np.cos(angle) * (np.sin(self.tilt) * np.cos(self.latitude))[:, None]
        facing = np.maximum(facing + (np.cos(self.tilt) * np.sin(self.latitude))[:, None], 0)
        size = 0.6 + 0.4 * np.sin(np.outer(2 * np.pi / self.life, grid) + 3 * self.longitude[:, None])
        lost = (self.strength[:, None] * size * facing).sum(axis=0)
        return 1 - (lost if grid is time else np.interp(time, grid, lost)) + 0.2 * self.strength.sum()


@dataclass(frozen=True, eq=False)
class Light:
    """The light of a star: a product of parts, and what of it is left to chance when it is observed.

    Parameters
    ----------
    parts : tuple of Part
        Multiplied.
    granulation, timescale : float
        Standard deviation and time scale (days) of random convection.
    flares : float
        Flares a day.
    """

    parts: tuple[Part, ...] = ()
    granulation: float = 0.0
    timescale: float = 0.1
    flares: float = 0.0

    def flux(self, time: Floats, exposure_d: float) -> Floats:
        """Light averaged over exposures, without granulation and flares.

        Parameters
        ----------
        time : (n,) float64
            Mid-exposure, BTJD, rising.
        exposure_d : float
            Length of an exposure, days.

        Returns
        -------
        (n,) float64
            Relative light.
        """
        flux = np.ones(time.shape)
        for part in self.parts:
            flux *= part.flux(time, exposure_d)
        return flux


def _coarse(time: Floats, step: float) -> Floats:
    """A grid over the times with the given step, or the times themselves where these are fewer."""
    count = int((time[-1] - time[0]) / step) + 2
    return np.linspace(time[0], time[-1], count) if count < time.size else time
