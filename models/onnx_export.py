"""A real/bogus network as one ONNX file that runs without torch, in single precision or int8, and what that changes.

What goes in is `models.planes.planes`, which the file describes in words, along with what its outputs mean.
"""

import hashlib
import io
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from catalogs.folder import Folder
from catalogs.transient_candidates import TIERS, tier
from models.planes import planes
from models.realbogus import TYPES, embedding
from models.registry import Entry, Registry
from models.spec import ModelSpec, get_spec
from models.standing import Standing
from pipeline.errors import CorruptModel, ModelNotFound, UsageError
from pipeline.images.sampling import usable
from pipeline.settings import CandidateScoreSettings

__all__ = ["INPUT", "OPSET", "OUTPUT", "PLANES_ARE", "check", "export", "session", "summary"]

Floats = NDArray[np.float32]
Network = Callable[[Floats], Floats]

#: Version of ONNX's operators: of 2022, which every runtime of today has.
OPSET = 17

#: Names of the input (n, 4, 63, 63) and the output (n, k) in the file.
INPUT, OUTPUT = "planes", "outputs"

#: How the input is made, for readers of the file alone.
PLANES_ARE = """float32 (n, 4, 63, 63), of cutouts of 63 x 63 pixels with the candidate in the middle one: science,
reference, difference, in counts. A pixel is missing where it is not finite or its magnitude is 1e30 or more. For each
channel, take every second pixel in x and y, from the first on, leave out the missing ones and sort the n that remain;
q(p) is the value at place floor(p (n - 1)), from 0. sky = q(0.5); noise = q(0.5) - q(0.1587), where that is not
positive q(0.8413) - q(0.5), where that is not either 1. Planes 0 to 2 are asinh((value - sky) / noise) / 3 of the three
channels, 0 where a pixel is missing. Plane 3 is 1 where all three channels have a pixel, else 0. Last, where plane 2
among its middle 5 x 5 pixels has its minimum farther below 0 than its maximum is above, plane 2 changes sign."""

_EXACT = 10_000  # weights of a layer below which int8 saves nothing: the last ones, in which the logits arise
_LEAST = 32  # triplets to calibrate on
_BATCH = 64
_TIMED = 256  # triplets
_TRIES = 3


