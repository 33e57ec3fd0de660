"""Light that varies without eclipses: exposures, spots, sawteeth, transits."""

import numpy as np
import pytest

from pipeline.simulate.light import Light, Waves
from pipeline.simulate.systematics import red_noise
from pipeline.simulate.variables import draw_light, draw_spots


def test_waves_are_averaged_over_exposures():
    waves = Waves(np.array([20.0]), np.array([0.01]), np.array([0.3]), 1325.0)
    time, exposure = np.arange(1325, 1327, 1 / 48), 1 / 48
    inside = (np.arange(200) + 0.5) / 200 - 0.5
    mean = np.mean([waves.flux(time + shift * exposure, 0.0) for shift in inside], axis=0)
    assert np.abs(waves.flux(time, exposure) - mean).max() < 2e-5


def test_slow_light_does_not_depend_on_the_cadence():
    rng = np.random.default_rng(1)
    light = Light((draw_spots(3.0, 0.02, rng),))
    fine = np.arange(1325, 1350, 120 / 86400)
    assert np.interp(fine[::15], fine, light.flux(fine, 0.0)) == pytest.approx(light.flux(fine[::15], 0.0), abs=1e-4)


def test_two_groups_of_spots_put_power_at_half_the_period():
    time, ratios = np.arange(1325, 1350, 0.02), []
    for seed in range(60):
        spots = draw_spots(4.0, 0.02, np.random.default_rng(seed))
        flux = spots.flux(time, 0.0) - 1
        power = [abs(np.sum((flux - flux.mean()) * np.exp(2j * np.pi * time / p))) for p in (4.0, 2.0)]
        ratios.append(power[1] / power[0])
    assert 0.1 < np.mean(np.array(ratios) > 1) < 0.7


def test_rr_lyrae_rise_faster_than_they_fall():
    rises = []
    for seed in range(40):
        light, _, _ = draw_light("RRL", np.random.default_rng(seed))
        curve = light.parts[0]
        top, bottom = curve.phase[np.argmax(curve.light)], curve.phase[np.argmin(curve.light)]
        rises.append((top - bottom) % 1)
        assert 0.05 < np.ptp(curve.light) < 1.5 or np.ptp(curve.light) < 0.8
    assert np.median(rises) < 0.35


def test_planets_transit_in_boxes_without_a_secondary():
    for seed in range(30):
        light, period, t0 = draw_light("PLANET", np.random.default_rng(seed))
        curve = light.parts[0]
        depth = 1 - curve.light.min()
        assert 0 < depth <= 0.025 and curve.light[np.abs(curve.phase - 0.5) < 0.2] == pytest.approx(1)
        assert light.parts[0].flux(np.array([t0, t0 + period / 2]), 0.0) == pytest.approx([1 - depth, 1], abs=1e-6)


def test_red_noise_has_unit_variance_and_its_time_scale():
    time = np.arange(1325, 1352, 0.01)
    noise = [red_noise(time, 0.3, np.random.default_rng(seed)) for seed in range(40)]
    assert np.mean([n.var() for n in noise]) == pytest.approx(1, abs=0.15)
    near, far = (np.mean([np.mean(n[lag:] * n[:-lag]) for n in noise]) for lag in (3, 200))
    assert near > 0.7 and abs(far) < 0.2
