"""Pairs of images whose truth is true: noise, places, significances, files."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy import fft
from scipy.ndimage import map_coordinates

from pipeline.images.frame import Bit
from pipeline.simulate.conditions import FieldSettings, dirty, misregistered, varying
from pipeline.simulate.drawing import render
from pipeline.simulate.exposure import Exposure, expose, noise_of, optics_of
from pipeline.simulate.fields import draw
from pipeline.simulate.pointing import Pointing, tangent
from pipeline.simulate.scene import Population
from pipeline.simulate.transients import View, fluxes

HOSTS = Population(stars=300, galaxies=700, half_light=(2, 5), galaxy_snr=(100, 1000))
SMALL = FieldSettings(shape=(320, 320), transients=9, population=HOSTS)


@pytest.fixture(scope="module")
def field():
    return draw(5, FieldSettings(transients=30))


def test_noise_is_as_large_as_said():
    exposure, rng = Exposure(fwhm=4.0, gain=2.5, read_noise=7.0, saturation=1e6), np.random.default_rng(1)
    counts = np.geomspace(5, 5e4, 400)
    frames = np.array([expose(counts[None], exposure, rng)[0] for _ in range(4000)])
    np.testing.assert_allclose(frames.mean(axis=0), counts, atol=0, rtol=0.05)
    ratio = frames.var(axis=0) / noise_of(counts, exposure)
    assert abs(ratio.mean() - 1) < 0.005 and ratio.std() == pytest.approx(np.sqrt(2 / 4000), rel=0.15)


def expected(view):
    """Return the counts of which a view's variance is the noise."""
    exposure = view.exposure
    return (view.variance.astype(float) - (exposure.read_noise / exposure.gain) ** 2) * exposure.gain


def test_the_variance_of_a_field_is_that_of_its_pixels(field):
    for image, view, names in zip((field.science, field.reference), field.views, (("x_sci", "y_sci"), ("x", "y"))):
        pull = (image - expected(view)) / np.sqrt(view.variance)
        for x, y in np.rint(field.truth[list(names)].to_numpy()).astype(int):
            pull[y - 15 : y + 16, x - 15 : x + 16] = np.nan
        for level in (view.exposure.sky * 2, 0):  # sources, then all
            good = (expected(view) > level) & (image < view.exposure.saturation) & np.isfinite(pull)
            assert good.sum() > 3000
            assert np.std(pull[good]) == pytest.approx(1, abs=4 / np.sqrt(good.sum()))
            assert np.mean(pull[good]) == pytest.approx(0, abs=4 / np.sqrt(good.sum()))


def test_stars_are_where_both_wcs_say_and_as_bright():
    settings = replace(SMALL, shape=(400, 400), rotation=33.0, zoom=1.2, distortion=1.5, transients=0)
    settings = replace(settings, population=Population(stars=60, galaxies=0, faintest=2000, brightest=0.8))
    field = draw(2, settings)
    sources, checked = field.sources, 0
    for name, columns in (("science", ("x_sci", "y_sci")), ("reference", ("x", "y"))):
        view = field.views[name == "reference"]
        image = getattr(field, name) - view.sky
        places = sources[list(columns)].to_numpy()
        for place, flux in zip(places, sources["flux"] * view.exposure.scale, strict=True):
            alone = np.sort(np.hypot(*(places - place).T))[1] > 50
            if alone and (place > 20).all() and (place < 380).all():
                x0, y0 = np.rint(place).astype(int)
                cut = image[y0 - 16 : y0 + 17, x0 - 16 : x0 + 17].astype(float)
                y, x = np.indices(cut.shape) - 16
                core = cut * (np.hypot(x, y) < 6)
                centre = (core * x).sum() / core.sum() + x0, (core * y).sum() / core.sum() + y0
                assert centre == pytest.approx(tuple(place), abs=0.15)
                assert cut.sum() == pytest.approx(flux, rel=0.05)
                checked += 1
    assert checked >= 5
    sky = field.pointing.reference.all_pix2world(sources["x"], sources["y"], 0)
    there = field.pointing.science.all_world2pix(*sky, 0)
    np.testing.assert_allclose(there, sources[["x_sci", "y_sci"]].to_numpy().T, atol=1e-4)


def test_misregistration_is_what_the_wcs_does_not_say():
    field = draw(3, misregistered(SMALL))
    x, y = field.pointing.science.all_world2pix(field.truth["ra"], field.truth["dec"], 0)
    off = np.hypot(field.truth["x_sci"] - x, field.truth["y_sci"] - y)
    np.testing.assert_allclose(off, 0.1, atol=1e-6)


