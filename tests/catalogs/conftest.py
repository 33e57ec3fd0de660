"""Rows of catalogues, and a workspace that holds them committed as the jobs commit them."""

import json

import numpy as np
import pyarrow as pa
import pytest

from catalogs.folder import Folder
from catalogs.schema import SCORES, STARS
from catalogs.write import write
from tests.rows import star

MODEL = "calnet-0123abcd"


def provenance(rows, release="r1", model=MODEL):
    """Return the provenance columns for a number of rows."""
    return {
        "catalog_release": [release] * rows,
        "model_id": [model] * rows,
        "model_sha256": ["0123abcd" + "0" * 56] * rows,
        "stage_version": [1] * rows,
        "settings_hash": ["5e"] * rows,
        "manifest_key": ["combine/x"] * rows,
    }


@pytest.fixture(scope="session")
def stars():
    """200 stars over the whole sky; the last has no position, magnitude or period."""
    rng = np.random.default_rng(5)
    n = 200
    missing = np.arange(n) == n - 1
    columns = {
        "tic_id": 10 + 3 * np.arange(n),
        "ra": pa.array(rng.uniform(0, 360, n), mask=missing),
        "dec": pa.array(np.degrees(np.arcsin(rng.uniform(-1, 1, n))), mask=missing),
        "tmag": pa.array(rng.uniform(6, 16, n), mask=missing),
        "sectors": [sorted({1, 1 + int(i) % 26}) for i in range(n)],
        "p_eb": np.linspace(0, 1, n),
        "score_max": np.ones(n),
        "gls_period": pa.array(rng.uniform(0.1, 10, n), mask=missing),
        "period": pa.array(rng.uniform(0.1, 10, n), mask=np.arange(n) % 4 != 0),
        "period_flag": pa.array(np.where(np.arange(n) % 8, "exact", "lower_limit"), mask=np.arange(n) % 4 != 0),
        "is_new": pa.array(np.arange(n) % 3 == 0, mask=missing),
        "known_in": pa.array(np.full(n, "prsa2022 calnet"), mask=np.arange(n) % 3 != 1),
    }
    others = {name: [value] * n for name, value in star().items() if name not in columns}
    return STARS.conform(pa.table(columns | others | provenance(n)))


@pytest.fixture
def workspace(tmp_path, stars):
    """Two snapshots of one model (150 stars on 1 May 2026, all 200 on 1 June) and its scores."""
    folder = Folder(tmp_path)
    for number, rows, day in (
        (1, 150, "2026-05-01T12:00:00+00:00"),
        (2, 200, "2026-06-01T00:00:00.500+00:00"),
    ):
        release = f"{number}" * 16
        place = stars.schema.get_field_index("catalog_release")
        table = stars.slice(0, rows).set_column(place, "catalog_release", pa.array([release] * rows))
        path = f"catalogs/eclipsing_binaries/model={MODEL}/snapshot-{number:06d}.parquet"
        write(folder, path, table, STARS)
        details = {"snapshot": {"number": number, "release": release, "path": path, "rows": rows}}
        record = json.dumps({"details": details, "provenance": {"finished": day}}).encode()
        folder.write(f"manifest/combine/eclipsing_binaries/model={MODEL}/release={release}.json", record)
        folder.write("catalogs/eclipsing_binaries.parquet", folder.read(path))
    for part in range(2):
        _commit_scores(folder, MODEL, part)
    return folder


@pytest.fixture
def commit_scores():
    """Return the function that writes a partition of scores."""
    return _commit_scores


def _commit_scores(folder, model, part, committed=True):
    """Write a partition of scores, and its manifest if `committed`."""
    columns = {
        "sector": [1, 1],
        "cadence_s": [120.0, 120.0],
        "tic_id": [10 + part, 10 + part],
        "segment": [0, 1],
        "t_start": [1325.3, 1339.7],
        "t_end": [1338.5, 1353.2],
        "score": [0.9, 0.2],
    }
    key = f"eclipsing_binary_scores/model={model}/sector=0001/part-{part:05d}"
    write(folder, f"catalogs/{key}.parquet", pa.table(columns | provenance(2, model=model)), SCORES)
    if committed:
        folder.write(f"manifest/score/{key}.json", b"{}")
