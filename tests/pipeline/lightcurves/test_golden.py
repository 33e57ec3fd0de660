"""Bytes that change without a change of version are a bug: readers compare stores by them.

``SKYSIFT_GOLDEN=write pytest tests/pipeline/lightcurves/test_golden.py`` writes the values anew, after the version of
the stage has been raised. Ingest moves bytes and is held to them; floating-point work is held to 1e-6, as another CPU
adds in another order.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from catalogs.folder import Folder
from pipeline import manifest
from pipeline.lightcurves import plan
from pipeline.lightcurves.clean import prepare
from pipeline.lightcurves.ingest import Ingest
from pipeline.lightcurves.preprocess import Preprocess
from pipeline.partition import Key
from pipeline.settings import IngestSettings
from tests.properties import mutate

GOLDEN = Path(__file__).with_name("golden.json")


def compare(name, version, value, tolerance=0.0):
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("SKYSIFT_GOLDEN") == "write" and golden.get(name, {}).get("version") != version:
        golden[name] = {"version": version, "value": value}
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    assert golden[name]["version"] == version, "the version was raised: write the golden values anew (see above)"
    if tolerance:
        assert np.allclose(golden[name]["value"], value, rtol=0, atol=tolerance), "raise the version of the stage"
    else:
        assert golden[name]["value"] == value, "raise the version of the stage"


def test_ingested_bytes(tmp_path):
    archive, workspace = Folder(tmp_path / "archive"), Folder(tmp_path / "workspace")
    for tic_id in (21, 22):
        archive.write(f"s001/{tic_id}.fits", mutate.good(tic_id=tic_id))
    settings = IngestSettings()
    rows = plan.inspect(archive, plan.find(archive, None, settings.pattern)[1])
    plan.save(workspace, "s0001", plan.Change(None, plan.extend("s0001", None, rows)))
    stage = Ingest(workspace, archive, "s0001", settings)
    stage.prepare()
    key = Key("lightcurves", "s0001", 0)
    stage.execute(key)
    objects = manifest.read(workspace, "ingest", key).objects
    compare("ingest", Ingest.version, {item.path: item.sha256 for item in objects})


@pytest.mark.parametrize("recipe", ["calnet", "robust"])
def test_prepared_values(recipe):
    rng = np.random.default_rng(1)
    time = 1325.3 + np.arange(9000) * 120 / 86400 + 1e-4 * np.sin(np.arange(9000) / 3000)
    phase = (time / 1.7) % 1
    flux = 1000 * (1 - 0.2 * np.exp(-0.5 * ((phase - 0.5) / 0.02) ** 2)) + rng.normal(0, 1.5, 9000)
    flux[4000:4300] = np.nan
    (segment,) = prepare(time, flux.astype(np.float32), np.zeros(9000, np.int32), recipe=recipe)
    values = [*segment.curve[::200], *segment.periodogram[::50], segment.gls_power]
    compare(f"preprocess {recipe}", Preprocess.version, [float(value) for value in values], tolerance=1e-6)
    compare(f"preprocess {recipe} period", Preprocess.version, [segment.gls_period], tolerance=1e-9)