def test_transients_keep_their_distance_and_their_environment(field):
    truth, sources = field.truth, field.sources
    assert truth["environment"].value_counts().to_dict() == {"blank": 10, "disk": 10, "core": 10}
    assert truth["snr_opt"].between(3, 10).all() and (truth["flux"] > 0).all()
    places = truth[["x", "y"]].to_numpy()
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(places))
    assert apart.min() > 25
    assert np.abs(places - 511.5).max() < 472
    galaxies = sources[sources["kind"] == "galaxy"]
    for row in truth.itertuples():
        distance = np.hypot(galaxies["x"] - row.x, galaxies["y"] - row.y)
        if row.environment == "core":
            assert distance.min() < 0.3
        elif row.environment == "disk":
            assert (distance / galaxies["half_light"]).between(0.4, 2.1).any()
        else:
            seen = sources[sources["snr_reference"] > 5]
            assert np.hypot(seen["x"] - row.x, seen["y"] - row.y).min() > 20


def test_what_shows_is_told_to_the_scorer(field):
    shown = field.shown()
    assert 500 < len(shown) < len(field.sources) and (shown["snr"] > 50).sum() > 50
    inside = field.sources[["x", "y"]].to_numpy()
    assert inside.min() > -10 and inside.max() < 1034
    turned = draw(5, replace(SMALL, rotation=45.0, transients=0)).sources
    assert turned["x"].min() < -20 and turned["x"].max() > 340  # the corners of the science frame have stars as well


def test_the_same_seed_gives_the_same_field():
    one, two, other = draw(4, dirty(SMALL)), draw(4, dirty(SMALL)), draw(5, dirty(SMALL))
    np.testing.assert_array_equal(one.science, two.science)
    np.testing.assert_array_equal(one.reference_mask, two.reference_mask)
    pd.testing.assert_frame_equal(one.truth, two.truth)
    assert (one.science != other.science).mean() > 0.9


