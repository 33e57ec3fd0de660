"""What a model is: network, inputs, classes, loss. One entry a model; the rest of the room asks here.

Whoever scores by one model waits for no other's modules: what a model is made of is imported when it is first used.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional

from models.planes import CHANNELS, PLANES, SIZE
from models.stamp_planes import AROUND, COLUMNS, FACTS, MIDDLE, WHOLE
from pipeline.errors import ModelNotFound

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ModelSpec", "SPECS", "get_spec"]


Columns = dict[str, NDArray[np.float64]]

Judge = Callable[[list[dict[str, Any]], "pd.DataFrame"], tuple[dict[str, Any], dict[str, bytes]]]


@dataclass(frozen=True)
class _Later:
    """A function or class of a module that is imported when it is first called."""

    module: str
    name: str

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(self.module), self.name)(*args, **options)


@dataclass(frozen=True)
class ModelSpec:
    """What the training loop, the registry and the runtimes need to know of a model.

    Parameters
    ----------
    name : str
        As in ids and options: lower case, digits, underscores.
    network : callable
        Returns the network with fresh weights; it takes one tensor per input and returns (N, outputs).
    recipe : str
        Recipe that the curves store must have been made with; empty for a model of something else than curves.
    inputs : dict
        Arrays of the store in the order of the network's arguments, with the shape of one row.
    outputs : int
        Numbers that the network gives for a row.
    read : callable
        Outputs (N, outputs) → columns of the table of scores: ``score`` (probability of an eclipsing binary) and what
        else the model tells.
    loss : callable
        Outputs and targets → loss of each row (N,); targets are ``label`` (1 or 0) and those of `targets`.
    targets : tuple of str
        Further columns of the table of segments that the loss looks at.
    augment : callable, optional
        What the network sees, and a generator → other such tensors with the same targets.
    prepare : callable, optional
        Turns the arrays of the store into what the network sees of them: an array, or a tuple of such.
    columns : tuple of str
        Columns of the table of examples that `prepare` takes after them, as one array (n, k).
    seen : tuple of tuple of int, optional
        Shapes of a row of each tensor after that.
    stepped : bool
        Whether it is trained by Adam at a rate that falls in steps, rather than by AdamW and half a cosine.
    training, rehearsal : dict
        Settings of training that differ from the usual: of the training itself, and of the one on simulated stars
        alone that precedes it where real stars are given. Without the second there is none.
    group : str
        Column of the table of examples whose values are never split between training and test.
    judge : callable
        History of a training and scored examples that it held out → facts for the card, and figures by name.
    lean : callable, optional
        Turns a network and "use bfloat16" into modules that, run one after the other, compute the same faster
        on a CPU; see `models.calnet_lean.lean_calnet`.
    """

    name: str
    network: Callable[[], nn.Module]
    recipe: str
    inputs: dict[str, tuple[int, ...]]
    outputs: int
    read: Callable[[NDArray[np.floating]], Columns]
    loss: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
    targets: tuple[str, ...] = ()
    augment: Callable[[Sequence[Tensor], torch.Generator], list[Tensor]] | None = None
    prepare: Callable[..., NDArray[np.float32] | tuple[NDArray[np.float32], ...]] | None = None
    columns: tuple[str, ...] = ()
    seen: tuple[tuple[int, ...], ...] | None = None
    stepped: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)
    rehearsal: Mapping[str, Any] = field(default_factory=dict)
    group: str = "tic_id"
    judge: Judge = _Later("models.evaluate", "judge")
    lean: Callable[[nn.Module, bool], list[nn.Module]] | None = None

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shape of a row of each tensor that the network takes."""
        return list(self.inputs.values() if self.seen is None else self.seen)

    def look(self, *arrays: NDArray[np.generic]) -> tuple[NDArray[np.float32], ...]:
        """Return what the network sees of arrays of the store and, where it wants columns, of these."""
        assert self.prepare is not None
        seen = self.prepare(*(np.asarray(array, np.float32) for array in arrays))
        return seen if isinstance(seen, tuple) else (seen,)


def _read_two(outputs: NDArray[np.floating]) -> Columns:
    """Probability of the second of two classes."""
    logits = np.asarray(outputs, np.float64)
    return {"score": expit(logits[:, 1] - logits[:, 0])}


