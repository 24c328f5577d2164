"""What a set of cross-sensor super-resolution weights must say about itself.

Radiometry at the network's border, per band:

    network value = 2 * clip(reflectance, 0, maximum) / maximum - 1
    reflectance   = (network value + 1) / 2 * maximum

Importing this imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from sitsfusion.nets.misr_config import MisrConfig

# 98th percentiles of the reflectances of BreizhSR's training images.
BREIZHSR_MAXIMA = {"B04": 0.2058, "B03": 0.1583, "B02": 0.1118}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MisrBand(_Frozen):
    """A band by its key in the sensor registry; `maximum`: reflectance that becomes 1, above which is clipped."""

    key: str
    maximum: PositiveFloat


def breizhsr_bands() -> tuple[MisrBand, ...]:
    """The bands of the published configurations, in channel order: red, green, blue."""
    return tuple(MisrBand(key=key, maximum=maximum) for key, maximum in BREIZHSR_MAXIMA.items())


class MisrWeights(_Frozen):
    """The config beside cross-sensor super-resolution weights.

    Attributes:
        name: what the weights are called in reports and provenance.
        architecture: the network.
        sensor: name in the sensor registry, of the images that go in and of the radiometry that comes out.
        bands: in the network's channel order.
        licence: as the authors state it; "not stated" where they do not.
        source: where the weights come from (record, DOI, training job).
    """

    family: Literal["misr"] = "misr"
    name: str
    architecture: MisrConfig
    sensor: str = "sentinel-2-l2a"
    bands: Annotated[tuple[MisrBand, ...], Field(min_length=1)] = breizhsr_bands()
    licence: str
    source: str

    @model_validator(mode="after")
    def _bands_fit(self) -> MisrWeights:
        if len(set(self.keys)) != len(self.keys):
            raise ValueError(f"a band is listed twice: {', '.join(self.keys)}")
        if len(self.bands) != self.architecture.bands:
            raise ValueError(f"the network takes {self.architecture.bands} bands; {len(self.bands)} are described")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """Band keys in channel order."""
        return tuple(band.key for band in self.bands)
