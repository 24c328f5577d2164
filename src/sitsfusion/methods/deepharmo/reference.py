"""Deep-Harmonization as the TAMRFSITS comparison ran it: whole tiles on the 10 m grid, no clipping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sitsfusion.nets.deepharmo_ensemble import mean_and_variance
from sitsfusion.series import Series

# How often each of the four published networks counted there, in the order 5-upsample, 5-shuffle, 6-upsample,
# 6-shuffle: the entry of the last one held the weights of the second.
PUBLISHED_WEIGHTS = (1.0, 2.0, 1.0, 0.0)


@torch.inference_mode()
def harmonise_series(
    members: Iterable[Callable[[Tensor], Tensor]], series: Series, weights: Sequence[float] | None = None
) -> Series:
    """`[b t 7 h w]`, six Landsat bands and the panchromatic one, reflectance x 10000 -> reflectance `[b t 6 h w]`.

    `members` are networks of seven channels, `weights` how often each counts (None: once). Days and mask of the input.
    """
    b, t = series.values.shape[:2]
    images = series.values.float().flatten(0, 1) / 10_000.0  # [b*t 7 h w]
    mean, _ = mean_and_variance((net(images) for net in members), weights)
    return replace(series, values=mean.reshape(b, t, *mean.shape[1:]))
