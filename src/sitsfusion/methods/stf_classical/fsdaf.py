"""FSDAF: flexible spatiotemporal data fusion (Zhu et al. 2016), from one reference pair.

Classes of the fine image change as the coarse pixels say (temporal prediction); a surface through the coarse image of
the wanted day says where land cover changed (spatial prediction); what the coarse image still lacks is handed out to
its fine pixels; similar neighbours smooth the change. Section 12.3 of `spec/baselines.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from sitsfusion.methods.base import Card, MethodPlan, State, Step
from sitsfusion.methods.stf_classical import fsdaf_classes, splines
from sitsfusion.methods.stf_classical.base import PairMethod, PairOptions
from sitsfusion.methods.stf_classical.blocks import block_means, spread
from sitsfusion.methods.stf_classical.images import Images
from sitsfusion.methods.stf_classical.windows import box_sum, most_similar, padded
from sitsfusion.ops.clusters import classify
from sitsfusion.query import Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

# A thin plate spline through more coarse pixels than this takes more than about 300 MB and a minute.
_SPLINE_MOST = 5000
# Coarse pixels around its own that the inverse distance weighting looks at.
_IDW_REACH = 2
_LARGEST_SHARE = 10.0


class FsdafOptions(PairOptions):
    """Options of `fsdaf`."""

    half_window: int = Field(20, ge=1, le=127, description="half side of the moving window in fine pixels")
    similar: int = Field(20, ge=1, description="similar pixels whose change is averaged")
    classes: int = Field(4, ge=1, description="classes of the fine image, found by k-means")
    purest: int = Field(100, ge=1, description="purest coarse pixels of each class that its change is learnt from")
    surface: Literal["auto", "spline", "idw"] = Field(
        "auto", description=f"thin plate spline, or inverse distance weights (auto: above {_SPLINE_MOST} coarse pixels)"
    )
    data_range: tuple[float, float] = Field((0.0, 10_000.0), description="least and largest value, in scaled units")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.data_range[0] >= self.data_range[1]:
            raise ValueError(f"data_range {self.data_range} is empty; give (least, largest)")
        return self


@dataclass(frozen=True, eq=False)
class Scales:
    """Quantities of the whole scene: `rates` [k b] change of each class, `std` [b] of the fine image, `low` and `high`
    [b] between which predictions must lie.
    """

    rates: Tensor
    std: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True, eq=False)
class Change:
    """Of every fine pixel: temporal prediction [b h w], share of its window with its class [h w], and the change
    [b h w] before smoothing.
    """

    temporal: Tensor
    homogeneity: Tensor
    change: Tensor


def fsdaf_change(
    fine: Tensor, coarse: tuple[Tensor, Tensor], classes: Tensor, surface: Tensor, scales: Scales, half_window: int
) -> Change:
    """Steps 3 to 6 of FSDAF.

    Args:
        fine: of the pair, [b h w]; NaN where not usable.
        coarse: of the pair and of the wanted day, [b h' w'], blocks of the fine image; likewise.
        classes: [h w] int, 0 to k - 1, negative where not usable.
        surface: spatial prediction [b h w].
        scales: quantities of the whole scene.
        half_window: of homogeneity.
    """
    ratio = -(-fine.shape[-1] // coarse[0].shape[-1])
    usable = classes >= 0
    temporal = fine + scales.rates.to(fine)[classes.clamp(min=0)].permute(2, 0, 1)
    residual = (coarse[1] - coarse[0]) - (block_means(temporal, ratio) - block_means(fine, ratio))
    homogeneity = _homogeneity(classes, len(scales.rates), half_window).to(fine)
    missing = spread(residual, ratio, fine)
    apart = surface - temporal
    apart = torch.where(missing > 0, apart.clamp(min=0), apart.clamp(max=0)).abs()
    share = apart * homogeneity + missing.abs() * (1 - homogeneity) + 1e-9
    share = share.masked_fill(~usable, torch.nan)
    share = share / spread(block_means(share, ratio), ratio, fine)
    share = share.masked_fill(share > _LARGEST_SHARE, 1.0)
    share = share / spread(block_means(share, ratio), ratio, fine)
    low, high = (limit.to(fine)[:, None, None] for limit in (scales.low, scales.high))
    return Change(temporal, homogeneity, (temporal + share * missing).clamp(low, high) - fine)


def smoothed(fine: Tensor, change: Tensor, moved: Tensor, scales: Scales, options: FsdafOptions) -> Tensor:
    """Step 7: the fine image plus the change of similar pixels; `moved` is the coarse change on the fine grid."""
    radius, classes = options.half_window, len(scales.rates)
    usable = (fine + change).isfinite().all(0)
    limit = (2 * scales.std / classes).to(fine)[:, None, None, None]

    def score(centre: Tensor, others: Tensor) -> Tensor:
        apart = (others - centre).abs_()
        # A value of less than one scaled unit would make every neighbour infinitely different.
        relative = (apart / centre.abs().clamp(min=1.0)).sum(0)
        # On a CPU, tensors of bool are several times slower than these: apart < limit in all bands.
        return relative.masked_fill_(apart.sub_(limit).amax(0) >= 0, torch.inf)

    searched = padded(fine.masked_fill(~usable, torch.nan), radius, torch.nan)
    averaged = padded(change.masked_fill(~usable, 0.0), radius, 0.0)
    out = torch.empty_like(fine)
    for block, found in most_similar(searched, options.similar, radius, score):
        weight = 1 / ((1 + found.distance / radius) * (1 + found.score))  # 0 where there is no neighbour
        mean = (found.take(block.around(averaged)) * weight.to(fine)).sum(1) / weight.sum(0).to(fine)
        here = (..., block.rows, block.columns)
        out[here] = fine[here] + mean.reshape(fine[here].shape)
    # Without contrast no pixel is similar, not even itself: its own change stands.
    out = torch.where(out.isnan(), fine + change, out)
    low, high = options.data_range
    return torch.where((out < low) | (out > high), (fine + moved).clamp(low, high), out)


def _homogeneity(classes: Tensor, count: int, radius: int) -> Tensor:
    """Share of the usable pixels of the window that have the pixel's class [h w]."""
    ones = torch.stack([classes == k for k in range(count)]).float()
    shares = box_sum(ones, radius) / box_sum(ones.sum(0, keepdim=True), radius)
    return shares.gather(0, classes.clamp(min=0)[None])[0]


