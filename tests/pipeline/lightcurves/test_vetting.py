"""Flags: each is raised by what it is for, and not by a plain binary; planets of real stars are told from binaries."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from catalogs.binaries import Flag, is_clean, meanings
from pipeline.lightcurves.dips import are_unequal, coherence, dips
from pipeline.lightcurves.events import depths, events, fold, minima
from pipeline.lightcurves.shape import ellipsoidal, flat_bottom, secondary
from pipeline.lightcurves.star import Observation
from pipeline.lightcurves.systematics import coincident
from pipeline.lightcurves.vetting import is_planet_like, vet
from pipeline.simulate.eclipses import hidden_fraction

PLAIN = {"period": 3.1, "epoch": 1327.2}


@pytest.fixture(scope="module")
def binary(make_star, trapezoid, make_ephemeris):
    """Return a detached binary with a secondary, and its ephemeris."""
    first = trapezoid(0.2, 3.1, 1327.2, 5.0, 0.1)
    second = trapezoid(0.08, 3.1, 1327.2 + 0.43 * 3.1, 4.0, 0.1)
    star = make_star(lambda time: first(time) + second(time), radius=1.0)
    return star, make_ephemeris(
        **PLAIN, depth_1=0.2, duration_1_h=5.0, depth_2=0.08, duration_2_h=4.0, phase_2=0.43, snr_2=99, n_secondary=9
    )


def flags_of(star, ephemeris, others=()):
    return Flag(vet(star, ephemeris, others).flags)


def test_a_plain_binary_has_no_flag_against_it(binary):
    star, ephemeris = binary
    found = vet(star, ephemeris)
    assert Flag(found.flags) == Flag.CONTAMINANT_EXCLUDED
    assert found.depth_aperture_1 == pytest.approx(0.98 * 0.2)
    assert found.contaminant_depth == pytest.approx(0.98 * 0.2 / 0.02)
    assert found.centroid_shift_sigma < 3


def test_events_are_those_the_data_cover(binary):
    star, ephemeris = binary
    seen = events(star, ephemeris)
    time = star.observations[0].time
    assert {event.minimum.kind for event in seen} == {1, 2}
    assert all(np.abs(time - event.mid).min() < 0.05 for event in seen)
    gap = 1325 + 13.5
    assert not any(abs(event.mid - gap) < 0.4 for event in seen)
    (first, _) = minima(ephemeris)
    depth, error, cycle = depths(fold(star, ephemeris), first.half)
    assert depth == pytest.approx(np.full(len(depth), 0.16), abs=0.03)
    assert len(cycle) == len(set(cycle.tolist())) and (error < 1e-3).all()


def test_planets_are_flagged_and_what_they_cannot_do_is_not(make_star, trapezoid, make_ephemeris):
    transit = trapezoid(0.012, 3.1, 1327.2, 3.0, 0.7)
    ephemeris = make_ephemeris(**PLAIN, depth_1=0.012, duration_1_h=3.0, snr_1=50)

    def flagged(star, **changes):
        return Flag.PLANET_LIKE in flags_of(star, replace(ephemeris, **changes))

    assert flagged(make_star(transit, radius=1.0))
    assert flagged(make_star(transit))
    # The next transit at half the period is no secondary.
    other = {"depth_2": 0.012, "phase_2": 0.5, "duration_2_h": 3.0, "snr_2": 40, "n_secondary": 5}
    half = make_star(trapezoid(0.012, 1.55, 1327.2, 3.0, 0.7), radius=1.0)
    assert flagged(half, **other, depth_2_err=1e-4)
    assert not flagged(make_star(transit, radius=4.0)), "as large as four Jupiters"
    assert not flagged(make_star(trapezoid(0.012, 3.1, 1327.2, 3.0, 0.0), radius=1.0, noise=3e-4)), "a V"
    second = trapezoid(0.005, 3.1, 1327.2 + 1.55, 3.0, 0.7)
    assert not flagged(make_star(lambda time: transit(time) + second(time), radius=1.0)), "a secondary"

    def tide(time):
        return -0.002 * np.cos(4 * np.pi * (time - 1327.2) / 3.1)

    assert not flagged(make_star(transit, radius=1.0, wiggle=tide)), "tides"


def test_odd_and_even_eclipses_that_differ(make_star, trapezoid, make_ephemeris):
    ephemeris = make_ephemeris(**PLAIN, depth_1=0.01, duration_1_h=3.0, snr_1=50, odd_even_sigma=9.0)
    for other, expected in (
        (0.0, Flag.ODD_EVEN | Flag.PLANET_LIKE),
        (0.005, Flag.ODD_EVEN),
        (0.00995, Flag.PLANET_LIKE),
    ):
        one, two = trapezoid(0.01, 6.2, 1327.2, 3.0, 0.7), trapezoid(other, 6.2, 1330.3, 3.0, 0.7)
        star = make_star(lambda time, one=one, two=two: one(time) + two(time), radius=1.0, noise=2e-4)
        assert flags_of(star, ephemeris) & (Flag.ODD_EVEN | Flag.PLANET_LIKE) == expected, other


def test_a_deep_dip_of_a_dwarf_may_be_a_planet_but_not_of_the_sun(make_star, trapezoid, make_ephemeris):
    ephemeris = make_ephemeris(**PLAIN, depth_1=0.08, duration_1_h=2.0)
    lost = trapezoid(0.08, 3.1, 1327.2, 2.0, 0.6)
    assert Flag.PLANET_LIKE in flags_of(make_star(lost, radius=0.3), ephemeris)
    assert Flag.PLANET_LIKE not in flags_of(make_star(lost, radius=1.0), ephemeris)
    assert Flag.PLANET_LIKE not in flags_of(make_star(lost), ephemeris)


def test_light_lost_beside_the_star_is_flagged_but_not_in_saturated_ones(make_star, trapezoid, make_ephemeris):
    ephemeris = make_ephemeris(**PLAIN, depth_1=0.05, duration_1_h=5.0)
    star = make_star(trapezoid(0.05, 3.1, 1327.2, 5.0, 0.0), off=(1.0, 0.5))
    assert Flag.CENTROID_SHIFT in flags_of(star, ephemeris)
    assert Flag.CENTROID_SHIFT not in flags_of(replace(star, tmag=5.0), ephemeris)


@pytest.mark.parametrize(
    ("crowdsap", "expected"),
    [
        (0.5, Flag.LOW_CROWDSAP),
        (0.9, Flag.CONTAMINANT_EXCLUDED),
        (1.0, Flag.CONTAMINANT_EXCLUDED),
        (np.nan, Flag(0)),
    ],
)
def test_crowding(make_star, trapezoid, make_ephemeris, crowdsap, expected):
    ephemeris = make_ephemeris(**PLAIN, depth_1=0.2, duration_1_h=5.0)
    star = make_star(trapezoid(0.2, 3.1, 1327.2, 5.0, 0.0), crowdsap=0.9)
    star = replace(star, observations=(replace(star.observations[0], crowdsap=crowdsap),))
    found = vet(star, ephemeris)
    assert Flag(found.flags) & (Flag.LOW_CROWDSAP | Flag.CONTAMINANT_EXCLUDED) == expected
    assert np.isfinite(found.contaminant_depth) == (crowdsap < 1)


@pytest.mark.parametrize(("depth", "expected"), [(0.004, True), (0.3, False)])
def test_dips_at_momentum_dumps_are_flagged_unless_too_deep_for_one(
    make_star, trapezoid, make_ephemeris, depth, expected
):
    step, quiet = 1800 / 720, make_star(np.zeros_like).observations[0]  # days between the dumps of these stars
    epoch = float(quiet.time[quiet.quality == 32][17])
    # Every other dump makes a dip of a tenth of a per cent.
    small = trapezoid(0.001, step, epoch, 3.0, 0.0)
    star = make_star(lambda time: trapezoid(depth, 2 * step, epoch, 3.0, 0.0)(time) + small(time))
    ephemeris = make_ephemeris(period=2 * step, epoch=epoch, depth_1=depth, duration_1_h=3.0)
    assert (coincident(star, events(star, ephemeris)).mean() > 0.5) == expected
    assert (Flag.SYSTEMATIC_TIME in flags_of(star, ephemeris)) == expected


def test_background_and_pointing_that_could_make_the_dip_are_seen(make_star, trapezoid, make_ephemeris):
    lost = trapezoid(0.01, 3.1, 1327.0, 4.0, 0.0)
    star = make_star(lost)
    ephemeris = make_ephemeris(period=3.1, epoch=1327.0, depth_1=0.01, duration_1_h=4.0)
    assert coincident(star, events(star, ephemeris)).sum() <= 2  # those at dumps
    (one,) = star.observations
    bright = replace(one, sap_bkg=one.sap_bkg + 3e5 * lost(one.time))
    assert coincident(replace(star, observations=(bright,)), events(star, ephemeris)).all()
    faint = replace(one, sap_bkg=one.sap_bkg + 3e3 * lost(one.time))
    assert coincident(replace(star, observations=(faint,)), events(star, ephemeris)).sum() <= 2
    moved = replace(one, pos_corr_col=one.pos_corr_col + 10 * lost(one.time))
    assert coincident(replace(star, observations=(moved,)), events(star, ephemeris)).all()


def test_a_dip_at_the_edge_of_the_data(make_star, trapezoid, make_ephemeris):
    ephemeris = make_ephemeris(period=20.0, epoch=1325.1, depth_1=0.01, duration_1_h=6.0, period_flag="lower_limit")
    found = flags_of(make_star(trapezoid(0.01, 90.0, 1325.1, 6.0)), ephemeris)
    assert Flag.SYSTEMATIC_TIME | Flag.SINGLE_ECLIPSE in found


def test_dippers_and_unexplained_dips(make_star, trapezoid, make_ephemeris, rng):
    ephemeris = make_ephemeris(**PLAIN, depth_1=0.05, duration_1_h=5.0)
    clean = make_star(trapezoid(0.05, 3.1, 1327.2, 5.0, 0.3))
    assert Flag.IRREGULAR_DIPS not in flags_of(clean, ephemeris) and not dips(clean, [ephemeris])
    sizes = rng.uniform(0.3, 1.7, 20)

    def uneven(time):
        cycle = np.rint((time - 1327.2) / 3.1).astype(int) % 20
        return trapezoid(0.05, 3.1, 1327.2, 5.0, 0.3)(time) * sizes[cycle]

    dipper = make_star(uneven)
    assert are_unequal(dipper, ephemeris) and Flag.IRREGULAR_DIPS in flags_of(dipper, ephemeris)
    second = trapezoid(0.04, 5.3, 1329.0, 5.0, 0.3)
    both = make_star(lambda time: trapezoid(0.05, 3.1, 1327.2, 5.0, 0.3)(time) + second(time))
    other = make_ephemeris(period=5.3, epoch=1329.0, depth_1=0.04, duration_1_h=5.0)
    assert len(dips(both, [ephemeris])) >= 2
    assert Flag.IRREGULAR_DIPS in flags_of(both, ephemeris)
    assert Flag.IRREGULAR_DIPS not in flags_of(both, ephemeris, [other])


def test_what_does_not_repeat_has_no_period(make_star, make_ephemeris):
    ephemeris = make_ephemeris(period=0.8, epoch=1325.3, depth_1=0.1, depth_2=0.1, phase_2=0.5)
    steady = make_star(lambda time: 0.05 * (1 + np.cos(4 * np.pi * (time - 1325.3) / 0.8)))
    assert coherence(steady, ephemeris) > 0.99 and Flag.IRREGULAR_DIPS not in flags_of(steady, ephemeris)
    wandering = make_star(lambda time: 0.05 * (1 + np.cos(4 * np.pi * (time / 0.8 + 0.3 * np.sin(time)))))
    assert Flag.IRREGULAR_DIPS in flags_of(wandering, ephemeris)


def test_dips_no_deeper_than_what_the_star_does_elsewhere(make_star, make_ephemeris):
    def spots(time):
        return 0.01 * np.sin(2 * np.pi * time / 1.37) + 0.006 * np.sin(2 * np.pi * time / 0.61)

    ephemeris = make_ephemeris(period=2.2, epoch=1327.0, depth_1=0.001, duration_1_h=4.0)
    assert Flag.NOISE_LIKE in flags_of(make_star(np.zeros_like, wiggle=spots), ephemeris)


def test_shapes(make_star, trapezoid, make_ephemeris, binary):
    ephemeris = make_ephemeris(**PLAIN, depth_1=0.05, duration_1_h=5.0)
    half = minima(ephemeris)[0].half
    for flat in (0.0, 0.3, 0.8):
        found, excess = flat_bottom(fold(make_star(trapezoid(0.05, 3.1, 1327.2, 5.0, flat)), ephemeris), half)
        assert found == pytest.approx(flat, abs=0.12)
        assert (excess > 0) == (flat > 0.2)
    star, both = binary
    wave, error = ellipsoidal(make_star(lambda t: 0.003 * np.cos(4 * np.pi * (t - 1327.2) / 3.1)), ephemeris)
    assert wave == pytest.approx(0.003, abs=4 * error + 1e-4)
    assert abs(ellipsoidal(star, both)[0]) < 1e-3
    dip, scatter = secondary(make_star(trapezoid(0.05, 1.55, 1327.2, 5.0, 0.8)), ephemeris)
    assert dip == pytest.approx(0.045, abs=0.01) and scatter < 0.005


def test_one_eclipse_and_short_data(make_star, trapezoid, make_ephemeris):
    ephemeris = make_ephemeris(period=9.0, epoch=1328.0, depth_1=0.1, duration_1_h=5.0, period_flag="lower_limit")
    found = flags_of(make_star(trapezoid(0.1, 90.0, 1328.0, 5.0), days=9.0), replace(ephemeris, n_primary=1))
    assert Flag.SINGLE_ECLIPSE | Flag.SHORT_DATA in found
    assert Flag.SYSTEMATIC_TIME not in found


def test_a_sector_without_a_single_cadence_changes_nothing(binary):
    star, ephemeris = binary
    bare = {field: getattr(star.observations[0], field)[:0] for field in ("time", "flux", "flux_err", "quality")}
    hollow = [Observation(sector, 120.0, **bare) for sector in (0, 2)]
    deep = star.observations[0].flux.copy()
    deep[np.abs(star.observations[0].time - 1345.0) < 0.1] *= 0.7  # a dip that the ephemeris does not explain
    full = replace(star.observations[0], flux=deep)
    found = [vet(replace(star, observations=o), ephemeris) for o in ((full,), (hollow[0], full, hollow[1]))]
    assert asdict(found[0]) == pytest.approx(asdict(found[1]), nan_ok=True)


def test_every_flag_has_its_meaning():
    assert len(meanings(sum(Flag))) == len(Flag)
    assert meanings(Flag.ODD_EVEN | Flag.BLENDED)[1].startswith("a neighbour")
    assert [flag.value for flag in Flag] == [1 << bit for bit in range(len(Flag))]


def physical(rng, companion, make_star, make_ephemeris):
    """Return a star of 0.8 to 1.6 solar radii with a limb-darkened companion, and the true ephemeris."""
    period, radius, impact = rng.uniform(1.5, 8), rng.uniform(0.8, 1.6), rng.uniform(0, 0.85)
    if companion == "planet":  # 0.7 to 1.7 Jupiters
        size, bright = rng.uniform(0.072, 0.175), 0.001
    else:  # an M dwarf; the ratio of surface brightness in TESS's band goes with its radius
        size = rng.uniform(0.25, 0.6)
        bright = min(1.0, (size / radius) ** 1.6)
    k, apart = size / radius, 4.2 * period ** (2 / 3) * radius ** (-2 / 3)
    epoch, light = 1325 + rng.uniform(0.5, period), bright * k * k

    def parts(time):
        angle = 2 * np.pi * (time - epoch) / period
        away, ahead = np.hypot(apart * np.sin(angle), impact * np.cos(angle)), np.cos(angle) > 0
        first, second = hidden_fraction(away, 1.0, k, 0.5), hidden_fraction(away / k, 1.0, 1 / k, 0.5)
        return np.where(ahead, first, 0) / (1 + light), np.where(ahead, 0, second) * light / (1 + light)

    star = make_star(lambda time: sum(parts(time)), radius=radius, noise=1e-3, seed=int(rng.integers(1e6)))
    time = star.observations[0].time
    first, second = parts(time)
    x = np.abs((time - epoch + period / 2) % period - period / 2)
    values = {"duration_1_h": 48 * float(x[first > 0].max()), "depth_1": float(first.max())}
    if second.max() > 1e-3:
        seen = {"depth_2": float(second.max()), "phase_2": 0.5, "snr_2": 30, "n_secondary": 4}
        values |= {**seen, "duration_2_h": values["duration_1_h"]}
    return star, make_ephemeris(period=period, epoch=epoch, snr_1=50, **values)


@pytest.mark.parametrize(("companion", "low", "high"), [("planet", 11, 12), ("dwarf", 0, 1)])
def test_planets_and_dwarfs_before_limb_darkened_stars(make_star, make_ephemeris, companion, low, high):
    rng = np.random.default_rng(8)
    found = sum(is_planet_like(*physical(rng, companion, make_star, make_ephemeris)) for _ in range(12))
    assert low <= found <= high


REAL = {
    # TIC: period (Prša et al. 2022; the 21-day one from two sectors), epoch, depth and width by folding
    55652896: (34.5183353, 1331.263, 0.018, 4.9, True),
    160148385: (6.8505104, 1368.008, 0.0141, 2.6, True),
    25155310: (3.288791, 1335.374, 0.0069, 3.4, True),
    38846515: (2.8493839, 1338.159, 0.0074, 3.7, True),
    32150630: (1.4920361, 1337.657, 0.1161, 1.6, False),
    117544915: (2.968452, 1339.195, 0.4134, 5.9, False),
    98853987: (2.7284203, 2146.689, 0.3426, 5.1, False),
    118313102: (9.255727, 1546.319, 0.4485, 6.4, False),
    26801525: (3.8966513, 1780.459, 0.4627, 4.7, False),
    103098373: (20.998, 2747.960, 0.4426, 10.5, False),
}


@pytest.mark.parametrize("tic_id", REAL)
def test_planets_of_real_stars_are_told_from_binaries(real_star, make_ephemeris, tic_id):
    period, epoch, depth, hours, is_planet = REAL[tic_id]
    ephemeris = make_ephemeris(period=period, epoch=epoch, depth_1=depth, duration_1_h=hours, snr_1=50)
    if tic_id == 160148385:  # Prša's period is twice the planet's
        second = {"depth_2": 0.0138, "depth_2_err": 3e-4, "phase_2": 0.501, "n_secondary": 4, "snr_2": 50}
        ephemeris = replace(ephemeris, **second, duration_2_h=hours)
    found = vet(real_star(tic_id), ephemeris)
    flags = Flag(found.flags)
    assert (Flag.PLANET_LIKE in flags) == is_planet
    assert found.centroid_shift_sigma < 3
    assert not flags & (Flag.SYSTEMATIC_TIME | Flag.CENTROID_SHIFT | Flag.LOW_CROWDSAP)


def test_a_crowded_star_with_irregular_changes_is_flagged(real_star, make_ephemeris):
    star = real_star(389363695)
    ephemeris = make_ephemeris(period=4.0, epoch=1341.2, depth_1=0.014, duration_1_h=21.6)
    flags = flags_of(star, ephemeris)
    assert Flag.LOW_CROWDSAP | Flag.IRREGULAR_DIPS in flags
    assert not is_clean(["high"], [flags])[0] and not is_clean(["high"], [flags & ~Flag.IRREGULAR_DIPS])[0]
