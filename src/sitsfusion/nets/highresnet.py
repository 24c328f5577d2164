"""HighRes-net: a residual encoder per view, pairwise recursive fusion, learned enlargement.

Deudon et al. 2020, "HighRes-net: Recursive Fusion for Multi-Frame Super-Resolution of Satellite Imagery"
(arXiv 2002.06460), in the variant of MISR-S2 (arXiv 2404.16409): PReLUs with one slope, median reference image.
Heights and widths may differ.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.nets.rrdb import conv3x3


def median_image(views: Tensor, most: int) -> Tensor:
    """Per-pixel median of the first `most` views: `[b l c h w]` -> `[b c h w]`; of an even count the lower middle."""
    return views[:, :most].median(dim=1).values


def closest_view(days: Tensor) -> Tensor:
    """Position of the view nearest to day 0, the first one of equals: `[b l]` -> int64 `[b]`."""
    return days.abs().argmin(dim=1)


def pick_view(views: Tensor, at: Tensor) -> Tensor:
    """One view of each sample: `[b l ...]` and positions `[b]` -> `[b ...]`."""
    return views[torch.arange(len(views), device=views.device), at]


def beside_reference(views: Tensor, reference: Tensor) -> Tensor:
    """Each view with the reference image behind it: `[b l c h w]`, `[b c h w]` -> `[b l 2c h w]`."""
    return torch.cat([views, reference[:, None].expand_as(views)], dim=2)


def each_view(net: nn.Module, views: Tensor) -> Tensor:
    """Apply a network to each view alone: `[b l c h w]` -> `[b l c' h w]`."""
    encoded: Tensor = net(rearrange(views, "b l c h w -> (b l) c h w"))
    return rearrange(encoded, "(b l) c h w -> b l c h w", b=len(views))


class ResidualBlock(nn.Module):
    """`x + [conv3x3, PReLU, conv3x3, PReLU](x)`, `[n c h w]` -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv3x3(channels, channels), nn.PReLU(), conv3x3(channels, channels), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)  # type: ignore[no-any-return]


class HighResEncoder(nn.Sequential):
    """`[n inputs h w]` -> `[n channels h w]`."""

    def __init__(self, inputs: int = 6, channels: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.first = conv3x3(inputs, channels)
        self.slope = nn.PReLU()
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.last = conv3x3(channels, channels)


class RecursiveFusion(nn.Module):
    """Fuse views pair by pair until one is left.

    At each level the first half of the views meets the second half in reverse order; an odd last view is dropped, so
    give a power of two. `residual`: a view keeps its features and adds what the pair says, as far as its partner
    `present`s anything; otherwise the pair's features replace it.
    """

    def __init__(self, channels: int = 64, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.fuse = nn.Sequential(ResidualBlock(2 * channels), conv3x3(2 * channels, channels), nn.PReLU())

    def forward(self, states: Tensor, present: Tensor) -> Tensor:
        """`states [b l c h w]`, `present [b l]` (1: a view, 0: a repetition to fill up) -> `[b c h w]`."""
        if states.shape[1] < 1:
            raise InputError("recursive fusion needs at least one view, found none")
        while (half := states.shape[1] // 2) > 0:
            alice, bob = states[:, :half], states[:, half : 2 * half].flip(1)
            fused = each_view(self.fuse, torch.cat([alice, bob], dim=2))
            share = present[:, half : 2 * half].flip(1)[..., None, None, None]
            states = alice + share * fused if self.residual else fused
            present = present[:, :half]
        return states[:, 0]


class TransposedDecoder(nn.Sequential):
    """Two transposed convolutions that double, PReLUs, and a 1x1 convolution: `[n c h w]` -> `[n bands 4h 4w]`."""

    def __init__(self, channels: int = 64, bands: int = 3) -> None:
        super().__init__()
        self.double1 = nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2)
        self.slope1 = nn.PReLU()
        self.double2 = nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2)
        self.slope2 = nn.PReLU()
        self.last = nn.Conv2d(channels, bands, kernel_size=1)
