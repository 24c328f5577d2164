"""What a Deep-Harmonization network is made of (importing this does not import torch)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

UpMode = Literal["upsample", "upconv", "shuffle"]
Attention = Literal["None", "standard", "modified"]
Head = Literal["plain", "gaussian"]


class DeepHarmoConfig(BaseModel):
    """Architecture: the first seven fields are those of the published `config.json`, under their names there.

    Attributes:
        in_channels: multispectral and panchromatic bands.
        out_channels: bands that come out.
        depth: levels; level i has 2 ** (growth_factor + i) channels.
        spatial_attention: gate on the skip connections; "None" is a text in the published files.
        growth_factor: see depth.
        up_mode: how the decoder doubles the size.
        ca_layer: efficient channel attention at the end of every convolution block.
        head: one output, or mean and variance.
        dropout: probability at the end of every convolution block (0.1 for Monte-Carlo dropout); holds no weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_channels: PositiveInt = 7
    out_channels: PositiveInt = 6
    depth: int = Field(5, ge=2)
    spatial_attention: Attention = "None"
    growth_factor: PositiveInt = 6
    up_mode: UpMode = "upsample"
    ca_layer: bool = False
    head: Head = "plain"
    dropout: float = Field(0.0, ge=0, lt=1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, shallowest first."""
        return tuple(2 ** (self.growth_factor + level) for level in range(self.depth))

    @property
    def multiple(self) -> int:
        """Sides must be multiples of this many pixels for tiles to equal the whole."""
        return int(2 ** (self.depth - 1))

    @property
    def reach(self) -> int:
        """Distance in pixels from which an input can influence an output, channel attention left aside."""
        return max(max(x - a, b - x) for x in range(self.multiple) for a, b in [self._support(x)])

    def _support(self, x: int) -> tuple[int, int]:
        """First and last input column that the output column `x` of level 0 depends on: back through the network."""
        a = b = x
        for _ in range(self.depth - 1):  # the decoder, shallowest level first
            a, b = a - 2, b + 2  # two convolutions
            if self.up_mode == "upsample":  # pixel 2k from k - 1 and k, pixel 2k + 1 from k and k + 1
                a, b = (a - 1) // 2, (b + 1) // 2
            elif self.up_mode == "shuffle":  # convolution, pixel shuffle, convolution
                a, b = (a - 1) // 2 - 1, (b + 1) // 2 + 1
            else:
                a, b = a // 2, b // 2
        a, b = a - 2, b + 2  # the deepest block
        for _ in range(self.depth - 1):  # the encoder, deepest level first: pooling, two convolutions
            a, b = 2 * a - 2, 2 * b + 1 + 2
        return a, b

    def describe(self) -> str:
        """One line for messages."""
        extras = [f"{self.spatial_attention} attention"] if self.spatial_attention != "None" else []
        extras += ["channel attention"] if self.ca_layer else []
        extras += ["Gaussian head"] if self.head == "gaussian" else []
        return ", ".join([f"{self.depth} levels from {self.widths[0]} channels, {self.up_mode}", *extras])
