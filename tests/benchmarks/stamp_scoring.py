"""Scoring of stacked stamps by the job's own runner, against the bare predictor, in the same run."""

import tempfile
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamps import STACKS
from models.registry import Registry
from models.runtime import Predictor
from models.spec import get_spec
from models.stamp_scores import ScoreStamps
from pipeline import manifest, stores
from pipeline.manifest import Object, Record
from pipeline.partition import Key
from pipeline.settings import StampSettings, VisualScoreSettings
from pipeline.stamps import ingest, layout, plan, surveys
from tests.benchmarks.figures import figure, heading
from tests.benchmarks.scoring import WORKERS, paced, together, warm

STACKED = 50_000

_SURVEY = "panstarrs"


def main() -> None:
    """Score 50,000 stacks of 64 x 64 cells (needs 1 GB)."""
    partitions = -(-STACKED // plan.SOURCES)
    heading(f"scoring of {partitions * plan.SOURCES} stacks of 64 x 64, {WORKERS} processes of one thread")
    bare = together(_bare)
    figure("bare predictor, stacks/s", bare, "–", None)
    with tempfile.TemporaryDirectory(prefix="skysift-bench-") as name:
        workspace = Folder(name)
        _fill(workspace, partitions)
        entry = Registry(workspace).resolve("visualbinary@production")
        rate, start = warm(ScoreStamps(workspace, entry, VisualScoreSettings(), "cpu"), partitions * plan.SOURCES)
    took = STACKED / rate
    figure("50,000 stacks from the store, s", took, "≤ 240", took <= 240, f"start-up {start:.1f} s apart")
    figure("job / bare predictor", rate / bare, "≥ 0.85", rate / bare >= 0.85, f"{rate:.0f} stacks/s")


def _drawn(count: int) -> tuple[Any, pd.DataFrame]:
    """Return stars in noise, and the index of them: what they look like costs a network the same."""
    survey, rng = surveys.get(_SURVEY), np.random.default_rng(0)
    rows, columns = np.indices((survey.side, survey.side)) - (survey.side - 1) / 2
    star = 100 * np.exp(-(rows**2 + columns**2) / 8)
    stacks = (star + rng.normal(size=(count, survey.side, survey.side))).astype(np.float32)
    row = dict.fromkeys(STACKS.names) | {
        "survey": survey.name, "filters": "g,r", "n_filters": 2, "method": "weighted", "x0": (survey.side - 1) / 2,
        "y0": (survey.side - 1) / 2, "pixscale": survey.pixscale, "wavelength_um": 0.55, "noise": 1.0, "snr": 100.0,
        "fwhm_arcsec": 1.2, "ellipticity": 0.0, "centroid_shift": 0.0, "flags": 0, "ra": 10.0, "dec": -5.0,
    }  # fmt: skip
    return stacks, pd.DataFrame([row] * count)


def _fill(workspace: Folder, partitions: int) -> None:
    """Commit stacks as ingest leaves them."""
    stacks, index = _drawn(plan.SOURCES)
    key = Key("stacks", _SURVEY, 0)
    template = ingest.template(surveys.get(_SURVEY), "stack", plan.SOURCES, "counts, sky subtracted")
    stores.create(workspace, layout.stacks_store(key), template, partitions)
    arrays = {"stack": stacks, "mask": np.zeros(stacks.shape, np.uint8)}
    for part in range(partitions):
        key = Key("stacks", _SURVEY, part)
        first = part * plan.SOURCES
        names = [f"s{number:06d}" for number in range(first, first + len(index))]
        rows = index.assign(row=np.arange(first, first + len(index)), source_id=names)
        table = pa.Table.from_pandas(rows[STACKS.names], STACKS.arrow_schema(), preserve_index=False)
        objects = stores.write(workspace, layout.stacks_store(key), part, arrays)
        objects.append(Object(*write.write(workspace, layout.stacks_index(key), table, STACKS)))
        done = {"done": len(rows)}
        record = Record(layout.STACK, 1, str(key), {}, StampSettings().hash, {}, objects, len(rows), done)
        manifest.commit(workspace, record)


def _bare(barrier: Any) -> float:
    spec = get_spec("visualbinary")
    registry = Registry(Folder(tempfile.gettempdir()))
    predictor = Predictor(spec, registry.load_weights(registry.resolve("visualbinary@production")), device="cpu")
    stacks, index = _drawn(512)
    return paced(barrier, predictor.outputs, [stacks, index[list(spec.columns)].to_numpy(float)])
