"""Whether the light that is lost in an eclipse is lost at the star.

Let a source at x lose light, a share d of all that is in the aperture. The photocentre X then moves to
X + u (X − x), u = d / (1 − d): it is a straight line in u whose slope is the distance of the source. The slope is
fitted beside each eclipse with a parabola in time (slow drift) and the spacecraft's own motion, POS_CORR. Its
noise is not that of the cadences, which hides what is correlated from minute to minute: the same fit is made at
places without an eclipse, and eclipses are compared with one another.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp, ndtri_exp

from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.slopes import MOST, measure
from pipeline.lightcurves.star import Observation, StarCurves

__all__ = ["ARCSEC_PER_PIXEL", "SectorShift", "Shift", "shift"]

Floats = NDArray[np.float64]

#: Size of TESS's pixels on the sky.
ARCSEC_PER_PIXEL = 21.0

FLOOR = 2e-5  # px: smaller motions are below what the rounding of MOM_CENTR to float32 leaves
UNEVEN = 0.01  # px: pixels and apertures are not even, so that a star alone is off the photocentre by so much
NEIGHBOUR = 0.7  # px a coordinate: how far neighbours inside an aperture, two pixels in radius, typically are
OTHERS = 0.1  # share of the light that is theirs, where CROWDSAP is unknown
FITS = 400  # fits shared by the sectors of a star, at least so many each: more do not sharpen the noise
FEWEST_FITS = 15
FEWEST = 5  # slopes from which a scatter can be told


@dataclass(frozen=True, eq=False)
class SectorShift:
    """Motion of the photocentre in the eclipses of one sector.

    Parameters
    ----------
    sector : int
        TESS sector.
    u : float
        d / (1 − d) in mid-eclipse, d the depth in the aperture.
    slopes : (k, 2) float64
        Photocentre minus place of the source by each eclipse, column and row, pixels.
    noise : (2,) float64
        Standard deviation of one slope, pixels.
    freedom : int
        Slopes that `noise` was told from, less one.
    """

    sector: int
    u: float
    slopes: Floats
    noise: Floats
    freedom: int

    @property
    def mean(self) -> Floats:
        """Mean slope, shape (2,), pixels."""
        return np.asarray(self.slopes.mean(axis=0))

    @property
    def error(self) -> Floats:
        """Standard deviation of `mean`, shape (2,), pixels."""
        return np.hypot(self.noise / np.sqrt(len(self.slopes)), FLOOR / self.u)

    @property
    def log_chance(self) -> float:
        """Logarithm of the probability of so large a slope where there is none (F test, 2 and n degrees)."""
        square = float(((self.mean / self.error) ** 2).sum())
        return -0.5 * self.freedom * float(np.log1p(square / self.freedom))


@dataclass(frozen=True, eq=False)
class Shift:
    """Motion of the photocentre in the eclipses of a star.

    Parameters
    ----------
    pixels : float
        How far it moves in mid-eclipse.
    sigma : float
        How unlikely that is where the light is lost at the star, as a two-sided Gaussian would say it: of such
        stars at most 32% have more than 1. Noise, and `allowance`.
    noise_sigma : float
        The same where the light is lost at the photocentre: noise alone.
    offset, offset_error : float
        Distance of the photocentre from the place where the light is lost, and its noise, pixels.
    allowance : float
        How far the star itself may be off the photocentre, which the light of others in its aperture draws to
        them: standard deviation of either axis, pixels.
    sectors : tuple of SectorShift
        By sector; the axes of sectors differ.
    """

    pixels: float
    sigma: float
    noise_sigma: float
    offset: float
    offset_error: float
    allowance: float
    sectors: tuple[SectorShift, ...]

    @property
    def arcsec(self) -> float:
        """`pixels` on the sky."""
        return self.pixels * ARCSEC_PER_PIXEL


def shift(star: StarCurves, ephemeris: Ephemeris, fits: int = FITS) -> Shift:
    """Measure how the photocentre moves in the primary eclipses.

    Parameters
    ----------
    star : StarCurves
        Light curves; sectors without centroids are left out.
    ephemeris : Ephemeris
        Of one system.
    fits : int
        How many fits the sectors share, at least `FEWEST_FITS` each; most of the time goes into them.

    Returns
    -------
    Shift
        NaN, and no sectors, where no eclipse has centroids.

    Notes
    -----
    The idea of the test is that of Batalha et al. 2010 (ApJ 713, L103) and Bryson et al. 2013 (PASP 125, 889,
    section 2); the spacecraft's motion and the noise between the minutes are measured on the star itself. Over
    sectors, whose axes differ, lengths are averaged and chances combined as Fisher does.
    """
    most = int(np.clip(fits / max(len(star.observations), 1), FEWEST_FITS, MOST))
    found = [one for one in (_sector(observation, ephemeris, most) for observation in star.observations) if one]
    if not found:
        return Shift(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, ())
    weight = np.array([1 / float((one.error**2).sum()) for one in found])
    lengths = np.array([float(np.hypot(*one.mean)) for one in found])
    pixels = np.array([one.u for one in found]) * lengths
    offset = float(np.average(lengths, weights=weight))
    log_chance = _log_chance(found)
    allowance = _allowance(star)
    return Shift(
        float(np.average(pixels, weights=weight)),
        _sigma(-0.5 / (-0.5 / min(log_chance, -1e-9) + (allowance / max(offset, 1e-9)) ** 2)),
        _sigma(log_chance),
        offset,
        float((weight / 2).sum() ** -0.5),
        allowance,
        tuple(found),
    )


def _allowance(star: StarCurves) -> float:
    """Return how far neighbours draw the photocentre: their share of the light, at most as far as apertures reach."""
    shares = [one.crowdsap for one in star.observations if 0 <= one.crowdsap <= 1]
    others = 1 - float(np.median(shares)) if shares else OTHERS
    return float(np.hypot(UNEVEN, others * NEIGHBOUR))


def _log_chance(sectors: list[SectorShift]) -> float:
    """Return the logarithm of Fisher's chance: minus a log of a product of chances is a Gamma variate."""
    x, k = -sum(one.log_chance for one in sectors), np.arange(len(sectors))
    return min(0.0, -x + float(logsumexp(k * np.log(max(x, 1e-300)) - gammaln(k + 1))))


