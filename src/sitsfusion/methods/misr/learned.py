"""Super-resolution by a network that gives one image: the backbones of MISR-S2 behind the method protocol."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.checkpoints.misr import MisrNet, load_misr
from sitsfusion.cube import Cube
from sitsfusion.errors import CheckpointError, MissingBandError
from sitsfusion.methods.base import Card, Local, Options, Patches, Step, Tile, Tiling
from sitsfusion.methods.misr.base import ROLE, Enlarged, MisrOptions, SuperResolution
from sitsfusion.methods.misr.reach import footprint, reach
from sitsfusion.methods.misr.views import Views, network_inputs
from sitsfusion.methods.stored import Stored, provenance, stored
from sitsfusion.ops.unit_range import from_unit_range
from sitsfusion.scene import Scene
from sitsfusion.weights.misr import MisrWeights

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

CITATION = (
    "Okabayashi et al. 2024, Cross-sensor super-resolution of irregularly sampled Sentinel-2 time series, "
    "arXiv 2404.16409"
)
FILL_FROM = 8  # closest images that cloudy pixels of a single image are filled from


class LearnedOptions(MisrOptions):
    """Options of the `misr-*` methods with weights."""

    weights: str = Field(description="shipped or fetched name, folder of our format, or published .ckpt file")


class PatchOptions(LearnedOptions):
    """Options of networks that see far: the image is cut into patches, which are blended where they overlap."""

    patch: int = Field(96, ge=8, description="side of a patch, pixels of the images that go in")
    overlap: int = Field(32, ge=0, description="of neighbouring patches, pixels of the images that go in")


class Learned(SuperResolution):
    """A network of one architecture. `architecture`: name of its backbone, and "srdiff" or not."""

    Options: ClassVar[type[Options]] = LearnedOptions
    options: LearnedOptions
    backbones: ClassVar[tuple[str | None, ...]]
    diffusion: ClassVar[bool] = False

    @property
    def weights(self) -> MisrWeights:
        """What the weights say about themselves.

        Raises:
            CheckpointError: weights of another network than this method's, or that cannot be read.
        """
        return self._checked.weights

    @property
    def views(self) -> int:
        return self.weights.architecture.views

    def bands(self, cube: Cube) -> tuple[str, ...]:
        missing = [key for key in self.weights.keys if key not in cube.bands]
        if missing:
            raise MissingBandError(
                f"weights {self.weights.name} need {', '.join(self.weights.keys)}; the {ROLE} images lack "
                f"{', '.join(missing)} (they have {', '.join(cube.bands)})"
            )
        return self.weights.keys

    @property
    def maxima(self) -> tuple[float, ...]:
        """Reflectance that becomes 1 in the network, by band."""
        return tuple(band.maximum for band in self.weights.bands)

    def notes(self, scene: Scene, usable: int) -> tuple[str, ...]:
        weights, own = self.weights, scene[ROLE].sensor.name
        notes = [f"weights {weights.name}: {weights.architecture.describe()}"]
        if own != weights.sensor:
            notes.append(f"the {ROLE} images are {own}; the weights were trained on {weights.sensor}")
        if usable < weights.architecture.views:
            notes.append(
                f"{usable} usable images where the network takes {weights.architecture.views}: one is repeated"
            )
        return (*notes, *super().notes(scene, usable))

    def tiling(self, scene: Scene, step: Step) -> Tiling:
        return Local({ROLE: ceil(reach(self.weights.architecture) / scene.per_cell(ROLE))})

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int:
        n, tiling = scene.per_cell(ROLE), self.tiling(scene, step)
        if isinstance(tiling, Patches):
            sides = [n * min(tiling.size, side) for side in scene.size]
        else:
            sides = [n * side + 2 * reach(self.weights.architecture) for side in size]
        return footprint(self.weights.architecture, (sides[0], sides[1]))

    def enlarge(self, views: Views, tile: Tile, step: Step, runtime: Runtime) -> Enlarged:
        net = self.network(runtime)
        inputs = self.shown(views, runtime)
        with torch.autocast(runtime.device.type, runtime.dtype, enabled=runtime.dtype != torch.float32):
            made: Tensor = net(*inputs)
        return Enlarged(from_unit_range(made[0].float(), self.maxima))

    def shown(self, views: Views, runtime: Runtime) -> tuple[Tensor, Tensor, Tensor]:
        """Views, days and presence on the device, as the network takes them."""
        inputs = network_inputs(views, self.maxima, self.weights.architecture.views)
        first, second, third = (x.to(runtime.device) for x in inputs)
        return first, second, third

    def network(self, runtime: Runtime) -> MisrNet:
        """The network on the runtime's device."""
        found = self._checked
        return runtime.network(str(found.path), lambda: found.net.to(runtime.device))

    def provenance(self) -> Mapping[str, Any]:
        return provenance(self._checked)

    @property
    def _checked(self) -> Stored[MisrNet, MisrWeights]:
        """The weights, which must be of this method's architecture."""
        given = stored(self.options.weights, load_misr)
        weights, found = given.weights, given.weights.architecture
        name = None if found.backbone is None else found.backbone.name
        if name not in self.backbones or (found.diffusion is not None) != self.diffusion:
            raise CheckpointError(
                f"weights {weights.name} are {found.describe()}, which is not what {self.card.name} runs; "
                f"use --method {method_for(weights)}"
            )
        return given


