"""Blocks that several of the fusion networks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def replicate3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """The edge pixel repeated once on each side, then a 3x3 convolution with bias."""
    return nn.Sequential(nn.ReplicationPad2d(1), nn.Conv2d(inputs, outputs, 3, stride))


def encoder(inputs: int, last: bool = True) -> nn.Sequential:
    """Three 3x3 convolutions to 128 channels at full size, each followed by a ReLU (the third if `last`)."""
    layers = [replicate3x3(inputs, 32), nn.ReLU(), replicate3x3(32, 64), nn.ReLU(), replicate3x3(64, 128)]
    return nn.Sequential(*layers, *([nn.ReLU()] if last else []))


def decoder(outputs: int) -> nn.Sequential:
    """128 channels to `outputs` at full size: two 3x3 convolutions with ReLU, one 1x1."""
    layers = [replicate3x3(128, 64), nn.ReLU(), replicate3x3(64, 32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(32, outputs, 1))


Block = Callable[[int, int], nn.Module]


class SkipAutoEncoder(nn.Module):
    """Four levels of 16, 32, 64 and 128 channels down to 1/8, and back with skips; sides are multiples of 8.

    `first`, `down` and `up` make the blocks from numbers of channels: at full size, to half the size, to double it.
    """

    def __init__(self, bands: int, first: Block, down: Block, up: Block) -> None:
        super().__init__()
        self.conv1 = first(bands, 16)
        self.conv2, self.conv3, self.conv4 = down(16, 32), down(32, 64), down(64, 128)
        self.conv5, self.conv6, self.conv7 = up(128, 64), up(128, 32), up(64, 16)
        self.conv8 = nn.Conv2d(32, bands, 1)

    def encode(self, x: Tensor) -> Tensor:
        """`[n bands h w]` -> features `[n 128 h/8 w/8]`, those of the feature losses."""
        return self._levels(x)[3]

    def forward(self, x: Tensor) -> Tensor:
        """`[n bands h w]` -> the same shape."""
        l1, l2, l3, l4 = self._levels(x)
        l5 = self.conv5(l4)
        l6 = self.conv6(torch.cat([l3, l5], 1))
        l7 = self.conv7(torch.cat([l2, l6], 1))
        return self.conv8(torch.cat([l1, l7], 1))  # type: ignore[no-any-return]

    def _levels(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        l1 = self.conv1(x)
        l2 = self.conv2(l1)
        l3 = self.conv3(l2)
        return l1, l2, l3, self.conv4(l3)
