"""The published average of STFDiff's weights: once per epoch, with a rule that begins by copying."""

from __future__ import annotations

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

_CEILING, _COPIES, _POWER = 0.995, 100, 2 / 3


def decay(update: int) -> float:
    """Weight of what was averaged so far at update number `update` (from 1): 0 copies the network's weights."""
    done = update - 1
    if done <= _COPIES:
        return 0.0
    return float(min(_CEILING, max(0.0, 1 - (1 + (done - _COPIES)) ** -_POWER)))


def averaged(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
    """The next average; `updates` counts those before. What is no real number (counters) is copied."""
    if not average.is_floating_point():
        return current
    return torch.lerp(current, average, decay(int(updates) + 1))


class EpochAverage(WeightAveraging):
    """Averages at the end of every epoch; what is validated and exported is the average."""

    def __init__(self) -> None:
        super().__init__(avg_fn=averaged, use_buffers=True)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """At the end of epochs only."""
        return epoch_idx is not None
