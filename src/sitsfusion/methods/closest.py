"""CLOSEST: the nearest usable image, copied. What a person does without software."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field

from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.methods.arrays import block
from sitsfusion.methods.base import Block, Card, Local, Method, MethodPlan, Options, Refusal, State, Step, Tile
from sitsfusion.methods.roles import bicubic_halo, to_output
from sitsfusion.query import Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime


_UNTOUCHED = 1e-5  # weight of masked pixels that rounding explains


class ClosestOptions(Options):
    """Options of `closest`."""

    direction: Literal["nearest", "last", "next"] = Field(
        "nearest", description="nearest date, last one at or before, or next one at or after"
    )
    max_masked_share: float = Field(0.5, ge=0, le=1, description="images masked over a larger share are not used")


class Closest(Method):
    """Each role apart: the image nearest in time whose masked share is at most `max_masked_share`, ties to the earlier
    one, bicubic to the output grid. Its clouds stay in the picture and are marked invalid.
    """

    card: ClassVar[Card] = Card(
        name="closest",
        title="The nearest clear image",
        summary="Copies the last, next or nearest usable image of each sensor. No weights.",
        citation="Common practice; closest-image rule of Michel and Inglada (2025), TAMRFSITS",
        uses=("fine", "coarse", "thermal"),
        needs_clear_share=True,
    )
    Options: ClassVar[type[Options]] = ClosestOptions
    options: ClosestOptions

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        """One step per output date: which images it copies is a choice for the whole scene."""
        steps: list[Step] = []
        refused: list[Refusal] = []
        for day in sorted({day for wanted in query.values() for day in wanted.dates}):
            chosen: dict[str, tuple[date, ...]] = {}
            for role, wanted in query.items():
                if day not in wanted.dates:
                    continue
                found = self._choose(scene[role], day)
                if found is None:
                    refused.append(Refusal(role, day, f"no {role} image {self._where()}"))
                else:
                    chosen[role] = (found,)
            if chosen:
                outputs = {role: query[role].at([day]) for role in chosen}
                steps.append(Step(f"s{len(steps):03d}", chosen, outputs, {role: (role,) for role in chosen}))
        return MethodPlan(tuple(steps), tuple(refused))

    def tiling(self, scene: Scene, step: Step) -> Local:
        return bicubic_halo(scene, step)

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        return {role: self._predict(tile, step, role) for role in step.query}

    def _predict(self, tile: Tile, step: Step, role: str) -> Block:
        wanted = step.query[role]
        frame = tile.cubes[role].select(bands=wanted.bands).frame(0)
        values = to_output(torch.from_numpy(frame.values)[None], tile, role, wanted.per_cell)
        # a pixel that the kernel mixes with a masked one is masked too
        masked = to_output(torch.from_numpy(~frame.valid).float()[None, None], tile, role, wanted.per_cell)[:, 0]
        return block(values, (masked.abs() < _UNTOUCHED) & values.isfinite().all(1))

    def _choose(self, cube: Cube, day: date) -> date | None:
        usable = [cube.dates[i] for i in range(len(cube)) if self._usable(cube, i)]
        before = [d for d in usable if d <= day]
        after = [d for d in usable if d >= day]
        pool: Sequence[date] = {"nearest": usable, "last": before, "next": after}[self.options.direction]
        gaps = abs(days_since(pool, day))
        return pool[int(gaps.argmin())] if pool else None

    def _usable(self, cube: Cube, i: int) -> bool:
        share = cube.items[i].clear_share
        return share is None or 1 - share <= self.options.max_masked_share

    def _where(self) -> str:
        when = {"nearest": "at all", "last": "at or before it", "next": "at or after it"}[self.options.direction]
        return f"with at most {self.options.max_masked_share:.0%} masked {when}"
