"""Fit-FC (Wang and Atkinson 2018): regression model fitting, spatial filtering, residual compensation; one pair.

Section 12.4 of `spec/baselines.md`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.methods.base import Card, State, Step
from sitsfusion.methods.stf_classical.base import OddWindow, PairMethod, PairOptions
from sitsfusion.methods.stf_classical.blocks import local_regression, spread
from sitsfusion.methods.stf_classical.images import Images
from sitsfusion.methods.stf_classical.windows import mirrored, most_similar
from sitsfusion.ops.resample import bicubic

# Coarse pixels beyond its own that a pixel depends on: bicubic residual (2) of 3 x 3 regressions (1).
_COARSE_REACH = 4


class FitFcOptions(PairOptions):
    """Options of `fit-fc`."""

    window: OddWindow = Field(31, description="side of the moving window in fine pixels; odd")
    similar: int = Field(30, ge=1, description="similar pixels averaged")


def regression_model(fine: Tensor, first: Tensor, second: Tensor, ratio: int) -> tuple[Tensor, Tensor]:
    """The fine image moved as its coarse pixel moved, and the coarse residual brought to the fine grid, [b h w].

    `fine [b h w]`; `first`, `second` [b h' w'] coarse images of the pair and of the wanted day. A coarse pixel that is
    not usable has no residual to share with its neighbours.
    """
    slope, offset, residual = local_regression(first, second)
    moved = fine * spread(slope, ratio, fine) + spread(offset, ratio, fine)
    shared = bicubic(residual.nan_to_num(0.0), 1 / ratio)
    return moved, shared[..., : fine.shape[-2], : fine.shape[-1]]


def spatial_filter(fine: Tensor, images: Tensor, window: int, similar: int) -> Tensor:
    """Images [k b h w] averaged over the pixels that are most similar in `fine [b h w]`, near ones counting more.

    The window is mirrored at the border. Pixels where `fine` or the images are NaN neither give nor get anything.
    """
    radius = window // 2
    usable = images.isfinite().all(0).all(0) & fine.isfinite().all(0)
    searched = mirrored(fine.masked_fill(~usable, torch.nan), radius, radius)
    averaged = mirrored(images.flatten(0, 1).masked_fill(~usable, 0.0), radius, radius)
    out = torch.empty_like(images)
    for block, found in most_similar(searched, similar, radius, lambda a, b: (b - a).abs_().mean(0)):
        weight = (found.score.isfinite() / (1 + found.distance / max(radius, 1))).to(images)  # [n p]
        mean = (found.take(block.around(averaged)) * weight).sum(1) / weight.sum(0)
        out[..., block.rows, block.columns] = mean.reshape(out[..., block.rows, block.columns].shape)
    return out


def fit_fc(fine: Tensor, first: Tensor, second: Tensor, ratio: int, options: FitFcOptions) -> Tensor:
    """The fine image of the wanted day [b h w]; arguments as `regression_model`."""
    moved, residual = regression_model(fine, first, second, ratio)
    return spatial_filter(fine, torch.stack([moved, residual]), options.window, options.similar).sum(0)


class FitFc(PairMethod):
    """Fit-FC with one reference pair; all bands choose the similar pixels."""

    card: ClassVar[Card] = Card(
        name="fit-fc",
        title="Fit-FC",
        summary="Local regression of the coarse images, applied to the fine one, filtered. One reference pair.",
        citation="Wang and Atkinson (2018), Remote Sensing of Environment 204, 31-42",
        needs=("fine", "coarse"),
        needs_clear_share=True,
    )
    Options: ClassVar[type[PairOptions]] = FitFcOptions
    options: FitFcOptions
    whole_blocks = True

    def pairs_wanted(self) -> tuple[int, int]:
        return 1, 1

    def reach(self) -> tuple[int, int]:
        return self.options.window // 2, _COARSE_REACH

    def fuse(self, images: Images, step: Step, state: State) -> Tensor:
        first, second = images.blocks()
        return fit_fc(images.fine[0], first, second, images.place.ratio, self.options)
