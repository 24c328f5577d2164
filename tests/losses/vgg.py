"""Weights of the right shapes for the perceptual loss, drawn at random."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sitsfusion.losses.lpips import BLOCKS, WIDTHS, MaskedLpips


def vgg_weights(seed: int = 0) -> dict[str, Tensor]:
    """VGG16's convolutions by torchvision's names; activations keep their scale."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    channels = 3
    for block, width in zip(BLOCKS, WIDTHS, strict=True):
        for i in block:
            scale = math.sqrt(2 / (9 * channels))
            state[f"features.{i}.weight"] = torch.randn(width, channels, 3, 3, generator=generator) * scale
            state[f"features.{i}.bias"] = 0.1 * torch.randn(width, generator=generator)
            channels = width
    return state


def linear_weights(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(1, width, 1, 1, generator=generator) for width in WIDTHS]


def random_lpips() -> MaskedLpips:
    return MaskedLpips(vgg_weights(), linear_weights())
