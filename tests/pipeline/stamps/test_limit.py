"""The limit that benchmarks print: two stars where there are two, by as much as they are worth, and seldom of one."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from pipeline.simulate.stamps import described, grid, point
from tests.benchmarks.stamp_limit import clean, likelihood_ratio, scenes
from tests.benchmarks.stamps import DESCRIPTION


@pytest.fixture(scope="module")
def description():
    return described(DESCRIPTION)


def gain(scene, number):
    rng = np.random.default_rng(number)
    return likelihood_ratio([clean(scene, name, rng) for name in scene.exposures])


def expected(scene):
    """Return the sum over filters of the squared signal to noise of the companion, were it alone."""
    on, total = grid(scene.survey), 0.0
    for seen in scene.exposures.values():
        _, flux = point(on, seen)
        # (S/N)² = f² / (f + background): how much background is what the primary's tells.
        background = flux**2 / seen.snr**2 - flux
        companion = flux * scene.sky.light(seen.wavelength)[1]
        total += companion**2 / (companion + background)
    return total


@pytest.mark.parametrize("survey", ["HSCLA", "HST"])
def test_a_wide_companion_gains_what_it_is_worth(description, survey):
    told = {"separation": 2.3, "separation_even": 2.3, "delta_mag": 1.5, "snr": {"log": [200.0, 400.0]}}
    wide = replace(description, source=description.source | told)
    for number, (scene, *_) in enumerate(islice(scenes(wide, survey, "pair"), 3)):
        assert gain(scene, number) == pytest.approx(expected(scene), rel=0.15)


def test_a_star_alone_gains_what_chance_gives(description):
    gains = [gain(scene, n) for n, (scene, *_) in enumerate(islice(scenes(description, "Pan-STARRS", "single"), 100))]
    assert min(gains) >= -1e-3
    assert 4 < np.quantile(gains, 0.99) < 25


def test_nothing_is_left_but_the_stars_that_count(description):
    for kind, count in (("pair", 2), ("single", 1)):
        for scene, *_ in islice(scenes(description, "SDSS", kind), 5):
            assert len(scene.sky.east) == len(scene.sky.light(0.7)) == count and scene.sky.galaxy is None
            seen = clean(scene, next(iter(scene.exposures)), np.random.default_rng(0))
            inside = seen.weight > 0
            assert inside.sum() == 64 * 64
            # What is not in the margin is sky and stars: the rest is noise, of the variance that is told.
            far = inside & (seen.pixels < np.median(seen.pixels[inside]) * 1.5)
            assert np.isfinite(seen.pixels).all() and far.sum() > 2000
