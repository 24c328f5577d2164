"""The temporal encoder of U-TILISE: an L-TAE whose frames all ask, so that a sequence stays a sequence.

Stucker, Sainte Fare Garnot and Schindler 2023, "U-TILISE: A Sequence-to-Sequence Model for Cloud Removal in Optical
Satellite Time Series", section III-B. Parameters carry the published names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.nets.ltae import PADDED_SCORE
from sitsfusion.nets.positional import FixedTemporalEncoding
from sitsfusion.nets.utae_blocks import make_activation


class SelfAttention(nn.Module):
    """Every frame queries every frame; values are the channels of that head, unprojected; the output neither."""

    def __init__(self, width: int, n_head: int, d_k: int, bias: bool = False, dropout: float = 0.1) -> None:
        super().__init__()
        self.n_head, self.d_k = n_head, d_k
        self.fc_q = nn.Linear(width, n_head * d_k, bias=bias)
        self.fc_k = nn.Linear(width, n_head * d_k, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, padded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`x [n, t, width]`, `padded` bool `[n, t]` -> `[n, t, width]`, attention `[n, head, target, source]`."""
        q, k = (rearrange(fc(x), "n t (h k) -> n h t k", h=self.n_head) for fc in (self.fc_q, self.fc_k))
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.d_k)  # [n, head, target, source]
        if padded is not None:
            scores = scores.masked_fill(padded[:, None, None], PADDED_SCORE)
        attention = self.dropout(scores.softmax(dim=-1))
        values = rearrange(x, "n t (h c) -> n h t c", h=self.n_head)
        return rearrange(attention @ values, "n h t c -> n t (h c)"), attention


class TemporalEncoderLayer(nn.Module):
    """Days, self-attention over the frames of each pixel, and a perceptron, both with a residual.

    With `norm_first`: `e += attention(norm1(e)); e += mlp(norm2(e))`, the residual holding the encoding of the days;
    else `e = norm1(e + attention(e)); e = norm2(e + mlp(e))`. Norms act on each frame of each pixel alone.

    Args:
        in_channels: channels, a multiple of `n_head`.
        n_head: heads, and groups of the group norms.
        d_k: width of keys and queries per head.
        mlp: widths of the perceptron; the first and the last are `in_channels`.
        activation: after each of its linear layers (a name `make_activation` knows).
        norm: "group" or "layer".
        norm_first: whether norms come before attention and perceptron.
        bias_qk: whether keys and queries have a bias.
        dropout: after the attention and after the perceptron.
        attn_dropout: of the attention weights.
        positional_encoding: whether days are looked at.

    Raises:
        InputError: widths that do not fit together.
    """

    def __init__(
        self,
        in_channels: int,
        n_head: int = 4,
        d_k: int = 4,
        mlp: Sequence[int] | None = None,
        activation: str = "gelu",
        norm: Literal["group", "layer"] = "group",
        norm_first: bool = True,
        bias_qk: bool = False,
        dropout: float = 0.1,
        attn_dropout: float = 0.1,
        positional_encoding: bool = True,
    ) -> None:
        super().__init__()
        mlp = mlp or [in_channels, in_channels]
        if in_channels % n_head or mlp[0] != in_channels or mlp[-1] != in_channels:
            raise InputError(
                f"{in_channels} channels, {n_head} heads, perceptron {list(mlp)}: the channels must be a multiple "
                "of the heads, and the perceptron must begin and end with them"
            )
        self.norm_first = norm_first
        self.attention_heads = SelfAttention(in_channels, n_head, d_k, bias_qk, attn_dropout)
        self.norm1, self.norm2 = (_token_norm(norm, in_channels, n_head) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.encoding = FixedTemporalEncoding(in_channels // n_head) if positional_encoding else None
        self.n_head = n_head
        self.activation = make_activation(activation)
        self.mlp = nn.Sequential(*(layer for a, b in pairwise(mlp) for layer in (nn.Linear(a, b), self.activation)))

    def forward(self, x: Tensor, days: Tensor | None = None, padded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features of a series with the dates mixed.

        Computed in float32 whatever the dtype of `x` and the surrounding autocast: it is a hundredth of the work,
        and days, norms and softmax need the digits.

        Args:
            x: `[b, t, c, h, w]`.
            days: `[b, t]` real numbers, or None: the frames have no order.
            padded: bool `[b, t]`, True where a frame only fills up the batch, or None.

        Returns:
            `[b, t, c, h, w]` in the dtype of `x`, attention `[n_head, b, target, source, h, w]` in float32.
        """
        b, _, _, h, w = x.shape
        with torch.autocast(x.device.type, enabled=False):
            e = rearrange(x.float(), "b t c h w -> (b h w) t c")
            if self.encoding is not None and days is not None:
                e = e + repeat(self.encoding(days), "b t d -> (b p) t (head d)", p=h * w, head=self.n_head)
            per_pixel = None if padded is None else repeat(padded, "b t -> (b p) t", p=h * w)
            e, attention = self.tokens(e, per_pixel)
        out = rearrange(e, "(b h w) t c -> b t c h w", b=b, h=h).to(x.dtype)
        return out, rearrange(attention, "(b h w) head t s -> head b t s h w", b=b, h=h)

    def tokens(self, e: Tensor, padded: Tensor | None) -> tuple[Tensor, Tensor]:
        """`[n, t, c]`, `padded [n, t]` -> `[n, t, c]`, attention `[n, head, target, source]`."""
        if self.norm_first:
            mixed, attention = self.attention_heads(per_token(self.norm1, e), padded)
            e = e + self.dropout(mixed)
            return e + self.dropout(self.mlp(per_token(self.norm2, e))), attention
        mixed, attention = self.attention_heads(e, padded)
        e = per_token(self.norm1, e + self.dropout(mixed))
        return per_token(self.norm2, e + self.dropout(self.mlp(e))), attention


def per_token(norm: nn.Module, e: Tensor) -> Tensor:
    """A norm of each frame of each pixel alone: `[n, t, c]` -> `[n, t, c]`."""
    return norm(e.flatten(0, 1)).view_as(e)  # type: ignore[no-any-return]


def _token_norm(kind: str, channels: int, n_head: int) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(n_head, channels)
    if kind == "layer":
        return nn.LayerNorm(channels)
    raise InputError(f"unknown norm of the temporal encoder {kind!r}; expected group or layer")
