"""Triplet loss: a prediction under a cloud must look like the clear image nearby, not like the cloud."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-6  # keeps distances from being 0, as in the published loss


def triplet(
    prediction: Tensor, target: Tensor, valid: Tensor, days: Tensor, max_days: float = 20, margin: float = 1e-5
) -> Tensor | None:
    """Mean of `max(0, d(a, p) - d(a, n) + margin)` over cloudy pixels and bands.

    For each pixel that is not valid at a date: a is the prediction, n what the image shows (the cloud), p the image
    of the nearest date that is valid there (of equally near ones the first). d(x, y) = |x - y + 1e-6|, and d(a, n) is
    replaced by d(p, n) where that is smaller (swap; Balntas et al. 2016). Pixels without a valid date less than
    `max_days` away are left out, and so are those whose stored value is not finite.

    Args:
        prediction: `[t c h w]`, standardised.
        target: same shape and unit; here values that are not valid are used, as what to keep away from.
        valid: bool `[t h w]`.
        days: `[t]`.
        max_days: exclusive.
        margin: of the loss, in standard deviations.

    Returns:
        A scalar, or None if no pixel is left.
    """
    losses = [_of_date(i, prediction, target, valid, days, max_days, margin) for i in range(len(days))]
    samples = sum(loss.numel() for loss in losses)
    if samples == 0:
        return None
    return torch.stack([loss.sum() for loss in losses]).sum() / samples


def _of_date(
    i: int, prediction: Tensor, target: Tensor, valid: Tensor, days: Tensor, max_days: float, margin: float
) -> Tensor:
    """Losses of the cloudy pixels of date i: `[c n]`."""
    distance = (days - days[i]).abs()
    nearest_first = torch.argsort(distance, stable=True)
    near = nearest_first[distance[nearest_first] < max_days]  # [k]
    clear = valid[near]  # [k h w]
    kept = clear.any(0) & ~valid[i] & target[i].isfinite().all(0)  # [h w]
    rows, columns = kept.nonzero(as_tuple=True)  # [n]
    date = near[clear.to(torch.uint8).argmax(0)[rows, columns]]  # [n]: argmax is the first, so the nearest
    positive = target[date, :, rows, columns].T  # [c n]
    negative, anchor = target[i][:, rows, columns], prediction[i][:, rows, columns]
    to_positive = (anchor - positive + EPSILON).abs()
    to_negative = torch.minimum((anchor - negative + EPSILON).abs(), (positive - negative + EPSILON).abs())
    return (to_positive - to_negative + margin).clamp(min=0)