def method_for(weights: MisrWeights) -> str:
    """The method that runs a set of weights."""
    found = weights.architecture
    if found.diffusion is not None or found.backbone is None:
        return "misr-srdiff"
    return "misr-" + found.backbone.name.replace("_", "-")


class Patched(Learned):
    """A network that sees too far for exact halos: patches, blended."""

    Options: ClassVar[type[Options]] = PatchOptions
    options: PatchOptions

    def tiling(self, scene: Scene, step: Step) -> Tiling:
        n, o = scene.per_cell(ROLE), self.options
        size = ceil(o.patch / n)
        return Patches(size, max(1, size - ceil(o.overlap / n)))


class MisrRrdb(Patched):
    """RRDB network on the closest image; cloudy pixels are filled from the next ones."""

    card: ClassVar[Card] = Card(
        name="misr-rrdb",
        title="RRDB single-image super-resolution",
        summary="Sentinel-2 at 2.5 m by residual dense blocks on the closest image.",
        citation=CITATION,
        needs=(ROLE,),
        learned=True,
        needs_clear_share=True,
    )
    backbones: ClassVar[tuple[str | None, ...]] = ("rrdb",)

    @property
    def views(self) -> int:
        return max(self.weights.architecture.views, FILL_FROM)


class MisrHighRes(Learned):
    """HighRes-net: recursive fusion of several images."""

    card: ClassVar[Card] = Card(
        name="misr-highresnet",
        title="HighRes-net multi-image super-resolution",
        summary="Sentinel-2 at 2.5 m by recursive fusion of several images.",
        citation=CITATION,
        needs=(ROLE,),
        learned=True,
        needs_clear_share=True,
    )
    backbones: ClassVar[tuple[str | None, ...]] = ("highresnet",)


class MisrHighResLtae(Learned):
    """HighRes-net's encoder and decoder with temporal attention between: knows which day is asked for."""

    card: ClassVar[Card] = Card(
        name="misr-highresnet-ltae",
        title="HighRes-net with temporal attention",
        summary="Sentinel-2 at 2.5 m at a chosen day by attention over the days of several images.",
        citation=CITATION,
        needs=(ROLE,),
        learned=True,
        needs_clear_share=True,
    )
    backbones: ClassVar[tuple[str | None, ...]] = ("highresnet_ltae",)


class MisrRrdbLtae(Patched):
    """RRDB trunk on every image, temporal attention, RRDB's decoder."""

    card: ClassVar[Card] = Card(
        name="misr-rrdb-ltae",
        title="RRDB with temporal attention",
        summary="Sentinel-2 at 2.5 m at a chosen day: residual dense blocks per image, attention over their days.",
        citation=CITATION,
        needs=(ROLE,),
        learned=True,
        needs_clear_share=True,
    )
    backbones: ClassVar[tuple[str | None, ...]] = ("rrdb_ltae",)


class MisrRrdbHighRes(Patched):
    """RRDB trunk on every image, recursive fusion, RRDB's decoder."""

    card: ClassVar[Card] = Card(
        name="misr-rrdb-highresnet",
        title="RRDB with recursive fusion",
        summary="Sentinel-2 at 2.5 m: residual dense blocks per image, recursive fusion.",
        citation=CITATION,
        needs=(ROLE,),
        learned=True,
        needs_clear_share=True,
    )
    backbones: ClassVar[tuple[str | None, ...]] = ("rrdb_highresnet",)
