"""What U-TAE and U-TILISE are built of: per-frame convolution blocks, and skips weighted by attention.

Both are U-Nets whose blocks see every frame of a series on its own, and whose temporal attention,
computed once in the deepest features, is enlarged to weigh the frames of every skip connection.
Sainte Fare Garnot and Landrieu 2021, section 3.2; Stucker, Sainte Fare Garnot and Schindler 2023.

Parameters carry the published names (hence the nested `conv.conv`), so published weights load as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sitsfusion.errors import InputError

Norm = Literal["group", "batch", "instance"] | None
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Aggregation = Literal["att_group", "att_mean", "mean"] | None

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "mish": nn.Mish,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@dataclass(frozen=True)
class ConvOptions:
    """What all convolutions of a part of the network share.

    Attributes:
        norm: after each convolution, before its activation.
        activation: a name `make_activation` knows.
        padding_mode: how images are continued beyond their border.
        n_groups: of a group norm; -1 = `channels / dim_per_group`. Exactly one of the two is -1.
        dim_per_group: channels per group.
        eps: of a group norm.
    """

    norm: Norm = None
    activation: str = "relu"
    padding_mode: PaddingMode = "reflect"
    n_groups: int = 4
    dim_per_group: int = -1
    eps: float = 1e-5


def make_activation(name: str) -> nn.Module:
    """A new activation: relu, prelu, mish, gelu, tanh, sigmoid, lrelu (slope 0.01) or "lrelu,SLOPE".

    Raises:
        InputError: another name.
    """
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name]()
    kind, _, slope = name.partition(",")
    if kind == "lrelu":
        return nn.LeakyReLU(float(slope or 0.01))
    raise InputError(f"unknown activation {name!r}; expected lrelu, lrelu,SLOPE or one of {', '.join(_ACTIVATIONS)}")


def norm_layer(channels: int, options: ConvOptions) -> list[nn.Module]:
    """The norm that follows a convolution: one layer, or none.

    Raises:
        InputError: an unknown norm, or groups that are given twice or not at all.
    """
    if options.norm is None:
        return []
    if options.norm == "batch":
        return [nn.BatchNorm2d(channels)]
    if options.norm == "instance":
        return [nn.InstanceNorm2d(channels)]
    if options.norm != "group":
        raise InputError(f"unknown norm {options.norm!r}; expected group, batch, instance or None")
    if (options.n_groups == -1) == (options.dim_per_group == -1):
        raise InputError(
            f"a group norm with n_groups {options.n_groups} and dim_per_group {options.dim_per_group}: "
            "give one of them, and -1 for the other"
        )
    groups = channels // options.dim_per_group if options.n_groups == -1 else options.n_groups
    return [nn.GroupNorm(groups if channels > options.n_groups else 1, channels, options.eps)]


class ConvLayer(nn.Module):
    """Convolution, norm and activation for every pair of widths: `[n, c, h, w]` -> `[n, c', h', w']`.

    Args:
        widths: channels of the input, of what lies between, of the output.
        options: norm, activation and padding.
        kernel: side, stride and padding of every convolution.
        last: after the last convolution: True = the activation of `options`, False = none, or the name of another.
    """

    def __init__(
        self,
        widths: Sequence[int],
        options: ConvOptions,
        kernel: tuple[int, int, int] = (3, 1, 1),
        last: str | bool = True,
    ) -> None:
        super().__init__()
        side, stride, padding = kernel
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths), start=2):
            layers.append(nn.Conv2d(a, b, side, stride, padding, padding_mode=options.padding_mode))
            layers += norm_layer(b, options)
            chosen = True if i < len(widths) else last
            if chosen is not False:
                layers.append(make_activation(options.activation if chosen is True else chosen))
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` -> `[n, c', h', w']`."""
        return self.conv(x)  # type: ignore[no-any-return]


