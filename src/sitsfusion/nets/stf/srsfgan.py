"""SRSF-GAN: the coarse image super-resolved by 8, fused with the fine one level by level.

As in the survey's code; all widths are the same, and several blocks are used more than once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Body(nn.Module):
    """Holds layers under the published name."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """The layers, one after another."""
        return self.body(x)  # type: ignore[no-any-return]


class Residual(_Body):
    """LeakyReLU(x + two 3x3 convolutions of x)."""

    def __init__(self, channels: int) -> None:
        first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        super().__init__(first, nn.LeakyReLU(), second)

    def forward(self, x: Tensor) -> Tensor:
        """`[n c h w]` -> the same shape."""
        return F.leaky_relu(x + self.body(x))


class ChannelAttention(nn.Module):
    """Weights of channels from their means; of a 1x1 map only the centres of the kernels act."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 16
        self.c1, self.c2, self.c3 = (
            _Body(nn.Conv2d(channels, inner, 3, padding=d, dilation=d), nn.LeakyReLU()) for d in (3, 5, 7)
        )
        self.c4 = _Body(nn.Conv2d(3 * inner, channels, 3, padding=1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """`[n c h w]` -> the same shape."""
        pooled = x.mean((2, 3), keepdim=True)
        return x * self.c4(torch.cat([c(pooled) for c in (self.c1, self.c2, self.c3)], 1))  # type: ignore[no-any-return]


class DenseBlock(nn.Module):
    """Three residual units on ever more channels, brought back to the first number, with channel attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.r1, self.r2, self.r3 = Residual(channels), Residual(2 * channels), Residual(4 * channels)
        self.g = _Body(nn.Conv2d(8 * channels, channels, 1), nn.LeakyReLU())
        self.ca = ChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[n c h w]` -> the same shape."""
        for unit in (self.r1, self.r2, self.r3):
            x = torch.cat([x, unit(x)], 1)
        return self.ca(self.g(x))  # type: ignore[no-any-return]


class _Change(nn.Module):
    """How much to take of the coarse features, from the absolute difference: of a pixel, and of the whole image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local_att = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.BatchNorm2d(1))
        self.global_att = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 1, 1), nn.BatchNorm2d(1))

    def forward(self, change: Tensor) -> Tensor:
        """`[n c h w]` -> `[n 1 h w]` in (0, 1). In training the batch needs 2 images or more."""
        return (self.local_att(change) + self.global_att(change)).sigmoid()  # type: ignore[no-any-return]


class Fusion(nn.Module):
    """Fine and coarse features, weighted by their difference."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.CA = _Change(channels)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Two `[n c h w]` -> one."""
        weight = self.CA((fine - coarse).abs())
        return fine * (1 - weight) + coarse * weight  # type: ignore[no-any-return]


class SrsfGan(nn.Module):
    """Sides multiples of 8; global (attention on means). The coarse reference image is not used."""

    def __init__(self, bands: int, width: int = 64) -> None:
        super().__init__()
        self.Maxpool = nn.Conv2d(width, width, 3, 2, 1)  # a convolution, despite its name
        self.renet = DenseBlock(width)
        self.re = nn.Sequential(nn.Conv2d(2 * width, width, 1), DenseBlock(width))
        self.Upsample = nn.ConvTranspose2d(width, width, 3, 2, 1, 1)
        self.head = nn.Conv2d(4, width, 1)  # never used; published checkpoints hold it
        self.head1 = nn.Conv2d(bands, width, 1)
        self.tail = nn.Conv2d(width, bands, 1)
        for k in range(1, 5):
            setattr(self, f"downlandsat{k}", nn.Sequential(Residual(width)))
            setattr(self, f"upmodis{k}", nn.Sequential(Residual(width)))
        self.fusionblock = Fusion(width)

    def forward(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> Tensor:
        """Images `[n b h w]` -> `[n b h w]`."""
        return self.with_auxiliary(fine_ref, coarse)[0]

    def with_auxiliary(self, fine_ref: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """The prediction, and an image from the coarse one alone (for the loss)."""
        m1, m2, m3, m4 = self._coarse_levels(coarse)
        l1, l2, l3, l4 = self._fine_levels(fine_ref)
        x = self.Upsample(self.renet(self.fusionblock(l4, m1)))
        x = self.Upsample(self.re(torch.cat([x, self.fusionblock(l3, m2)], 1)))
        x = self.Upsample(self.re(torch.cat([x, self.fusionblock(l2, m3)], 1)))
        x = self.re(torch.cat([x, self.fusionblock(l1, m4)], 1))
        return self.tail(x), self.tail(m4)

    def _coarse_levels(self, coarse: Tensor) -> list[Tensor]:
        """Features at 1/8, 1/4, 1/2 and full size."""
        x = self.head1(eighth(coarse))
        levels = []
        for k in range(1, 5):
            x = getattr(self, f"upmodis{k}")(x if k == 1 else self.Upsample(x))
            levels.append(x)
        return levels

    def _fine_levels(self, fine: Tensor) -> list[Tensor]:
        """Features at full size, 1/2, 1/4 and 1/8."""
        x = self.head1(fine)
        levels = []
        for k in range(1, 5):
            x = getattr(self, f"downlandsat{k}")(x if k == 1 else self.Maxpool(x))
            levels.append(x)
        return levels


def eighth(image: Tensor) -> Tensor:
    """`[n c h w]` at 1/8 of the size (bicubic, corners aligned)."""
    return F.interpolate(image, scale_factor=1 / 8, mode="bicubic", align_corners=True)


def _twice(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        layer
        for i in (inputs, outputs)
        for layer in (nn.Conv2d(i, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU())
    ]


class _Down(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv_BN_ReLU_2 = nn.Sequential(*_twice(inputs, outputs))
        smaller = nn.Conv2d(outputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU()
        self.downsample = nn.Sequential(*smaller)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features at this size and at half of it."""
        out = self.Conv_BN_ReLU_2(x)
        return out, self.downsample(out)


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv_BN_ReLU_2 = nn.Sequential(*_twice(inputs, 2 * outputs))
        larger = nn.ConvTranspose2d(2 * outputs, outputs, 3, 2, 1, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU()
        self.upsample = nn.Sequential(*larger)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Features at double the size, with those of the way down."""
        return torch.cat([self.upsample(self.Conv_BN_ReLU_2(x)), skip], 1)


class SrsfCritic(nn.Module):
    """A U-shaped discriminator: image `[n b h w]`, sides multiples of 8 -> probability of each pixel `[n 1 h w]`."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.d1, self.d2, self.d3 = _Down(bands, 16), _Down(16, 32), _Down(32, 64)
        self.d4 = _Down(64, 128)  # never used; published checkpoints hold it
        self.u2, self.u3, self.u4 = _Up(64, 64), _Up(128, 32), _Up(64, 16)
        self.o = nn.Sequential(*_twice(32, 16), nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        """`[n b h w]` -> `[n 1 h w]` in (0, 1)."""
        out1, x = self.d1(image)
        out2, x = self.d2(x)
        out3, x = self.d3(x)
        return self.o(self.u4(self.u3(self.u2(x, out3), out2), out1))  # type: ignore[no-any-return]
