"""U-TAE: a series of images becomes one map (the class scores of each pixel, say).

Sainte Fare Garnot and Landrieu 2021, "Panoptic Segmentation of Satellite Image Time Series with Convolutional
Temporal Attention Networks". A U-Net whose encoder sees each frame alone; in its deepest features an L-TAE makes one
map of the frames, and its attention, enlarged, does the same in every skip connection.

Parameters carry the published names, so a published `state_dict` loads as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.nets.ltae import LTAE2d
from sitsfusion.nets.utae_blocks import (
    Aggregation,
    ConvBlock,
    ConvLayer,
    ConvOptions,
    DownBlock,
    Norm,
    PaddingMode,
    aggregate,
    constant_frames,
)


class UtaeOutput(NamedTuple):
    """What the network gives.

    Attributes:
        scores: `[b, out_conv[-1], h, w]`, 0 or more (the last layer has a ReLU, as published).
        attention: `[head, b, t, h', w']` at the size of the deepest features.
        maps: features of the decoder, `[b, c, h', w']`, deepest first; empty unless asked for.
    """

    scores: Tensor
    attention: Tensor
    maps: tuple[Tensor, ...] = ()


class MapUpBlock(nn.Module):
    """Deep features enlarged, joined with the skip connection, then `a = conv1(.); a + conv2(a)`; on single maps."""

    def __init__(
        self, inputs: int, outputs: int, skip: int, kernel: tuple[int, int, int], padding_mode: PaddingMode
    ) -> None:
        super().__init__()
        side, stride, padding = kernel
        options = ConvOptions("batch", padding_mode=padding_mode)
        self.skip_conv = nn.Sequential(nn.Conv2d(skip, skip, 1), nn.BatchNorm2d(skip), nn.ReLU())
        self.up = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, side, stride, padding), nn.BatchNorm2d(outputs), nn.ReLU()
        )
        self.conv1 = ConvLayer([outputs + skip, outputs], options)
        self.conv2 = ConvLayer([outputs, outputs], options)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """`deep [b, c, h, w]`, `skip [b, c', 2h, 2w]` -> `[b, c'', 2h, 2w]`."""
        a = self.conv1(torch.cat([self.up(deep), self.skip_conv(skip)], dim=1))
        return a + self.conv2(a)  # type: ignore[no-any-return]


class UTAE(nn.Module):
    """The network, with the published options and defaults.

    Args:
        input_dim: bands of the images.
        encoder_widths: channels of the levels, from full size to 1 / 2^(levels - 1).
        decoder_widths: the same for the decoder; the last is that of the encoder.
        out_conv: channels of the last two convolutions; the last is the number of classes.
        str_conv_k: side of the convolutions that halve the size, and of those that double it;
            `str_conv_s` stride, `str_conv_p` padding.
        agg_mode: how skip connections become one map: "att_group", "att_mean" or "mean".
        encoder_norm: "group" (4 groups), "batch", "instance" or None.
        n_head: heads of the L-TAE; `d_model` its width, `d_k` that of keys and queries per head.
        pad_value: frames whose values are all this only fill up the batch; None: there are none.
        padding_mode: of the convolutions.

    Raises:
        InputError: widths that do not fit together.
    """

    def __init__(
        self,
        input_dim: int,
        encoder_widths: Sequence[int] = (64, 64, 64, 128),
        decoder_widths: Sequence[int] = (32, 32, 64, 128),
        out_conv: Sequence[int] = (32, 20),
        str_conv_k: int = 4,
        str_conv_s: int = 2,
        str_conv_p: int = 1,
        agg_mode: Aggregation = "att_group",
        encoder_norm: Norm = "group",
        n_head: int = 16,
        d_model: int = 256,
        d_k: int = 4,
        pad_value: float | None = 0.0,
        padding_mode: PaddingMode = "reflect",
    ) -> None:
        super().__init__()
        down, up = list(encoder_widths), list(decoder_widths)
        if len(down) != len(up) or down[-1] != up[-1]:
            raise InputError(f"encoder_widths {down} and decoder_widths {up} must be equally long and end alike")
        self.agg_mode, self.pad_value = agg_mode, pad_value
        kernel = (str_conv_k, str_conv_s, str_conv_p)
        options = ConvOptions(encoder_norm, padding_mode=padding_mode)
        self.in_conv = ConvBlock([input_dim, down[0], down[0]], options, pad_value)
        self.down_blocks = nn.ModuleList(DownBlock(a, b, options, kernel, pad_value) for a, b in pairwise(down))
        self.temporal_encoder = LTAE2d(down[-1], n_head, d_k, mlp=(d_model, down[-1]), d_model=d_model)
        levels = zip(up[:0:-1], up[-2::-1], down[-2::-1], strict=True)
        self.up_blocks = nn.ModuleList(MapUpBlock(*widths, kernel, padding_mode) for widths in levels)
        last = ConvOptions("batch", padding_mode=padding_mode)
        self.out_conv = ConvBlock([up[0], *out_conv], last, None)

    def forward(self, x: Tensor, days: Tensor | None = None, maps: bool = False) -> UtaeOutput:
        """`x [b, t, input_dim, h, w]`, `days [b, t]` (real numbers) -> one map of the series.

        Sides are multiples of 2^(levels - 1). `maps`: return the decoder's features too.
        """
        padded = constant_frames(x, self.pad_value)
        features = self.encode(x)
        *skips, deepest = features
        out, attention = self.temporal_encoder(deepest, days, padded)
        kept = [out]
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            # one target frame: the attention of the whole series
            one = aggregate(skip, attention[:, :, None], self.agg_mode, padded)
            out = block(out, one[:, 0])
            kept.append(out)
        return UtaeOutput(self.out_conv(out[:, None])[:, 0], attention, tuple(kept) if maps else ())

    def encode(self, x: Tensor) -> list[Tensor]:
        """Features of every frame alone, `[b, t, c, h, w]` of each level, full size first."""
        features = [self.in_conv(x)]
        for block in self.down_blocks:
            features.append(block(features[-1]))
        return features
