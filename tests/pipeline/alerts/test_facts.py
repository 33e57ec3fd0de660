"""What a packet says becomes columns; what it does not say is null, and no score is taken for truth."""

from collections import Counter

import pytest

from pipeline.alerts.facts import drb, is_positive, row
from pipeline.alerts.packets import Packet, parse, read
from pipeline.alerts.surveys import PROFILES, sky_cell
from pipeline.alerts.witnesses import witness
from tests.pipeline.alerts import made


def _packet(survey="ztf", **facts):
    return Packet(survey, "1", "X", "x#0", facts, (None, None, None))


def test_a_packet_of_ztf_as_a_row():
    facts = {"jd": 2460411.5, "exptime": 60.0, "fid": 1, "ra": 150.0, "dec": 2.0, "isdiffpos": "f", "magpsf": 20.0,
             "sigmapsf": 0.1, "scorr": 9.0, "field": 505, "rcid": 7, "fwhm": 3.0, "seeratio": 0.8,
             "ssdistnr": -999.0, "drb": 0.5, "drbversion": "d6_m7", "schemavsn": "4.02"}  # fmt: skip
    found = row(_packet(**facts))
    assert found["candidate_id"] == "ztf:1"
    assert found["mjd_mid"] == pytest.approx(60411 + 30 / 86400, abs=1e-6)
    assert (found["filter"], found["field"], found["ccd"]) == ("g", "000505", "7")
    assert found["is_positive"] is False
    assert found["snr"] == -9.0
    assert found["flux"] == pytest.approx(-36.31, abs=0.01) and found["flux_unit"] == "uJy"
    assert found["flux_err"] == pytest.approx(0.0921 * 36.31, rel=1e-3)
    assert found["mag_ab"] is None
    assert found["fwhm_px"] == pytest.approx(2.4) and found["seeing_arcsec"] == pytest.approx(2.4 * 1.012)
    assert found["ssdistnr"] is None
    assert (found["drb"], found["drbversion"]) == (0.5, "d6_m7")


def test_a_packet_that_says_nothing_is_a_row_of_nulls():
    for survey in PROFILES:
        found = row(_packet(survey))
        known = {"candidate_id", "object_id", "survey", "where", "time_scale", "pixscale", "fwhm_px", "seeing_arcsec",
                 "field", "ccd", "filter"}  # fmt: skip
        assert {key for key, value in found.items() if value is not None} == known
        assert found["fwhm_px"] == PROFILES[survey].typical_fwhm_px


def test_facts_of_another_type_are_not_known():
    names = set(row(_packet())) | {"jd", "fid", "magpsf", "sigmapsf", "scorr", "fwhm", "seeratio", "rcid", "isdiffpos",
                                   "candid", "ixxPSF", "iyyPSF", "psfFlux", "midpointMjdTai", "tns"}  # fmt: skip
    expected = row(_packet())
    for value in ("strange", float("nan"), float("inf"), 10**400, -(10**30), True, b"x"):
        for survey in PROFILES:
            found = row(Packet(survey, "1", "X", "x#0", dict.fromkeys(names, value), (None, None, None)))
            assert set(found) == set(expected)
            assert all(item is None or isinstance(item, str | bool) or abs(item) < 1e300 for item in found.values())


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("t", True), ("f", False), ("1", True), ("0", False), (True, True), (False, False), (1, True), (0, False),
     ("", None), (None, None), ("maybe", None)],
)  # fmt: skip
def test_the_sign_of_a_candidate_in_every_spelling(sent, expected):
    assert is_positive(_packet(isdiffpos=sent)) is expected


