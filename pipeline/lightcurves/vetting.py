"""Reasons to distrust a candidate, found in its light curves alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from catalogs.binaries import Flag
from pipeline.lightcurves import shape
from pipeline.lightcurves.centroid import Shift, shift
from pipeline.lightcurves.dips import are_unequal, coherence, dips
from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.events import Event, Minimum, depths, events, fold, minima
from pipeline.lightcurves.star import StarCurves, good
from pipeline.lightcurves.systematics import coincident

__all__ = ["Vetting", "is_planet_like", "vet"]


SIGMAS = 3.0
UNEVEN = 0.02  # share of the depth by which eclipses differ from sector to sector: apertures, and what is in them
LEAST_OFFSET = 0.2  # px: 4 arcsec; on-target eclipses of real stars stay within 0.08
LEAST_CROWDSAP = 0.8
LEAST_DAYS = 10.0
SATURATED = 6.8  # Tmag: brighter stars bleed along columns, and their photocentre moves with their flux
LARGEST_JUPITER = 2.0  # Jupiter radii: inflated planets reach it; the smallest stars have 0.8
SUN_IN_JUPITERS = 9.731  # nominal solar over nominal jovian equatorial radius (IAU 2015 resolution B3)
DEEPEST_TRANSIT = 0.1  # a Jupiter before the smallest M dwarfs
SHALLOW = 0.025  # transits of Jupiters before stars of unknown size
OCCULTATION = 0.1  # share of the transit that the hottest planets lose behind their star (KELT-9 b: 0.09)
TIDE = 5e-4  # semi-amplitude that planets do not raise (WASP-18 b, ten Jupiters at 0.94 d: 2e-4)
LONGEST_TRANSIT = 0.25  # of the period
V_SHAPED = -9.0  # difference in chi-square at which a V fits better than a flat bottom at 3 sigma
DISTINCT = 5.0  # times the dips of the folded curve elsewhere
COHERENT = 0.9  # share of the variance that repeats in a star with tides or reflection
INCOHERENT = 0.7  # share of the variance that repeats, below which a curve has no period
WIDE = 0.15  # of the period: eclipses that long are judged by the whole curve


@dataclass(frozen=True)
class Vetting:
    """What speaks for and against a system; NaN where the data do not tell.

    Parameters
    ----------
    centroid_shift_arcsec : float
        How far the photocentre moves in primary eclipse, arcsec.
    centroid_shift_sigma : float
        How unlikely that is if the light is lost at the star; see `pipeline.lightcurves.centroid.Shift.sigma`.
    depth_aperture_1 : float
        Depth of the primary in the aperture, others' light included: depth × CROWDSAP.
    contaminant_depth : float
        Depth that all the other light in the aperture together would need: depth × CROWDSAP / (1 − CROWDSAP).
    flags : int
        Bits of `catalogs.binaries.Flag`.
    """

    centroid_shift_arcsec: float
    centroid_shift_sigma: float
    depth_aperture_1: float
    contaminant_depth: float
    flags: int


def vet(star: StarCurves, ephemeris: Ephemeris, others: Sequence[Ephemeris] = ()) -> Vetting:
    """Vet one system of a star.

    Parameters
    ----------
    star : StarCurves
        Light curves.
    ephemeris : Ephemeris
        The system.
    others : sequence of Ephemeris
        Further systems of the star, whose eclipses are no unexplained dips.

    Returns
    -------
    Vetting
        Flags but `Flag.BLENDED`, which needs the neighbours; see `pipeline.lightcurves.blends`.

    Notes
    -----
    PDCSAP is corrected for the light of others in the aperture: depths are the star's own, and are not corrected
    again.
    """
    moved = shift(star, ephemeris)
    seen = events(star, ephemeris)
    share = _crowdsap(star)
    aperture = ephemeris.depth_1 * share
    contaminant = aperture / (1 - share) if share < 1 else float("nan")
    flags = _crowding_flags(ephemeris, share) | _time_flags(star, ephemeris, seen)
    if _is_elsewhere(star, moved):
        flags |= Flag.CENTROID_SHIFT
    if _is_irregular(star, ephemeris, others, seen):
        flags |= Flag.IRREGULAR_DIPS
    if _is_noise_like(star, ephemeris):
        flags |= Flag.NOISE_LIKE
    doubled = _doubled(star, ephemeris)
    if doubled is not None:
        flags |= Flag.ODD_EVEN
    if is_planet_like(star, doubled or ephemeris):
        flags |= Flag.PLANET_LIKE
    return Vetting(moved.arcsec, moved.sigma, float(aperture), float(contaminant), int(flags))


def _doubled(star: StarCurves, ephemeris: Ephemeris) -> Ephemeris | None:
    """Return the ephemeris at twice the period if odd and even primaries differ, the deeper ones as primaries."""
    if not ephemeris.odd_even_sigma > SIGMAS:
        return None
    depth, _, cycle = depths(fold(star, ephemeris), minima(ephemeris)[0].half)
    even, odd = (float(np.mean(depth[cycle % 2 == parity])) if (cycle % 2 == parity).any() else 0 for parity in (0, 1))
    deep, shallow = max(even, odd), min(even, odd)
    # Without levels beside the eclipses there is but the ephemeris' own word.
    if len(depth) and deep - shallow < UNEVEN * deep:
        return None
    return replace(
        ephemeris,
        period=2 * ephemeris.period,
        epoch=ephemeris.epoch + (ephemeris.period if odd > even else 0.0),
        depth_1=deep if len(depth) else ephemeris.depth_1,
        depth_2=shallow,
        duration_2_h=ephemeris.duration_1_h,
        phase_2=0.5,
        snr_2=ephemeris.snr_1,
        n_primary=ephemeris.n_primary // 2,
        n_secondary=ephemeris.n_primary // 2,
        odd_even_sigma=float("nan"),
    )


def _crowdsap(star: StarCurves) -> float:
    """Return the share of the aperture's light that is the star's: the median of the sectors, NaN if unknown."""
    known = [one.crowdsap for one in star.observations if 0 <= one.crowdsap <= 1]
    return float(np.median(known)) if known else float("nan")


def _crowding_flags(ephemeris: Ephemeris, share: float) -> Flag:
    flags = Flag.LOW_CROWDSAP if share < LEAST_CROWDSAP else Flag(0)
    least = ephemeris.depth_1 - SIGMAS * np.nan_to_num(ephemeris.depth_1_err)
    # Without a division: all the light is the star's where the share is 1, and then nobody else loses any.
    if least > 0 and least * share > 1 - share:
        flags |= Flag.CONTAMINANT_EXCLUDED
    return flags


def _time_flags(star: StarCurves, ephemeris: Ephemeris, seen: Sequence[Event]) -> Flag:
    flags = Flag(0)
    if ephemeris.period_flag == "lower_limit" or ephemeris.n_primary + ephemeris.n_secondary == 1:
        flags |= Flag.SINGLE_ECLIPSE
    if len(seen) and coincident(star, seen).mean() > 0.5:
        flags |= Flag.SYSTEMATIC_TIME
    if sum(len(good(one)[0]) * one.cadence_s for one in star.observations) < LEAST_DAYS * 86400:
        flags |= Flag.SHORT_DATA
    return flags


def _is_elsewhere(star: StarCurves, moved: Shift) -> bool:
    return moved.sigma > SIGMAS and moved.offset > LEAST_OFFSET and not star.tmag < SATURATED


def _is_irregular(star: StarCurves, ephemeris: Ephemeris, others: Sequence[Ephemeris], seen: Sequence[Event]) -> bool:
    """Return whether eclipses differ, dips are left that are like them, or the curve does not repeat."""
    if are_unequal(star, ephemeris, others):
        return True
    if 2 * minima(ephemeris)[0].half > WIDE * ephemeris.period and coherence(star, ephemeris) < INCOHERENT:
        return True
    left = [dip for dip in dips(star, [ephemeris, *others]) if dip.depth > 0.5 * ephemeris.depth_1]
    filled = [one for one in star.observations if len(one.time)]
    sectors = [next(one.sector for one in filled if one.time[-1] >= dip.time) for dip in left]
    as_events = [
        Event(Minimum(1, dip.time, np.inf, max(dip.width / 2, 0.02), dip.depth), 0, sector, dip.time)
        for dip, sector in zip(left, sectors, strict=True)
    ]
    unexplained = len(left) - int(coincident(star, as_events).sum())
    return unexplained >= max(2, 0.5 * sum(event.minimum.kind == 1 for event in seen))


def _is_noise_like(star: StarCurves, ephemeris: Ephemeris) -> bool:
    """Return whether the light curve does at other phases what it does in eclipse, and not the same in each orbit."""
    usual = shape.secondary(star, ephemeris)[1]
    return bool(ephemeris.depth_1 < DISTINCT * usual and not coherence(star, ephemeris) > COHERENT)


def is_planet_like(star: StarCurves, ephemeris: Ephemeris) -> bool:
    """Return whether a planet, as large as two Jupiters, would look like this.

    Its transit is as deep as such a planet's before this star, it fits a flat bottom no worse than a V, nothing
    but what an irradiated planet loses is lost half a period later, and the star is not drawn out by tides. A
    secondary like the primary in mid-orbit is taken for the next transit at half the period; one seen only once
    may be a second planet's.

    Parameters
    ----------
    star : StarCurves
        Light curves.
    ephemeris : Ephemeris
        The system.
    """
    depth, first = ephemeris.depth_1, minima(ephemeris)[0]
    known = star.radius > 0
    size = float(np.sqrt(max(depth, 0)) * star.radius * SUN_IN_JUPITERS)
    small = size <= LARGEST_JUPITER and depth <= DEEPEST_TRANSIT if known else depth <= SHALLOW
    if not (depth > 0 and small) or 2 * first.half > LONGEST_TRANSIT * first.period:
        return False
    if not _is_halved(ephemeris) and _has_secondary(star, ephemeris):
        return False
    wave, wave_err = shape.ellipsoidal(star, ephemeris)
    if wave > max(TIDE, SIGMAS * wave_err):
        return False
    flat, excess = shape.flat_bottom(fold(star, ephemeris), first.half)
    return bool(np.isfinite(flat) and excess > V_SHAPED)


def _is_halved(ephemeris: Ephemeris) -> bool:
    """Return whether primary and secondary may be one kind of eclipse at half the period."""
    error = np.hypot(np.nan_to_num(ephemeris.depth_1_err), np.nan_to_num(ephemeris.depth_2_err))
    alike = abs(ephemeris.depth_1 - ephemeris.depth_2) <= max(SIGMAS * error, OCCULTATION * ephemeris.depth_1)
    width = ephemeris.duration_1_h / 24 / ephemeris.period
    return bool(alike and abs(ephemeris.phase_2 - 0.5) <= 0.1 * width + 0.005)


def _has_secondary(star: StarCurves, ephemeris: Ephemeris) -> bool:
    least = OCCULTATION * ephemeris.depth_1
    if ephemeris.n_secondary >= 2 and ephemeris.depth_2 > least and ephemeris.snr_2 > 5:
        return True
    dip, error = shape.secondary(star, ephemeris)
    return bool(dip > max(least, 4 * error))
