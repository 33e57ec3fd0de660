"""Simulated stars: reproducible, with a truth that their light curves bear out, and noise and gaps as of real ones."""

from dataclasses import fields

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.simulate.lightcurves import PhotometryCurve, SimulatedCurve, observe, simulate_stars
from pipeline.simulate.sector import CADENCES, sector_span
from pipeline.simulate.stars import EB_KINDS, OTHER_KINDS, Star, draw_star, simulated_tic_id

KINDS = (*EB_KINDS, *OTHER_KINDS)


def same(a, b, names):
    return all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=True) for n in names)


def comparable(cls):
    return [f.name for f in fields(cls) if f.name not in ("source", "kind", "klass")]


def good(curve):
    return (curve.quality == 0) & np.isfinite(curve.flux) & np.isfinite(curve.time)


@pytest.fixture(scope="module")
def curves():
    return list(simulate_stars(80, sector=1, seed=5))


def test_a_star_is_the_same_in_any_order(curves):
    alone = observe(draw_star(simulated_tic_id(7, 5), 5), 1, 5)
    assert same(curves[7], alone, comparable(SimulatedCurve))
    shorter = list(simulate_stars(3, sector=1, seed=5))
    assert all(same(a, b, comparable(SimulatedCurve)) for a, b in zip(shorter, curves, strict=False))


def test_a_star_keeps_its_truth_but_not_its_noise(curves):
    other = next(simulate_stars(1, sector=2, seed=5, cadence_s=1800.0))
    assert same(curves[0], other, comparable(Star)) and curves[0].kind == other.kind
    assert not np.array_equal(curves[0].flux[:100], next(simulate_stars(1, sector=1, seed=6)).flux[:100])


def test_photometry_alone_is_the_same(curves):
    for index in (0, 11):
        alone = observe(draw_star(simulated_tic_id(index, 5), 5), 1, 5, columns="photometry")
        assert type(alone) is PhotometryCurve and same(alone, curves[index], comparable(PhotometryCurve))


def test_kinds_and_labels(curves):
    assert {c.kind for c in curves} <= set(KINDS) and len({c.kind for c in curves}) > 10
    for c in curves:
        assert (c.label == "EB") == (c.kind in EB_KINDS) == np.isfinite(c.depth_primary)
        assert c.klass == (c.kind if c.kind in (*EB_KINDS, "ELL") else "")
        assert np.isfinite(c.morph) == (c.klass != "")
    assert 0.3 < np.mean([c.label == "EB" for c in curves]) < 0.7
    assert all(
        c.depth_primary >= 0.001 and not c.depth_secondary > c.depth_primary for c in curves if c.klass in EB_KINDS
    )
    assert {c.label for c in simulate_stars(5, 1, 0, 1800.0, fraction_eb=0.0)} == {"not EB"}
    assert len({c.tic_id for c in curves}) == 80


def test_the_population_is_wide():
    stars = [draw_star(simulated_tic_id(n, 11), 11, kinds=["EA", "EW"]) for n in range(300)]
    ea, ew = ([s for s in stars if s.kind == kind] for kind in ("EA", "EW"))
    periods, depths = np.array([s.period for s in ea]), np.array([s.depth_primary for s in ea])
    assert periods.min() < 1 and periods.max() > 50 and depths.min() < 0.005 and depths.max() > 0.4
    assert 0.2 < np.mean([s.eccentricity > 0 for s in ea]) < 0.6
    assert np.mean([np.isfinite(s.phase_2) and abs(s.phase_2 - 0.5) > 0.02 for s in ea]) > 0.1
    assert any(np.isnan(s.phase_2) for s in ea)
    assert np.median([s.period for s in ew]) < 0.6 and min(s.period for s in ew) >= 0.2


def test_folding_at_the_true_ephemeris_shows_the_true_depths():
    checked = 0
    for index in range(40):
        star = draw_star(simulated_tic_id(index, 21), 21, kinds=EB_KINDS)
        if star.period > 6 or star.tmag > 13:
            continue
        light = star.source.parts[0].flux(np.linspace(star.t0, star.t0 + star.period, 20001), 0.0)
        assert 1 - light[0] / light.max() == pytest.approx(star.depth_primary, abs=0.02 + 0.1 * star.depth_primary)
        c = observe(star, 1, 21)
        phase, flux = ((c.time - c.t0) / c.period % 1)[good(c)], c.flux[good(c)] / np.median(c.flux[good(c)])
        centres = [0.0] + ([c.phase_2] if np.isfinite(c.phase_2) else [])
        for centre, depth in zip(centres, (c.depth_primary, c.depth_secondary), strict=False):
            half = 0.1 * c.duration_1 / c.period
            inside = np.abs((phase - centre + 0.5) % 1 - 0.5) < half
            expected = np.interp(((c.time[good(c)] - c.t0) / c.period) % 1, np.linspace(0, 1, 20001), light)[inside]
            if inside.sum() > 20 and depth > 0.05:
                swing = 0.35 * depth + 0.05 + 0.3 * (1 - c.crowdsap)
                assert np.median(flux[inside]) == pytest.approx(np.median(expected) / np.median(light), abs=swing)
                checked += 1
    assert checked >= 10


