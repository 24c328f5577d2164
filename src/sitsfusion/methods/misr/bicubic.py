"""MISR-BICUBIC: the closest clear image, enlarged by cubic convolution. The yardstick of every other `misr-*`."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sitsfusion.cube import Cube
from sitsfusion.methods.base import Card, Local, Options, Step, Tile
from sitsfusion.methods.misr.base import ROLE, Enlarged, MisrOptions, SuperResolution
from sitsfusion.methods.misr.views import Views
from sitsfusion.methods.roles import BICUBIC_REACH
from sitsfusion.nets.misr_config import SCALE
from sitsfusion.ops.resample import bicubic
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime


class BicubicOptions(MisrOptions):
    """Options of `misr-bicubic`."""

    candidates: int = Field(8, ge=1, description="closest images that cloudy pixels of the closest are filled from")


class MisrBicubic(SuperResolution):
    """All bands of the closest image, bicubic (a = -0.75)."""

    card: ClassVar[Card] = Card(
        name="misr-bicubic",
        title="Bicubic enlargement of the closest image",
        summary="The clear Sentinel-2 image nearest in time, four times finer by bicubic interpolation. No weights.",
        citation="Bicubic baseline of MISR-S2, arXiv 2404.16409",
        needs=(ROLE,),
        needs_clear_share=True,
    )
    Options: ClassVar[type[Options]] = BicubicOptions
    options: BicubicOptions

    @property
    def views(self) -> int:
        return self.options.candidates

    def bands(self, cube: Cube) -> tuple[str, ...]:
        return cube.bands

    def tiling(self, scene: Scene, step: Step) -> Local:
        return Local({ROLE: ceil(BICUBIC_REACH / scene.per_cell(ROLE))})

    def enlarge(self, views: Views, tile: Tile, step: Step, runtime: Runtime) -> Enlarged:
        return Enlarged(bicubic(views.closest, 1 / SCALE))
