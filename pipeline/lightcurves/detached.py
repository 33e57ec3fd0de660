"""From dips to an orbit: stars that are as bright as ever between eclipses."""

import numpy as np

from pipeline.lightcurves import aliases, boxes
from pipeline.lightcurves.matched import Trough
from pipeline.lightcurves.orbits import Orbit, finished, mean_depth, odd_even, odds, pruned, rivalled, seen
from pipeline.lightcurves.rivals import LONGER, rivals
from pipeline.lightcurves.series import Series
from pipeline.lightcurves.systems import System, eclipsed, measure, measure_orbit

__all__ = ["detached"]

FAINTEST = 60.0  # drop in chi squared, red noise counted, of a system worth a row
LONGEST_WHOLE = 6.0  # days: a longer orbit is not seen whole in a sector, and is flat between eclipses
CLOSE = 0.1  # unless eclipses take this share of it: stars that near distort each other
BETTER = 3.0  # odds from which another period replaces the one chosen
SECOND = 36.0  # drop in chi squared of a secondary eclipse


def detached(native: Series, flat: Series, peaks: list[float], dips: list[Trough]) -> Orbit | None:
    """Find the orbit of a star that dips.

    Parameters
    ----------
    native : Series
        All data at the finest cadence, not flattened.
    flat : Series
        Flattened search bins, their errors with the red noise.
    peaks : list of float
        Periods of the periodograms, days.
    dips : list of Trough
        Of `flat`.

    Returns
    -------
    Orbit
        None where no dip is significant.
    """
    width = _width(dips)
    trials = [trial for trial in boxes.search(flat, peaks, dips, width) if trial.gain > FAINTEST]
    repeated = _repeated(native, flat, trials) if trials else None
    if repeated is not None:
        return repeated
    return _single(native, flat, dips)


def _width(dips: list[Trough]) -> float:
    if not dips:
        return 0.15
    strong = [dip.width for dip in dips if dip.snr > 0.3 * dips[0].snr]
    return float(np.median(strong))


def _repeated(native: Series, flat: Series, trials: list[boxes.Trial]) -> Orbit | None:
    choice = aliases.fundamental(flat, trials)
    best = _measured(native, flat, choice)
    if best is None:
        return None
    # with few eclipses, a longer period is free to explain each of them alone
    enough = {p: gain for p, gain in best[4].items() if p < best[0].period or gain > LONGER}
    weight = odds(best[0].period, enough)
    better = max(weight, key=lambda period: weight[period], default=0.0)
    if weight and weight[better] > BETTER:
        # the shape that was fitted tells more than the first box
        trial = boxes.Trial(better, 0.7 * best[0].shapes[0].profile.width, choice.trial.gain)
        again = _measured(native, flat, aliases.Choice(trial, 1.0, float("nan")))
        if again is not None and max(again[4].values(), default=0.0) < max(best[4].values()):
            best = again
    system, flag, probability, other, left = best
    widest = max(shape.profile.width for shape in system.shapes)
    if system.period < LONGEST_WHOLE or widest > CLOSE * system.period:
        guesses = tuple(shape.profile for shape in system.shapes)
        whole = measure_orbit(native, system.period, system.epochs, guesses)
        if whole is not None and whole.shapes[0].scatter < 3 * system.shapes[0].scatter:
            system = whole
    return rivalled(finished(system, flag, probability, other), left)


def _measured(
    native: Series, flat: Series, choice: aliases.Choice
) -> tuple[System, str, float, float, dict[float, float]] | None:
    system = _both_kinds(native, flat, choice.trial.period, choice.trial.width)
    if system is None or max(seen(events) for events in system.events) < 2:
        return None
    doubled = _doubled(native, flat, system, choice, choice.trial.width)
    return None if doubled is None else (*doubled, rivals(flat, doubled[0]))


def _doubled(
    native: Series, flat: Series, system: System, choice: aliases.Choice, width: float
) -> tuple[System, str, float, float] | None:
    """Tell whether like eclipses are of one kind, or of two half an orbit apart.

    Returns the system, flag, probability and the other period; None where two unlike eclipses do not repeat.
    """
    probability, other = choice.probability, choice.other
    for _ in range(2):
        if len(system.events) == 2:
            return system, "exact", probability, other
        epoch, period = float(system.epochs[0]), system.period
        two = measure(native, 2 * period, np.array([epoch, epoch + period]), width)
        unlike = odd_even(system.events[0])
        if two is None:
            break
        if len(two.events) < 2 or pruned(two) is not two:  # every other eclipse is missing
            if not unlike > aliases.DECISIVE:
                break
            system = _both_kinds(native, flat, 2 * period, width, epoch) or pruned(two)
            continue
        sigma = aliases.twice(two, unlike)
        if sigma >= aliases.DECISIVE:
            if max(seen(events) for events in two.events) < 2:
                one, other_one = (mean_depth(events)[0] for events in two.events)
                # two eclipses: unlike ones tell nothing of the period, like ones may differ by the sector's scale
                if min(one, other_one) < 0.7 * max(one, other_one):
                    return None
                return system, "alias_unresolved", 0.8 * probability, 2 * period
            return two, "exact", probability / (1 + float(np.exp(-0.5 * (sigma**2 - 4)))), other
        depth, error = mean_depth(system.events[0])
        longer = aliases.twin(depth, 2 * error, sigma)
        if longer > 0.5:
            return two, "alias_unresolved", probability * longer, period
        return system, "alias_unresolved", probability * (1 - longer), 2 * period
    return system, "alias_unresolved", probability, 2 * system.period


def _both_kinds(native: Series, flat: Series, period: float, width: float, epoch: float | None = None) -> System | None:
    """Measure the deepest dip of the fold, then look for another clear of all of it."""
    if epoch is None:
        epoch = boxes.fold(flat, period, width).phase_1 * period
    first = measure(native, period, np.array([epoch]), width)
    if first is None:
        return None
    profile = first.shapes[0].profile
    inside = eclipsed(flat.time, first.period, first.epochs, np.array([1.2 * profile.width]))
    if (~inside).sum() < 20:
        return first
    clear = flat.where(~inside)
    best = boxes.fold(clear, first.period, width)
    if best.gain_1 < SECOND:
        return first
    epochs = np.array([first.epochs[0], best.phase_1 * first.period])
    both = measure(native, first.period, epochs, width)
    if both is None or len(both.events) < 2 or pruned(both) is not both:
        return first
    apart = (both.epochs[1] - both.epochs[0]) / both.period % 1.0
    room = min(apart, 1 - apart) * both.period
    widths = sum(shape.profile.width for shape in both.shapes)
    # nearer than this, only eclipses that fill a circular orbit can be
    return both if room > (0.45 if abs(apart - 0.5) < 0.1 else 1.0) * widths else first


def _single(native: Series, flat: Series, dips: list[Trough]) -> Orbit | None:
    """A dip, or two unlike ones, that do not repeat."""
    strong = [dip for dip in dips if dip.whole and dip.snr > 10 and dip.depth > 0.002]
    if not strong:
        return None
    span = float(np.ptp(native.time))
    longer = 4 * span + 10
    first = strong[0]
    system = measure(native, longer, np.array([first.time]), first.width)
    if system is None or not seen(system.events[0]):
        return None
    width = system.shapes[0].profile.width
    times = np.array([dip.time for dip in strong[:2]])
    limit = aliases.shortest_possible(flat, times, width)
    return Orbit(system, "lower_limit", 1.0, float("nan"), float("nan"), limit)
