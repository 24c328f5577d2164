"""Scores of predicted fine images: the formulas of the literature, or the survey's.

The literature's are sums over all tiles of an image, so that a tiling does not change them; the survey's are means of
per-tile values that pass its outlier filter. Images are in reflectance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from sitsfusion.metrics import stf_survey
from sitsfusion.metrics.spectral import sam
from sitsfusion.metrics.structure import scc_sums, ssim, uniform_window, uqi
from sitsfusion.metrics.sums import BandSums, Mean, band_sums

NAMES = ("MAE", "SCC", "SAM", "RMSE", "ERGAS", "PSNR", "SSIM", "RASE", "UQI", "CC", "R2")
_DIGITS = 10


@dataclass(frozen=True, eq=False)
class ImageSums:
    """Sums of a part of an image; those of several parts are added."""

    pixels: BandSums
    high_pass: BandSums
    structure: Mean
    quality: Mean
    angle: Mean

    def __add__(self, other: ImageSums) -> ImageSums:
        return ImageSums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def values(self, ratio: float) -> dict[str, float]:
        """The eleven metrics: reflectance, decibels, degrees (SAM), per cent (ERGAS, RASE); means over the bands.

        `ratio`: fine pixel size / coarse pixel size.
        """
        p = self.pixels
        found = {
            "MAE": p.mae().mean(),
            "SCC": self.high_pass.correlation().mean(),
            "SAM": self.angle.value() * 180 / math.pi,
            "RMSE": p.rmse().mean(),
            "ERGAS": p.ergas(ratio),
            "PSNR": p.psnr(1.0).mean(),
            "SSIM": self.structure.pooled(-1).value(),
            "RASE": p.rase(),
            "UQI": self.quality.pooled(-1).value(),
            "CC": p.correlation().mean(),
            "R2": p.r2().mean(),
        }
        return {name: float(value) for name, value in found.items()}


def image_sums(prediction: Tensor, target: Tensor, valid: Tensor | None) -> ImageSums:
    """Of an image `[c h w]`, of at least 11 pixels a side."""
    angle = sam(prediction, target, valid)
    structure = ssim(prediction, target, valid, data_range=1.0)
    quality = uqi(prediction, target, valid, uniform_window(8))
    return ImageSums(
        band_sums(prediction, target, valid), scc_sums(prediction, target, valid), structure, quality, angle
    )


def survey_values(prediction: Tensor, target: Tensor, *, clipped: bool) -> dict[str, float]:
    """The survey's metrics of a tile `[c h w]`; it clips both images in validation, not in tests."""
    if clipped:
        prediction, target = prediction.clamp(0, 1), target.clamp(0, 1)
    return {name: float(stf_survey.METRICS[name](prediction, target)) for name in NAMES}


def mean_and_spread(rows: Sequence[Mapping[str, float]], *, published: bool) -> dict[str, tuple[float, float]]:
    """Mean and population standard deviation of each metric over tiles; NaN where no tile has a value.

    `published`: only of what the survey's recorder keeps.
    """
    found = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        kept = stf_survey.recorded(values, name) if published else [v for v in values if math.isfinite(v)]
        mean, spread = (float(np.mean(kept)), float(np.std(kept))) if kept else (math.nan, math.nan)
        found[name] = round(mean, _DIGITS), round(spread, _DIGITS)
    return found


def to_reflectance(x: Tensor, scale: tuple[float, float]) -> Tensor:
    """Network units back to reflectance, float32."""
    return (x.float() - scale[1]) / scale[0]


def masked(valid: Tensor | None, like: Tensor) -> Tensor:
    """A mask `[n h w]`; everything where there is none."""
    return torch.ones_like(like[:, 0], dtype=torch.bool) if valid is None else valid
