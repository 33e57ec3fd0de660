"""Ephemerides of simulated and real stars: right periods, honest errors, honest doubts."""

import re

import numpy as np
import pytest

from catalogs.folder import Folder
from pipeline.lightcurves import tess
from pipeline.lightcurves.eclipses import Events, Shape
from pipeline.lightcurves.ephemeris import find
from pipeline.lightcurves.profile import Profile
from pipeline.lightcurves.rivals import rivals
from pipeline.lightcurves.series import SEARCH_S, flatten, gather
from pipeline.lightcurves.star import Observation, StarCurves
from pipeline.lightcurves.systems import System


def observation(time, flux, sector=1, cadence_s=120.0):
    return Observation(sector, cadence_s, time, flux, np.full(time.size, np.nan), np.zeros(time.size, np.int32))


def star(light, sectors=(1,), noise=1e-3, cadence_s=120.0, seed=0):
    """Observe a function of time in sectors of 26 d with a gap of a day in the middle."""
    rng = np.random.default_rng(seed)
    observations = []
    for sector in sectors:
        start = 1325 + 27.4 * (sector - 1)
        time = np.arange(start, start + 26, cadence_s / 86400)
        time = time[(time < start + 12.5) | (time > start + 13.5)]
        flux = 1000 * (light(time) + noise * rng.normal(size=time.size))
        observations.append(observation(time, flux, sector, cadence_s))
    return StarCurves(1, tuple(observations))


def binary(period, epoch, depths, widths, phase_2=0.5, exposure=120 / 86400):
    """Detached eclipses on constant light."""

    def light(time):
        flux = np.ones(time.size)
        for lag, depth, width in zip((0.0, phase_2), depths, widths, strict=True):
            offset = (time - epoch - lag * period + period / 2) % period - period / 2
            flux -= Profile(depth, width, 0.8, 0.3).loss(offset, np.full(time.size, exposure))
        return flux

    return light


def test_eccentric_orbit_is_measured_within_its_errors():
    (found,) = find(star(binary(5.4321, 1327.0, (0.2, 0.1), (0.2, 0.3), 0.37), (1, 2)))
    assert found.period_flag == "exact" and found.p_period > 0.99 and found.eb_id == 1
    assert found.period == pytest.approx(5.4321, abs=5 * found.period_err)
    cycles = (found.epoch - 1327.0) / 5.4321
    assert (cycles - round(cycles)) * 5.4321 == pytest.approx(0, abs=5 * found.epoch_err)
    assert found.phase_2 == pytest.approx(0.37, abs=5 * found.phase_2_err)
    assert found.depth_1 == pytest.approx(0.2, abs=5 * found.depth_1_err)
    assert found.depth_2 == pytest.approx(0.1, abs=5 * found.depth_2_err)
    assert found.duration_1_h == pytest.approx(4.8, abs=5 * found.duration_1_h_err)
    assert found.duration_2_h == pytest.approx(7.2, abs=5 * found.duration_2_h_err)
    assert found.n_primary + found.n_secondary in range(15, 21)
    assert found.snr_1 > found.snr_2 > 50


def test_equal_eclipses_are_an_unresolved_alias():
    (found,) = find(star(binary(6.2, 1327.0, (0.3, 0.3), (0.2, 0.2))))
    assert found.period_flag == "alias_unresolved"
    assert sorted((found.period, found.period_alt)) == pytest.approx([3.1, 6.2], rel=1e-3)


def test_odd_even_eclipses_tell_the_orbit():
    (found,) = find(star(binary(6.2, 1327.0, (0.3, 0.28), (0.2, 0.2))))
    assert found.period_flag == "exact" and found.period == pytest.approx(6.2, rel=1e-4)
    assert found.phase_2 == pytest.approx(0.5, abs=1e-3)


def test_one_eclipse_gives_a_lower_limit():
    (found,) = find(star(binary(500.0, 1334.0, (0.2, 0.0), (0.3, 0.3))))
    assert found.period_flag == "lower_limit" and np.isnan(found.period_err)
    assert 16 < found.period < 18 and (found.n_primary, found.n_secondary) == (1, 0)
    assert found.epoch == pytest.approx(1334.0, abs=0.01)


def test_missing_eclipses_exclude_fractions():
    """One primary a sector, two sectors apart: only the true fraction of the difference predicts none in the data."""
    (found,) = find(star(binary(20.9, 1330.0, (0.4, 0.3), (0.4, 0.4), 0.78), (1, 8)))
    assert found.period == pytest.approx(20.9, rel=1e-3)


def test_cycles_are_counted_over_years():
    (found,) = find(star(binary(2.7284, 1327.0, (0.3, 0.2), (0.25, 0.25)), (1, 28)))
    assert abs(found.period - 2.7284) * 740 / 2.7284 < 0.1 * 0.25
    (rough,) = find(star(binary(9.31, 1327.0, (0.02, 0.01), (0.3, 0.3)), (1, 60), noise=4e-3))
    assert rough.period_flag == "alias_unresolved" or abs(rough.period - 9.31) * 1600 / 9.31 < 0.03


