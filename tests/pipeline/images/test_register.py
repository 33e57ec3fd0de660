"""Registration: which star is which, and how far the WCSs are off."""

import numpy as np
import pytest

from pipeline.images.align import Warp
from pipeline.images.register import correct, pair_up
from pipeline.simulate.pointing import tangent
from tests.pipeline.images.pairs import matched

SHAPE = (1000, 1200)
REFERENCE = tangent((150.0, 2.2), SHAPE, 0.5)
SCIENCE = tangent((150.0, 2.2), SHAPE, 0.45, 20.0, (3.0, -2.0))
WARP = Warp(REFERENCE, SCIENCE, SHAPE)


def stars(count=200, seed=1):
    rng = np.random.default_rng(seed)
    return rng.uniform(20, 1180, count), rng.uniform(20, 980, count), rng


def test_stars_are_found_again_when_the_wcs_is_off():
    x, y, rng = stars()
    xs, ys = WARP(x, y)
    seen = np.stack([xs + 9.0, ys - 6.5], -1) + rng.normal(0, 0.1, (200, 2))
    # A third of either list is not in the other.
    science = np.concatenate([seen[:130], rng.uniform(20, 1100, (60, 2))])
    i, j, found = pair_up(WARP, science, np.stack([x, y], -1), 15.0)
    true = (i == j) & (i < 130)
    assert true.sum() > 120 and (~true).sum() <= 3
    assert np.abs(np.stack(found(x, y)) - [xs + 9.0, ys - 6.5]).max() < 0.1


@pytest.mark.parametrize("science", [np.zeros((0, 2)), np.array([[5.0, 5.0]])])
def test_few_stars_change_nothing_that_they_cannot_tell(science):
    x, y, _ = stars(5)
    i, j, found = pair_up(WARP, science, np.stack([x, y], -1), 3.0)
    assert len(i) == len(j) == 0 and found is WARP


def test_what_is_corrected_is_what_was_wrong():
    x, y, rng = stars(150)
    u, v = WARP.normalised(x, y)
    wrong = np.stack([0.12 + 0.05 * u, -0.08 + 0.04 * u * v], -1)
    error = np.full(150, 0.02)
    offset = wrong + rng.normal(0, 0.02, (150, 2))
    offset[:6] += rng.uniform(0.5, 2.0, (6, 2))  # movers
    fit = correct(WARP, np.stack([x, y], -1), offset, error)
    assert not fit.used[:6].any() and fit.used.sum() >= 140
    jacobian = WARP.jacobian(x, y)
    moved = np.stack(fit.warp(x, y), -1) - np.stack(WARP(x, y), -1)
    left = np.linalg.solve(jacobian, moved[..., None])[..., 0] - wrong
    assert np.sqrt((left**2).mean()) < 0.01
    np.testing.assert_allclose(fit.rms, 0.02, rtol=0.25)
    assert (fit.jitter < 0.01).all()


def test_scatter_that_no_error_explains_is_jitter():
    x, y, rng = stars(200)
    error = np.full(200, 0.01)
    offset = rng.normal(0, np.hypot(0.01, 0.05), (200, 2))
    fit = correct(WARP, np.stack([x, y], -1), offset, error)
    np.testing.assert_allclose(fit.jitter, 0.05, rtol=0.25)


@pytest.mark.parametrize("misregistration", [0.0, 0.1, 0.7])
def test_a_shift_is_told_to_a_hundredth_of_a_pixel(misregistration):
    field, science, reference, found = matched(False, 2, misregistration=misregistration)
    # Where light falls and where the headers say it does, in the middle of the reference.
    x, y = np.array([223.5]), np.array([199.5])
    claimed = Warp(reference.wcs, science.wcs, reference.shape)(x, y)
    true = np.concatenate(field.pointing.to_science(x, y)) - np.concatenate(claimed)
    assert np.hypot(*true) == pytest.approx(misregistration, abs=1e-3)
    assert np.abs(found.offset - true).max() < 0.01
    assert (found.rms < 0.06).all() and (found.jitter < 0.03).all() and found.n_stars > 20
