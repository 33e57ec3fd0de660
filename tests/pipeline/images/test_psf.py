"""PSFs measured on stars are the true ones."""

import json
import warnings

import numpy as np
import pytest

from pipeline.images.measurement import measure
from pipeline.images.moffat import shape_of, spread
from pipeline.images.psf import Psf
from pipeline.images.stars import Stamps
from tests.pipeline.images.pairs import matched, moffat


def errors(measured, truth):
    """Return the residual over the PSF, both as root mean squares, and the relative error of the equivalent area."""
    half = min(measured.shape[0], truth.shape[0]) // 2
    a, b = (one[one.shape[0] // 2 - half :, one.shape[0] // 2 - half :][: 2 * half + 1, : 2 * half + 1]
            for one in (measured.astype(float), truth))  # fmt: skip
    a, b = a / a.sum(), b / b.sum()
    return np.sqrt(((a - b) ** 2).sum() / (b**2).sum()), (b**2).sum() / (a**2).sum() - 1


def test_it_is_that_of_the_simulation():
    field, _, _, found = matched()
    for name, measured in (("science", found.science_psf), ("reference", found.reference_psf)):
        truth = field.psf(name, 41)
        rest, area = errors(measured.at(224, 200), truth)
        assert rest < 0.01 and abs(area) < 0.02
        assert measured.fwhm(224, 200) == pytest.approx(Psf.given(truth, (400, 448)).fwhm(224, 200), rel=0.01)
        assert measured.at(10, 390).sum() == pytest.approx(1, abs=1e-5) and measured.n_stars > 8


def test_it_varies_as_the_stars_do():
    field, _, _, found = matched(False, 3, variation=0.1)
    assert found.reference_psf.variation > 0.02
    off = []
    for x, y in ((60, 60), (390, 60), (60, 340), (390, 340), (224, 200)):
        truth = Psf.given(field.psf("reference", 41, x, y), (400, 448)).fwhm(0, 0)
        off.append(found.reference_psf.fwhm(x, y) / truth - 1)
    assert np.abs(off).max() < 0.05 and np.std(off) < 0.02


def drawn(count, fwhm=3.0, flux=40_000.0, seed=1, half=20):
    """Return stamps of round stars without neighbours, between pixels, with noise."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(30, 370, count), rng.integers(30, 370, count)
    dx, dy = rng.uniform(-0.5, 0.5, (2, count))
    v, u = np.mgrid[-half : half + 1, -half : half + 1]
    alpha2 = fwhm**2 / (4 * (2 ** (1 / 3.0) - 1))
    r2 = (u - dx[:, None, None]) ** 2 + (v - dy[:, None, None]) ** 2
    light = flux * 2.0 / (np.pi * alpha2) * (1 + r2 / alpha2) ** -3.0
    data = light + rng.normal(0, 1, light.shape) * np.sqrt(100.0 + light)
    stamps = Stamps(x, y, data, np.ones_like(data), np.full(count, 100.0), 1.0, (400, 400))
    return stamps, x + dx, y + dy


def test_stars_are_where_they_are_and_as_bright():
    stamps, x, y = drawn(40)
    measured, stars = measure(stamps, 3.3, 18)
    assert len(stars.index) >= 36 and measured.beta == pytest.approx(3.0, abs=0.3)
    assert np.abs(stars.x - x[stars.index]).max() < 0.05 and np.abs(stars.y - y[stars.index]).max() < 0.05
    inside = 1 - (1 + 18**2 / (9 / (4 * (2 ** (1 / 3) - 1)))) ** -2.0
    assert np.median(stars.flux) == pytest.approx(40_000 * inside, rel=0.005)
    pull = (stars.flux - np.median(stars.flux)) / stars.flux_err
    assert 0.4 < pull.std() < 1.5


def test_what_is_no_star_is_left_out():
    stamps, _, _ = drawn(40)
    grid = np.arange(-20, 21)
    disk = np.exp(-np.hypot(*np.meshgrid(grid, grid)) / 4.0)
    for k in range(5):
        stamps.data[k] = 40_000 * disk / disk.sum() + stamps.data[k] * 0.02
    _, stars = measure(stamps, 3.3, 18)
    assert not np.isin(np.arange(5), stars.index).any() and len(stars.index) >= 30


@pytest.mark.parametrize("count", [0, 1, 2])
def test_without_stars_it_is_a_guess(count):
    stamps, _, _ = drawn(3)
    some = (getattr(stamps, name)[:count] for name in ("x", "y", "data", "weight", "background"))
    stamps = Stamps(*some, 1.0, (400, 400))
    measured, stars = measure(stamps, 3.3, 18)
    assert measured.n_stars == 0 and len(stars.index) == count
    assert measured.fwhm(200, 200) == pytest.approx(3.3, rel=0.05)


def test_where_no_star_holds_it_it_is_an_ellipse_still():
    e1, e2 = np.array([0.3, 0.999, 0.8, 3.0, -40.0]), np.array([-0.2, 0.0, 0.7, 4.0, 9.0])
    a, b, c = shape_of(np.full(5, 0.7), e1, e2)
    assert (a > 0).all() and (a * c - b * b > 0).all()
    size, back1, back2 = spread(a, b, c)
    held = np.hypot(e1, e2) < 1
    np.testing.assert_allclose(size, 0.7, atol=1e-9)
    np.testing.assert_allclose((back1[held], back2[held]), (e1[held], e2[held]), atol=1e-9)
    np.testing.assert_allclose(back2[~held] / back1[~held], e2[~held] / e1[~held], atol=1e-9)
    # a plane over the field of stars that all lie in its middle
    terms = np.array([[0.7, 0.0, 0.0], [0.0, 1.5, 0.0], [0.1, 0.0, 1.2]])
    psf = Psf((400, 400), 12, 3.0, 1, terms, 0, np.zeros((1, 25, 25), np.float32), 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shapes, _ = psf.parameters([200, 5, 390], [200, 5, 200])
        assert psf.at(390, 5).sum() == pytest.approx(1, abs=1e-5)
    assert (shapes[:, 0] > 0).all()


def test_pixels_without_weight_do_not_count():
    stamps, x, _ = drawn(30)
    stamps.data[:, 25:, :] = 1e6
    stamps.weight[:, 25:, :] = 0
    measured, stars = measure(stamps, 3.3, 18)
    assert np.abs(stars.x - x[stars.index]).max() < 0.05
    assert measured.fwhm(200, 200) == pytest.approx(3.0, rel=0.02)


def test_a_given_one_stays_and_text_brings_it_back():
    given = Psf.given(3 * moffat(3.0), (400, 448))
    np.testing.assert_allclose(given.at(5, 300), moffat(3.0), atol=1e-6)
    assert given.variation == 0 and given.fwhm(0, 0) == pytest.approx(3.0, rel=0.01)
    _, _, _, found = matched()
    text = found.science_psf.to_json()
    assert json.loads(text)["half"] == found.science_psf.half
    np.testing.assert_array_equal(Psf.from_json(text).at(100, 50), found.science_psf.at(100, 50))