def test_noise_is_what_the_error_says():
    ratios = []
    for index in range(30):
        c = observe(draw_star(simulated_tic_id(index, 5), 5, kinds=["QUIET"]), 1, 5)
        scatter = 1.4826 * np.median(np.abs(np.diff(c.flux[good(c)]))) / np.sqrt(2)
        ratios.append(scatter / np.median(c.flux_err[good(c)]))
    assert 0.92 < np.median(ratios) < 1.08 and min(ratios) > 0.7 and max(ratios) < 2.0


def test_noise_at_30_minutes_is_that_of_real_stars():
    # Point-to-point scatter of 1786 quiet TESS-SPOC stars by flux in e-/s: quartiles of the real ones in ppm.
    real = {(5e3, 1e4): (370, 425), (1e4, 2e4): (285, 345), (2e4, 6e4): (185, 236), (6e4, 3e5): (107, 140)}
    found = {key: [] for key in real}
    for index in range(260):
        star = draw_star(simulated_tic_id(index, 9), 9, kinds=["QUIET"])
        if not 6.5 < star.tmag < 11.5:
            continue
        c = observe(star, 14, 9, 1800.0, columns="photometry")
        flux = c.flux[good(c)]
        scatter = 1.4826 * np.median(np.abs(np.diff(flux))) / np.sqrt(2) / np.median(flux)
        for low, high in real:
            if low < np.median(flux) < high:
                found[low, high].append(1e6 * scatter)
    for key, (lower, upper) in real.items():
        assert len(found[key]) > 8 and 0.8 * lower < np.median(found[key]) < 1.25 * upper, key


def test_systematics_show_in_some_and_are_small_in_most():
    swings = {}
    for kind in ("QUIET", "SYST"):
        swings[kind] = []
        for index in range(40):
            star = draw_star(simulated_tic_id(index, 13), 13, kinds=[kind])
            c = observe(star, 2, 13, 600.0, columns="photometry")
            flux = c.flux[good(c)] / np.median(c.flux[good(c)])
            smooth = np.convolve(flux, np.ones(36) / 36, "valid")
            noise = 1.48 * np.median(np.abs(np.diff(flux))) / np.sqrt(2) / 6
            swings[kind].append((np.percentile(smooth, 98) - np.percentile(smooth, 2)) / noise)
    assert np.median(swings["QUIET"]) < 10 and np.median(swings["SYST"]) > 3 * np.median(swings["QUIET"])


def test_columns_as_in_real_files(curves):
    first, count = sector_span(1)
    assert first == 70444 and count == 20076
    for c in curves:
        gap = np.isnan(c.time)
        assert np.all(np.diff(c.cadenceno) == 1) and c.cadenceno.dtype == np.int32
        assert np.all(c.timecorr[gap] == 0) and np.all(c.quality[gap] & 8 == 8)
        assert np.isnan(c.flux[(c.quality & (4 | 8 | 32 | 128 | 4096)) != 0]).all()
        assert np.isfinite(c.flux[c.quality == 0]).all() and np.isfinite(c.sap_flux[c.quality == 0]).all()
        assert np.all(np.diff(c.time[~gap]) > 0)
    assert any((c.quality & 512).any() for c in curves) and any((c.quality & 4096).any() for c in curves)
    assert any(c.time.size < count for c in curves)  # some start late or end early


def test_targets_of_a_ccd_share_the_spacecraft_clock(curves):
    by_ccd = {}
    for c in curves:
        clock = by_ccd.setdefault((c.camera, c.ccd), {})
        for n, t in zip(c.cadenceno[::997].tolist(), (c.time - c.timecorr)[::997], strict=True):
            assert np.isnan(t) or abs(clock.setdefault(n, t) - t) < 1e-11
    assert len(by_ccd) > 4


@pytest.mark.parametrize("cadence_s", CADENCES)
def test_cadences(cadence_s):
    c = next(simulate_stars(1, sector=27, seed=1, cadence_s=cadence_s))
    assert np.nanmedian(np.diff(c.time)) == pytest.approx(cadence_s / 86400, rel=1e-4)
    assert np.nanmin(c.time) == pytest.approx(2036.0, abs=1.5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_at_every_cadence(kind):
    for number, cadence_s in enumerate(CADENCES):
        star = draw_star(simulated_tic_id(number, 2), 2, kinds=[kind])
        c = observe(star, 1 + 7 * number, 2, cadence_s, columns="photometry")
        assert star.kind == kind and good(c).mean() > 0.3
        assert np.isfinite(c.flux_err[good(c)]).all() and np.median(c.flux[good(c)]) > 0
        assert (c.n_eclipses > 0) <= (kind in EB_KINDS)


def test_eclipses_in_the_data_are_counted():
    for index in range(12):
        star = draw_star(simulated_tic_id(index, 31), 31, kinds=["EA"])
        c = observe(star, 1, 31, columns="photometry")
        time, count = c.time[good(c)], 0
        for phase in (0.0, c.phase_2):
            for cycle in range(-400, 400) if np.isfinite(phase) else ():
                middle = c.t0 + (cycle + phase) * c.period
                count += bool(np.abs(time - middle).min() <= 60.01 / 86400)
        assert c.n_eclipses == count


def test_refuses_what_tess_does_not_do():
    with pytest.raises(UsageError, match="300"):
        next(simulate_stars(1, sector=1, seed=0, cadence_s=300.0))
    with pytest.raises(UsageError, match="sector 0"):
        next(simulate_stars(1, sector=0, seed=0))
    with pytest.raises(UsageError, match="COMET"):
        draw_star(simulated_tic_id(1, 1), 1, kinds=["EA", "COMET"])
