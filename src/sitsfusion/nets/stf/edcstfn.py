"""EDCSTFN: features of the fine image plus features of the change, decoded.

Tan et al. 2019, "An enhanced deep convolutional model for spatiotemporal image fusion", Remote Sensing 11(24).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .blocks import decoder, encoder, replicate3x3

_EPSILON = 1e-8


class Edcstfn(nn.Module):
    """An output pixel depends on the input pixels at most `REACH` away; any size of image."""

    REACH = 5

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.encoder = encoder(bands)
        self.residual = encoder(3 * bands, last=False)
        self.decoder = decoder(bands)

    def forward(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> Tensor:
        """Images `[n b h w]` of one pair, and the coarse one wanted -> `[n b h w]`."""
        change = self.change(coarse_ref, fine_ref, coarse)
        return self.decoder(self.encoder(fine_ref) + change)  # type: ignore[no-any-return]

    def change(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> Tensor:
        """Features of the change since the pair `[n 128 h w]`."""
        return self.residual(torch.cat([coarse_ref, fine_ref, coarse], 1))  # type: ignore[no-any-return]

    def from_two(self, pairs: Sequence[tuple[Tensor, Tensor]], coarse: Tensor) -> Tensor:
        """The fine image from two pairs (coarse, fine): features weighted by the inverse of their change."""
        changes = [self.change(c, f, coarse) for c, f in pairs]
        first, second = (1 / (d.abs() + _EPSILON) for d in changes)
        weight = (first / (first + second)).clamp(0, 1)
        before, after = (self.encoder(f) + d for (_, f), d in zip(pairs, changes, strict=True))
        return self.decoder(weight * before + (1 - weight) * after)  # type: ignore[no-any-return]


class EdcAutoEncoder(nn.Module):
    """Encoder to 128 channels at half the size and decoder; even sides. Its encoder serves the feature loss."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        convolutions = [replicate3x3(bands, 32), replicate3x3(32, 64), replicate3x3(64, 128, 2), replicate3x3(128, 128)]
        self.encoder = nn.Sequential(*(layer for c in convolutions for layer in (c, nn.ReLU())))
        self.decoder = nn.Sequential(
            replicate3x3(128, 128),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="bicubic", align_corners=False),
            replicate3x3(128, 64),
            nn.ReLU(),
            replicate3x3(64, 32),
            nn.ReLU(),
            nn.Conv2d(32, bands, 1),
        )

    def encode(self, x: Tensor) -> Tensor:
        """`[n b h w]` -> features `[n 128 h/2 w/2]`."""
        return self.encoder(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """`[n b h w]` -> the same shape."""
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]
