"""Networks that tell real from bogus: braai as published, the plain three-block network, and ours.

All look at a candidate's triplet of 63×63 pixels. Those of others want it as they were taught: see `published_input`;
ours sees `models.planes`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.planes import PLANES, SIZE
from pipeline.errors import CorruptModel, UsageError

__all__ = ["Braai", "RealBogus", "ThreeBlocks", "load_published", "published_input"]

_PAD = 1e-9  # braai's own padding, after normalising

#: Layers of braai with weights, in order: its name here, and of the published file.
_LAYERS = ("conv1", "conv2", "conv3", "conv4", "fc1", "fc2")


class Braai(nn.Module):
    """VGG6 of Duev et al. (2019, MNRAS 489, 3582), section 3.2; 312,081 parameters.

    Dropout is of its training only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)
        self.conv3, self.conv4 = nn.Conv2d(16, 32, 3), nn.Conv2d(32, 32, 3)
        self.fc1, self.fc2 = nn.Linear(32 * 6 * 6, 256), nn.Linear(256, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 1) of `x` (N, 3, 63, 63): see `published_input`, channels first."""
        relu = functional.relu
        x = functional.max_pool2d(relu(self.conv2(relu(self.conv1(x)))), 2)
        x = functional.dropout(x, 0.25, self.training)
        x = functional.max_pool2d(relu(self.conv4(relu(self.conv3(x)))), 4)
        x = functional.dropout(x, 0.25, self.training).flatten(1)
        logits: Tensor = self.fc2(functional.dropout(relu(self.fc1(x)), 0.5, self.training))
        return logits


class ThreeBlocks(nn.Module):
    """The plain network that others are compared with: three convolutions of 32, 64 and 128, one dense layer of 256."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128)
        blocks = [
            nn.Sequential(nn.Conv2d(inputs, outputs, 3), nn.ReLU(), nn.MaxPool2d(2))
            for inputs, outputs in pairwise(widths)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Linear(128 * 6 * 6, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 1) of `x` (N, 4, 63, 63): `models.planes.planes`, whose coverage it does not look at."""
        logits: Tensor = self.head(self.blocks(x[:, :3]).flatten(1))
        return logits


class _Residual(nn.Module):
    """Two convolutions beside a shortcut; the first may halve the image."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        plain = stride == 1 and inputs == outputs
        self.short = (
            nn.Identity()
            if plain
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        shortened: Tensor = functional.relu(self.norm2(self.conv2(y)) + self.short(x))
        return shortened


class RealBogus(nn.Module):
    """The production network: the middle of the triplet at full resolution, its surroundings at half.

    What tells a cosmic ray or a dipole from a star is in the few pixels of the candidate; whether such residues are
    everywhere, what the host is and how wide stars are, is in what is around.
    """

    #: Pixels on a side of the middle.
    MIDDLE = 23

    #: Numbers that describe a triplet, for novelty.
    EMBEDDING = 32

    #: Kinds of real sources that the second head tells.
    TYPES = 3

    def __init__(self) -> None:
        super().__init__()
        self.around = nn.Sequential(
            _stem(PLANES, 24, 5, 2),
            _Residual(24, 24, 1),
            _Residual(24, 48, 2),
            _Residual(48, 96, 2),
            _Residual(96, 96, 2),
        )
        self.middle = nn.Sequential(
            _stem(PLANES, 24, 3, 1), _Residual(24, 24, 1), _Residual(24, 48, 2), _Residual(48, 96, 2)
        )
        self.embed = nn.Sequential(nn.Dropout(0.2), nn.Linear(96 * 4 + 96 * 36, 128), nn.ReLU(),
                                   nn.Linear(128, self.EMBEDDING))  # fmt: skip
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(self.EMBEDDING, 1 + self.TYPES))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 36) of `x` (N, 4, 63, 63): logit of real, logits of types, embedding."""
        edge = (SIZE - self.MIDDLE) // 2
        around = self.around(x)
        middle = self.middle(x[:, :, edge : edge + self.MIDDLE, edge : edge + self.MIDDLE])
        seen = torch.cat([functional.avg_pool2d(around, 2).flatten(1), middle.flatten(1)], 1)
        embedding = self.embed(seen)
        return torch.cat([self.head(embedding), embedding], 1)


def _stem(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def published_input(cutouts: ArrayLike, norm: str = "row") -> NDArray[np.float32]:
    """Return cutouts as braai was taught on them.

    Parameters
    ----------
    cutouts : (N, ny, nx, 3) array
        Science, template, difference in counts, at most 63 pixels on a side; NaN counts as 0.
    norm : {'row', 'frobenius'}
        What each channel is divided by: every row by its own L2 norm (d6_m7: the published code normalises along the
        last axis of each cutout), or the whole by its Frobenius norm (d6_m9).

    Returns
    -------
    (N, 3, 63, 63) float32
        What is missing at the right and at the bottom is 1e-9.

    Raises
    ------
    UsageError
        For another norm or shape.
    """
    pixels = np.nan_to_num(np.asarray(cutouts, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if pixels.ndim != 4 or pixels.shape[3] != 3 or max(pixels.shape[1:3]) > SIZE:
        raise UsageError(f"cutouts of shape {pixels.shape}: braai takes (N, 63, 63, 3): science, template, difference")
    if norm not in ("row", "frobenius"):
        raise UsageError(f"norm {norm!r}: braai's versions divide by 'row' (d6_m7) or 'frobenius' (d6_m9)")
    size = np.sqrt((pixels.astype(np.float64) ** 2).sum(axis=2 if norm == "row" else (1, 2), keepdims=True))
    # As in single precision, whose squares overflow: a row with a pixel of -3e38, as some references have, is nothing.
    size = np.where(size**2 > np.finfo(np.float32).max, np.inf, size)
    scaled = (pixels / np.where(size == 0, 1, size)).astype(np.float32)
    gap = ((0, 0), (0, SIZE - pixels.shape[1]), (0, SIZE - pixels.shape[2]), (0, 0))
    return np.ascontiguousarray(np.pad(scaled, gap, constant_values=_PAD).transpose(0, 3, 1, 2))


def load_published(path: str | Path, norm: str = "row") -> Callable[[ArrayLike], NDArray[np.float32]]:
    """Return braai with published weights.

    Parameters
    ----------
    path : path
        Weights as Keras writes them, HDF5.
    norm : {'row', 'frobenius'}
        As the weights were taught: 'row' for d6_m7, 'frobenius' for d6_m9.

    Returns
    -------
    callable
        Takes cutouts (N, 63, 63, 3) in counts, science, template, difference, and returns logits (N,) float32.

    Raises
    ------
    UsageError
        For another norm, or if the file is not there.
    CorruptModel
        If the file does not hold the weights of this network.
    """
    if norm not in ("row", "frobenius"):
        raise UsageError(f"norm {norm!r}: braai's versions divide by 'row' (d6_m7) or 'frobenius' (d6_m9)")
    network = Braai().eval()
    _fill(network, _arrays(Path(path)), str(path))

    def logits(cutouts: ArrayLike) -> NDArray[np.float32]:  # numpydoc ignore=GL08
        pixels = published_input(cutouts, norm)
        found = [network(torch.from_numpy(pixels[first : first + 64])) for first in range(0, len(pixels), 64)]
        return np.concatenate([one.numpy()[:, 0] for one in found]) if found else np.zeros(0, np.float32)

    return torch.inference_mode()(logits)


def _arrays(path: Path) -> list[NDArray[np.float32]]:
    """Return the arrays of a Keras file in the order of its layers: kernel, bias, kernel, bias, …"""
    import h5py

    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the HDF5 file of published weights")
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            arrays = [
                np.asarray(root[_text(layer)][_text(name)], np.float32)
                for layer in root.attrs["layer_names"]
                for name in root[_text(layer)].attrs["weight_names"]
            ]
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CorruptModel(f"{path}: no weights as Keras writes them ({error}); download the file again") from error
    return arrays


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _fill(network: Braai, arrays: Sequence[NDArray[np.float32]], path: str) -> None:
    """Give the network Keras' weights: kernels are HWIO, dense ones transposed, and flattened as H, W, C."""
    layers = [getattr(network, name) for name in _LAYERS]
    if len(arrays) != 2 * len(layers):
        raise CorruptModel(f"{path}: {len(arrays)} arrays, braai has {2 * len(layers)}: another network's weights")
    for name, layer, kernel, bias in zip(_LAYERS, layers, arrays[::2], arrays[1::2], strict=True):
        if kernel.ndim == 4:
            weight = kernel.transpose(3, 2, 0, 1)
        elif name == "fc1" and kernel.shape == (32 * 6 * 6, 256):
            weight = kernel.reshape(6, 6, 32, 256).transpose(3, 2, 0, 1).reshape(256, -1)
        else:
            weight = kernel.T
        for there, found in ((layer.weight, weight), (layer.bias, bias)):
            if tuple(there.shape) != found.shape:
                raise CorruptModel(f"{path}: {name} is {found.shape}, braai's is {tuple(there.shape)}")
            with torch.no_grad():
                there.copy_(torch.from_numpy(np.ascontiguousarray(found)))
