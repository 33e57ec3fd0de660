"""Motion of the photocentre: sigmas of unit spread where nothing moves, and the right distance where it does."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.lightcurves.centroid import ARCSEC_PER_PIXEL, shift

DIPS = {"depth": 0.2, "period": 3.1, "epoch": 1327.2, "hours": 5.0}


@pytest.fixture(scope="module")
def ephemeris(make_ephemeris):
    """Return the ephemeris of `DIPS`."""
    return make_ephemeris(period=3.1, epoch=1327.2, depth_1=0.2, duration_1_h=5.0)


def test_distance_of_the_source_and_shift_are_right(make_star, trapezoid, ephemeris):
    star = make_star(trapezoid(**DIPS), off=(0.9, -1.2), seed=3)
    moved = shift(star, ephemeris)
    aperture = 0.98 * 0.2
    assert moved.offset == pytest.approx(1.5, abs=0.03)
    assert moved.offset_error < 0.01
    assert moved.pixels == pytest.approx(1.5 * aperture / (1 - aperture), rel=0.03)
    assert moved.arcsec == pytest.approx(moved.pixels * ARCSEC_PER_PIXEL)
    assert moved.sigma > 5 and moved.noise_sigma >= moved.sigma
    # Photocentre less source, in the frame of the detector.
    assert moved.sectors[0].mean == pytest.approx([-0.9, 1.2], abs=0.05)


def test_sigmas_have_unit_spread_where_the_light_is_lost_at_the_photocentre(make_star, trapezoid, make_ephemeris):
    sigmas = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        period, hours, depth = rng.uniform(1.5, 9), rng.uniform(2, 5), 10 ** rng.uniform(-2, -0.4)
        dips = {"depth": depth, "period": period, "epoch": 1326 + rng.uniform(0, period), "hours": hours}
        star = make_star(trapezoid(**dips), seed=100 + seed)
        eclipses = make_ephemeris(period=period, epoch=dips["epoch"], depth_1=depth, duration_1_h=hours)
        sigmas.append(shift(star, eclipses).noise_sigma)
    spread = np.sqrt(np.mean(np.square(sigmas)))
    assert 0.6 < spread < 1.4 and max(sigmas) < 3.5


def test_the_axes_of_sectors_may_differ(make_star, trapezoid, ephemeris):
    one = make_star(trapezoid(**DIPS), off=(0.4, 0.0), seed=5)
    turned = make_star(trapezoid(**DIPS), off=(0.0, -0.4), seed=6)
    moved = shift(replace(one, observations=(*one.observations, *turned.observations)), ephemeris)
    assert len(moved.sectors) == 2
    assert moved.offset == pytest.approx(0.4, abs=0.03)
    assert moved.noise_sigma > shift(one, ephemeris).noise_sigma


def test_crowding_lets_the_star_be_off_the_photocentre(make_star, trapezoid, ephemeris):
    alone = shift(make_star(trapezoid(**DIPS), off=(0.3, 0.0), crowdsap=0.999), ephemeris)
    crowded = shift(make_star(trapezoid(**DIPS), off=(0.3, 0.0), crowdsap=0.6), ephemeris)
    assert alone.sigma > 5 and crowded.sigma < 2 < crowded.noise_sigma


def test_contact_binaries_have_no_level_beside_their_eclipses(make_star, make_ephemeris):
    def lost(time):
        return 0.15 * (1 + np.cos(4 * np.pi * (time - 1325.3) / 0.38))

    eclipses = make_ephemeris(period=0.38, epoch=1325.3, depth_1=0.3, depth_2=0.3, phase_2=0.5, n_secondary=60)
    moved = shift(make_star(lost, off=(0.0, 1.0), seed=2), eclipses)
    assert moved.offset == pytest.approx(1.0, abs=0.1) and moved.sigma > 5
    assert shift(make_star(lost, seed=2), eclipses).noise_sigma < 3.5


def test_without_centroids_nothing_is_known(make_star, trapezoid, ephemeris):
    star = make_star(trapezoid(**DIPS))
    bare = replace(star.observations[0], centroid_col=None, centroid_row=None)
    moved = shift(replace(star, observations=(bare,)), ephemeris)
    assert np.isnan([moved.pixels, moved.sigma, moved.offset]).all() and not moved.sectors


@pytest.mark.parametrize("tic_id", [126890217, 270501383, 413248763])
def test_sigmas_of_dips_put_into_real_quiet_stars(real_star, trapezoid, make_ephemeris, tic_id):
    star, sigmas = real_star(tic_id), []
    rng = np.random.default_rng(tic_id)
    for _ in range(12):
        period, hours = rng.uniform(1.5, 9), rng.uniform(2, 6)
        dips = {"depth": 0.1, "period": period, "epoch": star.observations[0].time[0] + 1, "hours": hours}
        lost = trapezoid(**dips)
        observations = tuple(replace(one, flux=one.flux * (1 - lost(one.time))) for one in star.observations)
        eclipses = make_ephemeris(period=period, epoch=dips["epoch"], depth_1=0.1, duration_1_h=hours)
        sigmas.append(shift(replace(star, observations=observations), eclipses).noise_sigma)
    assert 0.4 < np.sqrt(np.mean(np.square(sigmas))) < 1.7
