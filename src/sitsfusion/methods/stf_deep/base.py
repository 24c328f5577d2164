"""Networks of `nets.stf` behind the method protocol.

Images are chosen as for the classical coarse/fine methods. Gaps are filled for the network's sake (from the image of
the other sensor, or of the other date, at the same pixel); a pixel is predicted where the images were observed that
the network looks at.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from sitsfusion.checkpoints.stf import load_stf
from sitsfusion.cube import Cube
from sitsfusion.errors import InputError, MissingBandError
from sitsfusion.methods.arrays import usable
from sitsfusion.methods.base import Card, Local, Patches, State, Step, Tile
from sitsfusion.methods.stf_classical.base import CoarseFineMethod, CoarseFineOptions, coarse_days, references
from sitsfusion.methods.stf_classical.images import Place, on_fine, taps
from sitsfusion.methods.stf_classical.pairs import (
    Choice,
    check_references,
    choose,
    matching_bands,
    usable_days,
)
from sitsfusion.methods.stored import Stored, parameters, provenance, stored
from sitsfusion.nets.stf import registry
from sitsfusion.ops.tiles import crop_to, pad_to_multiple
from sitsfusion.scene import Scene
from sitsfusion.weights.stf import StfWeights

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

# Float32 numbers per pixel that a network holds at most at a time (activations of its widest layers, with scratch).
_WIDEST = 1400


class DeepOptions(CoarseFineOptions):
    """Options of the deep fusion methods."""

    weights: str = Field(description="fetched name, folder of our format, or published checkpoint")
    references: tuple[date, ...] = Field((), description="days of the reference pairs (default: the nearest)")
    max_gap: int = Field(0, ge=0, description="days at most between a day and the coarse image that stands for it")
    overlap: float = Field(
        0.25, ge=0, lt=1, description="share of a patch that neighbouring patches see too, and are blended over"
    )


class DeepFusion(CoarseFineMethod):
    """Base of the methods; the network is that of the weights, which must be of this method's `model`."""

    model: ClassVar[str]
    options: DeepOptions

    @property
    def weights(self) -> StfWeights:
        """What the weights say about themselves.

        Raises:
            ReadError, CheckpointError: they cannot be found or read.
            InputError: they are of another model.
        """
        found = self._stored.weights
        if found.model != self.model:
            raise InputError(
                f"the weights {found.name} are of {found.model}, not of {self.model}: use method {found.model}"
            )
        return found

    def pairs_wanted(self) -> tuple[int, int]:
        """(fewest, most) reference pairs."""
        return 1, 1

    def choose(self, scene: Scene, day: date) -> Choice | str:
        check_references(self.options.references, scene["fine"])
        fine = usable_days(scene["fine"], self.options.min_clear_share)
        if self.options.references:
            fine = tuple(sorted(self.options.references))
        return choose(day, fine, usable_days(scene["coarse"], 0), self.pairs_wanted(), self.options.max_gap)

    def matched(self, cubes: Scene | Mapping[str, Cube]) -> dict[str, str]:
        """The coarse band of each fine band, in the order of the weights' bands."""
        pairs = matching_bands(cubes["fine"], cubes["coarse"], self.options.bands)
        named = {band.key: band.common_name for band in cubes["fine"].band_info()}
        by_name = {_common(named[key]): key for key in pairs}
        missing = [name for name in self.weights.bands if _common(name) not in by_name]
        if missing:
            raise MissingBandError(
                f"{self.card.name}: the weights {self.weights.name} take {', '.join(self.weights.bands)}; both sensors "
                f"have {', '.join(sorted(by_name))}, so {', '.join(missing)} is missing: use weights trained on these "
                "bands, or name pairs of bands with the option `bands`"
            )
        keys = [by_name[_common(name)] for name in self.weights.bands]
        return {key: pairs[key] for key in keys}

    def reach(self) -> tuple[int, int]:
        """Of networks that are not global."""
        return registry.get(self.model).reach or 0, taps(self.weights.resampling)

    def tiling(self, scene: Scene, step: Step) -> Local | Patches:  # type: ignore[override]
        if registry.get(self.model).reach is not None:
            return super().tiling(scene, step)
        size = max(1, self.weights.patch // scene.per_cell("fine"))
        stride = max(1, size - ceil(size * self.options.overlap))
        # Tiles hold whole strides and multiples of 16 pixels: an odd stride would make them enormous.
        return Patches(size, stride - stride % 16 if stride > 16 else stride)

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int:
        """Dates of the core and its surroundings, and the network's activations over what it is shown at once."""
        tiling, n = self.tiling(scene, step), scene.per_cell("fine")
        around = 2 * tiling.halo["fine"] if isinstance(tiling, Local) else tiling.size
        read = [min(side + around, most) * n for side, most in zip(size, scene.size, strict=True)]
        shown = [min(side, tiling.size * n) for side in read] if isinstance(tiling, Patches) else read
        dates = sum(len(days) for days in step.inputs.values())
        images = read[0] * read[1] * len(self.weights.bands) * (2 * dates + 8)
        return 4 * (images + shown[0] * shown[1] * _WIDEST + parameters(self._stored.net))

    @torch.inference_mode()
    def compute(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Tensor:
        images = self._images(tile, step, runtime)
        seen = torch.stack([x.isfinite().all(0) for x in self._looked_at(images)]).all(0)
        factor, offset = self.weights.scale
        made = self._run(self._network(runtime), _filled(images), tile, runtime, (factor, offset))
        return ((made - offset) / factor).masked_fill(~seen, torch.nan)

    def fuse(self, net: nn.Module, images: list[Tensor], tile: Tile, runtime: Runtime) -> Tensor:
        """The network's answer `[1 b h w]` for padded images: coarse and fine of each pair, then coarse wanted."""
        coarse_ref, fine_ref, coarse = images
        return net(coarse_ref, fine_ref, coarse)  # type: ignore[no-any-return]

    def provenance(self) -> Mapping[str, Any]:
        return {**provenance(self._stored), "wiring": self.weights.wiring}

    @property
    def _stored(self) -> Stored[nn.Module, StfWeights]:
        return stored(self.options.weights, load_stf)

    def _network(self, runtime: Runtime) -> nn.Module:
        def build() -> nn.Module:
            net = self._stored.net.to(runtime.device)
            return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

        return runtime.network(f"stf:{self._stored.path}", build)

    def _images(self, tile: Tile, step: Step, runtime: Runtime) -> list[Tensor]:
        """Coarse and fine image of each pair, then the coarse one of the wanted day: `[b h w]`, NaN in gaps."""
        matched, place = self.matched(tile.cubes), Place.of(tile, 1)
        own, *others = (
            on_fine(
                usable(tile.cubes["coarse"], day, list(matched.values())).to(runtime.device),
                place,
                self.weights.resampling,
            )
            for day in coarse_days(step, self.options.max_gap)
        )
        fine = [usable(tile.cubes["fine"], day, list(matched)).to(runtime.device) for day in references(step)]
        return [image for pair in zip(others, fine, strict=True) for image in pair] + [own]

    def _looked_at(self, images: list[Tensor]) -> list[Tensor]:
        """Those of the images that the network uses."""
        unused = registry.get(self.model).unused
        return [x for i, x in enumerate(images) if not ("coarse_ref" in unused and i % 2 == 0 and i < len(images) - 1)]

    def _run(
        self, net: nn.Module, images: list[Tensor], tile: Tile, runtime: Runtime, scale: tuple[float, float]
    ) -> Tensor:
        """Scale, pad, predict, crop: `[b h w]` float32 in network units."""
        model, (h, w) = registry.get(self.model), images[0].shape[-2:]
        multiple = self.weights.patch if model.whole_size else model.multiple
        shown = [
            pad_to_multiple(x * scale[0] + scale[1], multiple)[None].contiguous(memory_format=torch.channels_last)
            for x in images
        ]
        low = runtime.dtype != torch.float32
        with torch.autocast(runtime.device.type, dtype=torch.bfloat16, enabled=low):
            made = self.fuse(net, shown, tile, runtime)
        return crop_to(made[0].float(), h, w)


def method_of(model: registry.StfModel) -> type[DeepFusion]:
    """The method of a model of one's own; make it known with `sitsfusion.methods.register`."""
    name = model.name
    return type(f"Deep_{name}", (DeepFusion,), {"card": card_of(model), "model": name, "Options": DeepOptions})


def card_of(model: registry.StfModel, summary: str = "A network trained on coarse/fine pairs.") -> Card:
    """A card for a model."""
    return Card(
        name=model.name,
        title=model.title,
        summary=summary,
        citation=model.citation,
        needs=("fine", "coarse"),
        learned=True,
        needs_clear_share=True,
    )


def _filled(images: list[Tensor]) -> list[Tensor]:
    """Gaps `[b h w]` from the other images at the same pixel, the nearest in the list first; 0 where none has any."""
    filled = []
    for i, image in enumerate(images):
        # The image of the same pair, then the others.
        for other in sorted(range(len(images)), key=lambda k, i=i: (k // 2 != i // 2, abs(k - i))):  # type: ignore[misc]
            image = torch.where(image.isnan(), images[other], image)
        filled.append(image.nan_to_num(0.0))
    return filled


# The wide near infrared of Sentinel-2 stands in for the narrow one, as in `two_sensors`.
def _common(name: str) -> str:
    return "nir08" if name == "nir" else name
