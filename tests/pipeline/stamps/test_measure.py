from dataclasses import replace

import numpy as np
import pytest

from catalogs.stamp_measures import MEASURES, STAMP_MEASURES
from pipeline.stamps.measure import measure, polar
from tests.stamp_drawing import drawn


def test_surveys_and_filters_share_separation_and_angle() -> None:
    rng = np.random.default_rng(1)
    stamps = [
        drawn(rng, 1.5, 30, 1.0, filter="g"),
        drawn(rng, 1.5, 30, 1.4, fwhm=1.0, filter="r", unit=1e-3),
        drawn(rng, 1.5, 30, 2.0, scale=0.396, fwhm=1.3, filter="i"),
    ]
    found = measure(stamps, 150.0, 60.0)
    source = found.source
    assert source["n_components"] == 2 and source["n_images"] == 3
    assert abs(source["sep_arcsec"] - 1.5) < 4 * source["sep_arcsec_err"] < 0.15
    assert abs(source["pa_deg"] - 30) < 4 * source["pa_deg_err"] < 6
    assert not source["pa_ambiguous"]
    # East is right ascension: at 60 degrees an arcsec is two of it.
    assert source["ra_2"] == pytest.approx(150 + 2 * 1.5 * np.sin(np.radians(30)) / 3600, abs=0.4 / 3600)
    assert source["dec_2"] == pytest.approx(60 + 1.5 * np.cos(np.radians(30)) / 3600, abs=0.2 / 3600)
    # The brighter star is where the images are asked for, and from it the other as far as they are apart.
    assert np.hypot((source["ra"] - 150) / 2, source["dec"] - 60) * 3600 < 0.1
    offset = (source["ra_2"] - source["ra"]) / 2, source["dec_2"] - source["dec"]
    assert np.hypot(*offset) * 3600 == pytest.approx(source["sep_arcsec"], rel=1e-3)
    assert np.degrees(np.arctan2(*offset)) == pytest.approx(source["pa_deg"], abs=0.1)
    # Of three bands that differ the mean is not sure; which is the brighter all of them say.
    assert source["delta_mag_err"] > 0.1
    for row, dm in zip(found.rows, (1.0, 1.4, 2.0), strict=True):
        assert abs(row["delta_mag"] - dm) < 4 * row["delta_mag_err"] < 1
        assert abs(row["sep_arcsec"] - 1.5) < 4 * row["sep_arcsec_err"]
        assert row["delta_chi2"] > 30
    MEASURES.check(MEASURES.conform(MEASURES.of([{"source_id": "1"} | source])))
    STAMP_MEASURES.check(STAMP_MEASURES.conform(STAMP_MEASURES.of([{"source_id": "1"} | row for row in found.rows])))


def test_places_are_of_the_time_of_the_images() -> None:
    rng = np.random.default_rng(6)
    stamps = [replace(drawn(rng, snr=100), mjd=mjd) for mjd in (51544.5, 51544.5 + 4 * 365.25, np.nan)]
    assert measure(stamps).source["pos_epoch"] == pytest.approx(2002, abs=0.1)
    assert np.isnan(measure(stamps[2:]).source["pos_epoch"])


def test_without_north_there_are_separations_and_no_angles() -> None:
    rng = np.random.default_rng(7)
    first, other = drawn(rng, 1.6, 70, 1.0, snr=80), drawn(rng, 1.6, 160, 1.0, snr=80)
    lost = replace(other, oriented=False)
    alone = measure([lost], 150.0, 60.0)
    assert abs(alone.source["sep_arcsec"] - 1.6) < 0.1 and abs(alone.rows[0]["sep_arcsec"] - 1.6) < 0.1
    assert np.isnan([alone.source[name] for name in ("ra", "dec", "ra_2", "dec_2", "pa_deg", "pa_deg_err")]).all()
    assert np.isnan(alone.rows[0]["pa_deg"])
    both = measure([lost, first], 150.0, 60.0)
    assert both.source["n_images"] == 1 and abs(both.source["pa_deg"] - 70) < 5
    blank = replace(first, image=np.full_like(first.image, np.nan))
    assert measure([lost, blank]).source["n_components"] == 2  # what tells where north is shows nothing
    sharper = replace(first, survey="Pan-STARRS", fwhm=0.9 * first.fwhm, oriented=False)
    assert measure([lost, sharper]).source["n_images"] == 1


def test_the_angle_is_from_the_brighter_to_the_fainter() -> None:
    rng = np.random.default_rng(2)
    angle = measure([drawn(rng, 1.6, 70, -1.0, snr=60)]).source["pa_deg"]
    assert abs(angle - 250) < 10
    assert measure([drawn(rng, 1.6, 70, 0.0, snr=60)]).source["pa_ambiguous"]


def test_a_limit_is_what_five_sigma_are() -> None:
    rng = np.random.default_rng(3)
    limit = measure([drawn(rng, snr=200)]).source
    names = ["dm_limit_0p3", "dm_limit_0p5", "dm_limit_1p0", "dm_limit_2p0"]
    assert np.all(np.diff([limit[name] for name in names]) > 0)
    assert np.isnan(limit["sep_arcsec"]) and limit["n_components"] == 1
    assert limit["pa_ambiguous"] is None  # there is no pair whose angle it could be
    for name, sep in (("dm_limit_1p0", 1.0), ("dm_limit_2p0", 2.0)):
        gains = [measure([drawn(rng, sep, 90 * k, limit[name], 200)], most=2).source["delta_chi2"] for k in range(8)]
        # Five sigma are a gain of 25; the place that is free adds a few.
        assert 15 < np.median(gains) < 50


def test_what_cannot_tell_is_not_asked() -> None:
    rng = np.random.default_rng(4)
    stamp = drawn(rng, 1.5, 30, 1.0)
    blind = type(stamp)(**{name: value for name, value in vars(stamp).items() if name != "able"}, able=False)
    found = measure([blind])
    assert found.source["n_images"] == 0 and np.isnan(found.source["delta_chi2"])
    assert np.isnan(found.source["n_components"]) and found.source["pa_ambiguous"] is None
    assert np.isnan(found.rows[0]["delta_chi2"]) and found.rows[0]["survey"] == "SDSS"
    both = measure([stamp, blind])
    assert both.source["n_images"] == 1 and both.source["n_components"] == 2


def test_errors_of_polar_coordinates() -> None:
    sep, sep_err, angle, angle_err = polar(np.array([0.0, 2.0]), np.diag([0.01, 0.04]))
    assert (sep, sep_err, angle) == pytest.approx((2.0, 0.2, 0.0))
    assert angle_err == pytest.approx(np.degrees(0.05))
    assert polar(np.array([-1.0, 0.0]), np.eye(2))[2] == pytest.approx(270)
