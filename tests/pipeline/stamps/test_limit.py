"""The limit that benchmarks print: two stars where there are two, by as much as they are worth, and seldom of one."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from pipeline.simulate.stamps import described
from tests.benchmarks.stamp_limit import clean, likelihood_ratio, scenes
from tests.benchmarks.stamps import DESCRIPTION


@pytest.fixture(scope="module")
def description():
    return described(DESCRIPTION)


def cleaned(scene, number):
    rng = np.random.default_rng(number)
    return [clean(scene, name, rng) for name in scene.exposures]


def worth(seen):
    """Return the squared signal to noise of a companion whose place is known, with the noise that there is."""
    return seen.flux[1] ** 2 * (seen.weight * seen.star(seen.x[1], seen.y[1])[0] ** 2).sum()


@pytest.mark.parametrize("survey", ["HSCLA", "HST"])
def test_a_wide_companion_gains_what_it_is_worth(description, survey):
    told = {"separation": 2.3, "separation_even": 2.3, "delta_mag": 1.5, "snr": {"log": [200.0, 400.0]}}
    wide = replace(description, source=description.source | told)
    for number, (scene, *_) in enumerate(islice(scenes(wide, survey, "pair"), 3)):
        seen = cleaned(scene, number)
        assert likelihood_ratio(seen) == pytest.approx(sum(map(worth, seen)), rel=0.15)


def test_a_star_alone_gains_what_chance_gives(description):
    alone = islice(scenes(description, "Pan-STARRS", "single"), 100)
    gains = [likelihood_ratio(cleaned(scene, number)) for number, (scene, *_) in enumerate(alone)]
    assert min(gains) > -0.5  # but for what the derivatives do not tell of a shift, more can only gain
    assert 4 < np.quantile(gains, 0.99) < 25


def test_nothing_is_left_but_the_stars_that_count(description):
    for kind, count in (("pair", 2), ("single", 1)):
        for scene, *_ in islice(scenes(description, "SDSS", kind), 5):
            assert len(scene.sky.east) == len(scene.sky.light(0.7)) == count and scene.sky.galaxy is None
            name = next(iter(scene.exposures))
            seen = clean(scene, name, np.random.default_rng(0))
            inside = seen.weight > 0
            assert inside.sum() == 64 * 64
            # What is not sky is stars, the rest is noise of the variance that is told.
            model = sum(f * seen.star(x, y)[0] for f, x, y in zip(seen.flux, seen.x, seen.y, strict=True))
            noise = ((seen.pixels - model - scene.exposures[name].sky) * np.sqrt(seen.weight))[inside]
            assert noise.std() == pytest.approx(1, abs=0.06) and abs(noise.mean()) < 0.1
