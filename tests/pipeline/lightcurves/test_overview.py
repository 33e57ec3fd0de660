"""Pictures of the whole catalogue: they count what they show, and bear what is missing."""

import numpy as np
import pytest

from pipeline.lightcurves import overview


def test_equal_areas_and_east_to_the_left():
    x, y = overview._hammer(np.array([0.0, 90.0, 270.0, 0.0]), np.array([0.0, 0.0, 0.0, 90.0]))
    assert x[0] == pytest.approx(0) and x[1] < 0 < x[2] and y[3] == pytest.approx(np.sqrt(2))
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 40_000), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 40_000)))
    x, y = overview._hammer(ra, dec)
    assert ((x / np.sqrt(8)) ** 2 + (y / np.sqrt(2)) ** 2).max() <= 1 + 1e-9
    inner = np.mean((x / np.sqrt(8)) ** 2 + (y / np.sqrt(2)) ** 2 < 0.25)
    assert inner == pytest.approx(0.25, abs=0.01)


def test_pictures_say_how_much_they_show():
    nan = float("nan")
    assert overview.sky([10, nan, 350], [5, 5, -89]).alt == "Sky map of 2 stars."
    assert overview.magnitudes({"all": [9.1, 10, nan], "few": [12]}).alt.endswith("all: 2; few: 1.")
    picture = overview.periods([1, 2, nan, -1], [0.3, 0.8, 0.5, 0.5], ["EA", None, "EW", "EW"])
    assert picture.alt == "Morphology over period of 2 systems."
    assert len(picture.png) < 40_000


def test_nothing_to_show():
    for picture in (overview.sky([], []), overview.magnitudes({}), overview.periods([], [], [])):
        assert picture.size[0] > 500
