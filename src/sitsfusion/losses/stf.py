"""Losses of the deep spatiotemporal fusion models, after the survey's code (arXiv 2504.00901).

Images are `[n b h w]`, sides of 32 pixels or more; each loss is a scalar. Two slips of the published code can be
asked for with `published=True`; the default is the definition meant:

* MS-SSIM: its last level counts four times (`ms_ssim(published_exponent=...)`);
* SwinSTFM: 0.05 is added to MS-SSIM, which is cut at 1, so that above 0.95 it gives no gradient.

Where a target is not valid, put it into the prediction first (`datasets.stf_batch.only_valid`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sitsfusion.losses.msssim import Normalise, ms_ssim
from sitsfusion.nets.wavelet import haar

Encode = Callable[[Tensor], Tensor]
_SWIN_BONUS = 0.05


def dissimilarity(prediction: Tensor, target: Tensor, published: bool = False) -> Tensor:
    """1 - MS-SSIM, factors shifted to be positive."""
    return 1 - ms_ssim(prediction, target, data_range=None if published else 1.0, published_exponent=published)


def cosine_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - cosine along the channels, mean over positions."""
    return 1 - F.cosine_similarity(prediction, target, dim=1).mean()


def edc_auto_encoder_loss(prediction: Tensor, target: Tensor, published: bool = False) -> Tensor:
    """L1 + 0.8 (1 - MS-SSIM)."""
    return F.l1_loss(prediction, target) + 0.8 * dissimilarity(prediction, target, published)


def edc_loss(prediction: Tensor, target: Tensor, encode: Encode, published: bool = False) -> Tensor:
    """Mean squared error of images and of features, + 0.8 (1 - MS-SSIM)."""
    content = F.mse_loss(prediction, target) + F.mse_loss(encode(prediction), encode(target))
    return content + 0.8 * dissimilarity(prediction, target, published)


def ecpw_auto_encoder_loss(prediction: Tensor, target: Tensor, published: bool = False) -> Tensor:
    """Smooth L1 + 0.84 (1 - MS-SSIM)."""
    return F.smooth_l1_loss(prediction, target) + 0.84 * dissimilarity(prediction, target, published)


def ecpw_loss(prediction: Tensor, target: Tensor, encode: Encode, published: bool = False) -> Tensor:
    """Mean absolute errors of the four Haar sub-bands and of features, + 0.85 (1 - MS-SSIM)."""
    wavelet = 4 * F.l1_loss(haar(prediction), haar(target))
    feature = F.l1_loss(encode(prediction), encode(target))
    return wavelet + feature + 0.85 * dissimilarity(prediction, target, published)


def gan_stfm_loss(prediction: Tensor, target: Tensor, encode: Encode, published: bool = False) -> Tensor:
    """Features (squared error, cosine) + (1 - MS-SSIM) + 10 L1; without the adversarial term."""
    made, meant = encode(prediction), encode(target)
    feature = F.mse_loss(made, meant) + cosine_distance(made, meant)
    return feature + dissimilarity(prediction, target, published) + 10 * F.l1_loss(prediction, target)


def mlff_loss(
    prediction: Tensor,
    target: Tensor,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    published: bool = False,
) -> Tensor:
    """L1, cosine along the bands, and 1 - MS-SSIM, with these weights; without the adversarial term."""
    l1, cosine, structure = weights
    content = l1 * F.l1_loss(prediction, target) + cosine * cosine_distance(prediction, target)
    return content + structure * dissimilarity(prediction, target, published)


def srsf_loss(prediction: Tensor, auxiliary: Tensor, target: Tensor, published: bool = False) -> Tensor:
    """L1 of the prediction, and 1 - MS-SSIM of prediction and auxiliary image; without the adversarial term."""
    structure = dissimilarity(prediction, target, published) + dissimilarity(auxiliary, target, published)
    return F.l1_loss(prediction, target) + structure


def charbonnier(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(error^2 + 1e-6)."""
    return ((target - prediction).square() + 1e-6).sqrt().mean()


def swin_similarity(prediction: Tensor, target: Tensor, normalise: Normalise = "floor") -> Tensor:
    """SwinSTFM's MS-SSIM as published: a range of 2, plus 0.05, at most 1."""
    found = ms_ssim(prediction, target, data_range=2.0, normalise=normalise)
    return (found + _SWIN_BONUS).clamp(max=1)


def swin_loss(prediction: Tensor, target: Tensor, published: bool = False) -> Tensor:
    """Charbonnier + (1 - MS-SSIM)."""
    if published:
        similarity = swin_similarity(prediction, target)
    else:
        similarity = ms_ssim(prediction, target, data_range=1.0, normalise="shift")
    return charbonnier(prediction, target) + 1 - similarity


def least_squares(found: Tensor, real: bool) -> Tensor:
    """Mean squared difference of a discriminator's answer to 1 (real) or 0 (made up); Mao et al. 2017."""
    return (found - float(real)).square().mean()


def critic_loss(real: Tensor, made: Tensor) -> Tensor:
    """Half the sum of the least-squares terms of a discriminator."""
    return 0.5 * (least_squares(real, True) + least_squares(made, False))


Objective = Literal["l1", "l2"]


def diffusion_loss(answer: Tensor, meant: Tensor, objective: Objective = "l1") -> Tensor:
    """Mean error of a denoiser's answer."""
    return F.l1_loss(answer, meant) if objective == "l1" else F.mse_loss(answer, meant)


def roughness(image: Tensor) -> Tensor:
    """Sum of (dx^2 + dy^2)^1.25 over forward differences (a defined but unused term of SRSF-GAN)."""
    dx = image[..., :-1, :-1] - image[..., :-1, 1:]
    dy = image[..., :-1, :-1] - image[..., 1:, :-1]
    return (dx.square() + dy.square()).pow(1.25).sum()


def gradient_magnitude(image: Tensor) -> Tensor:
    """sqrt(gx^2 + gy^2 + 1e-6) with 3 x 3 Sobel kernels, zeros around, per band (likewise unused)."""
    across = image.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([across, across.T])[:, None]  # [2 1 3 3]
    both = F.conv2d(image.flatten(0, 1)[:, None], kernels, padding=1)  # [(n b) 2 h w]
    return (both.square().sum(1) + 1e-6).sqrt().reshape(image.shape)
