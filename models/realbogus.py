"""Real or bogus: what the networks of `models.braai` give, what they lose, and how a triplet may be turned.

"Real" asks whether the light is from the sky: movers, variable stars and active nuclei are real.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor
from torch.nn import functional

from models.braai import RealBogus
from models.planes import CHANNELS, SIZE, SOFT

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TYPES", "UNTYPED", "augment", "embedding", "loss", "read", "type_code"]

#: Kinds of real sources, in the order of the second head.
TYPES = ("transient", "variable", "mover")

#: Code of what has no type: bogus, or real of unknown type.
UNTYPED = -1

_COORDINATE = re.compile(r"e\d+")

_TYPE_WEIGHT = 0.2
_SMOOTH = 0.005  # no label is surer than this: truth by place has its own mistakes

_CUT = 0.3  # share of triplets that lose an edge
_SMALL = 0.15  # share that keep only their middle, as surveys with smaller cutouts send them
_LEAST = 8  # pixels that stay on each side of the middle
_NOISE = 0.15  # spread of the logarithm by which the noise of a channel may be wrong


def type_code(kind: str) -> int:
    """Return the code of a kind of candidate: its place in `TYPES`, or `UNTYPED`."""
    return TYPES.index(kind) if kind in TYPES else UNTYPED


def read(outputs: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """Return what a network's outputs mean.

    Parameters
    ----------
    outputs : (n, 1) or (n, 36) float
        From `models.braai`: logit; with it logits of types and the embedding.

    Returns
    -------
    dict of (n,) float64
        logit, score (probability of real as the network gives it); where there is a second head p_transient,
        p_variable, p_mover (given that it is real, sum 1); e0, e1, … of the embedding.
    """
    raw = np.asarray(outputs, np.float64)
    columns = {"score": expit(raw[:, 0]), "logit": raw[:, 0]}
    if raw.shape[1] > 1:
        shares = softmax(raw[:, 1 : 1 + len(TYPES)], axis=1)
        columns |= {f"p_{name}": shares[:, number] for number, name in enumerate(TYPES)}
        columns |= {f"e{number}": raw[:, 1 + len(TYPES) + number] for number in range(RealBogus.EMBEDDING)}
    return columns


def embedding(columns: "Mapping[str, Any] | pd.DataFrame") -> NDArray[np.float64]:
    """Return the embedding (n, k) out of columns as `read` names them; k is 0 where there is none."""
    names = sorted((name for name in columns if _COORDINATE.fullmatch(name)), key=lambda name: int(name[1:]))
    rows = len(columns["logit"])
    return np.stack([np.asarray(columns[name], float) for name in names], 1) if names else np.zeros((rows, 0))


def loss(outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the loss of each triplet: cross-entropy of real, and of the type where there is one.

    Parameters
    ----------
    outputs : Tensor, (N, 1) or (N, 36)
        Logits first.
    targets : mapping
        ``label`` (N,): 1 real, 0 bogus; ``type_code`` (N,): `TYPES`, or `UNTYPED`.

    Returns
    -------
    Tensor, (N,)
        Nat.
    """
    wanted = targets["label"].to(outputs.dtype) * (1 - 2 * _SMOOTH) + _SMOOTH
    entropy = functional.binary_cross_entropy_with_logits(outputs[:, 0], wanted, reduction="none")
    if outputs.shape[1] == 1:
        return entropy
    code = targets["type_code"].long()
    named = functional.cross_entropy(outputs[:, 1 : 1 + len(TYPES)], code.clamp(min=0), reduction="none")
    return entropy + _TYPE_WEIGHT * torch.where(code >= 0, named, 0.0)


def augment(inputs: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Return a batch turned and mirrored, some of it with pixels missing, its noise a little misjudged.

    Each triplet is put through one of the eight symmetries of the square; whatever is done to one plane of it is done
    to all.

    Parameters
    ----------
    inputs : sequence of Tensor
        One, (N, 4, 63, 63): see `models.planes.planes`.
    generator : torch.Generator
        Source of chance.
    """
    (planes,) = inputs
    factor = torch.exp(_NOISE * torch.randn(len(planes), CHANNELS, 1, 1, generator=generator))
    light = torch.asinh(torch.sinh(planes[:, :CHANNELS] * SOFT) * factor) / SOFT
    seen = torch.cat([light, planes[:, CHANNELS:]], 1) * _window(len(planes), generator)
    pose = torch.randint(8, (len(planes),), generator=generator)
    turned = torch.empty_like(seen)
    for number in range(8):
        rows = pose == number
        some = torch.rot90(seen[rows], number % 4, (2, 3))
        turned[rows] = some.flip(3) if number >= 4 else some
    return [turned]


def _window(count: int, generator: torch.Generator) -> Tensor:
    """Return (count, 1, SIZE, SIZE): 1 where pixels are left, 0 where an edge or all around is cut off."""
    half, axis = SIZE // 2, torch.arange(SIZE) - SIZE // 2
    chance = torch.rand(count, 4, generator=generator)
    reach = (_LEAST + chance[:, 1] * (half - _LEAST)).round()[:, None]
    small, cut = chance[:, 0] < _SMALL, (chance[:, 0] >= _SMALL) & (chance[:, 0] < _SMALL + _CUT)
    inside = axis[None].abs() <= reach
    before = axis[None] <= reach  # turned afterwards, one side stands for all four
    along = torch.where(small[:, None], inside, torch.where(cut[:, None], before, True))
    across = torch.where(small[:, None], inside, True)
    return (along[:, None, :] & across[:, :, None]).float()[:, None]
