"""Deep-Harmonization: U-Nets that turn six Landsat bands and the panchromatic one into six Sentinel-2 bands at 10 m.

After ISPRS J. Photogramm. Remote Sens. 212, 274-288, 2024 (doi 10.1016/j.isprsjprs.2024.04.026): the published family
with its options, and two networks it was compared with (`MbRrdb` here; the other is `unet.UNet(7, 6, depth=3,
growth=6)`). Values are reflectance; all images lie on the 10 m grid.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.errors import InputError

from .deepharmo_config import DeepHarmoConfig
from .dense import DenseGroup
from .keyed_dropout import KeyedDropout
from .unet import double_conv


class ChannelAttention(nn.Module):
    """Efficient channel attention (Wang et al. 2020): each channel's mean, mixed with those of its neighbours."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = int(abs(math.log2(channels)) / 2 + 1) | 1  # odd
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` -> the same shape."""
        means = x.mean(dim=(2, 3))[:, None]  # [n, 1, c]
        return x * torch.sigmoid(self.conv(means)).transpose(1, 2)[..., None]


class SkipGate(nn.Module):
    """Weights of a skip map's pixels, from it and from the map that comes up (attention U-Net, Oktay et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(width, width, kernel_size=1), nn.BatchNorm2d(width))
        self.skip = nn.Sequential(nn.Conv2d(width, width, kernel_size=1), nn.BatchNorm2d(width))
        self.score = nn.Sequential(nn.Conv2d(width, 1, kernel_size=1), nn.BatchNorm2d(1), nn.Sigmoid())
        self.relu = nn.PReLU()

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Both `[n, width, h, w]` -> the weighted skip map, same shape."""
        return skip * self.score(self.relu(self.gate(x) + self.skip(skip)))  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Twice the size, bilinear, and a 1x1 convolution.

    Published networks interpolate first. Both steps are linear and interpolation weights sum to one, so the order
    does not matter; this one costs a quarter.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` -> `[n, outputs, 2 h, 2 w]`."""
        return F.interpolate(self.conv(x), scale_factor=2, mode="bilinear", align_corners=False)


def rise(inputs: int, outputs: int, mode: str) -> nn.Module:
    """The step of the decoder that doubles the size: `[n, inputs, h, w]` -> `[n, outputs, 2 h, 2 w]`."""
    if mode == "upsample":
        return Upsample(inputs, outputs)
    if mode == "upconv":
        return nn.ConvTranspose2d(inputs, outputs, kernel_size=2, stride=2)
    return nn.Sequential(
        nn.Conv2d(inputs, 4 * outputs, kernel_size=3, padding=1),
        nn.PReLU(),
        nn.PixelShuffle(2),
        nn.Conv2d(outputs, outputs, kernel_size=3, padding=1),
    )


class DeepHarmoNet(nn.Module):
    """The U-Net of `config`; sides of at least `config.multiple` pixels, any size above."""

    def __init__(self, config: DeepHarmoConfig) -> None:
        super().__init__()
        self.config = config
        widths, upwards = config.widths, list(pairwise(config.widths))[::-1]  # (shallow, deep), deepest first
        self.down = nn.ModuleList(self._block(a, b) for a, b in pairwise((config.in_channels, *widths)))
        self.up = nn.ModuleList(rise(deep, shallow, config.up_mode) for shallow, deep in upwards)
        if config.spatial_attention != "None":
            self.gate = nn.ModuleList(SkipGate(shallow) for shallow, _ in upwards)
        maps = 3 if config.spatial_attention == "modified" else 2
        self.merge = nn.ModuleList(self._block(maps * shallow, shallow) for shallow, _ in upwards)
        if config.head == "plain":
            self.final = nn.Conv2d(widths[0], config.out_channels, kernel_size=1)
        else:
            self.final_mean = nn.Conv2d(widths[0], config.out_channels, kernel_size=1)
            self.final_variance = nn.Conv2d(widths[0], config.out_channels, kernel_size=1)

    def body(self, ms: Tensor, pan: Tensor | None = None) -> Tensor:
        """Everything before the head: `[n, c, h, w]` (and `[n, 1, h, w]`) -> `[n, widths[0], h, w]`."""
        skips = self._encode(self._join(ms, pan))
        x = skips.pop()
        for j, (up, merge) in enumerate(zip(self.up, self.merge, strict=True)):
            skip = skips.pop()
            x = up(x)
            if x.shape[-2:] != skip.shape[-2:]:
                x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = merge(torch.cat([x, *self._skipped(j, x, skip)], dim=1))
        return x

    def forward(self, ms: Tensor, pan: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Reflectance of one grid -> `[n, out_channels, h, w]`, or mean and variance with a Gaussian head.

        Args:
            ms: `[n, 6, h, w]`, or with the panchromatic band as a seventh channel and no `pan`.
            pan: `[n, 1, h, w]`.

        Raises:
            InputError: another number of channels than the network's, sizes that differ or are too small.
        """
        x = self.body(ms, pan)
        if self.config.head == "plain":
            return self.final(x)  # type: ignore[no-any-return]
        return F.relu(self.final_mean(x)), F.relu(self.final_variance(x))

    def draw_at(self, seed: int, row: int, col: int) -> None:
        """Let every dropout draw by absolute position from now on: the images' first pixel lies at `row`, `col`.

        Both must be multiples of `config.multiple`. One seed is one Monte-Carlo pass, alike for any tiling.
        """
        levels = [*range(self.config.depth), *range(self.config.depth - 2, -1, -1)]
        drops = [m for m in self.modules() if isinstance(m, KeyedDropout)]
        for number, (level, drop) in enumerate(zip(levels, drops, strict=True)):
            drop.place = (seed * len(levels) + number, row >> level, col >> level)

    def _block(self, inputs: int, outputs: int) -> nn.Sequential:
        extras: list[nn.Module] = [ChannelAttention(outputs)] if self.config.ca_layer else []
        extras += [KeyedDropout(self.config.dropout)] if self.config.dropout else []
        return nn.Sequential(*double_conv(inputs, outputs), *extras)

    def _encode(self, x: Tensor) -> list[Tensor]:
        """The map of every level, shallowest first."""
        maps: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.avg_pool2d(x, 2))
            maps.append(x)
        return maps

    def _skipped(self, j: int, x: Tensor, skip: Tensor) -> list[Tensor]:
        """What is put beside the map that comes up."""
        if self.config.spatial_attention == "None":
            return [skip]
        weighted = self.gate[j](x, skip)
        return [weighted] if self.config.spatial_attention == "standard" else [skip, weighted]

    def _join(self, ms: Tensor, pan: Tensor | None) -> Tensor:
        sizes = {tuple(x.shape[-2:]) for x in (ms, pan) if x is not None}
        if len(sizes) > 1 or min(min(s) for s in sizes) < self.config.multiple:
            raise InputError(
                f"images of {sorted(sizes)} pixels; expected one size of at least {self.config.multiple} pixels a side"
            )
        x = ms if pan is None else torch.cat([ms, pan], dim=1)
        if x.shape[1] != self.config.in_channels:
            raise InputError(f"{x.shape[1]} channels in all, expected {self.config.in_channels}")
        return x


