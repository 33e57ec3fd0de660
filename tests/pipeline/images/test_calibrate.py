"""Masks on fields whose cosmic rays, trails and odd pixels are known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.images import background, calibrate, cosmics, trails, variance
from pipeline.images.frame import Bit
from pipeline.images.surveys import DECAM, HST
from tests.pipeline.images import fields


def hits(field: fields.Field, fwhm: float | None) -> np.ndarray:
    level, rms = background.sky(field.data)
    spread = variance.variance(field.data, level, rms, 1.6)
    return cosmics.cosmic_rays(field.data - level, spread, field.data >= 60000, fwhm)


@pytest.mark.parametrize("fwhm", [1.4, 1.8, 2.2, 2.5, 3.5, 6.0])
def test_no_core_of_a_star_is_taken_for_a_cosmic_ray(fwhm: float) -> None:
    field = fields.field(1, fwhm=fwhm, number=300, rays=60)
    found = hits(field, fwhm)
    x, y = np.round(field.x).astype(int), np.round(field.y).astype(int)
    bright = (field.flux > 2000) & ~field.rays[y, x]
    assert bright.sum() > 60 and found[y, x][bright].sum() == 0
    if fwhm >= 1.8:
        assert found[field.rays].mean() > (0.6 if fwhm < 2 else 0.9)


@pytest.mark.parametrize("fwhm", [1.8, 2.6, 3.3, 5.0, None])
def test_nor_near_the_edge_or_where_the_width_is_unknown(fwhm: float | None) -> None:
    rng = np.random.default_rng(5)
    along, off = rng.uniform(0, 255, 60), rng.uniform(-0.5, 5, 60)
    x, y = np.where(np.arange(60) < 30, off, along), np.where(np.arange(60) < 30, along, 255 - off)
    image = 500 + fields.stars((256, 256), x, y, rng.uniform(3e3, 1e5, 60), fwhm or 3.3)
    found = hits(SimpleNamespace(data=(rng.poisson(image * 1.6) / 1.6).astype(np.float32)), fwhm)
    columns, rows = (np.clip(np.round(place).astype(int), 0, 255) for place in (x, y))
    assert found[rows, columns].sum() <= 1


def coarse(field: fields.Field) -> tuple[list[trails.Trail], np.ndarray]:
    level, rms = background.sky(field.data)
    excess = (field.data - level) / rms
    image = trails.Coarse(field.data.shape)
    for y0 in range(0, len(excess), 256):
        image.add(excess[y0 : y0 + 256], field.data[y0 : y0 + 256] < 60000, y0)
    return image.trails(), excess


def test_a_trail_is_found_at_twice_the_noise_a_pixel_and_masked_along_its_length() -> None:
    for seed in range(6):
        field = fields.field(seed, trail=2.0, fwhm=2.5 + seed % 3)
        found, excess = coarse(field)
        assert len(found) == 1
        # In bands, as a large image is worked on.
        mask = np.concatenate([found[0].mask(excess[y0 : y0 + 256], y0) for y0 in (0, 256)])
        assert mask[field.trail].mean() > 0.9
        assert (mask & ~field.trail).mean() < 0.03


def test_a_trail_over_a_corner_is_found() -> None:
    shape = (512, 512)
    field = fields.field(5, shape)
    v, u = np.mgrid[: shape[0], : shape[1]]
    away = np.abs(u + v - 200) / np.sqrt(2)  # 283 px of it
    field.data += (40 * np.exp(-4 * np.log(2) * (away / 3) ** 2)).astype(np.float32)
    found, excess = coarse(field)
    assert len(found) == 1 and found[0].mask(excess, 0)[away < 1].mean() > 0.9


def test_no_trail_is_found_where_there_is_none() -> None:
    assert not [seed for seed in range(50) if coarse(fields.field(seed, (256, 256), 2.5 + seed % 4, 40))[0]]


def test_saturated_stars_are_masked_with_their_bleeds() -> None:
    data = np.random.default_rng(0).normal(500, 20, (200, 200)).astype(np.float32)
    v, u = np.mgrid[:200, :200]
    data += (4e5 * fields.profile(u - 100, v - 100, 4.0)).astype(np.float32)
    data[60:141, 100] += 5000  # what has spilt along the column
    data = np.minimum(data, 20000)
    level, rms = background.sky(data)
    found = calibrate.saturated(data, level, rms, 20000.0, np.zeros(data.shape, np.uint16))
    assert found[100, 100] and found[65:136, 100].all()
    assert found.sum() < 81 + 60 and not found[:, 110:].any() and not found[:55].any()
    assert not calibrate.saturated(data, level, rms, None, np.zeros(data.shape, np.uint16)).any()


def test_hot_and_dead_pixels() -> None:
    field = fields.field(2, (256, 256), 3.0, 60)
    data = field.data
    data[30, 40] += 3000
    data[31, 200] -= 400
    level, rms = background.sky(data)
    found = calibrate.odd_pixels(data, level, rms, 3.0)
    assert found[30, 40] and found[31, 200] and found.sum() == 2


def test_a_noisy_corner_is_an_edge() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(100, 5, (256, 256)).astype(np.float32)
    data[:40, :40] += rng.normal(0, 400, (40, 40)).astype(np.float32)
    level, rms = background.sky(data)
    found = calibrate.edges(data, level, rms)
    assert found[:32, :32].all() and not found[64:].any() and not found[:, 64:].any()


def test_bits_and_codes_of_data_quality_planes() -> None:
    plane = np.array([[0, 4096, 16, 1024 | 4096, 256, 32]], np.int16)
    assert calibrate.quality(plane, HST).tolist() == [
        [0, Bit.COSMIC_RAY, Bit.WEAK, Bit.BAD | Bit.COSMIC_RAY, Bit.SATURATED, Bit.HOT]
    ]
    assert calibrate.quality(np.array([[0, 1, 3, 5, 8, 9]]), DECAM).tolist() == [
        [0, Bit.BAD, Bit.SATURATED, Bit.COSMIC_RAY, Bit.TRAIL, 0]
    ]


def test_filling_takes_the_neighbours_and_leaves_saturated_stars() -> None:
    v, u = np.mgrid[:64, :64].astype(np.float32)
    data, level = 100 + u + 2 * v, np.full((64, 64), 90, np.float32)
    truth, mask = data.copy(), np.zeros(data.shape, np.uint16)
    mask[20, 20], mask[40:42, 40], mask[10, 10], mask[50, 50] = Bit.HOT, Bit.COSMIC_RAY, Bit.SATURATED, Bit.WEAK
    data[mask > 0] = 9999
    calibrate.fill(data, level, mask)
    assert data[20, 20] == pytest.approx(truth[20, 20], abs=0.1) and data[40, 40] == pytest.approx(truth[40, 40], abs=2)
    assert data[10, 10] == 9999 and data[50, 50] == 9999


class Frames:
    """A plane in memory."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.shape = data.astype(np.float32), data.shape

    def counts(self, y0: int, y1: int) -> np.ndarray:
        return self.data[y0:y1]

    rows = counts


def test_bias_dark_and_flat_are_applied_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sky, flat = rng.uniform(50, 60, (40, 50)), rng.uniform(0.8, 1.2, (40, 50))
    frames = calibrate.References(
        Frames(np.full((40, 50), 300.0)), Frames(np.full((40, 50), 8.0)), Frames(flat), dark_s=20.0
    )
    raw = (300 + 8 * 3 + sky * flat).astype(np.float32)
    facts = SimpleNamespace(exptime_s=60.0)
    data = raw[10:20].copy()
    frames.apply(data, (10, 20), SimpleNamespace(applied=frozenset(), facts=facts))
    np.testing.assert_allclose(data, sky[10:20], rtol=1e-5)
    data = raw[10:20].copy()
    frames.apply(data, (10, 20), SimpleNamespace(applied=frozenset({"bias", "dark", "flat"}), facts=facts))
    np.testing.assert_array_equal(data, raw[10:20])
    with pytest.raises(UsageError, match="--bias"):
        frames.check((40, 51))
