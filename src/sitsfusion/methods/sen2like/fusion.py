"""The arithmetic of Sen2Like's fusion, on tensors: as it was compared, and as the sen2like processor does it.

Saunier et al., "Sen2Like: paving the way towards harmonization and fusion of optical data", Remote Sensing 14, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.ops.mtf import high_pass, psf_taps
from sitsfusion.ops.resample import bilinear


@dataclass(frozen=True, eq=False)
class References:
    """Two fine images before the predicted day: `newer` and `older` [... h w] at two times in one unit."""

    newer: Tensor
    older: Tensor
    newer_time: float
    older_time: float


def line_through(images: References, time: float) -> Tensor:
    """The straight line through two images at a time: [... h w]."""
    slope = (images.newer - images.older) / (images.newer_time - images.older_time)
    return images.newer + slope * (time - images.newer_time)


def reference_fusion(coarse: Tensor, images: References, time: float, mtf: float) -> Tensor:
    """Sen2Like as it was compared: the coarse image on the fine grid [c h w] plus the detail of the predicted one.

    The detail is what a 3 x 3 Gaussian of this MTF (of a pixel, at its Nyquist frequency) takes away. Clouds of the
    fine images are used as they are; they must be masked in the result by the caller.
    """
    predicted = line_through(images, time)  # [c h w]
    taps = psf_taps(1.0, [1.0], [mtf]).expand(predicted.shape[-3], -1)
    return coarse + high_pass(predicted, taps)


def predict(images: References, time: float, valid: tuple[Tensor, Tensor]) -> Tensor:
    """Processor, mode *predict*: the line where both images are valid, else the valid one, NaN where none is.

    `valid`: of the newer and the older image, bool, shapes that broadcast to the images.
    """
    newer, older = valid
    single = torch.where(newer, images.newer, torch.where(older, images.older, torch.nan))
    return torch.where(newer & older, line_through(images, time), single)


def composite(images: Tensor, valid: Tensor) -> Tensor:
    """Processor, mode *composite*: per pixel the first valid of `images [n c h w]` (latest first), else NaN: [c h w].

    `valid` bool [n h w].
    """
    out = torch.full_like(images[0], torch.nan)
    for image, seen in zip(images.flip(0), valid.flip(0), strict=True):
        out = torch.where(seen, image, out)
    return out


def block_mean(x: Tensor, ratio: int) -> Tensor:
    """Means of blocks of ratio x ratio pixels: [... h w] -> [... h/ratio w/ratio]; NaN where any pixel is NaN."""
    flat = x.reshape(-1, 1, *x.shape[-2:])
    out = F.avg_pool2d(flat, ratio)
    return out.reshape(*x.shape[:-2], *out.shape[-2:])


def mirrored_bilinear(x: Tensor, ratio: int) -> Tensor:
    """Bilinear upsampling [... h w] -> [... h*ratio w*ratio] with a mirrored border (the edge not repeated).

    A side of one pixel has no mirror image and is repeated.
    """
    flat = x.reshape(-1, 1, *x.shape[-2:])
    for axis, side in ((2, x.shape[-2]), (3, x.shape[-1])):
        first, last = (1, side - 2) if side > 1 else (0, 0)
        at = torch.tensor([first, *range(side), last], device=x.device)
        flat = flat.index_select(axis, at)
    fine = bilinear(flat, 1 / ratio)[..., ratio:-ratio, ratio:-ratio]
    return fine.reshape(*x.shape[:-2], *fine.shape[-2:])


def low_resolution(x: Tensor, ratio: int) -> Tensor:
    """What the coarse sensor would see of a fine image, on the fine grid: block means, upsampled bilinearly."""
    return mirrored_bilinear(block_mean(x, ratio), ratio)
