"""The network of real/bogus rearranged for CPUs: the same function of the same weights, in two halves.

What batch normalisation does is put into the weights of the convolutions before it. In mixed precision the
convolutions, nearly all of the work, take and give bfloat16; what adds up their outputs to the embedding and the logits
stays exact.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.braai import RealBogus
from models.planes import SIZE

__all__ = ["RealBogusFeatures", "RealBogusHead", "lean_realbogus"]


class RealBogusFeatures(nn.Module):
    """The convolutions.

    Parameters
    ----------
    network : RealBogus
        Gives the layers, without batch normalisation.
    bf16 : bool
        Whether they take bfloat16.
    """

    rows = None  # the whole batch

    def __init__(self, network: RealBogus, bf16: bool) -> None:
        super().__init__()
        self.around, self.middle, self.edge = network.around, network.middle, (SIZE - network.MIDDLE) // 2
        self.size = network.MIDDLE
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        self.to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 3840) of (N, 4, 63, 63)."""
        x = x.to(self.dtype)
        inside = slice(self.edge, self.edge + self.size)
        around, middle = self.around(x).float(), self.middle(x[:, :, inside, inside]).float()
        return torch.cat([functional.avg_pool2d(around, 2).flatten(1), middle.flatten(1)], 1)


class RealBogusHead(nn.Module):
    """The embedding and the logits.

    Parameters
    ----------
    network : RealBogus
        Gives the layers.
    """

    rows = None

    def __init__(self, network: RealBogus) -> None:
        super().__init__()
        self.embed, self.head = network.embed, network.head

    def forward(self, seen: Tensor) -> Tensor:
        """Return (N, 36) of (N, 3840), as `RealBogus` does."""
        embedding = self.embed(seen)
        return torch.cat([self.head(embedding), embedding], 1)


def lean_realbogus(network: nn.Module, bf16: bool) -> list[nn.Module]:
    """Return the two halves of a `RealBogus`, to run one after the other; `network` itself stays as it is."""
    network = cast(RealBogus, copy.deepcopy(network).eval())
    _absorb(network)
    return [RealBogusFeatures(network, bf16), RealBogusHead(network)]


def _absorb(module: nn.Module) -> None:
    """Put every batch normalisation into the convolution that it follows."""
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        _absorb(child)
        if isinstance(child, nn.BatchNorm2d) and before is not None and isinstance(before[1], nn.Conv2d):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Identity())
        before = (name, child)
