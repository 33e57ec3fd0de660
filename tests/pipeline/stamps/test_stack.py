"""Stacks of simulated stars: registered by WCS, weighted, measured, flagged."""

import numpy as np
import pytest

from catalogs.stamps import STACKS, StampFlag
from pipeline.stamps.light import BAD, SATURATED, Light, Plane
from pipeline.stamps.moments import gaussian, sky, windowed
from pipeline.stamps.stack import shifted, stack, stack_source
from pipeline.stamps.surveys import get

PS1, FILTERS = get("Pan-STARRS"), "grizy"


def star(side, x, y, fwhm, flux, e=0.0):
    """Return a Gaussian star of so much flux; `e` flattens it in y."""
    rows, columns = np.mgrid[:side, :side]
    s = fwhm / 2.3548
    return (
        flux
        * np.exp(-0.5 * (((columns - x) / s) ** 2 + ((rows - y) / (s * (1 - e))) ** 2))
        / (2 * np.pi * s * s * (1 - e))
    )


def planes(seed=0, noise=5.0, fluxes=(2000, 4000, 6000, 8000, 10000), drift=(0.0, 0.0), **changes):
    """Return stamps of one star in five filters, its place differing from grid to grid; `drift` moves the last."""
    rng = np.random.default_rng(seed)
    found = []
    for k, (name, flux) in enumerate(zip(FILTERS, fluxes, strict=True)):
        x0, y0 = (31.5 + rng.uniform(-0.5, 0.5, 2)).tolist()
        dx, dy = drift if name == "y" else (0.0, 0.0)
        image = 100.0 + star(64, x0 + dx, y0 + dy, PS1.filter(name).fwhm_arcsec / 0.25, flux)
        image += rng.normal(0, noise, image.shape)
        found.append(Plane(image.astype(np.float32), name, x0, y0, mjd=55000.0 + k, **changes))
    return found


def test_a_single_filter_passes_as_it_is_but_for_its_sky():
    plane = planes()[0]
    stacked = stack_source([plane], PS1)
    assert stacked.facts["method"] == "single"
    assert np.ptp(stacked.image - plane.image) < 1e-4  # one level, nothing else
    assert (stacked.facts["x0"], stacked.facts["y0"]) == (plane.x0, plane.y0)


def test_filters_are_registered_by_their_wcs_and_the_weights_are_the_best():
    given = planes()
    stacked = stack_source(given, PS1)
    facts = stacked.facts
    found = windowed(np.nan_to_num(stacked.image), facts["x0"], facts["y0"], 4.5)
    assert np.hypot(found.x - facts["x0"], found.y - facts["y0"]) < 0.03
    assert (facts["filters"], facts["n_filters"], facts["method"]) == ("g,r,i,z,y", 5, "weighted")
    alone = [stack_source([plane], PS1).facts["snr"] for plane in given]
    mean = stack_source(given, PS1, "mean").facts
    assert facts["snr"] > 0.98 * np.hypot.reduce(alone) and facts["snr"] > 1.05 * mean["snr"]
    assert facts["noise"] == pytest.approx(5 / np.sqrt(5), rel=0.25)
    assert set(facts) == set(STACKS.names) - {"row", "source_id", "ra", "dec"}
    assert facts["centroid_shift"] < 0.1 and not facts["flags"] & StampFlag.SHIFTED


def test_the_plain_mean_is_one():
    given = planes()
    level = [sky(plane.image.ravel())[0] for plane in given]
    shifts = [(given[0].x0 - plane.x0, given[0].y0 - plane.y0) for plane in given]
    mean = np.mean([shifted(plane.image - at, *s) for plane, at, s in zip(given, level, shifts, strict=True)], axis=0)[
        8:56, 8:56
    ]
    images = np.stack([plane.image - at for plane, at in zip(given, level, strict=True)])
    image, mask, _ = stack(images, np.zeros(images.shape, np.uint8), np.full(5, 5.0), np.ones(5), shifts, "mean")
    np.testing.assert_allclose(image[8:56, 8:56], mean, atol=1e-4)
    assert not mask[8:56, 8:56].any()


