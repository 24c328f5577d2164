"""DSTFN: a Sentinel-2 image of another day, a Landsat image and its panchromatic band, fused to 10 m.

Degradation-term constrained spatiotemporal fusion network, after Wu et al., JAG 2022 (doi 10.1016/j.jag.2022.102738).
Three members:

    net2     fine image + coarse image (x 3) + panchromatic band (x 1.5)
    slfnt1   the same without panchromatic band
    net1     10 m bands + 20 m bands (x 2) of one sensor

Channel attention pools over the whole image: a result depends on all of the image that is shown.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.errors import InputError

from .dense import DenseGroup
from .dstfn_config import DstfnConfig


def plain3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """A size-preserving 3x3 convolution with zero padding, without bias."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)


def plain1x1(inputs: int, outputs: int) -> nn.Conv2d:
    """A 1x1 convolution without bias."""
    return nn.Conv2d(inputs, outputs, kernel_size=1, bias=False)


class ChannelAttention(nn.Module):
    """Channels weighted by the image's mean, and by its maximum; both joined by a convolution."""

    def __init__(self, features: int, ratio: int) -> None:
        super().__init__()
        inner = features // ratio
        self.mean1, self.mean2 = plain1x1(features, inner), plain1x1(inner, features)
        self.max1, self.max2 = plain1x1(features, inner), plain1x1(inner, features)
        self.mix = plain3x3(2 * features, features)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, f, h, w]` -> the same shape."""
        mean = torch.sigmoid(self.mean2(F.relu(self.mean1(F.adaptive_avg_pool2d(x, 1)))))  # [n, f, 1, 1]
        top = torch.sigmoid(self.max2(F.relu(self.max1(F.adaptive_max_pool2d(x, 1)))))
        mixed: Tensor = self.mix(torch.cat([x * mean, x * top], dim=1))
        return F.relu(mixed)


class SpatialAttention(nn.Module):
    """Pixels weighted by a score of their neighbourhood, then a convolution."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.neighbours = nn.Conv2d(features, features, kernel_size=3, padding=1, groups=features, bias=False)
        self.score = plain1x1(features, 1)
        self.mix = plain3x3(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, f, h, w]` -> the same shape."""
        return F.relu(self.mix(x * torch.sigmoid(self.score(F.relu(self.neighbours(x))))))


class AttentiveDense(nn.Module):
    """Both attentions added and convolved, then a dense group with a skip."""

    def __init__(self, config: DstfnConfig) -> None:
        super().__init__()
        self.channel = ChannelAttention(config.features, config.ratio)
        self.spatial = SpatialAttention(config.features)
        self.join = plain3x3(config.features, config.features)
        self.group = DenseGroup(config.features, config.features, config.layers, config.growth, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, f, h, w]` -> the same shape."""
        x = F.relu(self.join(self.channel(x) + self.spatial(x)))
        return x + self.group(x)  # type: ignore[no-any-return]


class DstfnNet(nn.Module):
    """One of the three networks (`config.kind`). Values are reflectance; nothing limits the output."""

    def __init__(self, config: DstfnConfig) -> None:
        super().__init__()
        self.config = config
        f = config.features
        self.fine = nn.Conv2d(config.fine_bands, f, kernel_size=3, padding=1)
        self.coarse = nn.Conv2d(config.coarse_bands, f, kernel_size=3, padding=1)
        if config.has_pan:
            self.pan = nn.Conv2d(config.pan_bands, f, kernel_size=3, padding=1)
        self.out = nn.Conv2d(f, config.coarse_bands, kernel_size=3, padding=1)
        self.stages = nn.ModuleList(AttentiveDense(config) for _ in range(4))
        self.merge = nn.Conv2d((3 if config.has_pan else 2) * f, f, kernel_size=1)
        self.collect = nn.Conv2d(3 * f, f, kernel_size=1)
        self.apply(_kaiming_normal)

    def forward(self, fine: Tensor, coarse: Tensor, pan: Tensor | None = None) -> Tensor:
        """Three grids of one extent -> `[n, coarse_bands, h, w]` on the fine one.

        Args:
            fine: `[n, fine_bands, h, w]`.
            coarse: `[n, coarse_bands, h / factor, w / factor]`, factor 3 (`net1`: 2).
            pan: `[n, 1, 2 h / 3, 2 w / 3]`, `net2` only.

        Raises:
            InputError: a panchromatic band given or missing against the kind of network; extents that differ.
        """
        if (pan is not None) != self.config.has_pan:
            raise InputError(f"{self.config.kind} takes {'a' if self.config.has_pan else 'no'} panchromatic band")
        low = _enlarge(self.stages[0](F.relu(self.coarse(coarse))), self.config.factor)
        inputs = [F.relu(self.fine(fine)), low]
        if pan is not None:
            inputs.append(_enlarge(F.relu(self.pan(pan)), 1.5))
        if len({x.shape[-2:] for x in inputs}) > 1:
            raise InputError(f"the images enlarged do not fit: {[tuple(x.shape[-2:]) for x in inputs]} pixels")
        x, later = self.merge(torch.cat(inputs, dim=1)), []
        for stage in self.stages[1:]:
            x = stage(x)
            later.append(x)
        return self.out(self.collect(torch.cat(later, dim=1)) + low)  # type: ignore[no-any-return]


def _enlarge(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bicubic", align_corners=False)


def _kaiming_normal(module: nn.Module) -> None:
    """The initialisation of the original: Kaiming normal weights, zero biases."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
