"""ECPW-STFN: features of Haar sub-bands of the fine image and of the change, refined with attention.

Zhang et al. 2023, "Enhanced wavelet network for spatiotemporal fusion" (ECPW-STFN), as the survey's code has it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn

from sitsfusion.nets.wavelet import haar, inverse_haar

from .blocks import SkipAutoEncoder, decoder, encoder, replicate3x3


class ChannelGate(nn.Module):
    """Weights of channels in (0, 1) from their mean and largest value over the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[n c h w]` -> `[n c 1 1]`."""
        pooled = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        first, second = (self.fc2(self.fc1(p).relu()) for p in pooled)
        return (first + second).sigmoid()  # type: ignore[no-any-return]


class SpatialGate(nn.Module):
    """Weights of pixels in (0, 1) from mean and largest value over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[n c h w]` -> `[n 1 h w]`."""
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return self.conv1(pooled).sigmoid()  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """3x3 convolution and ReLU, then the two gates; no residual addition."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(replicate3x3(inputs, outputs), nn.ReLU())
        self.ChannelA = nn.Sequential(ChannelGate(outputs))
        self.SpatialA = nn.Sequential(SpatialGate())

    def forward(self, x: Tensor) -> Tensor:
        """`[n inputs h w]` -> `[n outputs h w]`."""
        x = self.residual(x)
        x = x * self.ChannelA(x)
        return x * self.SpatialA(x)  # type: ignore[no-any-return]


class EcpwStfn(nn.Module):
    """The coarse reference image is not used; even sides; global (the channel gates pool the image).

    `detached`: the published code takes the wavelets outside of automatic differentiation, which leaves the two
    encoders at their random initial weights for ever. Predictions are the same; only training differs.
    """

    def __init__(self, bands: int, detached: bool = False) -> None:
        super().__init__()
        self.detached = detached
        self.Landsat_encoder = encoder(bands)
        self.MLRes_encoder = encoder(bands)
        self.decoder = decoder(bands)
        widths = (2 * bands, 32, 64, 128)
        self.RFEncoder = nn.Sequential(*(AttentionBlock(i, o) for i, o in pairwise(widths)))
        self.RFDecoder = decoder(bands)

    def forward(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> Tensor:
        """Images `[n b h w]` -> `[n b h w]`."""
        fine, change = haar(fine_ref), haar(coarse - fine_ref)  # [4 n b h/2 w/2]
        features = self.Landsat_encoder(_flat(fine)) + self.MLRes_encoder(_flat(change))
        joined = inverse_haar(rearrange(features, "(s n) c h w -> s n c h w", s=4))  # [n 128 h w]
        first = self.decoder(joined.detach() if self.detached else joined)
        return self.RFDecoder(self.RFEncoder(torch.cat([first, fine_ref], 1)))  # type: ignore[no-any-return]


def _flat(bands: Tensor) -> Tensor:
    """Sub-bands go through an encoder one by one, with the same weights."""
    return rearrange(bands, "s n c h w -> (s n) c h w")


def ecpw_auto_encoder(bands: int) -> SkipAutoEncoder:
    """The auto-encoder of the feature loss: max-pooling, and convolutions before the up-sampling."""
    return SkipAutoEncoder(
        bands,
        lambda i, o: nn.Sequential(replicate3x3(i, o), nn.ReLU()),
        lambda i, o: nn.Sequential(nn.MaxPool2d(2), replicate3x3(i, o), nn.ReLU()),
        lambda i, o: nn.Sequential(replicate3x3(i, o), nn.Upsample(scale_factor=2), nn.ReLU()),
    )
