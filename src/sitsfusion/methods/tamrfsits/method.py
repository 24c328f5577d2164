"""TAMRFSITS behind the method protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sitsfusion import sensors
from sitsfusion.checkpoints.tamrfsits import load_tamrfsits
from sitsfusion.cube import Cube
from sitsfusion.dates import days_since, local_year
from sitsfusion.errors import GridError, InputError, MissingBandError
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
from sitsfusion.methods.stored import Stored, provenance, stored
from sitsfusion.methods.tamrfsits.compensation import (
    MARGIN,
    cloud_bands,
    cloud_look,
    compensated,
    corrections,
    left_over,
    margin_in_time,
    of_bands,
    optics,
)
from sitsfusion.methods.tamrfsits.footprint import footprint
from sitsfusion.methods.tamrfsits.images import FEEDING, Images, joined
from sitsfusion.methods.tamrfsits.inference import Frames, Settings, predict_core
from sitsfusion.methods.tamrfsits.planning import DateBlock, Limits, make_blocks
from sitsfusion.methods.tamrfsits.radiometry import physical, standardise
from sitsfusion.methods.tamrfsits.reach import reach
from sitsfusion.nets.tamrfsits import Role, TamrfsitsNet
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene
from sitsfusion.weights.config import SensorInput, TamrfsitsWeights, TemporalCompensation

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

# Roles of a scene and sensors of the network; outputs have the coarse bands first.
_SENSORS: Mapping[str, Role] = {"coarse": "lr", "fine": "hr"}


class TamrfsitsOptions(Options):
    """Options of `tamrfsits`."""

    weights: str = Field(
        "tamrfsits-sim", description="shipped or fetched name, folder of our format, or published .ckpt file"
    )
    max_dates: int = Field(50, ge=1, description="input images that a block of output dates may use")
    window_days: int = Field(365, ge=1, description="days that they may span")
    min_clear_share: float = Field(0.25, ge=0, le=1, description="images with fewer usable pixels are left out")
    residual_compensation: bool = Field(
        False, description="at dates with a coarse image, add what the prediction lacks of it where it is clear"
    )
    accept_missing: bool = Field(
        False, description="feed bands that all images lack as no-data to weights that were not trained for it"
    )
    temporal_compensation: bool | None = Field(
        None, description="spread what clear images say beyond the prediction to other days; default as in training"
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
        return self._stored.weights

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        weights = self.weights
        n = _fine_per_cell(scene, weights.architecture.ratio)
        return {
            "fine": Output(sensors.get(weights.hr.sensor), weights.hr.keys, n),
            "coarse": Output(sensors.get(weights.lr.sensor), weights.lr.keys, n, FEEDING["coarse"]),
        }

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        _check_grids(scene, query, self.weights.architecture.ratio)
        available = {role: self._usable(scene, role) for role in _SENSORS if _fed(scene, role)}
        origin = scene.origin or self._origin(scene, available)
        limits = Limits(self.options.max_dates, self.options.window_days, self.options.min_clear_share)
        steps: list[Step] = []
        refused: list[Refusal] = []
        for found in make_blocks(sorted({d for q in query.values() for d in q.dates}), available, limits):
            if any(found.inputs.values()):
                steps.append(_step(f"s{len(steps):03d}", found, query, scene))
            else:
                why = f"no usable image within {limits.window_days} days around it"
                refused += [Refusal(role, d, why) for role, q in query.items() for d in q.dates if d in found.days]
        return MethodPlan(tuple(steps), tuple(refused), self._notes(scene, available, origin), origin)

    def tiling(self, scene: Scene, step: Step) -> Tiling:
        ratio, found = self.weights.architecture.ratio, reach(self.weights.architecture)
        n = _fine_per_cell(scene, ratio)
        if not found.allows_tiles(scene.size[0] * n, scene.size[1] * n):
            return Whole()
        margin = self._margin
        coarse = ceil((found.lr + ceil(margin / ratio)) * ratio / n)
        halo = {"fine": ceil((found.hr + margin) / n), "coarse": coarse, "thermal": coarse}
        return Local(halo, max(1, found.multiple // n))

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int:
        net = self.weights.architecture
        n = _fine_per_cell(scene, net.ratio)
        counts = {role: len({d for one in FEEDING[role] for d in step.inputs.get(one, ())}) for role in _SENSORS}
        queries = len({d for q in step.query.values() for d in q.dates})
        if self._in_time is None:
            return footprint(net, (size[0] * n, size[1] * n), counts["coarse"], counts["fine"], queries)
        # predictions at the input dates too, their residuals, and the corrections
        core = [side * n + 2 * self._margin for side in size]
        images = (2 * sum(counts.values()) + queries) * net.out_bands * core[0] * core[1] * 4
        total = queries + sum(counts.values())
        return images + footprint(net, (core[0], core[1]), counts["coarse"], counts["fine"], total)

    @torch.inference_mode()
    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        net, weights = self._stored.net, self.weights
        ratio = weights.architecture.ratio
        core, area = _core_area(tile, ratio, self._margin)
        images = {role: _images(tile, role, weights, area) for role in _SENSORS if _fed(tile.cubes, role)}
        wanted = sorted({day for one in step.query.values() for day in one.dates})
        # the days of the images come behind those asked for
        days = wanted + ([d for one in images.values() for d in one.dates] if self._in_time else [])
        bands = {role: self._compared(role, one.bands) for role, one in step.query.items()}
        channels = [(role, key) for role, keys in bands.items() for key in keys]
        first = {"coarse": 0, "fine": len(weights.lr.bands)}
        settings = Settings(runtime.device, runtime.dtype, runtime.batch)
        frames = {role: _frames(tile, role, weights, area) for role in images}
        out = predict_core(
            net, frames.get("coarse"), frames.get("fine"), torch.from_numpy(days_since(days, tile.origin)), settings,
            [first[role] + _input(weights, role).keys.index(key) for role, key in channels],
        )  # fmt: skip
        found, behind = out[: len(wanted)], len(wanted)
        at = {role: [i for i, (r, _) in enumerate(channels) if r == role] for role in step.query}
        for role, one in images.items() if self._in_time else ():
            if role in at:
                here = out[behind : behind + len(one.dates), at[role]]
                found[:, at[role]] += self._corrections(here, one, bands[role], role, wanted, tile.origin)
            behind += len(one.dates)
        if weights.cloudy == "hidden":  # where nothing was clear, the network was shown nothing: no guess is passed on
            seen = [one.seen().repeat(n := _ratio(weights, role), 0).repeat(n, 1) for role, one in images.items()]
            found = found.masked_fill(~torch.from_numpy(np.logical_or.reduce(seen)), torch.nan)
        asked = {role: at[role][: len(one.bands)] for role, one in step.query.items()}
        return {role: self._block(found[:, asked[role]], tile, step, role, wanted, core, area) for role in step.query}

    def _compared(self, role: str, asked: Sequence[str]) -> list[str]:
        """The bands to predict of a sensor: those asked for, then those that missed clouds are known by."""
        known_by = cloud_bands(_input(self.weights, role)) if self._in_time and self.weights.missed_clouds else []
        return [*asked, *(key for key in known_by if key not in asked)]

    def _corrections(
        self, predicted: Tensor, images: Images, keys: Sequence[str], role: str, days: Sequence[date], origin: date
    ) -> Tensor:
        """What the images of one sensor add to the predictions at `days`, standardised; `predicted` at their dates."""
        given, ratio = _input(self.weights, role), _ratio(self.weights, role)
        at = [given.keys.index(key) for key in keys]
        taps, residuals, usable = optics(given)[at], [], []
        for t, day in enumerate(images.dates):
            values, clear = (torch.from_numpy(a) for a in images.image(day))
            residuals.append(left_over(standardise(values, given)[at], predicted[t], taps, ratio))
            usable.append(clear[at])
        seen, targets = (torch.from_numpy(days_since(d, origin)) for d in (images.dates, days))
        each = of_bands(given, self._in_time or TemporalCompensation())
        how = [each[i] for i in at]
        look = cloud_look(given, keys, self.weights.missed_clouds)
        return corrections(torch.stack(residuals), torch.stack(usable), seen, targets, ratio, how, look)

    def provenance(self) -> Mapping[str, Any]:
        return provenance(self._stored)

    @property
    def _stored(self) -> Stored[TamrfsitsNet, TamrfsitsWeights]:
        return stored(self.options.weights, load_tamrfsits)

    @property
    def _in_time(self) -> TemporalCompensation | None:
        """Residual compensation in time, if it is to be done."""
        wanted, trained = self.options.temporal_compensation, self.weights.compensation
        return None if wanted is False else trained or (TemporalCompensation() if wanted else None)

    @property
    def _margin(self) -> int:
        """Fine pixels around the core that must be predicted too."""
        if self._in_time:
            return margin_in_time(self.weights.architecture.ratio)
        return MARGIN if self.options.residual_compensation else 0

    def _usable(self, scene: Scene, role: str) -> tuple[date, ...]:
        """Dates of a sensor with all required bands and enough usable pixels."""
        wanted = _input(self.weights, role)
        required = [key for key in wanted.keys if key not in wanted.optional_bands]
        cubes = {name: scene[name] for name in FEEDING[role] if name in scene}
        having = {name: [key for key in required if key in cube.bands] for name, cube in cubes.items()}
        lacking = [key for key in required if not any(key in found for found in having.values())]
        if lacking and not self.options.accept_missing:
            raise MissingBandError(
                f"weights {self.weights.name} need the {role} band(s) {', '.join(lacking)}, which the images lack "
                f"(they have {', '.join(key for cube in cubes.values() for key in cube.bands)}); add them, use "
                "weights that were trained without them, or accept what comes out (--set accept_missing=true)"
            )
        dates = {name: set(cube.dates_clear(self.options.min_clear_share)) for name, cube in cubes.items()}
        # every required band must be there on the day; a day of optional bands alone will do where none is required
        needed = [dates[name] for name, found in having.items() if found] or [set().union(*dates.values())]
        return tuple(sorted(set.intersection(*needed)))

    def _origin(self, scene: Scene, available: Mapping[str, Sequence[date]]) -> date | None:
        rule = self.weights.day_origin
        if isinstance(rule, date):
            return rule
        dates = available.get("fine") or available.get("coarse")
        if not dates:
            return None
        return local_year(dates[0], scene.latitude) if rule == "local_year" else dates[0]

    def _notes(self, scene: Scene, available: Mapping[str, Sequence[date]], origin: date | None) -> tuple[str, ...]:
        weights, notes = self.weights, []
        rule = "given" if scene.origin else f"rule of the weights: {weights.day_origin}"
        notes.append(f"weights {weights.name}; day 0 is {origin} ({rule})")
        for role, dates in available.items():
            cubes = [scene[name] for name in FEEDING[role] if name in scene]
            total = len({day for cube in cubes for day in cube.dates})
            if total > len(dates):
                notes.append(
                    f"{total - len(dates)} of {total} {role} images are left out: too cloudy, or lacking bands"
                )
            wanted, lead = _input(weights, role), cubes[0]
            if lead.sensor.name != wanted.sensor:
                notes.append(f"the {role} images are {lead.sensor.name}; the weights were trained on {wanted.sensor}")
            absent = [key for key in wanted.keys if not any(key in cube.bands for cube in cubes)]
            trained = [key for key in absent if key in wanted.optional_bands]
            untrained = [key for key in absent if key not in trained]
            if trained:
                notes.append(f"the {role} images have no {', '.join(trained)}: the weights were trained to do without")
            if untrained:
                notes.append(
                    f"the {role} images have no {', '.join(untrained)}: the weights were NOT trained to do without; "
                    "do not trust the result"
                )
        if self._in_time:
            how = "as in training" if weights.compensation else "which these weights were not trained with"
            notes.append(f"residual compensation in time, {how}")
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


def _input(weights: TamrfsitsWeights, role: str) -> SensorInput:
    return weights.hr if role == "fine" else weights.lr


def _ratio(weights: TamrfsitsWeights, role: str) -> int:
    """Fine pixels along the side of a pixel of the role's images."""
    return weights.architecture.ratio if role == "coarse" else 1


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


