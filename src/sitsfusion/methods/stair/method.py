"""STAIR: the coarse image of a day, plus what fine and coarse images differ by, interpolated in time.

Luo, Guan, Peng (RSE 214, 2018); as a baseline in Michel and Inglada (2025), TAMRFSITS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from sitsfusion.dates import days_since
from sitsfusion.methods.arrays import block, stack
from sitsfusion.methods.base import Block, Card, Local, Method, MethodPlan, Options, Refusal, State, Step, Tile
from sitsfusion.methods.roles import BICUBIC_REACH, to_output
from sitsfusion.methods.stair import alignment
from sitsfusion.methods.stair.fusion import difference_fusion, masked_fusion
from sitsfusion.methods.stair.gaps import Search, fill
from sitsfusion.methods.stair.survey import Rules, Survey, references, spectra
from sitsfusion.methods.two_sensors import band_pairs, halo, on_fine_grid, paired_output, whole_ratio
from sitsfusion.ops.clusters import classify
from sitsfusion.ops.resample import bicubic
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime


class StairOptions(Options):
    """Options of `stair`; all but `mode` concern mode `full` only."""

    mode: Literal["reference", "full"] = Field(
        "reference", description="reference: as compared in TAMRFSITS; full: as its authors published it"
    )
    max_shift: int = Field(1, ge=0, description="largest shift of a coarse image that is looked for, in its pixels")
    adjust: bool = Field(True, description="adjust each coarse band to the fine one by a line over the whole scene")
    clusters: int | None = Field(None, ge=1, description="classes of pixels (default: chosen by the gap statistic)")
    most_clusters: int = Field(8, ge=1, description="at most so many classes are chosen")
    references: int = Field(
        6, ge=1, description="a gap is filled from so many other fine images, nearest in time first"
    )
    neighbours: int = Field(20, ge=1, description="similar pixels whose error corrects a filled one")
    window: int = Field(31, ge=1, description="window in which they are searched first, fine pixels")
    growth: int = Field(10, ge=2, description="the window grows by so many pixels until they are found")
    largest: int = Field(61, ge=1, description="largest window; fewer neighbours are taken if no more are in it")

    @model_validator(mode="after")
    def _check_windows(self) -> StairOptions:
        if self.largest < self.window:
            raise ValueError(f"the largest window, {self.largest}, must not be smaller than the first, {self.window}")
        return self


class Stair(Method):
    """Mode reference: masks of the coarse images are not used, a missing pixel becomes 0 and nothing is masked; the
    fine image of a target day is never looked at. Mode full: masks are respected and every image is used.
    """

    card: ClassVar[Card] = Card(
        name="stair",
        title="STAIR: interpolated fine minus coarse difference",
        summary="Coarse image of the day plus the fine-coarse difference, interpolated between days of both sensors.",
        citation="Luo, Guan, Peng (2018), RSE 214; baseline STAIR of Michel and Inglada (2025), TAMRFSITS",
        needs=("fine", "coarse"),
    )
    Options: ClassVar[type[Options]] = StairOptions
    options: StairOptions

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        self.inputs(scene)
        return paired_output(scene)

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        return self._plan_full(scene, query) if self._full else _plan_reference(scene, query)

    def tiling(self, scene: Scene, step: Step) -> Local:
        if self._full:
            return halo(scene, step, fine=self._search.radii[-1], coarse=self.options.max_shift)
        return halo(scene, step, fine=0, coarse=BICUBIC_REACH)

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        """Mode full: shifts and spectral lines of the coarse images, classes, and lines between fine images."""
        if not self._full or not plan.steps:
            return {}
        o = self.options
        rules = Rules(o.max_shift, o.adjust, o.clusters, o.most_clusters, o.references)
        return Survey(scene, band_pairs(scene.cubes), whole_ratio(scene, "stair"), rules).learn(runtime.seed)

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int | None:
        """Mode full keeps both series on the fine grid, gaps filled and not."""
        if not self._full:
            return None
        cells = 2 * self.tiling(scene, step).halo["coarse"]
        pixels = (size[0] + cells) * (size[1] + cells) * scene.per_cell("fine") ** 2
        images = 4 * len(step.inputs["fine"]) + 3 * len(step.inputs["coarse"]) + 3 * len(step.query["fine"].dates)
        return 4 * pixels * images * len(band_pairs(scene.cubes))

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        made = self._full_fusion(tile, step, state) if self._full else _reference_fusion(tile, step)
        return {"fine": block(to_output(made, tile, "fine", step.query["fine"].per_cell))}

    @property
    def _full(self) -> bool:
        return self.options.mode == "full"

    @property
    def _search(self) -> Search:
        o = self.options
        return Search(o.neighbours, o.window, o.growth, o.largest)

    def _plan_full(self, scene: Scene, query: Query) -> MethodPlan:
        """One step: every image serves every day."""
        whole_ratio(scene, "stair")
        wanted, inputs = query["fine"], {role: scene[role].dates for role in self.inputs(scene)}
        if set(inputs["fine"]) & set(inputs["coarse"]):
            return MethodPlan((Step("s000", inputs, {"fine": wanted}),))
        reason = "stair needs a day that has both a fine and a coarse image, there is none"
        return MethodPlan((), tuple(Refusal("fine", day, reason) for day in wanted.dates))

    def _full_fusion(self, tile: Tile, step: Step, state: State) -> Tensor:
        """All matched bands [q b h w], then those asked for."""
        pairs, fine_days = band_pairs(tile.cubes), step.inputs["fine"]
        fine = _clear(tile, "fine", list(pairs))
        classes = classify(spectra(fine, fine_days), torch.from_numpy(state["centres"]))
        filled = []
        both = references(fine_days, step.inputs["coarse"], self.options.references)
        for (day, others), lines in zip(both.items(), torch.from_numpy(state["lines"]), strict=True):
            from_others = fine[[fine_days.index(d) for d in others]]
            filled.append(fill(fine[fine_days.index(day)], from_others, classes, lines, self._search))
        coarse = _aligned(tile, _clear(tile, "coarse", list(pairs.values())), state)
        wanted = step.query["fine"]
        made = masked_fusion(
            (torch.stack(filled), _days(tuple(both), tile)),
            (coarse, _days(step.inputs["coarse"], tile)),
            _days(wanted.dates, tile),
        )
        return made[:, [list(pairs).index(key) for key in wanted.bands]]


def _plan_reference(scene: Scene, query: Query) -> MethodPlan:
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


def _refusal(day: date, fine: Sequence[date], coarse: Sequence[date]) -> str | None:
    if day not in coarse:
        return "stair needs a coarse image of the day, there is none"
    if not set(fine) & set(coarse):
        return "stair needs another day that has both a fine and a coarse image, there is none"
    return None


def _reference_fusion(tile: Tile, step: Step) -> Tensor:
    """The bands asked for [q b h w], 0 where nothing is known."""
    wanted, pairs = step.query["fine"], band_pairs(tile.cubes)
    fine, valid = stack(tile.cubes["fine"].select(bands=wanted.bands))
    stored, _ = stack(tile.cubes["coarse"].select(bands=[pairs[key] for key in wanted.bands]))
    coarse = on_fine_grid(tile, stored, bicubic)
    fine_days, coarse_days, targets = (
        _days(days, tile) for days in (step.inputs["fine"], step.inputs["coarse"], wanted.dates)
    )
    return difference_fusion((fine, valid, fine_days), (coarse, coarse_days), targets).nan_to_num(nan=0.0)


def _clear(tile: Tile, role: str, bands: list[str]) -> Tensor:
    """All images of a role [t b h w], NaN where not usable."""
    values, valid = stack(tile.cubes[role].select(bands=bands))
    return values.masked_fill(~valid[:, None], torch.nan)


def _aligned(tile: Tile, coarse: Tensor, state: State) -> Tensor:
    """Coarse images adjusted to the fine sensor, on the fine grid and over the fine reach: [s b h w]."""
    slope, offset = (torch.from_numpy(part).to(coarse)[:, None, None] for part in state["line"])
    ratio = tile.per_cell["fine"] // tile.per_cell["coarse"]
    rows, cols = tile.reach["fine"].relative_to(tile.reach["coarse"]).scaled(tile.per_cell["fine"]).slices
    moved = [
        alignment.on_fine_grid(slope * image + offset, ratio, (int(dy), int(dx)))[..., rows, cols]
        for image, (dy, dx) in zip(coarse, state["shifts"], strict=True)
    ]
    return torch.stack(moved)


def _days(days: Sequence[date], tile: Tile) -> Tensor:
    return torch.from_numpy(days_since(days, tile.origin))
