"""L-TAE, the lightweight temporal attention encoder: the dates of a place become one vector.

Sainte Fare Garnot and Landrieu 2020, "Lightweight Temporal Self-Attention for Classifying Satellite
Image Time Series" (`LTAE`, one sequence per item), and 2021, "Panoptic Segmentation of Satellite
Image Time Series with Convolutional Temporal Attention Networks" (`LTAE2d`, every pixel of an image
series on its own). Each head has one learnt query (the "master query"), shared by all items; the
values are the input's own channels, split among the heads, so the only projection is that of the keys.

Parameters carry the published names, so a published state dict loads as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.nets.positional import FixedTemporalEncoding

PADDED_SCORE = -1000.0  # published; not -inf, so a sequence of padded dates alone still has weights that sum to 1
ATTENTION_DROPOUT = 0.1


class MasterQueryAttention(nn.Module):
    """One learnt query per head, keys from a linear layer, values = the channels of that head.

    `softmax_t(Q_h . k_h(x_t) / sqrt(d_k))` weighs the values; there is no value and no output projection.
    """

    def __init__(self, width: int, n_head: int, d_k: int) -> None:
        super().__init__()
        _check_heads("the width of the attention", width, n_head)
        self.n_head, self.d_k = n_head, d_k
        self.Q = nn.Parameter(torch.empty(n_head, d_k))
        self.fc1_k = nn.Linear(width, n_head * d_k)
        self.dropout = nn.Dropout(ATTENTION_DROPOUT)
        for weight in (self.Q, self.fc1_k.weight):
            nn.init.normal_(weight, std=math.sqrt(2.0 / d_k))

    def forward(self, x: Tensor, padded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`x [n, t, width]`, `padded` bool `[n, t]` (True = not a date) -> `[n, width]`, attention `[head, n, t]`."""
        keys = rearrange(self.fc1_k(x), "n t (h k) -> n t h k", h=self.n_head)
        scores = torch.einsum("hk,nthk->hnt", self.Q, keys).float() / math.sqrt(self.d_k)
        if padded is not None:
            scores = scores.masked_fill(padded, PADDED_SCORE)
        attention = self.dropout(scores.softmax(dim=-1).to(x.dtype))
        values = rearrange(x, "n t (h c) -> n t h c", h=self.n_head)
        return torch.einsum("hnt,nthc->nhc", attention, values).flatten(1), attention