def test_contact_binary_is_twice_the_lomb_scargle_period():
    def light(time):
        angle = 2 * np.pi * (time - 1325.1) / 0.37
        return 1 - 0.12 * np.cos(2 * angle) - 0.01 * np.cos(angle)

    (found,) = find(star(light, noise=2e-3))
    assert found.period == pytest.approx(0.37, rel=1e-4) and found.period_flag == "exact"
    assert found.depth_1 == pytest.approx(1 - 0.87 / 1.12, abs=0.02)
    (alike,) = find(star(lambda time: 1 + 0.1 * np.cos(4 * np.pi * time / 0.37), noise=2e-3), p_contact=0.9)
    assert alike.period == pytest.approx(0.37, rel=1e-4) and alike.period_alt == pytest.approx(0.185, rel=1e-3)
    assert alike.period_flag == "alias_unresolved"


@pytest.mark.parametrize("cadence_s", [20.0, 1800.0])
def test_other_cadences(cadence_s):
    light = binary(3.7, 1327.0, (0.2, 0.1), (0.25, 0.25), exposure=cadence_s / 86400)
    (found,) = find(star(light, cadence_s=cadence_s))
    assert found.period == pytest.approx(3.7, abs=5 * found.period_err)
    assert found.duration_1_h == pytest.approx(6, abs=0.4) and found.depth_1 == pytest.approx(0.2, abs=0.01)


def test_eclipses_shorter_than_two_cadences():
    """One eclipse has too few samples for a fit: odd ones together, and even ones, have enough."""
    light = binary(0.4641, 1325.2, (0.6, 0.2), (0.05, 0.05), exposure=1800 / 86400)
    (found,) = find(star(light, cadence_s=1800.0))
    assert found.period == pytest.approx(0.4641, rel=1e-4) and found.period_flag == "exact"
    assert found.n_primary > 40 and found.n_secondary > 40


def test_ramps_at_the_edges_are_no_eclipses():
    """Scattered light: deeper than the eclipses, at the beginning and the end of a stretch of data."""
    light = binary(6.995, 1329.0, (0.2, 0.1), (0.35, 0.35))

    def ramped(time):
        near = np.minimum(np.abs(time - 1325.0), np.abs(time - 1338.5))
        return light(time) - 0.4 * np.exp(-near / 0.2)

    (found,) = find(star(ramped, noise=3e-3))
    assert found.period == pytest.approx(6.995, rel=2e-3)


def test_half_an_eclipse_at_an_edge_is_not_a_missing_one():
    """The trend swallows what is left of the third eclipse, which starts as the data stop."""
    light = binary(4.6933, 1328.2, (0.015, 0.0), (0.34, 0.3), exposure=1800 / 86400)

    def ramped(time):
        return light(time) + 0.008 * np.exp(-((time - 1337.35) ** 2) / (2 * 0.1**2))

    (found,) = find(star(ramped, noise=1.5e-3, cadence_s=1800.0))
    assert 4.6933 in (pytest.approx(found.period, rel=2e-3), pytest.approx(found.period_alt, rel=2e-3))


def test_two_eclipses_under_fast_rotation():
    light = binary(12.7, 1329.4, (0.016, 0.0), (0.25, 0.3), exposure=1800 / 86400)

    def spotted(time):
        return light(time) + sum(0.0027 * np.sin(2 * np.pi * time / turn) for turn in (1.1, 1.035, 0.98))

    (found,) = find(star(spotted, noise=8e-4, cadence_s=1800.0))
    assert 12.7 in (pytest.approx(found.period, rel=2e-3), pytest.approx(found.period_alt, rel=2e-3))


def test_sectors_have_scales_of_their_own():
    """Light of neighbours makes all eclipses of a sector deeper: odd and even ones are compared within it."""
    light = binary(8.3, 1327.0, (0.1, 0.09), (0.3, 0.3))
    (found,) = find(star(lambda time: 1 + np.where(time < 1351.5, 1.0, 0.85) * (light(time) - 1), (1, 2)))
    assert found.period_flag == "exact" and found.period == pytest.approx(8.3, rel=1e-4)


def test_minima_that_tides_make_are_timed_as_they_are():
    eclipses = binary(1.383, 1325.3, (0.004, 0.003), (0.12, 0.12))

    def light(time):
        angle = 2 * np.pi * (time - 1325.3) / 1.383
        return eclipses(time) - 0.012 * np.cos(2 * angle) - 0.003 * np.cos(angle)

    (found,) = find(star(light, (1, 2)))
    assert found.period_flag == "exact" and found.period_err < 3e-5
    assert found.period == pytest.approx(1.383, abs=5 * found.period_err)
    assert found.phase_2 == pytest.approx(0.5, abs=0.002)


def test_long_eclipses_count_cycles_by_their_times():
    """A box within an eclipse of two days fits other counts of cycles across two years as well."""
    (found,) = find(star(binary(13.5033, 1330.0, (0.3, 0.12), (1.8, 1.8)), (1, 28)))
    assert found.period_flag == "exact" and found.period == pytest.approx(13.5033, rel=1e-4)


