"""The metrics of cross-sensor super-resolution, one image at a time (MISR-S2, arXiv 2404.16409, section 4).

Images in [-1, 1] are compared as the 8-bit pictures that they would be written as.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sitsfusion.metrics.lpips_alex import AlexLpips
from sitsfusion.metrics.structure import shifted_mae, ssim, uniform_window
from sitsfusion.metrics.sums import band_sums

COLUMNS = ("psnr", "ssim", "lpips", "mae", "mse", "shift_mae")
_RANGE = 255.0
_WINDOW = uniform_window(7, unbiased=True)


def to_8_bit(image: Tensor) -> Tensor:
    """[-1, 1] to whole numbers 0 .. 255, float64, clipped."""
    return ((image.double() + 1) * 127.5).round().clamp(0, _RANGE)


def image_scores(prediction: Tensor, target: Tensor, lpips: AlexLpips | None = None) -> dict[str, float]:
    """All metrics of one image; `lpips` only where its weights are given.

    Args:
        prediction: `[c h w]` in [-1, 1].
        target: same shape.
        lpips: network for images of 3 bands.

    Returns:
        psnr (dB), ssim, mae, mse (0 .. 255), shift_mae (the least MAE over shifts by up to 3 pixels), and lpips.

    Raises:
        InputError: shapes that differ, images smaller than a window.
    """
    p, t = to_8_bit(prediction), to_8_bit(target)
    sums = band_sums(p, t).pooled(-1)
    found = {
        "psnr": sums.psnr(_RANGE),
        "ssim": ssim(p, t, data_range=_RANGE, window=_WINDOW).value().mean(),
        "mae": sums.mae(),
        "mse": sums.mse(),
        "shift_mae": shifted_mae(p, t).value().amin(-1),
    }
    if lpips is not None:
        with torch.no_grad():
            found["lpips"] = lpips(*((x.float() / 127.5 - 1)[None] for x in (p, t)))[0]
    return {name: float(found[name]) for name in COLUMNS if name in found}
