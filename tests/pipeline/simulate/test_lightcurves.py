"""Simulated stars: reproducible, with a truth that their light curves bear out."""

from dataclasses import fields

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.simulate.eclipses import Orbit, hidden_fraction
from pipeline.simulate.lightcurves import SimulatedCurve, observe, simulate_stars
from pipeline.simulate.sector import CADENCES, sector_span
from pipeline.simulate.stars import EB_KINDS, OTHER_KINDS, Star, draw_star, simulated_tic_id


def same(a, b, names):
    return all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=True) for n in names)


def comparable(cls):
    return [f.name for f in fields(cls) if f.name not in ("source", "kind")]


@pytest.fixture(scope="module")
def curves():
    return list(simulate_stars(60, sector=1, seed=5))


def test_a_star_is_the_same_in_any_order(curves):
    alone = observe(draw_star(simulated_tic_id(7, 5), 5), 1, 5)
    assert same(curves[7], alone, comparable(SimulatedCurve))
    shorter = list(simulate_stars(3, sector=1, seed=5))
    assert all(same(a, b, comparable(SimulatedCurve)) for a, b in zip(shorter, curves, strict=False))


def test_a_star_keeps_its_truth_but_not_its_noise(curves):
    other = next(simulate_stars(1, sector=2, seed=5, cadence_s=1800.0))
    assert same(curves[0], other, comparable(Star)) and curves[0].kind == other.kind
    assert not np.array_equal(curves[0].flux[:100], next(simulate_stars(1, sector=1, seed=6)).flux[:100])


def test_kinds_and_labels(curves):
    assert {c.kind for c in curves} == {*EB_KINDS, *OTHER_KINDS}
    assert all((c.label == "EB") == (c.kind in EB_KINDS) == np.isfinite(c.depth_primary) for c in curves)
    assert 0.3 < np.mean([c.label == "EB" for c in curves]) < 0.7
    assert all(c.depth_primary >= c.depth_secondary > 0 for c in curves if c.label == "EB")
    assert {c.label for c in simulate_stars(5, 1, 0, 1800.0, fraction_eb=0.0)} == {"not EB"}
    assert len({c.tic_id for c in curves}) == 60


def test_two_uniform_discs_overlap_as_a_lens():
    r, d = 0.3, np.linspace(0.001, 0.59, 50)
    lens = 2 * r**2 * np.arccos(d / (2 * r)) - d / 2 * np.sqrt(4 * r**2 - d**2)
    assert np.allclose(hidden_fraction(d, r, r, 0.0), lens / (np.pi * r**2), atol=1e-3)
    assert hidden_fraction(np.array([0.0, 0.7]), 0.3, 0.35, 0.5) == pytest.approx([1, 0], abs=1e-12)


@pytest.mark.parametrize("cadence_s", [20.0, 120.0, 1800.0])
def test_long_exposures_smear_eclipses_and_keep_their_area(cadence_s):
    orbit = Orbit(2.0, 0.0, 0.1, 0.08, 0.0, 0.5, 0.4, 0.0, 0.0)
    time = np.arange(-1, 1, cadence_s / 86400)
    light = orbit.flux(time, cadence_s / 86400)
    sharp = orbit.flux(np.arange(-1, 1, 1e-4), 0.0)
    assert 1 - light.mean() == pytest.approx(1 - sharp.mean(), rel=0.02)
    assert light.min() >= sharp.min() - 1e-9


def test_folding_at_the_true_ephemeris_shows_the_true_depths(curves):
    checked = 0
    for c in curves:
        if c.label != "EB" or c.period > 6:
            continue
        good = (c.quality == 0) & np.isfinite(c.flux) & np.isfinite(c.time)
        phase = (c.time[good] - c.t0) / c.period % 1
        flux = c.flux[good]
        level = np.percentile(np.convolve(flux[np.argsort(phase)], np.ones(51) / 51, "valid"), 99.5)
        for centre, depth in ((0.0, c.depth_primary), (0.5, c.depth_secondary)):
            inside = np.abs((phase - centre + 0.5) % 1 - 0.5) < 0.003
            error = np.median(c.flux_err[good]) / np.sqrt(inside.sum()) / level
            assert 1 - np.median(flux[inside]) / level == pytest.approx(depth, abs=0.015 + 3 * error), c.kind
        checked += 1
    assert checked >= 15


def test_noise_is_what_the_error_says(curves):
    quiet = [c for c in curves if c.kind == "QUIET"]
    assert quiet
    for c in quiet:
        good = c.quality == 0
        scatter = np.std(np.diff(c.flux[good])) / np.sqrt(2)
        assert scatter == pytest.approx(np.median(c.flux_err[good]), rel=0.05)


def test_columns_as_in_real_files(curves):
    first, count = sector_span(1)
    assert first == 70444
    for c in curves:
        gap = np.isnan(c.time)
        assert np.all(np.diff(c.cadenceno) == 1) and c.cadenceno.dtype == np.int32
        assert 600 < gap.sum() < 850 and np.all(c.timecorr[gap] == 0) and np.all(c.quality[gap] & 8 == 8)
        assert np.isnan(c.flux[(c.quality & (4 | 8 | 32 | 128 | 4096)) != 0]).all()
        assert np.isfinite(c.flux[c.quality == 0]).all()
        assert np.all(np.diff(c.time[~gap]) > 0)
    assert any((c.quality & 32).any() for c in curves) and any((c.quality & 4096).any() for c in curves)
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


def test_refuses_what_tess_does_not_do():
    with pytest.raises(UsageError, match="300"):
        next(simulate_stars(1, sector=1, seed=0, cadence_s=300.0))
    with pytest.raises(UsageError, match="sector 0"):
        next(simulate_stars(1, sector=0, seed=0))
