"""U-TILISE: a series of images with gaps in, the same series complete out.

Stucker, Sainte Fare Garnot and Schindler 2023, "U-TILISE: A Sequence-to-Sequence Model for Cloud Removal in Optical
Satellite Time Series", IEEE TGRS 61. A U-Net over each frame; in its deepest features an L-TAE mixes the frames of
each pixel, and its attention, enlarged, mixes the frames of the skip connections.

Parameters carry the published names, so a published `model_state_dict` loads as it is.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.nets.utae_blocks import (
    ConvBlock,
    ConvOptions,
    DownBlock,
    FrameBlock,
    aggregate,
    constant_frames,
    make_activation,
    norm_layer,
)
from sitsfusion.nets.utilise_config import UtiliseConfig
from sitsfusion.nets.utilise_temporal import TemporalEncoderLayer

_SAME_SIZE = (1, 1, 0)  # side, stride and padding of a 1x1 convolution


class UtiliseOutput(NamedTuple):
    """What the network gives.

    Attributes:
        images: `[b, t, c_out, h, w]`; padded frames are `pad_value` everywhere.
        attention: `[head, b, target, source, h', w']` float32 at the size of the deepest features; None where the
            network has no temporal encoder.
        maps: the deepest features, then those after each enlargement, `[b, t, c, h', w']` each; empty unless asked for.
    """

    images: Tensor
    attention: Tensor | None
    maps: tuple[Tensor, ...] = ()


class Up(FrameBlock):
    """Twice the size: a transposed convolution, or bilinear and a 1x1 convolution; then norm and activation."""

    def __init__(self, inputs: int, outputs: int, config: UtiliseConfig, options: ConvOptions) -> None:
        super().__init__(config.pad_value)
        enlarge: list[nn.Module]
        if config.upconv_type == "transpose":
            side = config.str_conv_k if config.str_conv_k_up is None else config.str_conv_k_up
            padding = config.str_conv_p if config.str_conv_p_up is None else config.str_conv_p_up
            enlarge = [nn.ConvTranspose2d(inputs, outputs, side, config.str_conv_s, padding)]
        else:
            bilinear = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            enlarge = [bilinear, nn.Conv2d(inputs, outputs, 1)]
        self.convtrans = nn.Sequential(*enlarge, *norm_layer(outputs, options), make_activation(options.activation))

    def images(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` -> `[n, c', 2h, 2w]`."""
        return self.convtrans(x)  # type: ignore[no-any-return]


class UpBlock(nn.Module):
    """Deep features enlarged, joined with the skip connection, then `a = conv1(.); a + conv2(a)`.

    Nobody tells it which frames are padded: as published, each part leaves out frames that are `pad_value` everywhere.
    """

    def __init__(self, inputs: int, outputs: int, skip: int, config: UtiliseConfig) -> None:
        super().__init__()
        options, pad = conv_options(config, config.decoder_norm), config.pad_value
        self.skip_conv = ConvBlock([skip, skip], conv_options(config, config.skip_norm), pad, kernel=_SAME_SIZE)
        self.up = Up(inputs, outputs, config, options)
        self.conv1 = ConvBlock([outputs + skip, outputs], options, pad)
        self.conv2 = ConvBlock([outputs, outputs], options, pad)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """`deep [b, t, c, h, w]`, `skip [b, t, c', 2h, 2w]` -> `[b, t, c'', 2h, 2w]`."""
        parts = [self.up(deep).flatten(0, 1), self.skip_conv(skip).flatten(0, 1)]
        joined = torch.cat(parts, dim=1)  # of images, which keeps the channels last in memory
        a = self.conv1(joined.unflatten(0, deep.shape[:2]))  # type: ignore[no-untyped-call]
        return a + self.conv2(a)  # type: ignore[no-any-return]