class Fsdaf(PairMethod):
    """FSDAF with one reference pair; classes by k-means on the whole scene."""

    card: ClassVar[Card] = Card(
        name="fsdaf",
        title="FSDAF",
        summary="Change per class, unmixed from the coarse images, plus a spatial prediction. One reference pair.",
        citation="Zhu, Helmer, Gao, Liu, Chen and Lefsky (2016), Remote Sensing of Environment 172, 165-177",
        needs=("fine", "coarse"),
        needs_clear_share=True,
    )
    Options: ClassVar[type[PairOptions]] = FsdafOptions
    options: FsdafOptions
    whole_blocks = True

    def pairs_wanted(self) -> tuple[int, int]:
        return 1, 1

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        """As for all; a surface chosen by the size of the scene is remarked."""
        found = super().plan(scene, query)
        kind = "thin plate spline" if self._splined(scene) else "inverse distance weights"
        note = f"fsdaf: spatial prediction by {kind} ({self._coarse_pixels(scene)} coarse pixels)"
        return MethodPlan(found.steps, found.refused, (*found.notes, note), found.origin)

    def reach(self) -> tuple[int, int]:
        return 2 * self.options.half_window, 1 + _IDW_REACH

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        state: dict[str, np.ndarray] = dict(super().calibrate(scene, plan, runtime))
        survey = fsdaf_classes.Survey(scene, self.matched(scene), self.options, self.native(scene))
        for step in plan.steps:
            learnt = survey.learn(step, runtime.seed, with_spline=self._splined(scene))
            state |= {f"{step.name}.{key}": value for key, value in learnt.items()}
        return state

    def fuse(self, images: Images, step: Step, state: State) -> Tensor:
        fine, (first, second) = images.fine[0], images.blocks()
        own = {key: torch.from_numpy(state[f"{step.name}.{key}"]) for key in fsdaf_classes.KEYS}
        scales = Scales(own["rates"], images.of_references("std", state)[0], own["low"], own["high"])
        classes = classify(fine, own["centres"])
        surface = self._surface(images, second, _of_step(state, step))
        found = fsdaf_change(fine, (first, second), classes, surface, scales, self.options.half_window)
        moved = spread(second - first, images.place.ratio, fine)
        return smoothed(fine, found.change, moved, scales, self.options)

    def _surface(self, images: Images, second: Tensor, own: Mapping[str, Tensor]) -> Tensor:
        """The spatial prediction over the window [b h w]."""
        fine, ratio = images.fine[0], images.place.ratio
        if "spline" not in own:
            return splines.inverse_distance(second, ratio, (fine.shape[-2], fine.shape[-1]), _IDW_REACH)
        first = [start * images.place.fine for start in (images.place.window.row, images.place.window.col)]
        rows, columns = (
            (torch.arange(side, dtype=torch.float64) + start + 0.5) / ratio - 0.5
            for side, start in zip(fine.shape[-2:], first, strict=True)
        )
        at = torch.cartesian_prod(rows, columns)
        made = splines.evaluate(own["spline"], own["points"], at)  # [n b]
        return made.T.reshape(fine.shape).to(fine)

    def _splined(self, scene: Scene) -> bool:
        many = self._coarse_pixels(scene) > _SPLINE_MOST
        return self.options.surface == "spline" or (self.options.surface == "auto" and not many)

    def _coarse_pixels(self, scene: Scene) -> int:
        n = self.native(scene)
        height, width = (side * scene.per_cell("coarse") for side in scene.size)
        return -(-height // n) * -(-width // n)


def _of_step(state: State, step: Step) -> dict[str, Tensor]:
    start = f"{step.name}."
    return {key.removeprefix(start): torch.from_numpy(state[key]) for key in state if key.startswith(start)}
