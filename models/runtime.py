"""Weights → a fast function from rows to scores: OpenVINO on a CPU, torch on a GPU or where that is missing.

A row's score must not depend on the rows beside it, nor on how many workers there are. So every batch has one
size, the last one is filled up, and one thread computes it.
"""

import importlib.metadata
import importlib.util
import math
import platform
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.spec import ModelSpec
from pipeline.errors import CorruptModel, UsageError

__all__ = ["Predictor"]

Batch = list[NDArray[np.float32]]

_BF16 = {"avx512_bf16", "amx_bf16"}
_FEATURES = _BF16 | {"avx2", "avx512f", "avx512_vnni", "avx512_fp16"}


class Predictor:
    """A network with its weights, ready to score.

    Parameters
    ----------
    spec : ModelSpec
        What the model is.
    state_dict : dict of str to Tensor
        Its weights.
    runtime : {'auto', 'openvino', 'torch'}
        What computes. 'auto': torch on a GPU, else OpenVINO, else torch.
    precision : {'auto', 'fp32', 'bf16'}
        'bf16' rounds the operands of the heavy products only, scores stay within 1e-3; it needs OpenVINO.
        'auto' takes it where the CPU computes in it.
    batch_size : int
        Rows computed at a time.
    device : {'auto', 'cpu', 'cuda'}
        'auto': the GPU where there is one.
    threads : int, optional
        Threads of the CPU. Default: one for OpenVINO, torch's own setting for torch. Given, it becomes
        torch's setting for the whole process.

    Raises
    ------
    UsageError
        If runtime, precision and device do not go together here.
    CorruptModel
        If the weights are not those of this network.
    """

    def __init__(
        self,
        spec: ModelSpec,
        state_dict: Mapping[str, Tensor],
        runtime: str = "auto",
        precision: str = "auto",
        batch_size: int = 64,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.spec = spec
        self.batch_size = batch_size
        self.device = _device(device, runtime)
        self.runtime = _runtime(runtime, self.device)
        self.precision = _precision(precision, self.runtime, spec)
        network = spec.network()
        try:
            network.load_state_dict(dict(state_dict), strict=True)
        except RuntimeError as error:
            raise CorruptModel(f"these are no weights of {spec.name}: {error}") from error
        if threads is not None:
            torch.set_num_threads(threads)
        shapes = [(batch_size, *shape) for shape in spec.shapes]
        if self.runtime == "torch":
            self._run: _Torch | _OpenVINO = _Torch(network, self.device)
        else:
            parts = spec.lean(network, self.precision == "bf16") if spec.lean else [network]
            self._run = _OpenVINO(parts, shapes, threads or 1)
        self._buffers: Batch = [np.zeros(shape, np.float32) for shape in shapes]

    def outputs(self, *inputs: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return what the network gives for every row.

        Parameters
        ----------
        *inputs : ndarray
            The arrays that the model's spec names, in its order, all of N rows: CALNet's are curve (N, 4000)
            and periodogram (N, 1000). What the spec prepares may have rows of any shape that can be prepared; where
            it wants columns, they come last, as one array.

        Returns
        -------
        ndarray of float32, (N, outputs)
            Logits and whatever else the spec's `read` understands; NaN where a row holds NaN.

        Raises
        ------
        ValueError
            If the arrays do not have the shapes of the spec.
        """
        rows = len(inputs[0])
        found = np.empty((rows, self.spec.outputs), np.float32)
        prepared = self.spec.prepare is not None
        arrays = list(inputs) if prepared else [
            _shaped(array, name, (rows, *shape))
            for array, (name, shape) in zip(inputs, self.spec.inputs.items(), strict=True)
        ]  # fmt: skip
        for first in range(0, rows, self.batch_size):
            count = min(self.batch_size, rows - first)
            some: Sequence[NDArray[np.generic]] = [array[first : first + count] for array in arrays]
            if prepared:
                some = self.spec.look(*some)
            for buffer, array in zip(self._buffers, some, strict=True):
                buffer[:count] = array
                buffer[count:] = array[:1]  # of the same kind: what is of no use must not take another way
            found[first : first + count] = self._run(self._buffers)[:count]
        return found

    def columns(self, *inputs: NDArray[np.generic]) -> dict[str, NDArray[np.float64]]:
        """Return the model's columns of the table of scores, (N,) each; inputs as for `outputs`."""
        return self.spec.read(self.outputs(*inputs))

    def predict(self, *inputs: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the score alone, (N,): the probability of the positive class; inputs as for `outputs`."""
        return self.columns(*inputs)["score"]

    def describe(self) -> dict[str, Any]:
        """Return what computed the scores, for their provenance: equal ones give equal bytes."""
        packages = ["torch", "numpy"] + ["openvino"] * (self.runtime == "openvino")
        gpu = {"gpu": torch.cuda.get_device_name()} if self.device == "cuda" else {}
        return {
            "runtime": self.runtime,
            "precision": self.precision,
            "device": self.device,
            "batch_size": self.batch_size,
            "versions": {name: importlib.metadata.version(name) for name in packages},
            "machine": platform.machine(),
            "cpu_features": sorted(_cpu_features() & _FEATURES),
        } | gpu


class _Torch:
    """The plain network under torch."""

    def __init__(self, network: nn.Module, device: str) -> None:
        self.network = network.eval().to(device)
        self.device = device

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        # TF32 would cost the third digit of a score; a choice of algorithm by timing, its reproducibility.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            logits = self.network(*(torch.from_numpy(array).to(self.device) for array in batch))
            return logits.float().cpu().numpy()


class _OpenVINO:
    """Modules compiled by OpenVINO, run one after the other."""

    def __init__(self, parts: Sequence[nn.Module], shapes: Sequence[tuple[int, ...]], threads: int) -> None:
        self.steps = []
        examples = [torch.zeros(shape) for shape in shapes]
        batch = shapes[0][0]
        for part in parts:
            rows = math.gcd(batch, getattr(part, "rows", None) or batch)
            few = [example[:rows] for example in examples]
            self.steps.append((_compile(part, few, threads), rows))
            with torch.inference_mode():
                outputs = part.eval()(*few)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            examples = [torch.zeros(batch, *output.shape[1:]) for output in outputs]

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        for request, rows in self.steps:
            pieces = []
            for first in range(0, len(batch[0]), rows):
                found = request.infer([array[first : first + rows] for array in batch], share_inputs=True)
                pieces.append(list(found.values()))
            batch = [np.concatenate(outputs) for outputs in zip(*pieces, strict=True)]
        return batch[0]


def _compile(module: nn.Module, examples: Sequence[Tensor], threads: int) -> Any:
    """Return an infer request of `module` for inputs of just these shapes."""
    # Here, not above: where OpenVINO is missing, torch does it.
    from openvino import Core, PartialShape
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # What openvino.convert_model does, less its telemetry. Shapes are fixed: converted for one batch size,
    # an LSTM breaks on another.
    with warnings.catch_warnings():  # of torch, that tracing is deprecated, and what it would not notice
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(
            module.eval(), example_input=tuple(examples), trace_kwargs={"check_trace": False}
        )
    frontend = FrontEndManager().load_by_framework("pytorch")
    source = frontend.load(decoder)
    for place, example in zip(source.get_inputs(), examples, strict=True):
        source.set_partial_shape(place, PartialShape(list(example.shape)))
    model = frontend.convert(source)
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",  # the module itself says what is bfloat16
        "ENABLE_CPU_PINNING": False,  # processes do not know of each other: the system places them
    }
    return Core().compile_model(model, "CPU", options).create_infer_request()


def _device(device: str, runtime: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: torch finds no GPU here; say cpu or auto")
    if device == "cuda" and runtime == "openvino":
        raise UsageError("runtime openvino computes on a CPU; say --runtime torch, or device cpu")
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() and runtime != "openvino" else "cpu"


def _runtime(runtime: str, device: str) -> str:
    found = importlib.util.find_spec("openvino") is not None
    if runtime == "openvino" and not found:
        raise UsageError("runtime openvino: it is not installed; say auto or torch, or install openvino")
    if runtime != "auto":
        return runtime
    return "openvino" if device == "cpu" and found else "torch"


def _precision(precision: str, runtime: str, spec: ModelSpec) -> str:
    able = runtime == "openvino" and spec.lean is not None
    if precision == "bf16" and not able:
        raise UsageError(f"precision bf16 is for {spec.name} by OpenVINO on a CPU; here it is {runtime}: say fp32")
    if precision != "auto":
        return precision
    return "bf16" if able and _BF16 & _cpu_features() else "fp32"


def _cpu_features() -> set[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), set())


def _shaped(array: NDArray[np.generic], name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    flat = tuple(size for size in shape[1:] if size != 1)
    if array.shape not in (shape, (shape[0], *flat)):
        raise ValueError(f"{name}: shape {array.shape}, the model takes {(shape[0], *flat)}")
    return array.reshape(shape)
