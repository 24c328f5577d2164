"""What the coarse/fine methods share: options, choice of images, halos, decoding, and putting results back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import date
from math import ceil, lcm
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from sitsfusion.cube import Cube
from sitsfusion.errors import GridError, InputError
from sitsfusion.methods.arrays import block, usable
from sitsfusion.methods.base import Block, Local, Method, MethodPlan, Options, Refusal, State, Step, Tile
from sitsfusion.methods.stf_classical import statistics
from sitsfusion.methods.stf_classical.images import Images, Place
from sitsfusion.methods.stf_classical.pairs import (
    Choice,
    check_references,
    choose,
    coarse_of,
    matching_bands,
    usable_days,
)
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime


# Tables of neighbours, blocks, codes: the same for images of any size.
_TABLES = 160 * 2**20


def _odd(window: int) -> int:
    if window % 2 == 0:
        raise ValueError(f"a window of {window} pixels has no centre; give an odd number")
    return window


OddWindow = Annotated[int, Field(ge=1, le=255), AfterValidator(_odd)]


class CoarseFineOptions(Options):
    """Options of all methods on coarse and fine images."""

    min_clear_share: float = Field(0.5, ge=0, le=1, description="fine images used need this share of usable pixels")
    keep_observed: bool = Field(True, description="keep the fine pixels that were observed clear on the wanted day")
    bands: dict[str, str] = Field({}, description="coarse band of each fine band (default: same common name)")


class PairOptions(CoarseFineOptions):
    """Options of the methods on reference pairs."""

    references: tuple[date, ...] = Field((), description="days of the reference pairs (default: chosen by date)")
    max_gap: int = Field(0, ge=0, description="days at most between a day and the coarse image that stands for it")
    scale: float = Field(10_000, gt=0, description="values are multiplied by this first; constants assume 10000")


class GriddedOptions(PairOptions):
    """Options of the methods that see the coarse images on the fine grid."""

    resampling: Literal["nearest", "bilinear", "bicubic"] = Field(
        "nearest", description="how coarse images are brought onto the fine grid"
    )


class CoarseFineMethod(Method):
    """Base of the methods: one step per wanted day, on the grid of the fine images.

    A method chooses images (`choose`), says how far an output pixel sees (`reach`) and computes (`compute`). Bands
    without a counterpart on the other sensor are not predicted.

    `whole_blocks`: the method needs real coarse pixels, a whole number of fine pixels wide and never cut. `layers`: how
    many float32 images of all bands it holds at a time, besides those of its dates (counted in the code, rounded up).
    """

    options: CoarseFineOptions
    whole_blocks: ClassVar[bool] = False
    layers: ClassVar[int] = 40

    @abstractmethod
    def choose(self, scene: Scene, day: date) -> Choice | str:
        """The images for a wanted day, or why it cannot be predicted."""

    @abstractmethod
    def reach(self) -> tuple[int, int]:
        """How far an output pixel sees: fine pixels, and coarse pixels beyond those."""

    @abstractmethod
    def compute(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Tensor:
        """All matched bands of the wanted day over the fine cube's window: [b h w], NaN where nothing can be said."""

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        self.inputs(scene)
        return {"fine": Output(scene["fine"].sensor, tuple(self.matched(scene)), scene.per_cell("fine"))}

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        """One step per day: its images are a choice for the whole scene."""
        self.check_grids(scene, query)
        steps: list[Step] = []
        refused: list[Refusal] = []
        for day in query["fine"].dates:
            chosen = self.choose(scene, day)
            if isinstance(chosen, str):
                refused.append(Refusal("fine", day, f"{self.card.name}: {chosen}"))
                continue
            own = [day] if self.options.keep_observed and day in scene["fine"].dates else []
            inputs = {"fine": tuple(sorted({*chosen.references, *own})), "coarse": chosen.coarse}
            steps.append(Step(f"s{len(steps):03d}", inputs, {"fine": query["fine"].at([day])}))
        return MethodPlan(tuple(steps), tuple(refused))

    def check_grids(self, scene: Scene, query: Query) -> None:
        """Raises:
        GridError: the coarse grid is finer than the fine one, or (with `whole_blocks`) does not nest in it.
        InputError: another resolution than the fine grid's is asked for.
        """
        fine, coarse, wanted = scene.per_cell("fine"), scene.per_cell("coarse"), query["fine"].per_cell
        if coarse > fine:
            raise GridError(
                f"the coarse images have {coarse} pixels along a cell of {scene.name}, the fine ones {fine}: "
                "exchange the roles"
            )
        if self.whole_blocks and self.native(scene) * fine % coarse:
            raise GridError(
                f"{self.card.name} needs coarse pixels of a whole number of fine pixels; here one is "
                f"{self.native(scene) * fine / coarse:g} wide: resample the coarse images (--resample coarse)"
            )
        if wanted != fine:
            cell = scene.cells.affine.a
            raise InputError(
                f"{self.card.name} predicts on the grid of the fine images ({cell / fine:g}); "
                f"{cell / wanted:g} was asked for: leave out the resolution"
            )

    def tiling(self, scene: Scene, step: Step) -> Local:
        fine, coarse = self.reach()
        native, n = self.native(scene), scene.per_cell("coarse")
        align = lcm(native, n) // n
        cells = ceil(fine / scene.per_cell("fine")) + ceil(coarse * native / n)
        halo = ceil(cells / align) * align
        return Local({"fine": halo, "coarse": halo}, align)

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int:
        """Layers of all bands over the core and its halo, two of every date (as read and resampled), and tables."""
        halo = self.tiling(scene, step).halo["fine"]
        height, width = (min(side + 2 * halo, most) for side, most in zip(size, scene.size, strict=True))
        dates = sum(len(days) for days in step.inputs.values())
        numbers = height * width * scene.per_cell("fine") ** 2 * len(self.matched(scene))
        return 4 * numbers * (self.layers + 2 * dates) + _TABLES

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        wanted, day = step.query["fine"], step.query["fine"].dates[0]
        bands = list(self.matched(tile.cubes))
        made = self.compute(tile, step, state, runtime)[[bands.index(key) for key in wanted.bands]].float()
        if day in step.inputs["fine"]:
            seen = usable(tile.cubes["fine"], day, wanted.bands).to(made)
            made = torch.where(seen.isnan(), made, seen)
        rows, cols = tile.core_in("fine").slices
        return {"fine": block(made[None, :, rows, cols])}

    def matched(self, cubes: Scene | Mapping[str, Cube]) -> dict[str, str]:
        """The coarse band of each fine band."""
        return matching_bands(cubes["fine"], cubes["coarse"], self.options.bands)

    def native(self, cubes: Scene | Mapping[str, Cube]) -> int:
        """Coarse grid pixels along one real coarse pixel's side; 1 where the method does not need real ones."""
        if not self.whole_blocks:
            return 1
        return max(cubes["coarse"].select(bands=dict.fromkeys(self.matched(cubes).values())).native)


