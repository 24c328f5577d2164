"""EFAST (Senty et al. 2024): fine images near in time and far from clouds, plus the change of a dense coarse series.

Section 12.6 of `spec/baselines.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from math import ceil, lcm
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.cube import Cube
from sitsfusion.dates import days_since, distance
from sitsfusion.methods.arrays import usable
from sitsfusion.methods.base import Card, MethodPlan, State, Step, Tile
from sitsfusion.methods.stf_classical.base import CoarseFineMethod, CoarseFineOptions, references
from sitsfusion.methods.stf_classical.blocks import block_means
from sitsfusion.methods.stf_classical.images import Place
from sitsfusion.methods.stf_classical.pairs import Choice, usable_days
from sitsfusion.methods.strips import strips
from sitsfusion.ops.resample import bilinear
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

# A line through time needs more than this many values.
_FEW = 3
_COARSE_SPAN = 1.5  # coarse images are used this much further away in time than fine ones


class EfastOptions(CoarseFineOptions):
    """Options of `efast`."""

    max_days: int = Field(30, ge=1, description="days between the wanted day and fine images that are used")
    sigma_days: float = Field(20, gt=0, description="width of the weight of time, days")
    cloud_ramp: int = Field(15, ge=1, le=100, description="coarse pixels from a cloud to full weight")
    cloud_share: float = Field(0.05, gt=0, le=1, description="coarse pixels missing this share of fine ones are cloud")
    min_importance: float = Field(2, ge=0, description="images of a mean weight up to this / their number are dropped")


def cloud_distance(cloudy: Tensor, most: int) -> Tensor:
    """Distance in pixels to the nearest cloudy one, at most `most`: bool [... h w] -> float32 [... h w]."""
    far = float(most) ** 2
    square = torch.where(cloudy, 0.0, torch.inf)
    for axis in (-2, -1):  # the squared distance is a sum over the axes
        padding = (0, 0, most, most) if axis == -2 else (most, most, 0, 0)
        whole, side = F.pad(square, padding, value=torch.inf), square.shape[axis]
        moved = [whole.narrow(axis, most + d, side) + float(d * d) for d in range(-most, most + 1)]
        square = torch.stack(moved).amin(0)
    return square.clamp(max=far).sqrt()


def weights(score: Tensor, days: Tensor, options: EfastOptions) -> Tensor:
    """Weights of the fine images at coarse pixels, in sum 1 (or all 0): distance to cloud `score [n h w]` in coarse
    pixels, `days [n]` since the wanted day -> [n h w].
    """
    ramp = ((score - 1) / options.cloud_ramp).clamp(0, 1)
    in_time = (-days.square() / (2 * options.sigma_days**2)).exp()
    found = ramp * in_time[:, None, None].to(ramp)
    return (found / found.sum(0)).nan_to_num(0.0)


def interpolate(values: Tensor, days: Tensor, targets: Tensor) -> Tensor:
    """Straight lines in time between the values of each pixel, continued beyond the first and last: `values [t ...]`
    with NaN where missing, at increasing `days [t]` -> [q ...]. NaN with three values or fewer.
    """
    seen = values.isfinite()
    position = torch.arange(len(days), device=values.device).reshape(-1, *[1] * (values.ndim - 1))
    rank = seen.cumsum(0) - 1  # of each value among the seen ones
    count = seen.sum(0)
    out = []
    for target in targets.tolist():
        before = (seen & (days <= target).reshape(position.shape)).sum(0)
        left = (before - 1).clamp(min=0).minimum((count - 2).clamp(min=0))
        at = [torch.where(seen & (rank == r), position, 0).amax(0) for r in (left, left + 1)]
        (t0, t1), (v0, v1) = (days[a] for a in at), (values.gather(0, a[None])[0] for a in at)
        share = ((target - t0) / (t1 - t0)).to(values)
        out.append(torch.where(count > _FEW, v0 + share * (v1 - v0), torch.nan))
    return torch.stack(out)


def efast(fine: Tensor, importance: Tensor, before: Tensor, wanted: Tensor, ratio: int) -> Tensor:
    """The fine image of the wanted day [b h w]; NaN where no fine image has weight or the coarse series is too short.

    Args:
        fine: images [n b h w], NaN where missing.
        importance: weights [n h' w'] at coarse pixels.
        before: coarse series at the days of the fine images [n b h' w'].
        wanted: coarse series at the wanted day [b h' w'].
        ratio: fine pixels along a coarse one.
    """

    def up(image: Tensor) -> Tensor:
        return bilinear(image, 1 / ratio)[..., : fine.shape[-2], : fine.shape[-1]]

    total, moved = torch.zeros_like(fine[0]), torch.zeros_like(fine[0])
    for image, weight, coarse in zip(fine, importance, before, strict=True):
        change = image - up(coarse)
        share = torch.where(change.isfinite(), up(weight[None]), 0.0)
        total += share
        moved += share * change.nan_to_num(0.0)
    return up(wanted) + torch.where(total > 0, moved / total, torch.nan)


class Efast(CoarseFineMethod):
    """EFAST: all fine images within a month, each moved by the change of the coarse series since."""

    card: ClassVar[Card] = Card(
        name="efast",
        title="EFAST",
        summary="Fine images near in time and far from clouds, plus the change of a dense coarse series.",
        citation="Senty, Guzinski, Grogan, Buitenwerf, Ardö, Eklundh, Koukos, Tagesson and Munk (2024), "
        "Remote Sensing 16(11), 1833",
        needs=("fine", "coarse"),
        needs_clear_share=True,
    )
    Options: ClassVar[type[CoarseFineOptions]] = EfastOptions
    options: EfastOptions
    whole_blocks = True

    def choose(self, scene: Scene, day: date) -> Choice | str:
        near = self.options.max_days
        fine = _within(usable_days(scene["fine"], self.options.min_clear_share), day, near)
        coarse = _within(usable_days(scene["coarse"], 0), day, int(_COARSE_SPAN * near))
        references = tuple(d for d in fine if d != day)
        if not references:
            return f"no usable fine image of another day within {near} days"
        if len(coarse) <= _FEW:
            return f"{len(coarse)} usable coarse image(s) in {int(_COARSE_SPAN * near)} days, more than {_FEW} needed"
        return Choice(references, coarse)

    def reach(self) -> tuple[int, int]:
        return 0, self.options.cloud_ramp + 3  # distance at which the ramp ends, a bilinear tap, a cut cell

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        """Mean weight of each fine image of each step over the scene: "<step>.importance" [n]."""
        return {f"{step.name}.importance": self._importance(scene, step) for step in plan.steps}

    def compute(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Tensor:
        place, matched = Place.of(tile, self.native(tile.cubes)), self.matched(tile.cubes)
        kept = kept_images(state[f"{step.name}.importance"], self.options.min_importance)
        fine = _stack(tile.cubes["fine"], references(step), list(matched)).to(runtime.device)
        coarse = _stack(tile.cubes["coarse"], step.inputs["coarse"], list(matched.values())).to(runtime.device)
        coarse = torch.stack([block_means(image, place.native) for image in coarse])
        days, coarse_days = _days(step, references(step)), _days(step, step.inputs["coarse"]).to(runtime.device)
        share = self._weights(fine, days, place.ratio)
        series = interpolate(coarse, coarse_days, torch.cat([days[kept], days.new_zeros(1)]))
        return efast(fine[kept], share[kept], series[:-1], series[-1], place.ratio)

    def _weights(self, fine: Tensor, days: Tensor, ratio: int) -> Tensor:
        """Weights at coarse pixels [n h' w'], from where fine images [n b h w] have gaps."""
        missing = fine[:, 0].isnan().float()
        cloudy = block_means(missing, ratio) >= self.options.cloud_share
        score = cloud_distance(cloudy, self.options.cloud_ramp + 1)
        return weights(score, days.to(score.device), self.options)

    def _importance(self, scene: Scene, step: Step) -> NDArray[np.float64]:
        native, n, band = self.native(scene), scene.per_cell("coarse"), list(self.matched(scene))[:1]
        align, ratio = lcm(native, n) // n, native * scene.per_cell("fine") // n
        halo = ceil(self.reach()[1] * native / n / align) * align
        total, count = np.zeros(len(references(step))), 0
        for window in strips(scene, align):
            around = window.padded(halo, scene.size)
            cube = scene["fine"].window(around.scaled(scene.per_cell("fine")))
            found = self._weights(_stack(cube, references(step), band), _days(step, references(step)), ratio)
            first = (window.row - around.row) * n // native
            inner = found[:, first : first + ceil(window.height * n / native)]
            total, count = total + inner.double().sum((1, 2)).numpy(), count + inner[0].numel()
        return total / count


def kept_images(importance: NDArray[np.float64], min_importance: float) -> NDArray[np.int64]:
    """Numbers of the images whose mean weight exceeds `min_importance` / their number, and of the most important."""
    limit = min(min_importance / len(importance), float(np.nextafter(importance.max(), -1.0)))
    return np.flatnonzero(importance > limit)


def _within(days: Sequence[date], day: date, most: int) -> tuple[date, ...]:
    return tuple(d for d, away in zip(days, distance(days, day), strict=True) if away <= most)


def _stack(cube: Cube, days: Sequence[date], bands: Sequence[str]) -> Tensor:
    """Images [t b h w] of a cube, NaN where not usable."""
    return torch.stack([usable(cube, day, bands) for day in days])


def _days(step: Step, days: Sequence[date]) -> Tensor:
    """Days since the wanted one."""
    return torch.from_numpy(days_since(days, step.query["fine"].dates[0])).double()
