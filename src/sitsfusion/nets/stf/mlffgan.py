"""MLFF-GAN: features of five levels, re-coloured by the coarse image (AdaIN) and mixed by a significance map.

Song et al. 2022, "MLFF-GAN: a multilevel feature fusion with GAN for spatiotemporal remote sensing images", IEEE
TGRS 60.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

_EPSILON = 1e-5
_WIDTHS = (16, 32, 64, 128, 256)


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with reflected edges and dropout, beside the identity; sides of 2 or more."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        convolution = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.Dropout(dropout)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.Dropout(dropout)]
        self.residual = nn.Sequential(*convolution, nn.LeakyReLU(), *again)

    def forward(self, x: Tensor) -> Tensor:
        """`[n c h w]` -> the same shape."""
        return x + self.residual(x)  # type: ignore[no-any-return]


class FeatureLevels(nn.Module):
    """Features of 16 to 256 channels at 1 to 1/16 of the size."""

    def __init__(self, bands: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(bands, _WIDTHS[0], 7, padding=3), ResidualUnit(_WIDTHS[0], dropout))
        for k, (i, o) in enumerate(pairwise(_WIDTHS), 2):
            setattr(self, f"conv{k}", nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), ResidualUnit(o, dropout)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """`[n bands h w]` -> five maps, sides multiples of 16."""
        levels = []
        for k in range(1, 6):
            x = getattr(self, f"conv{k}")(x)
            levels.append(x)
        return levels


class Significance(nn.Module):
    """How much of the coarse features to take, from what changed between the dates."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))
        self.conv2 = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))
        self.conv = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, coarse: Tensor, coarse_ref: Tensor) -> Tensor:
        """Features `[n c h w]` of the wanted and the reference date -> map `[n 1 h w]` in (0, 1)."""
        return self.conv(self.conv1(coarse) - self.conv2(coarse_ref))  # type: ignore[no-any-return]


class Enlarge(nn.Module):
    """A transposed convolution to double the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
        self.activation = nn.LeakyReLU()

    def forward(self, x: Tensor) -> Tensor:
        """`[n inputs h w]` -> `[n outputs 2h 2w]`."""
        return self.activation(self.deconv(x))  # type: ignore[no-any-return]


class MlffGan(nn.Module):
    """Sides multiples of 16, 32 or more; global (AdaIN statistics)."""

    def __init__(self, bands: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.LSNet = FeatureLevels(bands, dropout)
        self.HSNet = FeatureLevels(bands, dropout)
        self.SignE_List = nn.ModuleList(Significance(c) for c in _WIDTHS)
        for k, (i, o) in enumerate(((512, 128), (256, 64), (128, 32), (64, 16)), 1):
            setattr(self, f"conv{k}", nn.Sequential(Enlarge(i, o), ResidualUnit(o, dropout)))
        last = [ResidualUnit(32, dropout), nn.Conv2d(32, 16, 1), ResidualUnit(16, dropout), nn.Conv2d(16, bands, 1)]
        self.conv5 = nn.Sequential(*last)

    def forward(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> Tensor:
        """Images `[n b h w]` -> `[n b h w]`."""
        return self.with_maps(coarse_ref, fine_ref, coarse)[0]

    def with_maps(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The prediction, and the significance maps of the five levels."""
        wanted, reference, fine = self.LSNet(coarse), self.LSNet(coarse_ref), self.HSNet(fine_ref)
        maps = [weigh(w, r) for weigh, w, r in zip(self.SignE_List, wanted, reference, strict=True)]
        fused = [w * m + recoloured(f, w) * (1 - m) for w, f, m in zip(wanted, fine, maps, strict=True)]
        x = wanted[4]
        for k in range(1, 5):
            x = getattr(self, f"conv{k}")(torch.cat([fused[5 - k], x], 1))
        return self.conv5(torch.cat([fused[0], x], 1)), maps


def recoloured(fine: Tensor, coarse: Tensor) -> Tensor:
    """Adaptive instance normalisation: `fine [n c h w]` with mean and standard deviation of `coarse`, per channel."""
    mean_f, mean_c = (x.mean((2, 3), keepdim=True) for x in (fine, coarse))
    std_f, std_c = ((x.var((2, 3), keepdim=True) + _EPSILON).sqrt() for x in (fine, coarse))
    return (fine - mean_f) / std_f * std_c + mean_c


class MlffCritic(nn.Module):
    """A discriminator of patches: image and condition `[n b h w]` each -> features of five stages."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.model0 = nn.Sequential(nn.Conv2d(2 * bands, 64, 4, 2, 2), nn.LeakyReLU(0.2))
        for k, (i, o, stride) in enumerate(((64, 128, 2), (128, 256, 2), (256, 512, 1)), 1):
            layers = nn.Conv2d(i, o, 4, stride, 2), nn.BatchNorm2d(o), nn.LeakyReLU(0.2)
            setattr(self, f"model{k}", nn.Sequential(*layers))
        self.model4 = nn.Sequential(nn.Conv2d(512, 1, 4, 1, 2))

    def features(self, image: Tensor, condition: Tensor) -> list[Tensor]:
        """Outputs of the five stages, the last one being the map of logits."""
        x, found = torch.cat([image, condition], 1), []
        for k in range(5):
            x = getattr(self, f"model{k}")(x)
            found.append(x)
        return found

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Map of logits `[n 1 h' w']`."""
        return self.features(image, condition)[-1]
