"""EBNet: what kind of star sends this stretch of light curve, and if a binary, how far apart are its stars?

Five small convolutional branches look at one segment made by recipe `robust`: the light curve as it is and in
units of its own scatter, with its gaps marked; the periodogram; the curve folded at twice the period of its
best sine, and at that of its best box. Amplitudes, noise and cadence come as numbers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from catalogs.binaries import PROBABILITIES
from pipeline.lightcurves.clean import SOFTENING
from pipeline.lightcurves.training import ECLIPSING
from pipeline.lightcurves.views import FACTS, PHASES

__all__ = ["CLASSES", "EBNet", "augment", "loss", "read"]

#: Meaning of the first logits; morphology and the logarithm of its standard deviation follow.
CLASSES = ("other", "ELL", "EA", "EB", "EW")
_EB = slice(2, 5)  # those that eclipse

_LOG_SPREAD = (-4.6, 0.0)  # of morphology: 0.01 to 1
_MORPH_WEIGHT = 0.3
_TURN = 6  # bins of phase

_SCALE = float(torch.asinh(torch.tensor(1 / SOFTENING)))
_LOG_SCATTER = FACTS.index("log_scatter")
_FACT_MEAN = (1.0, -1.9, -2.5, -2.7, 0.3, 0.0, -2.0, 0.3, -1.3, -3.0, 0.9, 0.9)
_FACT_SPREAD = (0.3, 0.6, 0.7, 0.6, 0.3, 0.7, 0.9, 0.4, 0.4, 0.8, 0.5, 0.1)


class Residual(nn.Module):
    """Two convolutions beside a shortcut; the first may halve the length.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    stride : int, default 2
        Of the first convolution.
    padding_mode : str, default 'zeros'
        'circular' for phases.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 2, padding_mode: str = "zeros") -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(inputs, outputs, 5, stride, 2, bias=False, padding_mode=padding_mode)
        self.norm1 = nn.BatchNorm1d(outputs)
        self.conv2 = nn.Conv1d(outputs, outputs, 5, 1, 2, bias=False, padding_mode=padding_mode)
        self.norm2 = nn.BatchNorm1d(outputs)
        self.short = nn.Sequential(nn.Conv1d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, samples / stride) for `x` (N, inputs, samples)."""
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.short(x))


def _stem(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv1d(inputs, outputs, kernel, 4, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(outputs), nn.ReLU())


def _view() -> nn.Sequential:
    return nn.Sequential(
        Residual(2, 24, 1, "circular"),
        Residual(24, 32, 2, "circular"),
        Residual(32, 48, 2, "circular"),
        Residual(48, 64, 2, "circular"),
        nn.Flatten(),
        nn.Linear(64 * 16, 96),
        nn.ReLU(),
    )


class EBNet(nn.Module):
    """The production network: what `CLASSES` says, and morphology."""

    def __init__(self) -> None:
        super().__init__()
        self.curve = nn.Sequential(
            _stem(3, 16, 15), Residual(16, 32), Residual(32, 48), Residual(48, 64), Residual(64, 96)
        )
        self.periodogram = nn.Sequential(_stem(1, 16, 9), Residual(16, 32), Residual(32, 64), Residual(64, 64))
        self.sine, self.box = _view(), _view()
        self.facts = nn.Sequential(nn.Linear(len(FACTS), 32), nn.ReLU())
        self.head = nn.Sequential(
            nn.Linear(2 * 96 + 2 * 64 + 2 * 96 + 32, 160), nn.ReLU(), nn.Dropout(0.3), nn.Linear(160, len(CLASSES) + 2)
        )
        self.register_buffer("mean", torch.tensor(_FACT_MEAN))
        self.register_buffer("spread", torch.tensor(_FACT_SPREAD))

    def forward(self, curve: Tensor, coverage: Tensor, periodogram: Tensor, folded: Tensor, facts: Tensor) -> Tensor:
        """Return logits and morphology of a batch.

        Parameters
        ----------
        curve : Tensor, (N, 1, 4000)
            Compressed relative flux.
        coverage : Tensor, (N, 1, 4000)
            0 in gaps.
        periodogram : Tensor, (N, 1, 1000)
            Highest Lomb-Scargle power in bins of period.
        folded : Tensor, (N, 4, 128)
            `views.VIEWS`.
        facts : Tensor, (N, 12)
            `views.FACTS`.

        Returns
        -------
        Tensor, (N, 7)
            Logits of `CLASSES`, then morphology (0 to 1) and the logarithm of its standard deviation.
        """
        coverage = coverage.to(curve.dtype)
        scatter = 10 ** facts[:, _LOG_SCATTER, None, None]
        sigmas = torch.asinh(torch.sinh(curve * _SCALE) * SOFTENING / scatter) / 3
        light = self.curve(torch.cat([curve * coverage, sigmas * coverage, coverage], dim=1))
        power = self.periodogram(periodogram)
        parts = [
            light.mean(2),
            light.amax(2),
            power.mean(2),
            power.amax(2),
            self.sine(folded[:, :2]),
            self.box(folded[:, 2:]),
            self.facts(((facts - self.mean) / self.spread).clamp(-4, 4)),
        ]
        return self.head(torch.cat(parts, dim=1))


def read(outputs: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """Return what the network's outputs mean, as columns of the table of scores.

    Parameters
    ----------
    outputs : (n, 7) float
        From `EBNet`.

    Returns
    -------
    dict of (n,) float64
        score (probability of an eclipsing binary, the sum of the next three), p_ea, p_beta, p_ew, p_ell, morph
        (0 to 1) and morph_err.
    """
    logits, raw = np.asarray(outputs[:, : len(CLASSES)], np.float64), np.asarray(outputs, np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    columns = {name: odds[:, CLASSES.index(klass)] for klass, name in PROBABILITIES.items()}
    morph, spread = raw[:, -2], np.exp(np.clip(raw[:, -1], *_LOG_SPREAD))
    return (
        {"score": np.minimum(odds[:, _EB].sum(axis=1), 1.0)}
        | columns
        | {
            "morph": np.clip(morph, 0.0, 1.0),
            "morph_err": spread,
        }
    )


def loss(outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the loss of each segment: cross-entropy of the class, and Gaussian likelihood of the morphology.

    Parameters
    ----------
    outputs : Tensor, (N, 7)
        From `EBNet`.
    targets : mapping
        ``klass`` (N,), index into `CLASSES`, or `ECLIPSING` where only that it eclipses is known; ``morph`` (N,), NaN
        where unknown.

    Returns
    -------
    Tensor, (N,)
        Nat.
    """
    klass, morph = targets["klass_code"].long(), targets["morph"]
    shares = outputs[:, : len(CLASSES)].log_softmax(1)
    named = -shares.gather(1, klass.clamp(max=len(CLASSES) - 1)[:, None])[:, 0]
    entropy = torch.where(klass == ECLIPSING, -shares[:, _EB].logsumexp(1), named)
    known = torch.isfinite(morph)
    spread = outputs[:, -1].clamp(*_LOG_SPREAD)
    miss = (outputs[:, -2] - torch.where(known, morph, 0.0)) / spread.exp()
    return entropy + _MORPH_WEIGHT * torch.where(known, 0.5 * miss**2 + spread, 0.0)


def augment(inputs: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Return a batch with half its segments run backwards, their views turned a little.

    Parameters
    ----------
    inputs : sequence of Tensor
        As `EBNet.forward` takes them.
    generator : torch.Generator
        Source of chance.
    """
    curve, coverage, periodogram, folded, facts = inputs
    back = torch.rand(len(curve), generator=generator) < 0.5
    turn = torch.randint(-_TURN, _TURN + 1, (len(curve),), generator=generator)
    flip = back[:, None, None]
    # run backwards, what was at phase 1/4 is at 3/4: half a cycle more brings it back
    mirrored = torch.roll(folded.flip(2), PHASES // 2 + 1, 2)
    places = (torch.arange(PHASES)[None] - turn[:, None]) % PHASES
    views = torch.where(flip, mirrored, folded).gather(2, places[:, None].expand(-1, folded.shape[1], -1))
    return [
        torch.where(flip, curve.flip(2), curve),
        torch.where(flip, coverage.flip(2), coverage),
        periodogram,
        views,
        facts,
    ]
