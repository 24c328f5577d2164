"""What the coarse/fine methods share: options, choice of pairs, halos, decoding, and putting results back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from math import ceil, lcm
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from torch import Tensor

from sitsfusion.cube import Cube, Frame
from sitsfusion.errors import GridError, InputError
from sitsfusion.grid import Window
from sitsfusion.methods.arrays import block
from sitsfusion.methods.base import Block, Local, Method, MethodPlan, Options, Refusal, State, Step, Tile
from sitsfusion.methods.stf_classical import statistics
from sitsfusion.methods.stf_classical.blocks import block_means
from sitsfusion.methods.stf_classical.pairs import (
    Choice,
    check_references,
    choose,
    coarse_of,
    matching_bands,
    usable_days,
)
from sitsfusion.ops.resample import bicubic, bilinear, nearest
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

_RESAMPLE = {"nearest": nearest, "bilinear": bilinear, "bicubic": bicubic}
# Coarse pixels beyond the one that holds a fine pixel which its resampled value depends on.
_TAPS = {"nearest": 0, "bilinear": 1, "bicubic": 2}


def _odd(window: int) -> int:
    if window % 2 == 0:
        raise ValueError(f"a window of {window} pixels has no centre; give an odd number")
    return window


OddWindow = Annotated[int, Field(ge=1, le=255), AfterValidator(_odd)]


class PairOptions(Options):
    """Options of all methods on pairs of coarse and fine images."""

    references: tuple[date, ...] = Field((), description="days of the reference pairs (default: chosen by date)")
    max_gap: int = Field(0, ge=0, description="days at most between a day and the coarse image that stands for it")
    min_clear_share: float = Field(0.5, ge=0, le=1, description="reference images need this share of usable pixels")
    keep_observed: bool = Field(True, description="keep the fine pixels that were observed clear on the wanted day")
    bands: dict[str, str] = Field({}, description="coarse band of each fine band (default: same common name)")
    scale: float = Field(10_000, gt=0, description="values are multiplied by this first; constants assume 10000")


class GriddedOptions(PairOptions):
    """Options of methods that see the coarse images on the fine grid."""

    resampling: Literal["nearest", "bilinear", "bicubic"] = Field(
        "nearest", description="how coarse images are brought onto the fine grid"
    )


@dataclass(frozen=True, eq=False)
class Pair:
    """A fine and a coarse image [b h w] on one grid, NaN where not usable (in all bands)."""

    fine: Tensor
    coarse: Tensor


@dataclass(frozen=True, eq=False)
class Images:
    """What a method computes from, over one window of the scene; scaled, NaN where not usable (in all bands).

    Attributes:
        references: days of the pairs, in time order.
        fine: one image [b h w] per pair, on the fine grid.
        coarse: one image [b h' w'] per pair, on the coarse grid.
        wanted: coarse image of the wanted day [b h' w'].
        window: of the scene, in cells.
        per_cell: fine and coarse pixels along a cell's side.
        native: coarse grid pixels along one real coarse pixel's side.
        scene_size: of the whole scene in cells.
    """

    references: tuple[date, ...]
    fine: tuple[Tensor, ...]
    coarse: tuple[Tensor, ...]
    wanted: Tensor
    window: Window
    per_cell: tuple[int, int]
    native: int
    scene_size: tuple[int, int]

    @property
    def ratio(self) -> int:
        """Fine pixels along one real coarse pixel's side."""
        return self.native * self.per_cell[0] // self.per_cell[1]

    def blocks(self) -> tuple[Tensor, Tensor]:
        """Coarse images of the (first) pair and of the wanted day, one pixel per real coarse pixel."""
        first, second = (block_means(image, self.native) for image in (self.coarse[0], self.wanted))
        return first, second

    def on_fine(self, method: str) -> tuple[list[Pair], Tensor]:
        """Pairs and the wanted day's coarse image on the fine grid."""
        factor = self.per_cell[1] / self.per_cell[0]
        coarse = [_RESAMPLE[method](image, factor) for image in (*self.coarse, self.wanted)]
        return [Pair(f, c) for f, c in zip(self.fine, coarse[:-1], strict=True)], coarse[-1]

    def of_references(self, array: NDArray[np.float64], state: State) -> Tensor:
        """Rows of a table of all reference days [n ...] that belong to these pairs: [k ...]."""
        days = list(state["days"])
        return torch.from_numpy(array[[days.index(d.toordinal()) for d in self.references]]).to(self.wanted.device)