class LTAE2d(nn.Module):
    """L-TAE for image series: every pixel is one sequence, all share the weights.

    GroupNorm over the channels *and dates* of a pixel, projection to `d_model` (none where it is None),
    encoding of the days, master-query attention, `mlp` (Linear, BatchNorm, ReLU each), GroupNorm.

    Args:
        in_channels: channels of the input, a multiple of `n_head`.
        n_head: heads; `d_model` and the last width of `mlp` are multiples of it.
        d_k: width of keys and queries, per head.
        mlp: widths; the first is `d_model`, the last is the number of output channels.
        dropout: after `mlp`.
        d_model: width of the attention; None = `in_channels`, without projection.
        period: base of the sinusoidal encoding of the days.
        positional_encoding: whether the days are looked at.

    Raises:
        InputError: widths that do not fit together.
    """

    def __init__(
        self,
        in_channels: int = 128,
        n_head: int = 16,
        d_k: int = 4,
        mlp: Sequence[int] = (256, 128),
        dropout: float = 0.2,
        d_model: int | None = 256,
        period: float = 1000.0,
        positional_encoding: bool = True,
    ) -> None:
        super().__init__()
        width = in_channels if d_model is None else d_model
        _check_mlp(mlp, width)
        _check_heads("in_channels", in_channels, n_head)
        _check_heads("the last width of mlp", mlp[-1], n_head)
        self.n_head = n_head
        self.in_norm = nn.GroupNorm(n_head, in_channels)
        self.inconv = None if d_model is None else nn.Conv1d(in_channels, d_model, kernel_size=1)
        self.attention_heads = MasterQueryAttention(width, n_head, d_k)
        self.mlp = linear_stack(mlp)
        self.dropout = nn.Dropout(dropout)
        self.out_norm = nn.GroupNorm(n_head, mlp[-1])
        self.encoding = FixedTemporalEncoding(width // n_head, period) if positional_encoding else None

    def forward(self, x: Tensor, days: Tensor | None = None, padded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Image series -> one feature map, and how much each date weighed.

        Args:
            x: `[b, t, in_channels, h, w]`, no NaN.
            days: `[b, t]`, real numbers (may be negative); may be None only without positional encoding.
            padded: bool `[b, t]`, True where a date only fills up the batch, or None.

        Returns:
            `[b, mlp[-1], h, w]` and the attention `[n_head, b, t, h, w]`.

        Raises:
            InputError: `days` is missing.
        """
        b, _, _, h, w = x.shape
        pixels = self.in_norm(rearrange(x, "b t c h w -> (b h w) c t"))
        tokens = rearrange(pixels if self.inconv is None else self.inconv(pixels), "n c t -> n t c")
        if self.encoding is not None:
            encoded = self.encoding(_needed(days)).to(tokens.dtype)  # [b, t, width / n_head]
            tokens = tokens + repeat(encoded, "b t d -> (b p) t (head d)", p=h * w, head=self.n_head)
        per_pixel = None if padded is None else repeat(padded, "b t -> (b p) t", p=h * w)
        out, attention = self.attention_heads(tokens, per_pixel)
        out = self.out_norm(self.dropout(self.mlp(out)))
        return (
            rearrange(out, "(b h w) c -> b c h w", b=b, h=h),
            rearrange(attention, "head (b h w) t -> head b t h w", b=b, h=h),
        )


class LTAE(nn.Module):
    """L-TAE as first published: sequences of a fixed length and of fixed positions -> vectors.

    Args:
        in_channels, n_head, d_k, dropout, d_model, period: as in `LTAE2d`.
        n_neurons: widths of the perceptron; the first is `d_model`, the last is the output's.
        len_max_seq: number of dates of every sequence (the projection's norm has a weight per date).
        positions: the position of each date, or None: dates are numbered 1, 2, ...

    Raises:
        InputError: widths that do not fit together.
    """

    def __init__(
        self,
        in_channels: int = 128,
        n_head: int = 16,
        d_k: int = 8,
        n_neurons: Sequence[int] = (256, 128),
        dropout: float = 0.2,
        d_model: int | None = 256,
        period: float = 1000.0,
        len_max_seq: int = 24,
        positions: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        width = in_channels if d_model is None else d_model
        _check_mlp(n_neurons, width)
        self.first_row = 1 if positions is None else 0  # of the table; row 0 is unused where dates are numbered from 1
        self.inlayernorm = nn.LayerNorm(in_channels)
        self.dates, self.inconv = len_max_seq, None
        if d_model is not None:
            norm = nn.LayerNorm([d_model, len_max_seq])
            self.inconv = nn.Sequential(nn.Conv1d(in_channels, d_model, kernel_size=1), norm)
        self.attention_heads = MasterQueryAttention(width, n_head, d_k)
        days = torch.arange(len_max_seq + 1.0) if positions is None else torch.tensor(positions).float()
        table = FixedTemporalEncoding(width // n_head, period)(days).repeat(1, n_head)
        # never trained, but stored in the published state dicts
        self.position_enc = nn.Embedding(len(table), width, _weight=table, _freeze=True)
        self.mlp = linear_stack(n_neurons)
        self.dropout = nn.Dropout(dropout)
        self.outlayernorm = nn.LayerNorm(n_neurons[-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, t, in_channels]` -> `[n, n_neurons[-1]]` and the attention `[n_head, n, t]`.

        Raises:
            InputError: a number of dates that the network was not made for.
        """
        t, known = x.shape[1], self.position_enc.num_embeddings - self.first_row
        if t > known or (self.inconv is not None and t != self.dates):
            raise InputError(f"sequences of {t} dates, but this L-TAE was made for {self.dates}: give as many")
        x = self.inlayernorm(x)
        if self.inconv is not None:
            x = rearrange(self.inconv(rearrange(x, "n t c -> n c t")), "n c t -> n t c")
        x = x + self.position_enc.weight[self.first_row : self.first_row + t]
        out, attention = self.attention_heads(x)
        return self.outlayernorm(self.dropout(self.mlp(out))), attention


def linear_stack(widths: Sequence[int]) -> nn.Sequential:
    """Linear, BatchNorm and ReLU for every pair of widths: `[n, widths[0]]` -> `[n, widths[-1]]`."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
    return nn.Sequential(*layers)


def _needed(days: Tensor | None) -> Tensor:
    if days is None:
        raise InputError("this L-TAE encodes days: give `days` [b, t]")
    return days


def _check_mlp(widths: Sequence[int], width: int) -> None:
    if widths[0] != width:
        raise InputError(
            f"the perceptron begins with {widths[0]} channels, the attention gives {width}: make them equal"
        )


def _check_heads(what: str, width: int, n_head: int) -> None:
    if width % n_head:
        raise InputError(f"{what} is {width}, which {n_head} heads cannot share equally: give a multiple of {n_head}")