def test_a_filter_whose_source_lies_elsewhere_is_flagged():
    drift = 0.3 * 1.2 / 0.25  # 0.3 FWHM
    facts = stack_source(planes(drift=(drift, 0.0)), PS1).facts
    assert facts["flags"] & StampFlag.SHIFTED
    assert facts["centroid_shift"] == pytest.approx(0.36, abs=0.05)


def test_a_star_that_has_moved_by_more_than_its_width_is_no_pair():
    moved = stack_source(planes(drift=(0.0, 10.0)), PS1).facts
    assert moved["flags"] & StampFlag.SHIFTED
    assert moved["centroid_shift"] == pytest.approx(2.5, abs=0.05)
    both = planes()
    for plane in both:
        plane.image[:] += star(64, plane.x0, plane.y0 + 10, PS1.filter(plane.filter).fwhm_arcsec / 0.25, 1500)
    facts = stack_source(both, PS1).facts
    assert facts["centroid_shift"] < 0.1 and not facts["flags"] & StampFlag.SHIFTED


def test_noise_alone_flags_no_shift():
    flagged = [
        stack_source(planes(seed, fluxes=(300, 400, 500, 600, 700)), PS1).facts["flags"] & StampFlag.SHIFTED
        for seed in range(20)
    ]
    assert not any(flagged)


@pytest.mark.parametrize("method", ["weighted", "clipped"])
def test_masked_pixels_do_not_go_in(method):
    given = planes()
    image, mask = given[4].image.copy(), np.zeros((64, 64), np.uint8)
    image[20, 20:30], mask[20, 20:30] = 1e5, BAD
    spoilt = [*given[:4], Plane(image, "y", given[4].x0, given[4].y0, mask)]
    stacked = stack_source(spoilt, PS1, method)
    assert np.isfinite(stacked.image[2:-2, 2:-2]).all()
    assert np.nanmax(stacked.image[15:25, 15:35]) < 100


def test_clipping_leaves_out_what_one_filter_alone_shows():
    given = planes()
    image = given[2].image.copy()
    image[10, 10] += 5000
    hit = [Plane(image, "i", p.x0, p.y0) if p.filter == "i" else p for p in given]
    assert np.nanmax(stack_source(hit, PS1, "weighted").image[7:13, 7:13]) > 200
    assert np.nanmax(stack_source(hit, PS1, "clipped").image[7:13, 7:13]) < 100
    clean, clipped = stack_source(given, PS1).facts["snr"], stack_source(given, PS1, "clipped").facts["snr"]
    assert clipped == pytest.approx(clean, rel=0.02)  # the source itself is not clipped


def test_a_saturated_filter_counts_little_where_others_are_not():
    given = planes(fluxes=(2000, 4000, 6000, 8000, 100_000))
    image, mask = given[4].image.copy(), np.zeros((64, 64), np.uint8)
    mask[image > 2000] = SATURATED
    image = np.minimum(image, 2000)
    facts = stack_source([*given[:4], Plane(image, "y", given[4].x0, given[4].y0, mask)], PS1).facts
    assert facts["wavelength_um"] < 0.9
    assert not stack_source(given, PS1).facts["flags"] & StampFlag.SATURATED
    assert stack_source([Plane(image, "y", 31.5, 31.5, mask)], PS1).facts["flags"] & StampFlag.SATURATED


def test_a_source_that_is_not_where_it_was_asked_for_is_taken_within_reach():
    rng = np.random.default_rng(3)
    image = star(64, 37.5, 31.5, 4.5, 5000) + rng.normal(0, 2, (64, 64))
    facts = stack_source([Plane(image, "i", 31.5, 31.5)], PS1).facts
    assert facts["flags"] & StampFlag.OFF_CENTRE
    assert (facts["x0"], facts["y0"]) == pytest.approx((37.5, 31.5), abs=0.1)
    far = star(64, 50, 31.5, 4.5, 5000) + rng.normal(0, 2, (64, 64))
    facts = stack_source([Plane(far, "i", 31.5, 31.5)], PS1).facts
    assert facts["flags"] & StampFlag.FAINT and facts["x0"] == 31.5