class DenseBranch(nn.Module):
    """One input of MB-RRDB: a convolution and three dense groups, each on everything before it."""

    def __init__(self, bands: int, features: int, layers: int, growth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(bands, features, kernel_size=3, padding=1)
        self.groups = nn.ModuleList(DenseGroup((i + 1) * features, features, layers, growth) for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, bands, h, w]` -> the four maps side by side, `[n, 4 features, h, w]`."""
        x = F.relu(self.first(x))
        for group in self.groups:
            x = torch.cat([x, group(x)], dim=1)
        return x


class MbRrdb(nn.Module):
    """Multi-branch dense network, compared with in the paper. `pan_residual` serves a loss that none uses."""

    def __init__(self, bands: int = 6, features: int = 6, layers: int = 6, growth: int = 12) -> None:
        super().__init__()
        self.ms = DenseBranch(bands, features, layers, growth)
        self.pan = DenseBranch(1, features, layers, growth)
        self.fuse = nn.Conv2d(8 * features, bands, kernel_size=1)
        self.pan_residual = nn.Conv2d(4 * features, 1, kernel_size=1)

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        """`[n, bands, h, w]` and `[n, 1, h, w]` -> `[n, bands, h, w]`."""
        return self.fuse(torch.cat([self.ms(ms), self.pan(pan)], dim=1))  # type: ignore[no-any-return]
