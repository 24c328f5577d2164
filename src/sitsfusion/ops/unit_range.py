"""Reflectance as networks for photographs take it: clipped per band, in [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_unit_range(reflectance: Tensor, maxima: Sequence[float]) -> Tensor:
    """Reflectance clipped to 0 .. the maximum of its band, as -1 .. 1: `[... c h w]`, a maximum per band; NaN stays."""
    most = torch.tensor(maxima, dtype=reflectance.dtype, device=reflectance.device)[:, None, None]
    return 2 * torch.minimum(reflectance.clamp(min=0), most) / most - 1


def from_unit_range(values: Tensor, maxima: Sequence[float]) -> Tensor:
    """Reflectance of values in about [-1, 1]: the inverse of `to_unit_range`, without clipping."""
    return (values + 1) / 2 * torch.tensor(maxima, dtype=values.dtype, device=values.device)[:, None, None]
