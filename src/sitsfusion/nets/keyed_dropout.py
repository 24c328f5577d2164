"""Dropout whose draws depend on absolute positions, so that Monte-Carlo passes do not depend on tiles."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MASK = 0xFFFFFFFF


class KeyedDropout(nn.Module):
    """Dropout with probability `p`, as `nn.Dropout`; with `place` set, also in evaluation mode and reproducible.

    `place` is (key, row, column): what the draws are for, and where the map's first pixel lies in the whole image.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.place: tuple[int, int, int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` -> the same shape; what is kept grows by 1 / (1 - p)."""
        if self.place is None:
            return F.dropout(x, self.p, self.training)
        key, row, col = self.place
        rows = torch.arange(row, row + x.shape[-2], device=x.device)
        cols = torch.arange(col, col + x.shape[-1], device=x.device)
        out = torch.empty_like(x)
        for c in range(x.shape[1]):  # a hash of all channels at once would be far larger than the map
            keep = uniform(key, c, rows, cols) >= self.p
            out[:, c] = torch.where(keep, x[:, c] / (1 - self.p), 0)
        return out


def uniform(key: int, channel: int, rows: Tensor, cols: Tensor) -> Tensor:
    """float32 `[rows, cols]` in [0, 1), a function of the key, the channel and the position alone."""
    start = torch.tensor([(key * 0x9E3779B1 + channel * 0x85EBCA77) & _MASK], device=rows.device)
    # a product of two numbers below 2^32 overflows 64 bits, but its last 32 bits are right
    h = _mix(start ^ _mix(rows * 0xC2B2AE3D & _MASK))[:, None] ^ _mix(cols * 0x27D4EB2F & _MASK)[None]
    return (_mix(h) >> 8).float() / 2**24


def _mix(h: Tensor) -> Tensor:
    """The finaliser of MurmurHash3 (public domain), on 32 bits held in 64."""
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & _MASK
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & _MASK
    return h ^ (h >> 16)
