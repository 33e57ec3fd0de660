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
from models.stamp_planes import FACTS, MIDDLE, USUAL_FWHM, USUAL_SCALE

__all__ = ["BINS", "SEPARATIONS", "VisualBinary", "augment", "bin_code", "loss", "read", "read_poster", "views"]

#: Edges of the bins of separation, arcsec.
SEPARATIONS = (0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.4, 1.9, 2.5)

#: What the network tells apart: a single star, and a bin of separation each.
BINS = len(SEPARATIONS)

_SOFT = 3.0  # asinh of the noise in units of this
_LANCZOS = 4
_SIGMA = 2.3548  # FWHM of a Gaussian
_REACH = 2.5  # arcsec in which a companion counts


def bin_code(label: NDArray[np.integer], sep_arcsec: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the class of each stack: 0 single, k the bin of separation from SEPARATIONS[k - 1] on."""
    inner = np.digitize(np.nan_to_num(sep_arcsec), SEPARATIONS[1:-1]) + 1
    return np.where(np.asarray(label) > 0, inner, 0).astype(np.int64)


class VisualBinary(nn.Module):
    """The production network: of the residual family of `models.resnet`, with a view of the middle and one of all.

    What a close pair changes is small beside its light: so the middle is also shown less what it looks like turned by
    180 degrees about its own centre (nothing is left of a star, whatever its PSF, as long as that is symmetric; of two
    stars that differ the difference is), and less what it looks like turned by 90 degrees (elongation).

    Parameters
    ----------
    width : int
        Channels of the first layers.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.middle = nn.Sequential(
            _stem(7, width, 3, 1), layer(width, width, 1, 1), layer(width, 2 * width, 2, 2),
            layer(2 * width, 4 * width, 2, 2), layer(4 * width, 4 * width, 1, 2),
        )  # fmt: skip
        self.around = nn.Sequential(
            _stem(3, 16, 5, 2), layer(16, 16, 1, 1), layer(16, 32, 1, 2), layer(32, 64, 1, 2), layer(64, 64, 1, 2)
        )
        seen = 2 * 4 * width + 2 * 64 + len(FACTS) + 2 * 5
        self.head = nn.Sequential(nn.Linear(seen, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, BINS))

    def forward(self, middle: Tensor, around: Tensor, facts: Tensor) -> Tensor:
        """Return logits (N, 9), single and each bin of separation, of `models.stamp_planes.prepare`'s arrays."""
        with torch.autocast(middle.device.type, enabled=False):
            near, wide, measured = views(middle, around, facts)
        return self.tail(near, wide, torch.cat([facts, measured], 1))

    def tail(self, near: Tensor, wide: Tensor, told: Tensor) -> Tensor:
        """Return logits of views and all that is told."""
        seen = [pool for trunk in (self.middle(near), self.around(wide)) for pool in _pooled(trunk)]
        logits: Tensor = self.head(torch.cat([*seen, told.to(seen[0].dtype)], 1))
        return logits


def _stem(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _pooled(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean((2, 3)), x.amax((2, 3))


def views(middle: Tensor, around: Tensor, facts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the layers see: of the middle, of all around, and moments.

    Parameters
    ----------
    middle, around, facts : Tensor
        From `models.stamp_planes.prepare`.

    Returns
    -------
    near : Tensor, (N, 7, 32, 32)
        The middle: compressed; over its peak; what is odd about its centre and what is elongated, each over the noise
        and over the peak; the distance from the centre of the stamp over 2.5 arcsec.
    wide : Tensor, (N, 3, 64, 64)
        All: compressed; what is odd about the centre of the middle; the distance.
    measured : Tensor, (N, 10)
        See `_moments`.
    """
    pixels = middle[:, 0]
    pixscale, step = (USUAL_SCALE * torch.exp(facts[:, number]) for number in (0, 1))
    sigma = (torch.exp(facts[:, 2]) * USUAL_FWHM / _SIGMA).clamp(0.7, 6.0)
    x, y = _centre(pixels, sigma)
    odd, long = _turned(pixels, x, y)
    all_cells = around[:, 0]
    # The same place among the cells of all: `models.stamp_planes.prepare` cuts both about one middle.
    shrunk, shift = step / pixscale, (around.shape[-1] - 1) / 2
    unlike = _odd(all_cells, *((place - (MIDDLE - 1) / 2) / shrunk + shift for place in (x, y)))
    peak = functional.avg_pool2d(middle, 3, 1).amax((1, 2, 3)).clamp(min=3.0)[:, None, None]
    planes = (
        torch.asinh(pixels / _SOFT) / 2, (pixels / peak).clamp(-1, 2), torch.asinh(odd / 2) / 2,
        torch.asinh(long / 2) / 2, torch.tanh(5 * odd / peak), torch.tanh(5 * long / peak),
        _distance(MIDDLE, pixscale),
    )  # fmt: skip
    cells = around.shape[-1]
    wide = torch.stack([torch.asinh(all_cells / _SOFT) / 2, torch.asinh(unlike / 2) / 2, _distance(cells, step)], 1)
    return torch.stack(planes, 1), wide, _moments(pixels, x, y, sigma)


def _distance(size: int, pixscale: Tensor) -> Tensor:
    axis = torch.arange(size, device=pixscale.device, dtype=torch.float32) - (size - 1) / 2
    radius = torch.sqrt(axis[:, None] ** 2 + axis**2)
    return (radius * pixscale[:, None, None] / _REACH).clamp(max=3.0)


def _weights(x: Tensor, y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return offsets (N, 1, s), (N, s, 1) and Gaussian weights (N, s, s) about places."""
    axis = torch.arange(MIDDLE, device=x.device, dtype=torch.float32)
    dx, dy = (axis - x[:, None])[:, None, :], (axis - y[:, None])[:, :, None]
    return dx, dy, torch.exp(-(dx**2 + dy**2) / (2 * sigma[:, None, None] ** 2))


def _centre(pixels: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Return the place (N,), (N,) of the light near the middle, by Gaussian weights that follow it."""
    middle = (MIDDLE - 1) / 2
    x = y = torch.full_like(sigma, middle)
    for _ in range(4):
        dx, dy, weight = _weights(x, y, sigma)
        light = weight * pixels.clamp(min=0)
        total = light.sum((1, 2)).clamp(min=1e-3)
        x = x + (2 * (light * dx).sum((1, 2)) / total).clamp(-1, 1)
        y = y + (2 * (light * dy).sum((1, 2)) / total).clamp(-1, 1)
    return x.clamp(middle - 4, middle + 4), y.clamp(middle - 4, middle + 4)


def _kernel(t: Tensor) -> Tensor:
    """Return Lanczos' kernel."""
    t = t.clamp(-_LANCZOS, _LANCZOS)
    angle = math.pi * torch.where(t.abs() < 1e-4, torch.full_like(t, 1e-4), t)
    return torch.sin(angle) * torch.sin(angle / _LANCZOS) * _LANCZOS / angle**2


def _at(place: Tensor, steps: Tensor) -> Tensor:
    """Return (N, s, s): how much of each cell (last) is found at a place, plus steps (s, s)."""
    return _kernel(place[:, None, None] + steps)


def _steps(pixels: Tensor) -> tuple[Tensor, Tensor]:
    axis = torch.arange(pixels.shape[-1], device=pixels.device, dtype=torch.float32)
    return axis[:, None] + axis, axis[:, None] - axis


def _odd(pixels: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return what changes (N, s, s) when pixels are turned by 180 degrees about a place, as noisy as they are."""
    plus, _ = _steps(pixels)
    return (pixels - _at(2 * y, -plus) @ pixels @ _at(2 * x, -plus).transpose(1, 2)) / 2**0.5


def _turned(pixels: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return what changes (N, s, s) when pixels are turned by 180, and by 90 degrees, about a place."""
    plus, minus = _steps(pixels)
    across, odd = pixels.transpose(1, 2), _odd(pixels, x, y)
    left = _at(x + y, -plus) @ across @ _at(y - x, minus).transpose(1, 2)
    right = _at(x - y, minus) @ across @ _at(x + y, -plus).transpose(1, 2)
    return odd, pixels - odd / 2**0.5 - (left + right) / 2


def _moments(pixels: Tensor, x: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
    """Return, for weights of one and two sigma: signal to noise, size, elongation, asymmetry, peakedness (N, 10)."""
    found = []
    for factor in (1.0, 2.0):
        width = factor * sigma
        dx, dy, weight = _weights(x, y, width)
        light, scale = weight * pixels, width[:, None, None]
        u, v = dx / scale, dy / scale
        flux = light.sum((1, 2))
        total = flux.clamp(min=1.0)
        r2 = u**2 + v**2
        xx, yy, xy = ((light * part).sum((1, 2)) / total for part in (u**2, v**2, u * v))
        third = [(light * part * r2).sum((1, 2)) / total for part in (u, v)]
        found += [
            torch.asinh(flux / (weight**2).sum((1, 2)).sqrt()) / 5,
            xx + yy,
            torch.sqrt((xx - yy) ** 2 + 4 * xy**2 + 1e-8),
            torch.sqrt(third[0] ** 2 + third[1] ** 2 + 1e-8),
            (light * r2**2).sum((1, 2)) / total / 2,
        ]
    return torch.stack(found, 1).clamp(-4, 4)


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
    for view in (middle, around):
        seen = view * factor + extra * torch.randn(view.shape, generator=generator)
        turned = torch.empty_like(seen)
        for number in range(8):
            rows = pose == number
            some = torch.rot90(seen[rows], number % 4, (2, 3))
            turned[rows] = some.flip(3) if number >= 4 else some
        views.append(turned)
    return [*views, facts]
