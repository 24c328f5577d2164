"""Residual compensation in time: what the observations say beyond a prediction is spread to other days.

A network predicts at the days of its input images too. What is left there, observation minus prediction, is a
measured error of the prediction; it changes slowly, so it also corrects the prediction on days near by:

    correction(q) = sum_i k(|q - t_i|) r_i / (shrink + sum_i k(|q - t_i|)),   i over the clear observations of a pixel
    k(lag) = exp(-lag / decay) + TAIL / (1 + lag / decay)

This is kernel regression towards zero (Nadaraya 1964; Watson 1964): near observations are averaged, which lowers their
noise; far from any observation the prediction stands alone. With a constant prediction it is a smoother of the series.
The residual of a coarse or blurred band is taken through its optics, so that only what the sensor can see is corrected
(the principle of residual compensation in spatiotemporal fusion, e.g. Zhu et al. 2016, FSDAF).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sitsfusion.errors import InputError

TAIL = 0.02
"""Weight of the slow part of the kernel: it makes the nearest observation count where all are far."""


def spread_residuals(
    residuals: Tensor, valid: Tensor, days: Tensor, targets: Tensor, decay: float, shrink: float
) -> Tensor:
    """Corrections at the target days: `[q c h w]`, 0 where a pixel has no clear observation.

    Differentiable in `residuals`. What is stored where `valid` is False is never read.

    Args:
        residuals: `[t c h w]`, any unit; t may be 0.
        valid: bool `[t c h w]`, True = clear; 1 for c where it is the same for all bands.
        days: `[t]`, in any order.
        targets: `[q]`.
        decay: days after which the weight of an observation has fallen to 1/e.
        shrink: weight of the prediction itself, in observations of the same day.

    Raises:
        InputError: `decay` or `shrink` is not positive, or shapes disagree.
    """
    if not (decay > 0 and shrink > 0):
        raise InputError(f"decay {decay} and shrink {shrink} must be positive")
    if residuals.shape[:1] != days.shape or valid.shape[::2] != residuals.shape[::2] or valid.ndim != 4:
        raise InputError(
            f"residuals {tuple(residuals.shape)}, valid {tuple(valid.shape)} and days {tuple(days.shape)} disagree: "
            "expected [t c h w], [t c or 1 h w], [t]"
        )
    weights = kernel(targets, days, decay).to(residuals)  # [q t]
    total = torch.einsum("qt,tchw->qchw", weights, residuals.masked_fill(~valid, 0.0))
    seen = torch.einsum("qt,tchw->qchw", weights, valid.to(residuals.dtype))
    return total / (seen + shrink)


def kernel(targets: Tensor, days: Tensor, decay: float) -> Tensor:
    """Weights of observations for targets: `[q]`, `[t]` -> float32 `[q t]`, at most 1 + TAIL."""
    lag = (targets[:, None] - days[None, :]).abs().float() / decay
    return torch.exp(-lag) + TAIL / (1.0 + lag)
