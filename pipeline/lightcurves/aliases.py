"""Which of several periods is the orbital one: fewest dips missing, odd against even, cycles across gaps."""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves.boxes import Trial, fold
from pipeline.lightcurves.phases import covered
from pipeline.lightcurves.series import Series
from pipeline.lightcurves.systems import System

__all__ = ["Choice", "count_cycles", "fundamental", "shortest_possible", "twice", "twin"]

Floats = NDArray[np.float64]

WIDTH_FLOOR = 0.03  # of the width: how much eclipses of a kind may differ by the light they stand on
TIME_FLOOR = 0.005
# Stars with two like eclipses over those with one kind, by depth, as in Prša et al. (2022, ApJS 258, 16), table 3:
# depths equal to 5% against a second one below 3%; doubled, as some of the latter are the former.
TWIN_DEPTHS = (0.01, 0.035, 0.07, 0.15, 0.27, 0.45, 0.52, 0.6)
TWIN_ODDS = (0.12, 0.22, 0.36, 0.5, 1.4, 3.0, 1.0, 0.1)

ALIKE = 0.03  # standard deviation of the relative difference of like eclipses: depths equal to 5%
DECISIVE = 3.0  # sigmas between odd and even eclipses that make them two kinds


class Choice(NamedTuple):
    """A period and what speaks for it.

    Attributes
    ----------
    trial : Trial
        The one chosen.
    probability : float
        Against the others that the data allow.
    other : float
        The next most probable period; NaN without one.
    """

    trial: Trial
    probability: float
    other: float


def fundamental(series: Series, trials: list[Trial]) -> Choice:
    """Take the shortest period that explains all dips and predicts none that is missing.

    A longer one that is allowed too predicts fewer dips than fall into the data by chance: given the dips, the
    odds of a period go as its -5/3 power (an even prior in its logarithm, transit probability, phase).

    Parameters
    ----------
    series : Series
        Flattened.
    trials : list of Trial
        The best first; not empty.

    Returns
    -------
    Choice
        Twice the period is not among the others; `twice` tells it apart.
    """
    best = trials[0]
    seen = max(1, int((covered(series, _predicted(series, best), best.width) > 0.5).sum()))
    slack = max(20.0, min(0.03, 0.3 / seen) * best.gain)
    allowed = [trial for trial in trials if trial.gain >= best.gain - slack]
    chosen = min(allowed, key=lambda trial: trial.period)
    # periods this near are one peak
    blur = max(2e-3, 1.5 * chosen.width / max(min(float(np.ptp(series.time)), 60.0), 1.0))
    near = [trial for trial in allowed if abs(trial.period / chosen.period - 1) < blur]
    chosen = max(near, key=lambda trial: trial.gain)
    others: dict[float, float] = {}
    for trial in allowed:
        ratio = trial.period / chosen.period
        if abs(ratio - np.rint(ratio)) > blur * ratio:
            odds = -0.5 * max(chosen.gain - trial.gain, 0.0) / max(1.0, slack / 20) - 5 / 3 * np.log(ratio)
            if all(abs(trial.period / other - 1) > 1e-3 for other in others):
                others[trial.period] = float(odds)
    if not others:
        return Choice(chosen, 1.0, np.nan)
    weight = np.exp(np.clip(list(others.values()), -700, 50))
    return Choice(chosen, float(1 / (1 + weight.sum())), max(others, key=lambda period: others[period]))


def _predicted(series: Series, trial: Trial) -> Floats:
    best = fold(series, trial.period, trial.width)
    first = np.floor(series.time[0] / trial.period)
    last = np.ceil(series.time[-1] / trial.period)
    return np.asarray((np.arange(first, last + 1) + best.phase_1) * trial.period)


def twice(doubled: System, odd_even: float) -> float:
    """Tell whether the two kinds of eclipse at a period are different: in depth, width or distance.

    Parameters
    ----------
    doubled : System
        Measured at twice the shortest period that fits, with two kinds of eclipse half a period apart.
    odd_even : float
        Difference in depth of odd and even eclipses by one shape, in sigmas; NaN where it is not known.

    Returns
    -------
    float
        The largest difference in sigmas.
    """
    if len(doubled.shapes) < 2:
        return 0.0
    one, two = doubled.shapes
    depth = odd_even if np.isfinite(odd_even) else 0.0
    mean = 0.5 * (one.profile.width + two.profile.width)
    width_err = float(np.sqrt(one.width_err**2 + two.width_err**2 + (WIDTH_FLOOR * mean) ** 2))
    width = abs(one.profile.width - two.profile.width) / max(width_err, 1e-9)
    apart = (doubled.epochs[1] - doubled.epochs[0]) / doubled.period % 1.0
    late_err = float(np.sqrt(np.sum(doubled.epoch_errs**2) + (TIME_FLOOR * mean) ** 2))
    late = abs(apart - 0.5) * doubled.period / max(late_err, 1e-9)
    # a curved base makes one kind wider or late more easily than deeper: more is asked of these
    return float(np.nanmax([depth, 0.6 * width, 0.75 * late]))


