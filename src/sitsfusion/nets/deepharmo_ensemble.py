"""Mean and spread of several networks, or of several passes of one, without keeping them all in memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sitsfusion.errors import InputError


def mean_and_variance(predictions: Iterable[Tensor], weights: Iterable[float] | None = None) -> tuple[Tensor, Tensor]:
    """Weighted mean, and unbiased sample variance, of tensors of one shape, seen one at a time.

    Args:
        predictions: at least one; may be a generator that runs one network after another.
        weights: how often each prediction counts (None: once each). A weight of 2 is the same prediction given twice,
            also in the variance's divisor (sum of weights - 1).

    Returns:
        mean, variance; the variance is 0 where nothing can vary (a sum of weights of 1).

    Raises:
        InputError: nothing to average, or not as many weights as predictions.
    """
    total, mean, squares = 0.0, None, None
    pairs = zip(predictions, weights, strict=True) if weights is not None else ((p, 1.0) for p in predictions)
    for prediction, weight in pairs:
        if mean is None or squares is None:
            mean, squares = torch.zeros_like(prediction), torch.zeros_like(prediction)
        total += weight
        step = prediction - mean  # West 1979: stable for many passes
        mean = mean + step * (weight / total)
        squares = squares + weight * step * (prediction - mean)
    if mean is None or squares is None:
        raise InputError("an ensemble needs at least one prediction")
    return mean, squares / (total - 1) if total > 1 else torch.zeros_like(mean)
