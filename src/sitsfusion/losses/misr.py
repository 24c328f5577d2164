"""Losses of cross-sensor super-resolution, on images `[n c h w]` in [-1, 1] (or predicted noise): scalars.

Their first argument is what the network gives, the second the truth. After MISR-S2 (arXiv 2404.16409).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sitsfusion.metrics.structure import gaussian_window, ssim

Loss = Callable[[Tensor, Tensor], Tensor]
SHIFT = 3


def shifted_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """The least mean absolute difference over shifts of the target by up to 3 pixels; one shift for the whole batch.

    The prediction's borders of 3 pixels are left out.
    """
    h, w = (side - 2 * SHIFT for side in prediction.shape[-2:])
    inner = prediction[..., SHIFT : SHIFT + h, SHIFT : SHIFT + w]
    span = range(2 * SHIFT + 1)
    errors = [F.l1_loss(inner, target[..., i : i + h, j : j + w]) for i in span for j in span]
    return torch.stack(errors).min()


def l1_and_ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference plus 1 - SSIM of x / 2 + 1 / 2 (Gaussian window of 11, zeros around the image)."""
    window = gaussian_window()
    p, t = (F.pad(x / 2 + 0.5, (window.size // 2,) * 4) for x in (prediction, target))
    structure = ssim(p, t, data_range=1.0, window=window).value().mean()
    return F.l1_loss(prediction, target) + 1 - structure.to(prediction.dtype)


# Of predicted noise, and (l1, l1_shift) of images.
NOISE_LOSSES: dict[str, Loss] = {"l1": F.l1_loss, "l2": F.mse_loss, "ssim": l1_and_ssim, "l1_shift": shifted_l1}
IMAGE_LOSSES: dict[str, Loss] = {"l1": F.l1_loss, "l1_shift": shifted_l1}
