"""Light drawn through optics: as much as was asked for, where it was asked for, as wide as the profile says."""

import numpy as np
import pytest
from scipy.integrate import dblquad

from pipeline.simulate.drawing import render
from pipeline.simulate.optics import Optics, ellipse
from pipeline.simulate.profiles import DEVAUCOULEURS, EXPONENTIAL, double_gaussian, moffat

X, Y = np.array([60.3]), np.array([59.8])


def star(profile, fwhm, size=121, flux=1.0, faint=1e-12):
    image = np.zeros((size, size))
    render(image, X, Y, np.array([flux]), profile, ellipse(np.zeros(1), np.zeros(1), np.array([fwhm])), faint)
    return image


@pytest.mark.parametrize(("beta", "fwhm"), [(2.5, 2.5), (3.5, 2.5), (3.5, 4.0), (5.0, 2.0)])
def test_a_star_is_the_moffat_profile_integrated_over_pixels(beta, fwhm):
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)

    def density(y, x):
        return (beta - 1) / np.pi / alpha**2 * (1 + (x * x + y * y) / alpha**2) ** -beta

    image = star(moffat(beta), fwhm)
    for x, y in ((60, 60), (61, 59), (60, 63), (66, 58)):
        box = x - X[0] - 0.5, x - X[0] + 0.5, y - Y[0] - 0.5, y - Y[0] + 0.5
        exact = dblquad(density, *box, epsrel=1e-8)[0]
        assert image[y, x] == pytest.approx(exact, abs=3e-5 * image.max())


@pytest.mark.parametrize("profile", [moffat(2.5), moffat(3.5), double_gaussian(0.2, 3.0)])
def test_no_light_is_lost(profile):
    assert star(profile, 3.0, 401).sum() == pytest.approx(1, abs=1e-4)
    faint = star(profile, 3.0, 401, flux=200.0, faint=0.02)  # so faint that most of its wings are under `faint`
    assert faint.sum() == pytest.approx(200, rel=1e-4)


def test_widths_are_what_they_are_called():
    for profile in (moffat(2.5), moffat(4.7), double_gaussian(0.1, 2.5)):
        light = profile.weight / profile.variance
        assert (light * np.exp(-(0.5**2) / (2 * profile.variance))).sum() == pytest.approx(light.sum() / 2, rel=1e-4)
    for profile in (EXPONENTIAL, DEVAUCOULEURS):
        inside = (profile.weight * (1 - np.exp(-1 / (2 * profile.variance)))).sum()
        assert inside == pytest.approx(0.5, abs=0.03)


def test_a_galaxys_place_and_moments_are_its_own_and_the_optics():
    profile, half_light = double_gaussian(0.0, 2.0), 3.0
    blur, shape = ellipse(0.1, 0.0, 4.0)[None], ellipse(0.0, 0.4, half_light)[None]
    image = np.zeros((201, 201))
    render(image, X + 40, Y + 40, np.array([5.0]), profile, blur, 1e-10, EXPONENTIAL, shape)
    assert image.sum() == pytest.approx(5, rel=1e-4)
    y, x = np.indices(image.shape) - 100.0
    weight = image / image.sum()
    x0, y0 = (weight * x).sum(), (weight * y).sum()
    assert (x0, y0) == pytest.approx((0.3, -0.2), abs=1e-3)
    expected = (profile.weight * profile.variance).sum() * blur[0] + EXPONENTIAL.weight @ EXPONENTIAL.variance * shape[
        0
    ]
    found = [(weight * a * b).sum() for a, b in ((x - x0, x - x0), (x - x0, y - y0), (y - y0, y - y0))]
    np.testing.assert_allclose(found, expected + np.array([1, 0, 1]) / 12, rtol=3e-3)


def test_light_beyond_the_edge_falls_off_the_image():
    image = np.zeros((20, 30))
    one = ellipse(np.zeros(3), np.zeros(3), np.full(3, 4.0))
    render(image, np.array([-3.0, 29.5, 500.0]), np.array([5.0, 19.5, 5.0]), np.ones(3), moffat(3.5), one, 1e-9)
    assert 0.1 < image.sum() < 0.6 and image[:, 0].sum() > image[:, 10].sum() < image[:, -1].sum()


def test_optics_vary_smoothly_by_what_was_asked_for():
    terms = np.random.default_rng(1).normal(size=(3, 5))
    optics = Optics(moffat(3.5), 4.0, (0.05, 0.0), (500, 700), 0.1, 0.03, terms)
    x, y = (axis.ravel().astype(float) for axis in np.meshgrid(np.arange(0, 700, 7), np.arange(0, 500, 5)))
    xx, xy, yy = optics.matrices(x, y).T
    fwhm = (xx * yy - xy**2) ** 0.25
    assert (fwhm.min(), fwhm.max()) == pytest.approx((3.6, 4.4), abs=0.02)
    assert np.abs(np.diff(fwhm.reshape(100, 100), axis=1)).max() < 0.05
    stamp = optics.stamp(30.0, 400.0, 65)
    assert stamp.sum() == pytest.approx(1) and np.unravel_index(stamp.argmax(), stamp.shape) == (32, 32)
    assert np.abs(stamp - stamp[::-1, ::-1]).max() < 1e-6
