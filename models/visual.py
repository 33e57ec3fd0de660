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
from models.stamp_planes import AROUND, FACTS, MIDDLE, USUAL_FWHM, USUAL_SCALE, WHOLE
from pipeline.fusion import EDGES
from pipeline.stamps.surveys import REACH

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
    "views",
]

#: Edges of the bins of separation, arcsec.
SEPARATIONS = EDGES

#: What the network tells apart: a single star, and a bin of separation each.
BINS = len(SEPARATIONS)

_SOFT = 3.0  # asinh of the noise in units of this
_LANCZOS = 4
_SIGMA = 2.3548  # FWHM of a Gaussian

# Planes of both views, and which of them is the distance (see `views`).
_NEAR, _WIDE, _DISTANCE = 8, 9, 0


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
    found counts for the bin of separation that the cell is in. A star outside the last bin counts for none.

    Parameters
    ----------
    width, wide : int
        Channels of the first layers: of the middle, of all.
    """

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.middle = nn.Sequential(_stem(_NEAR, width, 3, 1), layer(width, width, 1, 1))
        self.close = nn.Sequential(
            layer(width, 2 * width, 2, 2), layer(2 * width, 4 * width, 2, 2), layer(4 * width, 4 * width, 1, 2)
        )
        self.around = nn.Sequential(_stem(_WIDE, wide, 5, 2), layer(wide, wide, 2, 1))
        self.far = nn.Sequential(layer(wide, 2 * wide, 1, 2), layer(2 * wide, 3 * wide, 1, 2))
        self.spots = nn.ModuleList([_spot(width), _spot(wide)])
        seen = 2 * (4 * width + 3 * wide) + len(FACTS) + 2 * 5
        self.head = nn.Sequential(nn.Linear(seen, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, BINS))
        self.register_buffer("edges", torch.tensor(SEPARATIONS), persistent=False)

    def forward(self, middle: Tensor, around: Tensor, facts: Tensor) -> Tensor:
        """Return logits (N, 9), single and each bin of separation, of `models.stamp_planes.prepare`'s arrays."""
        with torch.autocast(middle.device.type, enabled=False):
            near, wide, measured = views(middle, around, facts)
        close, far = self.middle(near), self.around(wide)
        seen = [pool for trunk in (self.close(close), self.far(far)) for pool in _pooled(trunk)]
        seen.append(torch.cat([facts, measured], 1).to(seen[0].dtype))
        logits = self.head(torch.cat(seen, 1))
        found = [spot(features) for spot, features in zip(self.spots, (close, far), strict=True)]
        with torch.autocast(middle.device.type, enabled=False):
            logits = logits.float()
            pixscale, step = _scales(facts)
            away = near[:, _DISTANCE], wide[:, _DISTANCE, ::2, ::2]
            cells = pixscale, 2 * step
            bins = [logits[:, 1:]]
            for spots, distance, cell in zip(found, away, cells, strict=True):
                bins.append(self._bins(spots[:, 0].float(), REACH * distance, cell))
            return torch.cat([logits[:, :1], torch.logsumexp(torch.stack(bins), 0)], 1)

    def _bins(self, spots: Tensor, distance: Tensor, cell: Tensor) -> Tensor:
        """Return how likely there is a companion in each bin (N, 8), of cells (N, s, s) so far away, arcsec."""
        blur = (0.35 * cell + 0.02)[:, None, None, None]
        beyond = torch.sigmoid((distance[:, None] - self.edges[:, None, None]) / blur)
        share = (beyond[:, :-1] - beyond[:, 1:]).clamp(min=1e-6)
        return torch.logsumexp((spots[:, None] + torch.log(share)).flatten(2), 2)


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


def _scales(facts: Tensor) -> tuple[Tensor, Tensor]:
    """Return arcsec of a cell of the middle, and of a step: two cells of all."""
    pixscale, step = (USUAL_SCALE * torch.exp(facts[:, number]) for number in (0, 1))
    return pixscale, step


def views(middle: Tensor, around: Tensor, facts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the layers see: of the middle, of all around, and moments.

    Parameters
    ----------
    middle, around, facts : Tensor
        From `models.stamp_planes.prepare`.

    Returns
    -------
    near : Tensor, (N, 8, 32, 32)
        The middle: distance from its light's centre over 2.5 arcsec; inside or outside of 2.5 arcsec; compressed; what
        is odd about the centre and what is elongated, each over the noise and over the peak; the middle over its peak.
    wide : Tensor, (N, 9, 64, 64)
        All, four cells at a step: distance; inside or outside; each of the four cells compressed; their mean
        compressed; what is odd about the same centre; the mean over the peak, compressed.
    measured : Tensor, (N, 10)
        See `_moments`.
    """
    pixels = middle[:, 0]
    pixscale, step = _scales(facts)
    sigma = (torch.exp(facts[:, 2]) * USUAL_FWHM / _SIGMA).clamp(0.7, 6.0)
    x, y = _centre(pixels, sigma)
    odd, long = _turned(pixels, x, y)
    phases = functional.pixel_unshuffle(around, 2)
    # As noisy as a cell: of a fine stack four are averaged, of a coarse one they are one.
    shrunk = step / pixscale
    cells = phases.mean(1) * shrunk[:, None, None]
    # The same place among the steps: `models.stamp_planes.prepare` cuts both about one middle.
    column, row = ((place - (MIDDLE - 1) / 2) / shrunk + (cells.shape[-1] - 1) / 2 for place in (x, y))
    unlike = _odd(cells, column, row)
    peak = functional.avg_pool2d(middle, 3, 1).amax((1, 2, 3)).clamp(min=3.0)[:, None, None]
    near = torch.stack([
        *_distance(pixels, x, y, pixscale), torch.asinh(pixels / _SOFT) / 2, torch.asinh(odd / 2) / 2,
        torch.asinh(long / 2) / 2, torch.tanh(5 * odd / peak), torch.tanh(5 * long / peak),
        (pixels / peak).clamp(-1, 2),
    ], 1)  # fmt: skip
    others = torch.stack([
        *_distance(cells, column, row, step), torch.asinh(cells / _SOFT) / 2, torch.asinh(unlike / 2) / 2,
        torch.asinh(10 * cells / peak) / 3,
    ], 1)  # fmt: skip
    return near, torch.cat([others, torch.asinh(phases / _SOFT) / 2], 1), _moments(pixels, x, y, sigma)


def _distance(pixels: Tensor, x: Tensor, y: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance from a place over 2.5 arcsec, and whether that is inside (-1) or outside (1)."""
    axis = torch.arange(pixels.shape[-1], device=x.device, dtype=torch.float32)
    cells = torch.sqrt((axis - x[:, None])[:, None, :] ** 2 + (axis - y[:, None])[:, :, None] ** 2)
    arcsec, cell = cells * scale[:, None, None], scale[:, None, None]
    return (arcsec / REACH).clamp(max=3.0), torch.tanh((arcsec - REACH - 0.05) / (0.5 * cell + 0.05))


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
