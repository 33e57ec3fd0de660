"""Triplets of other pixels come to widths that networks know; what is usual stays as it is."""

import numpy as np
import pytest

from catalogs import write
from catalogs.folder import Folder
from catalogs.triplets import TRIPLETS
from pipeline import stores
from pipeline.images.gathered import AlertTriplets, Gathered
from pipeline.images.sampling import rescale, sampled
from pipeline.images.training import index_path, store_path
from pipeline.images.verdicts import Verdicts
from pipeline.settings import SamplingSettings
from tests.pipeline.alerts import made


def test_only_unusual_widths_are_resampled():
    pixels = np.random.default_rng(1).normal(size=(4, 3, 63, 63)).astype(np.float32)
    out, factor = sampled(pixels, np.array([2.0, 8.0, np.nan, 1.0]), SamplingSettings())
    assert factor.tolist() == [1.0, 3 / 8, 1.0, 3.0]
    assert np.array_equal(out[[0, 2]], pixels[[0, 2]])
    assert np.array_equal(out[1:2], rescale(pixels[1:2], 3 / 8), equal_nan=True)
    small, _ = sampled(pixels[..., :31, :31], np.full(4, 2.0), SamplingSettings())
    assert small.shape == (4, 3, 63, 63) and np.isnan(small[..., 0, 0]).all()


def test_alerts_are_stored_as_they_are_scored(tmp_path):
    (tmp_path / "a.avro").write_bytes(made.avro([made.alert() | {"candid": 1}]))
    source = AlertTriplets([tmp_path / "a.avro"], Verdicts("file", {"1": (1, "mover")}))
    (before,), (pixels,) = source.part(0)[0].to_dict("records"), source.part(0)[1]
    # a rule that finds its stars too narrow
    rule = SamplingSettings(min_fwhm=2 * before["seeing_px"], max_fwhm=50, target_fwhm=3 * before["seeing_px"])
    stage = Gathered(Folder(tmp_path / "out"), "x", source, rule)
    stage.prepare()
    (key,) = stage.keys()
    assert stage.execute(key).counts["done"] == 1
    (row,) = write.read(stage.workspace, index_path(key), TRIPLETS).to_pandas().to_dict("records")
    assert row["seeing_px"] == pytest.approx(3 * before["seeing_px"])
    assert row["pixscale"] == pytest.approx(before["pixscale"] / 3)
    stored = stores.read(stage.workspace, store_path(stage.where), ["triplet"], slice(0, 1))["triplet"]
    assert np.array_equal(stored, rescale(pixels[None], 3), equal_nan=True)
