"""DMS: temperatures at the pixel of the fine images, each with the help of the nearest clear fine image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from sitsfusion.cube import Cube
from sitsfusion.dates import distance
from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.methods.arrays import block
from sitsfusion.methods.base import Block, Card, Local, Method, MethodPlan, Options, Refusal, State, Step, Tile
from sitsfusion.methods.dms import sharpener
from sitsfusion.methods.dms.stored import from_arrays, to_arrays
from sitsfusion.methods.roles import BICUBIC_REACH, to_output
from sitsfusion.ops.resample import bicubic, nearest
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

Array = NDArray[np.float64]
# Trees are grown on temperatures in tenths of a kelvin and reflectances times 10000, as the published program is fed:
# the penalty of the leaf regressions depends on it.
_PER_KELVIN, _PER_REFLECTANCE = 10.0, 10_000.0
# Low pixels around the core that a result depends on: twice the resampler's two and one for filled gaps, and the
# block that holds the outermost; one more for bringing the temperature to the low grid.
_REACH = 8
# Fine pixels are read in squares of so many low pixels when the models are made.
_BLOCK = 48
# full: a low pixel is good where this share of its fine pixels is clear
_CLEAR_SHARE = 0.5


class DMSOptions(Options):
    """Options of `dms`."""

    mode: Literal["reference", "full"] = Field(
        "reference", description="reference: as compared in TAMRFSITS; full: with its known defects repaired"
    )
    bands: tuple[str, ...] = Field(
        ("blue", "green", "red", "nir"), min_length=1, description="fine bands to learn from"
    )
    resolution: float | None = Field(None, gt=0, description="pixel of the temperature, m (default: the band's own)")
    max_masked_share: float = Field(0.5, ge=0, le=1, description="fine images masked over a larger share are not used")
    residual_compensation: bool = Field(True, description="make the result agree with the coarse temperature")
    window: int = Field(15, ge=0, description="side of the windows of local models in coarse pixels; 0: none")
    trees: int = Field(10, ge=1, description="trees in a bag")
    mixed_cv: float | None = Field(
        None, gt=0, description="variation from which a temperature pixel is mixed (default: a window's upper fifth)"
    )
    drop_mixed: bool = Field(False, description="leave mixed temperature pixels out (default: half their weight)")
    bootstrap: bool = Field(True, description="each tree sees a random draw of the samples (seeded)")


class DMS(Method):
    """Models of the whole scene are made once, before any tile; a step per temperature image."""

    card: ClassVar[Card] = Card(
        name="dms",
        title="DMS: thermal sharpening by regression trees",
        summary="Temperature at 10 m from reflectances of the nearest clear day. Needs scikit-learn.",
        citation="Gao, Kustas, Anderson (2012), Remote Sensing 4; pyDMS as in Michel and Inglada (2025), TAMRFSITS",
        needs=("fine",),
        uses=("thermal", "coarse"),
        needs_clear_share=True,
    )
    Options: ClassVar[type[Options]] = DMSOptions
    options: DMSOptions

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        role, band = temperature_band(scene)
        return {role: Output(scene[role].sensor, (band,), scene.per_cell("fine"))}

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        """One step per temperature image: which fine image it learns from is a choice for the whole scene."""
        role, _ = temperature_band(scene)
        scene["fine"].select(bands=self.options.bands)  # refuses bands that are not there
        low = self._cells_per_low(scene, role)
        wanted, steps, refused = query[role], list[Step](), list[Refusal]()
        for day in wanted.dates:
            chosen = self._choose(scene["fine"], day)
            reason = _refusal(scene, role, day, chosen, low, self.options.max_masked_share)
            if reason is None and chosen is not None:
                inputs = {role: (day,), "fine": (chosen,)}
                steps.append(Step(f"s{len(steps):03d}", inputs, {role: wanted.at([day])}))
            else:
                refused.append(Refusal(role, day, str(reason)))
        return MethodPlan(tuple(steps), tuple(refused))

    def tiling(self, scene: Scene, step: Step) -> Local:
        (role,) = step.query
        low = self._cells_per_low(scene, role)
        extra = 0 if step.query[role].per_cell == scene.per_cell("fine") else BICUBIC_REACH
        return Local(dict.fromkeys(step.inputs, (_REACH + extra) * low), align=low)

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        """The trees of every step, and the size of the scene's low grid."""
        found: dict[str, NDArray[Any]] = {}
        for step in plan.steps:
            (role,) = step.query
            low = self._cells_per_low(scene, role)
            samples = self._samples(scene, step, role, low)
            seed = (runtime.seed, step.inputs[role][0].toordinal())
            found |= to_arrays(sharpener.train(samples, self._rules, seed), step.name)
            found["cells_per_low"] = np.array(low)
        return found

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        (role,), low_cells = step.query, int(state["cells_per_low"])
        ratio = low_cells * tile.per_cell["fine"]
        high, clear = self._bands(tile.cubes["fine"])
        low, seen = self._temperature(
            tile.cubes[role].select(bands=step.query[role].bands), low_cells * tile.per_cell[role]
        )
        reach = tile.reach["fine"]
        at = Window(reach.row // low_cells, reach.col // low_cells, *low.shape)
        place = sharpener.Place(at, (tile.scene_size[0] // low_cells, tile.scene_size[1] // low_cells), ratio)
        made = sharpener.sharpen(from_arrays(state, step.name), low, high, place, self._rules)
        if self.options.residual_compensation:
            good = None if self._reference else _good(clear, seen, ratio)
            made, _ = sharpener.corrected(low, made, place.grid, self._rules, good)
        return {role: self._block(tile, step, role, made / _PER_KELVIN, clear)}

    def _block(self, tile: Tile, step: Step, role: str, made: Array, clear: NDArray[np.bool_]) -> Block:
        n, fine = step.query[role].per_cell, tile.per_cell["fine"]
        at_output = replace(tile, per_cell={**tile.per_cell, role: fine})  # the temperature is on the fine grid now
        values = to_output(torch.from_numpy(made.astype(np.float32))[None, None], at_output, role, n)
        seen = torch.from_numpy(tile.cubes[role].frame(0).valid)
        mask = torch.from_numpy(clear) & nearest(seen, tile.per_cell[role] / fine)
        rows, cols = tile.core_in(role, n).slices
        shown = nearest(mask[None], fine / n)[:, rows, cols]
        return block(values, shown & values.isfinite().all(1))

    @property
    def _reference(self) -> bool:
        return self.options.mode == "reference"

    @property
    def _rules(self) -> sharpener.Rules:
        o, default = self.options, sharpener.Rules()
        bag: dict[str, Any] = {"trees": o.trees, "bootstrap": o.bootstrap}
        return sharpener.Rules(
            local=replace(default.local, **bag),
            overall=replace(default.overall, **bag),
            window=o.window,
            fill_holes=not self._reference,
            mixed_cv=o.mixed_cv,
            drop_mixed=o.drop_mixed,
        )

    def _cells_per_low(self, scene: Scene, role: str) -> int:
        """Cells along the side of a low pixel.

        Raises:
            InputError: the low pixel is not a whole number of cells.
        """
        _, band = temperature_band(scene)
        cell = float(scene.cells.affine.a)
        size = self.options.resolution or scene[role].sensor.band(band).resolution
        count = round(size / cell)
        if count < 1 or abs(count * cell - size) > 1e-6 * size:
            raise InputError(
                f"dms: a temperature pixel of {size:g} is not a whole number of the scene's cells of {cell:g}; "
                f"give one (--set resolution={max(1, count) * cell:g})"
            )
        return count

    def _choose(self, fine: Cube, day: date) -> date | None:
        usable = [
            d
            for d, item in zip(fine.dates, fine.items, strict=True)
            if item.clear_share is None or 1 - item.clear_share <= self.options.max_masked_share
        ]
        return usable[int(distance(usable, day).argmin())] if usable else None

    def _bands(self, cube: Cube) -> tuple[Array, NDArray[np.bool_]]:
        """The bands to learn from, times 10000 [c H W], and clear [H W].

        Reference: whole numbers of 16 bits, so that a negative reflectance becomes about 65535. Full: negatives are 0
        and clouds are missing.
        """
        frame = cube.select(bands=self.options.bands).frame(0)
        scaled = frame.values.astype(np.float64) * _PER_REFLECTANCE
        if self._reference:
            return np.mod(np.rint(scaled), 65536), frame.valid
        return np.where(frame.valid, np.maximum(scaled, 0), np.nan), frame.valid

    def _temperature(self, cube: Cube, factor: int) -> tuple[Array, NDArray[np.bool_]]:
        """The temperature on the low grid in tenths of a kelvin [h w], and clear on its own grid [H W]."""
        frame = cube.frame(0)
        low = bicubic(torch.from_numpy(frame.values[0] * np.float32(_PER_KELVIN)), factor).numpy().astype(np.float64)
        # the published program stores whole tenths; what is stored as a whole number must not fall below it
        return (np.floor(low + 1e-2) if self._reference else low), frame.valid

    def _samples(self, scene: Scene, step: Step, role: str, low: int) -> sharpener.Samples:
        """The low grid of the whole scene, read square by square."""
        factor = low * scene.per_cell(role)
        temperatures = scene[role].select(bands=step.query[role].bands, dates=step.inputs[role])
        temperature, seen = self._temperature(temperatures, factor)
        ratio, (h, w) = low * scene.per_cell("fine"), temperature.shape
        cube = scene["fine"].select(dates=step.inputs["fine"])
        means, cv = np.empty((len(self.options.bands), h, w)), np.empty((h, w))
        good = np.empty((h, w), bool)
        for square in sharpener.cells((h, w), _BLOCK):
            rows, cols = square.slices
            high, clear = self._bands(cube.window(square.scaled(ratio)))
            means[:, rows, cols], _, cv[rows, cols] = sharpener.aggregate(high, ratio)
            good[rows, cols] = _low_valid(clear, ratio, self._reference)
        return sharpener.Samples(means, cv, temperature, good & _low_valid(seen, factor, self._reference))


def temperature_band(scene: Scene) -> tuple[str, str]:
    """Role and key of the temperature: the first band in kelvin of the thermal images, else of the coarse ones.

    Raises:
        InputError: there is none.
    """
    for role in ("thermal", "coarse"):
        if role in scene:
            found = [band.key for band in scene[role].band_info() if band.unit == "kelvin"]
            if found:
                return role, found[0]
    raise InputError(
        f"dms needs thermal or coarse images with a band in kelvin; the scene has {', '.join(scene.cubes)}"
    )


def _low_valid(valid: NDArray[np.bool_], ratio: int, reference: bool) -> NDArray[np.bool_]:
    """Which low pixels are good: by the upper left pixel (reference), or by half of their pixels."""
    h, w = (side // ratio for side in valid.shape)
    whole = valid[: h * ratio, : w * ratio]
    if reference:
        return whole[::ratio, ::ratio]
    return np.asarray(whole.reshape(h, ratio, w, ratio).mean((1, 3)) >= _CLEAR_SHARE)


def _good(clear: NDArray[np.bool_], seen: NDArray[np.bool_], ratio: int) -> NDArray[np.bool_]:
    """Low pixels that are good in the fine image and in the temperature, which covers the same on its own grid."""
    factor = seen.shape[0] * ratio // clear.shape[0]
    return _low_valid(clear, ratio, reference=False) & _low_valid(seen, factor, reference=False)


def _refusal(scene: Scene, role: str, day: date, chosen: date | None, low: int, share: float) -> str | None:
    if day not in scene[role].dates:
        return "dms needs a temperature image of the day, there is none"
    if chosen is None:
        return f"dms needs a fine image with at most {share:.0%} masked, there is none"
    if min(scene.size) < low:
        return "the scene is smaller than one temperature pixel"
    return None
