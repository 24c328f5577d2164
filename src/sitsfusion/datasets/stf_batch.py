"""What deep spatiotemporal fusion is trained on: a batch of image pairs with their targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class StfBatch:
    """Images of one size on the fine grid, in network units, without NaN.

    Attributes:
        coarse_ref, fine_ref: the pair of the reference date `[n b h w]`.
        coarse: of the wanted date.
        target: the fine image of the wanted date.
        valid: where all four were observed, bool `[n h w]`; None: everywhere.
    """

    coarse_ref: Tensor
    fine_ref: Tensor
    coarse: Tensor
    target: Tensor
    valid: Tensor | None = None

    @property
    def images(self) -> tuple[Tensor, Tensor, Tensor]:
        """What a network is shown: coarse reference, fine reference, coarse wanted."""
        return self.coarse_ref, self.fine_ref, self.coarse

    def compared(self, prediction: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction and target, equal where a gap forbids a comparison."""
        return only_valid(prediction, self.target, self.valid)

    def to(self, device: torch.device | str, **options: Any) -> StfBatch:
        """A copy on another device."""

        def moved(x: Tensor) -> Tensor:
            return x.to(device, **options)

        valid = None if self.valid is None else moved(self.valid)
        coarse_ref, fine_ref, coarse = (moved(x) for x in self.images)
        return StfBatch(coarse_ref, fine_ref, coarse, moved(self.target), valid)

    def __len__(self) -> int:
        return len(self.target)


def stacked(samples: Sequence[StfBatch]) -> StfBatch:
    """Samples to one batch; a sample without a mask is observed everywhere."""
    images = {f.name: torch.cat([getattr(s, f.name) for s in samples]) for f in fields(StfBatch) if f.name != "valid"}
    if all(s.valid is None for s in samples):
        return StfBatch(**images)
    masks = [torch.ones_like(s.target[:, 0], dtype=torch.bool) if s.valid is None else s.valid for s in samples]
    return StfBatch(**images, valid=torch.cat(masks))


def only_valid(prediction: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Prediction and target `[n b h w]` that agree where `valid [n h w]` is False: no error, and no gradient, there."""
    if valid is None:
        return prediction, target
    target = torch.where(valid[:, None], target, target.nan_to_num(0.0))
    return torch.where(valid[:, None], prediction, target), target
