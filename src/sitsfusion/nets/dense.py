"""Groups of densely connected convolutions, as residual dense networks use them (Zhang et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DenseGroup(nn.Module):
    """Each 3x3 convolution with ReLU sees the input and all earlier outputs; a 1x1 convolution merges them all.

    The merging convolution has no bias; `bias` is that of the 3x3 ones.
    """

    def __init__(self, inputs: int, outputs: int, layers: int, growth: int, bias: bool = True) -> None:
        super().__init__()
        widths = [inputs + k * growth for k in range(layers)]
        self.dense = nn.ModuleList(nn.Conv2d(c, growth, kernel_size=3, padding=1, bias=bias) for c in widths)
        self.fuse = nn.Conv2d(inputs + layers * growth, outputs, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` -> `[n, outputs, h, w]`."""
        for conv in self.dense:
            x = torch.cat([x, F.relu(conv(x))], dim=1)
        return self.fuse(x)  # type: ignore[no-any-return]
