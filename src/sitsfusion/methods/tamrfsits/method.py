"""TAMRFSITS behind the method protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from sitsfusion import sensors
from sitsfusion.checkpoints.common import digest, weights_file
from sitsfusion.checkpoints.tamrfsits import load_tamrfsits
from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.errors import GridError, MissingBandError
from sitsfusion.fetch import resolve
from sitsfusion.grid import Window
from sitsfusion.methods.arrays import block
from sitsfusion.methods.base import (
    Block,
    Card,
    Local,
    Method,
    MethodPlan,
    Options,
    Refusal,
    State,
    Step,
    Tile,
    Tiling,
    Whole,
)
from sitsfusion.methods.tamrfsits.compensation import MARGIN, compensated
from sitsfusion.methods.tamrfsits.footprint import footprint
from sitsfusion.methods.tamrfsits.inference import Frames, Settings, predict_core
from sitsfusion.methods.tamrfsits.planning import DateBlock, Limits, make_blocks, useful
from sitsfusion.methods.tamrfsits.radiometry import physical, standardise
from sitsfusion.methods.tamrfsits.reach import reach
from sitsfusion.nets.tamrfsits import Role, TamrfsitsNet
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene
from sitsfusion.weights.config import SensorInput, TamrfsitsWeights

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

# Roles of a scene and sensors of the network; outputs have the coarse bands first.
_SENSORS: Mapping[str, Role] = {"coarse": "lr", "fine": "hr"}
_TEMPERATURE = "LST"
_PUBLISHED = (".ckpt", ".pt", ".pth")


class TamrfsitsOptions(Options):
    """Options of `tamrfsits`."""

    weights: str = Field("tamrfsits-v2", description="fetched name, folder of our format, or published .ckpt file")
    max_dates: int = Field(50, ge=1, description="input images that a block of output dates may use")
    window_days: int = Field(365, ge=1, description="days that they may span")
    min_clear_share: float = Field(0.25, ge=0, le=1, description="images with fewer usable pixels are left out")
    residual_compensation: bool = Field(
        False, description="at dates with a coarse image, add what the prediction lacks of it where it is clear"
    )


class Tamrfsits(Method):
    """Every band of both sensors on the fine grid at any day, from images of one or both sensors.

    A `thermal` role on the coarse grid gives the surface temperature where the coarse images have none: coarse and
    thermal images of one day are one input image.
    """

    card: ClassVar[Card] = Card(
        name="tamrfsits",
        title="Temporal attention multi-resolution fusion",
        summary="All bands of Sentinel-2 and Landsat at 10 m at any day, by attention over the dates of each pixel.",
        citation="J. Michel and J. Inglada, Temporal Attention Multi-Resolution Fusion of Satellite Image Time Series "
        "(TAMRFSITS), 2025; weights: doi 10.5281/zenodo.17474541 (version 2), 10.5281/zenodo.15582231 (version 1)",
        uses=("fine", "coarse", "thermal"),
        learned=True,
        needs_clear_share=True,
    )
    Options: ClassVar[type[Options]] = TamrfsitsOptions
    options: TamrfsitsOptions

    @property
    def weights(self) -> TamrfsitsWeights:
        """What the weights say about themselves; raises when they cannot be found or read."""
        return _load(self._path)[1]

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        weights = self.weights
        n = _fine_per_cell(scene, weights.architecture.ratio)
        return {
            "fine": Output(sensors.get(weights.hr.sensor), weights.hr.keys, n),
            "coarse": Output(sensors.get(weights.lr.sensor), weights.lr.keys, n),
        }

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        _check_grids(scene, query, self.weights.architecture.ratio)
        available = {role: self._usable(scene, role) for role in _SENSORS if role in scene}
        origin = scene.origin or self._origin(available)
        limits = Limits(self.options.max_dates, self.options.window_days, self.options.min_clear_share)
        steps: list[Step] = []
        refused: list[Refusal] = []
        for found in make_blocks(sorted({d for q in query.values() for d in q.dates}), available, limits):
            if any(found.inputs.values()):
                steps.append(_step(f"s{len(steps):03d}", found, query, "thermal" in scene, scene))
            else:
                why = f"no usable image within {limits.window_days} days around it"
                refused += [Refusal(role, d, why) for role, q in query.items() for d in q.dates if d in found.days]
        return MethodPlan(tuple(steps), tuple(refused), self._notes(scene, available, origin), origin)

    def tiling(self, scene: Scene, step: Step) -> Tiling:
        ratio, found = self.weights.architecture.ratio, reach(self.weights.architecture)
        n = _fine_per_cell(scene, ratio)
        if not found.allows_tiles(scene.size[0] * n, scene.size[1] * n):
            return Whole()
        margin = MARGIN if self.options.residual_compensation else 0
        coarse = ceil((found.lr + ceil(margin / ratio)) * ratio / n)
        halo = {"fine": ceil((found.hr + margin) / n), "coarse": coarse, "thermal": coarse}
        return Local(halo, max(1, found.multiple // n))

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int:
        n = _fine_per_cell(scene, self.weights.architecture.ratio)
        counts = {role: len(step.inputs.get(role, ())) for role in _SENSORS}
        queries = len({d for q in step.query.values() for d in q.dates})
        pixels = (size[0] * n, size[1] * n)
        return footprint(self.weights.architecture, pixels, counts["coarse"], counts["fine"], queries, torch.float32)

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        net, weights = _load(self._path)
        net = runtime.network(str(self._path), lambda: net)
        days = sorted({day for wanted in step.query.values() for day in wanted.dates})
        channels = [(role, key) for role, wanted in step.query.items() for key in wanted.bands]
        first = {"coarse": 0, "fine": len(weights.lr.bands)}
        core, area = _core_area(tile, weights.architecture.ratio, MARGIN if self.options.residual_compensation else 0)
        settings = Settings(runtime.device, runtime.dtype, runtime.batch)
        frames = {role: _frames(tile, role, step, weights, area) for role in _SENSORS if _has(step, role)}
        out = predict_core(
            net, frames.get("coarse"), frames.get("fine"), torch.from_numpy(days_since(days, tile.origin)), settings,
            [first[role] + _input(weights, role).keys.index(key) for role, key in channels],
        )  # fmt: skip
        at = {role: [i for i, (r, _) in enumerate(channels) if r == role] for role in step.query}
        return {role: self._block(out[:, at[role]], tile, step, role, days, core, area) for role in step.query}

    def provenance(self) -> Mapping[str, Any]:
        return {"weights": self.weights.name, "weights_sha256": _digest(self._path), "licence": self.weights.licence}

    @property
    def _path(self) -> Path:
        return resolve(self.options.weights)

    def _usable(self, scene: Scene, role: str) -> tuple[date, ...]:
        """Dates of a role with all required bands and enough usable pixels."""
        cube, wanted = scene[role], _input(self.weights, role)
        lacking = [k for k in wanted.keys if k not in cube.bands and k not in wanted.optional_bands]
        dates = useful(cube, self.options.min_clear_share)
        if role == "coarse" and lacking == [_TEMPERATURE] and "thermal" in scene:
            return tuple(d for d in dates if d in set(scene["thermal"].dates))
        if lacking:
            raise MissingBandError(
                f"weights {self.weights.name} need the {role} band(s) {', '.join(lacking)}, which the images lack "
                f"(they have {', '.join(cube.bands)}); add them, or use weights that were trained without them"
            )
        return dates

    def _origin(self, available: Mapping[str, Sequence[date]]) -> date | None:
        rule = self.weights.day_origin
        if isinstance(rule, date):
            return rule
        first = available.get("fine") or available.get("coarse") or (None,)
        return first[0]

    def _notes(self, scene: Scene, available: Mapping[str, Sequence[date]], origin: date | None) -> tuple[str, ...]:
        weights, notes = self.weights, []
        rule = "given" if scene.origin else f"rule of the weights: {weights.day_origin}"
        notes.append(f"weights {weights.name}; day 0 is {origin} ({rule})")
        for role, dates in available.items():
            left = len(scene[role]) - len(dates)
            if left:
                notes.append(f"{left} of {len(scene[role])} {role} images are left out: too cloudy, or no temperature")
            if scene[role].sensor.name != _input(weights, role).sensor:
                trained = _input(weights, role).sensor
                notes.append(f"the {role} images are {scene[role].sensor.name}; the weights were trained on {trained}")
        return tuple(notes)

    def _block(
        self, out: Tensor, tile: Tile, step: Step, role: str, days: Sequence[date], core: Window, area: Window
    ) -> Block:
        """One role of the network's output over `area`, in physical units, at the role's dates, cut to `core`."""
        wanted, given = step.query[role], _input(self.weights, role)
        values = physical(out, given, [given.keys.index(key) for key in wanted.bands])
        values = values[[days.index(day) for day in wanted.dates]]
        if self.options.residual_compensation and role == "coarse" and "coarse" in tile.cubes:
            values = compensated(values, wanted, tile, given, area)
        rows, cols = core.relative_to(area).slices
        return block(values[..., rows, cols])


@cache
def _load(path: Path) -> tuple[TamrfsitsNet, TamrfsitsWeights]:
    return load_tamrfsits(path)


@cache
def _digest(path: Path) -> str:
    return digest(path if path.suffix in _PUBLISHED else weights_file(path))


def _input(weights: TamrfsitsWeights, role: str) -> SensorInput:
    return weights.hr if role == "fine" else weights.lr


def _fine_per_cell(scene: Scene, ratio: int) -> int:
    """Pixels of the network's output along a cell's side."""
    return scene.per_cell("fine") if "fine" in scene else scene.per_cell("coarse") * ratio


def _check_grids(scene: Scene, query: Query, ratio: int) -> None:
    n = _fine_per_cell(scene, ratio)
    for role in ("coarse", "thermal"):
        if role in scene and scene.per_cell(role) * ratio != n:
            raise GridError(
                f"these weights need {role} pixels exactly {ratio} times larger than fine ones; the ratio is "
                f"{n / scene.per_cell(role):g}: resample one of them (--resample {role})"
            )
    for role, wanted in query.items():
        if wanted.per_cell != n:
            pixel = scene.cells.affine.a / n
            raise GridError(f"tamrfsits predicts {role} on pixels of {pixel:g} only; leave --resolution out")


def _step(name: str, found: DateBlock, query: Query, thermal: bool, scene: Scene) -> Step:
    inputs = {role: dates for role, dates in found.inputs.items() if dates}
    if thermal and "coarse" in inputs:
        inputs["thermal"] = tuple(d for d in scene["thermal"].dates if d in set(inputs["coarse"]))
    outputs = {role: q.at([d for d in q.dates if d in set(found.days)]) for role, q in query.items()}
    return Step(name, inputs, {role: q for role, q in outputs.items() if q.dates})


def _has(step: Step, role: str) -> bool:
    return bool(step.inputs.get(role))


def _core_area(tile: Tile, ratio: int, margin: int) -> tuple[Window, Window]:
    """The core, and the core with `margin` fine pixels around it in whole coarse pixels, clipped at the border; both
    in fine pixels of the whole scene.
    """
    n = tile.per_cell["fine"] if "fine" in tile.per_cell else tile.per_cell["coarse"] * ratio
    border = (tile.scene_size[0] * n, tile.scene_size[1] * n)
    return tile.core.scaled(n), tile.core.scaled(n).padded(ceil(margin / ratio) * ratio, border)


def _frames(tile: Tile, role: str, step: Step, weights: TamrfsitsWeights, area: Window) -> Frames:
    """The images of one sensor, joined with temperatures, decoded and standardised one at a time."""
    cube, ratio = tile.cubes[role], weights.architecture.ratio
    n = tile.per_cell[role]
    fine = n if role == "fine" else n * ratio
    core = area.relative_to(tile.reach[role].scaled(fine))
    if role == "coarse":
        core = Window(core.row // ratio, core.col // ratio, core.height // ratio, core.width // ratio)
    given, thermal = _input(weights, role), tile.cubes.get("thermal") if role == "coarse" else None

    def frame(t: int) -> Tensor:
        return standardise(torch.from_numpy(_joined(cube, thermal, t, given.keys)), given)

    return Frames(torch.from_numpy(days_since(cube.dates, tile.origin)), frame, cube.shape[2:], core)


def _joined(cube: Cube, thermal: Cube | None, t: int, keys: Sequence[str]) -> NDArray[np.float32]:
    """Image t in the network's band order [c, h, w]; NaN where a band was not observed."""
    values = np.full((len(keys), *cube.shape[2:]), np.nan, np.float32)
    present = [key for key in keys if key in cube.bands]
    values[[keys.index(key) for key in present]] = cube.select(bands=present).frame(t).values
    if thermal is not None and _TEMPERATURE in keys and _TEMPERATURE not in cube.bands:
        day = cube.dates[t]
        if day in thermal.dates:
            same_day = thermal.select(bands=[_TEMPERATURE]).frame(thermal.dates.index(day))
            values[keys.index(_TEMPERATURE)] = same_day.values[0]
    return values
