"""The orbit of one system: its measured eclipses, the deeper first, and how sure its period is."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.lightcurves import aliases
from pipeline.lightcurves.eclipses import Events
from pipeline.lightcurves.systems import System

__all__ = ["Orbit", "finished", "mean_depth", "odd_even", "pruned", "seen", "signal", "significant"]


@dataclass(frozen=True, eq=False)
class Orbit:
    """A system and how sure its period is.

    Parameters
    ----------
    system : System
        One or two kinds of eclipse, the deeper first.
    flag : str
        As `pipeline.lightcurves.ephemeris.Ephemeris.period_flag`.
    probability, other : float
        Of the period, and the next best one in days.
    odd_even : float
        Difference in depth of odd and even primaries, sigmas.
    limit : float
        The limit of a period that is not known, days.
    """

    system: System
    flag: str
    probability: float
    other: float
    odd_even: float
    limit: float = float("nan")


def mean_depth(events: Events) -> tuple[float, float]:
    """Weighted mean depth of the eclipses of a kind, its error from their scatter if that is larger.

    Parameters
    ----------
    events : Events
        One kind.

    Returns
    -------
    tuple of float
        Depth and error; NaN without eclipses.
    """
    good = np.isfinite(events.depth) & (events.depth_err > 0)
    if not good.any():
        return float("nan"), float("nan")
    depth, weight = events.depth[good], 1 / events.depth_err[good] ** 2
    mean = float(np.sum(weight * depth) / weight.sum())
    chi = float(np.sum(weight * (depth - mean) ** 2)) / max(int(good.sum()) - 1, 1)
    return mean, float(np.sqrt(max(1.0, chi) / weight.sum()))


def seen(events: Events) -> int:
    """Count the eclipses of a kind that stand out, or that the data hold where none does alone.

    Parameters
    ----------
    events : Events
        One kind.

    Returns
    -------
    int
        How many.
    """
    return int(events.depth.size)


def signal(events: Events) -> float:
    """Signal to noise of the eclipses of a kind together, their scatter left out.

    Parameters
    ----------
    events : Events
        One kind.

    Returns
    -------
    float
        0 without eclipses.
    """
    good = np.isfinite(events.depth) & (events.depth_err > 0)
    weight = 1 / events.depth_err[good] ** 2
    return float(np.sum(weight * events.depth[good]) / np.sqrt(weight.sum())) if good.any() else 0.0


def significant(orbit: Orbit) -> bool:
    """Tell whether the deeper eclipses stand out.

    Parameters
    ----------
    orbit : Orbit
        Any.

    Returns
    -------
    bool
        True from 7 sigmas on, of all of them together.
    """
    return signal(orbit.system.events[0]) > 7


def finished(system: System, flag: str, probability: float, other: float) -> Orbit:
    """Put the deeper eclipse first and judge the count of cycles.

    Parameters
    ----------
    system : System
        Measured.
    flag : str
        What is known of the period but for the count.
    probability, other : float
        Of the period, and the next best one in days.

    Returns
    -------
    Orbit
        With the count in its probability.
    """
    system = _deeper_first(system)
    counted, miscount = aliases.count_cycles(system)
    if counted < probability and np.isfinite(miscount):
        other = miscount
    probability *= counted
    if probability < 0.95:
        flag = "alias_unresolved"
    return Orbit(system, flag, float(probability), other, odd_even(system.events[0]))


def pruned(system: System) -> System:
    """Drop a kind of eclipse that is not significant.

    Parameters
    ----------
    system : System
        Measured.

    Returns
    -------
    System
        The same object where nothing was dropped.
    """
    if len(system.events) == 2:
        for k in (1, 0):
            depth, error = mean_depth(system.events[k])
            if not (depth > 2 * error and signal(system.events[k]) > 6):
                keep = 1 - k
                return replace(
                    system,
                    epochs=system.epochs[keep : keep + 1],
                    epoch_errs=system.epoch_errs[keep : keep + 1],
                    shapes=(system.shapes[keep],),
                    events=(system.events[keep],),
                )
    return system


def _deeper_first(system: System) -> System:
    """Put the deeper eclipse first; of two alike, the one that the other follows within half an orbit."""
    if len(system.shapes) < 2:
        return system
    one, two = system.shapes
    error = float(np.hypot(mean_depth(system.events[0])[1], mean_depth(system.events[1])[1]))
    apart = abs(one.depth - two.depth)
    alike = apart < error or apart < min(3 * error, 0.02 * one.depth)
    late = (system.epochs[1] - system.epochs[0]) / system.period % 1.0 > 0.5
    if late if alike else two.depth > one.depth:
        return _swapped(system)
    return system


def _swapped(system: System) -> System:
    return replace(
        system,
        epochs=system.epochs[::-1].copy(),
        epoch_errs=system.epoch_errs[::-1].copy(),
        shapes=system.shapes[::-1],
        events=system.events[::-1],
    )


def odd_even(events: Events) -> float:
    """Compare odd and even eclipses of a kind.

    Parameters
    ----------
    events : Events
        One kind.

    Returns
    -------
    float
        Difference in depth in sigmas; NaN where there is only one sort.
    """
    odd = events.number % 2 == 1
    parts = [
        Events(*(getattr(events, name)[part] for name in ("number", "shift", "shift_err", "depth", "depth_err")))
        for part in (odd, ~odd)
    ]
    return aliases.difference(*parts)
