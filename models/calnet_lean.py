"""CALNet rearranged for CPUs: the same function of the same weights, in two halves.

Much of what the plain network costs on a CPU is not multiplication. Three changes, none of the function:

- Samples lie along the second of two image axes, where OpenVINO keeps one memory layout from the first
  convolution to the last; along the only axis it reorders every activation twice per attention block.
- The convolutions run on a few rows at a time, so that their activations stay in the cache; the LSTMs on the
  whole batch, as their matrix products want width.
- In mixed precision only operands of the heavy products are bfloat16: the inner convolutions, the wide linear
  layer. First convolutions and attention act on every sample alike; rounded, they shift scores by up to 0.02,
  the heavy products by 0.0003. The LSTMs stay exact too: they would save a tenth and double the deviation.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.calnet import CBAM, CALNet

__all__ = ["CALNetFeatures", "CALNetHead", "lean_calnet"]


class CALNetFeatures(nn.Module):
    """The convolutional branches.

    Parameters
    ----------
    network : CALNet
        Gives the layers.
    bf16 : bool
        Whether the heavy convolutions take bfloat16.
    """

    rows = 8

    def __init__(self, network: CALNet, bf16: bool) -> None:
        super().__init__()
        self.lcbranch, self.glsbranch = network.lcbranch, network.glsbranch
        self.heavy = torch.bfloat16 if bf16 else torch.float32

    def forward(self, curve: Tensor, periodogram: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, 62, 256) and (N, 62, 64) for (N, 1, 4000) and (N, 1, 1000)."""
        return self._branch(self.lcbranch, curve), self._branch(self.glsbranch, periodogram)

    def _branch(self, branch: nn.Sequential, x: Tensor) -> Tensor:
        x = x.unsqueeze(2)
        for layer in branch:
            if isinstance(layer, nn.Conv1d):
                x = _convolve(layer, x, self.heavy if _is_heavy(layer) else torch.float32)
            elif isinstance(layer, CBAM):
                x = _attend(layer, x)
            elif isinstance(layer, nn.MaxPool1d):
                x = functional.max_pool2d(x, (1, 4))
            else:
                x = layer(x)
        return x.squeeze(2).transpose(1, 2)


class CALNetHead(nn.Module):
    """The LSTMs and the classifier.

    Parameters
    ----------
    network : CALNet
        Gives the layers.
    bf16 : bool
        Whether the first linear layer takes bfloat16.
    """

    rows = None  # the whole batch

    def __init__(self, network: CALNet, bf16: bool) -> None:
        super().__init__()
        self.lstm1, self.lstm2, self.fc2 = network.lstm1, network.lstm2, network.fc2
        self.heavy = torch.bfloat16 if bf16 else torch.float32

    def forward(self, curve: Tensor, periodogram: Tensor) -> Tensor:
        """Return logits (N, 2) for the two features."""
        a, b = self.lstm1(curve)[0], self.lstm2(periodogram)[0]
        x, wide = a.flatten(1) + b.flatten(1).repeat(1, 2), self.fc2[0]
        x = functional.linear(x.to(self.heavy), wide.weight.to(self.heavy)).float() + wide.bias
        return self.fc2[1:](x)


def lean_calnet(network: nn.Module, bf16: bool) -> list[nn.Module]:
    """Return the two halves of a CALNet, to run one after the other; `network` itself stays as it is.

    Each has the attribute `rows`: how many to run at a time, None for all.
    """
    assert isinstance(network, CALNet)
    network = copy.deepcopy(network).eval()
    if bf16:
        # Rounded here, to nearest: OpenVINO's own folding of constants cuts digits off, which makes all
        # weights 0.14% smaller and scores 0.01 wrong.
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv1d) and _is_heavy(m)]
        for layer in [*convolutions, network.fc2[0]]:
            layer.weight.data = layer.weight.data.bfloat16().float()
    return [CALNetFeatures(network, bf16), CALNetHead(network, bf16)]


def _is_heavy(layer: nn.Conv1d) -> bool:
    return layer.bias is not None and layer.in_channels > 1  # neither a first one nor one of the attention's


def _convolve(layer: nn.Conv1d, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    weight = layer.weight.unsqueeze(2).to(dtype)
    x = functional.conv2d(x.to(dtype), weight, padding=(0, layer.padding[0])).float()
    return x if layer.bias is None else x + layer.bias.view(-1, 1, 1)


def _attend(cbam: CBAM, x: Tensor) -> Tensor:
    squeeze, _, expand = cbam.channel_attention.fc
    size = (1, x.shape[3])
    both = [functional.avg_pool2d(x, size), functional.max_pool2d(x, size)]
    mean, peak = (_convolve(expand, functional.relu(_convolve(squeeze, pooled))) for pooled in both)
    x = x * torch.sigmoid(mean + peak)
    weight = cbam.spatial_attention.conv1.weight.unsqueeze(2)
    # One convolution per map: joining them first costs more than it saves.
    mean = functional.conv2d(x.mean(dim=1, keepdim=True), weight[:, :1], padding=(0, 3))
    peak = functional.conv2d(x.amax(dim=1, keepdim=True), weight[:, 1:], padding=(0, 3))
    return x * torch.sigmoid(mean + peak)