class UTILISE(nn.Module):
    """The network; `initialise` has been applied to its weights."""

    def __init__(self, config: UtiliseConfig) -> None:
        super().__init__()
        self.config = config
        down, up = config.encoder_widths, config.up_widths
        options, pad = conv_options(config, config.encoder_norm), config.pad_value
        self.in_conv = ConvBlock([config.input_dim, down[0], down[0]], options, pad)
        halving = (config.str_conv_k, config.str_conv_s, config.str_conv_p)
        self.down_blocks = nn.ModuleList(DownBlock(a, b, options, halving, pad) for a, b in pairwise(down))
        layers = 0 if config.skip_attention else config.n_temporal_encoding_layers
        self.temporal_encoder = nn.ModuleList(_temporal_layer(config) for _ in range(layers))
        levels = zip(up[:0:-1], up[-2::-1], down[-2::-1], strict=True)
        self.up_blocks = nn.ModuleList(UpBlock(*widths, config) for widths in levels)
        last = conv_options(config, config.decoder_norm)
        widths = [up[0], up[0], config.channels_out]
        self.out_conv = ConvBlock(widths, last, pad, last=config.last_activation)
        self.apply(initialise)

    def forward(self, x: Tensor, days: Tensor | None = None, maps: bool = False) -> UtiliseOutput:
        """The complete series, from one with gaps.

        Args:
            x: `[b, t, input_dim, h, w]`, published models: in [0, 1] with 1 in masked pixels; no NaN. Sides are
                multiples of `config.multiple` and at least `config.smallest`.
            days: `[b, t]` positions, published models: day of the year from 0; None: frames have no order.
            maps: whether to return the decoder's features too.

        Raises:
            InputError: a shape that the network was not made for.
        """
        self.check(x, days)
        padded = self.padded(x, days)
        features = self.encode(x, padded)
        return self.decode(features, days, padded, maps)

    def padded(self, x: Tensor, days: Tensor | None) -> Tensor:
        """Frames that only fill up the batch: bool `[b, t]`."""
        padded = constant_frames(x, self.config.pad_value)
        return padded if days is None else padded & (days == 0)

    def encode(self, x: Tensor, padded: Tensor | None = None) -> list[Tensor]:
        """Features of every frame alone, `[b, t, c, h, w]` of each level, full size first."""
        features = [self.in_conv(x, padded)]
        for block in self.down_blocks:
            features.append(block(features[-1], padded))
        return features

    def decode(
        self,
        features: list[Tensor],
        days: Tensor | None,
        padded: Tensor | None = None,
        maps: bool = False,
        chunk: int | None = None,
    ) -> UtiliseOutput:
        """The complete series, from what `encode` gave; frames of a batch may come from different calls.

        `chunk`: how many frames are painted at once (None: all; without maps). Fewer need less memory and stay in the
        processor's cache; the result is the same.
        """
        *skips, out = features
        attention = None
        for layer in self.temporal_encoder:
            out, attention = layer(out, days, padded)
        if attention is not None:
            skips = [aggregate(skip, attention, self.config.agg_mode, padded) for skip in skips]
        frames = out.shape[1]
        size = frames if chunk is None or maps else chunk
        kept = [out] if maps else None
        parts = [slice(first, first + size) for first in range(0, frames, size)]
        painted = [self._paint([level[:, at] for level in (*skips, out)], _part(padded, at), kept) for at in parts]
        return UtiliseOutput(torch.cat(painted, dim=1), attention, tuple(kept or ()))

    def _paint(self, features: list[Tensor], padded: Tensor | None, kept: list[Tensor] | None) -> Tensor:
        """Frames of the output, from their mixed features; those of each enlargement are appended to `kept`."""
        *skips, out = features
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            out = block(out, skip)
            if kept is not None:
                kept.append(out)
        none = torch.zeros(out.shape[:2], dtype=torch.bool, device=out.device)
        return self.out_conv(out, none if padded is None else padded)  # type: ignore[no-any-return]

    def check(self, x: Tensor, days: Tensor | None) -> None:
        """Raises InputError for a shape that the network was not made for (see `forward`)."""
        config = self.config
        if x.ndim != 5 or x.shape[2] != config.input_dim:
            raise InputError(f"images have shape {tuple(x.shape)}, expected [b, t, {config.input_dim}, h, w]")
        if any(side % config.multiple or side < config.smallest for side in x.shape[-2:]):
            raise InputError(
                f"images of {x.shape[-2]} x {x.shape[-1]} pixels: this network takes multiples of {config.multiple}, "
                f"{config.smallest} or more; pad them (ops.tiles.pad_to_multiple) and crop the result"
            )
        if days is not None and days.shape != x.shape[:2]:
            raise InputError(f"days have shape {tuple(days.shape)}, expected [b, t] = {tuple(x.shape[:2])}")


def _part(padded: Tensor | None, at: slice) -> Tensor | None:
    return None if padded is None else padded[:, at]


def conv_options(config: UtiliseConfig, norm: str | None) -> ConvOptions:
    """Norm, activation and padding of the convolutions of one part."""
    return ConvOptions(
        norm,  # type: ignore[arg-type]
        config.activation,
        config.padding_mode,
        config.n_groups,
        config.dim_per_group,
        config.group_norm_eps,
    )


def initialise(module: nn.Module) -> None:
    """The published initial weights of one module: Xavier-normal matrices and kernels, biases N(0, 1).

    Batch norms start with weights N(0, 1) and biases 0; group and layer norms stay at 1 and 0.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.normal_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight)
        nn.init.zeros_(module.bias)


def _temporal_layer(config: UtiliseConfig) -> TemporalEncoderLayer:
    return TemporalEncoderLayer(
        config.encoder_widths[-1],
        config.n_head,
        config.d_k,
        activation=config.ltae_activation,
        norm=config.ltae_norm,
        norm_first=config.norm_first,
        bias_qk=config.bias_qk,
        dropout=config.dropout,
        attn_dropout=config.attn_dropout,
        positional_encoding=config.positional_encoding,
    )
