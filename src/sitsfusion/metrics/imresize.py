"""Bicubic resizing with antialiasing, as MATLAB's imresize does it.

Keys' kernel with a = -0.5, widened by 1 / scale when shrinking; the image is mirrored at its borders, the edge pixel
repeated. `ops.resample.bicubic` is another thing: a = -0.75, replicated borders, no antialiasing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sitsfusion.errors import InputError


def imresize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resized images: `[... h w]` floating -> `[... size]`, same dtype and unit, neither clipped nor rounded.

    Rows come first. NaN spreads to every output pixel whose kernel reaches it.

    Raises:
        InputError: a size or an image without pixels.
    """
    if min(*size, *x.shape[-2:]) < 1:
        raise InputError(f"images of {tuple(x.shape[-2:])} pixels cannot be resized to {size}: sides must be positive")
    rows = _along_rows(x, size[0])
    return _along_rows(rows.transpose(-2, -1), size[1]).transpose(-2, -1)


def _along_rows(x: Tensor, count: int) -> Tensor:
    samples, weights = _taps(x.shape[-2], count)
    samples, weights = samples.to(x.device), weights.to(x)
    out = x.new_zeros(*x.shape[:-2], count, x.shape[-1])
    for k in range(samples.shape[1]):  # a few taps; a gather of all at once would hold that many images
        out.addcmul_(x.index_select(-2, samples[:, k]), weights[:, k, None])
    return out


def _taps(side: int, count: int) -> tuple[Tensor, Tensor]:
    """Position of the samples, mirrored into the image, and their weights: `[count k]` each."""
    scale = count / side
    shrink = min(scale, 1.0)
    support = math.ceil(4 / shrink) + 2
    centre = (torch.arange(count, dtype=torch.float64) + 0.5) / scale - 0.5
    first = centre.floor().long() - support // 2 + 1
    samples = first[:, None] + torch.arange(support)  # [count k]
    weights = _cubic((centre[:, None] - samples) * shrink)
    folded = samples.remainder(2 * side)
    return torch.minimum(folded, 2 * side - 1 - folded), weights / weights.sum(1, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    x = x.abs()
    near = (1.5 * x - 2.5) * x.square() + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
