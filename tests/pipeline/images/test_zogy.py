"""Subtraction of a tile: the paper's formulae in single precision, and what they promise."""

import numpy as np
import pytest

from pipeline.images.zogy import Filters
from tests.benchmarks import direct
from tests.pipeline.images.pairs import moffat

SHAPE = (160, 192)
NEW, REF = moffat(4.0, ellipticity=0.05), moffat(2.5)
NOISE_N, NOISE_R, RATIO = 17.0, 6.0, 1.7
MIDDLE = (80, 96)


def noise(seed, shape=SHAPE):
    rng = np.random.default_rng(seed)
    return tuple((scale * rng.standard_normal(shape)).astype(np.float32) for scale in (NOISE_N, NOISE_R))


def variances(shape=SHAPE):
    return np.full(shape, NOISE_N**2, np.float32), np.full(shape, NOISE_R**2, np.float32)


def put(image, psf, y, x, flux):
    half = psf.shape[0] // 2
    image[y - half : y + half + 1, x - half : x + half + 1] += flux * psf


def scene(seed=1):
    """Return both images and variances of ten stars of constant light and one new source."""
    (new, ref), (v_n, v_r) = noise(seed), variances()
    rng = np.random.default_rng(seed)
    for _ in range(10):
        y, x, flux = rng.integers(25, 135), rng.integers(25, 165), 10 ** rng.uniform(2, 5)
        for image, variance, psf, scale in ((new, v_n, NEW, 1.0), (ref, v_r, REF, RATIO)):
            put(image, psf, y, x, scale * flux)
            put(variance, psf, y, x, scale * flux / 1.5)
    put(new, NEW, *MIDDLE, 900.0)
    return new, ref, v_n, v_r


@pytest.fixture(scope="module")
def filters():
    return Filters(SHAPE, NEW, REF, NOISE_N, NOISE_R, RATIO)


@pytest.mark.parametrize("jitter", [(0.0, 0.0), (0.1, 0.04)])
def test_it_is_the_papers(filters, jitter):
    planes = scene()
    truth = direct.zogy(*planes[:2], NEW, REF, NOISE_N, NOISE_R, *planes[2:], RATIO, jitter)
    ours = filters.apply(*planes, jitter)
    assert np.abs(ours.significance - truth.significance).max() < 2e-3
    np.testing.assert_allclose(ours.flux_err, truth.flux_err, rtol=2e-3)
    assert np.abs(ours.difference - truth.difference).max() < 1e-4 * np.abs(truth.difference).max()
    np.testing.assert_allclose(filters.psf_d, truth.psf_d, atol=1e-5)
    flux = ours.significance * ours.flux_err
    assert np.abs(flux - truth.flux).max() < 1e-3 * np.abs(truth.flux).max()


def test_the_noise_of_a_difference_is_white_and_a_significance_is_one():
    shape = (512, 512)
    filters = Filters(shape, NEW, REF, NOISE_N, NOISE_R, RATIO)
    made = filters.apply(*noise(2, shape), *variances(shape))
    spread = made.difference.std()
    assert spread == pytest.approx(np.hypot(NOISE_N, NOISE_R / RATIO), rel=0.01)
    for lag in ((0, 1), (1, 0), (1, 1), (2, -1), (4, 3)):
        assert abs((made.difference * np.roll(made.difference, lag, (0, 1))).mean()) < 0.01 * spread**2
    assert made.significance.std() == pytest.approx(1.0, abs=0.02)
    assert (np.abs(made.significance) > 5.5).sum() == 0


@pytest.mark.parametrize("flux", [900.0, -900.0])
def test_a_source_is_as_significant_as_its_flux_over_its_error(filters, flux):
    image = np.zeros(SHAPE, np.float32)
    put(image, NEW, *MIDDLE, flux)
    made = filters.apply(image, np.zeros(SHAPE, np.float32), *variances())
    assert np.unravel_index(np.abs(made.significance).argmax(), SHAPE) == MIDDLE
    assert made.significance[MIDDLE] == pytest.approx(flux / made.flux_err[MIDDLE], rel=1e-3)
    # The same source in the reference alone is as much of the other sign.
    other = np.zeros(SHAPE, np.float32)
    put(other, REF, *MIDDLE, RATIO * flux)
    fading = filters.apply(np.zeros(SHAPE, np.float32), other, *variances())
    assert fading.significance[MIDDLE] == pytest.approx(-made.significance[MIDDLE], rel=1e-3)
    # In both it is nothing.
    constant = filters.apply(image, other, *variances())
    assert np.abs(constant.significance).max() < 1e-3 * abs(made.significance[MIDDLE])