class PairMethod(CoarseFineMethod):
    """Base of the methods on one or two reference pairs."""

    options: PairOptions

    @abstractmethod
    def pairs_wanted(self) -> tuple[int, int]:
        """(fewest, most) reference pairs, the most 1 or 2."""

    @abstractmethod
    def fuse(self, images: Images, step: Step, state: State) -> Tensor:
        """The fine image of the wanted day over the window: [b h w], scaled, NaN where nothing can be said."""

    def choose(self, scene: Scene, day: date) -> Choice | str:
        check_references(self.options.references, scene["fine"])
        fine = usable_days(scene["fine"], self.options.min_clear_share)
        if self.options.references:
            fine = tuple(sorted(self.options.references))
        return choose(day, fine, usable_days(scene["coarse"], 0), self.pairs_wanted(), self.options.max_gap)

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        """Mean and standard deviation of every reference image: `days` [n], `mean` and `std` [n b]."""
        days = sorted({day for step in plan.steps for day in references(step)})
        return statistics.of_references(scene, days, tuple(self.matched(scene)), self.options.scale)

    def compute(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Tensor:
        return self.fuse(self._images(tile, step, runtime.device), step, state) / self.options.scale

    def _images(self, tile: Tile, step: Step, device: torch.device) -> Images:
        matched, coarse = self.matched(tile.cubes), tile.cubes["coarse"]
        days = references(step)
        own, *others = (
            usable(coarse, chosen, list(matched.values())).to(device) * self.options.scale
            for chosen in coarse_days(step, self.options.max_gap)
        )
        fine = tuple(usable(tile.cubes["fine"], day, list(matched)).to(device) * self.options.scale for day in days)
        return Images(days, fine, tuple(others), own, Place.of(tile, self.native(tile.cubes)))


def references(step: Step) -> tuple[date, ...]:
    """Days of a step's reference images."""
    return tuple(day for day in step.inputs["fine"] if day not in step.query["fine"].dates)


def coarse_days(step: Step, max_gap: int) -> list[date]:
    """Days of the coarse images of a step: the wanted day's, then those of its pairs."""
    days = (step.query["fine"].dates[0], *references(step))
    # The nearest of all is also the nearest of those that the step was given.
    return [found for day in days if (found := coarse_of(day, step.inputs["coarse"], max_gap)) is not None]