class PairMethod(Method):
    """Base of the methods: one step per wanted day.

    A method says how many pairs it takes (`pairs_wanted`), how far an output pixel sees (`reach`), and computes
    (`fuse`). Bands without a counterpart on the other sensor are not predicted.
    """

    options: PairOptions

    @abstractmethod
    def pairs_wanted(self) -> tuple[int, int]:
        """(fewest, most) reference pairs, the most 1 or 2."""

    @abstractmethod
    def reach(self) -> tuple[int, int]:
        """How far an output pixel sees: fine pixels, and coarse pixels beyond those."""

    @abstractmethod
    def fuse(self, images: Images, step: Step, state: State) -> Tensor:
        """The fine image of the wanted day over the window: [b h w], scaled, NaN where nothing can be said."""

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        self.inputs(scene)
        bands = tuple(matching_bands(scene["fine"], scene["coarse"], self.options.bands))
        return {"fine": Output(scene["fine"].sensor, bands, scene.per_cell("fine"))}

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        """One step per day: its pairs are a choice for the whole scene."""
        self.check_grids(scene, query)
        steps: list[Step] = []
        refused: list[Refusal] = []
        for day in query["fine"].dates:
            chosen = self._choose(scene, day)
            if isinstance(chosen, str):
                refused.append(Refusal("fine", day, f"{self.card.name}: {chosen}"))
                continue
            own = [day] if self.options.keep_observed and day in scene["fine"].dates else []
            inputs = {"fine": tuple(sorted({*chosen.references, *own})), "coarse": chosen.coarse}
            steps.append(Step(f"s{len(steps):03d}", inputs, {"fine": query["fine"].at([day])}))
        return MethodPlan(tuple(steps), tuple(refused))

    def check_grids(self, scene: Scene, query: Query) -> None:
        """Raises:
        GridError: the coarse grid is finer than the fine one.
        InputError: another resolution than the fine grid's is asked for.
        """
        fine, coarse, wanted = scene.per_cell("fine"), scene.per_cell("coarse"), query["fine"].per_cell
        if coarse > fine:
            raise GridError(
                f"the coarse images have {coarse} pixels along a cell of {scene.name}, the fine ones {fine}: "
                "exchange the roles"
            )
        if wanted != fine:
            cell = scene.cells.affine.a
            raise InputError(
                f"{self.card.name} predicts on the grid of the fine images ({cell / fine:g}); "
                f"{cell / wanted:g} was asked for: leave out the resolution"
            )

    def tiling(self, scene: Scene, step: Step) -> Local:
        fine, coarse = self.reach()
        halo = ceil(fine / scene.per_cell("fine")) + ceil(coarse / scene.per_cell("coarse"))
        return Local({"fine": halo, "coarse": halo})

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        """Mean and standard deviation of every reference image: `days` [n], `mean` and `std` [n b]."""
        return statistics.of_references(scene, self.reference_days(plan), self.fine_bands(scene), self.options.scale)

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        wanted, day = step.query["fine"], step.query["fine"].dates[0]
        images, bands = self._images(tile, step, runtime.device)
        made = self.fuse(images, step, state) / self.options.scale  # [b h w]
        made = made[[bands.index(key) for key in wanted.bands]].float()
        if day in step.inputs["fine"]:
            seen = _usable(tile.cubes["fine"].select(wanted.bands, [day]).frame(0)).to(made)
            made = torch.where(seen.isnan(), made, seen)
        rows, cols = tile.core_in("fine").slices
        return {"fine": block(made[None, :, rows, cols])}

    def fine_bands(self, scene: Scene) -> tuple[str, ...]:
        """The fine bands that have a coarse counterpart."""
        return tuple(matching_bands(scene["fine"], scene["coarse"], self.options.bands))

    def reference_days(self, plan: MethodPlan) -> list[date]:
        """Days of all fine images that serve as a reference."""
        return sorted({day for step in plan.steps for day in references(step)})

    def _choose(self, scene: Scene, day: date) -> Choice | str:
        check_references(self.options.references, scene["fine"])
        fine = usable_days(scene["fine"], self.options.min_clear_share)
        if self.options.references:
            fine = tuple(sorted(self.options.references))
        coarse = usable_days(scene["coarse"], 0)
        return choose(day, fine, coarse, self.pairs_wanted(), self.options.max_gap)

    def _images(self, tile: Tile, step: Step, device: torch.device) -> tuple[Images, tuple[str, ...]]:
        matched = matching_bands(tile.cubes["fine"], tile.cubes["coarse"], self.options.bands)
        fine, coarse = tile.cubes["fine"].select(bands=matched), tile.cubes["coarse"].select(bands=matched.values())
        days, gap = references(step), self.options.max_gap

        def image(cube: Cube, day: date | None) -> Tensor:
            return _usable(cube.select(dates=[day] if day else []).frame(0)).to(device) * self.options.scale

        made = Images(
            days,
            tuple(image(fine, day) for day in days),
            tuple(image(coarse, coarse_of(day, coarse.dates, gap)) for day in days),
            image(coarse, coarse_of(step.query["fine"].dates[0], coarse.dates, gap)),
            tile.reach["fine"],
            (tile.per_cell["fine"], tile.per_cell["coarse"]),
            max(coarse.native),
            tile.scene_size,
        )
        return made, tuple(matched)


