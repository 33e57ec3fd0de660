"""CALNet rearranged for CPUs: the same function of the same weights, in two halves.

What costs time in the plain network on a CPU is not its multiplications alone. Three changes, none of which
alters the function:

- Samples lie along the second of two image axes, where OpenVINO keeps one memory layout from the first
  convolution to the last; along the only axis it reorders every activation twice per attention block.
- The convolutions run on a few rows at a time, so that their activations stay in the cache, the LSTMs on the whole
  batch, as their matrix products want width.
- In the mixed precision, only operands of the heavy products are bfloat16. The light ones (first convolutions,
  attention, last layer) act on every sample alike: rounded, they shift scores by up to 0.02, heavy ones by 0.0005.
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

    def __init__(self, network: CALNet, bf16: bool) -> None:
        super().__init__()
        self.lcbranch, self.glsbranch = network.lcbranch, network.glsbranch
        self.bf16 = bf16

    def forward(self, curve: Tensor, periodogram: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, 62, 256) and (N, 62, 64) for (N, 1, 4000) and (N, 1, 1000)."""
        return self._branch(self.lcbranch, curve), self._branch(self.glsbranch, periodogram)

    def _branch(self, branch: nn.Sequential, x: Tensor) -> Tensor:
        x = x.unsqueeze(2)
        for layer in branch:
            if isinstance(layer, nn.Conv1d):
                x = _convolve(layer, x, self.bf16 and layer.in_channels > 1)
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
        Whether the LSTMs and the first linear layer take bfloat16.
    """

    def __init__(self, network: CALNet, bf16: bool) -> None:
        super().__init__()
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        self.lstm1 = copy.deepcopy(network.lstm1).to(self.dtype)
        self.lstm2 = copy.deepcopy(network.lstm2).to(self.dtype)
        self.wide, self.last = network.fc2[0], network.fc2[3]

    def forward(self, curve: Tensor, periodogram: Tensor) -> Tensor:
        """Return logits (N, 2) for the two features."""
        a = self.lstm1(curve.to(self.dtype))[0].flatten(1).float()
        b = self.lstm2(periodogram.to(self.dtype))[0].flatten(1).float()
        x = (a + b.repeat(1, 2)).to(self.dtype)
        x = functional.linear(x, self.wide.weight.to(self.dtype)).float() + self.wide.bias
        return self.last(torch.sigmoid(x))


def lean_calnet(network: nn.Module, bf16: bool) -> tuple[nn.Module, nn.Module]:
    """Return the two halves of a CALNet; `network` itself stays as it is."""
    assert isinstance(network, CALNet)
    network = copy.deepcopy(network).eval()
    if bf16:
        heavy = [m for m in network.modules() if isinstance(m, nn.Conv1d) and m.kernel_size == (7,) and m.in_channels > 2]
        # Rounded here, to nearest: OpenVINO's own folding of constants cuts the digits off, which makes
        # all weights 0.14% smaller and scores 0.01 wrong.
        for layer in [*heavy, network.fc2[0]]:
            layer.weight.data = layer.weight.data.bfloat16().float()
    return CALNetFeatures(network, bf16), CALNetHead(network, bf16)


def _convolve(layer: nn.Conv1d, x: Tensor, bf16: bool = False) -> Tensor:
    weight, padding = layer.weight.unsqueeze(2), (0, layer.padding[0])
    if not bf16:
        return functional.conv2d(x, weight, layer.bias, padding=padding)
    x = functional.conv2d(x.bfloat16(), weight.bfloat16(), padding=padding).float()
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
