import numpy as np
from scipy.special import j1

from pipeline.stamps.picture import Stamp
from pipeline.stamps.psf import nominal, of_optics
from pipeline.stamps.stars import expected


def _stamp(survey: str, filter: str, pixscale: float, fwhm: float) -> Stamp:
    image = np.zeros((8, 8), np.float32)
    return Stamp(image, image.astype(np.uint8), 1.0, survey, filter, pixscale, 4, 4, fwhm=fwhm)


def test_an_unblurred_pupil_has_its_rings() -> None:
    # A pupil whose middle is covered to 0.3 of its diameter (Born & Wolf): half of the peak at 0.49 λ/D, dark at 1.11.
    disc = 20.0
    row = of_optics(disc, disc).stamp(40)[40, 40:]
    radius = np.arange(1, 41) * np.pi / disc
    field = (j1(radius) - 0.3 * j1(0.3 * radius)) * 2 / radius / (1 - 0.3**2)
    wanted = np.concatenate([[1.0], field**2])
    assert np.abs(row / row[0] - wanted).max() < 0.04
    assert 1.0 < np.argmin(row[:32]) / disc < 1.3


def test_what_is_wider_than_optics_is_blur() -> None:
    sharp, wide = (of_optics(fwhm, 1.3).stamp(10)[10] for fwhm in (1.5, 2.6))
    assert sharp[10] > 1.5 * wide[10]
    half = np.interp(-0.5 * wide[10], -wide[10:], np.arange(11.0))
    assert abs(2 * half - 2.6) < 0.3


def test_optics_are_expected_above_the_air_only() -> None:
    space = expected(_stamp("HST", "F814W", 0.05, 0.1))
    assert space.rest.any() and 1.2 < space.fwhm < 2.2
    for survey, filter, scale, fwhm in (("SDSS", "r", 0.396, 1.3), ("HSCLA", "i", 0.168, 0.58), ("mine", "r", 0.3, 1)):
        ground = expected(_stamp(survey, filter, scale, fwhm))
        assert not ground.rest.any() and np.isclose(ground.fwhm, fwhm / scale)


def test_a_psf_scaled_is_the_one_it_was_made_relative_of() -> None:
    psf = nominal(3.3)
    assert np.allclose(psf.relative(3.3).scaled(3.3).theta, psf.theta)
    assert np.isclose(psf.relative(3.3).fwhm, 1.0)
