"""SEN2LIKE: every coarse image, sharpened with the detail of the last fine images before it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from sitsfusion.dates import days_since
from sitsfusion.methods.arrays import block
from sitsfusion.methods.base import Block, Card, Local, Method, MethodPlan, Options, Refusal, State, Step, Tile
from sitsfusion.methods.roles import to_output
from sitsfusion.methods.sen2like import fusion
from sitsfusion.methods.sen2like.chain import Chain, check_chain, harmonised, latitude_of
from sitsfusion.methods.sen2like.geometry import check_offset
from sitsfusion.methods.two_sensors import band_pairs, halo, on_fine_grid, paired_output, whole_ratio
from sitsfusion.ops.resample import bilinear, nearest
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

# The line of reference mode goes through two images.
_LINE = 2


class Sen2LikeOptions(Options):
    """Options of `sen2like`; those after `mtf` concern mode `full` only."""

    mode: Literal["reference", "full"] = Field(
        "reference", description="reference: as compared in TAMRFSITS; full: as the sen2like processor"
    )
    max_masked_share: float = Field(0.5, ge=0, le=1, description="fine images masked over a larger share are not used")
    mtf: float = Field(0.4, gt=0, le=1, description="reference: MTF of the low-pass; the published comparison used 0.1")
    fusion: Literal["composite", "predict"] = Field("composite", description="full: how the fine images are combined")
    references: int = Field(2, ge=1, description="full, composite: how many fine images to look back")
    intercalibration: bool = Field(True, description="full: Sentinel-2B before baseline 04.00 is brightened by 1.1 %")
    nbar: bool = Field(False, description="full: correct to nadir view; every image must have its angles")
    sbaf: Literal["off", "static", "adaptive"] = Field(
        "static", description="full: adjust Landsat 8 and 9 bands to Sentinel-2A"
    )
    max_offset: float | None = Field(
        None, gt=0, description="full: refuse coarse images that lie farther off the fine ones, m (default: no check)"
    )


class Sen2Like(Method):
    """Predicts at the days of coarse images. Fine images are chosen for the whole scene, by their masked share."""

    card: ClassVar[Card] = Card(
        name="sen2like",
        title="Sen2Like: Landsat sharpened with earlier Sentinel-2 detail",
        summary="Coarse image of the day plus the high frequencies of the last fine images before it.",
        citation="Saunier et al. (2022), Remote Sensing 14; baseline SEN2LIKE of Michel and Inglada (2025), TAMRFSITS",
        needs=("fine", "coarse"),
        needs_clear_share=True,
    )
    Options: ClassVar[type[Options]] = Sen2LikeOptions
    options: Sen2LikeOptions

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        self.inputs(scene)
        return paired_output(scene)

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        """One step per target day: which fine images it takes is a choice for the whole scene."""
        if self._full:
            whole_ratio(scene, "sen2like")
            for role in ("fine", "coarse"):
                check_chain(scene[role], role, self._chain(scene))
        wanted, steps, refused = query["fine"], list[Step](), list[Refusal]()
        for day in wanted.dates:
            chosen = self._choose(scene, day)
            reason = self._refusal(scene, day, chosen)
            if reason is None:
                inputs = {"fine": chosen, "coarse": (day,)}
                steps.append(Step(f"s{len(steps):03d}", inputs, {"fine": wanted.at([day])}))
            else:
                refused.append(Refusal("fine", day, reason))
        return MethodPlan(tuple(steps), tuple(refused))

    def tiling(self, scene: Scene, step: Step) -> Local:
        # full: a fine pixel's low resolution takes block means of the coarse pixels around its own
        return halo(scene, step, fine=2 * whole_ratio(scene, "sen2like") if self._full else 1, coarse=1)

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        """The latitude of the scene, for NBAR; with `max_offset`, the geometry check of every coarse image.

        `offsets` [steps 2]: by how many coarse pixels each lies too low and too far right, NaN where too few points
        are found in both images to tell.
        """
        found: dict[str, NDArray[np.float64]] = {"latitude": np.array(self._chain(scene).latitude)}
        limit = self.options.max_offset
        if self._full and limit is not None:
            chosen = [(step.inputs["coarse"][0], step.inputs["fine"][-1]) for step in plan.steps]
            offsets = [check_offset(scene, *days, limit) for days in chosen]
            found["offsets"] = np.array([(o.rows, o.columns) if o else (np.nan, np.nan) for o in offsets])
        return found

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        chain = self._switches(float(state["latitude"]))
        wanted, pairs = step.query["fine"], band_pairs(tile.cubes)
        coarse, clear = _image(tile, "coarse", 0, [pairs[key] for key in wanted.bands], chain)
        fine = [_image(tile, "fine", t, list(wanted.bands), chain) for t in range(len(step.inputs["fine"]))]
        values, valid = torch.stack([f[0] for f in fine]), torch.stack([f[1] for f in fine])
        seen = on_fine_grid(tile, clear, nearest)
        make = self._full_fusion if self._full else self._reference_fusion
        fused, usable = make(tile, step, coarse, values, valid)
        return {"fine": self._block(tile, step, fused, usable & seen)}

    def _block(self, tile: Tile, step: Step, fused: Tensor, usable: Tensor) -> Block:
        n = step.query["fine"].per_cell
        values = to_output(fused[None], tile, "fine", n)
        rows, cols = tile.core_in("fine", n).slices
        shown = nearest(usable[None], tile.per_cell["fine"] / n)[:, rows, cols]
        return block(values, shown & values.isfinite().all(1))

    def _reference_fusion(
        self, tile: Tile, step: Step, coarse: Tensor, fine: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        older, newer = (float(d) for d in days_since(step.inputs["fine"], tile.origin))
        images = fusion.References(fine[1], fine[0], newer, older)
        time = float(days_since(step.inputs["coarse"], tile.origin)[0])
        upsampled = on_fine_grid(tile, coarse, bilinear)
        return fusion.reference_fusion(upsampled, images, time, self.options.mtf), valid.all(0)

    def _full_fusion(
        self, tile: Tile, step: Step, coarse: Tensor, fine: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        ratio = tile.per_cell["fine"] // tile.per_cell["coarse"]
        low = fusion.low_resolution(fine, ratio)
        if self.options.fusion == "predict" and len(fine) == _LINE:
            time = fractional_year(step.inputs["coarse"][0])
            older, newer = (fractional_year(day) for day in step.inputs["fine"])
            seen = (valid[1, None], valid[0, None])
            parts = [fusion.predict(fusion.References(x[1], x[0], newer, older), time, seen) for x in (fine, low)]
        else:
            parts = [fusion.composite(x.flip(0), valid.flip(0)[:, None]) for x in (fine, low)]
        upsampled = on_fine_grid(tile, coarse, lambda x, factor: fusion.mirrored_bilinear(x, round(1 / factor)))
        fused = upsampled + parts[0] - parts[1]
        return fused, fused.isfinite().all(0)

    @property
    def _full(self) -> bool:
        return self.options.mode == "full"

    def _switches(self, latitude: float) -> Chain:
        o = self.options
        if not self._full:
            return Chain(False, False, "off")
        return Chain(o.intercalibration, o.nbar, o.sbaf, latitude)

    def _chain(self, scene: Scene) -> Chain:
        wanted = self._full and self.options.nbar
        return self._switches(latitude_of(scene.cells) if wanted else 0.0)

    def _choose(self, scene: Scene, day: date) -> tuple[date, ...]:
        """The last usable fine images up to a day, in time order."""
        cube = scene["fine"]
        usable = [
            d
            for d, item in zip(cube.dates, cube.items, strict=True)
            if d <= day and (item.clear_share is None or 1 - item.clear_share <= self.options.max_masked_share)
        ]
        composite = self._full and self.options.fusion == "composite"
        return tuple(usable[-(self.options.references if composite else _LINE) :])

    def _refusal(self, scene: Scene, day: date, chosen: tuple[date, ...]) -> str | None:
        if day not in scene["coarse"].dates:
            return "sen2like needs a coarse image of the day, there is none"
        needed = 1 if self._full else _LINE
        if len(chosen) < needed:
            share = f"{self.options.max_masked_share:.0%}"
            return f"sen2like needs {needed} fine images at or before it with at most {share} masked"
        return None


def fractional_year(day: date) -> float:
    """Year plus day of the year (1 for January 1st) over the length of the year."""
    length = (date(day.year + 1, 1, 1) - date(day.year, 1, 1)).days
    return day.year + day.timetuple().tm_yday / length


def _image(tile: Tile, role: str, t: int, bands: list[str], chain: Chain) -> tuple[Tensor, Tensor]:
    """One image of a role after the chain: values [c h w] of some bands, valid [h w]."""
    cube = tile.cubes[role]
    frame = cube.frame(t)
    values = harmonised(torch.from_numpy(frame.values), cube, t, chain)
    return values[[cube.bands.index(key) for key in bands]], torch.from_numpy(frame.valid)
