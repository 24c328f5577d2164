"""The U-Net that Deep-Harmonization uses for spatial features, any image size.

After Ronneberger et al. 2015, with average pooling, PReLU, and a bilinear resize where an odd
side makes the upsampled map one pixel short of its skip.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions (zero padding), each followed by a PReLU of one slope."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1),
        nn.PReLU(),
        nn.Conv2d(outputs, outputs, kernel_size=3, padding=1),
        nn.PReLU(),
    )


def head(inputs: int, outputs: int, factor: int) -> nn.Module:
    """One 1x1 convolution, after a bilinear upsampling, 3x3 convolution and PReLU where factor > 1."""
    last = nn.Conv2d(inputs, outputs, kernel_size=1)
    if factor == 1:
        return last
    return nn.Sequential(
        nn.Upsample(scale_factor=factor, mode="bilinear"),
        nn.Conv2d(inputs, inputs, kernel_size=3, padding=1),
        nn.PReLU(),
        last,
    )


class UNet(nn.Module):
    """`depth` levels of `2 ** (growth + level)` channels; sides of at least `2 ** (depth - 1)` pixels."""

    def __init__(self, bands: int, outputs: int, depth: int = 3, growth: int = 6, factor: int = 1) -> None:
        super().__init__()
        widths = [2 ** (growth + level) for level in range(depth)]
        pairs = list(pairwise(widths))  # (shallow, deep) neighbours
        self.down = nn.ModuleList([double_conv(bands, widths[0]), *(double_conv(a, b) for a, b in pairs)])
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, kernel_size=2, stride=2) for a, b in reversed(pairs))
        self.merge = nn.ModuleList(double_conv(2 * a, a) for a, _ in reversed(pairs))
        self.final = head(widths[0], outputs, factor)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, bands, h, w]` -> `[n, outputs, factor * h, factor * w]`."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.avg_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            skip = skips.pop()
            x = F.interpolate(up(x), size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = merge(torch.cat([x, skip], dim=1))
        return self.final(x)  # type: ignore[no-any-return]