def _cross_entropy(outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    return functional.cross_entropy(outputs, targets["label"], reduction="none")


def _twice_softmax(outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the published loss of CALNet: a cross-entropy that takes probabilities for logits.

    It cannot fall below 0.313 and its gradient vanishes where the network is sure: kept for comparison only.
    """
    return functional.cross_entropy(outputs.softmax(1), targets["label"], reduction="none")


_CALNET = ModelSpec(
    name="calnet",
    network=_Later("models.calnet", "CALNet"),
    recipe="calnet",
    inputs={"curve": (1, 4000), "periodogram": (1, 1000)},
    outputs=2,
    read=_read_two,
    loss=_cross_entropy,
    training={"epochs": 10},
    lean=_Later("models.calnet_lean", "lean_calnet"),
)

_REALBOGUS = ModelSpec(
    name="realbogus",
    network=_Later("models.braai", "RealBogus"),
    recipe="",
    inputs={"triplet": (CHANNELS, SIZE, SIZE)},
    outputs=1 + 3 + 32,  # real, types, embedding
    read=_Later("models.realbogus", "read"),
    loss=_Later("models.realbogus", "loss"),
    targets=("type_code",),
    augment=_Later("models.realbogus", "augment"),
    prepare=_Later("models.planes", "planes"),
    seen=((PLANES, SIZE, SIZE),),
    group="field",
    judge=_Later("models.judgement_figures", "card"),
    training={"epochs": 16, "batch_size": 128, "learning_rate": 2e-3, "weight_decay": 1e-2, "split_by": "field"},
    lean=_Later("models.realbogus_lean", "lean_realbogus"),
)

_VISUAL = ModelSpec(
    name="visualbinary",
    network=_Later("models.visual", "VisualBinary"),
    recipe="",
    inputs={"stack": (AROUND, AROUND)},
    outputs=9,  # single, and a bin of separation each
    read=_Later("models.visual", "read"),
    loss=_Later("models.visual", "loss"),
    targets=("bin_code",),
    augment=_Later("models.visual", "augment"),
    prepare=_Later("models.stamp_planes", "prepare"),
    columns=COLUMNS,
    seen=((1, MIDDLE, MIDDLE), (1, WHOLE, WHOLE), (len(FACTS),)),
    group="source_id",
    judge=_Later("models.visual_judgement", "card"),
    training={"epochs": 12, "batch_size": 128, "learning_rate": 2e-3, "weight_decay": 1e-2, "split_by": "source"},
)

SPECS = {
    spec.name: spec
    for spec in [
        ModelSpec(
            name="eb",
            network=_Later("models.eb", "EBNet"),
            recipe="robust",
            inputs={
                "curve": (1, 4000),
                "coverage": (1, 4000),
                "periodogram": (1, 1000),
                "folded": (4, 128),
                "facts": (12,),
            },
            outputs=5 + 2,  # classes, morphology and its spread
            read=_Later("models.eb", "read"),
            loss=_Later("models.eb", "loss"),
            targets=("klass_code", "morph"),
            augment=_Later("models.eb", "augment"),
            training={"epochs": 8, "batch_size": 96, "learning_rate": 5e-4, "weight_decay": 1e-2},
            rehearsal={"epochs": 14, "batch_size": 96, "learning_rate": 3e-3, "weight_decay": 1e-2},
        ),
        _CALNET,
        # Among few binaries this loss is stuck from the first epoch on, at a rate of 1e-3 as at 1e-4: its gradient
        # vanishes where the network is sure, and it is soon sure that nothing is one.
        replace(_CALNET, name="calnet_published", loss=_twice_softmax),
        _REALBOGUS,
        replace(
            _REALBOGUS, name="realbogus_baseline", network=_Later("models.braai", "ThreeBlocks"), outputs=1, lean=None
        ),
        _VISUAL,
        replace(
            _VISUAL,
            name="poster",
            network=_Later("models.resnet", "Poster"),
            outputs=2,
            read=_Later("models.visual", "read_poster"),
            loss=_cross_entropy,
            targets=(),
            augment=None,
            prepare=_Later("models.stamp_planes", "poster_planes"),
            seen=((1, AROUND, AROUND),),
            stepped=True,
            training={"epochs": 40, "batch_size": 32, "learning_rate": 1e-3, "weight_decay": 0.0, "split_by": "source"},
            lean=None,
        ),
    ]
}


def get_spec(name: str) -> ModelSpec:
    """Return the model called `name`.

    Raises
    ------
    ModelNotFound
        For an unknown name; the message lists the known ones.
    """
    if name not in SPECS:
        raise ModelNotFound(f"no model is called {name!r}; there are: {', '.join(sorted(SPECS))}")
    return SPECS[name]
