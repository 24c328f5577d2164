"""What a set of U-TILISE weights must say about itself: architecture, bands, positions, window, licence.

Radiometry at the network's border: optical bands in reflectance, clipped to [0, 1], `fill_value` where masked; SAR in
decibel, clipped to `sar_range` and scaled to [0, 1]. No means, no standard deviations.

Importing this imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sitsfusion.datasets.utilise_positions import PositionStrategy
from sitsfusion.nets.utilise_config import PUBLISHED, UtiliseConfig

L1C_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
EARTHNET_BANDS = ("B02", "B03", "B04", "B8A")
SAR_BANDS = ("VV", "VH")


class UtiliseWeights(BaseModel):
    """The config beside U-TILISE weights.

    Attributes:
        name: what the weights are called in reports and provenance.
        architecture: the network.
        sensor: name in the sensor registry.
        bands: optical bands in channel order; the output has the same.
        sar_bands: bands of the SAR images that follow them in the input; none if the network takes no SAR.
        mask_channel: whether a channel between both tells which pixels are masked.
        sar_range: decibel that become 0 and 1.
        positions: how dates become positions.
        window: frames that the network sees together, those of its training; None = all.
        fill_value: what masked pixels hold.
        licence: as the authors state it; "not stated" where they do not.
        source: where the weights come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["utilise"] = "utilise"
    name: str
    architecture: UtiliseConfig
    sensor: str
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    sar_bands: tuple[str, ...] = ()
    mask_channel: bool = False
    sar_range: tuple[float, float] = (-25.0, 0.0)
    positions: PositionStrategy = "day-of-year"
    window: Annotated[int, Field(ge=4)] | None = 10
    fill_value: float = 1.0
    licence: str
    source: str

    @model_validator(mode="after")
    def _bands_fit(self) -> UtiliseWeights:
        net, optical, sar = self.architecture, len(self.bands), len(self.sar_bands)
        if (net.input_dim, net.channels_out) != (optical + self.mask_channel + sar, optical):
            raise ValueError(
                f"the network takes {net.input_dim} channels and gives {net.channels_out}, but {optical} optical and "
                f"{sar} SAR bands are described, and {'a' if self.mask_channel else 'no'} mask"
            )
        return self


def _published(name: str, sensor: str, bands: tuple[str, ...], sar: tuple[str, ...] = ()) -> UtiliseWeights:
    return UtiliseWeights(
        name=name,
        architecture=PUBLISHED[name],
        sensor=sensor,
        bands=bands,
        sar_bands=sar,
        licence="not stated (the code is MIT)",
        source="Stucker, Sainte Fare Garnot and Schindler 2023, IEEE TGRS 61, arXiv 2305.13277",
    )


# What the three published files are, by the stem of their name.
PUBLISHED_WEIGHTS = {
    weights.name: weights
    for weights in (
        _published("utilise_earthnet2021", "sentinel-2-l2a", EARTHNET_BANDS),
        _published("utilise_sen12mscrts_wo_s1", "sentinel-2-l1c", L1C_BANDS),
        _published("utilise_sen12mscrts_w_s1", "sentinel-2-l1c", L1C_BANDS, SAR_BANDS),
    )
}
