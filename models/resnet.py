"""ResNet34: the network of the poster, and the blocks that our own network for stamps is built of.

Names and order of the weights are torchvision's, so that weights go from one to the other as they are.
"""

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Block", "Poster", "ResNet34", "layer"]


class Block(nn.Module):
    """Two convolutions beside a shortcut: figure 2 of He et al. (2016, CVPR); the first may halve the image.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    stride : int
        Of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(short, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, h / stride, w / stride) of (N, inputs, h, w)."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


def layer(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    """Return blocks one after the other; only the first changes size and channels."""
    rest = [Block(outputs, outputs) for _ in range(blocks - 1)]
    return nn.Sequential(Block(inputs, outputs, stride), *rest)


class ResNet34(nn.Module):
    """The 34-layer network of He et al. (2016, CVPR), table 1, as torchvision has it; never with weights of others.

    Parameters
    ----------
    in_channels : int
        Planes of an image; torchvision's 3.
    width : int
        Channels of the first layers; torchvision's 64.
    outputs : int
        Numbers that it gives for an image.
    """

    def __init__(self, in_channels: int = 3, width: int = 64, outputs: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = layer(width, width, 3, 1)
        self.layer2 = layer(width, 2 * width, 4, 2)
        self.layer3 = layer(2 * width, 4 * width, 6, 2)
        self.layer4 = layer(4 * width, 8 * width, 3, 2)
        self.fc = nn.Linear(8 * width, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs) of images (N, in_channels, h, w) of any size."""
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class Poster(nn.Module):
    """The network of the poster (Gezer et al.): convolutions of its own, then a `ResNet34` with two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.Sequential(
            nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 3, 3, 1, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
        )  # fmt: skip
        self.network = ResNet34(outputs=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 2), single and double, of images (N, 1, h, w): see `models.stamp_planes.poster_planes`."""
        logits: Tensor = self.network(self.extra(x))
        return logits
