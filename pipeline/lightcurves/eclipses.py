"""Fits of eclipses: their mean shape in the folded curve, and time and depth of each one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from pipeline.lightcurves.minimum import Minimum
from pipeline.lightcurves.phases import covered, offsets
from pipeline.lightcurves.profile import IMPACTS, RATIOS, Profile
from pipeline.lightcurves.series import PIECES, Series

__all__ = ["Events", "Shape", "fit_events", "fit_shape", "sigmas"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REACH = 1.2  # widths on either side of mid-eclipse that a fit uses
FEWEST = 6  # samples of a fit
FINE = 40  # bins to a width
MISFIT = 1.5  # square root of the reduced chi squared from which another start is tried
RATIO_PRIOR = 0.35  # natural logarithm of the ratio of the radii: standard deviation about 0
STEP = 0.01  # of a parameter, for the curvature
IMPACT_PRIOR = (0.4, 0.3)  # mean and standard deviation


@dataclass(frozen=True)
class Shape:
    """Mean eclipse of a kind.

    Parameters
    ----------
    profile : Profile
        The shape, relative to the light around it.
    depth : float
        Relative to the light around it or, where the whole orbit is fitted, to maximum light.
    depth_err, width_err : float
        Standard deviations; width in days.
    shift, shift_err : float
        Of mid-eclipse from the ephemeris that was used to fold, days.
    scatter : float
        Square root of the reduced chi squared of the fold, at least 1.
    """

    profile: Profile
    depth: float
    depth_err: float
    width_err: float
    shift: float
    shift_err: float
    scatter: float


@dataclass(frozen=True, eq=False)
class Events:
    """Every eclipse of a kind that is in the data.

    Parameters
    ----------
    number : (k,) int64
        Cycles since the epoch; of the middle one where several short ones are fitted as one.
    shift, shift_err : (k,) float64
        Time from the prediction, days; NaN where only part of it is seen.
    depth, depth_err : (k,) float64
        Relative.
    count : (k,) int64
        How many eclipses are fitted as one.
    observation : (k,) int64
        Of the star that it was seen in: each has a scale of its own, as the light of neighbours is not known well.
    """

    number: Ints
    shift: Floats
    shift_err: Floats
    depth: Floats
    depth_err: Floats
    count: Ints
    observation: Ints


_NONE, _NO_NUMBER = np.zeros(0), np.zeros(0, np.int64)
NO_EVENTS = Events(_NO_NUMBER, _NONE, _NONE, _NONE, _NONE, _NO_NUMBER, _NO_NUMBER)


def fit_shape(series: Series, period: float, epoch: float, guess: Profile, room: float) -> Shape | None:
    """Fit a profile on a parabola to the curve folded about one kind of eclipse.

    Parameters
    ----------
    series : Series
        Flattened, at the finest cadence.
    period, epoch : float
        Ephemeris of this kind of eclipse, days.
    guess : Profile
        Where to begin.
    room : float
        Days to the nearest other eclipse: data beyond half of it are left alone.

    Returns
    -------
    Shape
        None where there are too few data.
    """
    x, y, e, exposure = _binned(series, period, epoch, guess.width, min(REACH * guess.width, 0.6 * room))
    if x.size < 12:
        return None
    scale = guess.width
    design = np.stack([np.ones(x.size), x / scale, (x / scale) ** 2])

    def _residual(p: Floats) -> Floats:
        profile = Profile(p[0], p[1] * scale, float(np.exp(p[2])), p[3])
        model = p[5:] @ design - profile.loss(x - p[4] * scale, exposure)
        prior = (p[2] / RATIO_PRIOR, (p[3] - IMPACT_PRIOR[0]) / IMPACT_PRIOR[1], p[7] / (0.3 * guess.depth + 1e-4))
        return np.concatenate(((y - model) / e, prior))

    low = [0.0, 0.3, np.log(RATIOS[0]), IMPACTS[0], -0.5, 0.5, -1, -1]
    high = [1.5, 3.0, np.log(RATIOS[1]), IMPACTS[1], 0.5, 1.5, 1, 1]

    def _found(ratio: float, impact: float) -> tuple[Floats, float]:
        """Return the best parameters from a start, and the square root of their reduced chi squared."""
        start = np.array([min(guess.depth, 1.4), 1.0, np.log(ratio), impact, 0.0, 1.0, 0.0, 0.0])
        scales = [0.1, 0.1, 0.3, 0.3, 0.1, 0.01, 0.01, 0.01]
        found = least_squares(_residual, start, bounds=(low, high), x_scale=scales, diff_step=2e-3, max_nfev=60)
        return found.x, float(np.sqrt(np.sum(found.fun[: x.size] ** 2) / max(x.size - 6, 1)))

    p, misfit = _found(guess.ratio, guess.impact)
    if misfit > MISFIT:
        # Twins that cross each other's middle leave a sharp minimum, which no slope of chi squared leads to.
        p, misfit = min((p, misfit), _found(1.0, 0.01), key=lambda fit: fit[1])
    scatter = max(1.0, misfit)
    sigma = scatter * sigmas(_residual, p, STEP * np.maximum(np.abs(p), [1e-3, 1, 2, 1, 1, 1e-2, 1e-2, 1e-2]))[0]
    profile = Profile(float(p[0]), float(p[1] * scale), float(np.exp(p[2])), float(p[3]))
    return Shape(
        profile,
        profile.depth,
        float(sigma[0]),
        float(sigma[1] * scale),
        float(p[4] * scale),
        float(sigma[4] * scale),
        scatter,
    )


def sigmas(residual: Callable[[Floats], Floats], p: Floats, step: Floats) -> tuple[Floats, Floats]:
    """Standard deviations by the curvature over finite steps: rings of a disc make it rough over small ones.

    Parameters
    ----------
    residual : callable
        Residuals over their errors, of the parameters.
    p, step : (m,) float64
        Parameters at the minimum, and steps.

    Returns
    -------
    sigma : (m,) float64
        Standard deviations.
    covariance : (m, m) float64
        Covariance.
    """
    columns = [
        (residual(p + move) - residual(p - move)) / (2 * size) for move, size in zip(np.diag(step), step, strict=True)
    ]
    scale = np.sqrt(np.sum(np.square(columns), axis=1)) + 1e-30
    jacobian = np.array(columns) / scale[:, None]
    covariance = np.linalg.pinv(jacobian @ jacobian.T, rcond=1e-10) / np.outer(scale, scale)
    return np.sqrt(np.maximum(np.diag(covariance), 0)), covariance


def _binned(
    series: Series, period: float, epoch: float, width: float, reach: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean curve about an eclipse, bins of each cadence apart: offset, flux, error, exposure."""
    offset, _ = offsets(series.time, period, epoch)
    near = np.flatnonzero(np.abs(offset) < reach)
    step = width / FINE
    cadence = np.rint(series.exposure[near] * 86400 / 20).astype(np.int64)
    label = np.floor((offset[near] + reach) / step).astype(np.int64) + 100_000 * cadence
    _, index = np.unique(label, return_inverse=True)
    weight = 1 / series.error[near] ** 2
    total = np.bincount(index, weight)

    def mean(values: Floats) -> Floats:
        return np.asarray(np.bincount(index, weight * values[near]) / total)

    return mean(offset), mean(series.flux), 1 / np.sqrt(total), mean(series.exposure)