def _sigma(log_chance: float) -> float:
    return max(0.0, -float(ndtri_exp(log_chance - np.log(2))))


def _sector(observation: Observation, ephemeris: Ephemeris, most: int) -> SectorShift | None:
    found = measure(observation, ephemeris, most)
    if found is None:
        return None
    noise, freedom = _noise(found.slopes, found.nulls)
    return None if noise is None else SectorShift(observation.sector, found.u, found.slopes, noise, freedom)


def _noise(slopes: Floats, nulls: Floats) -> tuple[Floats | None, int]:
    """Return the scatter of slopes and its degrees of freedom: without an eclipse, and between eclipses.

    Both measure one noise and are pooled; where eclipses scatter by far more, only they count. Of few eclipses one
    may be as far off as the worst null, so these are only left out where there are more.
    """
    if len(slopes) >= FEWEST <= len(nulls):
        middle = np.median(nulls, axis=0)
        spread = 1.4826 * np.median(np.abs(nulls - middle), axis=0)
        nulls = nulls[(np.abs(nulls - middle) <= 4 * spread).all(axis=1)]
    groups = [group - group.mean(axis=0) for group in (slopes, nulls) if len(group) >= FEWEST]
    if not groups:
        return None, 0
    spreads = np.array([(group**2).sum(axis=0) / (len(group) - 1) for group in groups])
    freedom = np.array([len(group) - 1 for group in groups])
    if len(groups) == 2 and (spreads[0] > 2 * spreads[1]).any():
        spreads, freedom = spreads[:1], freedom[:1]
    return np.sqrt(np.average(spreads, axis=0, weights=freedom)), int(freedom.sum())
