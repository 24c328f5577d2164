"""The coarse lattice under a fine image: blocks of `ratio x ratio` fine pixels, counted from the scene's first pixel.

The last block of a row or column may be cut short by the end of the scene. NaN = not usable.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.methods.stf_classical.windows import mirrored


def block_means(image: Tensor, ratio: int) -> Tensor:
    """Means of the usable pixels of each block: `[b h w]` -> `[b ceil(h / ratio) ceil(w / ratio)]`; NaN if none is."""
    if ratio == 1:
        return image
    height, width = image.shape[-2:]
    whole = F.pad(image, (0, -width % ratio, 0, -height % ratio), value=torch.nan)
    return rearrange(whole, "b (h i) (w j) -> b h w (i j)", i=ratio, j=ratio).nanmean(-1)


def spread(blocks: Tensor, ratio: int, like: Tensor) -> Tensor:
    """Each block's value at all its pixels: `[b h' w']` -> `[b h w]`, the size of `like`."""
    fine = blocks.repeat_interleave(ratio, -2).repeat_interleave(ratio, -1)
    return fine[..., : like.shape[-2], : like.shape[-1]]


def local_regression(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope, offset and residual [b h w] of second ~ slope first + offset over 3 x 3 pixels, mirrored at the border.

    Pixels that are not usable in both images are left out; where the first image is constant the slope is 1.
    """
    usable = (first + second).isfinite()
    x, y = (_nine(image.masked_fill(~usable, torch.nan).double()) for image in (first, second))  # [9 b h w]
    mean_x, mean_y = x.nanmean(0), y.nanmean(0)
    dx, dy = x - mean_x, y - mean_y
    variance = dx.square().nansum(0)
    slope = torch.where(variance > 0, (dx * dy).nansum(0) / variance, 1.0).masked_fill(~usable, torch.nan).to(first)
    offset = (mean_y - slope * mean_x).to(first)
    return slope, offset, second - (slope * first + offset)


def _nine(image: Tensor) -> Tensor:
    whole, (height, width) = mirrored(image, 1, 1), image.shape[-2:]
    return torch.stack([whole[..., i : i + height, j : j + width] for i in range(3) for j in range(3)])
