"""Data fidelity: the prediction, seen as the sensor would see it, against the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import InputError
from sitsfusion.ops.mtf import degrade

BETA = 0.1  # of the Smooth L1 loss, in standard deviations


def smooth_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of 5 d^2 where |d| < 0.1, of |d| - 0.05 elsewhere (Huber's loss with beta 0.1, divided by beta)."""
    return F.smooth_l1_loss(prediction, target, beta=BETA)


def as_observed(prediction: Tensor, taps: Tensor, factor: int, margin: int) -> Tensor:
    """What the sensor would have measured: blurred by its optics, on its grid, without the border.

    Args:
        prediction: `[t c h w]` on the fine grid, any unit.
        taps: `[c k]` of the bands on the fine grid (`ops.mtf.psf_taps`).
        factor: fine pixels per pixel of the sensor.
        margin: fine pixels dropped on each side, rounded down to whole pixels of the sensor; 0 keeps all.

    Returns:
        `[t c h' w']`.

    Raises:
        InputError: as `ops.mtf.degrade` and `crop`.
    """
    return crop(degrade(prediction, taps, factor), margin // factor)


def crop(images: Tensor, margin: int) -> Tensor:
    """`[... h w]` without `margin` pixels on each side; 0 changes nothing.

    Raises:
        InputError: a negative margin, or one that leaves one pixel or less.
    """
    h, w = images.shape[-2:]
    if margin == 0:
        return images
    if margin < 0 or 2 * margin + 1 >= min(h, w):
        raise InputError(
            f"a loss margin of {margin} pixels on each side of an image of {h} x {w}: at least 2 must remain; "
            "use larger patches or a smaller margin"
        )
    return images[..., margin : h - margin, margin : w - margin]


def fidelity(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    min_valid_rate: float = 0.5,
    max_difference: float | None = None,
) -> Tensor | None:
    """`smooth_l1` over the valid samples.

    Args:
        prediction: `[t c h w]`, standardised.
        target: same shape and unit.
        valid: bool `[t h w]`: where the target is usable, and the prediction, if that has a mask.
        min_valid_rate: a date with a smaller share of valid pixels is left out.
        max_difference: samples further from the target than this are left out (residual clouds), None for none.

    Returns:
        A scalar, or None if no sample is left.

    Raises:
        InputError: shapes that do not match.
    """
    if prediction.shape != target.shape or valid.shape != (len(target), *target.shape[-2:]):
        raise InputError(
            f"prediction {tuple(prediction.shape)}, target {tuple(target.shape)} and validity {tuple(valid.shape)} "
            "must be [t c h w], the same, and [t h w]"
        )
    used = valid & (valid.float().mean((1, 2), keepdim=True) >= min_valid_rate)
    samples = used[:, None].expand_as(target)  # [t c h w]
    if max_difference is not None:
        samples = samples & ((target - prediction).detach().abs() <= max_difference)
    if not bool(samples.any()):
        return None
    return smooth_l1(torch.masked_select(prediction, samples), torch.masked_select(target, samples))
