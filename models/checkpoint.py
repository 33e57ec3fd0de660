"""Where a training run stands, as one file: network, optimiser and history, without pickle.

One file is one atomic write: a run that is killed at any moment finds its last epoch whole or the one before.
"""

import json
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from catalogs.folder import Folder
from pipeline.errors import Corrupt

__all__ = ["LAST", "read_weights", "restore", "store", "weights_path", "write_weights"]

LAST = "last.safetensors"


def store(folder: Folder, network: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Write network, optimiser and `state` (anything JSON can hold) as `LAST`."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
    text = json.dumps(state, allow_nan=False).encode()
    tensors["state"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    folder.write(LAST, save(_on_cpu(tensors)))


def restore(folder: Folder, network: nn.Module, optimizer: Optimizer) -> dict[str, Any] | None:
    """Put network and optimiser back where `LAST` has them; return the state, or None if there is none.

    Raises
    ------
    Corrupt
        If the file is damaged or of another network.
    """
    try:
        tensors = load(folder.read(LAST))
    except FileNotFoundError:
        return None
    except SafetensorError as error:
        raise Corrupt(f"{folder.url(LAST)}: no checkpoint ({error}); delete the run's folder") from error
    try:
        network.load_state_dict(_below(tensors, "network."))
        optimizer.load_state_dict(
            {"state": _by_parameter(tensors), "param_groups": optimizer.state_dict()["param_groups"]}
        )
        return dict(json.loads(tensors["state"].numpy().tobytes()))
    except (RuntimeError, KeyError, ValueError) as error:
        raise Corrupt(f"{folder.url(LAST)}: of another network ({error}); delete the run's folder") from error


def weights_path(epoch: int) -> str:
    """Return where the weights of an epoch lie; kept is the best one's."""
    return f"epoch-{epoch:05d}.safetensors"


def read_weights(folder: Folder, epoch: int) -> dict[str, Tensor]:
    """Return the weights of an epoch."""
    return dict(load(folder.read(weights_path(epoch))))


def write_weights(folder: Folder, epoch: int, network: nn.Module) -> None:
    """Write the weights of an epoch alone."""
    folder.write(weights_path(epoch), save(_on_cpu(network.state_dict())))


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _by_parameter(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimizer.").items():
        number, _, what = name.partition(".")
        state.setdefault(int(number), {})[what] = value
    return state
