"""A star from the stores of its sectors: bit for bit, one cadence a sector, and never another star's light."""

import numpy as np
import pytest
from astropy.io import fits

from catalogs.folder import Folder
from pipeline.errors import Corrupt, Missing, UsageError
from pipeline.lightcurves import plan
from pipeline.lightcurves.ingest import Ingest
from pipeline.lightcurves.star import Observation, good, load
from pipeline.settings import IngestSettings
from pipeline.simulate.spoc import write_archive


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """Return a workspace with three stars in sectors 1 and 2 at two minutes, and their archive."""
    top = tmp_path_factory.mktemp("star")
    write_archive(top / "archive", [1, 2], 3, seed=4)
    workspace, archive = Folder(top / "workspace"), Folder(top / "archive")
    settings = IngestSettings()
    for sector, found in plan.find(archive, None, settings.pattern).items():
        for name, change in plan.changes(workspace, sector, plan.inspect(archive, found)).items():
            plan.save(workspace, name, change)
            stage = Ingest(workspace, archive, name, settings)
            stage.prepare()
            for key in sorted(stage.keys()):
                stage.execute(key)
    return workspace, top / "archive"


def files(archive, sector):
    return sorted((archive / f"s{sector:03d}").glob("*.fits"))


def test_columns_are_the_files_bit_for_bit(ingested):
    workspace, archive = ingested
    star = load(workspace, [("s0002", 1), ("s0001", 1)])
    assert [observation.sector for observation in star.observations] == [1, 2]
    for observation in star.observations:
        with fits.open(files(archive, observation.sector)[1]) as file:
            header, data, crowding = file[0].header, file[1].data, file[1].header["CROWDSAP"]
            there = data["TIME"][np.isfinite(data["TIME"])]
            rows = np.isfinite(data["TIME"])
        assert star.tic_id == header["TICID"] and observation.time.tobytes() == there.astype("f8").tobytes()
        names = {"flux": "PDCSAP_FLUX", "flux_err": "PDCSAP_FLUX_ERR", "sap_bkg": "SAP_BKG", "quality": "QUALITY"}
        for ours, theirs in names.items():
            values = getattr(observation, ours)
            assert np.array_equal(values, data[theirs][rows], equal_nan=ours != "quality"), ours
        centroid = data["MOM_CENTR1"][rows].astype("f4").astype("f8")
        assert np.array_equal(observation.centroid_col, centroid, equal_nan=True)
        assert (observation.quality != 0).any() and observation.cadence_s == 120
        assert (observation.camera, observation.ccd) == (header["CAMERA"], header["CCD"])
        assert observation.crowdsap == np.float32(crowding)
    assert star.ra == header["RA_OBJ"] and star.tmag == np.float32(header["TESSMAG"])


def test_good_cadences_are_finite_and_relative(ingested):
    workspace, _ = ingested
    (observation,) = load(workspace, [("s0001", 0)]).observations
    time, flux, error = good(observation)
    assert 0 < len(time) < len(observation.time) and np.median(flux) == pytest.approx(1)
    assert np.isfinite(flux).all() and (error > 0).all()
    kept = np.isin(observation.time, time)
    assert (observation.quality[kept] == 0).all()
    assert np.allclose(error, observation.flux_err[kept] / np.median(observation.flux[kept]))


def test_missing_errors_are_the_scatter_and_a_flux_below_zero_is_relative_to_nothing(rng):
    time, flux = np.arange(5000) / 720, 1000 + rng.normal(0, 3, 5000)
    unknown = np.full(5000, np.nan)
    bare = Observation(1, 120.0, time, flux, unknown, np.zeros(5000, np.int32))
    assert good(bare)[2] == pytest.approx(np.full(5000, 0.003), rel=0.1)
    assert not len(good(Observation(1, 120.0, time, flux - 2000, unknown, np.zeros(5000, np.int32)))[0])


def test_photons_are_not_taken_twice(ingested):
    workspace, _ = ingested
    with pytest.raises(UsageError, match="s0001-fast20, s0002: two cadences of a sector"):
        load(workspace, [("s0002", 1), ("s0001", 1), ("s0001-fast20", 9)])


def test_rows_of_other_stars_and_no_rows_are_refused(ingested):
    workspace, _ = ingested
    with pytest.raises(Corrupt, match=r"s0002.zarr: row 2 holds TIC \d+, not TIC \d+"):
        load(workspace, [("s0001", 1), ("s0002", 2)])
    with pytest.raises(Corrupt, match=r"row 200 holds nothing"):
        load(workspace, [("s0001", 200)])
    with pytest.raises(Missing, match="without a single light curve"):
        load(workspace, [])
