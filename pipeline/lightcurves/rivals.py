"""Other periods that explain the same dips: by boxes, and by the times of the eclipses."""

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves.boxes import wide
from pipeline.lightcurves.folds import gains
from pipeline.lightcurves.series import Series
from pipeline.lightcurves.systems import System

__all__ = ["LONGER", "rivals"]

Floats = NDArray[np.float64]

SLACK = 0.03  # share of the gain that boxes, which eclipses are not, may lose or win
RATIOS = tuple((m, n) for m in range(1, 6) for n in range(1, 6) if np.gcd(m, n) == 1 and {m, n} not in ({1}, {1, 2}))
LONGER = 15.0  #: drop in chi squared, its scale as slack, that a longer period must bring: it explains few dips alone
MOST_TIMES = 20  # eclipses of a kind whose times must agree with a rival
TIME_SLACK = 0.02  # of the width: error of their times beside the measured one
OUTLIERS = 0.9  # share of them that must


def rivals(series: Series, system: System) -> dict[float, float]:
    """Other periods that explain the dips as well: ratios of small numbers, other counts of cycles across gaps.

    Half the period and twice it are left out: these differ in what kinds of eclipse there are.

    Parameters
    ----------
    series : Series
        Flattened.
    system : System
        Measured.

    Returns
    -------
    dict
        Period in days to its gain over that of the system's, in chi squared, its scale as slack.
    """
    width = 0.7 * min(shape.profile.width for shape in system.shapes)
    rough = wide(series, width / 4)
    period, span = system.period, float(np.ptp(rough.time))

    def _gain(trial: float, reach: float, count: int) -> float:
        near = trial + np.linspace(-reach, reach, count) * width * trial / max(span, trial)
        return float(gains(rough.time, 1 - rough.flux, rough.error, near, width).max())

    own = _gain(period, 0.1, 5)
    slack = max(20.0, SLACK * own) / 20
    trials = [period * m / n for m, n in RATIOS]
    if len(system.epochs) < 2 or abs(float(np.diff(system.epochs)[0]) / period % 1 - 0.5) * period > width:
        trials.append(period / 2)
    number = np.sort(np.concatenate([events.number for events in system.events]))
    gap = np.diff(number)
    for k in np.argsort(-gap)[:2]:
        if gap[k] * period > 20:
            leap = float(number[k + 1 :].mean() - number[: k + 1].mean())
            for turns in (leap, 2 * leap):
                trials += [period * leap / (turns + miss) for miss in range(-8, 9) if miss and turns + miss > 0.5]
    found = {}
    for trial in trials:
        if 1.5 * width < trial < span and abs(trial / period - 1) * span > 0.5 * width:
            loss = (own - _gain(trial, 0.6, 7)) / slack
            if loss < 40 and _in_time(system, trial, 0.6 * width / span):
                # boxes, which eclipses are not, win a little by chance
                found[float(trial)] = -loss if not 0 < -loss < LONGER else 0.0
    return found


def _in_time(system: System, trial: float, reach: float) -> bool:
    """Whether a period has at most two kinds of eclipse, by the times of those that were measured."""
    parts = []
    for epoch, shape, events in zip(system.epochs, system.shapes, system.events, strict=True):
        use = np.flatnonzero(np.isfinite(events.shift))
        use = use[:: max(1, use.size // MOST_TIMES)]
        late = TIME_SLACK * shape.profile.width + 5 * float(np.median(events.shift_err[use])) if use.size else 0.0
        time = epoch + events.number[use] * system.period + events.shift[use]
        parts.append(np.stack([time, np.full(use.size, late)]))
    time, late = np.concatenate(parts, axis=1)
    if not time.size:
        return True
    near = trial * (1 + np.linspace(-1, 1, 61) * reach)[:, None]
    phase = (time - time.mean()) / near
    apart = phase[:, :, None] - phase[:, None, :]
    alike = np.abs(apart - np.rint(apart)) * near[:, :, None] < late
    first = alike[np.arange(near.size), alike.sum(axis=2).argmax(axis=1)]
    both = first.sum(axis=1) + (alike & ~first[:, None, :]).sum(axis=2).max(axis=1)
    return bool(both.max() >= OUTLIERS * time.size)
