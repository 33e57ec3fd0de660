"""What the header words of each survey tell, on headers as the surveys write them and on real ones."""

from pathlib import Path

import numpy as np
import pytest

from catalogs.folder import Folder
from pipeline.errors import Rejected
from pipeline.images import headers
from pipeline.images.reading import opened

DAY = 86400.0

ZTF = {
    "ORIGIN": "Zwicky Transient Facility", "INSTRUME": "ZTF/MOSAIC", "TELESCOP": "Palomar 48-inch", "IMGTYPE": "object",
    "FILTER": "ZTF_r", "FILTERID": 2, "EXPOSURE": 30.0, "OBSMJD": 58300.25, "SHUTOPEN": "2018-07-01T06:00:00.000",
    "GAIN": 6.2, "READNOI": 10.3, "SATURATE": 51000.0, "MAGZP": 26.2, "CCDID": 4, "DATE": "2020-01-01T00:00:00",
}  # fmt: skip
PS1 = {
    "PSCAMERA": "GPC1", "FPA.TELESCOPE": "PS1", "FPA.FILTERID": "g.00000", "FPA.ZP": 25.0, "EXPTIME": 731.0,
    "MJD-OBS": 55900.5, "CELL.GAIN": 1.02, "CELL.READNOISE": 6.4, "CELL.SATURATION": 53000.0, "BSOFTEN": 100.0,
    "BOFFSET": 3.0,
}  # fmt: skip
UVOT = {
    "TELESCOP": "SWIFT", "INSTRUME": "UVOTA", "FILTER": "UVW1", "EXPOSURE": 118.2, "DATE-OBS": "2021-05-06T01:02:03",
    "DATE-END": "2021-05-06T01:04:03", "TIMESYS": "UTC", "EXTNAME": "w1642100000I",
}  # fmt: skip
DECAM = {
    "INSTRUME": "DECam", "FILTER": "g DECam SDSS c0001 4720.0 1520.0", "EXPTIME": 90.0, "MJD-OBS": 57000.125,
    "DATE-OBS": "2014-12-09T03:00:00.0", "GAINA": 4.0, "RDNOISEA": 6.0, "SATURATE": 45000.0, "MAGZERO": 30.1,
    "EXTNAME": "N6", "PROCTYPE": "InstCal", "PRODTYPE": "image", "DESBIAS": "Tue Aug 23 2016",
}  # fmt: skip


def test_ztf() -> None:
    told = headers.read(ZTF)
    facts = told.facts
    assert (facts.survey, facts.mission, facts.filter, facts.unit) == ("ztf", "ZTF", "r", "adu")
    assert (facts.gain, facts.read_noise, facts.saturation, facts.zp_ab) == (6.2, 10.3, 51000.0, 26.2)
    assert facts.mjd_mid == pytest.approx(58300.25 + 15 / DAY, abs=1e-9)
    assert told.applied == {"bias", "dark", "flat"} and not told.missing and not facts.estimated
    assert headers.read({k: v for k, v in ZTF.items() if k != "FILTER"}).facts.filter == "r"


def test_ps1_is_calibrated_to_25_mag_a_second() -> None:
    facts = headers.read(PS1).facts
    assert (facts.survey, facts.filter, facts.gain, facts.mjd_mid) == ("ps1", "g", 1.02, 55900.5)
    assert facts.zp_ab == pytest.approx(25 + 2.5 * np.log10(731.0))


def test_only_stacks_of_ps1_have_a_zero_point_that_the_header_does_not_tell() -> None:
    untold = {key: value for key, value in PS1.items() if key != "FPA.ZP"}
    assert headers.read(untold).facts.zp_ab is None
    assert headers.read(untold | {"STK_TYPE": "DEEP_STACK"}).facts.zp_ab == headers.read(PS1).facts.zp_ab
    assert headers.read(PS1 | {"FPA.ZP": 24.6}).facts.zp_ab == pytest.approx(24.6 + 2.5 * np.log10(731.0))


def test_uvot_counts_photons() -> None:
    told = headers.read(UVOT)
    assert (told.facts.survey, told.facts.filter, told.facts.unit) == ("uvot", "UVW1", "photon")
    assert (told.facts.gain, told.facts.read_noise, told.facts.zp_ab) == (1.0, 0.0, None)
    # The middle of start and end: the exposure is shorter than what passes between them.
    assert told.facts.mjd_mid == pytest.approx(59340 + (3723 + 60) / DAY, abs=1e-9)


def test_decam() -> None:
    facts = headers.read(DECAM).facts
    assert (facts.survey, facts.filter, facts.ccd, facts.gain, facts.read_noise) == ("decam", "g", "N6", 4.0, 6.0)
    assert facts.zp_ab == 30.1 and facts.mjd_mid == pytest.approx(57000.125 + 45 / DAY, abs=1e-9)
    for product in ("dqmask", "wtmap"):
        with pytest.raises(Rejected, match="not_science"):
            headers.check_science(headers.survey_of(DECAM), DECAM | {"PRODTYPE": product})


def test_the_name_of_an_exposure_is_believed_before_a_date_it_was_resampled_to() -> None:
    facts = headers.read(DECAM | {"EXP_BN": "c4d_160818_020339_ooi_i_v1"}).facts
    assert facts.mjd_mid == pytest.approx(57618 + (2 * 3600 + 3 * 60 + 39 + 45) / DAY, abs=1e-6)
    assert facts.estimated == ("mjd_mid",)


