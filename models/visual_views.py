"""What the network of visual binaries sees of a stack: planes, moments, and where the light of each cell is."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.stamp_planes import MIDDLE, USUAL_FWHM, USUAL_SCALE
from pipeline.stamps.surveys import REACH

__all__ = ["NEAR", "WIDE", "WINGS", "views"]

#: Planes of both views (see `views`).
NEAR, WIDE = 8, 9

#: Scale of a logistic distribution of errors, over their σ: near a normal one, with wider wings, as theirs are.
WINGS = 0.59

_SOFT = 3.0  # asinh of the noise in units of this
_LANCZOS = 4
_SIGMA = 2.3548  # FWHM of a Gaussian
_CENTROID = 2.5  # error of a centroid by such weights, in σ over S/N (measured on simulated companions)

Places = tuple[Tensor, Tensor]


def _scales(facts: Tensor) -> tuple[Tensor, Tensor]:
    """Return arcsec of a cell of the middle, and of a step: two cells of all; each (N,)."""
    pixscale, step = (USUAL_SCALE * torch.exp(facts[:, number]) for number in (0, 1))
    return pixscale, step


def views(middle: Tensor, around: Tensor, facts: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[Places, Places]]:
    """Return what the layers see: of the middle, of all around, and moments; and how far what a cell shows is away.

    Parameters
    ----------
    middle, around, facts : Tensor
        From `models.stamp_planes.prepare`.

    Returns
    -------
    near : Tensor, (N, 8, 32, 32)
        The middle: how far cells are from the source over 2.5 arcsec; whether their light is inside or outside of that;
        compressed; what is odd about the source and what is elongated, each over the noise and over the peak; the
        middle over its peak.
    wide : Tensor, (N, 9, 64, 64)
        All, four cells at a step: how far; inside or outside; their mean compressed; what is odd about the same source;
        the mean over the peak, compressed; each of the four cells compressed.
    measured : Tensor, (N, 10)
        See `_moments`.
    away : tuple of tuple of Tensor, (N, 32, 32)
        Of every cell of the middle, and of every other one of all: how far the light that it shows beside the source is
        from the source, and its error, arcsec. A star is somewhere in a cell, and 2.5 arcsec may be in the same.
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
    distances, inside, away = _distances(odd, x, y, sigma, pixscale)
    near = torch.stack([
        distances, inside, _asinh(pixels / _SOFT) / 2, _asinh(odd / 2) / 2, _asinh(long / 2) / 2,
        torch.tanh(5 * odd / peak), torch.tanh(5 * long / peak), (pixels / peak).clamp(-1, 2),
    ], 1)  # fmt: skip
    distances, inside, wider = _distances(unlike, column, row, (sigma / shrunk).clamp(min=0.7), step)
    others = torch.stack([
        distances, inside, _asinh(cells / _SOFT) / 2, _asinh(unlike / 2) / 2, _asinh(10 * cells / peak) / 3,
    ], 1)  # fmt: skip
    wide = torch.cat([others, _asinh(phases / _SOFT) / 2], 1)
    return near, wide, _moments(pixels, x, y, sigma), (away, (wider[0][:, ::2, ::2], wider[1][:, ::2, ::2]))


def _distances(pixels: Tensor, x: Tensor, y: Tensor, sigma: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Places]:
    """Return, each (N, s, s): how far cells are from a place over 2.5 arcsec; where their light is; that in arcsec.

    The light of a cell is inside (-1) or outside (1) of 2.5 arcsec, as far as its error tells. Its centroid by Gaussian
    weights around the cell goes half-way to a star as wide as they are.
    """
    axis = torch.arange(pixels.shape[-1], device=pixels.device, dtype=torch.float32)
    steps = axis - axis[:, None]
    weight = torch.exp(-(steps**2) / (2 * sigma[:, None, None] ** 2))
    moment = weight * steps
    across, along = pixels @ weight.transpose(1, 2), pixels @ moment.transpose(1, 2)
    # Less light than three times its noise counts as that much: noise moves no cell far.
    noise = math.pi**0.5 * sigma[:, None, None]
    light = torch.maximum(weight @ across, 3 * noise)
    dx, dy = ((2 * moments / light).clamp(-1, 1) for moments in (weight @ along, moment @ across))
    left, low = (axis - x[:, None])[:, None, :], (axis - y[:, None])[:, :, None]
    scale = scale[:, None, None]
    away = scale * torch.sqrt((left + dx) ** 2 + (low + dy) ** 2)
    cells = scale * torch.sqrt(left**2 + low**2)
    error = torch.sqrt((_CENTROID * scale * sigma[:, None, None] * noise / light) ** 2 + (0.1 * scale + 0.01) ** 2)
    return (cells / REACH).clamp(max=3.0), torch.tanh((away - REACH) / (2 * WINGS * error)), (away, error)


def _asinh(x: Tensor) -> Tensor:
    """Return torch.asinh, which takes ten times as long."""
    size = x.abs()
    return torch.sign(x) * torch.log1p(size + size**2 / (1 + torch.sqrt(1 + size**2)))


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
            _asinh(flux / (weight**2).sum((1, 2)).sqrt()) / 5,
            xx + yy,
            torch.sqrt((xx - yy) ** 2 + 4 * xy**2 + 1e-8),
            torch.sqrt(third[0] ** 2 + third[1] ** 2 + 1e-8),
            (light * r2**2).sum((1, 2)) / total / 2,
        ]
    return torch.stack(found, 1).clamp(-4, 4)
