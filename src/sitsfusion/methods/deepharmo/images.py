"""From Landsat images to what a Deep-Harmonization network takes: everything on the 10 m grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def onto(x: Tensor, size: tuple[int, int]) -> Tensor:
    """`[n, c, h, w]` resized to `size` (bicubic, a = -0.75, no antialiasing); of that size it is given back."""
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bicubic", align_corners=False)


def network_images(ms: Tensor, pan: Tensor, size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    """Multispectral `[n, 6, h, w]` and panchromatic `[n, 1, h', w']` images of one extent, both at `size`.

    The default is three times the multispectral size: 10 m for 30 m.
    """
    found = size or (3 * ms.shape[-2], 3 * ms.shape[-1])
    return onto(ms, found), onto(pan, found)


def stacked(ms: Tensor, pan: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """The seven channels of `network_images` as one tensor."""
    return torch.cat(network_images(ms, pan, size), dim=1)
