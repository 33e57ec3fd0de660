"""An image in memory: its sky, its noise, its sources, its parts."""

import numpy as np
import pytest

from pipeline.images.frame import Bit, Facts
from pipeline.images.view import Image
from pipeline.images.whole import Whole
from tests.pipeline.images.pairs import draw, images


def test_sky_and_noise_are_those_of_the_simulation():
    field = draw(7)
    for image, view in zip(images(field), field.views, strict=True):
        exposure = view.exposure
        noise = np.sqrt(exposure.sky / exposure.gain + (exposure.read_noise / exposure.gain) ** 2)
        assert image.sky == pytest.approx(exposure.sky, abs=0.3 * noise)
        assert image.sky_rms == pytest.approx(noise, rel=0.12)
        good = image.frame.mask == 0
        ratio = image.frame.variance[good] / view.variance[good]
        assert np.median(ratio) == pytest.approx(1, abs=0.2) and (image.frame.variance > 0).all()


def test_stars_are_told_from_galaxies():
    field = draw(7)
    _, reference = images(field)
    found = reference.sources
    bright = field.sources[(field.sources["snr_reference"] > 60) & ~field.sources["saturated"]]
    names = []
    for row in bright.itertuples():
        near = np.hypot(found["x"] - row.x, found["y"] - row.y)
        others = np.hypot(field.sources["x"] - row.x, field.sources["y"] - row.y)
        if near.min() < 1 and np.partition(others, 1)[1] > 12:
            names.append((row.kind == "star", bool(found["is_star"].iloc[near.argmin()]), row.half_light))
    stars = [told for star, told, _ in names if star]
    galaxies = [told for star, told, size in names if not star and size > 2]
    assert len(stars) > 10 and np.mean(stars) > 0.8 and not any(galaxies)


def test_what_is_full_or_no_number_is_masked():
    field = draw(7)
    data = field.science.copy()
    data[100, 100], data[200, 200] = np.nan, 60_000.0
    image = Whole.of(data, field.pointing.science, Facts(gain=1.5, saturation=59_000.0))
    assert image.frame.mask[100, 100] == Bit.BAD and np.isfinite(image.frame.data).all()
    assert image.frame.mask[199, 200] & int(Bit.SATURATED) and image.frame.mask[202, 200] & int(Bit.SATURATED)
    assert not image.frame.mask[205, 200] and np.isfinite(image.frame.variance).all()
    empty = Whole.of(np.full((64, 64), np.nan), field.pointing.science, Facts())
    assert (empty.frame.mask == int(Bit.BAD)).all() and np.isfinite(empty.frame.data).all() and not len(empty.sources)


def test_parts_are_copies():
    field = draw(7)
    image: Image = images(field)[0]
    part = image.read(10, 30, 40, 70)
    assert part.shape == (20, 30)
    np.testing.assert_array_equal(part.data, field.science[10:30, 40:70])
    part.data[...] = 0
    assert image.read(10, 11, 40, 41).data[0, 0] == field.science[10, 40]