def _step(name: str, found: DateBlock, query: Query, scene: Scene) -> Step:
    inputs = {}
    for role, dates in found.inputs.items():
        for cube in FEEDING[role]:
            if cube in scene and (here := tuple(d for d in scene[cube].dates if d in set(dates))):
                inputs[cube] = here
    outputs = {role: q.at([d for d in q.dates if d in set(found.days)]) for role, q in query.items()}
    return Step(name, inputs, {role: q for role, q in outputs.items() if q.dates})


def _fed(cubes: Scene | Mapping[str, Cube], role: str) -> bool:
    """Whether there are images for the sensor of an output role."""
    return any(name in cubes for name in FEEDING[role])


def _core_area(tile: Tile, ratio: int, margin: int) -> tuple[Window, Window]:
    """The core, and the core with `margin` fine pixels around it in whole coarse pixels, clipped at the border; both
    in fine pixels of the whole scene.
    """
    n = tile.per_cell["fine"] if "fine" in tile.per_cell else tile.per_cell["coarse"] * ratio
    border = (tile.scene_size[0] * n, tile.scene_size[1] * n)
    return tile.core.scaled(n), tile.core.scaled(n).padded(ceil(margin / ratio) * ratio, border)


def _lead(cubes: Mapping[str, Cube], role: str) -> str:
    """The role that lends its grid to a sensor's images."""
    return next(name for name in FEEDING[role] if name in cubes)


