"""The metrics of the "Deep Learning Spatiotemporal Fusion Survey", as its code computes them.

They are here to be compared with published tables. Names mislead: RMSE and RASE are means over 8 x 8 windows, RASE is
64 times too large, ERGAS is a quarter of the one for a ratio of 1/16, SCC is a mean of local correlations. For the
formulas of the literature, and for images with masks, use `sums`, `spectral` and `structure`.

Images are one tile `[c h w]`, reflectance in [0, 1], without masks; values are float64 scalars. NaN makes the
value NaN, but for those made of `sums` (MAE, PSNR, SSIM, ERGAS, CC, R2), which leave a NaN prediction out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import InputError
from sitsfusion.metrics.structure import GAUSSIAN, Window, filtered, local_moments, ssim, uniform_window
from sitsfusion.metrics.sums import band_sums

BLOCK: Window = uniform_window(8)
UQI_EPSILON = float(torch.finfo(torch.float32).eps)

# Values outside are dropped before averaging.
RANGES: Mapping[str, tuple[float, float]] = {
    "MAE": (0.0, 1.0),
    "SSIM": (-1.0, 1.0),
    "RMSE": (0.0, 2.0),
    "ERGAS": (0.0, 1000.0),
    "SAM": (0.0, math.pi),
    "RASE": (0.0, 1000.0),
    "PSNR": (0.0, 100.0),
    "UQI": (-1.0, 1.0),
    "SCC": (-1.0, 1.0),
    "CC": (-1.0, 1.0),
    "R2": (-10.0, 1.0),
    "Time": (0.0, 100.0),
}
_OUTLIERS_LEFT_OUT = ("PSNR", "SSIM", "MAE", "RMSE")
_ENOUGH = 10  # values kept before outliers are looked for


def mae(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, reflectance."""
    return band_sums(prediction, target).pooled(-1).mae()


def rmse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over bands and 8 x 8 windows of the window's root mean square error, reflectance."""
    return _block_means((prediction.double() - target.double()).square()).sqrt().mean()


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Decibels, of images clipped to [0, 1], all bands together."""
    return band_sums(prediction.clamp(0, 1), target.clamp(0, 1)).pooled(-1).psnr(1.0)


def structural_similarity(prediction: Tensor, target: Tensor) -> Tensor:
    """SSIM of images clipped to [0, 1], of mirrored borders, so that windows on the border count too."""
    half = GAUSSIAN.size // 2
    p, t = (F.pad(x.clamp(0, 1), (half,) * 4, mode="reflect") for x in (prediction, target))
    return ssim(p, t, data_range=1.0).pooled(-1).value()


def spectral_angle(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean spectral angle, radians; NaN if one pixel is 0 in all bands."""
    p, t = prediction.double(), target.double()
    norms = torch.linalg.vector_norm(p, dim=0) * torch.linalg.vector_norm(t, dim=0)
    return torch.arccos(((p * t).sum(0) / norms).clamp(-1, 1)).mean()


def ergas(prediction: Tensor, target: Tensor) -> Tensor:
    """ERGAS with a ratio of 1/64: a default ratio of 4 divided by 16 once more."""
    return band_sums(prediction, target).ergas(1 / 64)


def rase(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over 8 x 8 windows of the relative average spectral error (per cent), 64 times too large."""
    squared = _block_means((prediction.double() - target.double()).square()).mean(0)
    level = _block_means(target.double()).mean(0) / BLOCK.size**2
    return (100.0 / level * squared.sqrt()).mean()


def uqi(prediction: Tensor, target: Tensor) -> Tensor:
    """Universal quality index with Gaussian windows and 1.19e-7 added to the denominator."""
    m = local_moments(prediction, target, None, GAUSSIAN)
    below = (m.mean_p.square() + m.mean_t.square()) * (m.var_p + m.var_t) + UQI_EPSILON
    return (4.0 * m.mean_p * m.mean_t * m.covariance / below).mean()


def scc(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of the correlations of the high-pass images in 8 x 8 windows, 0 where one is constant."""
    p, t = (_padded_blocks(_high_pass(x.double())) for x in (prediction, target))
    mean_p, mean_t = filtered(p, BLOCK), filtered(t, BLOCK)
    var_p, var_t = ((filtered(x * x, BLOCK) - m.square()).clamp(min=0).sqrt() for x, m in ((p, mean_p), (t, mean_t)))
    covariance, below = filtered(p * t, BLOCK) - mean_p * mean_t, var_p * var_t
    return torch.where(below == 0, 0.0, covariance / below).mean()


def cc(prediction: Tensor, target: Tensor) -> Tensor:
    """Pearson's correlation per band, mean over bands."""
    return band_sums(prediction, target).correlation().mean()


def r2(prediction: Tensor, target: Tensor) -> Tensor:
    """Coefficient of determination of all bands and pixels together."""
    return band_sums(prediction, target).pooled(-1).r2()


METRICS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "MAE": mae,
    "SCC": scc,
    "SAM": spectral_angle,
    "RMSE": rmse,
    "ERGAS": ergas,
    "PSNR": psnr,
    "SSIM": structural_similarity,
    "RASE": rase,
    "UQI": uqi,
    "CC": cc,
    "R2": r2,
}


def recorded(values: Iterable[float], metric: str) -> list[float]:
    """What the survey's recorder keeps of a stream of values of one metric, in their order.

    Dropped: values that are not finite or out of `RANGES`, and, once 10 are kept, outliers of those kept so far.

    Raises:
        InputError: a metric that `RANGES` does not name.
    """
    if metric not in RANGES:
        raise InputError(f"no range is known for the metric {metric!r}; known are {', '.join(RANGES)}")
    kept: list[float] = []
    low, high = RANGES[metric]
    for value in values:
        if math.isfinite(value) and low <= value <= high and not _is_outlier(value, kept, metric):
            kept.append(value)
    return kept


def _is_outlier(value: float, kept: list[float], metric: str) -> bool:
    if len(kept) < _ENOUGH:
        return False
    q1, q3 = np.percentile(kept, [25, 75])
    apart, spread = abs(value - np.mean(kept)), np.std(kept)
    by_quartiles = q3 != q1 and not q1 - 2 * (q3 - q1) <= value <= q3 + 2 * (q3 - q1)
    far = 3 if q3 == q1 else 4 if metric in _OUTLIERS_LEFT_OUT else math.inf
    return bool(by_quartiles or (spread != 0 and apart > far * spread))


def _block_means(x: Tensor) -> Tensor:
    """Means of 8 x 8 windows `[c h-8 w-8]`: the last row and column of windows are left out, as published."""
    return filtered(x, BLOCK)[..., :-1, :-1]


def _high_pass(x: Tensor) -> Tensor:
    """Twice the Laplacian of 8 neighbours, edge pixels repeated."""
    kernel = torch.full((1, 1, 3, 3), -2.0, dtype=x.dtype, device=x.device)
    kernel[..., 1, 1] = 16.0
    return F.conv2d(F.pad(x[:, None], (1, 1, 1, 1), mode="replicate"), kernel)[:, 0]


def _padded_blocks(x: Tensor) -> Tensor:
    """Zeros around, so that a window of 8 pixels has 4 before its pixel and 3 after."""
    return F.pad(x, (4, 3, 4, 3))
