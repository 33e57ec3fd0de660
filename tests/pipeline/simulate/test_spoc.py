"""Simulated files: what a reader of real SPOC light curves finds in them."""

import csv
import warnings

import numpy as np
import pytest
from astropy.io import fits

from pipeline.simulate.lightcurves import simulate_stars
from pipeline.simulate.spoc import archive_path, spoc_bytes, write_archive, write_spoc


@pytest.fixture(scope="module")
def curve():
    return next(simulate_stars(1, sector=1, seed=3))


@pytest.fixture(scope="module")
def path(curve, tmp_path_factory):
    path = tmp_path_factory.mktemp("spoc") / archive_path(curve)
    write_spoc(path, curve)
    return path


def test_astropy_reads_back_every_column(path, curve):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a wrong checksum, an odd card or a short file would warn
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            assert [h.name for h in hdus] == ["PRIMARY", "LIGHTCURVE", "APERTURE"]
            data = hdus["LIGHTCURVE"].data
            for column, field in (("TIME", "time"), ("PDCSAP_FLUX", "flux"), ("QUALITY", "quality")):
                assert np.array_equal(data[column], getattr(curve, field), equal_nan=True)
            assert np.isnan(data["PSF_CENTR1"]).all()
            assert np.count_nonzero(hdus["APERTURE"].data & 2) == curve.n_pixels
    assert path.stat().st_size % 2880 == 0


def test_headers_tell_the_truth_and_that_it_is_simulated(path, curve):
    with fits.open(path) as hdus:
        primary, table = hdus[0].header, hdus[1].header
    assert all(h["SIMDATA"] is True for h in (primary, table))
    assert "not an observation" in str(primary["HISTORY"])
    assert (primary["TICID"], primary["SECTOR"], primary["CAMERA"]) == (curve.tic_id, 1, curve.camera)
    assert primary["RA_OBJ"] == curve.ra and table["CROWDSAP"] == curve.crowdsap
    assert primary["TELESCOP"] == "TESS" and "LightCurveExporterPipelineModule" in primary["CREATOR"]
    assert table["TSTART"] < np.nanmin(curve.time) < np.nanmax(curve.time) < table["TSTOP"]


def test_damage_breaks_the_checksum(path, tmp_path):
    damaged = bytearray(path.read_bytes())
    damaged[500_000] ^= 1
    (tmp_path / "damaged.fits").write_bytes(damaged)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with fits.open(tmp_path / "damaged.fits", checksum=True) as hdus:
            assert len(hdus) == 3
    assert [str(w.message).split()[0] for w in caught] == ["Checksum", "Datasum"]


def test_same_layout_as_a_real_file(path, shared_data):
    real = next((shared_data / "lightcurves/tess_2min/s001").glob("tess*.fits"))
    with fits.open(real) as theirs, fits.open(path) as ours:
        assert ours[1].data.dtype == theirs[1].data.dtype
        for key in ("TTYPE", "TFORM", "TUNIT", "TDISP"):
            for i in range(1, 21):
                assert ours[1].header.get(f"{key}{i}") == theirs[1].header.get(f"{key}{i}")
        for hdu, optional in ((0, ()), (1, ("PDC", "PR_", "FITTYPE", "NUMBAND", "MEANBL", "TMOFST"))):
            missing = set(theirs[hdu].header) - set(ours[hdu].header)
            assert not [key for key in missing if not key.startswith(optional or ("?",))]
        for key in ("BJDREFI", "BJDREFF", "NUM_FRM", "INT_TIME", "TIMEDEL", "DEADC", "NREADOUT", "TIMESYS"):
            assert ours[1].header[key] == theirs[1].header[key], key


@pytest.mark.parametrize(
    ("cadence_s", "name", "frames"),
    [(20.0, "-a_fast-lc.fits", 10), (200.0, "_tess_v1_lc.fits", 100), (1800.0, "_tess_v1_lc.fits", 900)],
)
def test_other_cadences(tmp_path, cadence_s, name, frames):
    curve = next(simulate_stars(1, sector=30, seed=3, cadence_s=cadence_s))
    path = tmp_path / archive_path(curve)
    write_spoc(path, curve)
    assert path.name.endswith(name) and path.parent.name == "s030"
    header = fits.getheader(path, 1)
    assert header["NUM_FRM"] == frames and header["TIMEDEL"] == pytest.approx(cadence_s / 86400)


def test_cards_can_be_replaced(curve):
    hdus = fits.HDUList.fromstring(spoc_bytes(curve, {"DATA_REL": 99, "SECTOR": 7}))
    assert (hdus[0].header["DATA_REL"], hdus[0].header["SECTOR"]) == (99, 7)
    with pytest.raises(KeyError, match="NOSUCH"):
        spoc_bytes(curve, {"NOSUCH": 1})


def test_archive_and_its_truth(tmp_path):
    paths = write_archive(tmp_path, [1, 2], 4, seed=9, cadences=(1800.0,))
    assert len(paths) == 8 and sorted(p.name for p in tmp_path.iterdir()) == ["s001", "s002", "truth.csv"]
    with open(tmp_path / "truth.csv", newline="") as file:
        truth = {int(row["tic_id"]): row for row in csv.DictReader(file)}
    assert {fits.getval(p, "TICID") for p in paths} == truth.keys()
    assert all(row["label"] in ("EB", "not EB") for row in truth.values())
    again = write_archive(tmp_path / "again", [1], 4, seed=9, cadences=(1800.0,))
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in paths[:4]]
