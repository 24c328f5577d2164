"""Random images for the tests of metrics."""

from __future__ import annotations

import torch
from torch import Tensor


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