def test_rubin_says_its_sign_and_its_seeing():
    (negative, _) = parse(made.rubin(negative=True), "x")
    found = row(negative)
    assert found["is_positive"] is False
    assert found["snr"] == -13.0
    assert found["flux"] == -4.0
    assert found["fwhm_px"] == pytest.approx(2.3548 * 0.44**0.5 / 0.2)
    assert (found["time_scale"], found["mjd_mid"], found["filter"], found["ccd"]) == ("tai", 61109.1, "g", "7")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"drb": 0.0, "schemavsn": "3.2"}, None),
        ({"drb": 0.0, "schemavsn": 3.0}, None),
        ({"drb": 0.0, "schemavsn": "3.3"}, 0.0),
        ({"drb": 0.7, "schemavsn": "3.2"}, 0.7),
        ({"drb": None, "schemavsn": "4.02"}, None),
        ({"drb": -99.0, "schemavsn": "4.02"}, None),
    ],
)
def test_a_score_that_was_never_made_is_missing(facts, expected):
    assert drb(_packet(**facts, drbversion="d6_m7")) == (expected, None if expected is None else "d6_m7")


def test_the_quadrant_is_in_the_digits_of_candid():
    assert row(_packet(candid=2475433850415015002))["ccd"] == "4"
    assert row(_packet(candid=-121540793515135005))["ccd"] == ""


def test_cells_of_the_sky_are_about_two_degrees():
    assert sky_cell(10.0, 0.5) == sky_cell(10.9, 1.5) != sky_cell(13.0, 0.5)
    assert len({sky_cell(ra, 89.5) for ra in range(0, 360, 10)}) == 3
    assert sky_cell(360.0, 90.0) == sky_cell(0.0, 90.0)
    assert sky_cell(float("nan"), 0.0) == ""


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"ssdistnr": 4.9}, "solar_system"),
        ({"ssdistnr": 0.0, "tns": "SN Ia"}, "solar_system"),
        ({"ssdistnr": 5.1}, ""),
        ({"ssdistnr": -999.0}, ""),
        ({"ssdistnr": -99.0, "drb": 1.0, "rb": 1.0}, ""),
        ({"tns": "SN Ia"}, "tns"),
        ({"tns": "nan"}, ""),
        ({"cdsxmatch": "(TNS) SN II"}, "tns"),
        ({"cdsxmatch": "(TNS) FRB"}, ""),
        ({"cdsxmatch": "(SIMBAD) QSO"}, "variable"),
        ({"cdsxmatch": "Candidate_RRLyr"}, "variable"),
        ({"cdsxmatch": "EB*"}, "variable"),
        ({"cdsxmatch": "PulsV*delSct"}, "variable"),
        ({"cdsxmatch": "Star"}, "counterpart"),
        ({"cdsxmatch": "Galaxy"}, ""),
        ({"cdsxmatch": "Unknown"}, ""),
    ],
)
def test_what_vouches_for_an_alert(facts, expected):
    assert witness(_packet(**facts)) == expected


def test_what_vouches_for_an_alert_of_rubin():
    assert witness(_packet("lsst", ssObjectId=0)) == ""
    assert witness(_packet("lsst", ssObjectId=77)) == "solar_system"
    assert witness(_packet("lsst", **{"ssSource.ephOffset": 0.3})) == "solar_system"
    assert witness(_packet("lsst", **{"xm.vsx_Type": "RRAB"})) == "variable"
    assert witness(_packet("lsst", **{"xm.tns_fullname": "SN 2026abc"})) == "tns"


def test_the_real_alerts_that_something_vouches_for(shared_data):
    packets = list(read(shared_data / "alerts" / "ztf_alerts_triplets.parquet"))
    counts = Counter(witness(packet) for packet in packets)
    assert counts["solar_system"] == 97
    assert 180 <= counts["solar_system"] + counts["tns"] + counts["variable"] <= 200
    assert 195 <= len(packets) - counts[""] <= 210
    missing = [drb(packet)[0] is None for packet in packets]
    assert sum(missing) == 175 + 26


def test_seeing_of_one_exposure_is_one_number(shared_data):
    paths = sorted((shared_data / "alerts" / "avro" / "kowalski" / "ztf_alerts" / "20231012").glob("*.avro"))
    found = [row(packet)["fwhm_px"] for path in paths for packet in read(path)]
    assert len(found) == 24
    assert max(found) - min(found) < 0.15