def test_the_fwhm_is_that_of_other_stars():
    rng = np.random.default_rng(4)
    image = star(64, 31.5, 31.5, 5.2, 5000) + star(64, 12, 50.3, 5.2, 8000) + rng.normal(0, 2, (64, 64))
    facts = stack_source([Plane(image, "i", 31.5, 31.5)], PS1).facts
    assert facts["fwhm_arcsec"] == pytest.approx(5.2 * 0.25, rel=0.03)
    assert not facts["flags"] & StampFlag.NOMINAL_FWHM
    alone = stack_source(planes()[2:3], PS1).facts
    assert alone["flags"] & StampFlag.NOMINAL_FWHM and alone["fwhm_arcsec"] == 1.11
    told = stack_source([Plane(planes()[2].image, "i", 31.5, 31.5, fwhm_arcsec=1.3)], PS1).facts
    assert told["fwhm_arcsec"] == pytest.approx(1.3)


def test_ellipticity_is_that_of_the_source():
    image = star(64, 31.5, 31.5, 6.0, 50_000, e=0.3) + np.random.default_rng(5).normal(0, 1, (64, 64))
    assert stack_source([Plane(image, "i", 31.5, 31.5)], PS1).facts["ellipticity"] == pytest.approx(0.3, abs=0.02)


def test_stamps_of_nothing_still_give_a_stack():
    blank = np.full((64, 64), np.nan, np.float32)
    for image in (blank, np.zeros((64, 64)), np.full((64, 64), 7.0)):
        facts = stack_source([Plane(image, "i", 31.5, 31.5), *planes()[:1]], PS1).facts
        assert facts["snr"] > 20
        STACKS.of(
            [{"row": 0, "source_id": "a", "ra": 0, "dec": 0, **stack_source([Plane(image, "i", 31, 31)], PS1).facts}]
        )


def without_noise(kind):
    """Return a star as it is after something took the noise away."""
    image = star(64, 31.5, 31.5, 4.5, 50_000)
    return {
        "drawn": image,
        "in integers": np.round(image),
        "of a picture": np.clip(np.round(image / image.max() * 255), 0, 255),
        "clipped": np.where(image > 9, image, 0.0),
        "in single precision": (image + 1000).astype(np.float32),
        "rounded": image + np.random.default_rng(8).normal(0, 1e-8, image.shape),
    }[kind]


@pytest.mark.parametrize("kind", ["drawn", "in integers", "of a picture", "clipped", "in single precision", "rounded"])
def test_what_shows_no_noise_has_no_signal_to_noise(kind):
    image = without_noise(kind)
    light = Light(Plane(image, "i", 31.5, 31.5), PS1)
    assert not light.is_noisy and 1e-6 * np.ptp(image) == pytest.approx(light.noise, rel=1e-3)
    facts = stack_source([Plane(image, "i", 31.5, 31.5)], PS1).facts
    assert np.isnan(facts["snr"]) and facts["noise"] == pytest.approx(light.noise, rel=1e-3)
    assert not facts["flags"] & StampFlag.FAINT
    STACKS.of([{"row": 0, "source_id": "a", "ra": 0, "dec": 0, **facts}])


@pytest.mark.parametrize("cut", [-0.5, 0.0, 0.5])
def test_a_sky_clipped_at_some_level_keeps_its_noise(cut):
    """Images made for the eye have nothing below black: what is left of the sky is less than half of its noise."""
    image = star(64, 31.5, 31.5, 4.5, 5000) + np.random.default_rng(11).normal(0, 3, (64, 64))
    light = Light(Plane(np.maximum(image, 3 * cut), "i", 31.5, 31.5), PS1)
    assert light.is_noisy and light.noise == pytest.approx(3, rel=0.25) and light.level == pytest.approx(0, abs=1)


@pytest.mark.parametrize("rate", [0.05, 0.5, 2.0])
def test_few_photons_are_no_clipped_sky(rate):
    rng = np.random.default_rng(12)
    image = rng.poisson(rate, (64, 64)) * rng.uniform(0.95, 1.05, (64, 64))  # of a detector that is not quite even
    light = Light(Plane(image, "i", 31.5, 31.5), PS1)
    assert light.noise == sky(image[light.distance > 10])[1]


