"""Injected transients: as much light as asked for, where asked for, found as often as their significance says."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.images import inject, places
from pipeline.images.detect import detect
from pipeline.images.forced import interpolate
from pipeline.images.frame import Bit
from pipeline.images.subtract import subtract
from pipeline.simulate.conditions import FieldSettings
from tests.pipeline.images.pairs import matched


@pytest.fixture(scope="module")
def pair():
    return matched(False, 8, transients=0)


@pytest.fixture(scope="module")
def plain(pair):
    _, science, reference, found = pair
    return subtract(science, reference, found, 0, 400)


@pytest.mark.parametrize("changes", [{}, {"zoom": 0.8, "rotation": 15.0}], ids=["alike", "turned"])
def test_light_is_put_where_it_belongs(changes):
    _, science, reference, found = matched(False, 8, **({"transients": 0} | changes))
    place, flux = np.array([[200.3, 180.6], [260.0, 210.25]]), np.array([2e5, 1e5])
    made = inject.inject(science, reference, found, place, flux, np.random.default_rng(1))
    added = made.read(0, 400, 0, 448).data.astype(float) - science.frame.data
    assert added.sum() == pytest.approx(flux.sum(), rel=0.01)
    xs, ys = found.warp(science, reference)(*place.T)
    v, u = np.indices(added.shape)
    for x, y, counts in zip(xs, ys, flux, strict=True):
        near = np.hypot(u - x, v - y) < 15
        light = added * near
        assert light.sum() == pytest.approx(counts, rel=0.05)
        centre = (light * u).sum() / light.sum(), (light * v).sum() / light.sum()
        assert np.hypot(centre[0] - x, centre[1] - y) < 0.05
    grown = made.read(0, 400, 0, 448).variance - science.frame.variance
    assert grown.sum() == pytest.approx(flux.sum() / science.facts.gain, rel=0.01)


def test_every_part_shows_the_same(pair):
    _, science, reference, found = pair
    rng = np.random.default_rng(2)
    made = inject.inject(science, reference, found, np.array([[224.0, 200.0], [5.0, 3.0]]), np.array([1e5, 1e4]), rng)
    whole = made.read(0, 400, 0, 448)
    np.testing.assert_array_equal(made.read(190, 203, 210, 230).data, whole.data[190:203, 210:230])
    assert (made.shape, made.sky, made.sky_rms, made.facts) == (
        science.shape, science.sky, science.sky_rms, science.facts,
    )  # fmt: skip
    np.testing.assert_array_equal(science.read(0, 400).mask[300:], whole.mask[300:])
    full = inject.inject(science, reference, found, np.array([[224.0, 200.0]]), np.array([5e6]), rng)
    assert (full.read(0, 400, 0, 448).mask & int(Bit.SATURATED)).any()
    with pytest.raises(ValueError, match="above 0"):
        inject.inject(science, reference, found, np.array([[224.0, 200.0]]), np.array([-1.0]), rng)
    none = inject.inject(science, reference, found, np.zeros((0, 2)), np.zeros(0), rng)
    np.testing.assert_array_equal(none.read(0, 400, 0, 448).data, science.frame.data)


def test_places_are_in_their_environment(pair):
    _, _, reference, _ = pair
    table = reference.sources
    drawn = places.draw(table, reference.shape, 30, 4.0, np.random.default_rng(3))
    counts = drawn["environment"].value_counts()
    assert counts["core"] >= 5 and counts["blank"] >= 3 and set(counts.index) <= set(places.ENVIRONMENTS)
    galaxies = table[~table["is_star"]]
    for row in drawn.itertuples():
        near = np.hypot(galaxies["x"] - row.x, galaxies["y"] - row.y).min()
        all_of = np.hypot(table["x"] - row.x, table["y"] - row.y).min()
        assert {"core": near <= 0.31, "disk": near < 20, "blank": all_of > 12}[row.environment]
    apart = np.hypot(*(drawn[c].to_numpy()[:, None] - drawn[c].to_numpy() for c in "xy")) + 1e9 * np.eye(len(drawn))
    assert apart.min() > 24
    again = places.draw(table, reference.shape, 30, 4.0, np.random.default_rng(3))
    pd.testing.assert_frame_equal(drawn, again)
    avoided = places.draw(table, reference.shape, 30, 4.0, np.random.default_rng(3), drawn[["x", "y"]])
    assert np.hypot(*(avoided[c].to_numpy()[:, None] - drawn[c].to_numpy() for c in "xy")).min() > 8
    assert len(places.draw(table.iloc[:0], (100, 100), 9, 4.0, np.random.default_rng(1))) <= 9


def test_they_are_found_as_their_significance_says(pair, plain):
    _, science, reference, found = pair
    rng = np.random.default_rng(4)
    truth = places.draw(reference.sources, reference.shape, 36, 4.0, rng, detect(plain))
    error = interpolate(plain.flux_err, truth["x"].to_numpy(), truth["y"].to_numpy())
    tables, candidates, values = [], [], []
    for turn, limits in enumerate([(3.0, 12.0)] * 2 + [(20.0, 60.0)]):
        truth["flux"] = inject.fluxes(error, science.facts.gain, rng, limits)
        places_, flux = truth[["x", "y"]].to_numpy(), truth["flux"].to_numpy()
        band = subtract(inject.inject(science, reference, found, places_, flux, rng), reference, found, 0, 400)
        seen, peaks = inject.seen(truth, band), detect(band).assign(flags=0)
        assert len(seen) == len(truth) and seen["snr_opt"].between(0.75 * limits[0], 1.1 * limits[1]).mean() > 0.9
        values.append((seen["forced_flux"] - seen["flux"]) / (seen["flux"] / seen["snr_opt"]))
        marked = inject.mark(peaks, truth, 4.0)
        assert marked["is_injected"].sum() <= len(truth) and (turn < 2 or marked["is_injected"].sum() >= len(truth) - 2)
        tables.append(seen.assign(x=seen["x"] + 1000 * turn))
        candidates.append(peaks.assign(x=peaks["x"] + 1000 * turn))
    counts = inject.completeness(pd.concat(tables), pd.concat(candidates), 4.0)
    assert counts["injected"].sum() + counts["masked"].sum() == pytest.approx(3 * len(truth), abs=6)
    bright = counts.xs(">10", level="bin")
    assert bright["recovered"].sum() >= 0.97 * bright["injected"].sum()
    faint = counts.drop(index=">10", level="bin")
    missed = faint["expected"].sum() - faint["recovered"].sum()
    assert abs(missed) < 3 * np.sqrt(faint["injected"].sum() / 4)
    pulls = np.concatenate(values)
    assert abs(np.median(pulls)) < 0.4 and 0.7 < pulls.std() < 1.5


def test_nothing_injected_is_nothing_marked():
    table = pd.DataFrame({"x": [1.0], "y": [2.0]})
    assert not inject.mark(table, table.iloc[:0], 4.0)["is_injected"].any()
    assert inject.mark(table.iloc[:0], table, 4.0).empty
    assert inject.mark(table, table + 1.0, 4.0)["is_injected"].all()


def test_images_that_are_smoothed_first_get_light_that_is_not():
    """What is put in is as sharp as the stars are before."""
    sharp = FieldSettings().science
    exposure = replace(sharp, fwhm=1.6, sky=150.0)
    field, science, reference, found = matched(False, 9, transients=0, science=exposure)
    assert found.smoothing > 0 and found.science_psf.fwhm(224, 200) > 2.3
    place, flux = np.array([[200.3, 180.6], [120.0, 300.0]]), np.array([4e4, 4e4])
    made = inject.inject(science, reference, found, place, flux, np.random.default_rng(1))
    added = made.read(0, 400, 0, 448).data.astype(float) - science.frame.data
    assert added.sum() == pytest.approx(flux.sum(), rel=0.02)
    truth = field.psf("science", 41)
    light = added[:, :] / 4e4
    assert (light**2).sum() / 2 == pytest.approx((truth**2).sum(), rel=0.15)
    band = subtract(made, reference, found, 0, 400)
    seen = inject.seen(pd.DataFrame({"x": place[:, 0], "y": place[:, 1], "flux": flux}), band)
    np.testing.assert_allclose(seen["forced_flux"], flux, rtol=0.03)
