"""`Sample`: what a network is trained on, both series of one place and, where it is known, the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sitsfusion.errors import InputError
from sitsfusion.series import Series, collate


@dataclass(frozen=True, eq=False)
class Sample:
    """The series of both sensors over the same places, a batch of them.

    Attributes:
        lr: the coarse series `[b t c h w]`, physical units (reflectance, kelvin), NaN where never observed.
        hr: the fine series `[b t c H W]`, same units; H and W are a whole number of times h and w.
        truth: noise-free images of the LR bands and of the HR bands, both **on the fine grid**, each at its own days;
            None where the truth is not known.

    Days of all series count from one origin. `valid` is True where a pixel may be used.

    Raises:
        InputError: series of different batch sizes.
    """

    lr: Series
    hr: Series
    truth: tuple[Series, Series] | None = None

    def __post_init__(self) -> None:
        sizes = [series.values.shape[0] for series in (self.lr, self.hr, *(self.truth or ()))]
        if len(set(sizes)) > 1:
            raise InputError(f"the series of a Sample must have one batch size, found {sizes} (LR, HR, truths)")

    def __len__(self) -> int:
        """Number of places."""
        return self.lr.values.shape[0]

    def to(self, device: torch.device | str) -> Sample:
        """The sample on another device."""
        truth = None if self.truth is None else (self.truth[0].to(device), self.truth[1].to(device))
        return Sample(self.lr.to(device), self.hr.to(device), truth)


def collate_samples(samples: Sequence[Sample]) -> Sample:
    """One batch of several samples; dates are padded to the longest series (`series.collate`).

    Raises:
        InputError: no sample, or truth in some of them only.
    """
    if not samples:
        raise InputError("collate_samples needs at least one sample, found none")
    truths = [sample.truth for sample in samples if sample.truth is not None]
    if truths and len(truths) < len(samples):
        raise InputError(f"{len(truths)} of {len(samples)} samples have a truth: all of a batch must, or none")
    truth = (collate([lr for lr, _ in truths]), collate([hr for _, hr in truths])) if truths else None
    return Sample(collate([s.lr for s in samples]), collate([s.hr for s in samples]), truth)
