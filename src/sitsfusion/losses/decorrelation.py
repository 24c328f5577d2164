"""Decorrelation: encoded tokens should have uncorrelated features of variance 1."""

from __future__ import annotations

import torch
from torch import Tensor

MIN_SAMPLES = 1000  # below, a covariance of some hundred features says nothing


def decorrelation(tokens: Tensor) -> Tensor | None:
    """Mean |cov(tokens) - I|, with the unbiased covariance over all axes but the last.

    `tokens [... d]` -> a scalar, in float32 at least; None for fewer than 1000 tokens.
    """
    samples = tokens.flatten(0, -2)  # [n d]
    if len(samples) < MIN_SAMPLES:
        return None
    samples = samples if samples.dtype == torch.float64 else samples.float()
    with torch.autocast(samples.device.type, enabled=False):
        centred = samples - samples.mean(0)
        covariance = centred.T @ centred / (len(samples) - 1)
        return (covariance - torch.eye(len(covariance)).to(covariance)).abs().mean()
