"""Eclipses, orbits and close binaries: against formulae, against batman, and in the order of the classes."""

import batman
import numpy as np
import pytest

from pipeline.simulate.binaries import draw_binary, morphology
from pipeline.simulate.eclipses import Orbit, hidden_fraction
from pipeline.simulate.light import PhaseCurve
from pipeline.simulate.roche import CloseBinary, lobe_radius, roche_light


def transit(orbit, r1, r2, limb, time, period=1.0):
    eclipse = orbit.eclipse(0.0, r1, r2)
    lost = hidden_fraction(eclipse.separation, r1, r2, limb)
    return 1 - np.interp(time / period, eclipse.phase, lost, left=0.0, right=0.0)


@pytest.mark.parametrize(
    ("ratio", "impact", "limb", "e", "omega"),
    [
        (0.1, 0.0, 0.4, 0.0, 90.0),
        (0.1, 0.7, 0.6, 0.0, 90.0),
        (0.05, 0.3, 0.0, 0.3, 40.0),
        (0.12, 0.95, 0.3, 0.2, 200.0),
    ],
)
def test_transits_are_batmans(ratio, impact, limb, e, omega):
    r1, time = 0.1, np.linspace(-0.05, 0.05, 2001)
    parameters = batman.TransitParams()
    parameters.t0, parameters.per, parameters.rp, parameters.a = 0.0, 1.0, ratio, 1 / r1
    cos_i = impact * r1 * (1 + e * np.sin(np.radians(omega))) / (1 - e**2)
    parameters.inc, parameters.ecc, parameters.w = np.degrees(np.arccos(cos_i)), e, omega
    # Batman's omega is the star's, for which the planet passes in front at true anomaly pi/2 - omega, as here.
    parameters.limb_dark, parameters.u = "linear", [limb]
    theirs = batman.TransitModel(parameters, time, max_err=0.01).light_curve(parameters)
    ours = transit(Orbit(cos_i, e, np.radians(omega)), r1, r1 * ratio, limb, time)
    assert np.abs(ours - theirs).max() < 1.2e-4 * (1 - theirs.min())
    eclipse = Orbit(cos_i, e, np.radians(omega)).eclipse(0.0, r1, r1 * ratio)
    exact = 1 - hidden_fraction(eclipse.separation, r1, r1 * ratio, limb)
    at_nodes = batman.TransitModel(parameters, np.ascontiguousarray(eclipse.phase), max_err=0.01)
    assert np.abs(exact - at_nodes.light_curve(parameters)).max() < 2e-6 * (1 - theirs.min())


def test_two_uniform_discs_overlap_as_a_lens():
    r, d = 0.3, np.linspace(0.001, 0.59, 50)
    lens = 2 * r**2 * np.arccos(d / (2 * r)) - d / 2 * np.sqrt(4 * r**2 - d**2)
    assert np.allclose(hidden_fraction(d, r, r, 0.0), lens / (np.pi * r**2), atol=1e-8)
    assert hidden_fraction(np.array([0.0, 0.7]), 0.3, 0.35, 0.5) == pytest.approx([1, 0], abs=1e-12)


@pytest.mark.parametrize("cadence_s", [20.0, 120.0, 200.0, 600.0, 1800.0])
def test_exposures_are_means(cadence_s):
    orbit = Orbit(0.01)
    eclipse = orbit.eclipse(0.0, 0.1, 0.08)
    lost = 0.6 * hidden_fraction(eclipse.separation, 0.1, 0.08, 0.4)
    phase = np.r_[0.0, eclipse.phase + 0.5, 1.0]
    curve = PhaseCurve(2.0, 0.0, phase, np.r_[1.0, 1 - lost, 1.0])
    time, exposure = np.arange(0.7, 1.3, cadence_s / 86400), cadence_s / 86400
    inside = (np.arange(600) + 0.5) / 600 - 0.5
    mean = np.interp((time[:, None] + inside * exposure) / 2.0, curve.phase, curve.light).mean(axis=1)
    assert np.abs(curve.flux(time, exposure) - mean).max() < 0.004 * lost.max()


