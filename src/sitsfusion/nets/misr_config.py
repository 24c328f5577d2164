"""What a cross-sensor super-resolution network is made of: options only, no tensors (importing this does not import
torch).

A *backbone* turns one or several Sentinel-2 images into one that is `SCALE` times finer. With a `diffusion`, its
features condition a denoiser instead (SRDiff); without backbone the denoiser is conditioned by the closest image.
Defaults are the published configurations of MISR-S2 (arXiv 2404.16409).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

SCALE = 4
BACKBONES = ("rrdb", "highresnet", "highresnet_ltae", "rrdb_ltae", "rrdb_highresnet")
_STRICT = ConfigDict(extra="forbid")
Reference = Literal["closest", "median"]
Schedule = Literal["cosine", "linear", "quad", "warmup10", "warmup50", "const", "jsd"]


@dataclass(frozen=True, config=_STRICT)
class RrdbConfig:
    """RRDB network on the closest image."""

    name: Literal["rrdb"] = "rrdb"
    features: PositiveInt = 32
    growth: PositiveInt = 16
    blocks: PositiveInt = 15

    @property
    def condition_channels(self) -> int:
        """Every third of the `blocks + 1` feature maps."""
        return self.features * ((self.blocks + 1) // 3)


@dataclass(frozen=True, config=_STRICT)
class HighResConfig:
    """HighRes-net; the reference image is the median of the first `median_of` views."""

    name: Literal["highresnet"] = "highresnet"
    features: PositiveInt = 64
    blocks: PositiveInt = 2
    median_of: PositiveInt = 9

    @property
    def condition_channels(self) -> int:
        return self.features


@dataclass(frozen=True, config=_STRICT)
class HighResLtaeConfig:
    """Encoder and decoder of HighRes-net with temporal attention between; L-TAE of `heads` heads and `width`."""

    name: Literal["highresnet_ltae"] = "highresnet_ltae"
    features: PositiveInt = 64
    blocks: PositiveInt = 2
    reference: Reference = "closest"
    median_of: PositiveInt = 9
    heads: PositiveInt = 16
    width: PositiveInt = 128

    @property
    def condition_channels(self) -> int:
        return self.features


@dataclass(frozen=True, config=_STRICT)
class RrdbLtaeConfig:
    """RRDB trunk on every view, L-TAE, RRDB's decoder."""

    name: Literal["rrdb_ltae"] = "rrdb_ltae"
    features: PositiveInt = 32
    growth: PositiveInt = 32
    blocks: PositiveInt = 8
    heads: PositiveInt = 16
    width: PositiveInt = 128

    @property
    def condition_channels(self) -> int:
        return self.features


@dataclass(frozen=True, config=_STRICT)
class RrdbHighResConfig:
    """RRDB trunk on every view, recursive fusion, RRDB's decoder.

    `published_range`: views are not mapped to [0, 1] and the output stays there, as in the published code, whose
    targets lie in [-1, 1] all the same.
    """

    name: Literal["rrdb_highresnet"] = "rrdb_highresnet"
    features: PositiveInt = 32
    growth: PositiveInt = 32
    blocks: PositiveInt = 15
    published_range: bool = False

    @property
    def condition_channels(self) -> int:
        return self.features


BackboneConfig = Annotated[
    RrdbConfig | HighResConfig | HighResLtaeConfig | RrdbLtaeConfig | RrdbHighResConfig, Field(discriminator="name")
]


@dataclass(frozen=True, config=_STRICT)
class DiffusionConfig:
    """SRDiff: `steps` of a noise schedule, and a denoiser of `width * multipliers` channels per level.

    `rescale`: the residual (image less its bicubic enlargement) is multiplied by it and clipped to [-1, 1].
    """

    steps: Annotated[int, Field(ge=2)] = 500
    schedule: Schedule = "cosine"
    width: Annotated[int, Field(ge=4, multiple_of=2)] = 64
    multipliers: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 2, 3, 4)
    rescale: PositiveFloat = 2.0

    @property
    def multiple(self) -> int:
        """Fine pixels that sides must be multiples of."""
        return int(2 ** (len(self.multipliers) - 1))


@dataclass(frozen=True, config=_STRICT)
class MisrConfig:
    """A complete network: a backbone, or a diffusion with or without one.

    `views`: images that go in; `bands`: of each, and of the result.
    """

    backbone: BackboneConfig | None = None
    diffusion: DiffusionConfig | None = None
    views: PositiveInt = 1
    bands: PositiveInt = 3

    @model_validator(mode="after")
    def _something_to_do(self) -> MisrConfig:
        if self.backbone is None and self.diffusion is None:
            raise ValueError("a network needs a backbone, a diffusion, or both")
        return self

    def describe(self) -> str:
        """One line for messages."""
        name = "no backbone" if self.backbone is None else self.backbone.name
        return name if self.diffusion is None else f"SRDiff conditioned by {name}"