@pytest.mark.parametrize(
    ("cards", "mjd", "doubtful"),
    [
        ({"DATE-OBS": "2018-02-17T02:40:45.5", "MJD-OBS": 58166.0}, 58166.11163773148, False),
        ({"DATE-OBS": "2018-02-17", "TIME-OBS": "02:40:45.5", "MJD-OBS": 58166.0}, 58166.11163773148, False),
        ({"DATE-OBS": "17/02/98", "UT": "12:00:00"}, 50861.5, False),
        ({"MJD-OBS": 58166.25}, 58166.25, False),
        ({"JD": 2458166.75}, 58166.25, False),
        ({"MJD-OBS": 58166}, 58166.0, True),
        ({"DATE-OBS": "2018-02-17"}, 58166.0, True),
        ({"DATE": "2018-02-17T00:00:00"}, None, False),
        ({"DATE-OBS": "2018-02-17T00:01:09.184", "TIMESYS": "TT"}, 58166.0, False),
    ],
)
def test_times(cards: dict, mjd: float | None, doubtful: bool) -> None:
    facts = headers.read(cards | {"EXPTIME": 2 * DAY / 1000}).facts
    assert facts.mjd_mid == (None if mjd is None else pytest.approx(mjd + 1e-3, abs=2e-8))
    assert ("mjd_mid" in facts.estimated) == doubtful and facts.time_scale == "utc"


def test_a_generic_header_is_read_by_common_words_and_guesses_no_zero_point() -> None:
    cards = {"TELESCOP": "ct13m", "CCDFLTID": "B", "EXPTIME": "160.0", "GAIN": 0, "MAGZP": 25.0, "IMAGETYP": "OBJECT"}
    told = headers.read(cards)
    assert (told.facts.survey, told.facts.mission, told.facts.filter) == ("generic", "ct13m", "B")
    assert told.facts.exptime_s == 160.0 and told.facts.zp_ab is None
    assert told.missing == {"gain", "read_noise", "saturation"}
    assert headers.read(cards | {"MAGSYS": "AB"}).facts.zp_ab == 25.0


@pytest.mark.parametrize(
    ("cards", "steps"),
    [
        ({"BIASCORR": "COMPLETE", "FLATCORR": "OMIT", "DARKCORR": "PERFORM"}, {"bias"}),
        ({"ZEROCOR": "Feb 17 Zero level correction", "FLATCOR": "Flat field image is f.fits"}, {"bias", "flat"}),
        ({"BIASCORR": False, "FLATCORR": True}, {"flat"}),
        ({}, set()),
    ],
)
def test_what_is_calibrated_is_seen(cards: dict, steps: set) -> None:
    assert headers.read(cards).applied == steps


def test_rates_become_counts() -> None:
    cards = {"TELESCOP": "HST", "BUNIT": "ELECTRONS/S", "EXPTIME": 100.0, "PHOTFLAM": 1e-19, "PHOTPLAM": 6000.0}
    told = headers.read(cards | {"DRIZCORR": "COMPLETE"})
    assert told.scale == 100.0 and told.facts.gain == 1.0 and told.combined
    # A source of 1 µJy at that wavelength: 1e-29 erg/s/cm²/Hz × c / λ², divided by PHOTFLAM, over 100 s.
    counts = 1e-29 * 2.99792458e18 / 6000.0**2 / 1e-19 * 100
    assert told.facts.zp_ab - 2.5 * np.log10(counts) == pytest.approx(23.9, abs=2e-3)


@pytest.mark.parametrize("kind", ["BIAS", "zero", "Dark", "flat", "DOME FLAT", "sky_flat", "mask"])
def test_calibrations_are_no_science(kind: str) -> None:
    with pytest.raises(Rejected, match="not_science"):
        headers.check_science(headers.survey_of({}), {"IMAGETYP": kind})


@pytest.mark.parametrize(
    ("file", "survey", "name", "mjd"),
    [
        ("goto_virgo/goto_1_crop1024.fits.gz", "goto", "L", 58249.96632 + 180 / DAY),
        ("decam/DEC-OBS04a.mini.fits.gz", "decam", "i", 58334.39134 + 165 / DAY),
        ("decam/DEC-OBS18b.mini.fits.gz", "decam", "i", 57618.08587 + 165 / DAY),
        ("hst_sn2022qmx/science_iebc16uaq_flc.fits.gz", "hst", "F625W", 59843.54213),
        ("hst_sn2022qmx/template_iebc17enq_flc.fits.gz", "hst", "F814W", 60166.39265),
        ("sn_andicam/SN2018rw_58166_B.fits.gz", "generic", "B", 58166.11164 + 100 / DAY),
    ],
)
def test_real_headers(shared_data: Path, file: str, survey: str, name: str, mjd: float) -> None:
    with opened(Folder(shared_data / "images"), file, 1 << 30) as found:
        facts = headers.read(found.cards(1 if survey == "hst" else 0)).facts
    assert (facts.survey, facts.filter) == (survey, name)
    assert facts.mjd_mid == pytest.approx(mjd, abs=2e-5)
    if survey == "hst":  # WFC3's zero point for F625W and F814W: 25.5 and 25.1 mag for one electron a second
        expected = {"F625W": 25.52, "F814W": 25.11}[name] + 2.5 * np.log10(facts.exptime_s)
        assert facts.zp_ab == pytest.approx(expected, abs=0.03)
