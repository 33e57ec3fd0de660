"""The whole orbital light curve: two eclipses on light that varies with the orbital angle."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from pipeline.lightcurves.eclipses import IMPACT_PRIOR, RATIO_PRIOR, sigmas
from pipeline.lightcurves.phases import offsets
from pipeline.lightcurves.profile import IMPACTS, RATIOS, Profile
from pipeline.lightcurves.series import Series, flatten
from pipeline.lightcurves.waves import mean_curve

__all__ = ["OrbitalCurve", "detrended", "fit_orbital"]

Floats = NDArray[np.float64]

BINS, MOST_BINS = 300, 1500  # of phase
WIDTH_BINS = 30  # to the narrower eclipse
HARMONICS = 2
_PER_KIND = 5  # depth, width, log ratio, impact, shift


@dataclass(frozen=True, eq=False)
class OrbitalCurve:
    """A fitted orbital light curve.

    Parameters
    ----------
    profiles : tuple of Profile
        Eclipses, relative to the light around them.
    width_errs, shifts, shift_errs : (kinds,) float64
        Days; shifts from the epochs that were used to fold.
    depths, depth_errs : (kinds,) float64
        From maximum light to the middle of the eclipse, relative.
    lows : (kinds,) float64
        Days from mid-eclipse to the minimum of light, where that is not in its middle half; 0 elsewhere.
    waves : (1 + 2 harmonics,) float64
        Mean, and cosine and sine of each multiple of the orbital angle from the first epoch.
    scatter : float
        Square root of the reduced chi squared of the fold, at least 1.
    share : float
        Range of the light without the eclipses over that with them.
    """

    profiles: tuple[Profile, ...]
    width_errs: Floats
    shifts: Floats
    shift_errs: Floats
    depths: Floats
    depth_errs: Floats
    lows: Floats
    waves: Floats
    scatter: float
    share: float

    def light(self, time: Floats, period: float, epoch: float) -> Floats:
        """Light without the eclipses.

        Parameters
        ----------
        time : (n,) float64
            BTJD.
        period, epoch : float
            Days.

        Returns
        -------
        (n,) float64
            Relative.
        """
        return _waves(self.waves, (time - epoch) / period)


def _waves(coefficients: Floats, phase: Floats) -> Floats:
    out = np.full(phase.size, coefficients[0])
    for k in range(1, (coefficients.size - 1) // 2 + 1):
        angle = 2 * np.pi * k * phase
        out += coefficients[2 * k - 1] * np.cos(angle) + coefficients[2 * k] * np.sin(angle)
    return out


def detrended(series: Series, period: float, bins: int = BINS, window: float = 2.0) -> Series:
    """Divide by what varies slowly and not with the orbit.

    Parameters
    ----------
    series : Series
        Relative flux.
    period : float
        Days.
    bins : int
        Of the mean curve that the trend is sought under.
    window : float
        Days.

    Returns
    -------
    Series
        Of the same mean curve.
    """
    flux = series.flux
    for _ in range(2):
        curve = mean_curve(series.time, flux, period, bins)
        curve = np.where(curve > 0.05, curve, 1.0)
        rest = series.replace(series.flux / curve)
        level = flatten(rest, np.zeros(rest.time.size, bool), window)
        flux = level.flux * curve
    return series.replace(flux / np.median(flux))


def fit_orbital(series: Series, period: float, epochs: Floats, guesses: tuple[Profile, ...]) -> OrbitalCurve | None:
    """Fit eclipses and waves to the folded curve.

    Parameters
    ----------
    series : Series
        `detrended`.
    period : float
        Days.
    epochs : (kinds,) float64
        Mid-eclipse of each kind.
    guesses : tuple of Profile
        Of each kind.

    Returns
    -------
    OrbitalCurve
        None where the fold has gaps.
    """
    narrow = min(guess.width for guess in guesses)
    bins = int(np.clip(WIDTH_BINS * period / narrow, BINS, MOST_BINS))
    phase, flux, error, exposure = _folded(series, period, float(epochs[0]), bins)
    if np.unique(np.floor(phase * 20)).size < 20 or phase.size < 60:
        return None
    lags = (epochs - epochs[0]) / period
    kinds = len(guesses)

    def _model(p: Floats) -> Floats:
        light = _waves(p[kinds * _PER_KIND :], phase)
        lost = np.zeros(phase.size)
        for k in range(kinds):
            profile, shift = _profile(p, k, period)
            offset = (phase - lags[k] - shift / period + 0.5) % 1.0 - 0.5
            lost += profile.loss(offset * period, exposure)
        return light * (1 - lost)

    def _residual(p: Floats) -> Floats:
        prior = [
            value
            for k in range(kinds)
            for value in (
                p[k * _PER_KIND + 2] / RATIO_PRIOR,
                (p[k * _PER_KIND + 3] - IMPACT_PRIOR[0]) / IMPACT_PRIOR[1],
            )
        ]
        return np.concatenate(((flux - _model(p)) / error, prior))

    start, low, high = _bounds(guesses, period, flux)
    found = least_squares(_residual, start, bounds=(low, high), x_scale=np.where(start != 0, 0.1, 0.01), diff_step=2e-3,
                          max_nfev=40)  # fmt: skip
    p = found.x
    degrees = max(phase.size - p.size + 2 * kinds, 1)
    scatter = max(1.0, float(np.sqrt(np.sum(found.fun[: phase.size] ** 2) / degrees)))
    step = 0.01 * np.concatenate((np.tile([0.3, 1.0, 1.0, 0.5, 1.0], kinds), np.full(p.size - kinds * _PER_KIND, 0.1)))
    sigma, covariance = sigmas(_residual, p, step)
    return _curve(p, period, lags, scatter * sigma, scatter**2 * covariance, scatter, kinds)


def _folded(series: Series, period: float, epoch: float, bins: int) -> tuple[Floats, Floats, Floats, Floats]:
    offset, _ = offsets(series.time, period, epoch)
    phase = offset / period % 1.0
    cadence = np.rint(series.exposure * 86400 / 20).astype(np.int64)
    label = np.minimum((phase * bins).astype(np.int64), bins - 1) + 10_000 * cadence
    _, index = np.unique(label, return_inverse=True)
    weight = 1 / series.error**2
    total = np.bincount(index, weight)

    def _mean(values: Floats) -> Floats:
        return np.asarray(np.bincount(index, weight * values) / total)

    # a bin smears an eclipse as an exposure does
    width = np.sqrt(_mean(series.exposure) ** 2 + (period / bins) ** 2)
    return _mean(phase), _mean(series.flux), 1 / np.sqrt(total), width


def _profile(p: Floats, kind: int, period: float) -> tuple[Profile, float]:
    depth, width, ratio, impact, shift = p[kind * _PER_KIND : (kind + 1) * _PER_KIND]
    return Profile(float(depth), float(width) * period, float(np.exp(ratio)), float(impact)), float(shift) * period


def _bounds(guesses: tuple[Profile, ...], period: float, flux: Floats) -> tuple[Floats, Floats, Floats]:
    start: list[float] = []
    low: list[float] = []
    high: list[float] = []
    for guess in guesses:
        width = min(max(guess.width / period, 0.005), 0.45)
        start += [min(max(guess.depth, 1e-4), 0.95), width, np.log(guess.ratio), guess.impact, 0.0]
        low += [0.0, 0.002, np.log(RATIOS[0]), IMPACTS[0], -0.3 * width]
        high += [1.2, 0.55, np.log(RATIOS[1]), IMPACTS[1], 0.3 * width]
    start += [float(np.percentile(flux, 90)), 0.0, 0.0, 0.0, 0.0][: 1 + 2 * HARMONICS]
    low += [0.3] + [-0.5] * (2 * HARMONICS)
    high += [2.0] + [0.5] * (2 * HARMONICS)
    return np.array(start), np.array(low), np.array(high)


def _curve(
    p: Floats, period: float, lags: Floats, sigma: Floats, covariance: Floats, scatter: float, kinds: int
) -> OrbitalCurve:
    grid = np.linspace(0, 1, 400, endpoint=False)

    def depths(q: Floats) -> Floats:
        lost, at = np.zeros(grid.size), []
        for k in range(kinds):
            profile, shift = _profile(q, k, period)
            offset = (grid - lags[k] - shift / period + 0.5) % 1.0 - 0.5
            lost += profile.loss(offset * period, np.zeros(grid.size))
            at.append((profile.depth, lags[k] + shift / period))
        top = float((_waves(q[kinds * _PER_KIND :], grid) * (1 - lost)).max())
        middle = _waves(q[kinds * _PER_KIND :], np.array([phase for _, phase in at]))
        return np.asarray(1 - middle * (1 - np.array([depth for depth, _ in at])) / top)

    size = 0.3 * np.maximum(sigma, 1e-7)
    slope = np.array(
        [(depths(p + move) - depths(p - move)) / (2 * s) for move, s in zip(np.diag(size), size, strict=True)]
    )
    error = np.sqrt(np.maximum(np.einsum("ik,ij,jk->k", slope, covariance, slope), 0))
    light, lost = _waves(p[kinds * _PER_KIND :], grid), np.zeros(grid.size)
    for k in range(kinds):
        profile, shift = _profile(p, k, period)
        offset = (grid - lags[k] - shift / period + 0.5) % 1.0 - 0.5
        lost += profile.loss(offset * period, np.zeros(grid.size))
    pairs = [_profile(p, k, period) for k in range(kinds)]
    places = np.arange(kinds) * _PER_KIND
    return OrbitalCurve(
        tuple(profile for profile, _ in pairs),
        sigma[places + 1] * period,
        np.array([shift for _, shift in pairs]),
        sigma[places + 4] * period,
        depths(p),
        error,
        np.array([_lean(p, k, period, lags, kinds) for k in range(kinds)]),
        p[kinds * _PER_KIND :],
        scatter,
        float(np.ptp(light) / max(np.ptp(light * (1 - lost)), 1e-9)),
    )


def _lean(p: Floats, kind: int, period: float, lags: Floats, kinds: int) -> float:
    """Days from the middle of an eclipse to the minimum of light near it, if that is far away."""
    profile, shift = _profile(p, kind, period)
    x = np.linspace(-0.5, 0.5, 201) * profile.width
    light = _waves(p[kinds * _PER_KIND :], lags[kind] + (shift + x) / period)
    lowest = float(x[int((light * (1 - profile.loss(x, np.zeros(x.size)))).argmin())])
    return lowest if abs(lowest) > 0.12 * profile.width else 0.0
