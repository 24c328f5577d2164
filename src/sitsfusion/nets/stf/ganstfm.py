"""GAN-STFM: a generator with switchable normalisation, and a discriminator of three scales.

Tan et al. 2022, "A flexible reference-insensitive spatiotemporal fusion model for remote sensing images using
conditional generative adversarial network", IEEE TGRS 60.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .blocks import SkipAutoEncoder, replicate3x3

_EPSILON = 1e-5
_MOMENTUM = 0.9


class SwitchNorm(nn.Module):
    """Switchable normalisation (Luo et al. 2019): a learnt mix of instance, layer and batch statistics.

    Variances over an image are unbiased, and running statistics start at zero, both as published.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.mean_weight = nn.Parameter(torch.ones(3))
        self.var_weight = nn.Parameter(torch.ones(3))
        self.register_buffer("running_mean", torch.zeros(1, channels, 1))
        self.register_buffer("running_var", torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`[n c h w]` -> the same shape; statistics in float32."""
        flat = x.flatten(2).float()  # [n c hw]
        mean, var = flat.mean(2, keepdim=True), flat.var(2, keepdim=True)  # [n c 1]
        square = var + mean.square()
        layer = mean.mean(1, keepdim=True)
        batch_mean, batch_var = self._batch(mean, square)
        p, q = self.mean_weight.softmax(0), self.var_weight.softmax(0)
        mean = p[0] * mean + p[1] * layer + p[2] * batch_mean
        var = q[0] * var + q[1] * (square.mean(1, keepdim=True) - layer.square()) + q[2] * batch_var
        scale = (var + _EPSILON).rsqrt() * self.weight[..., 0]  # [n c 1]
        shift = self.bias[..., 0] - mean * scale
        return x * scale[..., None].to(x.dtype) + shift[..., None].to(x.dtype)

    def _batch(self, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return self.running_mean, self.running_var
        batch_mean = mean.mean(0, keepdim=True)
        batch_var = square.mean(0, keepdim=True) - batch_mean.square()
        with torch.no_grad():
            self.running_mean.lerp_(batch_mean, 1 - _MOMENTUM)
            self.running_var.lerp_(batch_var, 1 - _MOMENTUM)
        return batch_mean, batch_var


class EncoderBlock(nn.Module):
    """(lateral, trunk) -> (lateral, trunk): the coarse stream is added to the fine one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = min(inputs, outputs)
        self.residual = nn.Sequential(
            SwitchNorm(inputs),
            nn.LeakyReLU(),
            replicate3x3(inputs, inner),
            SwitchNorm(inner),
            nn.LeakyReLU(),
            nn.Conv2d(inner, outputs, 1),
        )
        self.transform = nn.Sequential(replicate3x3(inputs, inner), nn.Conv2d(inner, outputs, 1), nn.LeakyReLU())

    def forward(self, lateral: Tensor, trunk: Tensor) -> tuple[Tensor, Tensor]:
        """Two `[n inputs h w]` -> two `[n outputs h w]`."""
        lateral = self.transform(lateral)
        return lateral, self.residual(trunk) + lateral


class DecoderBlock(nn.Module):
    """A 3x3 and a 1x1 convolution beside a 1x1 shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = min(inputs, outputs)
        self.residual = nn.Sequential(replicate3x3(inputs, inner), nn.LeakyReLU(), nn.Conv2d(inner, outputs, 1))
        self.transform = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[n inputs h w]` -> `[n outputs h w]`."""
        return self.residual(x) + self.transform(x)  # type: ignore[no-any-return]


class GanStfm(nn.Module):
    """Any size of image; global (instance and layer statistics).

    Takes the fine image and one coarse image: that of the wanted date. `published`: the survey's code passes the
    coarse image of the *reference* date by mistake, so that nothing about the wanted date enters; only for comparing
    with its figures.
    """

    def __init__(self, bands: int, published: bool = False) -> None:
        super().__init__()
        self.published = published
        widths = (bands, 16, 32, 64, 128)
        self.encoder = nn.ModuleList(EncoderBlock(i, o) for i, o in pairwise(widths))
        blocks = [DecoderBlock(i, o) for i, o in pairwise((256, 128, 64, 32, 16))]
        self.decoder = nn.Sequential(*blocks, nn.Conv2d(16, bands, 1))

    def condition(self, coarse_ref: Tensor, coarse: Tensor) -> Tensor:
        """The coarse image that generator and discriminator see."""
        return coarse_ref if self.published else coarse

    def forward(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> Tensor:
        """Images `[n b h w]` -> `[n b h w]`."""
        lateral, trunk = self.condition(coarse_ref, coarse), fine_ref
        for block in self.encoder:
            lateral, trunk = block(lateral, trunk)
        return self.decoder(torch.cat([lateral, trunk], 1))  # type: ignore[no-any-return]


def gan_auto_encoder(bands: int) -> SkipAutoEncoder:
    """The auto-encoder of the feature loss: convolutions of stride 2, and up-sampling before the convolutions."""
    return SkipAutoEncoder(
        bands,
        lambda i, o: nn.Sequential(replicate3x3(i, o), nn.LeakyReLU()),
        lambda i, o: nn.Sequential(replicate3x3(i, o, 2), nn.LeakyReLU()),
        lambda i, o: nn.Sequential(nn.Upsample(scale_factor=2), replicate3x3(i, o), nn.LeakyReLU()),
    )