def export(
    workspace: Folder, model: str, path: Path, held_out: NDArray[np.floating],
    calibration: NDArray[np.floating] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write a model of triplets as ONNX, and beside it, as JSON, how far its scores are from torch's.

    Parameters
    ----------
    workspace : Folder
        Its registry is looked through first.
    model : str
        As in `Registry.resolve`.
    path : Path
        Of the file, ending in ``.onnx``; what is told goes to the same name ending in ``.json``.
    held_out : (n, 3, s, s) array
        Triplets that scores are compared on; those without a pixel in common are left out.
    calibration : (m, 3, s, s) array, optional
        Others, for int8: the ranges of what the layers give are taken from them. Without, the file is float32.

    Returns
    -------
    dict
        model, precision, bytes, sha256 of the file, triplets compared; change: of logit, p_real and novelty the
        median, 99th percentile and maximum of |ONNX - torch|, of the tier how many went from which to which; seconds a
        triplet of torch and of ONNX, on one thread, and speedup, their ratio.

    Raises
    ------
    UsageError
        If there is nothing to compare or too little to calibrate on, or the path has another ending.
    ModelNotFound
        If there is no such model, or it is none of triplets.
    CorruptModel
        If weights or card are not what they should be.
    """
    entry = check(workspace, model, path)
    spec, standing = get_spec(entry.name), Standing.of(entry.card, entry.folder.url("card.json"))
    network = _network(spec, Registry(workspace), entry)
    seen = planes(_with_pixels(held_out))
    if not len(seen):
        raise UsageError("no triplet with pixels to compare scores on; give others by --set or --alerts")
    graph = _traced(network, spec)
    if calibration is not None:
        graph = _int8(graph, _with_pixels(calibration))
    precision = "float32" if calibration is None else "int8"
    data = _labelled(graph, _metadata(entry, spec, standing, precision))
    told = {
        "model": entry.id, "weights_sha256": entry.sha256, "precision": precision, "opset": OPSET,
        "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
    } | _compared(network, data, spec, standing, seen)  # fmt: skip
    folder = Folder(path.absolute().parent)
    folder.write(path.name, data)
    folder.write(path.with_suffix(".json").name, json.dumps(told, indent=1, allow_nan=False).encode())
    return told


def check(workspace: Folder, model: str, path: Path) -> Entry:
    """Return the model that would be exported.

    Parameters
    ----------
    workspace, model, path
        As of `export`.

    Raises
    ------
    UsageError
        If the path has another ending than ``.onnx``.
    ModelNotFound
        If there is no such model, or it is none of triplets.
    """
    if path.suffix != ".onnx":
        raise UsageError(f"{path}: let the name of the file end in .onnx")
    entry = Registry(workspace).resolve(model)
    spec = get_spec(entry.name)
    if "triplet" not in spec.inputs:
        raise ModelNotFound(f"{entry.id} takes {', '.join(spec.inputs)}, no triplets; say --model realbogus")
    return entry


def session(data: bytes) -> Network:
    """Return what runs an ONNX file on one thread of the CPU: planes (n, 4, 63, 63) → outputs (n, k)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    run = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run
    return lambda seen: np.asarray(run([OUTPUT], {INPUT: seen})[0])


def summary(told: dict[str, Any]) -> str:
    """Return what `export` tells as lines to print."""
    change, count = told["change"], told["triplets"]
    lines = [f"{told['model']} as {told['precision']}: {told['bytes'] / 1e6:.2f} MB; against torch, {count} triplets:"]
    for name in ("logit", "p_real", "novelty"):
        if name in change:
            numbers = (change[name][key] for key in ("median", "p99", "max"))
            lines.append("  |change of {}|: median {:.2g}, 99% below {:.2g}, at most {:.2g}".format(name, *numbers))
    moved = ", ".join(f"{kind} {many}" for kind, many in change["tier"].items()) or "none"
    speed = f"  {told['speedup']:.1f} times as fast as torch, on one thread: {told['seconds']['onnx']:.2g} s each"
    return "\n".join([*lines, f"  other tier: {moved}", speed])


def _with_pixels(triplets: NDArray[np.floating]) -> Floats:
    """Return the triplets that have a pixel in all three channels: none other is scored."""
    pixels = np.asarray(triplets, np.float32)
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise UsageError(f"triplets of shape {pixels.shape}: give (n, 3, 63, 63): science, reference, difference")
    return pixels[np.isfinite(usable(pixels)).all(1).any(-1).any(-1)]


def _network(spec: ModelSpec, registry: Registry, entry: Entry) -> nn.Module:
    network = spec.network()
    try:
        network.load_state_dict(registry.load_weights(entry), strict=True)
    except RuntimeError as error:
        raise CorruptModel(f"{entry.id}: these are no weights of {spec.name}: {error}") from error
    return network.eval()


def _traced(network: nn.Module, spec: ModelSpec) -> bytes:
    """Return the network as ONNX, for any number of rows; batch normalisation goes into the convolutions."""
    target = io.BytesIO()
    with warnings.catch_warnings():  # that tracing is deprecated; the other exporter needs one package more, onnxscript
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(2, *spec.shapes[0]),), target, input_names=[INPUT], output_names=[OUTPUT],
            opset_version=OPSET, dynamo=False, dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
        )  # fmt: skip
    return target.getvalue()


class _Calibration(CalibrationDataReader):
    """Planes as the quantiser asks for them."""

    def __init__(self, seen: Floats) -> None:
        self._batches: Iterator[Floats] = iter([seen[first : first + _BATCH] for first in range(0, len(seen), _BATCH)])

    def get_next(self) -> dict[str, Floats] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _int8(graph: bytes, triplets: Floats) -> bytes:
    """Return an ONNX network whose convolutions and large layers compute in 8 bits.

    Weights have a scale for each output channel. They keep to 7 bits: where a CPU has no VNNI, sums of two products of
    8 bits overflow (ONNX Runtime's guide to quantisation, "reduce_range").
    """
    if len(triplets) < _LEAST:
        raise UsageError(f"{len(triplets)} triplets to calibrate int8 on; give {_LEAST} or more, better some hundred")
    with TemporaryDirectory() as folder:
        plain, ready, made = (Path(folder, f"{name}.onnx") for name in ("plain", "ready", "int8"))
        plain.write_bytes(graph)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready, made, _Calibration(planes(triplets)), per_channel=True, reduce_range=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=["Conv", "Gemm"],
            nodes_to_exclude=_small(onnx.load(ready)),
        )  # fmt: skip
        return made.read_bytes()


