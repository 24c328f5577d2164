"""The method `dstfn`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field

from sitsfusion import sensors
from sitsfusion.checkpoints.dstfn import load_dstfn
from sitsfusion.dates import distance
from sitsfusion.errors import GridError, InputError
from sitsfusion.methods.base import (
    Block,
    Card,
    Method,
    MethodPlan,
    Options,
    Patches,
    Refusal,
    State,
    Step,
    Tile,
    Tiling,
    Whole,
)
from sitsfusion.methods.single_date import image_of
from sitsfusion.methods.stored import Stored, provenance, stored
from sitsfusion.nets.dstfn import DstfnNet
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene
from sitsfusion.weights.dstfn import DstfnWeights

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

_PAN_FINER = 2  # panchromatic pixels along the side of a multispectral one


class DstfnOptions(Options):
    """Options of `dstfn`."""

    weights: str = Field(description="folder of our format, or a published .pth file (none is shipped)")
    tiling: Literal["patches", "whole"] = Field("patches", description="the whole scene at once only if it fits")
    patch: int = Field(64, ge=8, description="side of a patch in cells")
    stride: int = Field(48, ge=1, description="cells between patches")
    max_masked_share: float = Field(0.5, ge=0, le=1, description="fine images masked over a larger share are not used")
    allow_same_day: bool = Field(False, description="the fine image may be of the target day itself")


class Dstfn(Method):
    """The coarse image of a day with the detail of the nearest fine one, and of the panchromatic band (`net2`)."""

    card: ClassVar[Card] = Card(
        name="dstfn",
        title="DSTFN",
        summary="A fine image at every coarse date, from the nearest fine image and the panchromatic band.",
        citation="J. Wu et al., degradation-term constrained spatiotemporal fusion network, Int. J. Appl. Earth Obs. "
        "Geoinf., 2022, doi 10.1016/j.jag.2022.102738",
        needs=("fine", "coarse"),
        uses=("pan",),
        learned=True,
        needs_clear_share=True,
    )
    Options: ClassVar[type[Options]] = DstfnOptions
    options: DstfnOptions

    @property
    def weights(self) -> DstfnWeights:
        """What the weights say about themselves; raises when they cannot be found or read."""
        return self._stored.weights

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        return {"fine": Output(sensors.get(self.weights.fine.sensor), self.weights.fine.bands, scene.per_cell("fine"))}

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        wanted = query["fine"]
        self._check(scene, wanted.per_cell)
        always = self._coarse_roles
        steps: list[Step] = []
        refused: list[Refusal] = []
        for day in wanted.dates:
            lacking = [role for role in always if day not in scene[role].dates]
            reference = self._reference(scene, day)
            if lacking:
                refused.append(Refusal("fine", day, f"no {' and no '.join(lacking)} image of that day"))
            elif reference is None:
                why = f"no fine image of another day with at most {self.options.max_masked_share:.0%} masked"
                refused.append(Refusal("fine", day, why))
            else:
                inputs = {"fine": (reference,)} | dict.fromkeys(always, (day,))
                steps.append(Step(f"s{len(steps):03d}", inputs, {"fine": wanted.at([day])}))
        return MethodPlan(tuple(steps), tuple(refused))

    def tiling(self, scene: Scene, step: Step) -> Tiling:
        return Whole() if self.options.tiling == "whole" else Patches(self.options.patch, self.options.stride)

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int:
        """Dense groups keep their input and all their outputs; both once more while they are joined."""
        net, n = self.weights.architecture, scene.per_cell("fine")
        maps = 2 * (net.features + net.layers * net.growth) + 6 * net.features
        return maps * size[0] * size[1] * n * n * 4

    @torch.inference_mode()
    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        wanted, given, device, dtype = step.query["fine"], self.weights, runtime.device, runtime.dtype
        bands = {"fine": given.fine.bands, "coarse": given.coarse.bands, "pan": given.pan.bands}
        images = {role: image_of(tile, role, bands[role]) for role in step.inputs}
        path = self._stored.path
        net = runtime.network(f"{path} {dtype}", lambda: load_dstfn(path)[0].to(device, dtype))
        x = {role: image.values[None].to(device, dtype) for role, image in images.items()}
        out = net(x["fine"], x["coarse"], x.get("pan"))[0].float().cpu()
        n = tile.per_cell["fine"]
        rows, cols = tile.core_in("fine").slices
        on_fine = [image.resampled(tile.per_cell[role] / n) for role, image in images.items()]
        known = torch.stack([image.seen for image in on_fine]).all(0)
        clear = torch.stack([image.clear for image in on_fine]).all(0) & known
        values = out[[given.fine.bands.index(key) for key in wanted.bands]].masked_fill(~known, torch.nan)
        return {"fine": Block(values[None, :, rows, cols].contiguous().numpy(), clear[None, rows, cols].numpy())}

    def provenance(self) -> Mapping[str, Any]:
        return provenance(self._stored)

    @property
    def _stored(self) -> Stored[DstfnNet, DstfnWeights]:
        return stored(self.options.weights, load_dstfn)

    @property
    def _coarse_roles(self) -> tuple[str, ...]:
        return ("coarse", "pan") if self.weights.architecture.has_pan else ("coarse",)

    def _reference(self, scene: Scene, day: date) -> date | None:
        """The usable fine image nearest in time, the earlier of two."""
        cube = scene["fine"]
        usable = [
            other
            for other, item in zip(cube.dates, cube.items, strict=True)
            if (self.options.allow_same_day or other != day)
            and (item.clear_share is None or 1 - item.clear_share <= self.options.max_masked_share)
        ]
        return usable[int(distance(usable, day).argmin())] if usable else None

    def _check(self, scene: Scene, per_cell: int) -> None:
        given, coarse = self.weights, scene.per_cell("coarse")
        if given.architecture.has_pan and "pan" not in scene:
            raise InputError(
                f"weights {given.name} need the panchromatic band; the scene has {', '.join(scene.cubes)}. "
                "Add it (pan=PLACE), or give weights of slfnt1"
            )
        expected = {"fine": given.architecture.factor * coarse, "pan": _PAN_FINER * coarse}
        for role, bands in (("fine", given.fine.bands), ("coarse", given.coarse.bands), ("pan", given.pan.bands)):
            if role not in ("fine", *self._coarse_roles):
                continue
            scene[role].select(bands=bands)  # raises where one is missing
            if scene.per_cell(role) != expected.get(role, coarse):
                raise GridError(
                    f"dstfn needs {role} pixels {expected[role] / coarse:g} times smaller than coarse ones, found "
                    f"{scene.per_cell(role) / coarse:g}: resample them (--resample {role})"
                )
        if per_cell != scene.per_cell("fine"):
            raise GridError("dstfn predicts on the grid of the fine images only; leave --resolution out")
