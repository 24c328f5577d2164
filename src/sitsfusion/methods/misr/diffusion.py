"""MISR-SRDIFF: images drawn from a diffusion model, their mean and spread."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.errors import CheckpointError
from sitsfusion.grid import Window
from sitsfusion.methods.base import Card, Options, Step, Tile
from sitsfusion.methods.misr.base import ROLE, Enlarged
from sitsfusion.methods.misr.learned import CITATION, FILL_FROM, Patched, PatchOptions
from sitsfusion.methods.misr.views import Views
from sitsfusion.nets.misr_config import BACKBONES, SCALE
from sitsfusion.nets.srdiff import SrDiff
from sitsfusion.ops.resample import bicubic
from sitsfusion.ops.unit_range import from_unit_range, to_unit_range

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime


class SrDiffOptions(PatchOptions):
    """Options of `misr-srdiff`."""

    samples: int = Field(1, ge=1, description="images drawn; of several, the result is their mean, with a sigma")
    steps: int | None = Field(
        50, ge=1, description="deterministic sampling steps (DDIM); null: every step of the schedule, with noise (DDPM)"
    )


class MisrSrDiff(Patched):
    """SRDiff on the closest image, conditioned by a backbone. The same seed draws the same image for any tiles."""

    card: ClassVar[Card] = Card(
        name="misr-srdiff",
        title="SRDiff super-resolution by diffusion",
        summary="Sentinel-2 at 2.5 m drawn from a diffusion model; several draws give a mean and a sigma.",
        citation=CITATION,
        needs=(ROLE,),
        learned=True,
        needs_clear_share=True,
    )
    Options: ClassVar[type[Options]] = SrDiffOptions
    options: SrDiffOptions
    backbones: ClassVar[tuple[str | None, ...]] = (None, *BACKBONES)
    diffusion: ClassVar[bool] = True

    @property
    def views(self) -> int:
        return max(self.weights.architecture.views, FILL_FROM)

    def enlarge(self, views: Views, tile: Tile, step: Step, runtime: Runtime) -> Enlarged:
        net = self.network(runtime)
        if not isinstance(net, SrDiff):
            raise CheckpointError(f"weights {self.weights.name} are no diffusion")
        base = to_unit_range(bicubic(views.closest, 1 / SCALE), self.maxima).nan_to_num(nan=0.0)
        base = base[None].to(runtime.device)
        window = tile.reach[ROLE].scaled(step.query[ROLE].per_cell)
        (day,) = step.query[ROLE].dates
        drawn = []
        with torch.autocast(runtime.device.type, runtime.dtype, enabled=runtime.dtype != torch.float32):
            features = net.condition(*self.shown(views, runtime))
            for k in range(self.options.samples):
                drawn.append(self._draw(net, features, base, _Noise(runtime, day, k, window, base.shape[1])))
        images = from_unit_range(torch.cat(drawn).float(), self.maxima)
        if len(images) == 1:
            return Enlarged(images[0])
        return Enlarged(images.mean(0), images.std(0))

    def _draw(self, net: SrDiff, features: Tensor, base: Tensor, noise: _Noise) -> Tensor:
        return net.sample(features, base, noise("start"), noise, self.options.steps)


class _Noise:
    """Random numbers of one draw by their step, the same at a position of the image whatever the patch."""

    def __init__(self, runtime: Runtime, day: date, draw: int, window: Window, channels: int) -> None:
        self.runtime, self.window, self.channels = runtime, window, channels
        self.purpose = f"srdiff {day} {draw}"

    def __call__(self, step: int | str) -> Tensor:
        found = self.runtime.noise(f"{self.purpose} {step}", self.window, self.channels)
        return torch.from_numpy(np.ascontiguousarray(found))[None].to(self.runtime.device)
