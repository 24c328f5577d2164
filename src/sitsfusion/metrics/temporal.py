"""How well a date was informed: days to the closest input, densities, share of clear pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from sitsfusion.metrics.sums import Mean

TIME_SCALE = 10.0  # days, of the density


def closest_distance(days: Tensor, inputs: Tensor) -> Tensor:
    """Days to the closest of the inputs: min |day - d|.

    Args:
        days: `[q]` day numbers, integer or floating, any order.
        inputs: `[n]` day numbers since the same origin.

    Returns:
        float64 `[q]`, at least 0; NaN if there are no inputs.
    """
    if len(inputs) == 0:
        return torch.full(days.shape, torch.nan, dtype=torch.float64, device=days.device)
    return (days.double()[:, None] - inputs.double()[None, :]).abs().amin(1)


def density(distance: Tensor) -> Tensor:
    """exp(-(distance / 10 days)^2), in (0, 1], 1 at distance 0 (TAMRFSITS): `[q]` days -> `[q]`. NaN stays NaN."""
    return torch.exp(-(distance / TIME_SCALE).square())


def clear_rate(valid: Tensor) -> Mean:
    """Share of valid pixels in [0, 1]: bool `[... h w]` -> sums `[...]`."""
    pixels = torch.full(valid.shape[:-2], valid.shape[-2] * valid.shape[-1], device=valid.device)
    return Mean(valid.sum((-2, -1)).double(), pixels)
