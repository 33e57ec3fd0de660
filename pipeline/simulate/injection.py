"""Light to put into other stars' light curves: eclipsing binaries at a period and depth, and stars that only vary.

A simulated binary is brought to the place that is wanted in two ways that stay physical: time is stretched by at most
a factor of 1.5, as if both orbit and stars were larger or smaller, and light of a third star is added, which makes
eclipses shallower.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.simulate.eclipses import Floats
from pipeline.simulate.light import Light
from pipeline.simulate.stars import Star, draw_star

__all__ = ["DEPTHS", "PERIODS", "VARIABLES", "Injection", "draw_injection", "draw_variable"]

#: Days, and relative primary depth: injected binaries are spread evenly over the logarithms of both.
PERIODS, DEPTHS = (0.2, 60.0), (0.001, 0.6)

#: Kinds that vary all the time without an eclipse: what contact binaries are mistaken for.
VARIABLES = ("GDOR", "DSCT", "RRL", "ROT")

# Days between which the simulator has systems of a class.
_RANGES = {"EA": (0.4, 80.0), "EB": (0.25, 15.0), "EW": (0.2, 3.0)}
_STRETCH = 1.5
_TRIES = 32


@dataclass(frozen=True, eq=False)
class Injection:
    """Light to multiply a light curve with, and the truth about it.

    Parameters
    ----------
    kind, klass : str
        As of `pipeline.simulate.stars.Star`; `klass` is '' for what does not eclipse.
    period, t0 : float
        Days; time of phase 0, BTJD.
    depth, depth_2 : float
        Of the eclipses, relative to the light at maximum; NaN without one.
    phase_2 : float
        Of mid-secondary; NaN without one.
    duration_1, duration_2 : float
        First to last contact, days; NaN without an eclipse.
    source : Light
        Light of the star it was made from.
    stretch, share : float
        How much slower it goes, and its share of the light.
    """

    kind: str
    klass: str
    period: float
    t0: float
    depth: float
    depth_2: float
    phase_2: float
    duration_1: float
    duration_2: float
    source: Light
    stretch: float = 1.0
    share: float = 1.0

    def flux(self, time: Floats, exposure_d: float) -> Floats:
        """Light averaged over exposures.

        Parameters
        ----------
        time : (n,) float64
            Mid-exposure, BTJD, rising.
        exposure_d : float
            Length of an exposure, days.

        Returns
        -------
        (n,) float64
            Relative to the light at maximum of a binary, to the mean of other stars.
        """
        if not time.size:
            return np.empty(0)
        light = self.source.flux(time / self.stretch, exposure_d / self.stretch)
        return 1 - self.share * (1 - light)

    def eclipses(self, time: Floats) -> tuple[int, float]:
        """Count the eclipses that some times show.

        Parameters
        ----------
        time : (n,) float64
            Times of good cadences, BTJD.

        Returns
        -------
        count : int
            Eclipses of both kinds with a cadence in the middle half of their width.
        signal : float
            Square root of the sum of squared depths over all cadences in eclipse; over the relative noise of a
            cadence it is the signal to noise of all of them.
        """
        count, total = 0, 0.0
        for depth, width, phase in (
            (self.depth, self.duration_1, 0.0),
            (self.depth_2, self.duration_2, self.phase_2),
        ):
            if not (depth > 0 and width > 0 and np.isfinite(phase)):
                continue
            turns = (time - self.t0) / self.period - phase
            number = np.round(turns)
            beside = np.abs(turns - number) * self.period / width
            count += np.unique(number[beside < 0.25]).size
            total += float(np.count_nonzero(beside < 0.5)) * depth**2
        return count, float(np.sqrt(total))


def draw_injection(number: int, seed: int) -> Injection:
    """Draw an eclipsing binary, evenly over log period and log depth, of the classes that there are at the period.

    Parameters
    ----------
    number : int
        0 or later; the same number gives the same binary.
    seed : int
        Seed, >= 0.

    Returns
    -------
    Injection
        At the place that was drawn, or as near to it as one of 32 simulated systems comes: there are no deep and
        close systems of every kind.
    """
    rng = np.random.default_rng([seed, number])
    period, depth = (float(np.exp(rng.uniform(*np.log(limits)))) for limits in (PERIODS, DEPTHS))
    kinds = [kind for kind, (low, high) in _RANGES.items() if low / _STRETCH <= period <= high]
    best, nearest = None, np.inf
    for attempt in range(_TRIES):
        star = draw_star(number * _TRIES + attempt, seed, 1.0, kinds)
        too_far = max(abs(np.log(period / star.period)) - np.log(_STRETCH), 0.0)
        miss = too_far + max(np.log(depth / star.depth_primary), 0.0)
        if miss < nearest:
            best, nearest = star, miss
        if miss == 0:
            break
    assert best is not None
    stretch = float(np.clip(period / best.period, 1 / _STRETCH, _STRETCH))
    return _injection(best, stretch, min(depth / best.depth_primary, 1.0))


def draw_variable(number: int, seed: int) -> Injection:
    """Draw a star of `VARIABLES`, in the shares that the simulator has.

    Parameters
    ----------
    number : int
        0 or later; the same number gives the same star.
    seed : int
        Seed, >= 0.
    """
    return _injection(draw_star(number, seed, 0.0, VARIABLES), 1.0, 1.0)


def _injection(star: Star, stretch: float, share: float) -> Injection:
    return Injection(
        kind=star.kind,
        klass=star.klass,
        period=star.period * stretch,
        t0=star.t0 * stretch,
        depth=star.depth_primary * share,
        depth_2=star.depth_secondary * share,
        phase_2=star.phase_2,
        duration_1=star.duration_1 * stretch,
        duration_2=star.duration_2 * stretch,
        source=star.source,
        stretch=stretch,
        share=share,
    )