def test_a_filter_without_noise_does_not_take_the_stack_for_itself():
    given = planes()
    drawn = Plane(star(64, 31.5, 31.5, 4.5, 6000), "i", 31.5, 31.5)
    mixed = stack_source([*given[:2], drawn, *given[3:]], PS1).facts
    usual = stack_source(given, PS1).facts
    assert 0.8 * usual["snr"] < mixed["snr"] < 1.6 * usual["snr"]


@pytest.mark.parametrize("depth", [3e-6, 1e-4])
def test_the_deepest_of_images_keep_their_noise(depth):
    image = star(64, 31.5, 31.5, 4.5, 1.0)
    noise = depth * image.max()
    image += np.random.default_rng(9).normal(0, noise, image.shape)
    light = Light(Plane(image, "i", 31.5, 31.5), PS1)
    assert light.is_noisy and light.noise == pytest.approx(noise, rel=0.1)


@pytest.mark.parametrize("off", [0.4, 1.0, 2.0])
def test_a_filter_whose_wcs_is_arcseconds_off_is_flagged(off):
    """In HST's pixels an arcsecond is ten FWHM: nothing is left at the place where the other filters have the star."""
    hst, rng = get("HST"), np.random.default_rng(10)
    one, other = (star(128, 63.5 + dx, 63.5, 2.4, 5000) + rng.normal(0, 2, (128, 128)) for dx in (0.0, off / 0.05))
    facts = stack_source([Plane(one, "F606W", 63.5, 63.5), Plane(other, "F814W", 63.5, 63.5)], hst).facts
    assert facts["flags"] & StampFlag.SHIFTED
    alone = stack_source([Plane(other, "F814W", 63.5, 63.5)], hst).facts
    assert alone["flags"] & StampFlag.OFF_CENTRE and alone["x0"] == pytest.approx(63.5 + off / 0.05, abs=0.2)


def test_shifts_are_exact_for_smooth_images_and_level_for_flat_ones():
    one, other = star(64, 30.0, 33.0, 4.0, 1000), star(64, 30.37, 32.55, 4.0, 1000)
    assert np.abs(shifted(one, 0.37, -0.45) - other).max() < 2e-3 * other.max()
    np.testing.assert_allclose(shifted(np.ones((64, 64)), 0.3, 0.7), 1.0, atol=1e-9)


def test_the_sky_of_noise_with_stars_and_of_few_photons():
    rng = np.random.default_rng(6)
    values = np.concatenate([rng.normal(50, 4, 4000), rng.uniform(60, 1000, 200)])
    assert sky(values) == pytest.approx((50, 4), rel=0.05)
    photons = rng.poisson(0.05, 4000).astype(float)
    level, scatter = sky(photons)
    assert level == 0 and scatter > 0
    assert gaussian(64, 4.0)[32].sum() == pytest.approx(1, abs=1e-9)


def test_a_particles_hit_in_one_filter_is_not_taken_for_the_source():
    given = planes()
    image = given[1].image.copy()
    image[37:39, 26:28] += 20_000
    facts = stack_source([Plane(image, "r", p.x0, p.y0) if p.filter == "r" else p for p in given], PS1).facts
    assert not facts["flags"] & StampFlag.OFF_CENTRE


@pytest.mark.parametrize(("apart", "is_other"), [(2.75, False), (2.3, True)])
def test_the_flank_of_what_is_out_of_reach_is_not_taken_for_the_source(apart, is_other):
    rng = np.random.default_rng(7)
    other = 31.5 + apart / PS1.pixscale
    image = star(64, 31.5, 31.5, 4.5, 3000) + star(64, other, 31.5, 4.5, 20_000) + rng.normal(0, 5, (64, 64))
    facts = stack_source([Plane(image.astype(np.float32), "r", 31.5, 31.5)], PS1).facts
    assert bool(facts["flags"] & StampFlag.OFF_CENTRE) == is_other
    assert facts["x0"] == pytest.approx(other if is_other else 31.5, abs=0.1)
