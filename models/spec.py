"""What a model is: network, inputs, classes, threshold. One entry a model; the rest of the room asks here."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from models.calnet import CALNet
from models.calnet_lean import lean_calnet
from pipeline.errors import ModelNotFound

__all__ = ["ModelSpec", "SPECS", "get_spec"]


@dataclass(frozen=True)
class ModelSpec:
    """What the training loop, the registry and the runtimes need to know of a model.

    Parameters
    ----------
    name : str
        As in ids and options: lower case, digits, underscores.
    network : callable
        Returns the network with fresh weights; it takes one tensor per input and returns logits (N, classes).
    recipe : str
        Recipe that the curves store must have been made with.
    inputs : dict
        Arrays of the store in the order of the network's arguments, with the shape of one row.
    classes : tuple of str
        Meaning of the logits, in their order.
    positive : int, default 1
        Index of the class whose probability is the score.
    threshold : float, default 0.5
        Score from which a row counts as positive, where a model's card has no better one.
    lean : callable, optional
        Turns a network and "use bfloat16" into modules that, run one after the other, compute the same faster
        on a CPU; see `models.calnet_lean.lean_calnet`.
    """

    name: str
    network: Callable[[], nn.Module]
    recipe: str
    inputs: dict[str, tuple[int, ...]]
    classes: tuple[str, ...]
    positive: int = 1
    threshold: float = 0.5
    lean: Callable[[nn.Module, bool], list[nn.Module]] | None = None


SPECS = {
    spec.name: spec
    for spec in [
        ModelSpec(
            name="calnet",
            network=CALNet,
            recipe="calnet",
            inputs={"curve": (1, 4000), "periodogram": (1, 1000)},
            classes=("other", "eclipsing binary"),
            lean=lean_calnet,
        )
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
