"""SwinSTFM: Swin encoders of both sensors, and a decoder that unmixes the coarse change with cross-attention.

Chen et al. 2022, "SwinSTFM: remote sensing spatiotemporal fusion using Swin transformer", IEEE TGRS 60.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sitsfusion.errors import InputError

from .windows import PositionBias, Windows, with_mask

Attention = Literal["corrected", "published"]
_HEAD = 32  # channels of a head
_FLOOR = 1e-6
_DEPTHS = (2, 2, 6, 2)


class Mlp(nn.Module):
    """Two linear layers of the same width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[... c]` -> the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class SelfAttention(PositionBias):
    """Attention among the tokens of a window."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(side, channels // _HEAD)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`[windows tokens c]` -> the same shape."""
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, d=_HEAD)
        # Plain, not torch's fused attention: as fast for 64 tokens, and its rounding is that of published figures.
        weights = (q * _HEAD**-0.5 @ k.mT + with_mask(self.bias(), mask, len(x)).to(q)).softmax(-1)
        return self.proj(rearrange(weights @ v, "b h n d -> b n (h d)"))  # type: ignore[no-any-return]


class CrossAttention(PositionBias):
    """Attention of the change, from two sets of queries and keys whose weights are multiplied.

    `published` keeps two slips of the published code, which published weights need: without a shift, weights are
    normalised over the queries instead of the keys; and heads are merged in the wrong order, which mixes windows and
    the images of a batch. "corrected" does neither.
    """

    def __init__(self, channels: int, side: int, attention: Attention) -> None:
        super().__init__(side, channels // _HEAD)
        self.attention = attention
        self.q, self.k, self.q2, self.k2, self.v, self.proj = (nn.Linear(channels, channels) for _ in range(6))

    def forward(self, change: Tensor, coarse_ref: Tensor, fine: Tensor, coarse: Tensor, mask: Tensor | None) -> Tensor:
        """Four `[windows tokens c]` -> one."""
        bias = with_mask(self.bias(), mask, len(change))
        weights = self._weights(self.q(coarse_ref), self.k(fine), bias)
        weights = weights * self._weights(self.q2(coarse_ref), self.k2(coarse), bias) + _FLOOR
        over_queries = self.attention == "published" and mask is None
        weights = weights / weights.sum(-2 if over_queries else -1, keepdim=True)
        attended = weights @ _heads(self.v(change))  # [b h n d]
        if self.attention == "published":
            merged = rearrange(attended, "b h n d -> h b n d").reshape(change.shape)
        else:
            merged = rearrange(attended, "b h n d -> b n (h d)")
        return self.proj(merged)  # type: ignore[no-any-return]

    def _weights(self, q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
        logits = _heads(q) * _HEAD**-0.5 @ _heads(k).mT + bias.to(q)
        return logits.softmax(-1)  # type: ignore[no-any-return]


def _heads(x: Tensor) -> Tensor:
    return rearrange(x, "b n (h d) -> b h n d", d=_HEAD)


class SwinBlock(nn.Module):
    """Self-attention and MLP, each with its normalisation and its skip; over windows `[n tokens c]`."""

    attn_mask: Tensor | None

    def __init__(self, channels: int, windows: Windows) -> None:
        super().__init__()
        self.windows = windows
        self.norm1 = nn.LayerNorm(channels)
        self.attn = SelfAttention(channels, windows.side)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)
        self.register_buffer("attn_mask", windows.mask(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `[n (h w) c]` -> the same shape."""
        x = x + self.windows.join(self.attn(self.windows.cut(self.norm1(x)), self.attn_mask))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class CrossBlock(nn.Module):
    """As `SwinBlock`, with cross-attention."""

    attn_mask: Tensor | None

    def __init__(self, channels: int, windows: Windows, attention: Attention) -> None:
        super().__init__()
        self.windows = windows
        self.norm1 = nn.LayerNorm(channels)
        self.attn = CrossAttention(channels, windows.side, attention)
        self.norm3 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)
        self.register_buffer("attn_mask", windows.mask(), persistent=False)

    def forward(self, change: Tensor, coarse_ref: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
        """Tokens `[n (h w) c]` each -> the same shape."""
        cut = [self.windows.cut(x) for x in (self.norm1(change), coarse_ref, fine, coarse)]
        x = change + self.windows.join(self.attn(*cut, self.attn_mask))
        return x + self.mlp(self.norm3(x))  # type: ignore[no-any-return]


class SwinLayer(nn.Module):
    """Blocks, every other one with shifted windows."""

    def __init__(self, channels: int, size: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(SwinBlock(channels, Windows.of(size, bool(k % 2))) for k in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `[n (h w) c]` -> the same shape."""
        return self.blocks(x)  # type: ignore[no-any-return]


class CrossLayer(nn.Module):
    """Cross blocks that update the change; the three other streams are normalised once and stay."""

    def __init__(self, channels: int, size: int, depth: int, attention: Attention) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        windows = [Windows.of(size, bool(k % 2)) for k in range(depth)]
        self.blocks = nn.ModuleList(CrossBlock(channels, w, attention) for w in windows)

    def forward(self, change: Tensor, coarse_ref: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
        """Tokens `[n (h w) c]` each -> the same shape."""
        coarse_ref, fine, coarse = self.norm1(coarse_ref), self.norm2(fine), self.norm3(coarse)
        for block in self.blocks:
            change = block(change, coarse_ref, fine, coarse)
        return change


class PatchEmbed(nn.Module):
    """2 x 2 pixels become a token."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(bands, width, 2, 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """`[n b h w]` -> `[n (h/2 w/2) width]`."""
        return self.norm(rearrange(self.proj(x), "n c h w -> n (h w) c"))  # type: ignore[no-any-return]


class PatchMerging(nn.Module):
    """2 x 2 tokens become one."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.norm = nn.LayerNorm(4 * inputs)
        self.reduction = nn.Linear(4 * inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[n (h w) inputs]` -> `[n (h/2 w/2) outputs]`."""
        # Neighbours in the order (even row, even column), (odd, even), (even, odd), (odd, odd).
        x = rearrange(x, "n (h i w j) c -> n (h w) (j i c)", h=self.size // 2, w=self.size // 2, i=2)
        return self.reduction(self.norm(x))  # type: ignore[no-any-return]


class Down(nn.Module):
    """A Swin layer, then half the size."""

    def __init__(self, inputs: int, outputs: int, size: int, depth: int) -> None:
        super().__init__()
        self.layer = SwinLayer(inputs, size, depth)
        self.downsample = PatchMerging(inputs, outputs, size)

    def forward(self, x: Tensor) -> Tensor:
        """`[n (h w) inputs]` -> `[n (h/2 w/2) outputs]`."""
        return self.downsample(self.layer(x))  # type: ignore[no-any-return]


class SwinEncoder(nn.Module):
    """Tokens at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size, of 1, 2, 4, 8 and 8 widths of channels."""

    def __init__(self, bands: int, size: int, width: int) -> None:
        super().__init__()
        self.inc = PatchEmbed(bands, width)
        widths = (*(width * 2**k for k in range(4)), width * 8)
        for k, depth in enumerate(_DEPTHS):
            setattr(self, f"down{k + 1}", Down(widths[k], widths[k + 1], size // 2 ** (k + 1), depth))

    def forward(self, x: Tensor) -> list[Tensor]:
        """`[n b h w]` -> five `[n tokens c]`."""
        levels = [self.inc(x)]
        for k in range(1, 5):
            levels.append(getattr(self, f"down{k}")(levels[-1]))
        return levels


class Up(nn.Module):
    """One level of the decoder."""

    def __init__(self, channels: int, outputs: int, size: int, depth: int, attention: Attention) -> None:
        super().__init__()
        self.size = size
        self.up = nn.Sequential(nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2))
        self.layer = CrossLayer(channels, size, 2, attention)
        self.proj1 = nn.Linear(3 * channels, outputs)
        self.layer2 = SwinLayer(outputs, size, depth)

    def forward(self, below: Tensor, change: Tensor, coarse_ref: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
        """The result of the level below `[n (h/2 w/2) c]` and four `[n (h w) c]` -> `[n (h w) outputs]`."""
        image = self.up(rearrange(below, "n (h w) c -> n c h w", h=self.size // 2))
        detail = self.layer(change, coarse_ref, fine, coarse) + fine
        joined = torch.cat([coarse, detail, rearrange(image, "n c h w -> n (h w) c")], -1)
        return self.layer2(self.proj1(joined))  # type: ignore[no-any-return]


class SwinDecoder(nn.Module):
    """From the levels of three images to the fine image."""

    def __init__(self, bands: int, size: int, width: int, attention: Attention) -> None:
        super().__init__()
        self.size = size
        self.layer = CrossLayer(8 * width, size // 32, 1, attention)
        widths = (8 * width, 4 * width, 2 * width, width, width)
        for k, depth in enumerate((2, 6, 2, 2)):
            setattr(self, f"up{k + 1}", Up(widths[k], widths[k + 1], size // 2 ** (4 - k), depth, attention))
        shuffle = nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2)
        self.outc = nn.Sequential(*shuffle, nn.Conv2d(width, bands, 3, padding=1), nn.Tanh())

    def forward(self, coarse_ref: list[Tensor], fine: list[Tensor], coarse: list[Tensor]) -> Tensor:
        """Five levels each -> `[n b h w]` in (-1, 1)."""
        streams = [(c - r, r, f, c) for r, f, c in zip(coarse_ref, fine, coarse, strict=True)]
        z = self.layer(*streams[4]) + fine[4]
        for k in range(1, 5):
            z = getattr(self, f"up{k}")(z, *streams[4 - k])
        return self.outc(rearrange(z, "n (h w) c -> n c h w", h=self.size // 2))  # type: ignore[no-any-return]


class SwinStfm(nn.Module):
    """Images of exactly `size` x `size` pixels; outputs in (-1, 1). `width` channels at half the
    size, a multiple of 32.

    With `attention="published"`, predict one image at a time: those of a batch influence each other.

    Raises:
        InputError: a size that is no multiple of 32, or makes maps that windows of 8 do not divide.
    """

    def __init__(self, bands: int, size: int = 256, attention: Attention = "corrected", width: int = 64) -> None:
        super().__init__()
        sides = [size // 2**k for k in range(1, 6)]
        if size < 32 or size % 32 or any(s > 8 and s % 8 for s in sides):
            raise InputError(
                f"SwinSTFM cannot take images of {size} pixels a side: it needs 32, 64, 128 or a multiple of 256"
            )
        self.size = size
        self.coarse_down = SwinEncoder(bands, size, width)
        self.fine_down = SwinEncoder(bands, size, width)
        self.fine_up = SwinDecoder(bands, size, width, attention)

    def forward(self, coarse_ref: Tensor, fine_ref: Tensor, coarse: Tensor) -> Tensor:
        """Images `[n b size size]` -> `[n b size size]`."""
        return self.fine_up(self.coarse_down(coarse_ref), self.fine_down(fine_ref), self.coarse_down(coarse))  # type: ignore[no-any-return]
