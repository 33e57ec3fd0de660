"""Scoring of a store by the job's own runner, against the bare predictor and against eager PyTorch."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from catalogs import schema, write
from catalogs.folder import Folder
from cluster.local import ray_session
from models.pool import run
from models.registry import Registry
from models.runtime import Predictor
from models.score import Score
from models.spec import get_spec
from pipeline import manifest, stores
from pipeline.lightcurves import preprocess
from pipeline.manifest import Object, Record
from pipeline.partition import Key
from pipeline.settings import PreprocessSettings, ScoreSettings
from pipeline.stage import Stage
from tests.benchmarks.figures import figure, heading

#: As a sector has them: two segments of each of 256 targets.
PARTITIONS, SEGMENTS = 100, 512
WORKERS = 2
SECONDS = 10.0

FAST = {"avx512f", "amx_bf16"}


def main() -> None:
    """Score 51,200 segments at each precision the CPU has (needs 2 GB)."""
    heading(f"scoring, {PARTITIONS * SEGMENTS} segments, {WORKERS} processes of one thread")
    features = set(Path("/proc/cpuinfo").read_text().split())
    eager = together(_eager)
    figure("eager PyTorch, segments/s", eager, "–", None)
    ours = together(_bare, "fp32", "eb") / WORKERS
    met = ours >= 500 if FAST & features else None
    figure("network eb, segments/s/core", ours, "≥ 500", met, f"{ours * WORKERS / eager:.1f} × CALNet in eager PyTorch")
    fastest = 0.0
    precisions = {"fp32": 0.85, "bf16": 0.70} if {"avx512_bf16", "amx_bf16"} & features else {"fp32": 0.85}
    with tempfile.TemporaryDirectory(prefix="skysift-bench-") as name:
        workspace = Folder(name)
        fill(workspace)
        for precision, asked in precisions.items():
            bare = together(_bare, precision)
            rate, start = scored(workspace, precision)
            fastest = max(fastest, rate)
            figure(f"bare predictor, {precision}, segments/s", bare, "–", None, f"{bare / eager:.1f} × eager")
            note = f"{rate:.0f} segments/s; start-up {start:.1f} s apart"
            figure(f"job / bare predictor, {precision}", rate / bare, f"≥ {asked}", rate / bare >= asked, note)
    met = fastest / eager >= 5 if FAST & features else None
    figure("job / eager PyTorch, fastest precision", fastest / eager, "≥ 5", met)


def fill(workspace: Folder) -> None:
    """Commit a store of segments as preprocessing leaves it; the curves are noise, which costs a network the same."""
    settings = PreprocessSettings(recipe="calnet")
    name = "s0001"
    stores.create(workspace, preprocess.store_path(name), preprocess.template(name, settings), PARTITIONS)
    rng = np.random.default_rng(0)
    for part in range(PARTITIONS):
        key = Key("curves", name, part)
        arrays = {n: rng.random((SEGMENTS, size), np.float32) for n, size in (("curve", 4000), ("periodogram", 1000))}
        objects = stores.write(workspace, preprocess.store_path(name), part, arrays)
        index = pa.Table.from_pylist([_row(part, order) for order in range(SEGMENTS)])
        objects.append(Object(*write.write(workspace, preprocess.index_path(key), index, schema.SEGMENTS)))
        record = Record("preprocess", 1, str(key), {}, settings.hash, {}, objects, SEGMENTS, {"done": SEGMENTS})
        manifest.commit(workspace, record)


def _row(part: int, order: int) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(schema.SEGMENTS.names)
    row |= {"row": part * preprocess.capacity("s0001") + order, "sector": 1, "cadence_s": 120.0, "flags": 0}
    row |= {"tic_id": part * SEGMENTS + order // 2, "segment": order % 2, "t_start": 1.0, "t_end": 2.0}
    return row | {"n_cadences": 9000}


def scored(workspace: Folder, precision: str) -> tuple[float, float]:
    """Return segments per second once warm (the first tenth of the partitions dropped) and seconds to the first."""
    registry = Registry(workspace)
    torch.manual_seed(len(precision) + ord(precision[0]))
    entry = registry.resolve(f"calnet@{registry.save('calnet', get_spec('calnet').network().state_dict(), {}, {})}")
    stage = Score(workspace, entry, ["s0001"], ScoreSettings.model_validate({"precision": precision}), "cpu")
    return warm(stage, PARTITIONS * SEGMENTS)


def warm(stage: Stage, rows: int) -> tuple[float, float]:
    """Return rows per second of a stage on Ray once warm (the first tenth of its partitions dropped), and seconds to
    the first partition."""
    with ray_session(WORKERS):
        started = time.time()
        report = run(stage, WORKERS)
    assert report.exit_status == 0 and report.rows == rows, str(report)
    keys = stage.keys()
    records = [manifest.read(stage.workspace, stage.name, key) for key in keys]
    assert None not in records
    done = sorted((datetime.fromisoformat(one.provenance["finished"]).timestamp(), one.rows) for one in records if one)
    dropped = len(done) // 10
    counted = sum(count for _, count in done[dropped:])
    return counted / (done[-1][0] - done[dropped - 1][0]), done[0][0] - started


def together(measure: Callable[..., float], *args: Any) -> float:
    """Return the sum of what `measure` gives in as many processes at once as there are workers."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(WORKERS)
    queue: Any = context.Queue()
    children = [context.Process(target=_child, args=(measure, args, barrier, queue)) for _ in range(WORKERS)]
    for child in children:
        child.start()
    rates = [queue.get() for _ in children]
    for child in children:
        child.join()
    return float(sum(rates))


def _child(measure: Callable[..., float], args: tuple[Any, ...], barrier: Any, queue: Any) -> None:
    torch.set_num_threads(1)
    queue.put(measure(barrier, *args))


def _rate(barrier: Any, name: str, predict: Callable[..., Any]) -> float:
    rng = np.random.default_rng(0)
    return paced(barrier, predict, [rng.random((256, *shape), np.float32) for shape in get_spec(name).inputs.values()])


def paced(barrier: Any, predict: Callable[..., Any], inputs: list[Any]) -> float:
    """Return rows per second of a predictor that all begin to use at once."""
    predict(*inputs)
    barrier.wait()
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        predict(*inputs)
        done += len(inputs[0])
    return done / (time.perf_counter() - started)


def _bare(barrier: Any, precision: str, name: str = "calnet") -> float:
    spec = get_spec(name)
    weights = spec.network().state_dict()
    return _rate(barrier, name, Predictor(spec, weights, precision=precision, device="cpu").outputs)


def _eager(barrier: Any) -> float:
    network = get_spec("calnet").network().eval()

    def predict(*inputs: Any) -> None:
        with torch.inference_mode():
            for first in range(0, len(inputs[0]), 64):
                network(*(torch.from_numpy(values[first : first + 64]) for values in inputs))

    return _rate(barrier, "calnet", predict)
