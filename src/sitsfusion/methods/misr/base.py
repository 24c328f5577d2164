"""What all super-resolution methods share: which images serve a day, the grid, radiometry, and the block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.cube import Cube
from sitsfusion.errors import GridError
from sitsfusion.methods.arrays import block
from sitsfusion.methods.base import Block, Method, MethodPlan, Options, Refusal, State, Step, Tile
from sitsfusion.methods.misr.views import Views, closest_dates, views_of
from sitsfusion.nets.misr_config import SCALE
from sitsfusion.ops.resample import nearest
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

ROLE = "fine"


class MisrOptions(Options):
    """Options of all `misr-*` methods."""

    min_clear_share: float = Field(0.5, ge=0, le=1, description="images with fewer usable pixels are left out")
    window_days: int = Field(180, ge=0, description="images farther from the day wanted are left out")


@dataclass(frozen=True, eq=False)
class Enlarged:
    """Reflectance `[c 4h 4w]`, and one standard deviation of it, if the method has one."""

    values: Tensor
    sigma: Tensor | None = None


class SuperResolution(Method):
    """Images of the `fine` role, four times finer. One step per day: each has its own closest images.

    Cloudy pixels of the images chosen are interpolated in time between their clear ones; where none is clear, nothing
    is predicted.
    """

    Options: ClassVar[type[Options]] = MisrOptions
    options: MisrOptions

    @property
    @abstractmethod
    def views(self) -> int:
        """How many images it looks at."""

    @abstractmethod
    def bands(self, cube: Cube) -> tuple[str, ...]:
        """Bands of the images that go in, and of the result."""

    @abstractmethod
    def enlarge(self, views: Views, tile: Tile, step: Step, runtime: Runtime) -> Enlarged:
        """The finer image over the tile's reach."""

    def notes(self, scene: Scene, usable: int) -> tuple[str, ...]:
        """Remarks for the user. Default: how many images are left out."""
        total = len(scene[ROLE])
        return (f"{total - usable} of {total} images are left out: too cloudy",) if usable < total else ()

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        self.inputs(scene)
        return {ROLE: Output(scene[ROLE].sensor, self.bands(scene[ROLE]), SCALE * scene.per_cell(ROLE))}

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        wanted = query[ROLE]
        self._check_grid(scene, wanted.per_cell)
        usable = scene[ROLE].dates_clear(self.options.min_clear_share)
        steps: list[Step] = []
        refused: list[Refusal] = []
        for day in wanted.dates:
            chosen = closest_dates(usable, day, self.views, self.options.window_days)
            if chosen:
                steps.append(Step(f"s{len(steps):03d}", {ROLE: chosen}, {ROLE: wanted.at([day])}))
            else:
                share, span = self.options.min_clear_share, self.options.window_days
                reason = f"no image with a usable share of {share:.0%} or more within {span} days"
                refused.append(Refusal(ROLE, day, reason))
        return MethodPlan(tuple(steps), tuple(refused), self.notes(scene, len(usable)))

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        wanted, cube = step.query[ROLE], tile.cubes[ROLE]
        (day,) = wanted.dates
        given = self.bands(cube)
        views = views_of(cube.select(bands=given), day)
        made = self.enlarge(views, tile, step, runtime)
        at, (rows, cols) = [given.index(key) for key in wanted.bands], tile.core_in(ROLE, wanted.per_cell).slices
        seen = nearest(views.seen, 1 / SCALE)

        def cut(image: Tensor) -> Tensor:
            return image.float().cpu()[at].masked_fill(~seen, torch.nan)[None, :, rows, cols]

        found = block(cut(made.values))
        if made.sigma is None:
            return {ROLE: found}
        return {ROLE: Block(found.values, found.valid, np.ascontiguousarray(cut(made.sigma).numpy()))}

    def _check_grid(self, scene: Scene, per_cell: int) -> None:
        n = SCALE * scene.per_cell(ROLE)
        if per_cell != n:
            cell = scene.cells.affine.a
            raise GridError(
                f"{self.card.name} makes pixels of {cell / n:g} (a quarter of the images' {SCALE * cell / n:g}), "
                f"not of {cell / per_cell:g}: leave --resolution out or give {cell / n:g}"
            )