def test_eclipses_without_times_rule_no_rival_out():
    flat = flatten(gather(star(binary(6.2, 1327.0, (0.2, 0.0), (0.3, 0.3))), SEARCH_S))
    number, nan, depth = np.arange(4), np.full(4, np.nan), np.full(4, 0.2)
    events = Events(number, nan, nan, depth, 0.01 * depth, np.ones(4, np.int64), np.zeros(4, np.int64))
    shape = Shape(Profile(0.2, 0.3), 0.2, 0.01, 0.01, 0.0, 0.01, 1.0)
    system = System(6.2, np.nan, np.array([1327.0]), np.array([0.01]), (shape,), (events,), 1.0)
    found = rivals(flat, system)
    assert all(np.isfinite([*found, *found.values()]))


def test_beating_pulsations_are_no_exact_orbit():
    def light(time):
        return 1 + sum(0.01 * np.sin(2 * np.pi * time / cycle) for cycle in (0.61, 0.67, 0.83, 1.01))

    assert all(found.period_flag != "exact" for found in find(star(light)))


def test_two_systems():
    one, two = (
        binary(3.3, 1326.0, (0.2, 0.1), (0.2, 0.2)),
        binary(2.17, 1326.5, (0.05, 0.03), (0.15, 0.15)),
    )
    found = find(star(lambda time: one(time) + two(time) - 1))
    assert [row.eb_id for row in found] == [1, 2]
    assert [row.period for row in found] == pytest.approx([3.3, 2.17], rel=1e-3)


TIME = np.arange(1325, 1352, 120 / 86400)


@pytest.mark.parametrize(
    "observations",
    [
        (),
        (observation(np.zeros(0), np.zeros(0)),),
        (observation(TIME, np.full(TIME.size, np.nan)),),
        (observation(TIME, np.ones(TIME.size)),),
        (observation(TIME, -np.ones(TIME.size)),),
        tuple(observation(np.array([1325.0 + 27 * k]), np.ones(1), k) for k in range(20)),
        (observation(TIME, 1 + 1e-3 * np.random.default_rng(0).normal(size=TIME.size)),),
    ],
    ids=["none", "empty", "nan", "constant", "negative", "one cadence a sector", "noise"],
)
def test_nothing_is_found_in_nothing(observations):
    assert find(StarCurves(1, observations)) == []


def test_deterministic():
    made = star(binary(5.4321, 1327.0, (0.2, 0.1), (0.2, 0.3), 0.37))
    assert repr(find(made)) == repr(find(made))


@pytest.fixture(scope="module")
def real_star(shared_data):
    """Return a function that reads a real star's sectors."""
    folder = shared_data / "lightcurves" / "tess_2min"

    def load(tic_id, *sectors):
        observations = []
        for path in sorted(folder.glob(f"s*/*{tic_id:016d}*.fits")):
            curve = tess.read(Folder(str(folder)), str(path.relative_to(folder)))
            if sectors and curve.facts.sector not in sectors:
                continue
            columns = curve.columns
            keep = np.isfinite(columns["time"])
            time, flux, error = (columns[name][keep].astype(float) for name in ("time", "flux", "flux_err"))
            facts = curve.facts
            observations.append(Observation(facts.sector, facts.cadence_s, time, flux, error, columns["quality"][keep]))
        assert observations, re.escape(str(tic_id))
        return StarCurves(tic_id, tuple(observations))

    return load


def test_long_orbit_of_three_eclipses(real_star):
    (found,) = find(real_star(350298314))
    assert found.period == pytest.approx(47.72, abs=0.02) and found.period_flag == "exact"
    assert found.phase_2 == pytest.approx(0.26, abs=0.005) and (found.n_primary, found.n_secondary) == (1, 2)


def test_orbit_over_a_gap_of_months(real_star):
    (found,) = find(real_star(103098373))
    assert found.period == pytest.approx(20.998, abs=0.003)


def test_one_sector_predicts_the_next(real_star):
    before, after = (find(real_star(118313102, sector))[0] for sector in (8, 9))
    assert before.period == pytest.approx(9.2557, rel=1e-3)
    cycles = round((after.epoch - before.epoch) / before.period)
    late = after.epoch - before.epoch - cycles * before.period
    error = np.sqrt(before.epoch_err**2 + (cycles * before.period_err) ** 2 + after.epoch_err**2)
    assert abs(late) < 3 * error
    assert find(real_star(118313102))[0].phase_2 == pytest.approx(0.4, abs=0.005)


def test_cycle_count_over_two_years(real_star):
    one, other, both = (find(real_star(98853987, *sectors))[0] for sectors in ((4,), (31,), (4, 31)))
    cycles = (other.epoch - one.epoch) / both.period
    assert both.period_flag == "alias_unresolved" or abs(cycles - round(cycles)) < 0.01
    assert both.period == pytest.approx(2.7284, abs=2e-4)