class BlockMethod(PairMethod):
    """Base of the methods that compute on the real coarse pixels of one pair: a whole number of fine pixels wide."""

    def pairs_wanted(self) -> tuple[int, int]:
        return 1, 1

    def check_grids(self, scene: Scene, query: Query) -> None:
        """Raises:
        GridError: in addition, a coarse pixel is not a whole number of fine pixels wide.
        """
        super().check_grids(scene, query)
        native, fine, coarse = self.native(scene), scene.per_cell("fine"), scene.per_cell("coarse")
        if native * fine % coarse:
            raise GridError(
                f"{self.card.name} needs coarse pixels of a whole number of fine pixels; here one is "
                f"{native * fine / coarse:g} wide: resample the coarse images (--resample coarse)"
            )

    def align(self, scene: Scene) -> int:
        coarse = scene.per_cell("coarse")
        return lcm(self.native(scene), coarse) // coarse

    def native(self, scene: Scene) -> int:
        """Coarse grid pixels along one real coarse pixel's side."""
        bands = matching_bands(scene["fine"], scene["coarse"], self.options.bands)
        return max(scene["coarse"].select(bands=dict.fromkeys(bands.values())).native)

    def tiling(self, scene: Scene, step: Step) -> Local:
        fine, coarse = self.reach()
        align, native = self.align(scene), self.native(scene)
        cells = ceil(fine / scene.per_cell("fine")) + ceil(coarse * native / scene.per_cell("coarse"))
        halo = ceil(cells / align) * align
        return Local({"fine": halo, "coarse": halo}, align)


def references(step: Step) -> tuple[date, ...]:
    """Days of a step's reference pairs."""
    return tuple(day for day in step.inputs["fine"] if day not in step.query["fine"].dates)


def taps(resampling: str) -> int:
    """Coarse pixels beyond its own that a resampled fine pixel depends on."""
    return _TAPS[resampling] + 1


def _usable(frame: Frame) -> Tensor:
    """Values [b h w], NaN where the pixel is not valid."""
    return torch.from_numpy(np.where(frame.valid, frame.values, np.float32(np.nan)))
