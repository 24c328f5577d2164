"""Random images for the tests of metrics."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sitsfusion.metrics.scoring import Pair
from sitsfusion.series import Series


def drawn(seed: int, *shape: int) -> Tensor:
    """Reflectances in 0.05 .. 0.55."""
    return 0.05 + 0.5 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def mask(seed: int, *shape: int, share: float = 0.8) -> Tensor:
    """Bool, about `share` of it True."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share


def pair(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    """A target and a prediction that resembles it."""
    target = drawn(seed, *shape)
    return target + 0.05 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed + 1)), target


def pairs(prediction: Series, target: Series) -> Iterator[Pair]:
    """The dates of two series `[1 t c h w]` of the same days."""
    assert torch.equal(prediction.days, target.days)
    for t, day in enumerate(target.days[0].tolist()):
        valid, said = (None if s.valid is None else s.valid[0, t] for s in (target, prediction))
        yield Pair(day, prediction.values[0, t], target.values[0, t], valid, said)
