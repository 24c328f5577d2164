"""Residual-in-residual dense blocks: the ESR encoder and the ESRGAN generator.

After Wang et al. 2018, "ESRGAN" (sections 3.1). Published TAMRFSITS weights rely on two differences:
the fifth convolution of a dense block is also followed by the activation, and the residual scales are
stored in the state dict (not trained). `plain=True` gives the blocks of the paper.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitsfusion.errors import InputError

SLOPE = 0.2  # of every LeakyReLU here
Upsampling = Literal["bicubic", "pixel_shuffle"]


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """A size-preserving 3x3 convolution with zero padding and bias."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def bicubic(x: Tensor, factor: float) -> Tensor:
    """`[n, c, h, w]` -> `[n, c, h * factor, w * factor]`, A = -0.75, no antialiasing; 1 is the identity."""
    if factor == 1:
        return x
    size = [round(side * factor) for side in x.shape[-2:]]
    return F.interpolate(x, size=size, mode="bicubic", align_corners=False)


class DenseBlock(nn.Module):
    """`x + scale * last`, where each of five convolutions sees the input and all earlier outputs.

    `plain`: no activation after the fifth, and the scale is not in the state dict.
    """

    scale: Tensor

    def __init__(self, features: int = 64, growth: int = 32, residual_scale: float = 0.2, plain: bool = False) -> None:
        super().__init__()
        outputs = [growth] * 4 + [features]
        self.plain = plain
        self.convs = nn.ModuleList(conv3x3(features + i * growth, out) for i, out in enumerate(outputs))
        self.register_buffer("scale", torch.tensor(residual_scale), persistent=not plain)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, features, h, w]` -> the same shape."""
        seen = [x]
        for conv in self.convs[:-1]:
            seen.append(F.leaky_relu(conv(torch.cat(seen, dim=1)), SLOPE))
        last = self.convs[-1](torch.cat(seen, dim=1))
        return x + self.scale * (last if self.plain else F.leaky_relu(last, SLOPE))


class Rrdb(nn.Module):
    """Three dense blocks in a row inside a scaled residual connection; `plain` as in `DenseBlock`."""

    scale: Tensor

    def __init__(self, features: int = 64, growth: int = 32, residual_scale: float = 0.2, plain: bool = False) -> None:
        super().__init__()
        self.dense = nn.ModuleList(DenseBlock(features, growth, residual_scale, plain) for _ in range(3))
        self.register_buffer("scale", torch.tensor(residual_scale), persistent=not plain)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, features, h, w]` -> the same shape."""
        y = x
        for block in self.dense:
            y = block(y)
        return x + self.scale * y


class UpsampleStage(nn.Module):
    """Enlarge by `base`, then LeakyReLU; the convolution comes before a pixel shuffle and after a resampling."""

    def __init__(self, features: int, base: int, how: Literal["bicubic", "nearest", "pixel_shuffle"]) -> None:
        super().__init__()
        self.base, self.how = base, how
        self.conv = conv3x3(features, features * base**2 if how == "pixel_shuffle" else features)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, features, h, w]` -> `[n, features, base * h, base * w]`."""
        if self.how == "pixel_shuffle":
            x = F.pixel_shuffle(self.conv(x), self.base)
        elif self.how == "bicubic":
            x = self.conv(bicubic(x, self.base))
        else:
            x = self.conv(F.interpolate(x, scale_factor=self.base, mode="nearest"))
        return F.leaky_relu(x, SLOPE)


class EsrEncoder(nn.Module):
    """Convolution, RRDBs, convolution, long skip; then `factor // base` upsampling stages.

    Raises InputError when `base ** stages` is not the factor.
    """

    def __init__(
        self,
        bands: int,
        features: int = 64,
        rrdb: int = 1,
        growth: int = 32,
        factor: int = 1,
        base: int = 3,
        upsampling: Upsampling = "bicubic",
        residual_scale: float = 0.2,
    ) -> None:
        super().__init__()
        stages = factor // base
        if base**stages != factor:
            raise InputError(f"an ESR encoder cannot enlarge by {factor} in {stages} stages of {base}")
        self.factor = factor
        self.first = conv3x3(bands, features)
        self.blocks = nn.ModuleList(Rrdb(features, growth, residual_scale) for _ in range(rrdb))
        self.last = conv3x3(features, features)
        self.upsampling = nn.ModuleList(UpsampleStage(features, base, upsampling) for _ in range(stages))

    def native(self, x: Tensor) -> Tensor:
        """The part before upsampling: `[n, bands, h, w]` -> `[n, features, h, w]`."""
        first = z = self.first(x)
        for block in self.blocks:
            z = block(z)
        return first + self.last(z)  # type: ignore[no-any-return]

    def enlarge(self, x: Tensor) -> Tensor:
        """The upsampling stages: `[n, features, h, w]` -> `[n, features, factor * h, factor * w]`."""
        for stage in self.upsampling:
            x = stage(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """`[n, bands, h, w]` -> `[n, features, factor * h, factor * w]`."""
        return self.enlarge(self.native(x))


class EsrganGenerator(nn.Module):
    """An ESR encoder followed by nearest-neighbour upsampling stages and two convolutions.

    It enlarges by `r = base * ceil(factor / base)`, which must be a power of `base` (InputError
    otherwise), then resamples by `factor / r`: with factor 1 and base 2 it doubles and halves.
    """

    def __init__(
        self,
        bands: int,
        outputs: int,
        features: int = 64,
        rrdb: int = 1,
        growth: int = 32,
        factor: int = 1,
        base: int = 2,
        residual_scale: float = 0.2,
    ) -> None:
        super().__init__()
        enlarged = base * math.ceil(factor / base)
        stages = round(math.log(enlarged, base))
        if base**stages != enlarged:
            raise InputError(
                f"ESRGAN of factor {factor} and base {base} would enlarge by {enlarged}, no power of {base}"
            )
        self.shrink = factor / enlarged
        self.encoder = EsrEncoder(bands, features, rrdb, growth, residual_scale=residual_scale)
        self.upsampling = nn.ModuleList(UpsampleStage(features, base, "nearest") for _ in range(stages))
        self.conv1 = conv3x3(features, features)
        self.conv2 = conv3x3(features, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, bands, h, w]` -> `[n, outputs, factor * h, factor * w]`."""
        x = self.encoder(x)
        for stage in self.upsampling:
            x = stage(x)
        x = self.conv2(F.leaky_relu(self.conv1(x), SLOPE))
        return bicubic(x, self.shrink)
