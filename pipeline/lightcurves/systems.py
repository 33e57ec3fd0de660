"""One eclipsing system measured: mean eclipses of both kinds, every single one, and the line through their times."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.lightcurves.eclipses import Events, Shape, fit_events, fit_shape
from pipeline.lightcurves.matched import red_noise, reddened
from pipeline.lightcurves.minimum import Minimum
from pipeline.lightcurves.orbital import OrbitalCurve, detrended, fit_orbital
from pipeline.lightcurves.phases import first_guess, offsets
from pipeline.lightcurves.profile import Profile
from pipeline.lightcurves.series import Series, flatten
from pipeline.lightcurves.waves import mean_curve

__all__ = ["System", "eclipsed", "measure", "measure_orbit", "midmost"]

Floats = NDArray[np.float64]

ROUNDS = 2
BASE = 0.0009  # of the width: error of the time of an eclipse as its base is not straight
FEW = 2.0  # degrees of freedom that the errors of the times count for, beside their scatter
REACH = 0.3  # of the orbit that is seen of a minimum of light that varies all the time
LARGEST_SHARE = 0.3  # of the variation outside eclipses over all of it: beyond, no contact is seen


@dataclass(frozen=True, eq=False)
class System:
    """A measured system.

    Parameters
    ----------
    period, period_err : float
        Days.
    epochs, epoch_errs : (kinds,) float64
        Mid-eclipse of each kind nearest the middle of the data, BTJD.
    shapes : tuple of Shape
        Of each kind.
    events : tuple of Events
        Of each kind; numbers count from its epoch.
    scatter : float
        Square root of the reduced chi squared of the times about the line.
    """

    period: float
    period_err: float
    epochs: Floats
    epoch_errs: Floats
    shapes: tuple[Shape, ...]
    events: tuple[Events, ...]
    scatter: float


def midmost(epoch: float, period: float, middle: float) -> float:
    """Return the eclipse nearest a time.

    Parameters
    ----------
    epoch, period, middle : float
        Days.

    Returns
    -------
    float
        Its time.
    """
    return epoch + period * float(np.rint((middle - epoch) / period))


def eclipsed(time: Floats, period: float, epochs: Floats, widths: Floats, margin: float = 1.15) -> NDArray[np.bool_]:
    """Which samples lie in an eclipse.

    Parameters
    ----------
    time : (n,) float64
        BTJD.
    period : float
        Days.
    epochs, widths : (kinds,) float64
        Of each kind of eclipse, days.
    margin : float
        Widths are taken this much larger.

    Returns
    -------
    (n,) bool
        True in an eclipse.
    """
    inside = np.zeros(time.size, bool)
    for epoch, width in zip(epochs, widths, strict=True):
        inside |= np.abs(offsets(time, period, float(epoch))[0]) < 0.5 * margin * width
    return inside


def measure(series: Series, period: float, epochs: Floats, box: float) -> System | None:
    """Fit shapes, single eclipses and the ephemeris in turn until they agree.

    Parameters
    ----------
    series : Series
        Relative flux at the finest cadence, not flattened.
    period : float
        Days.
    epochs : (kinds,) float64
        A mid-eclipse of each kind.
    box : float
        Width of the dips, days, roughly.

    Returns
    -------
    System
        None where no eclipse can be fitted.
    """
    middle = 0.5 * float(series.time[0] + series.time[-1])
    epochs = np.array([midmost(float(epoch), period, middle) for epoch in epochs])
    flat = flatten(series, eclipsed(series.time, period, epochs, np.full(epochs.size, 1.5 * box)))
    profiles = [first_guess(flat, period, float(epoch), box) for epoch in epochs]
    known = [k for k, profile in enumerate(profiles) if profile is not None]
    if not known or known[0] != 0:
        return None
    epochs = epochs[known]
    guesses = [profile for profile in profiles if profile is not None]
    system = None
    for _ in range(ROUNDS):
        widths = np.array([profile.width for profile in guesses])
        inside = eclipsed(series.time, period, epochs, widths)
        flat = flatten(series, inside)
        flat = reddened(flat, 0.4 * float(widths.min()), True, ~inside if (~inside).sum() > 100 else None)
        room = _room(epochs, period)
        shapes = [fit_shape(flat, period, float(e), g, room) for e, g in zip(epochs, guesses, strict=True)]
        if shapes[0] is None:
            return system
        kept = [k for k, shape in enumerate(shapes) if shape is not None]
        epochs = np.array([epochs[k] + shapes[k].shift for k in kept])  # type: ignore[union-attr]
        fitted = tuple(shape for shape in shapes if shape is not None)
        guesses = [shape.profile for shape in fitted]
        events = tuple(fit_events(flat, period, float(e), g, room) for e, g in zip(epochs, guesses, strict=True))
        system = _line(period, epochs, fitted, events, middle, BASE)
        period, epochs = system.period, system.epochs
    return system


def measure_orbit(series: Series, period: float, epochs: Floats, guesses: tuple[Profile, ...]) -> System | None:
    """Fit the whole orbital light curve, single eclipses on it, and the ephemeris.

    Parameters
    ----------
    series : Series
        As for `measure`.
    period : float
        Days.
    epochs : (kinds,) float64
        A mid-eclipse of each kind.
    guesses : tuple of Profile
        Of each kind.

    Returns
    -------
    System
        None where the fold has gaps, or no eclipse can be fitted.
    """
    middle = 0.5 * float(series.time[0] + series.time[-1])
    epochs = np.array([midmost(float(epoch), period, middle) for epoch in epochs])
    system = None
    for _ in range(ROUNDS):
        flat = detrended(series, period)
        curve = fit_orbital(flat, period, epochs, guesses)
        if curve is None:
            return system
        first, mids = float(epochs[0]), epochs + curve.shifts
        epochs, guesses = mids + curve.lows, curve.profiles
        light = np.maximum(curve.light(flat.time, period, first), 0.05)
        lost = _lost(guesses, mids, flat.time, flat.exposure, period)
        width = min(profile.width for profile in guesses)
        rest = flat.replace(flat.flux / (light * np.maximum(1 - lost, 0.05)))
        # what repeats every orbit is the model's fault, not noise
        rest = rest.replace(rest.flux / mean_curve(rest.time, rest.flux, period, 50))
        red = max(red_noise(rest, 0.4 * width, bent=True) / curve.scatter, 1.0)
        flat = replace(flat, error=reddened(rest, 0.4 * width, True).error)
        shapes = _shapes(curve, red)
        room = _room(epochs, period)
        level = flat.replace(flat.flux / light)
        ways = [tuple(fit_events(level, period, float(e), g, room) for e, g in zip(epochs, guesses, strict=True))]
        if curve.share >= LARGEST_SHARE:  # waves may have taken the minima over: time them as they are
            ways.append(
                tuple(
                    fit_events(flat, period, float(epochs[k]), _minimum(curve, k, epochs, mids, first, period), period)
                    for k in range(epochs.size)
                )
            )
        ways = [events for events in ways if any(np.isfinite(event.shift).sum() > 1 for event in events)]
        if not ways:
            return system
        lines = [_line(period, epochs, shapes, events, middle) for events in ways]
        system = min(lines, key=lambda one: one.period_err)
        period, epochs = system.period, system.epochs
    return system


def _lost(profiles: tuple[Profile, ...], epochs: Floats, time: Floats, exposure: Floats, period: float) -> Floats:
    """Share of the light lost in the eclipses of all kinds."""
    lost = np.zeros(time.size)
    for profile, epoch in zip(profiles, epochs, strict=True):
        lost += profile.loss(offsets(time, period, float(epoch))[0], exposure)
    return lost


def _shapes(curve: OrbitalCurve, red: float) -> tuple[Shape, ...]:
    """Mean eclipses, errors raised by the red noise; no width where no contact is seen."""
    certain = curve.share < LARGEST_SHARE
    return tuple(
        Shape(
            profile,
            float(curve.depths[k]),
            red * float(curve.depth_errs[k]),
            red * float(curve.width_errs[k]) if certain else np.nan,
            float(curve.shifts[k]),
            red * float(curve.shift_errs[k]),
            curve.scatter,
        )
        for k, profile in enumerate(curve.profiles)
    )


def _minimum(curve: OrbitalCurve, kind: int, epochs: Floats, mids: Floats, first: float, period: float) -> Minimum:
    """The fitted light about one of the minima, from one maximum to the next."""
    x = np.linspace(-0.5, 0.5, 501) * period
    time = float(epochs[kind]) + x
    light = curve.light(time, period, first) * (1 - _lost(curve.profiles, mids, time, np.zeros(x.size), period))
    return Minimum(float(curve.depths[kind]), REACH * period, x, 1 - light / float(light.max()))


def _room(epochs: Floats, period: float) -> float:
    """Days between neighbouring eclipses."""
    if epochs.size < 2:
        return period
    phase = (epochs[1] - epochs[0]) / period % 1.0
    return period * float(min(phase, 1 - phase))


def _line(
    period: float,
    epochs: Floats,
    shapes: tuple[Shape, ...],
    events: tuple[Events, ...],
    middle: float,
    floor: float = 0.0,
) -> System:
    """Weighted line through the times: one period, one epoch for each kind.

    The floor is an error of every time, in widths.
    """
    kinds = len(events)
    number = np.concatenate([event.number for event in events]).astype(np.float64)
    kind = np.concatenate([np.full(event.number.size, k) for k, event in enumerate(events)])
    shift = np.concatenate([event.shift for event in events])
    sigma = np.concatenate(
        [np.hypot(event.shift_err, floor * s.profile.width) for event, s in zip(events, shapes, strict=True)]
    )
    use = np.isfinite(shift) & (sigma > 0)
    design = np.stack([number, *(1.0 * (kind == k) for k in range(kinds))])
    # where no contact is seen, spots move neighbouring times alike: they scatter less than they err
    least = 0.0 if all(np.isfinite(shape.width_err) for shape in shapes) else 1.0
    scatter = 1.0
    errors = np.array([shape.shift_err for shape in shapes])
    determined = any(np.unique(event.number[np.isfinite(event.shift)]).size > 1 for event in events)
    if not determined:
        return System(period, np.nan, epochs, errors, shapes, events, 1.0)
    for _ in range(3):
        part = design[:, use] / sigma[use]
        covariance = np.linalg.pinv(part @ part.T)
        solution = covariance @ (part @ (shift[use] / sigma[use]))
        pull = (shift - solution @ design) / sigma
        degrees = max(int(use.sum()) - kinds - 1, 0)
        chi = float(np.sum(pull[use] ** 2))
        scatter = float(np.sqrt((chi + FEW) / (degrees + FEW)))
        again = np.isfinite(pull) & (np.abs(pull) < 4.5 * max(scatter, 1.0))
        if (again == use).all() or again.sum() < kinds + 2:
            break
        use = again
    covariance *= scatter**2
    raised = max(1.0, least / scatter)
    new = period + float(solution[0])
    new_epochs, new_errors, new_events = epochs.copy(), errors.copy(), list(events)
    for k in range(kinds):
        if not (use & (kind == k)).any():
            continue
        at = epochs[k] + float(solution[1 + k])
        cycles = int(np.rint((middle - at) / new))
        new_epochs[k] = at + cycles * new
        vector = np.zeros(kinds + 1)
        vector[0], vector[1 + k] = cycles, 1.0
        new_errors[k] = raised * float(np.sqrt(np.maximum(vector @ covariance @ vector, 0.0)))
        left = events[k].shift - (solution[0] * events[k].number + solution[1 + k])
        new_events[k] = replace(events[k], number=events[k].number - cycles, shift=left)
    return System(new, float(np.sqrt(covariance[0, 0])), new_epochs, new_errors, shapes, tuple(new_events), scatter)
