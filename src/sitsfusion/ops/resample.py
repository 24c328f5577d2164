"""Resampling of images and masks by a factor.

A factor is the ratio of output to input pixel size: 3 makes pixels three times larger (downsampling by 3),
1/3 makes three of one (upsampling by 3). Grids share their outer upper left corner (`align_corners` False), and
the output has floor(side / factor) pixels. Nothing here filters before downsampling: see `sitsfusion.ops.mtf`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import InputError


def bicubic(x: Tensor, factor: float) -> Tensor:
    """Cubic convolution (Keys 1981, a = -0.75), edge pixels replicated, no antialiasing.

    `x [... h w]` -> `[... floor(h / factor) floor(w / factor)]`, same dtype and unit. Integers and half precision
    are computed in float32 and cast back (integers truncated). NaN spreads to the pixels within the 4 x 4
    neighbourhood. Downsampling by an odd integer picks the centre pixel of each block exactly.

    Raises:
        InputError: `factor` <= 0, or so large that no pixel is left.
    """
    return _interpolate(x, factor, "bicubic")


def bilinear(x: Tensor, factor: float) -> Tensor:
    """Linear interpolation along both axes, otherwise as `bicubic` (NaN spreads within 2 x 2)."""
    return _interpolate(x, factor, "bilinear")


def nearest(x: Tensor, factor: float) -> Tensor:
    """Nearest neighbour of any dtype, bool included: output pixel i is input pixel floor(i * factor).

    `x [... h w]` -> the size that `bicubic` gives. This is how masks follow their image.

    Raises:
        InputError: as `bicubic`.
    """
    h, w = _output_size(x, factor)
    rows = _nearest_indices(h, x.shape[-2], factor).to(x.device)
    columns = _nearest_indices(w, x.shape[-1], factor).to(x.device)
    return x.index_select(-2, rows).index_select(-1, columns)


def _nearest_indices(count: int, side: int, factor: float) -> Tensor:
    # The small term keeps i * (1/n) from falling below the whole number that it stands for.
    return torch.tensor([min(math.floor(i * factor + 1e-6), side - 1) for i in range(count)], dtype=torch.long)


def _output_size(x: Tensor, factor: float) -> tuple[int, int]:
    if not factor > 0:
        raise InputError(f"resampling factor must be positive, found {factor}")
    h, w = (math.floor(side * (1.0 / factor)) for side in x.shape[-2:])
    if min(h, w) < 1:
        raise InputError(f"an image of {x.shape[-2]} x {x.shape[-1]} pixels has no pixel left at factor {factor}")
    return h, w


def _interpolate(x: Tensor, factor: float, mode: str) -> Tensor:
    if factor == 1:
        return x
    size = _output_size(x, factor)
    flat = x.reshape(-1, 1, *x.shape[-2:])  # [n 1 h w]
    if flat.dtype not in (torch.float32, torch.float64):
        flat = flat.float()
    # The scale, not the size, is passed on: sampling points then do not depend on the size of the window.
    out = F.interpolate(flat, scale_factor=1.0 / factor, mode=mode, align_corners=False)
    return out.reshape(*x.shape[:-2], *size).to(x.dtype)
