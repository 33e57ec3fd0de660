"""Visual binaries: the network that looks at a stack, what it gives, what it loses, how a stack may be turned."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logsumexp
from torch import Tensor, nn
from torch.nn import functional

from models.resnet import layer
from models.stamp_planes import AROUND, FACTS, MIDDLE, WHOLE
from models.visual_views import NEAR, WIDE, WINGS, views
from pipeline.fusion import EDGES

__all__ = [
    "BINS",
    "SEPARATIONS",
    "Sight",
    "VisualBinary",
    "augment",
    "bin_code",
    "loss",
    "read",
    "read_poster",
]

#: Edges of the bins of separation, arcsec.
SEPARATIONS = EDGES

#: What the network tells apart: a single star, and a bin of separation each.
BINS = len(SEPARATIONS)


def bin_code(label: NDArray[np.integer], sep_arcsec: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the class of each stack: 0 single, k the bin of separation from SEPARATIONS[k - 1] on."""
    inner = np.digitize(np.nan_to_num(sep_arcsec), SEPARATIONS[1:-1]) + 1
    return np.where(np.asarray(label) > 0, inner, 0).astype(np.int64)


class VisualBinary(nn.Module):
    """The production network: one `Sight` for coarse stacks, of the ground, and one for fine ones, of space.

    The two see stars so differently that what is learnt of the ones spoils what is learnt of the others.

    Parameters
    ----------
    width : int
        Channels of the first layers, of the middle.
    coarse, fine : int
        The same of all: the middle of a coarse stack holds all that counts.
    """

    def __init__(self, width: int = 16, coarse: int = 16, fine: int = 32) -> None:
        super().__init__()
        self.coarse, self.fine = Sight(width, coarse), Sight(width, fine)

    def forward(self, middle: Tensor, around: Tensor, facts: Tensor) -> Tensor:
        """Return logits (N, 9), single and each bin of separation, of `models.stamp_planes.prepare`'s arrays."""
        fine = facts[:, 1] > facts[:, 0]
        if torch.jit.is_tracing():  # what is traced cannot branch
            return torch.where(fine[:, None], self.fine(middle, around, facts), self.coarse(middle, around, facts))
        logits = torch.zeros(len(middle), BINS, device=middle.device)
        for sight, rows in ((self.fine, fine), (self.coarse, ~fine)):
            if rows.any():
                logits = logits.index_put((rows,), sight(middle[rows], around[rows], facts[rows]))
            elif self.training:
                # Workers that train together wait for a gradient of every weight.
                logits = logits + 0 * sum(weight.sum() for weight in sight.parameters())
        return logits


class Sight(nn.Module):
    """Of the residual family of `models.resnet`, with a view of the middle and one of all.

    What a close pair changes is small beside its light: so the middle is also shown less what it looks like turned by
    180 degrees about its own centre (nothing is left of a star, whatever its PSF, as long as that is symmetric; of two
    stars that differ the difference is), and less what it looks like turned by 90 degrees (elongation).

    A companion that is resolved is a matter of one place: both views are searched for it cell by cell, and what is
    found counts for the bin of separation that the cell's light is in. A star outside the last bin counts for none.

    Parameters
    ----------
    width, wide : int
        Channels of the first layers: of the middle, of all.
    """

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.middle = nn.Sequential(_stem(NEAR, width, 3, 1), layer(width, width, 1, 1))
        self.close = nn.Sequential(
            layer(width, 2 * width, 2, 2), layer(2 * width, 4 * width, 2, 2), layer(4 * width, 4 * width, 1, 2)
        )
        self.around = nn.Sequential(_stem(WIDE, wide, 5, 2), layer(wide, wide, 2, 1))
        self.far = nn.Sequential(layer(wide, 2 * wide, 1, 2), layer(2 * wide, 3 * wide, 1, 2))
        self.spots = nn.ModuleList([_spot(width), _spot(wide)])
        seen = 2 * (4 * width + 3 * wide) + len(FACTS) + 2 * 5
        self.head = nn.Sequential(nn.Linear(seen, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, BINS))
        self.register_buffer("edges", torch.tensor(SEPARATIONS), persistent=False)

    def forward(self, middle: Tensor, around: Tensor, facts: Tensor) -> Tensor:
        """Return logits (N, 9), single and each bin of separation, of `models.stamp_planes.prepare`'s arrays."""
        with torch.autocast(middle.device.type, enabled=False):
            near, wide, measured, away = views(middle, around, facts)
        if self.training:  # convolutions and their gradients are faster so
            near, wide = (view.contiguous(memory_format=torch.channels_last) for view in (near, wide))
        close, far = self.middle(near), self.around(wide)
        seen = [pool for trunk in (self.close(close), self.far(far)) for pool in _pooled(trunk)]
        seen.append(torch.cat([facts, measured], 1).to(seen[0].dtype))
        logits = self.head(torch.cat(seen, 1))
        found = [spot(features) for spot, features in zip(self.spots, (close, far), strict=True)]
        with torch.autocast(middle.device.type, enabled=False):
            logits = logits.float()
            bins = [logits[:, 1:]]
            for spots, (distance, error) in zip(found, away, strict=True):
                bins.append(self._bins(spots[:, 0].float(), distance, error))
            return torch.cat([logits[:, :1], torch.logsumexp(torch.stack(bins), 0)], 1)

    def _bins(self, spots: Tensor, distance: Tensor, error: Tensor) -> Tensor:
        """Return how likely there is a companion in each bin (N, 8), of cells (N, s, s) whose light is so far away."""
        beyond = torch.sigmoid((distance[:, None] - self.edges[:, None, None]) / (WINGS * error[:, None]))
        share = (beyond[:, :-1] - beyond[:, 1:]).clamp(min=1e-6)
        # log2 takes a sixth of log's time.
        return torch.logsumexp((spots[:, None] + math.log(2) * torch.log2(share)).flatten(2), 2)


