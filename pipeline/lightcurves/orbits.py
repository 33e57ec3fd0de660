"""The orbit of one system: its measured eclipses, the deeper first, and how sure its period is."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from pipeline.lightcurves import aliases
from pipeline.lightcurves.eclipses import Events
from pipeline.lightcurves.systems import System

__all__ = [
    "DEPTH_ERROR", "Orbit", "finished", "mean_depth", "odd_even", "odds", "pruned", "rivalled", "seen", "signal",
    "significant",
]  # fmt: skip

DEPTH_ERROR = 0.006  #: relative error of a fitted depth, as limb darkening is not known
EQUAL = 0.05  # relative difference up to which depths may be called equal
CERTAIN = 0.95  # probability from which a period is called exact


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
    return int(events.count.sum())


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
    if probability < CERTAIN:
        flag = "alias_unresolved"
    return Orbit(system, flag, float(probability), other, odd_even(system.events[0]))


def odds(period: float, rivals: dict[float, float]) -> dict[float, float]:
    """Odds of other periods: longer ones explain the eclipses with fewer in the data by chance.

    Parameters
    ----------
    period : float
        Days.
    rivals : dict
        Periods in days to their gain over this one, in chi squared.

    Returns
    -------
    dict
        Periods to odds.
    """
    return {p: float(np.exp(0.5 * min(gain, 40.0)) * (period / p) ** (5 / 3)) for p, gain in rivals.items()}


def rivalled(orbit: Orbit, rivals: dict[float, float]) -> Orbit:
    """Share the probability with other periods that explain the eclipses as well.

    Parameters
    ----------
    orbit : Orbit
        Any.
    rivals : dict
        Periods in days to their gain over the orbit's, in chi squared.

    Returns
    -------
    Orbit
        Its period an unresolved alias where they are probable.
    """
    if not rivals:
        return orbit
    weight = odds(orbit.system.period, rivals)
    share = float(1 / (1 + sum(weight.values())))
    probability = orbit.probability * share
    other = max(weight, key=lambda p: weight[p]) if share < orbit.probability else orbit.other
    flag = orbit.flag if probability >= CERTAIN else "alias_unresolved"
    return replace(orbit, flag=flag, probability=probability, other=other)


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
    pairs = zip(system.shapes, system.events, strict=True)
    errors = [e for s, v in pairs for e in (max(mean_depth(v)[1], s.depth_err), DEPTH_ERROR * s.depth)]
    error = float(np.linalg.norm(errors))
    apart = abs(one.depth - two.depth)
    # errors from the scatter of a few eclipses are often too small (Student's t)
    degrees = max(system.events[0].depth.size + system.events[1].depth.size - 2, 1)
    unsure = student.sf(apart / max(error, 1e-9), degrees) > norm.sf(aliases.DECISIVE)
    alike = unsure and apart < EQUAL * max(one.depth, two.depth)
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
    """Compare odd and even eclipses of a kind, each observation with a scale of its own.

    Parameters
    ----------
    events : Events
        One kind.

    Returns
    -------
    float
        Difference in depth in sigmas; NaN where there is only one sort.
    """
    good = np.isfinite(events.depth) & (events.depth_err > 0)
    number, depth, error = events.number[good], events.depth[good], events.depth_err[good]
    odd = number % 2
    if not good.any() or odd.min() == odd.max():
        return float("nan")
    season = events.observation[good]
    both = [k for k in np.unique(season) if np.ptp(odd[season == k])]
    use = np.isin(season, both)
    apart = use.sum() > len(both) + 1  # enough eclipses to tell the scales
    groups = season if apart else np.zeros(number.size)
    use = use if apart else np.ones(number.size, bool)
    design = np.stack([odd[use] - 0.5, *(1.0 * (groups[use] == k) for k in np.unique(groups[use]))]) / error[use]
    covariance = np.linalg.pinv(design @ design.T)
    solution = covariance @ (design @ (depth[use] / error[use]))
    rest = depth[use] / error[use] - solution @ design
    degrees = max(int(use.sum()) - design.shape[0], 1)
    scatter = max(1.0, float(rest @ rest) / degrees)
    sigma = abs(float(solution[0])) / float(np.sqrt(covariance[0, 0] * scatter))
    # where the error comes from the scatter of a few eclipses, large values are common (Student's t)
    return float(-norm.ppf(max(float(student.sf(sigma, degrees)), 1e-300))) if scatter > 1.5 and sigma < 30 else sigma