def padded(stamp, shape):
    image = np.zeros(shape)
    image[: stamp.shape[0], : stamp.shape[1]] = stamp
    return fft.rfft2(np.roll(image, (-(stamp.shape[0] // 2),) * 2, (0, 1)))


def significance(frames, views, variances, psfs):
    """Return S and its standard deviation, as published: correlations over the whole frame."""
    shape = frames[0].shape
    new, ref = (padded(psf, shape) for psf in psfs)
    sky = [noise_of(np.array(float(view.exposure.sky)), view.exposure) for view in views]
    f_new, f_ref = (view.exposure.scale for view in views)
    below = sky[1] * f_new**2 * np.abs(new) ** 2 + sky[0] * f_ref**2 * np.abs(ref) ** 2
    k_new = new.conj() * np.abs(ref) ** 2 * f_new * f_ref**2 / below
    k_ref = ref.conj() * np.abs(new) ** 2 * f_ref * f_new**2 / below
    s = fft.irfft2(k_new * fft.rfft2(frames[0]) - k_ref * fft.rfft2(frames[1]), shape)
    pairs = zip((k_new, k_ref), variances, strict=True)
    v = sum(fft.irfft2(fft.rfft2(fft.irfft2(k, shape) ** 2) * fft.rfft2(var), shape) for k, var in pairs)
    return s, np.sqrt(v)


def test_significances_are_those_that_a_matched_filter_finds():
    """Many exposures of one field: the statistic at each transient has the mean that is said, and a scatter of 1."""
    field = draw(11, replace(SMALL, dither=0.0, negative=0.4, snr=(6.0, 30.0)))
    truth, views = field.truth, field.views
    assert set(truth["environment"]) == {"blank", "disk", "core"} and set(truth["sign"]) == {-1, 1}
    counts = []
    for view, sign, scale in zip(views, (1, -1), (1, views[1].exposure.scale / views[0].exposure.scale), strict=True):
        rows = truth[truth["sign"] == sign]
        image = expected(view)
        x, y = rows["x"].to_numpy(), rows["y"].to_numpy()
        render(image, x, y, rows["flux"].to_numpy() * scale, view.optics.profile, view.optics.matrices(x, y), 1e-6)
        counts.append(image)
    variances = [noise_of(image, view.exposure) for image, view in zip(counts, views, strict=True)]
    psfs, rng, found = [field.psf(name, 129) for name in ("science", "reference")], np.random.default_rng(4), []
    for _ in range(250):
        frames = [expose(one, view.exposure, rng) - view.sky for one, view in zip(counts, views, strict=True)]
        s, sigma = significance(frames, views, variances, psfs)
        found.append(map_coordinates(s / sigma, [truth["y"], truth["x"]], order=5))
    mean, scatter = np.mean(found, axis=0), np.std(found, axis=0)
    np.testing.assert_allclose(mean, truth["snr_opt"], atol=0.3, rtol=0.01)
    assert np.abs((mean / truth["snr_opt"]).mean() - 1) < 0.01
    assert scatter.mean() == pytest.approx(1, abs=0.05)


def flux_for(pointing, science, reference):
    views = []
    for exposure in (science, reference):
        shape = pointing.science.array_shape
        sky = np.full(shape, exposure.sky, np.float32)
        rng = np.random.default_rng(1)
        views.append(View(exposure, optics_of(exposure, shape, rng), sky, noise_of(sky, exposure)))
    truth = pd.DataFrame({"x": [130.3], "y": [127.9], "snr_opt": [7.0], "sign": [1]})
    return fluxes(truth, pointing, *views)["flux"].item()


def test_significances_do_not_hang_on_the_pixel_grid():
    shape, centre = (256, 256), (10.0, 20.0)
    here, turned = (tangent(centre, shape, 0.5, rotation) for rotation in (0.0, 137.0))
    science = Exposure(fwhm=4.0, ellipticity=0.0, scale=0.9)
    reference = Exposure(fwhm=2.5, ellipticity=0.0, sky=100.0)
    straight = flux_for(Pointing(here, here), science, reference)
    assert flux_for(Pointing(here, turned), science, reference) == pytest.approx(straight, rel=1e-3)
    # Pixels half as large in area hold half of the sky; without read noise nothing changes.
    fine = tangent(centre, shape, 0.5 / np.sqrt(2))
    silent = replace(science, read_noise=0.0, fwhm=5.0)
    small = replace(silent, fwhm=5.0 * np.sqrt(2), sky=science.sky / 2)
    coarse = flux_for(Pointing(here, here), silent, reference)
    assert flux_for(Pointing(here, fine), small, reference) == pytest.approx(coarse, rel=0.01)


def test_files_hold_the_field(field, tmp_path):
    folder = field.write(tmp_path / "pair")
    with fits.open(folder / "science.fits") as hdus:
        header = hdus[0].header
        np.testing.assert_array_equal(hdus[0].data, field.science)
        assert hdus[0].data.dtype.itemsize == 4
        place = WCS(header).all_world2pix(field.truth["ra"], field.truth["dec"], 0)
    np.testing.assert_allclose(place, field.truth[["x_sci", "y_sci"]].to_numpy().T, atol=1e-6)
    assert header["GAIN"] == 1.5 and header["FILTER"] == "r" and header["DATE-OBS"].startswith("2023-02-25T06:00")
    assert header["MJD-OBS"] == 60000.25
    psf = fits.getdata(folder / "reference_psf.fits")
    assert psf.shape == (65, 65) and psf.sum() == pytest.approx(1, abs=1e-5)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "truth.parquet"), field.truth)


def test_headers_can_keep_silent_and_tell_of_distortions(tmp_path):
    field = draw(1, replace(SMALL, missing=("GAIN", "RDNOISE", "FILTER"), distortion=2.0, transients=0))
    header = fits.getheader(field.write(tmp_path) / "science.fits")
    assert not {"GAIN", "RDNOISE", "FILTER"} & set(header) and header["CTYPE1"] == "RA---TAN-SIP"
    told = WCS(header).all_pix2world([10.0, 200.0], [20.0, 240.0], 0)
    np.testing.assert_allclose(told, field.pointing.science.all_pix2world([10.0, 200.0], [20.0, 240.0], 0), atol=1e-9)


def test_a_varying_field_varies(field):
    widths = []
    for x, y in ((50, 50), (50, 970), (970, 50), (970, 970), (500, 500)):
        peak = draw(5, varying(FieldSettings(transients=0, population=Population(0, 0)))).psf("science", 65, x, y).max()
        widths.append(peak**-0.5)
    assert np.ptp(widths) / np.mean(widths) > 0.05


def test_dirt_is_in_the_frames_and_in_the_masks():
    clean, soiled = draw(7, FieldSettings(transients=9)), draw(7, dirty(FieldSettings(transients=9)))
    kinds = soiled.defects.groupby(["frame", "kind"]).size()
    assert kinds["science", "trail"] == 1 and kinds["science", "mover"] == 3
    assert 30 < kinds["science", "cosmic_ray"] < 95 and kinds["reference", "cosmic_ray"] < 40
    for bit in (Bit.COSMIC_RAY, Bit.HOT, Bit.TRAIL):
        assert (soiled.science_mask & bit).any() and not (clean.science_mask & bit).any()
    hits = (soiled.science_mask & Bit.COSMIC_RAY) > 0
    assert 1 < hits.sum() / kinds["science", "cosmic_ray"] < 20
    noise = np.sqrt(np.median(soiled.views[0].variance))
    rise = soiled.science - soiled.views[0].sky
    assert np.median(rise[hits]) > 4 * noise
    assert soiled.science.max() <= soiled.settings.science.saturation
    movers = soiled.movers()
    there = soiled.defects[soiled.defects["kind"] == "mover"]
    x, y = np.rint(there[["x", "y"]].to_numpy(float)).astype(int).T
    assert (rise[y, x] > noise).all() and (movers["radius"] >= 6).all()
    offset = np.hypot(movers["x"].to_numpy() - there["x"], movers["y"].to_numpy() - there["y"])
    assert offset.max() < 5  # no more than the dither
