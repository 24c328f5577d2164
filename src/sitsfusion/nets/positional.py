"""Temporal positional encodings: a day number becomes a vector.

Days are real numbers (an integer count from an origin, possibly negative, fractional or beyond
365); the encodings are continuous in them. Angles are radians.

The fixed encoding is the sinusoidal one of Vaswani et al. 2017, "Attention Is All You Need",
section 3.5, with a configurable base `div`; the learnable one is Time2Vec (Kazemi et al. 2019).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Mode = Literal["add", "concat", "yield"]


class FixedTemporalEncoding(nn.Module):
    """Sines (even features) and cosines (odd features) of the day; no parameters.

    For feature i: `e_i = 2 * floor((i + offset) / 2) / features`, `angle_i = day / div ** e_i`.
    """

    def __init__(self, features: int, div: float = 1000.0, offset: int = 0) -> None:
        super().__init__()
        self.features, self.div, self.offset = features, div, offset

    def forward(self, days: Tensor) -> Tensor:
        """Days of any shape and dtype -> float32 `[..., features]`, whatever the dtype of the network."""
        # float32 and not better: published weights were trained on the rounding of its angles (1e-5 beyond a year).
        i = torch.arange(self.features, device=days.device)
        exponent = 2 * ((i + self.offset) // 2).float() / self.features  # [features]
        angle = days.float()[..., None] / self.div**exponent  # [..., features]
        return torch.where(i % 2 == 0, angle.sin(), angle.cos())


class LearnableTemporalEncoding(nn.Module):
    """One learnt linear function of the day, then `features - 1` sines of learnt linear functions."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.linear = nn.Linear(1, 1)
        self.periodic = nn.Linear(1, features - 1)

    def forward(self, days: Tensor) -> Tensor:
        """Days of any shape and dtype -> `[..., features]`, in the dtype of the weights."""
        day = days.to(self.linear.weight.dtype)[..., None]  # [..., 1]
        return torch.cat([self.linear(day), self.periodic(day).sin()], dim=-1)


def combine(features: Tensor, encoding: Tensor, mode: Mode) -> Tensor:
    """Join features and the encoding of their days along the last axis, in the dtype of the features.

    Args:
        features: `[..., c]`.
        encoding: `[..., n]`, broadcast against the features' leading axes.
        mode: "add" (c must equal n) -> `[..., c]`; "concat", features first -> `[..., c + n]`;
            "yield", the encoding alone -> `[..., n]`.
    """
    leading = torch.broadcast_shapes(features.shape[:-1], encoding.shape[:-1])  # type: ignore[no-untyped-call]
    encoding = encoding.to(features.dtype).expand(*leading, -1)
    if mode == "add":
        return features + encoding
    if mode == "concat":
        return torch.cat([features.expand(*leading, -1), encoding], dim=-1)
    return encoding
