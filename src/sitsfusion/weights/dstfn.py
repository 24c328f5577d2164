"""What DSTFN weights say about themselves. Importing this imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from sitsfusion.nets.dstfn_config import DstfnConfig
from sitsfusion.weights.deepharmo import SensorBands


class DstfnWeights(BaseModel):
    """The config beside DSTFN weights; values are reflectance.

    Attributes:
        name: what the weights are called in reports and provenance.
        architecture: the network; `net2` or `slfnt1`.
        fine: bands of the fine image, and of what comes out.
        coarse: the same bands of the coarse image.
        pan: the panchromatic band of `net2`.
        licence: as the authors state it; "not stated" where they do not.
        source: where the weights come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["dstfn"] = "dstfn"
    name: str
    architecture: DstfnConfig
    fine: SensorBands = SensorBands(sensor="sentinel-2-l2a", bands=("B02", "B03", "B04", "B8A", "B11", "B12"))
    coarse: SensorBands = SensorBands(sensor="landsat-8-9-c2-l2", bands=("B02", "B03", "B04", "B05", "B06", "B07"))
    pan: SensorBands = SensorBands(sensor="landsat-8-9-c2-l1", bands=("B08",))
    licence: str
    source: str

    @model_validator(mode="after")
    def _bands_fit(self) -> DstfnWeights:
        net = self.architecture
        if (net.fine_bands, net.coarse_bands) != (len(self.fine.bands), len(self.coarse.bands)):
            raise ValueError(
                f"the network takes {net.fine_bands} fine and {net.coarse_bands} coarse bands; "
                f"{len(self.fine.bands)} and {len(self.coarse.bands)} are described"
            )
        return self
