"""A pair subtracted in bands and tiles: no seams, no harm by what is masked, significances that are some."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.images.efficiency import score
from pipeline.images.forced import interpolate
from pipeline.images.frame import UNUSABLE, Bit, Frame
from pipeline.images.match import Match, match
from pipeline.images.subtract import fill, subtract
from pipeline.images.whole import Whole
from tests.pipeline.images.pairs import matched, subtracted


def spread(band, field):
    made = score(field.truth, NONE, 4.0, band.significance, field.shown(), band.mask)
    return made.blank.std, made.cores.std


NONE = pd.DataFrame({"x": [], "y": [], "snr": [], "flux": [], "flags": []}, dtype=float)


@pytest.fixture
def no_sky(monkeypatch):
    """Let nothing be taken off as sky."""
    monkeypatch.setattr("pipeline.images.subtract.level", lambda image, *_: np.zeros_like(image))
    monkeypatch.setattr("pipeline.images.subtract.sky", lambda image, *_: (np.zeros_like(image),) * 2)


@pytest.mark.parametrize("given", [True, False])
def test_significances_are_what_they_say(given):
    field = matched(given)[0]
    band = subtracted(0, given)
    blank, cores = spread(band, field)
    # What the small field's crowd adds to the sky's noise makes them too small, not too large.
    assert 0.9 < blank < 1.04 and 0.8 < cores < 1.25
    truth = field.truth
    x, y = truth["x"].to_numpy(), truth["y"].to_numpy()
    flux = interpolate(band.significance * band.flux_err, x, y)
    error = interpolate(band.flux_err, x, y)
    np.testing.assert_allclose(truth["flux"] / error, truth["snr_opt"], rtol=0.12)
    assert np.abs((flux - truth["flux"]) / error).max() < 4
    assert np.median(flux / truth["flux"]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("tile", [128, 512])
@pytest.mark.parametrize("variation", [0.0, 0.1])
def test_two_halves_are_the_whole(tile, variation):
    changes = {"variation": variation} if variation else {}
    _, science, reference, found = matched(False, 3, **changes)
    whole = subtract(science, reference, found, 0, 400, tile)
    assert whole.top == 0 and whole.significance.shape == (400, 448)
    for y0, y1 in ((0, 200), (200, 400)):
        part = subtract(science, reference, found, y0, y1, tile)
        rows = slice(part.y0 - part.top, part.y1 - part.top)
        assert part.top == max(0, y0 - 32)
        np.testing.assert_array_equal(part.mask[rows], whole.mask[y0:y1])
        good = (whole.mask[y0:y1] & int(UNUSABLE)) == 0
        # The sky of a band is measured on the band.
        off = part.significance[rows] - whole.significance[y0:y1]
        assert np.median(np.abs(off[good])) < 0.1 and np.abs(off[good]).max() < 0.6
        ratio = part.flux_err[rows] / whole.flux_err[y0:y1]
        np.testing.assert_allclose(ratio[good], 1, atol=0.01)


def flat(image: Whole) -> Whole:
    """Return the same without a sky that bands could measure differently."""
    frame = image.frame
    return Whole(replace(frame, data=frame.data - image.level))


def test_bands_of_one_sky_are_the_whole_to_a_thousandth(no_sky):
    """With the sky taken off beforehand, what is left of seams is rounding."""
    _, science, reference, found = matched(False, 3, variation=0.1)
    science, reference = flat(science), flat(reference)
    for tile in (128, 512):
        whole = subtract(science, reference, found, 0, 400, tile)
        part = subtract(science, reference, found, 128, 288, tile)
        rows = slice(part.y0 - part.top, part.y1 - part.top)
        assert np.abs(part.significance[rows] - whole.significance[128:288]).max() < 1e-3
        assert np.abs(part.difference[rows] - whole.difference[128:288]).max() < 1e-2


def test_tiles_do_not_show():
    """Where PSFs vary little, tiles of any size give the same."""
    small, large = subtracted(128, False), subtracted(512, False)
    good = (small.mask & int(UNUSABLE)) == 0
    off = (small.significance - large.significance)[good]
    assert np.percentile(np.abs(off), 99) < 0.15
    np.testing.assert_allclose(np.median(small.flux_err / large.flux_err), 1, atol=0.005)


def swapped(found: Match) -> Match:
    return replace(
        found,
        correction=-found.correction,
        science_psf=found.reference_psf,
        reference_psf=found.science_psf,
        flux_ratio=1 / found.flux_ratio,
        science_noise=found.reference_noise,
        reference_noise=found.science_noise,
    )


def test_swapped_frames_give_the_other_sign(no_sky):
    """On one grid and of one sky exactly."""
    _, science, reference, found = matched(False, 4, dither=0.0)
    science, reference = flat(science), flat(reference)
    none = replace(found, order=-1, correction=np.zeros((2, 0)), jitter=np.zeros(2))
    one = subtract(science, reference, none, 0, 400, 512)
    two = subtract(reference, science, swapped(none), 0, 400, 512)
    good = ((one.mask | two.mask) & int(UNUSABLE)) == 0
    assert np.abs(one.significance + two.significance)[good].max() < 0.02
    np.testing.assert_allclose(two.flux_err[good], found.flux_ratio * one.flux_err[good], rtol=5e-3)


def test_measured_the_other_way_round_it_is_the_other_sign():
    field, science, reference, found = matched(False, 4)
    back = match(reference, science, reference.sources, science.sources)
    assert back.flux_ratio == pytest.approx(1 / found.flux_ratio, rel=3e-3)
    np.testing.assert_allclose(back.offset, -found.offset, atol=5e-3)
    one, two = subtracted(512, False, 4), subtract(reference, science, back, 0, 400, 512)
    truth = field.truth
    there = interpolate(one.significance, *truth[["x", "y"]].to_numpy().T)
    here = interpolate(two.significance, *truth[["x_sci", "y_sci"]].to_numpy().T)
    np.testing.assert_allclose(here, -there, rtol=0.05, atol=0.3)


def test_what_is_masked_does_no_harm():
    field, science, reference, found = matched(False, 3)
    plain = subtract(science, reference, found, 0, 400)
    broken = []
    rng = np.random.default_rng(1)
    for image in (science, reference):
        frame = image.read(0, 400)
        hit = rng.random(frame.shape) < 3e-4
        frame.data[hit], frame.mask[hit] = 1e5, frame.mask[hit] | np.uint16(Bit.COSMIC_RAY)
        frame.data[:, 300:302], frame.mask[:, 300:302] = -1e4, Bit.BAD
        frame.data[:40, :40], frame.mask[:40, :40] = 0.0, Bit.EDGE
        broken.append(Whole(frame))
    band = subtract(*broken, found, 0, 400)
    for plane in (band.difference, band.significance, band.flux_err):
        assert np.isfinite(plane).all()
    assert (band.flux_err > 0).all()
    assert (band.mask[:, 300] & int(Bit.BAD)).all() and (band.mask[10, 10] & int(Bit.EDGE))
    good = (band.mask & int(UNUSABLE)) == 0
    quiet = good & (np.abs(plain.significance) < 4)
    assert (np.abs(band.significance[quiet]) > 6).sum() == 0
    for row in field.truth.itertuples():
        y, x = round(row.y), round(row.x)
        if good[y - 4 : y + 5, x - 4 : x + 5].all():
            assert band.significance[y, x] == pytest.approx(plain.significance[y, x], rel=0.1, abs=0.5)


def test_where_one_image_ends_there_is_edge_and_no_source():
    _, science, reference, found = matched(False, 3)
    frame = science.read(0, 400)
    cut = Whole(Frame(frame.data[:260], frame.variance[:260], frame.mask[:260], frame.wcs, frame.facts))
    band = subtract(cut, reference, found, 0, 400)
    edge = (band.mask & int(Bit.EDGE)) != 0
    assert edge[270:].all() and not edge[10:250, 20:-20].any() and np.isfinite(band.significance).all()


def test_filling_takes_the_good_pixels_around():
    data = np.full((40, 40), 100.0, np.float32)
    data[20, 20], data[5, 5], data[30, 30] = 1e9, -1e9, 60_000.0
    mask = np.zeros((40, 40), np.uint16)
    mask[20, 20], mask[5, 5], mask[30, 30], mask[:, :2] = Bit.COSMIC_RAY, Bit.BAD, Bit.SATURATED, Bit.EDGE
    _, science, _, _ = matched(False, 3)
    frame = Frame(data, np.full((40, 40), 25.0, np.float32), mask, science.wcs, science.facts)
    fill(frame)
    assert frame.data[20, 20] == frame.data[5, 5] == frame.data[0, 0] == 100
    assert frame.data[30, 30] == 60_000 and frame.variance[30, 30] > 1e6
    assert frame.variance[20, 20] >= 50 and np.isfinite(frame.variance).all()
    mask[...] = Bit.BAD
    fill(frame)
    assert (frame.data == 0).all() and (frame.variance == 1).all()
