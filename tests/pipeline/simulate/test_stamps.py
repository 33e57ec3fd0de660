"""Simulated stamps: points where they should be, light as asked for, the same again from the same seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from catalogs.stamps import LESSONS, NOT_DOUBLE
from pipeline.errors import UsageError
from pipeline.simulate import stamps
from pipeline.simulate.optics import ellipse
from pipeline.simulate.profiles import moffat
from pipeline.simulate.spectra import Grid, image, points, power, radial
from pipeline.simulate.stamp_archive import TRUTH, write_archive
from pipeline.simulate.stamp_truth import visible
from pipeline.simulate.telescopes import TELESCOPES, Air, air, vacuum

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "stamps.toml"


@pytest.fixture(scope="module")
def description():
    return stamps.described()


@pytest.fixture(scope="module")
def lone(description):
    """A description of lone stars and pairs that nothing happens to."""
    calm = {"cut": 0, "gradient": 0, "cosmic_rays": 0, "skew": 0, "registration": 0, "smoothed": 0, "resampled": 0}
    return replace(
        description,
        kinds={"single": 1.0} | dict.fromkeys(set(NOT_DOUBLE) - {"single"}, 0.0),
        also=dict.fromkeys(description.also, 0.0),
        source=description.source | {"density": 0.0, "motion": 0, "third": 0, "offset": 0, "snr": {"log": [900, 1e3]}},
        exposure=description.exposure | calm | {"halo": 0, "unit": 1.0},
        surveys={name: {k: v for k, v in told.items() if k in ("fwhm", "telescope", "native")}
                 for name, told in description.surveys.items()},
    )  # fmt: skip


@pytest.mark.parametrize("over", [1, 2])
def test_points_lie_where_they_are_put(over):
    on = Grid(64, 0.25, over)
    drawn = image(on, air(on, Air(1.1, 4.5)) * on.pixel(0.25) * points(on, [30.3], [22.6], [1.0])).astype(float)
    rows, columns = np.indices(drawn.shape)
    near = np.hypot(rows - 22.6, columns - 30.3) < 15
    middle = [(drawn * axis)[near].sum() / drawn[near].sum() for axis in (columns, rows)]
    assert middle == pytest.approx([30.3, 22.6], abs=0.01)
    assert drawn.sum() == pytest.approx(1, abs=0.01)


def test_points_outside_do_not_come_in_on_the_other_side():
    on = Grid(128, 0.05, 2, 16)
    spread = air(on, Air(0.1, 3.0, (0.0, 0.0), 0.0, (0.0,) * 4))
    far = np.array([63.5, 63.5 + 5.1 / 0.05]), np.array([63.5, 63.5])
    found = image(on, spread * points(on, *far, np.array([1000.0, 1000.0])))
    alone = image(on, spread * points(on, *(one[:1] for one in far), np.array([1000.0])))
    np.testing.assert_allclose(found, alone, atol=1e-3)


def test_profile_is_moffats():
    on = Grid(64, 0.1, 2)
    beta, fwhm = 3.0, 1.0
    drawn = image(on, radial(on, moffat(beta), ellipse(np.zeros(1), np.zeros(1), np.array([fwhm]))[0])
                  * points(on, [32.0], [32.0], [1.0]))  # fmt: skip
    rows, columns = np.indices(drawn.shape)
    alpha2 = fwhm**2 / 4 / (2 ** (1 / beta) - 1)
    wanted = (beta - 1) / (np.pi * alpha2) * (1 + 0.01 * ((rows - 32) ** 2 + (columns - 32) ** 2) / alpha2) ** -beta
    assert np.abs(drawn - wanted * 0.01).max() < 2e-3 * drawn.max()


def test_power_is_the_sum_of_squares():
    on = Grid(64, 0.2, 2)
    spread = air(on, Air(0.8, 3.0, (0.1, 0.05))) * on.pixel(0.2)
    wanted = (image(on, spread * points(on, [31.6], [31.2], [1.0])).astype(float) ** 2).sum()
    assert power(on, spread) == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize(("telescope", "wavelength"), [("hst", 0.8), ("jwst", 1.5)])
def test_width_in_space_is_diffractions(telescope, wavelength):
    on = Grid(128, 0.01, 2)
    spread = vacuum(on, telescope, wavelength, 1)
    drawn = image(on, spread * points(on, [64.0], [64.0], [1.0]))
    size = 1.03e-6 * wavelength / TELESCOPES[telescope].diameter * 206_265
    width = 0.01 * 2 * np.sqrt((drawn > drawn.max() / 2).sum() / np.pi)
    assert size < width < 1.35 * np.hypot(size, 2.355 * TELESCOPES[telescope].blur[1])
    assert np.hypot(*(np.argwhere(drawn == drawn.max())[0] - 64)) < 2


def test_stamp_has_the_signal_to_noise_asked_for(lone):
    scene = next(one for one in stamps.draw(lone, "Pan-STARRS", 0, 30) if not one.sky.label)
    name, seen = next(iter(scene.exposures.items()))
    scene = replace(scene, exposures={name: replace(seen, snr=50.0, sky=1000.0, pedestal=True)})
    several = [stamps.render(scene, "Pan-STARRS", name, np.random.default_rng(k)) for k in range(60)]
    above = [one.image.astype(float) - 1000.0 for one in several]
    mean = np.mean(above, axis=0)
    assert mean.sum() == pytest.approx(several[0].facts["flux"], rel=0.1)
    shape = mean[20:44, 20:44]
    found = [(shape * one[20:44, 20:44]).sum() for one in above]
    assert np.mean(found) / np.std(found) == pytest.approx(50, rel=0.3)


def test_companion_lies_at_its_position_angle(lone):
    wide = {"separation": 2.4, "separation_even": 2.4, "delta_mag": [0.3, 1.0]}
    alone = replace(lone, double=1.0, source=lone.source | wide, exposure=lone.exposure | {"single": 1.0})
    pair = stamps.draw(alone, "SDSS", 1, 1)[0]
    name = next(iter(pair.exposures))
    seen = stamps.render(pair, "SDSS", name, np.random.default_rng(0))
    dx, dy = np.diff(seen.facts["x"][:2])[0] * 0.396, np.diff(seen.facts["y"][:2])[0] * 0.396
    image_, row = stamps.one_stacked(lone, pair, 1, 0)
    assert np.hypot(dx, dy) == pytest.approx(row["sep_arcsec"])
    assert np.degrees(np.arctan2(-dx, dy)) % 360 == pytest.approx(row["pa_deg"] % 360)  # east is left
    at = [image_[round(y), round(x)] for x, y in zip(seen.facts["x"][:2], seen.facts["y"][:2], strict=True)]
    opposite = image_[round(seen.facts["y"][0] - dy / 0.396), round(seen.facts["x"][0] - dx / 0.396)]
    assert at[0] > at[1] > 2 * opposite


@pytest.mark.parametrize("survey", ["SDSS", "JWST"])
def test_stacks_are_as_promised_and_the_same_again(description, survey):
    stacks, index = stamps.stacked(description, survey, 3, 24)
    again, others = stamps.stacked(description, survey, 3, 12)
    assert np.array_equal(stacks[:12], again, equal_nan=True)
    assert index[:12].equals(others)
    assert list(index.columns) == LESSONS.names
    assert set(index["kind"]) <= {"pair", *NOT_DOUBLE}
    pairs = index[index["label"] == 1]
    assert pairs["sep_arcsec"].between(0.1, 2.5).all()
    assert pairs[["pa_deg", "delta_mag"]].notna().all(axis=None)
    assert (index["noise"] > 0).all()
    assert not np.array_equal(stamps.stacked(description, survey, 4, 1)[0][0], stacks[0], equal_nan=True)


def test_nothing_but_companions_is_within_reach(description):
    for scene in stamps.draw(description, "SkyMapper", 0, 200):
        near = np.hypot(scene.sky.east, scene.sky.north) <= 2.5
        assert near.sum() == 1 if not scene.sky.label else near.sum() in (2, 3)


def test_a_star_that_moves_has_its_neighbours_where_they_are_told_to_be(description):
    moving = 0
    for survey in ("HST", "SDSS"):
        on = stamps.grid(survey)
        for scene in stamps.draw(description, survey, 3, 150):
            seen = max(scene.exposures.values(), key=lambda one: one.snr)
            moving += any(any(one.moved) for one in scene.exposures.values())
            x, y = stamps.places(on, scene, seen)
            own = 1 + scene.sky.label
            away = np.hypot(x[own:] - x[0], y[own:] - y[0]) * on.pixscale
            third = scene.sky.label and len(away) and np.hypot(scene.sky.east[2], scene.sky.north[2]) < 2.6
            assert (away[int(bool(third)) :] > 2.59).all()
    assert moving > 10


def test_what_nobody_can_see_weighs_nothing():
    limits = {"fwhm": 0.12, "sigmas": 0.7}
    assert not visible(0.1 / 1.3, 1.0, 500, limits)
    assert not visible(0.2, 0.01, 50, limits)
    assert not visible(2.0, 0.01, 10, limits)
    assert visible(1.0, 0.1, 50, limits)


def test_benchmark_is_another_set_than_training(description):
    frozen = stamps.described(BENCHMARK)
    assert frozen.seed != description.seed and frozen.name != description.name
    assert set(frozen.stacks) == {"Pan-STARRS", "SDSS", "DECaLS", "HSCLA", "HST", "JWST"}
    hard = (1 - frozen.double) * (1 - frozen.kinds["single"] / sum(frozen.kinds.values()))
    assert all(hard * count >= 10_000 for count in frozen.stacks.values())


def test_unusable_description_says_what_is_wrong(tmp_path):
    text = BENCHMARK.read_text()
    for old, new, wanted in (("third", "fourth", "third"), ("u = 1.53", "q = 1.53", "no filter q"),
                             ('"hst"', '"hubble"', "no telescope"), ("[kinds]", "[kind]", "no 'kinds'")):  # fmt: skip
        path = tmp_path / "odd.toml"
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(UsageError, match=wanted):
            stamps.described(path)


@pytest.mark.filterwarnings("ignore:.*datfix")
def test_archive_has_the_source_where_its_wcs_says(lone, tmp_path):
    truth = write_archive(tmp_path, lone, 5, ["SDSS", "HST"], turned=1.0)
    files = sorted(tmp_path.rglob("*.fits*"))
    assert len(files) == truth["files"].sum() and (tmp_path / TRUTH).exists()
    assert any(path.suffix == ".gz" for path in files)
    places = truth.set_index("source_id")
    for path in files:
        data, header = fits.getdata(path), fits.getheader(path)
        told = places.loc[header["OBJECT"]]
        x, y = WCS(header).all_world2pix(told["ra"], told["dec"], 0)
        if told["label"] == 0:
            row, column = np.unravel_index(np.nanargmax(data), data.shape)
            assert np.hypot(column - x, row - y) < 2
        elif told["sep_arcsec"] > 1.5 and told["delta_mag"] < 1:
            # North and east of the WCS, whichever way the pixels are turned.
            east, north = np.array([np.sin(np.radians(told["pa_deg"])), np.cos(np.radians(told["pa_deg"]))])
            step = told["sep_arcsec"] / 3600
            x2, y2 = WCS(header).all_world2pix(
                told["ra"] + east * step / np.cos(np.radians(told["dec"])), told["dec"] + north * step, 0
            )
            assert data[round(float(y2)), round(float(x2))] > np.nanmedian(data) + 5 * np.nanstd(data[:10])
