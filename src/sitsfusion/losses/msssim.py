"""Multi-scale structural similarity as a training loss (Wang, Simoncelli and Bovik 2003), and two published variants.

Windows shrink with the image, so that five levels fit in 32 pixels. For scores, use `metrics.structure`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sitsfusion.errors import InputError

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SIGMA, _LARGEST = 1.5, 11
_SMALLEST = 2 ** len(WEIGHTS)
_FLOOR = 0.01

Normalise = Literal["shift", "floor", "none"]


def ms_ssim(
    prediction: Tensor,
    target: Tensor,
    *,
    data_range: float | None,
    normalise: Normalise = "shift",
    published_exponent: bool = False,
) -> Tensor:
    """Similarity of two batches `[n b h w]`, 1 for equal ones; a scalar.

    Args:
        prediction: sides of 32 pixels or more.
        target: same shape.
        data_range: largest minus smallest possible value. None guesses it at each level from the prediction, as
            published: 1 or 255, plus 1 if a value lies below -0.5.
        normalise: what keeps the factors positive: "shift" (x + 1) / 2, "floor" max(x, 0) + 0.01, "none" nothing
            (a negative factor then gives NaN).
        published_exponent: the survey's code multiplies the last level into each of the four others, so that it
            counts four times.

    Raises:
        InputError: shapes that differ, or images that are too small.
    """
    if prediction.shape != target.shape or prediction.ndim != 4:
        raise InputError(
            f"images of one shape [n b h w] expected, found {tuple(prediction.shape)}, {tuple(target.shape)}"
        )
    if min(target.shape[-2:]) < _SMALLEST:
        raise InputError(f"MS-SSIM needs {_SMALLEST} pixels a side or more, found {tuple(target.shape[-2:])}")
    product = prediction.new_ones(())
    for level, weight in enumerate(WEIGHTS):
        similarity, structure = ssim_terms(prediction, target, data_range)
        last = level == len(WEIGHTS) - 1
        exponent = weight * (len(WEIGHTS) - 1) if last and published_exponent else weight
        product = product * _positive(similarity if last else structure, normalise) ** exponent
        if not last:
            prediction, target = F.avg_pool2d(prediction, 2), F.avg_pool2d(target, 2)
    return product


def ssim_terms(prediction: Tensor, target: Tensor, data_range: float | None) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure factor of one level, means over batch, bands and positions.

    Windows are Gaussian (sigma 1.5) of 11 pixels or the image's smaller side; arguments as for `ms_ssim`.
    """
    length = _guessed(prediction) if data_range is None else data_range
    c1, c2 = (0.01 * length) ** 2, (0.03 * length) ** 2
    taps = _gaussian(min(_LARGEST, *target.shape[-2:])).to(prediction)

    def blurred(x: Tensor) -> Tensor:
        bands = x.shape[1]
        rows, columns = taps.view(1, 1, -1, 1), taps.view(1, 1, 1, -1)
        x = F.conv2d(x, rows.expand(bands, -1, -1, -1), groups=bands)
        return F.conv2d(x, columns.expand(bands, -1, -1, -1), groups=bands)

    mean_p, mean_t = blurred(prediction), blurred(target)
    product, p2, t2 = mean_p * mean_t, mean_p.square(), mean_t.square()
    spread = blurred(prediction.square()) - p2 + blurred(target.square()) - t2
    structure = (2 * (blurred(prediction * target) - product) + c2) / (spread + c2)
    similarity = (2 * product + c1) / (p2 + t2 + c1) * structure
    return similarity.mean(), structure.mean()


def _gaussian(size: int) -> Tensor:
    """Weights that sum to 1; for even sizes the peak is right of the middle, as published."""
    taps = torch.tensor([math.exp(-((x - size // 2) ** 2) / (2 * _SIGMA**2)) for x in range(size)])
    return taps / taps.sum()


def _guessed(prediction: Tensor) -> float:
    low, high = (float(x) for x in prediction.detach().aminmax())
    return (255.0 if high > 128 else 1.0) - (-1.0 if low < -0.5 else 0.0)


def _positive(x: Tensor, normalise: Normalise) -> Tensor:
    if normalise == "shift":
        return (x + 1) / 2
    return x.relu() + _FLOOR if normalise == "floor" else x