def _images(tile: Tile, role: str, weights: TamrfsitsWeights, area: Window) -> Images:
    """The images of one sensor over `area` (fine pixels of the whole scene)."""
    images = joined(tile.cubes, role, _input(weights, role).keys, weights.cloudy == "hidden")
    if images is None:
        raise InputError(f"no images for the {role} sensor; this tile has {', '.join(tile.cubes)}")
    return images.window(_area_in(tile, role, weights, area))


def _area_in(tile: Tile, role: str, weights: TamrfsitsWeights, area: Window) -> Window:
    """`area` in pixels of the role's images as loaded."""
    lead, ratio = _lead(tile.cubes, role), _ratio(weights, role)
    inside = area.relative_to(tile.reach[lead].scaled(tile.per_cell[lead] * ratio))
    return Window(inside.row // ratio, inside.col // ratio, inside.height // ratio, inside.width // ratio)


def _frames(tile: Tile, role: str, weights: TamrfsitsWeights, area: Window) -> Frames:
    """The images of one sensor with the halo of the network, decoded and standardised one at a time."""
    given = _input(weights, role)
    images = joined(tile.cubes, role, given.keys, weights.cloudy == "hidden")
    if images is None:
        raise InputError(f"no images for the {role} sensor; this tile has {', '.join(tile.cubes)}")
    dates, all_images = images.dates, images

    def frame(t: int) -> Tensor:
        return standardise(torch.from_numpy(all_images.image(dates[t])[0]), given)

    days = torch.from_numpy(days_since(dates, tile.origin))
    return Frames(days, frame, images.size, _area_in(tile, role, weights, area))
