"""Fluxes at given places: right between pixels, null where there are none, limits where nothing is seen."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from pipeline.images.forced import calibrated, interpolate, photometry
from pipeline.images.frame import Bit


def test_between_pixels_it_is_scipys_spline():
    rng = np.random.default_rng(2)
    image = rng.normal(size=(40, 50)).astype(np.float32)
    x, y = rng.uniform(0, 49, 200), rng.uniform(0, 39, 200)
    expected = map_coordinates(image.astype(float), [y, x], order=5, mode="mirror")
    assert interpolate(image, x, y) == pytest.approx(expected, abs=2e-4)
    assert np.isnan(interpolate(image, np.array([-1.0, 60, np.nan]), np.array([5.0, 5, 5]))).all()


def test_the_peak_of_a_narrow_significance_is_read_to_three_thousandths():
    y, x = np.mgrid[:64, :64]
    rng = np.random.default_rng(3)
    places, width = rng.uniform(20, 44, (200, 2)), 1.2  # S of a PSF with a FWHM of two pixels
    found = []
    for column, row in places:
        score = 30 * np.exp(-0.5 * ((x - column) ** 2 + (y - row) ** 2) / width**2)
        found.append(interpolate(score.astype(np.float32), np.array([column]), np.array([row]))[0])
    assert np.median(found) == pytest.approx(30, rel=0.003) and np.min(found) > 29.8


def test_fluxes_limits_bits_and_what_cannot_be_used():
    shape = (30, 40)
    score, error, mask = np.full(shape, 2.0, np.float32), np.full(shape, 0.5, np.float32), np.zeros(shape, np.uint16)
    score[:, 20:] = -1.0
    score[:, 30:] = 8.0
    mask[10, 6], mask[10, 26], mask[5, 36] = Bit.COSMIC_RAY, Bit.SATURATED, Bit.WEAK
    x, y = np.array([5.0, 26.0, 25.0, 36.0, 36.0, 90.0]), np.array([10.0, 10, 20, 20, 5, 10])
    table = photometry(x, y, score, error, mask, 2.0)
    assert table["flux"].tolist() == pytest.approx([1, np.nan, -0.5, 4, 4, np.nan], abs=0.01, nan_ok=True)
    assert table["flux_limit"].tolist() == pytest.approx(
        [2.5, np.nan, 1.5, np.nan, np.nan, np.nan], abs=0.01, nan_ok=True
    )
    assert table["flags"].tolist() == [4, 2, 0, 0, 64, 32]
    counts = calibrated(table, None)
    assert counts["mag_ab"].isna().all() and counts["mag_limit"].isna().all() and (counts["flux_unit"] == "count").all()
    sky = calibrated(table, 23.9)
    assert (
        sky["flux"].tolist() == pytest.approx(table["flux"].tolist(), nan_ok=True) and (sky["flux_unit"] == "uJy").all()
    )
    assert sky["mag_ab"][3] == pytest.approx(23.9 - 2.5 * np.log10(4), abs=0.01) and np.isnan(sky["mag_ab"][0])
    assert sky["mag_limit"][0] == pytest.approx(23.9 - 2.5 * np.log10(2.5), abs=0.01)
    assert calibrated(table, 21.4)["flux"][3] == pytest.approx(40, rel=0.01)  # a brighter count is more light
    assert len(photometry(x[:0], y[:0], score, error, mask)) == 0
