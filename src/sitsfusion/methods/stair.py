"""STAIR: the coarse image of a day, plus what fine and coarse images differ by, interpolated in time.

Luo, Guan, Peng (RSE 214, 2018); as a baseline in Michel and Inglada (2025), TAMRFSITS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from sitsfusion.dates import days_since
from sitsfusion.errors import InputError
from sitsfusion.methods.arrays import block, stack
from sitsfusion.methods.base import Block, Card, Local, Method, MethodPlan, Refusal, State, Step, Tile
from sitsfusion.methods.roles import BICUBIC_REACH, to_output
from sitsfusion.methods.two_sensors import band_pairs, halo, on_fine_grid, paired_output
from sitsfusion.ops.gapfill import linear_gapfill
from sitsfusion.ops.resample import bicubic
from sitsfusion.ops.series_ops import common_days
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime


def difference_fusion(
    fine: tuple[Tensor, Tensor | None, Tensor], coarse: tuple[Tensor, Tensor], targets: Tensor
) -> Tensor:
    """STAIR as it was compared: [q c h w], NaN where a difference or the coarse image is NaN.

    Per target day d: the days E of both sensors but d; the fine images without d, gap-filled linearly at E, less the
    coarse images at E, interpolated linearly to d, plus the coarse image of d.

    Args:
        fine: values [t c h w], valid [t h w] or None, days [t].
        coarse: values on the fine grid [s c h w], clouds included, and days [s].
        targets: days [q], each one of the coarse days.

    Raises:
        InputError: a target without coarse image, or without any other day of both sensors.
    """
    values, valid, days = fine
    made = []
    for target in targets:
        kept = days != target
        common = common_days(coarse[1], days[kept])
        here = (coarse[1] == target).nonzero()[:, 0]
        if not len(common) or not len(here):
            raise InputError(f"day {float(target):g}: STAIR needs a coarse image of it and another day of both sensors")
        seen = None if valid is None else valid[kept]
        filled = linear_gapfill(values[kept], seen, days[kept], common)  # [e c h w]
        at = torch.stack([(coarse[1] == day).nonzero()[0, 0] for day in common])
        difference = linear_gapfill(filled - coarse[0][at], None, common, target[None])
        made.append(coarse[0][here[:1]] + difference)
    return torch.cat(made)


class Stair(Method):
    """STAIR as it was compared (reference mode): masks of the coarse images are not used, a missing pixel becomes 0
    and nothing is masked; the fine image of a target day is never looked at.
    """

    card: ClassVar[Card] = Card(
        name="stair",
        title="STAIR: interpolated fine minus coarse difference",
        summary="Coarse image of the day plus the fine-coarse difference, interpolated between days of both sensors.",
        citation="Luo, Guan, Peng (2018), RSE 214; baseline STAIR of Michel and Inglada (2025), TAMRFSITS",
        needs=("fine", "coarse"),
    )

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        self.inputs(scene)
        return paired_output(scene)

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        """One step for the target days without fine image, and one for each day that has one, which is left out."""
        wanted = query["fine"]
        fine, coarse = scene["fine"].dates, scene["coarse"].dates
        refused, groups = [], dict[tuple[date, ...], list[date]]()
        for day in wanted.dates:
            rest = tuple(d for d in fine if d != day)
            reason = _refusal(day, rest, coarse)
            if reason:
                refused.append(Refusal("fine", day, reason))
            else:
                groups.setdefault(rest, []).append(day)
        steps = []
        for number, (used, days) in enumerate(groups.items()):
            both = sorted({*days, *(d for d in coarse if d in used)})
            steps.append(Step(f"s{number:03d}", {"fine": used, "coarse": tuple(both)}, {"fine": wanted.at(days)}))
        return MethodPlan(tuple(steps), tuple(refused))

    def tiling(self, scene: Scene, step: Step) -> Local:
        return halo(scene, step, fine=0, coarse=BICUBIC_REACH)

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        wanted, pairs = step.query["fine"], band_pairs(tile.cubes)
        fine, valid = stack(tile.cubes["fine"].select(bands=wanted.bands))
        stored, _ = stack(tile.cubes["coarse"].select(bands=[pairs[key] for key in wanted.bands]))
        coarse = on_fine_grid(tile, stored, bicubic)
        fine_days, coarse_days, targets = (
            torch.from_numpy(days_since(days, tile.origin))
            for days in (step.inputs["fine"], step.inputs["coarse"], wanted.dates)
        )
        made = difference_fusion((fine, valid, fine_days), (coarse, coarse_days), targets)
        return {"fine": block(to_output(made.nan_to_num(nan=0.0), tile, "fine", wanted.per_cell))}


def _refusal(day: date, fine: Sequence[date], coarse: Sequence[date]) -> str | None:
    if day not in coarse:
        return "stair needs a coarse image of the day, there is none"
    if not set(fine) & set(coarse):
        return "stair needs another day that has both a fine and a coarse image, there is none"
    return None
