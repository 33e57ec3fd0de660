from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pipeline.stamps.moffat import REST_STEPS, render
from pipeline.stamps.pairs import SURE, compare
from pipeline.stamps.picture import picture
from pipeline.stamps.psf import REST_SIDE, nominal, of_image, rest_map
from pipeline.stamps.stars import example, isolated, psf_among, psf_of
from tests.stamp_drawing import drawn


@pytest.mark.parametrize("with_rest", [False, True])
def test_derivatives_are_those_of_the_profile(with_rest: bool) -> None:
    axis = np.arange(21.0)
    px, py = (one.ravel() for one in np.meshgrid(axis, axis))
    rest = np.zeros((3, REST_SIDE, REST_SIDE))
    if with_rest:  # a plane: its bilinear interpolation has the derivatives it says
        v, u = (np.indices((REST_SIDE, REST_SIDE)) - REST_SIDE // 2) / 4
        rest = np.stack([0.01 * u - 0.02 * v, np.full_like(u, 0.01), np.full_like(v, -0.02)])
    start = np.array([10.3, 9.6, np.log(3.2), 0.1, -0.05, np.log(3.3)])

    def value(p: np.ndarray) -> np.ndarray:
        out = np.empty((7, px.size))
        render(p[2:], p[0], p[1], px, py, rest, out)
        return out

    exact = value(start)[1:]
    inner = np.hypot(px - 10.3, py - 9.6) < 6  # of the map, and where pixels are as finely divided on either side
    for k in range(6):
        step = np.zeros(6)
        step[k] = 1e-5
        slope = (value(start + step)[0] - value(start - step)[0]) / 2e-5
        np.testing.assert_allclose(exact[k][inner], slope[inner], atol=1e-6)


def test_a_star_of_flux_one_has_flux_one_however_few_pixels_it_has() -> None:
    for fwhm in (1.2, 2.0, 5.0):
        psf = nominal(fwhm, True)
        assert abs(psf.stamp(60, 0.3, -0.2).sum() - 1) < 0.005


def test_one_star_is_no_pair() -> None:
    rng = np.random.default_rng(1)
    gains = [
        compare([picture(drawn(rng, snr=snr, gain=gain))]).delta_chi2 for snr in (30, 100, 300) for gain in (None, 2)
    ]
    assert max(gains) < SURE


@pytest.mark.parametrize("smoothed", [0.0, 0.8])
def test_pairs_are_measured_with_errors_that_hold(smoothed: float) -> None:
    """Also on resampled images, whose pixels share the noise of sky and stars."""
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(60):
        fwhm = 1.2 * rng.normal(1, 0.05)
        sep, pa, dm = rng.uniform(1.4, 2.3), rng.uniform(0, 360), rng.uniform(0.3, 2.5)
        kw = {"fwhm": fwhm, "told": 1.2, "beta": rng.uniform(2.5, 4.5), "e": rng.normal(0, 0.04, 2), "gain": 2.0}
        stamp = drawn(rng, sep, pa, dm, 10 ** rng.uniform(1.8, 2.7), **kw)
        if smoothed:
            wider = float(np.hypot(stamp.fwhm, 2.3548 * smoothed * stamp.pixscale))
            stamp = replace(stamp, image=gaussian_filter(stamp.image, smoothed), noise=np.nan, fwhm=wider)
        found = compare([picture(stamp)])
        if found.delta_chi2 < 40:
            continue
        two = found.two
        offset, ratio = two.offsets[0], two.fluxes[0][1] / two.fluxes[0][0]
        offset, ratio = (offset, ratio) if ratio < 1 else (-offset, 1 / ratio)
        away = offset - sep * np.array([np.sin(np.radians(pa)), np.cos(np.radians(pa))])
        slope = 1.0857 * np.array([1, -1]) / two.fluxes[0][:2]
        error = np.sqrt(slope @ two.flux_error(0)[:2, :2] @ slope)
        rows.append([*away, *(away / np.sqrt(np.diag(two.covariance))), (-2.5 * np.log10(ratio) - dm) / error,
                     -2.5 * np.log10(ratio) - dm])  # fmt: skip
    table = np.array(rows)
    assert len(table) > 45
    assert np.median(np.abs(table[:, :2])) < 0.03
    assert np.median(np.abs(table[:, 5])) < 0.1
    pulls = table[:, 2:5]
    assert 0.8 < pulls[:, :2].std() < 1.2
    assert 0.8 < pulls[:, 2].std() < 1.2


def test_neighbours_beyond_reach_are_modelled_and_are_no_companions() -> None:
    found = compare([picture(drawn(np.random.default_rng(4), others=[(3.3, 0.5, 0.6)]))])
    assert found.delta_chi2 < SURE
    assert len(found.one.places[0]) == 2
    distance = np.hypot(*(found.one.places[0][1] - found.one.places[0][0])) * 0.25
    assert abs(distance - np.hypot(3.3, 0.5)) < 0.1


def test_three_stars_are_three() -> None:
    stamp = drawn(np.random.default_rng(5), sep=1.7, pa=40, dm=0.5, snr=200, others=[(1.6, -1.0, 0.5)])
    found = compare([picture(stamp)], most=4)
    assert len(found.more.offsets) == 2
    assert compare([picture(stamp)], most=2).more.offsets.shape == (1, 2)


def test_units_do_not_matter() -> None:
    gains = [
        compare([picture(drawn(np.random.default_rng(6), 1.5, 30, 1, unit=unit))]).delta_chi2
        for unit in (1e-18, 1, 1e9)
    ]
    assert gains == pytest.approx([gains[1]] * 3, rel=1e-3)


def test_stars_of_the_stamp_tell_the_psf() -> None:
    rng = np.random.default_rng(7)
    stamp = drawn(rng, fwhm=1.0, told=1.2, e=(0.1, 0.0), others=[(5, 1, 1.0), (-5, -4, 0.8), (0.5, -5.5, 1.0)])
    assert len(isolated(stamp)) == 3
    psf = psf_of(stamp, stamp.psf)
    assert psf.n_stars >= 2
    assert abs(psf.fwhm * 0.25 - 1.0) < 0.06
    assert np.diag(psf.covariance)[0] < np.diag(stamp.psf.covariance)[0]


def test_stars_of_other_stamps_tell_what_a_moffat_lacks() -> None:
    rng = np.random.default_rng(8)
    examples = [
        example(stamp, stamp.x0, stamp.y0, stamp.psf)
        for stamp in (drawn(rng, snr=300, fwhm=1.1, told=1.2, beta=2.5) for _ in range(12))
    ]
    psf = psf_among(examples, nominal(1.0)).scaled(1.2 / 0.25)
    assert abs(psf.fwhm * 0.25 - 1.1) < 0.03
    assert psf.n_stars >= 6
    assert np.abs(psf.rest[0]).max() < 0.1
    assert psf_among(examples[:3], nominal(1.0)).n_stars == 0


@pytest.mark.parametrize(("snr", "ghost"), [(300, 0.06), (40, 0.0)])
def test_what_a_moffat_lacks_is_kept_where_it_describes_other_stars(snr: float, ghost: float) -> None:
    """A ghost that all stars have, and noise."""
    rng = np.random.default_rng(9)
    examples = []
    for _ in range(24):
        stamp = drawn(rng, snr=snr, fwhm=1.1, told=1.1)
        image = stamp.image + ghost * np.roll(stamp.image - np.median(stamp.image), 5, axis=1)
        examples.append(example(replace(stamp, image=image), stamp.x0, stamp.y0, stamp.psf))
    found = [one for one in examples if one is not None]
    assert len(found) > 16
    psf = psf_among(found, nominal(1.0))
    assert psf_among(found[:6], nominal(1.0)).n_stars >= 4
    assert psf.rest.any() == (ghost > 0)
    if ghost:
        middle, step = REST_SIDE // 2, round(5 / (1.1 / 0.25) * REST_STEPS)
        assert psf.rest[0, middle, middle + step] > 0.01 > psf.rest[0, middle, middle - step]
    else:
        assert psf.error == nominal(1.0).error


def test_psfs_that_differ_from_star_to_star_are_not_told_to_be_known_well() -> None:
    rng = np.random.default_rng(10)
    examples = []
    for _ in range(24):
        stamp = drawn(rng, snr=300, fwhm=1.1, told=1.1)
        light, angle = stamp.image - np.median(stamp.image), rng.uniform(0, 2 * np.pi)
        ghost = 0.1 * np.roll(light, (round(3 * np.sin(angle)), round(3 * np.cos(angle))), (0, 1))
        examples.append(example(replace(stamp, image=stamp.image + ghost), stamp.x0, stamp.y0, stamp.psf))
    found = [one for one in examples if one is not None]
    assert len(found) > 16
    assert psf_among(found, nominal(1.0)).error > nominal(1.0).error


def test_a_given_psf_is_kept() -> None:
    image = nominal(3.0, True).stamp(20)
    image = image + 0.2 * np.roll(image, 6, axis=1)
    psf = of_image(image)
    assert np.abs(psf.stamp(20) - image / image.sum()).max() < 0.06 * image.max()
    assert rest_map([(np.zeros(1), np.zeros(1), np.ones(1))], 2.0).shape == (3, REST_SIDE, REST_SIDE)


def test_nothing_is_made_of_nothing() -> None:
    stamp = drawn(np.random.default_rng(9))
    stamp.image[:] = np.nan
    assert picture(stamp) is None
    assert len(isolated(stamp)) == 0