@pytest.mark.parametrize(("e", "omega"), [(0.1, 30.0), (0.3, 75.0), (0.5, 140.0), (0.7, 250.0), (0.85, 10.0)])
def test_eccentric_orbits_are_the_textbooks(e, omega):
    w, r1, r2 = np.radians(omega), 0.03, 0.02
    orbit = Orbit(0.0, e, w)
    first, second = orbit.eclipse(0.0, r1, r2), orbit.eclipse(orbit.opposite, r1, r2)
    # Hilditch (2001), An Introduction to Close Binary Stars, eqs 5.67 and 5.68.
    x = np.pi + 2 * np.arctan(e * np.cos(w) / np.sqrt(1 - e**2))
    assert orbit.opposite == pytest.approx((x - np.sin(x)) / (2 * np.pi) % 1, abs=1e-9)
    ratio = (second.end - second.start) / (first.end - first.start)
    assert ratio == pytest.approx((1 + e * np.sin(w)) / (1 - e * np.sin(w)), rel=0.03)
    # Winn (2010), Exoplanet Transits and Occultations, eqs 14 and 16.
    duration = np.arcsin(r1 + r2) / np.pi * np.sqrt(1 - e**2) / (1 + e * np.sin(w))
    assert first.end - first.start == pytest.approx(duration, rel=0.03)
    assert np.all(np.diff(first.phase) > 0) and np.ptp(orbit.place(np.linspace(0, 1, 4001))[1]) == pytest.approx(
        2 * e, rel=0.01
    )


def test_close_binaries_are_close_binaries():
    phase, light, bare = roche_light(CloseBinary(0.5, 1.2, 1.2, 6000, 6000, 0.05, 0.5, 0.5))
    assert light.max() == 1 and np.all(bare >= light) and np.allclose(light, light[::-1], atol=1e-6)
    assert 0.4 < light[0] < 0.6 and light[300] == pytest.approx(light[0], abs=0.08)
    assert 0.75 < bare.min() < 0.95  # tides alone
    total = roche_light(CloseBinary(0.1, 1.5, 1.5, 6500, 6500, 0.05, 0.5, 0.5))[1]
    assert np.ptp(total[np.abs(phase - 0.5) < 0.03]) < 0.01  # a flat bottom
    # Far inside their lobes stars are round: what is left is the eclipse of two discs of these radii.
    phase, light, bare = roche_light(CloseBinary(1.0, 0.45, 0.45, 6000, 6000, 0.0, 0.5, 0.0))
    assert np.ptp(bare) < 0.012
    assert 1 - light.min() == pytest.approx(0.5, abs=0.03)
    radius = 0.45 * lobe_radius(1.0)
    half = phase[np.flatnonzero(1 - light / bare > 0.005)]
    assert half[half < 0.25].max() == pytest.approx(np.arcsin(2 * radius) / (2 * np.pi), rel=0.15)


def test_morphology_rises():
    widths, shares = np.linspace(0, 0.4, 81), np.linspace(0, 1, 41)
    table = np.array([[morphology(width, share) for share in shares] for width in widths])
    assert np.all(np.diff(table, axis=0) >= 0) and np.all(np.diff(table, axis=1) >= 0)
    assert morphology(0.0, 1.0) == pytest.approx(0.97) and morphology(0.09, 0.1) == pytest.approx(0.45, abs=0.01)


@pytest.fixture(scope="module")
def binaries():
    rng = np.random.default_rng(3)
    return {kind: [draw_binary(kind, rng) for _ in range(40)] for kind in ("EA", "EB", "EW", "ELL", "HB")}


def test_classes_lie_on_the_scale_in_their_order(binaries):
    morph = {kind: np.array([b.morph for b in found]) for kind, found in binaries.items()}
    medians = [np.median(morph[kind]) for kind in ("EA", "EB", "EW", "ELL")]
    assert np.all(np.diff(medians) > 0.05) and medians[0] < 0.4 and 0.55 < medians[1] < 0.72 < medians[2]
    assert morph["EA"].max() < 0.6 and np.isnan(morph["HB"]).all()


def test_what_does_not_eclipse_has_no_eclipse(binaries):
    for kind in ("ELL", "HB"):
        for b in binaries[kind]:
            assert np.isnan([b.depth_1, b.depth_2, b.duration_1, b.duration_2, b.phase_2]).all()
    # Without eclipses a pair in a circle bends its light slowly: no kink between neighbouring phases.
    bends = [np.abs(np.diff(b.curve.light[2:-2], 2)).max() / np.ptp(b.curve.light) for b in binaries["ELL"]]
    assert np.median(bends) < 0.003


def test_truth_is_in_the_light(binaries):
    for kind in ("EA", "EB", "EW"):
        for b in binaries[kind]:
            curve, half = b.curve, b.duration_1 / b.curve.period / 2
            lowest = min(curve.light)
            assert b.depth_1 == pytest.approx(1 - lowest, abs=0.03) and not b.depth_2 > b.depth_1
            beside = np.abs((curve.phase + 0.5) % 1 - 0.5)
            assert curve.light[beside < half / 4].min() == pytest.approx(1 - b.depth_1, abs=0.2 * b.depth_1)
            assert np.isnan(b.phase_2) == np.isnan(b.depth_2) and 0 < 2 * half < 0.5
            if b.eccentricity == 0 and np.isfinite(b.phase_2):
                assert b.phase_2 == pytest.approx(0.5, abs=1e-6)
