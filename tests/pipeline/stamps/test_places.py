from dataclasses import replace

import numpy as np
import pytest

from pipeline.stamps.measure import measure
from pipeline.stamps.picture import Stamp, picture
from pipeline.stamps.places import sought
from tests.stamp_drawing import drawn

TELESCOPES = {"HST": {"fwhm": 0.1, "scale": 0.05, "side": 140}, "HSC": {"fwhm": 0.6, "scale": 0.168, "side": 64}}


def asked(stamp: Stamp, east: float, north: float) -> Stamp:
    """Return a stamp whose source is asked for elsewhere."""
    return replace(stamp, x0=stamp.x0 - east / stamp.pixscale, y0=stamp.y0 + north / stamp.pixscale)


def found(*stamps: Stamp) -> list[np.ndarray]:
    """Return how far east and north of where it is asked for the source is in each."""
    pictures = [picture(one) for one in stamps]
    return [
        (place - (one.x0, one.y0)) * one.scale * (-1, 1) for one, place in zip(pictures, sought(pictures), strict=True)
    ]


@pytest.mark.parametrize("name", TELESCOPES)
@pytest.mark.parametrize("shift", [0.3, 0.5, 1.0, 1.5, 2.0])
def test_one_star_off_the_place_is_one_star(name: str, shift: float) -> None:
    stamp = drawn(np.random.default_rng(5), **TELESCOPES[name])
    here, there = measure([stamp], 10.0, 0.0), measure([asked(stamp, 0.6 * shift, 0.8 * shift)], 10.0, 0.0)
    assert there.source["n_components"] == 1 and np.isnan(there.source["sep_arcsec"])
    for limit in ("dm_limit_0p5", "dm_limit_1p0", "dm_limit_2p0"):
        assert there.source[limit] == pytest.approx(here.source[limit], abs=0.1)
    assert there.source["p_fit"] == pytest.approx(here.source["p_fit"], abs=0.1)
    if shift > 0.5:  # less than that the fit finds by itself; the shift is known to a pixel
        where = 3600 * (np.array([there.source[name] for name in ("ra", "dec")]) - (10.0, 0.0))
        assert np.hypot(*(where + shift * np.array([0.6, 0.8]))) < 1.5 * stamp.pixscale


@pytest.mark.parametrize("name", TELESCOPES)
@pytest.mark.parametrize(
    "off", [(0.6, 0.8), (-0.25, 0.3), (0.8 * np.sin(np.radians(140)), 0.8 * np.cos(np.radians(140)))]
)
def test_a_pair_off_the_place_is_that_pair(name: str, off: tuple[float, float]) -> None:
    stamp = asked(drawn(np.random.default_rng(6), 0.8, 140, 1.0, **TELESCOPES[name]), *off)
    source = measure([stamp], 10.0, 0.0).source
    assert source["n_components"] == 2
    assert abs(source["sep_arcsec"] - 0.8) < 0.05 and abs(source["pa_deg"] - 140) < 4
    east, north = 3600 * (source["ra_2"] - 10), 3600 * source["dec_2"]
    fainter = 0.8 * np.array([np.sin(np.radians(140)), np.cos(np.radians(140))]) - off
    assert np.hypot(*(np.array([east, north]) - fainter)) < 0.12


def test_what_is_at_the_place_stays() -> None:
    rng = np.random.default_rng(7)
    for stamp in (drawn(rng), drawn(rng, 1.8, 30, 0.2), drawn(rng, others=[(3.2, 0, 5.0)]), drawn(rng, snr=2)):
        assert not np.any(found(stamp))


def test_a_star_that_moves_is_one_star() -> None:
    rng = np.random.default_rng(8)
    stamps = [drawn(rng, filter="g"), asked(drawn(rng, filter="r"), 2.0, 0.0), drawn(rng, filter="i")]
    assert [round(float(np.hypot(*one))) for one in found(*stamps)] == [0, 2, 0]
    assert measure(stamps).source["n_components"] == 1


def test_images_begin_at_the_same_star_of_two() -> None:
    rng = np.random.default_rng(9)
    # The companion, 2" north, is fainter in one filter and brighter in the other.
    stamps = [drawn(rng, 2.0, 0, 1.0, snr=150, filter="g"), drawn(rng, 2.0, 0, -1.0, filter="i")]
    first, second = found(*stamps)
    assert np.hypot(*(first - second)) < 0.5
    source = measure(stamps).source
    assert source["n_components"] == 2 and abs(source["sep_arcsec"] - 2) < 0.1