def fit_events(series: Series, period: float, epoch: float, profile: Profile | Minimum, room: float) -> Events:
    """Fit time and depth of every eclipse, on a line of its own; several together where one has too few samples.

    Parameters
    ----------
    series : Series
        Flattened, at the finest cadence.
    period, epoch : float
        Ephemeris of this kind of eclipse, days.
    profile : Profile or Minimum
        Shape of the mean eclipse.
    room : float
        As for `fit_shape`.

    Returns
    -------
    Events
        Eclipses of which three tenths are in the data, in order.
    """
    offset, number = offsets(series.time, period, epoch)
    reach = min(0.9 * profile.width, 0.6 * room)
    near = np.flatnonzero(np.abs(offset) < reach)
    if not near.size:
        return NO_EVENTS
    label = _grouped(number[near])
    order = np.argsort(label, kind="stable")
    near, label = near[order], label[order]
    start = np.flatnonzero(np.r_[True, np.diff(label) != 0])
    size = np.diff(np.r_[start, near.size])
    middle, most, seen, count = _coverage(series, np.c_[label, number[near]], period, epoch, profile.width)
    fits = _solved(series, near, offset[near], start, seen, profile)
    good = (most > 0.3) & (size >= FEWEST)
    seen_in = series.stretch[near[start + size // 2]] // PIECES
    in_order = np.flatnonzero(good)[np.argsort(middle[good], kind="stable")]
    shift, shift_err, depth, depth_err = (column[in_order] for column in fits)
    return Events(middle[in_order], shift, shift_err, depth, depth_err, count[in_order], seen_in[in_order])


def _coverage(
    series: Series, samples: Ints, period: float, epoch: float, width: float
) -> tuple[Ints, Floats, Floats, Ints]:
    """Describe groups of eclipses: the middle one's number, how much of the best and of all is seen, how many are."""
    # (group, number of the eclipse): samples of a group are in order of time
    pairs = samples[np.r_[True, (np.diff(samples, axis=0) != 0).any(axis=1)]]
    shares = covered(series, np.asarray(epoch + pairs[:, 1] * period), width)
    start = np.flatnonzero(np.r_[True, np.diff(pairs[:, 0]) != 0])
    size = np.diff(np.r_[start, len(pairs)])
    most = np.maximum.reduceat(shares, start)
    seen = np.where(size == 1, most, np.add.reduceat(shares, start) / size)
    return pairs[start + size // 2, 1], most, seen, np.add.reduceat((shares > 0.3).astype(np.int64), start)


def _grouped(number: Ints) -> Ints:
    """Label the samples by eclipse; neighbouring odd or even ones together, where one alone has too few samples."""
    each = number.size / np.unique(number).size
    if each >= 1.5 * FEWEST:
        return number
    together = int(np.ceil(2 * FEWEST / each))
    return np.asarray(number // (2 * together) * 2 + number % 2)


def _solved(
    series: Series, near: Ints, offset: Floats, start: Ints, seen: Floats, profile: Profile | Minimum
) -> tuple[Floats, Floats, Floats, Floats]:
    """Fit each group of samples, which begin at `start`: shift, depth, level and slope of the light around it."""
    flux, error, exposure = series.flux[near], series.error[near], series.exposure[near]
    group = np.repeat(np.arange(start.size), np.diff(np.r_[start, near.size]))
    columns = np.stack([
        -profile.slope(offset, exposure), -profile.loss(offset, exposure), np.ones(near.size), offset / profile.width
    ])  # fmt: skip
    design = columns / error
    normal = np.add.reduceat(design[:, None] * design[None], start, axis=2)
    right = np.add.reduceat(design * (flux / error), start, axis=1)
    # a baseline seen on one side alone, or not at all, is held near 1 and level
    prior = np.diag([0.0, 0.0, 1 / 0.02**2, 1 / 0.02**2]) * min(1.0, 0.01 / max(profile.depth, 1e-4)) ** 2
    covariance = np.linalg.pinv(np.moveaxis(normal, 2, 0) + prior, hermitian=True)
    solution = np.einsum("gij,jg->ig", covariance, right + (prior @ np.array([0.0, 0.0, 1.0, 0.0]))[:, None])
    rest = (flux - (solution[:, group] * columns).sum(axis=0)) / error
    freedom = np.maximum(np.bincount(group) - 4, 1)
    scatter = np.maximum(1.0, np.sqrt(np.bincount(group, rest**2) / freedom))
    sigma = scatter * np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2).T, 0))
    shift, shift_err = solution[0], sigma[0]
    wrong = (np.abs(shift) > max(0.5 * profile.width, 0.0)) & (np.abs(shift) > 3 * shift_err)
    unknown = (seen < 0.7) | wrong | (np.abs(solution[1] - 1) > 0.7 + 4 * sigma[1])
    timed = (np.where(unknown, np.nan, shift), np.where(unknown, np.nan, shift_err))
    return *timed, solution[1] * profile.depth, sigma[1] * profile.depth
