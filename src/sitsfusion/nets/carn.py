"""CARN: cascading residual network for super-resolution.

After Ahn et al. 2018, "Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual
Network", in its mobile form (efficient residual blocks: grouped convolutions, shared weights).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from .rrdb import SLOPE, bicubic


def reflect3x3(inputs: int, outputs: int, groups: int = 1) -> nn.Conv2d:
    """A size-preserving 3x3 convolution with reflect padding and bias; images of at least 2 x 2 pixels."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, padding_mode="reflect", groups=groups)


def cascade(x: Tensor, blocks: Iterable[nn.Module], mixes: Iterable[nn.Module]) -> Tensor:
    """Each block sees the 1x1 mix of the last block's output plus the sum of everything before it.

    `x [n, c, h, w]` -> the same shape. Blocks and mixes (1x1 convolutions) go in pairs.
    """
    total, current = x, x
    for block, mix in zip(blocks, mixes, strict=True):
        out = block(current)
        current = mix(out) + total
        total = total + out
    return current


class EResidualBlock(nn.Module):
    """Efficient residual block: two grouped 3x3 convolutions, one 1x1, and the skip."""

    def __init__(self, features: int, groups: int) -> None:
        super().__init__()
        self.conv1 = reflect3x3(features, features, groups)
        self.conv2 = reflect3x3(features, features, groups)
        self.conv3 = nn.Conv2d(features, features, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, features, h, w]` -> the same shape."""
        y = F.leaky_relu(self.conv1(x), SLOPE)
        y = F.leaky_relu(self.conv2(y), SLOPE)
        return F.leaky_relu(x + self.conv3(y), SLOPE)


class CascadingBlock(nn.Module):
    """A cascade of efficient residual blocks.

    With shared weights published models evaluate a single residual block: their list of 1x1
    mixes has length 1, and the pairing stops there. That is reproduced here.
    """

    def __init__(self, features: int, groups: int, residual_blocks: int) -> None:
        super().__init__()
        self.residual = nn.ModuleList(EResidualBlock(features, groups) for _ in range(residual_blocks))
        self.mix = nn.ModuleList(nn.Conv2d(features, features, kernel_size=1) for _ in range(residual_blocks))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, features, h, w]` -> the same shape."""
        return cascade(x, self.residual, self.mix)


class Carn(nn.Module):
    """Cascading network with pixel-shuffle upsampling by `r = 2 * ceil(factor / 2)`, then a resampling to `factor`.

    Inner width is `features * r ** 2`. `shared` is the published form (see `CascadingBlock`);
    without it a cascading block holds three residual blocks.
    """

    def __init__(
        self,
        bands: int,
        outputs: int,
        features: int = 32,
        blocks: int = 3,
        groups: int = 4,
        factor: int = 1,
        shared: bool = True,
    ) -> None:
        super().__init__()
        self.enlarge = 2 * math.ceil(factor / 2)
        self.shrink = factor / self.enlarge
        width = features * self.enlarge**2
        self.input_conv = reflect3x3(bands, width)
        self.blocks = nn.ModuleList(CascadingBlock(width, groups, 1 if shared else 3) for _ in range(blocks))
        self.mix = nn.ModuleList(nn.Conv2d(width, width, kernel_size=1) for _ in range(blocks))
        self.output_conv1 = reflect3x3(width, width)
        self.output_conv2 = reflect3x3(features, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, bands, h, w]` -> `[n, outputs, factor * h, factor * w]`."""
        x = cascade(self.input_conv(x), self.blocks, self.mix)
        x = F.pixel_shuffle(self.output_conv1(x), self.enlarge)
        return bicubic(self.output_conv2(x), self.shrink)