def _small(model: onnx.ModelProto) -> list[str]:
    """Return the names of dense layers with few weights."""
    sizes = {array.name: int(np.prod(array.dims)) for array in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "Gemm" and sizes[node.input[1]] < _EXACT]


def _metadata(entry: Entry, spec: ModelSpec, standing: Standing, precision: str) -> dict[str, str]:
    names = ["logit", *TYPES, *(f"e{number}" for number in range(spec.outputs - 1 - len(TYPES)))][: spec.outputs]
    return {
        "model_id": entry.id,
        "weights_sha256": entry.sha256,
        "precision": precision,
        "channels": json.dumps(["science", "reference", "difference", "coverage"]),
        "planes": " ".join(PLANES_ARE.split()),
        "outputs": json.dumps(names),
        "p_real": "1 / (1 + exp(-(scale * logit + offset))), where half of all candidates are real; "
        "for a share s of real add ln(s / (1 - s)) in the exponential; real from threshold on",
        "scale": repr(standing.scale),
        "offset": repr(standing.offset),
        "threshold": repr(standing.threshold),
        "prior": repr(standing.prior),
    }


def _labelled(graph: bytes, facts: dict[str, str]) -> bytes:
    """Return a checked ONNX file with facts in its metadata."""
    model = onnx.load_model_from_string(graph)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _compared(network: nn.Module, data: bytes, spec: ModelSpec, standing: Standing, seen: Floats) -> dict[str, Any]:
    """Return how far the file's scores are from the network's, and how long both take on one thread."""

    def eager(batch: Floats) -> Floats:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(batch)).numpy())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = session(data)
        before, after = (spec.read(_batched(one, seen)) for one in (eager, run))
        seconds = {"torch": _seconds(eager, seen), "onnx": _seconds(run, seen)}
    finally:
        torch.set_num_threads(threads)
    p = [standing.p_real(columns["logit"]) for columns in (before, after)]
    change: dict[str, Any] = {
        "logit": _spread(before["logit"], after["logit"]), "p_real": _spread(*p), "tier": _moves(standing, *p)
    }  # fmt: skip
    if standing.embedding is not None:
        change["novelty"] = _spread(*(standing.novelty(embedding(columns)) for columns in (before, after)))
    speedup = seconds["torch"] / seconds["onnx"]
    return {"triplets": len(seen), "change": change, "seconds": seconds, "speedup": speedup}


def _batched(run: Network, seen: Floats) -> Floats:
    return np.concatenate([run(seen[first : first + _BATCH]) for first in range(0, len(seen), _BATCH)])


def _seconds(run: Network, seen: Floats) -> float:
    """Return the seconds a triplet of the best of some tries."""
    some, best = seen[:_TIMED], np.inf
    for _ in range(_TRIES):
        started = time.perf_counter()
        _batched(run, some)
        best = min(best, time.perf_counter() - started)
    return float(best / len(some))


def _spread(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, float]:
    change = np.abs(after - before)
    return {"median": float(np.median(change)), "p99": float(np.quantile(change, 0.99)), "max": float(change.max())}


def _moves(standing: Standing, before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, int]:
    """Return how many candidates go from one tier to another: "real to uncertain" and so on, where any do."""
    factor = CandidateScoreSettings.load(None, "candidates").uncertain
    old, new = (tier(p, standing.threshold, factor) for p in (before, after))
    pairs = {f"{one} to {other}": int(((old == one) & (new == other)).sum())
             for one in TIERS for other in TIERS if one != other}  # fmt: skip
    return {name: count for name, count in pairs.items() if count}
