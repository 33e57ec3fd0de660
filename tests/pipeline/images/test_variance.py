"""The variance plane, and what is estimated where a header is silent, against known truth."""

import numpy as np
import pytest

from pipeline.images import background, estimates, variance
from tests.pipeline.images import fields


def test_variance_is_that_of_sky_read_noise_and_sources() -> None:
    rng = np.random.default_rng(0)
    gain, read = 1.6, 6.0
    v, u = np.mgrid[:256, :256]
    clean = 300 + 2e6 * fields.profile(u - 128, v - 128, 40.0)
    data = (rng.poisson(clean * gain) / gain + rng.normal(0, read / gain, clean.shape)).astype(np.float32)
    level, rms = (
        np.full(data.shape, 300, np.float32),
        np.full(data.shape, np.sqrt(300 / 1.6 + (6 / 1.6) ** 2), np.float32),
    )
    found = variance.variance(data, level, rms, gain)
    truth = clean / gain + (read / gain) ** 2
    assert np.median(found / truth) == pytest.approx(1, abs=0.02)
    assert np.median((found / truth)[100:156, 100:156]) == pytest.approx(1, abs=0.01)
    # It does not follow the noise of its own pixel.
    noise, follows = ((plane)[100:156, 100:156].ravel() for plane in (data - clean, found - truth))
    assert np.polyfit(noise, follows, 1)[0] < 0.3 / gain
    assert np.std((data - clean) / np.sqrt(found)) == pytest.approx(1, abs=0.02)


def test_a_surveys_own_errors_are_used_where_they_make_sense() -> None:
    data = np.full((64, 64), 10, np.float32)
    error = np.full((64, 64), 3, np.float32)
    error[0, 0], error[0, 1], error[0, 2] = 0, np.nan, np.inf
    found = variance.variance(data, data, np.ones_like(data), 1.0, error)
    assert found[5, 5] == 9 and found[0, :3].tolist() == [1, 1, 1]


def test_variance_is_positive_where_the_sky_has_no_noise() -> None:
    zeros = np.zeros((64, 64), np.float32)
    assert (variance.variance(zeros, zeros, zeros, 1.0) > 0).all()


def test_masked_pixels_grow() -> None:
    values, data, level = (np.full((8, 8), n, np.float32) for n in (4, 30, 10))
    unusable = np.zeros((8, 8), bool)
    unusable[3, 3] = True
    variance.grown(values, data, level, unusable)
    assert values[3, 3] == 40 + 400 and values[0, 0] == 4


@pytest.mark.parametrize("sky", [200.0, 2000.0])
def test_gain_and_read_noise_from_the_sky(sky: float) -> None:
    field = fields.field(4, sky=sky, gain=1.6, read_noise=6.0)
    level, rms = (float(np.median(plane)) for plane in background.sky(field.data))
    assert estimates.gain(level, rms, 6.0) == pytest.approx(1.6, rel=0.05)
    assert estimates.gain(level, rms, None) == pytest.approx(1.6, rel=0.08)
    assert estimates.read_noise(level, rms, 1.6, False) == pytest.approx(6.0, abs=sky / 200)
    assert not estimates.is_subtracted(level, rms, None) and not estimates.is_subtracted(level, rms, 1.6, 6.0)
    assert estimates.is_subtracted(0.3, rms, None) and estimates.is_subtracted(0.3, rms, 1.6, 6.0)


def census(data: np.ndarray) -> estimates.Census:
    made = estimates.Census()
    for y0 in range(0, len(data), 128):
        band = data[y0 : y0 + 128]
        made.count(band, np.isfinite(band))
        made.measure(*background.sky(np.nan_to_num(band)))
    return made


@pytest.mark.parametrize("seed", range(4))
def test_saturation_is_seen_by_the_pile_up_and_not_where_there_is_none(seed: int) -> None:
    free = fields.field(seed, number=200, saturation=1e9).data
    x, y, flux = np.random.default_rng(seed).uniform(20, 490, (3, 12)) * [[1], [1], [2000]] + [[0], [0], [3e5]]
    free += fields.stars(free.shape, x, y, flux, 3.5).astype(np.float32)
    assert estimates.saturation(census(free).top, 500, 19) is None
    rng = np.random.default_rng(seed)
    cut = np.minimum(free, 30000) * rng.normal(1, 0.005, free.shape).astype(np.float32)  # the flat field blurs it
    found = estimates.saturation(census(cut).top, 500, 19)
    assert found is not None and 25000 < found < 30000


def test_what_is_outside_the_covered_area_is_found_by_its_one_value() -> None:
    data = fields.field(1, (256, 256)).data
    assert census(data).empty_value() is None
    data[:, :20] = 0
    assert census(data).empty_value() == 0
    counts = np.random.default_rng(0).poisson(0.05, (256, 256)).astype(np.float32)
    assert census(counts).empty_value() is None


def test_sky_of_few_photons() -> None:
    rng = np.random.default_rng(0)
    for mean in (0.02, 0.3, 4.0):
        data = rng.poisson(mean, (300, 400)).astype(np.float32)
        data[100:104, 100:104] += 30
        level, rms = background.poisson_sky(data)
        assert level.shape == data.shape and float(level.mean()) == pytest.approx(mean, rel=0.06)
        assert float(level.std()) < 0.2 * mean + 0.01 and (rms > 0).all()
