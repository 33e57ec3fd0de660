"""Sources of fields with known stars: found, placed, measured and told apart."""

import numpy as np
import pytest
import sep
from scipy.spatial import cKDTree

from pipeline.images import background, sources, variance
from pipeline.images.frame import Bit, Facts, Frame
from tests.pipeline.images import fields


def frame_of(field: fields.Field) -> tuple[Frame, np.ndarray, np.ndarray]:
    level, rms = background.sky(field.data)
    mask = np.zeros(field.data.shape, np.uint16)
    mask[field.data >= 60000] = Bit.SATURATED
    return Frame(field.data, variance.variance(field.data, level, rms, 1.6), mask, None, Facts()), level, rms


@pytest.mark.parametrize("fwhm", [1.5, 2.0, 2.5, 3.5, 5.0, 7.0])
def test_the_width_of_stars_is_right_to_a_few_percent_among_cosmic_rays_and_galaxies(fwhm: float) -> None:
    field = fields.field(3, fwhm=fwhm, number=150, rays=40)
    rng = np.random.default_rng(9)
    for x, y in rng.uniform(40, 470, (12, 2)):  # galaxies of all sizes
        v, u = np.mgrid[:512, :512]
        r = np.hypot(u - x, (v - y) / 0.7) / (fwhm * rng.uniform(0.7, 2))
        field.data += (rng.uniform(50, 600) * np.exp(-r)).astype(np.float32)
    frame, level, rms = frame_of(field)
    found, number = sources.width_of_stars(frame, level, sources.detect(frame, level, rms))
    assert number >= 5 and found == pytest.approx(fwhm, rel=0.05)


def test_stars_are_placed_and_told_from_cosmic_rays_and_galaxies() -> None:
    field = fields.field(7, fwhm=3.0, number=200, rays=60)
    rng = np.random.default_rng(2)
    galaxies = rng.uniform(30, 480, (20, 2))
    for x, y in galaxies:
        v, u = np.mgrid[:512, :512]
        field.data += (500 * np.exp(-np.hypot(u - x, v - y) / rng.uniform(2.5, 8))).astype(np.float32)
    frame, level, rms = frame_of(field)
    table = sources.detect(frame, level, rms)
    assert list(table) == list(sources.COLUMNS) and table["y"].is_monotonic_increasing
    table = sources.classify(table, sources.width_of_stars(frame, level, table)[0])
    stars = table[table["is_star"]]
    away, which = cKDTree(np.c_[field.x, field.y]).query(stars[["x", "y"]].to_numpy())
    assert len(stars) > 25 and (away > 1).mean() < 0.05
    assert cKDTree(galaxies).query(stars[["x", "y"]].to_numpy())[0].min() > 2
    bright = (away < 1) & (stars["snr"] > 100).to_numpy()
    assert np.sqrt((away[bright] ** 2).mean() / 2) < 0.03
    # Of the circle's share of a Moffat profile; of what it holds the errors tell.
    assert np.median(stars["flux"][bright] / field.flux[which][bright]) == pytest.approx(0.93, abs=0.06)
    assert np.median(stars["fwhm"]) == pytest.approx(3.0, rel=0.05)


def test_an_empty_field_has_no_sources() -> None:
    field = fields.field(0, (128, 128), number=0)
    frame, level, rms = frame_of(field)
    table = sources.detect(frame, level, rms)
    assert len(table) == 0 and list(table) == list(sources.COLUMNS)
    assert sources.width_of_stars(frame, level, table) == (None, 0)
    assert len(sources.classify(table, None)) == 0


def test_masked_pixels_are_told() -> None:
    field = fields.field(5, (256, 256), number=20)
    frame, level, rms = frame_of(field)
    brightest = int(np.argmax(field.flux))
    x, y = round(field.x[brightest]), round(field.y[brightest])
    frame.mask[y, x] |= np.uint16(Bit.HOT)
    table = sources.detect(frame, level, rms)
    near = table[np.hypot(table["x"] - x, table["y"] - y) < 2]
    assert (near["mask"] & int(Bit.HOT)).all() and not (table.drop(near.index)["mask"] & int(Bit.HOT)).any()


def galaxy() -> tuple[Frame, np.ndarray, np.ndarray]:
    """Return an image that one galaxy fills, with stars all over it; sky and noise are given."""
    field = fields.field(5, (700, 700), number=120)
    y, x = np.mgrid[:700, :700]
    data = field.data + (20000 * np.exp(-np.hypot(x - 350, y - 350) / 200)).astype(np.float32)
    level, rms = np.full_like(data, 500), np.full_like(data, 18)
    return Frame(data, rms**2, np.zeros(data.shape, np.uint16), None, Facts()), level, rms


def test_a_galaxy_that_fills_the_image_is_no_error() -> None:
    frame, level, rms = galaxy()
    assert (frame.data - level > 5 * rms).sum() > 300_000
    table = sources.detect(frame, level, rms)
    assert np.hypot(table["x"] - 350, table["y"] - 350).min() < 1 and np.isfinite(table["flux"]).all()


def test_a_source_of_more_parts_than_can_be_told_is_left_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, level, rms = galaxy()
    for x, y in np.random.default_rng(3).integers(60, 640, (300, 2)):
        frame.data[y - 1 : y + 2, x - 1 : x + 2] += 5000
    levels, extract = [], sep.extract
    monkeypatch.setattr(sources, "_PARTS", 4)
    monkeypatch.setattr(sep, "extract", lambda *a, **k: levels.append(k["deblend_nthresh"]) or extract(*a, **k))
    assert len(sources.detect(frame, level, rms)) == 1 and levels == [32, 32, 1]
    with pytest.raises(Exception, match="array must match data"):  # other errors are not swallowed
        sources.detect(frame, level, rms[:10])