def twin(depth: float, error: float, sigma: float) -> float:
    """Probability that like eclipses are those of two like stars, half an orbit apart.

    Two like stars cannot each hide more than half of the light; a companion that is dark enough to leave no
    second eclipse is small, so that it cannot hide much.

    Parameters
    ----------
    depth, error : float
        Of the eclipses, and of the difference between odd and even ones.
    sigma : float
        The difference over its error.

    Returns
    -------
    float
        Probability that the orbit is twice the time between eclipses.
    """
    prior = float(np.exp(np.interp(np.log(max(depth, 1e-4)), np.log(TWIN_DEPTHS), np.log(TWIN_ODDS))))
    # eclipses of one kind differ by their error alone, those of twins by anything up to 5% too
    spread = np.hypot(error, ALIKE * depth) / max(error, 1e-9)
    odds = prior / spread * np.exp(0.5 * min(sigma, DECISIVE) ** 2 * (1 - 1 / spread**2))
    return float(np.clip(odds / (1 + odds), 0.02, 0.98))


def count_cycles(system: System) -> tuple[float, float]:
    """Judge the count of cycles across gaps by the period within the seasons alone.

    Parameters
    ----------
    system : System
        Fitted to all data.

    Returns
    -------
    probability : float
        Of the count that was taken.
    other : float
        Period with the next count, days; NaN where the count is beyond doubt.
    """
    number = np.concatenate([events.number[np.isfinite(events.shift)] for events in system.events])
    order = np.sort(number)
    if order.size < 3:
        return 1.0, np.nan
    gap = np.diff(order)
    widest = int(gap.argmax())
    if gap[widest] * system.period < 40:
        return 1.0, np.nan
    split = order[widest] + 0.5
    offset, sigma = _within(system, split)
    cycles = _leap(system, split)
    # a count that is off by one moves the period by this
    step = system.period / cycles
    if not np.isfinite(sigma):
        return 1.0, np.nan
    miss = np.arange(-3, 4)
    odds = -0.5 * ((offset - miss * step) / sigma) ** 2
    weight = np.exp(odds - odds.max())
    weight /= weight.sum()
    rest = np.where(miss == 0, 0, weight)
    best = int(miss[rest.argmax()])
    return float(weight[3]), system.period + best * step if rest.max() > 1e-4 else np.nan


def _leap(system: System, split: float) -> float:
    """Cycles from the middle of the data before the gap to the middle of those after."""
    number = np.concatenate([events.number[np.isfinite(events.shift)] for events in system.events])
    return float(number[number > split].mean() - number[number < split].mean())


def _within(system: System, split: float) -> tuple[float, float]:
    """How far the period within the parts differs from the whole's, and its error."""
    moment, total, rest, degrees = 0.0, 0.0, 0.0, 0
    for events in system.events:
        for part in (events.number < split, events.number > split):
            use = part & np.isfinite(events.shift) & (events.shift_err > 0)
            if use.sum() < 2:
                continue
            n, y, w = events.number[use].astype(float), events.shift[use], 1 / events.shift_err[use] ** 2
            n = n - np.sum(w * n) / w.sum()
            y = y - np.sum(w * y) / w.sum()
            moment += float(np.sum(w * n * y))
            total += float(np.sum(w * n * n))
            rest += float(np.sum(w * y * y))
            degrees += int(use.sum()) - 1
    if total <= 0:
        return 0.0, np.inf
    slope = moment / total
    scatter = max(1.0, (rest - slope * moment) / max(degrees - 1, 1))
    return slope, float(np.sqrt(scatter / total))


def shortest_possible(series: Series, epochs: Floats, width: float) -> float:
    """Return the longest period such that it and every shorter one predict an eclipse that is not there.

    Parameters
    ----------
    series : Series
        Any.
    epochs : (k,) float64
        Mid-eclipses seen once, BTJD.
    width : float
        Of an eclipse, days.

    Returns
    -------
    float
        Days.
    """
    longest = max(float(max(series.time[-1] - e, e - series.time[0])) for e in epochs)
    return float(_shortest(series.time, series.exposed, np.asarray(epochs), width, longest))


@numba.njit(cache=True, nogil=True)
def _shortest(time, exposed, epochs, width, longest):  # type: ignore[no-untyped-def]
    period = max(1.5 * width, 0.1)
    while period < longest + 0.25 * width:
        possible = True
        for epoch in epochs:
            first = int(np.ceil((time[0] - epoch) / period))
            for number in range(first, int(np.floor((time[-1] - epoch) / period)) + 1):
                centre = epoch + number * period
                low = np.searchsorted(time, centre - 0.25 * width)
                high = np.searchsorted(time, centre + 0.25 * width)
                # more than half of the half of an eclipse about its middle is in the data
                if number != 0 and exposed[high] - exposed[low] > 0.25 * width:
                    possible = False
                    break
            if not possible:
                break
        if possible:
            return period
        period += 0.25 * width
    return longest
