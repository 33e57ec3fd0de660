"""Resampling: as reproject does it, counts conserved, masks carried."""

from dataclasses import replace

import numpy as np
import pytest
from reproject import reproject_interp

from pipeline.images.align import Warp, resample
from pipeline.images.frame import Bit, Facts, Frame
from pipeline.simulate.pointing import tangent

SHAPE = (300, 320)
NOISE = 18.0


def wcs(zoom=1.0, rotation=0.0, offset=(0.0, 0.0), distortion=0.0, shape=SHAPE):
    return tangent((150.0, 2.2), shape, 0.5 * zoom, rotation, offset, distortion)


def smooth(shape=SHAPE, seed=1, count=60, fwhm=4.0):
    """Return stars without noise, the brightest of 10,000 counts at their peaks."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    image = np.zeros(shape)
    for _ in range(count):
        x0, y0, peak = rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), 10 ** rng.uniform(1, 3)
        image += peak * np.exp(-4 * np.log(2) * ((x - x0) ** 2 + (y - y0) ** 2) / fwhm**2)
    return image.astype(np.float32)


def frame(data, at, mask=None):
    mask = np.zeros(data.shape, np.uint16) if mask is None else mask
    return Frame(data, np.full(data.shape, NOISE**2, np.float32), mask, at, Facts())


@pytest.mark.parametrize(
    "sky",
    [
        {"offset": (2.3, -1.7)},
        {"rotation": 12.0, "offset": (1.1, 0.4)},
        {"zoom": 0.8, "rotation": -5.0},
        {"distortion": 3.0, "offset": (0.5, 0.5)},
    ],
    ids=["shifted", "rotated", "zoomed", "distorted"],
)
def test_it_is_as_reproject(sky):
    here, there = wcs(), wcs(**sky)
    data = smooth()
    warp = Warp(here, there, SHAPE)
    ours = resample(frame(data, there), warp, 0, SHAPE[1], 0, SHAPE[0])
    theirs, covered = reproject_interp((data, there), here, SHAPE, order=5)
    area = abs(np.linalg.det(warp.jacobian(*np.meshgrid(np.arange(SHAPE[1]) * 1.0, np.arange(SHAPE[0]) * 1.0))))
    inner = (covered > 0) & (ours.mask == 0)
    inner &= np.roll(inner, 12, 0) & np.roll(inner, -12, 0) & np.roll(inner, 12, 1) & np.roll(inner, -12, 1)
    assert inner.mean() > 0.4
    off = np.abs(ours.data - area * theirs)[inner]
    assert off.max() < 0.01 * NOISE, off.max() / NOISE


def test_the_way_between_pixels_is_that_of_the_wcs():
    warp = Warp(wcs(distortion=3.0), wcs(rotation=8.0, offset=(3.0, 2.0), distortion=2.0), SHAPE)
    to_x, to_y = warp.grid(0, 320, 0, 300)
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 319, 500), rng.uniform(0, 299, 500)
    xs, ys = warp(x, y)
    assert np.abs(to_x(y, x, grid=False) - xs).max() < 1e-4 and np.abs(to_y(y, x, grid=False) - ys).max() < 1e-4
    back = warp.corrected(1, np.array([[0.3, 0.1, -0.1], [-0.2, 0.05, 0.2]]))
    np.testing.assert_allclose(np.stack(back.inverse(*back(x, y))), np.stack([x, y]), atol=1e-6)


@pytest.mark.parametrize("zoom", [0.7, 1.4])
def test_counts_are_conserved(zoom):
    data = np.zeros(SHAPE, np.float32)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    data += 1000 * np.exp(-((x - 150.3) ** 2 + (y - 160.8) ** 2) / (2 * 2.5**2)).astype(np.float32)
    there = wcs(zoom=zoom, rotation=20.0)
    made = resample(frame(data, there), Warp(wcs(), there, SHAPE), 0, SHAPE[1], 0, SHAPE[0])
    assert made.data.sum() == pytest.approx(data.sum(), rel=1e-3)
    area = zoom**-2  # science pixels a reference pixel
    np.testing.assert_allclose(np.median(made.variance[made.mask == 0]), NOISE**2 * area * max(area, 1), rtol=1e-3)


def test_the_noise_that_a_psf_sees_stays():
    """Interpolation lowers the scatter of pixels; averaged over a PSF, it is what the variance says."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(3)
    data = (NOISE * rng.standard_normal(SHAPE)).astype(np.float32)
    there = wcs(offset=(0.5, 0.5))
    made = resample(frame(data, there), Warp(wcs(), there, SHAPE), 0, SHAPE[1], 0, SHAPE[0])
    inner = slice(20, -20), slice(20, -20)
    assert made.data[inner].std() < 0.97 * NOISE
    seen, before = (gaussian_filter(image, 1.7)[inner].std() for image in (made.data, data))
    assert seen == pytest.approx(before, rel=0.03)


def test_parts_are_as_the_whole():
    there = wcs(rotation=3.0, offset=(1.4, 2.2))
    warp, whole = Warp(wcs(), there, SHAPE), frame(smooth(), there)
    all_of_it = resample(whole, warp, 0, 320, 0, 300)
    part = resample(whole, warp, 0, 320, 100, 180)
    np.testing.assert_allclose(part.data, all_of_it.data[100:180], atol=1e-3 * NOISE)
    cut = Frame(whole.data[60:240], whole.variance[60:240], whole.mask[60:240], there, Facts())
    np.testing.assert_allclose(resample(cut, warp, 40, 280, 120, 180, 0, 60).data, part.data[20:, 40:280], atol=0.02)


def test_bits_go_where_their_pixels_go():
    mask = np.zeros(SHAPE, np.uint16)
    mask[150, 160], mask[100, 100] = Bit.COSMIC_RAY, Bit.SATURATED
    there = wcs(offset=(0.5, 0.0))
    warp = Warp(wcs(), there, SHAPE)
    made = resample(frame(smooth(), there, mask), warp, 0, 320, 0, 300)
    rows, columns = np.nonzero(made.mask & int(Bit.COSMIC_RAY))
    x, y = warp.inverse(np.array([160.0]), np.array([150.0]))
    assert 2 <= len(rows) <= 4 and (np.hypot(rows - y, columns - x) < 1.5).all()
    assert (made.mask & int(Bit.SATURATED)).any() and not (made.mask & int(Bit.BAD)).any()
    far = resample(
        frame(smooth(), wcs(offset=(30.0, 0.0))), Warp(wcs(), wcs(offset=(30.0, 0.0)), SHAPE), 0, 320, 0, 300
    )
    outside = (far.mask & int(Bit.EDGE)) != 0
    assert outside.mean() == pytest.approx(30 / 320, abs=0.01) and np.isfinite(far.data).all()


def test_what_is_no_image_there_is_edge():
    away = replace(Facts(), survey="away")
    there = wcs(offset=(5000.0, 0.0))
    blank = Frame(smooth(), np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.uint16), there, away)
    made = resample(blank, Warp(wcs(), there, SHAPE), 0, 320, 0, 300)
    assert (made.mask == int(Bit.EDGE)).all() and made.facts.survey == "away"
