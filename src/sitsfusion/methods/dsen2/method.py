"""The method `dsen2`."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.checkpoints.dsen2 import load_dsen2
from sitsfusion.errors import GridError, InputError
from sitsfusion.methods.base import Block, Card, Local, Method, MethodPlan, Options, Refusal, State, Step, Tile
from sitsfusion.methods.single_date import image_of
from sitsfusion.methods.stored import Stored, provenance, stored
from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene
from sitsfusion.weights.dsen2 import Dsen2Weights

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime


class Dsen2Options(Options):
    """Options of `dsen2`."""

    weights: str = Field("dsen2-sim", description="of the 20 m bands: shipped name, folder, published file")
    weights_60m: str | None = Field(None, description="of the 60 m bands, likewise; default: they are left out")


class Dsen2(Method):
    """Each image alone: 10 m bands as they are, 20 m bands (and 60 m bands) with the detail of the 10 m ones."""

    card: ClassVar[Card] = Card(
        name="dsen2",
        title="DSen2",
        summary="The 20 m and 60 m bands of Sentinel-2 sharpened to 10 m, image by image.",
        citation="C. Lanaras et al., Super-resolution of Sentinel-2 images: learning a globally applicable deep neural "
        "network, ISPRS J. Photogramm. Remote Sens. 146, 2018",
        needs=("fine",),
        learned=True,
    )
    Options: ClassVar[type[Options]] = Dsen2Options
    options: Dsen2Options

    @property
    def weights(self) -> tuple[Dsen2Weights, ...]:
        """What the weights say about themselves: the 20 m network, then the 60 m one."""
        return tuple(one.weights for one in self._stored)

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        first, *_ = self.weights
        known = {*first.groups[0], *(key for one in self.weights for key in one.groups[-1])}
        bands = tuple(key for key in scene["fine"].bands if key in known)
        return {"fine": Output(scene["fine"].sensor, bands, scene.per_cell("fine"))}

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        wanted = query["fine"]
        self._check(scene, wanted.per_cell)
        steps: list[Step] = []
        refused: list[Refusal] = []
        for day in wanted.dates:
            if day in scene["fine"].dates:
                steps.append(Step(f"s{len(steps):03d}", {"fine": (day,)}, {"fine": wanted.at([day])}))
            else:
                refused.append(Refusal("fine", day, "no fine image of that day; dsen2 sharpens images, it makes none"))
        return MethodPlan(tuple(steps), tuple(refused), tuple(self._notes(scene)))

    def tiling(self, scene: Scene, step: Step) -> Local:
        farthest = max(one.net.reach for one in self._stored)
        return Local({"fine": ceil(farthest / scene.per_cell("fine"))})

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int:
        """Four maps of the network's features beside inputs and outputs."""
        n, halo = scene.per_cell("fine"), self.tiling(scene, step).halo["fine"]
        pixels = (size[0] + 2 * halo) * (size[1] + 2 * halo) * n * n
        return max(4 * one.features + 6 * sum(one.counts) for one in self.weights) * pixels * 4

    @torch.inference_mode()
    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        wanted = step.query["fine"]
        keys = list(dict.fromkeys(k for one in self.weights for group in one.groups for k in group))
        image = image_of(tile, "fine", keys)
        bands = dict(zip(keys, image.values, strict=True))
        for found in self._stored:
            one = found.weights
            if not set(one.groups[-1]) & set(wanted.bands):
                continue
            given = dict(zip(keys, image.values, strict=True))
            sharp = self._run(found, [torch.stack([given[k] for k in group]) for group in one.groups], runtime)
            bands |= dict(zip(one.groups[-1], sharp, strict=True))
        rows, cols = tile.core_in("fine").slices
        values = torch.stack([bands[key] for key in wanted.bands]).masked_fill(~image.seen, torch.nan)[:, rows, cols]
        return {"fine": Block(values[None].contiguous().numpy(), image.clear[None, rows, cols].numpy())}

    def provenance(self) -> Mapping[str, Any]:
        return provenance(*self._stored)

    @property
    def _stored(self) -> tuple[Stored[Dsen2Net, Dsen2Weights], ...]:
        given = (self.options.weights, self.options.weights_60m)
        return tuple(stored(one, load_dsen2) for one in given if one is not None)

    def _run(self, used: Stored[Dsen2Net, Dsen2Weights], groups: list[Tensor], runtime: Runtime) -> Tensor:
        """One network on the groups of one image, reflectance: `[c h w]` of its last group."""
        unit = used.weights.unit

        def make() -> Dsen2Net:
            net = load_dsen2(used.path)[0].to(runtime.device, runtime.dtype)
            return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

        net = runtime.network(f"{used.path} {runtime.dtype}", make)
        images = [(group[None] / unit).to(runtime.device) for group in groups]
        # the bands themselves are added in float32, whatever the network computes in
        detail = net.residual(*(x.to(runtime.dtype, memory_format=torch.channels_last) for x in images))
        return ((images[-1] + detail.float()) * unit)[0].cpu()

    def _check(self, scene: Scene, per_cell: int) -> None:
        cube, first = scene["fine"], self.weights[0]
        if any(one.groups[0] != first.groups[0] for one in self.weights):
            raise InputError("the two sets of weights take different 10 m bands; give two of one family")
        if per_cell != scene.per_cell("fine"):
            raise GridError("dsen2 predicts on the grid of the fine images only; leave --resolution out")
        for one in self.weights:
            chosen = cube.select(bands=[key for group in one.groups for key in group])  # raises where one is missing
            native = dict(zip(chosen.bands, chosen.native, strict=True))
            wrong = {k: native[k] for k in one.groups[-1] if native[k] not in (1, one.factor)}
            if wrong:
                raise GridError(
                    f"weights {one.name} sharpen bands of {one.factor} grid pixels; found {wrong}: open the images on "
                    "their 10 m grid"
                )

    def _notes(self, scene: Scene) -> list[str]:
        sensor = scene["fine"].sensor.name
        return [
            f"the images are {sensor}; weights {one.name} were trained on {one.sensor}"
            for one in self.weights
            if one.sensor != sensor
        ]
