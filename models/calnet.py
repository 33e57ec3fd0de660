"""CALNet: is this stretch of a TESS light curve that of an eclipsing binary?

The network of the CALNet paper (arXiv 2504.15875): two convolutional branches, one over the light curve, one
over its periodogram, each with attention (CBAM, arXiv 1807.06521) and a two-layer LSTM, added and classified.
Parameter names are those of the published weights, so that they load with ``strict=True``.
"""

import torch
from torch import Tensor, nn

__all__ = ["CALNet", "CBAM"]


class ChannelAttention(nn.Module):
    """Weigh channels by what their mean and their maximum over the samples say (CBAM, eq. 2).

    Parameters
    ----------
    channels : int
        Channels of the input.
    reduction : int
        Factor by which the hidden layer is narrower.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Conv1d(channels, channels // reduction, 1, bias=False),
            nn.ReLU(),
            nn.Conv1d(channels // reduction, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return weights (N, channels, 1) in (0, 1) for `x` (N, channels, samples)."""
        mean, peak = x.mean(dim=2, keepdim=True), x.amax(dim=2, keepdim=True)
        return torch.sigmoid(self.fc(mean) + self.fc(peak))


class SpatialAttention(nn.Module):
    """Weigh samples by what the mean and the maximum over the channels say (CBAM, eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return weights (N, 1, samples) in (0, 1) for `x` (N, channels, samples)."""
        both = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.conv1(both))


class CBAM(nn.Module):
    """Channel attention, then spatial attention (CBAM, eq. 1).

    Parameters
    ----------
    channels : int
        Channels of the input; the output has as many.
    reduction : int, default 8
        Factor by which the hidden layer of the channel attention is narrower.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.channel_attention = ChannelAttention(channels, reduction)
        self.spatial_attention = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (N, channels, samples) weighted."""
        x = x * self.channel_attention(x)
        return x * self.spatial_attention(x)


def block(inputs: int, outputs: int, attention: bool = True) -> list[nn.Module]:
    """Return convolution, ReLU, attention where wanted, and pooling by 4."""
    layers: list[nn.Module] = [nn.Conv1d(inputs, outputs, 7, padding=3), nn.ReLU()]
    return layers + ([CBAM(outputs)] if attention else []) + [nn.MaxPool1d(4)]


class CALNet(nn.Module):
    """The published network: 8,834,554 parameters, 153 M multiplications a segment.

    Class 1 is "eclipsing binary". Inputs are min-max scaled to [0, 1] each.

    References
    ----------
    arXiv 2504.15875, section 3 and its figure of the architecture.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lcbranch = nn.Sequential(*block(1, 64), *block(64, 128), *block(128, 256, attention=False))
        self.glsbranch = nn.Sequential(*block(1, 32), *block(32, 64))
        self.lstm1 = nn.LSTM(256, 128, num_layers=2, batch_first=True)
        self.lstm2 = nn.LSTM(64, 64, num_layers=2, batch_first=True)
        self.fc2 = nn.Sequential(nn.Linear(62 * 128, 1024), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(1024, 2))

    def forward(self, curve: Tensor, periodogram: Tensor) -> Tensor:
        """Return the logits of a batch.

        Parameters
        ----------
        curve : Tensor, (N, 1, 4000)
            Flux resampled to 4,000 equidistant times.
        periodogram : Tensor, (N, 1, 1000)
            Generalised Lomb-Scargle power at 1,000 periods.

        Returns
        -------
        Tensor, (N, 2)
            Logits of "other" and "eclipsing binary".
        """
        a, _ = self.lstm1(self.lcbranch(curve).transpose(1, 2))  # (N, 62 steps, 128)
        b, _ = self.lstm2(self.glsbranch(periodogram).transpose(1, 2))  # (N, 62 steps, 64)
        # The shorter vector is repeated whole: [b, b], not each element twice.
        return self.fc2(a.flatten(1) + b.flatten(1).repeat(1, 2))
