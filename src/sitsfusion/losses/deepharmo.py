"""Losses of Deep-Harmonization, differentiable; none looks at masks (its patches have none).

L1 is `torch.nn.functional.l1_loss`. Two published criteria are repaired: SSIM was minimised itself (here 1 - SSIM), and
the mixed gradient error mixed all bands and gave no gradient (here per band, with gradient).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.metrics.structure import gaussian_window, ssim

_WINDOW = gaussian_window(7, 1.5)
_FULL = 0.9189385332046727  # ln(2 pi) / 2
GaussianForm = Literal["mse", "mae"]
GradientForm = Literal["mse", "rmse", "mae"]


def gaussian_nll(
    mean: Tensor,
    variance: Tensor,
    target: Tensor,
    *,
    form: GaussianForm = "mse",
    full: bool = False,
    eps: float = 1e-6,
) -> Tensor:
    """Negative log likelihood of a normal distribution, mean over all samples: a scalar.

    (ln v + (x - mu)^2 / v) / 2, or with |x - mu| in place of the square (`mae`); `full` adds ln(2 pi) / 2. The variance
    is at least `eps`; the limit is invisible to the gradient, as in torch.

    Args:
        mean: any shape, reflectance.
        variance: same shape, reflectance squared.
        target: same shape, reflectance.
        form: square or absolute deviation.
        full: with the constant.
        eps: smallest variance.
    """
    limited = variance.clone()
    with torch.no_grad():
        limited.clamp_(min=eps)
    deviation = (target - mean).square() if form == "mse" else (target - mean).abs()
    return 0.5 * (limited.log() + deviation / limited).mean() + (_FULL if full else 0.0)


def ssim_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM with a Gaussian window of 7 pixels (sigma 1.5), data range 1, mean over bands and whole windows.

    Both `[n, c, h, w]` of at least 7 pixels a side, reflectance -> a scalar.
    """
    found = ssim(prediction, target, data_range=1.0, window=_WINDOW)
    return (1.0 - found.value().mean()).to(prediction.dtype)


def gradient_kernels() -> Tensor:
    """float32 `[2, 3, 3]`: the derivative along x (columns), then along y.

    Entry (j, i) from the centre is i / (i^2 + j^2), or j / (i^2 + j^2): edges +-1, corners +-1/2, centre 0.
    """
    i = torch.tensor([-1.0, 0.0, 1.0])
    distance = i[:, None].square() + i.square()
    x = torch.where(distance > 0, i / distance.clamp_min(1), 0.0)
    return torch.stack([x, x.T])


def gradient_magnitude(x: Tensor, *, mix_bands: bool = False) -> Tensor:
    """Length of the gradient of each band, zeros around the image: `[n, c, h, w]` -> the same shape.

    `mix_bands` sums the bands first, as the published criterion did, and gives `[n, 1, h, w]`.
    """
    if mix_bands:
        x = x.sum(dim=1, keepdim=True)
    n, c, h, w = x.shape
    kernels = gradient_kernels()[:, None].to(x)  # [2, 1, 3, 3]
    both = F.conv2d(x.reshape(n * c, 1, h, w), kernels, padding=1)
    # the smallest square keeps the root's slope finite where an image is flat
    length = both.square().sum(dim=1).clamp_min(1e-16).sqrt()
    return length.reshape(n, c, h, w)


def mixed_gradient(
    prediction: Tensor, target: Tensor, *, form: GradientForm = "mse", mix_bands: bool = False
) -> Tensor:
    """Error between the gradient magnitudes of two images `[n, c, h, w]`: a scalar.

    `mix_bands` gives the published numbers (see `gradient_magnitude`).
    """
    error = gradient_magnitude(prediction, mix_bands=mix_bands) - gradient_magnitude(target, mix_bands=mix_bands)
    if form == "mae":
        return error.abs().mean()
    mse = error.square().mean()
    return mse.sqrt() if form == "rmse" else mse


def high_pass(pan: Tensor) -> Tensor:
    """Sum of the eight neighbours minus eight times the pixel, zeros around the image: `[n, 1, h, w]`, same shape.

    Raises:
        InputError: more than one band.
    """
    if pan.shape[1] != 1:
        raise InputError(f"the high-pass is that of one band, found {pan.shape[1]}")
    kernel = torch.ones(1, 1, 3, 3, dtype=pan.dtype, device=pan.device)
    kernel[0, 0, 1, 1] = -8
    return F.conv2d(pan, kernel, padding=1)


def edges(pan: Tensor) -> Tensor:
    """What a 5 x 5 mean takes away, zeros around the image: `[n, c, h, w]` -> the same shape."""
    return pan - F.avg_pool2d(pan, 5, stride=1, padding=2)