def _spot(channels: int) -> nn.Conv2d:
    """Return what sees a companion in a cell; at first, that there is none in hundreds."""
    found = nn.Conv2d(channels, 1, 1)
    nn.init.constant_(found.bias, -6.0)
    return found


def _stem(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _pooled(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean((2, 3)), x.amax((2, 3))


def read(outputs: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """Return what a network's outputs mean.

    Parameters
    ----------
    outputs : (n, 9) float
        Logits of `VisualBinary`.

    Returns
    -------
    dict of (n,) float64
        logit and score (of a double, as the network gives it), l0, l1, … (its logits less their logarithmic sum).
    """
    raw = np.asarray(outputs, np.float64)
    shares = raw - logsumexp(raw, axis=1, keepdims=True)
    logit = logsumexp(raw[:, 1:], axis=1) - raw[:, 0]
    return {"score": expit(logit), "logit": logit} | {f"l{number}": column for number, column in enumerate(shares.T)}


def read_poster(outputs: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """Return logit and score of a double, of the two logits of the poster's network (n, 2)."""
    raw = np.asarray(outputs, np.float64)
    logit = raw[:, 1] - raw[:, 0]
    return {"score": expit(logit), "logit": logit}


def loss(outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the loss of each stack: cross-entropy of the bins, and of single or double.

    Parameters
    ----------
    outputs : Tensor, (N, 9)
        Logits.
    targets : mapping
        ``label`` (N,): 1 double, 0 not; ``bin_code`` (N,): see `bin_code`.

    Returns
    -------
    Tensor, (N,)
        Nat.
    """
    wanted = targets["label"].to(outputs.dtype)
    double = torch.logsumexp(outputs[:, 1:], 1) - outputs[:, 0]
    which = functional.cross_entropy(outputs, targets["bin_code"].long(), reduction="none")
    return functional.binary_cross_entropy_with_logits(double, wanted, reduction="none") + 0.3 * which


def augment(inputs: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Return a batch turned and mirrored, some of it noisier.

    Parameters
    ----------
    inputs : sequence of Tensor
        From `models.stamp_planes.prepare`.
    generator : torch.Generator
        Source of chance.
    """
    middle, around, facts = inputs
    count = len(middle)
    noisier = torch.rand(count, 1, 1, 1, generator=generator) < 0.3
    factor = torch.where(noisier, torch.rand(count, 1, 1, 1, generator=generator) * 0.7 + 0.3, torch.ones(()))
    extra = torch.sqrt(1 - factor**2)
    views: list[Any] = []
    pose = torch.randint(8, (count,), generator=generator)
    # The middle is cut out of all there is: so is its noise. Of a coarse stack four cells of all are one.
    coarse = facts[:, 0] == facts[:, 1]
    noise = torch.randn(around.shape, generator=generator)
    cells = noise[:, :, ::2, ::2].clone()
    noise[coarse] = cells[coarse].repeat_interleave(2, 2).repeat_interleave(2, 3)
    first = (WHOLE - MIDDLE) // 2, (AROUND - MIDDLE) // 2
    inner = noise[:, :, first[0] : first[0] + MIDDLE, first[0] : first[0] + MIDDLE].clone()
    inner[coarse] = cells[coarse][:, :, first[1] : first[1] + MIDDLE, first[1] : first[1] + MIDDLE]
    for view, added in ((middle, inner), (around, noise)):
        seen = view * factor + extra * added
        turned = torch.empty_like(seen)
        for number in range(8):
            rows = pose == number
            some = torch.rot90(seen[rows], number % 4, (2, 3))
            turned[rows] = some.flip(3) if number >= 4 else some
        views.append(turned)
    return [*views, facts]