def test_swapped_images_give_the_same_with_the_other_sign(filters):
    new, ref, v_n, v_r = scene(3)
    back = Filters(SHAPE, REF, NEW, NOISE_R, NOISE_N, 1 / RATIO)
    one, two = filters.apply(new, ref, v_n, v_r), back.apply(ref, new, v_r, v_n)
    assert np.abs(one.significance + two.significance).max() < 5e-3
    np.testing.assert_allclose(two.flux_err, RATIO * one.flux_err, rtol=1e-3)
    np.testing.assert_allclose(
        two.difference, -RATIO * one.difference, atol=2e-4 * RATIO * np.abs(one.difference).max()
    )


def test_the_response_is_that_of_a_point(filters):
    assert filters.psf_d.sum() == pytest.approx(1.0, abs=1e-4)
    assert filters.response[0, 0] == pytest.approx(1.0, abs=1e-4) and filters.response.max() == filters.response[0, 0]
    image = np.zeros(SHAPE, np.float32)
    image[MIDDLE] = 1.0
    made = filters.apply(image, np.zeros(SHAPE, np.float32), *variances())
    np.testing.assert_allclose(np.roll(filters.delta_n, MIDDLE, (0, 1)), made.difference, atol=1e-5)


def test_registration_errors_lower_what_bright_stars_leave(filters):
    new, ref, v_n, v_r = scene(4)
    plain, careful = (filters.apply(new, ref, v_n, v_r, jitter) for jitter in ((0.0, 0.0), (0.2, 0.2)))
    assert (careful.flux_err >= plain.flux_err * 0.9999).all()
    # On the top of a source, where its slope is none, nothing is lost.
    assert careful.significance[MIDDLE] == pytest.approx(plain.significance[MIDDLE], rel=0.05)


def test_smoothed_images_are_as_significant():
    """An image that was smoothed has noise that is not white; told so, S is what it was."""
    shape = (256, 256)
    ky, kx = np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :]
    transfer = np.exp(-2 * np.pi**2 * 0.8**2 * (ky**2 + kx**2)).astype(np.float32)

    def smooth(image):
        return np.fft.irfft2(np.fft.rfft2(image) * transfer, s=shape).astype(np.float32)

    new, ref = noise(5, shape)
    put(new, NEW, 128, 128, 2000.0)
    wide = np.zeros(shape, np.float32)
    put(wide, NEW, 128, 128, 1.0)
    blurred = smooth(wide)[128 - 20 : 128 + 21, 128 - 20 : 128 + 21]
    filters = Filters(shape, blurred, REF, NOISE_N, NOISE_R, RATIO, transfer, None)
    made = filters.apply(smooth(new), ref, *variances(shape))
    away = np.ones(shape, bool)
    away[100:156, 100:156] = False
    assert made.significance[away].std() == pytest.approx(1.0, abs=0.03)
    plain = Filters(shape, NEW, REF, NOISE_N, NOISE_R, RATIO).apply(new, ref, *variances(shape))
    assert made.flux_err[128, 128] == pytest.approx(plain.flux_err[128, 128], rel=0.02)
    assert made.significance[128, 128] == pytest.approx(plain.significance[128, 128], abs=0.5)


def test_variances_may_span_many_powers_of_ten(filters):
    new, ref, v_n, v_r = scene(6)
    v_n[20:26, 20:26] = 3e8
    truth = direct.zogy(new, ref, NEW, REF, NOISE_N, NOISE_R, v_n, v_r, RATIO)
    made = filters.apply(new, ref, v_n, v_r)
    assert np.isfinite(made.significance).all() and (made.flux_err > 0).all()
    np.testing.assert_allclose(made.flux_err[60:], truth.flux_err[60:], rtol=0.01)
