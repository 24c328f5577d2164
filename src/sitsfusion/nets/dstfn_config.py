"""What a DSTFN network is made of (importing this does not import torch)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator


class DstfnConfig(BaseModel):
    """Architecture of a DSTFN network.

    Attributes:
        kind: net2 (with panchromatic band), slfnt1 (without), net1 (10 m and 20 m bands of one sensor).
        fine_bands: of the fine image (net1: the 10 m bands).
        coarse_bands: of the coarse image (net1: the 20 m bands), and of the output.
        pan_bands: panchromatic bands; net2 only.
        features: channels throughout.
        layers: convolutions of a dense group.
        growth: channels that each of them adds.
        ratio: how much narrower the middle of the channel attention is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["net2", "net1", "slfnt1"] = "net2"
    fine_bands: PositiveInt = 6
    coarse_bands: PositiveInt = 6
    pan_bands: PositiveInt = 1
    features: PositiveInt = 64
    layers: PositiveInt = 4
    growth: PositiveInt = 32
    ratio: PositiveInt = 16

    @model_validator(mode="after")
    def _wide_enough(self) -> DstfnConfig:
        if self.features < self.ratio:
            raise ValueError(f"{self.features} features at ratio {self.ratio} leave no channel in the attention")
        return self

    @property
    def has_pan(self) -> bool:
        """Whether a panchromatic band is an input."""
        return self.kind == "net2"

    @property
    def factor(self) -> int:
        """Fine pixels along the side of a coarse one."""
        return 2 if self.kind == "net1" else 3

    def describe(self) -> str:
        """One line for messages."""
        return f"DSTFN {self.kind}: {self.features} features, {self.layers} dense layers of {self.growth}"
