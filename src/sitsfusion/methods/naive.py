"""NAIVE: linear interpolation in time, then bicubic upsampling. The yardstick of every other method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch

from sitsfusion.dates import days_since
from sitsfusion.methods.arrays import block, stack
from sitsfusion.methods.base import Block, Card, Local, Method, MethodPlan, State, Step, Tile
from sitsfusion.methods.roles import bicubic_halo, plan_each, to_output
from sitsfusion.ops.gapfill import linear_gapfill
from sitsfusion.query import Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

# Interpolation needs two images; one image is what `closest` is for.
_FEWEST = 2


class Naive(Method):
    """Each role apart: per pixel, linear between the nearest clear dates on both sides, the nearest one outside the
    range; then bicubic (a = -0.75) to the output grid. A pixel that was never clear is NaN, and spoils the pixels
    whose bicubic support it lies in.
    """

    card: ClassVar[Card] = Card(
        name="naive",
        title="Linear interpolation in time + bicubic upsampling",
        summary="Per pixel between the nearest clear dates; each sensor apart. Needs masks, no weights.",
        citation="Baseline NAIVE of Michel and Inglada (2025), TAMRFSITS",
        uses=("fine", "coarse", "thermal"),
    )

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        def too_few(role: str) -> str | None:
            n = len(scene[role])
            return f"naive needs {_FEWEST} or more {role} images, there are {n}" if n < _FEWEST else None

        return plan_each(scene, query, too_few)

    def tiling(self, scene: Scene, step: Step) -> Local:
        return bicubic_halo(scene, step)

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        return {role: block(self._predict(tile, step, role)) for role in step.query}

    def _predict(self, tile: Tile, step: Step, role: str) -> torch.Tensor:
        wanted, cube = step.query[role], tile.cubes[role].select(bands=step.query[role].bands)
        values, valid = stack(cube)  # [t c h w], [t h w]
        days, targets = (torch.from_numpy(days_since(d, tile.origin)) for d in (cube.dates, wanted.dates))
        return to_output(linear_gapfill(values, valid, days, targets), tile, role, wanted.per_cell)
