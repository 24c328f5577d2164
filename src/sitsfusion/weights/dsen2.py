"""What DSen2 weights say about themselves. Importing this imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

Group = Annotated[tuple[str, ...], Field(min_length=1)]
TEN: Group = ("B02", "B03", "B04", "B08")
TWENTY: Group = ("B05", "B06", "B07", "B8A", "B11", "B12")
SIXTY: Group = ("B01", "B09")


class Dsen2Weights(BaseModel):
    """The config beside DSen2 weights of one network.

    Attributes:
        name: what the weights are called in reports and provenance.
        groups: keys of the input bands, finest group first; the last group is what comes out.
        factor: 10 m pixels along the side of a pixel of the last group (2 or 6).
        blocks: residual blocks.
        features: channels of each.
        unit: reflectance that is 1 for the network.
        interpolation: how coarser bands were brought to 10 m in training.
        sensor: in the sensor registry; published weights exist for level 1C and level 2A.
        licence: as the authors state it.
        source: where the weights come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["dsen2"] = "dsen2"
    name: str
    groups: tuple[Group, ...] = (TEN, TWENTY)
    factor: Literal[2, 6] = 2
    blocks: PositiveInt = 6
    features: PositiveInt = 128
    unit: PositiveFloat = 0.2
    interpolation: Literal["bilinear", "cubic"] = "bilinear"
    sensor: str = "sentinel-2-l2a"
    licence: str
    source: str

    @model_validator(mode="after")
    def _each_band_once(self) -> Dsen2Weights:
        keys = [key for group in self.groups for key in group]
        if len(set(keys)) < len(keys):
            raise ValueError(f"a band is in two groups: {', '.join(keys)}")
        return self

    @property
    def counts(self) -> tuple[int, ...]:
        """Bands of each group."""
        return tuple(len(group) for group in self.groups)

    def describe(self) -> str:
        """One line for messages."""
        return f"DSen2 of groups {self.counts}, {self.blocks} blocks of {self.features}"