class FrameBlock(nn.Module, ABC):
    """A block that works on images and is given a series: padded frames are skipped.

    `images` is what subclasses define. A frame is padded where the caller says so; if the caller does
    not say, where all its values are `pad_value`. The output of a padded frame is `pad_value` everywhere.
    """

    def __init__(self, pad_value: float | None) -> None:
        super().__init__()
        self.pad_value = pad_value

    @abstractmethod
    def images(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` -> `[n, c', h', w']`."""

    def forward(self, x: Tensor, padded: Tensor | None = None) -> Tensor:
        """`x [b, t, c, h, w]`, `padded` bool `[b, t]` or None -> `[b, t, c', h', w']`."""
        if padded is None:
            padded = constant_frames(x, self.pad_value)
        frames = x.flatten(0, 1)
        if self.pad_value is None or not bool(padded.any()):
            y = self.images(_channels_last(frames))
        else:
            kept = ~padded.flatten()
            real = self.images(_channels_last(frames[kept]))
            y = _channels_last(real.new_full((len(frames), *real.shape[1:]), self.pad_value))
            y[kept] = real
        return y.unflatten(0, x.shape[:2])  # type: ignore[no-untyped-call, no-any-return]


class ConvBlock(FrameBlock):
    """A `ConvLayer` on every frame."""

    def __init__(self, widths: Sequence[int], options: ConvOptions, pad_value: float | None, **layer: object) -> None:
        super().__init__(pad_value)
        self.conv = ConvLayer(widths, options, **layer)  # type: ignore[arg-type]

    def images(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` -> `[n, c', h', w']`."""
        return self.conv(x)  # type: ignore[no-any-return]


class DownBlock(FrameBlock):
    """Half the size, then `a = conv1(down(x)); a + conv2(a)`."""

    def __init__(
        self, inputs: int, outputs: int, options: ConvOptions, kernel: tuple[int, int, int], pad_value: float | None
    ) -> None:
        super().__init__(pad_value)
        self.down = ConvLayer([inputs, inputs], options, kernel)
        self.conv1 = ConvLayer([inputs, outputs], options)
        self.conv2 = ConvLayer([outputs, outputs], options)

    def images(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` -> `[n, c', h / 2, w / 2]`."""
        a = self.conv1(self.down(x))
        return a + self.conv2(a)  # type: ignore[no-any-return]


def _channels_last(images: Tensor) -> Tensor:
    """The same images with the channels of a pixel side by side in memory: convolutions are half as fast otherwise."""
    return images.contiguous(memory_format=torch.channels_last)


def constant_frames(x: Tensor, value: float | None) -> Tensor:
    """Frames all of whose values are `value`: `[b, t, c, h, w]` -> bool `[b, t]` (all False where `value` is None)."""
    if value is None:
        return torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
    found = (x[..., 0, 0] == value).all(-1)  # almost always decides it, without reading everything
    if bool(found.any()):
        found = found & (x == value).flatten(2).all(-1)
    return found


def resize_attention(attention: Tensor, size: tuple[int, int]) -> Tensor:
    """Attention maps at the size of the features that they weigh.

    Bilinear (`align_corners` false) where a side grows, else averages.

    Args:
        attention: `[..., h, w]`.
        size: wanted height and width.

    Returns:
        `[..., height, width]`.
    """
    h, w = attention.shape[-2:]
    if (h, w) == size:
        return attention
    maps = attention.reshape(-1, 1, h, w)
    if size[0] > h or size[1] > w:
        resized = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    else:
        resized = F.adaptive_avg_pool2d(maps, size)
    return resized.reshape(*attention.shape[:-2], *size)


def aggregate(features: Tensor, attention: Tensor, mode: Aggregation, padded: Tensor | None = None) -> Tensor:
    """Features of every target frame: sums over the source frames, weighted by attention.

    The weights are not normalised again after resizing or masking. "att_group": the channels are split into as many
    groups as there are heads, each head weighs its group; "att_mean": the mean of the heads weighs all channels;
    "mean": the plain average of the frames that are not padded (one target frame; the attention is not looked at);
    None: the features unchanged.

    Args:
        features: `[b, source, c, h, w]`; c is a multiple of the number of heads.
        attention: `[head, b, target, source, h', w']`.
        mode: which weights.
        padded: bool `[b, source]`, True where a frame only fills up the batch; or None.

    Returns:
        `[b, target, c, h, w]`.
    """
    if mode is None:
        return features
    if mode == "mean":
        return _plain_mean(features, padded)
    if mode == "att_mean":
        attention = attention.mean(0, keepdim=True)
    if padded is not None and bool(padded.any()):
        attention = attention.masked_fill(padded[None, :, None, :, None, None], 0.0)
    heads = len(attention)
    grouped = rearrange(features, "b s (head c) y x -> head b s c y x", head=heads)
    weights = resize_attention(attention, (features.shape[-2], features.shape[-1])).to(features.dtype)
    out = torch.einsum("hbtsyx,hbscyx->btyxhc", weights, grouped)
    return rearrange(out, "b t y x head c -> b t (head c) y x")


def _plain_mean(features: Tensor, padded: Tensor | None) -> Tensor:
    if padded is None:
        return features.mean(1, keepdim=True)
    real = (~padded).to(features.dtype)[:, :, None, None, None]
    return (features * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
