"""Physical units at the network's border: per band an affine map, an optional clip, a fill for the unobserved."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sitsfusion.weights.config import SensorInput


def standardise(physical: Tensor, bands: SensorInput) -> Tensor:
    """Physical values [..., c, h, w] (reflectance, kelvin; NaN where never observed) to network units, float32.

    `(clip(physical * scale) - mean) / std`, and `(fill - mean) / std` where NaN. c follows `bands`.
    """
    scale, mean, std = (_column([getattr(b, name) for b in bands.bands], physical) for name in ("scale", "mean", "std"))
    scaled = physical.float() * scale
    if bands.clip is not None:
        scaled = scaled.clamp(*bands.clip)
    fill = _column([bands.fill if b.fill is None else b.fill for b in bands.bands], physical)
    return (torch.where(scaled.isnan(), fill, scaled) - mean) / std


def physical(standardised: Tensor, bands: SensorInput, channels: Sequence[int]) -> Tensor:
    """Network units [..., k, h, w] of some channels of a sensor back to physical values, float32."""
    chosen = [bands.bands[i] for i in channels]
    scale, mean, std = (_column([getattr(b, name) for b in chosen], standardised) for name in ("scale", "mean", "std"))
    return (standardised.float() * std + mean) / scale


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)[:, None, None]
