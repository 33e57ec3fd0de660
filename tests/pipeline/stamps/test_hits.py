"""Particles' hits in stamps: found, and no star, double star or galaxy taken for one."""

import numpy as np
import pytest

from pipeline.stamps.hits import hits
from tests.pipeline.stamps.files import stars


def moffat(side, x, y, fwhm, flux, beta=2.5):
    """Return a star with wings."""
    rows, columns = np.mgrid[:side, :side]
    a = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    return flux * (beta - 1) / (np.pi * a * a) * (1 + ((columns - x) ** 2 + (rows - y) ** 2) / a**2) ** -beta


@pytest.mark.parametrize("fwhm", [2.0, 2.5, 3.3, 5.0])
@pytest.mark.parametrize("ratio", [0.75, 1.0, 1.5])
def test_no_star_is_a_hit_though_its_width_is_not_that_told(fwhm, ratio):
    rng = np.random.default_rng(1)
    for _ in range(30):
        x, y = 32 + rng.uniform(-0.5, 0.5, 2)
        image = 100 + moffat(64, x, y, max(fwhm * ratio, 1.8), 10 ** rng.uniform(3, 6))
        image += moffat(64, x + rng.uniform(-6, 6), y + rng.uniform(-6, 6), max(fwhm * ratio, 1.8), 1e4)
        image = rng.poisson(image).astype(np.float32)
        assert not hits(image, fwhm).any()


def test_pixels_and_tracks_are_found_also_beside_a_star():
    image = stars((64, 64), [(31.5, 31.5, 2e4)], 4.0)
    image[10, 10] += 500
    for k in range(8):
        image[40 + k, 20 + k] += 800
        image[50, 30 + k] += 800
    found = hits(image, 4.0)
    assert found[10, 10] and found[41:47, 21:27].diagonal().all() and found[50, 31:37].all()
    assert not found[25:38, 25:38].any()
    assert found.sum() <= 20


def test_what_is_not_sampled_or_empty_has_no_hits():
    image = stars((64, 64), [(31.5, 31.5, 2e4)], 1.2)
    assert not hits(image, 1.2).any()
    assert not hits(np.full((64, 64), np.nan, np.float32), 4.0).any()
    assert not hits(np.zeros((64, 64), np.float32), 4.0).any()
