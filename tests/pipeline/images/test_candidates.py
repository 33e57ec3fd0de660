"""Peaks become rows that the table takes: calibrated where there is a zero point, null where nothing is known."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.wcs import WCS

from catalogs.candidates import CANDIDATES
from pipeline.images.candidates import Pair, candidates, sky_errors
from pipeline.images.features import measure
from pipeline.images.hosts import surroundings

ORIGIN = {"catalog_release": "r", "stage_version": 1, "settings_hash": "s", "manifest_key": "k"}


def wcs(turn=0.0):
    made = WCS(naxis=2)
    made.wcs.ctype, made.wcs.crval, made.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [33.0, 33.0]
    c, s = np.cos(turn), np.sin(turn)
    made.wcs.cd = np.array([[-c, s], [s, c]]) * 0.5 / 3600
    return made


def image(**facts):
    return {"file": "a.fits", "extension": 0, "sha256": "0" * 64, "survey": "ztf", "mission": "ZTF", "instrument": "I",
            "ccd": "1", "filter": "r", "mjd_mid": 59000.0, "time_scale": "utc", "exptime_s": 86.4, "zp_ab": None,
            "fwhm": 4.0, "pixscale": 0.5} | facts  # fmt: skip


def peaks():
    y, x = np.mgrid[:64, :64]
    psf = np.exp(-0.5 * ((x[:21, :21] - 10) ** 2 + (y[:21, :21] - 10) ** 2) / 4).astype(np.float32)
    table = pd.DataFrame({"x": [32.0, 10.25], "y": [32.0, 50.0], "snr": [20.0, -8.0], "flux": [100.0, -40.0]})
    table["flux_err"] = 5.0
    noise = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    found = measure(table, noise, noise, np.zeros((64, 64), np.uint16), psf)
    sources = pd.DataFrame({"x": [30.0], "y": [32.0], "flux": [1000.0], "is_star": [False], "a": [2.0], "b": [1.0],
                            "theta": [0.0]})  # fmt: skip
    near = surroundings(table["x"].to_numpy(), table["y"].to_numpy(), sources, 0.5)
    return pd.concat([table, found, near], axis=1)


def rows(pair, sky=True):
    table = candidates(peaks(), pair, wcs() if sky else None)
    made = CANDIDATES.conform(pa.Table.from_pandas(table.assign(**ORIGIN), preserve_index=False))
    CANDIDATES.check(made)
    return table, made


def test_with_a_zero_point_fluxes_are_microjansky_and_places_are_on_the_sky():
    reference = image(file="b.fits", mjd_mid=59400.0, sha256="1" * 64, extension=4)
    table, made = rows(Pair("a-b", image(zp_ab=26.4), reference, 0.5, flux_ratio=0.5, overlap=1.0))
    assert table["flux"].tolist() == pytest.approx([10, -4]) and table["flux_err"].tolist() == pytest.approx([0.5] * 2)
    assert table["mag_ab"][0] == pytest.approx(26.4 - 2.5 * np.log10(100)) and np.isnan(table["mag_ab"][1])
    assert table["maglim_5sigma"].tolist() == pytest.approx([26.4 - 2.5 * np.log10(25)] * 2)
    assert table["ref_flux"][0] == pytest.approx(1000 * 0.5 * 0.1) and table["host_dlr"][0] == pytest.approx(1.0)
    assert (table["ra"][0], table["dec"][0]) == pytest.approx((150.0, 2.0))
    assert table["candidate_id"][0].startswith("J100000.00+020000.0-") and table["is_positive"].tolist() == [
        True,
        False,
    ]
    assert table["ref_after_event"].all() and table["seeing_arcsec"].eq(2.0).all()
    assert table["ref_mjd_max"][0] - table["ref_mjd_min"][0] == pytest.approx(86.4 / 86400)
    assert made["science_extension"].to_pylist() == [0, 0] and made["reference_extension"].to_pylist() == [4, 4]
    assert made["model_id"].null_count == 2 and made["scorr_std_blank"].null_count == 2


def test_without_zero_point_dates_or_sky_all_that_is_null():
    table, made = rows(Pair("a-b", image(mjd_mid=None), image(mjd_mid=None), 0.5), sky=False)
    assert table["flux"].tolist() == [100, -40] and (table["flux_unit"] == "count").all()
    for name in (
        "mag_ab",
        "maglim_5sigma",
        "zp_ab",
        "ref_after_event",
        "mjd_mid",
        "ref_mjd_min",
        "ra",
        "dec",
        "ra_err",
    ):
        assert made[name].null_count == 2, name
    assert table["candidate_id"].str.startswith("X").all() and len(set(table["candidate_id"])) == 2
    none = candidates(peaks().iloc[:0], Pair("a-b", image(), image(), 0.5), wcs())
    assert len(none) == 0 and list(none.columns) == list(rows(Pair("a-b", image(), image(), 0.5))[0].columns)


def test_a_reference_of_unknown_exposure_has_no_first_and_last_photon():
    table, made = rows(Pair("a-b", image(), image(exptime_s=None, mjd_mid=58000.0), 0.5))
    assert made["ref_mjd_min"].null_count == made["ref_mjd_max"].null_count == 2
    assert not table["ref_after_event"].any()


def test_errors_turn_with_the_image():
    x_err, y_err = np.array([0.2]), np.array([0.1])
    assert [e[0] for e in sky_errors(wcs(), x_err, y_err)] == pytest.approx([0.1, 0.05])
    assert [e[0] for e in sky_errors(wcs(np.pi / 2), x_err, y_err)] == pytest.approx([0.05, 0.1])
