"""What a TAMRFSITS network is made of: options only, no tensors (importing this does not import torch).

An encoder or decoder group is chosen by name, with or without its options:

    TamrfsitsConfig.from_dict({"layers": 2, "lr_encoder": "carn", "hr_encoder": {"name": "esrenc", "rrdb": 3}})

Options left out are those of the published configuration group of that sensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from sitsfusion.errors import InputError

_STRICT = ConfigDict(extra="forbid")
Resample = Literal["early", "late"]  # bicubic enlargement before or after a network that keeps the size


@dataclass(frozen=True, config=_STRICT)
class EsrEncConfig:
    """ESR encoder (published): RRDBs, then learnt upsampling stages of `base` each."""

    name: Literal["esrenc"] = "esrenc"
    rrdb: PositiveInt = 1
    growth: PositiveInt = 32
    base: Annotated[int, Field(ge=2)] = 3
    upsampling: Literal["bicubic", "pixel_shuffle"] = "bicubic"
    residual_scale: float = 0.2


@dataclass(frozen=True, config=_STRICT)
class EsrganConfig:
    """ESR encoder plus the decoder of the ESRGAN generator."""

    name: Literal["esrgan"] = "esrgan"
    rrdb: PositiveInt = 1
    growth: PositiveInt = 32
    base: Annotated[int, Field(ge=2)] = 2
    residual_scale: float = 0.2


@dataclass(frozen=True, config=_STRICT)
class CarnConfig:
    """Cascading network; its inner width is `features * (2 * ceil(factor / 2)) ** 2`."""

    name: Literal["carn"] = "carn"
    features: PositiveInt = 128
    blocks: PositiveInt = 1
    groups: PositiveInt = 4
    shared: bool = True


@dataclass(frozen=True, config=_STRICT)
class UNetConfig:
    """U-Net of `depth` levels with `2 ** (growth + level)` channels."""

    name: Literal["unet"] = "unet"
    depth: PositiveInt = 3
    growth: PositiveInt = 6
    resample: Resample = "early"


@dataclass(frozen=True, config=_STRICT)
class MlpConfig:
    """1x1 convolutions."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[PositiveInt, ...] = (128, 128, 128)
    batch_norm: bool = False
    resample: Resample = "late"


@dataclass(frozen=True, config=_STRICT)
class LinearConfig:
    """One 1x1 convolution."""

    name: Literal["linear"] = "linear"
    resample: Resample = "late"


@dataclass(frozen=True, config=_STRICT)
class EsrDecConfig:
    """Spatial decoder (published): 3x3 convolution, LeakyReLU, 3x3 convolution; `hidden` None is the token width."""

    name: Literal["esrdec"] = "esrdec"
    hidden: PositiveInt | None = None


@dataclass(frozen=True, config=_STRICT)
class MlpDecConfig:
    """Spatial decoder of 1x1 convolutions."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[PositiveInt, ...] = (128, 128, 128)
    batch_norm: bool = False


EncoderConfig = EsrEncConfig | EsrganConfig | CarnConfig | UNetConfig | MlpConfig | LinearConfig
DecoderConfig = EsrDecConfig | MlpDecConfig

# The published configuration groups.
HR_ENCODERS: dict[str, EncoderConfig] = {
    "esrenc": EsrEncConfig(),
    "esrgan": EsrganConfig(),
    "carn": CarnConfig(),
    "unet": UNetConfig(),
    "mlp": MlpConfig(),
    "linear": LinearConfig(),
}
LR_ENCODERS: dict[str, EncoderConfig] = {
    "esrenc": EsrEncConfig(),
    "esrgan": EsrganConfig(rrdb=3, base=3),
    "carn": CarnConfig(features=32, blocks=3),
    "unet": UNetConfig(),
    "mlp": MlpConfig(hidden=(128, 128)),
    "linear": LinearConfig(),
}
DECODERS: dict[str, DecoderConfig] = {"esrdec": EsrDecConfig(), "mlp": MlpDecConfig()}


def _complete(groups: Mapping[str, Any], value: Any) -> Any:
    """A group's name, or some of its options, completed by the group's defaults; anything else as it is."""
    options: Any = {"name": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping):
        return value
    name = str(options.get("name"))
    if name not in groups:
        raise ValueError(f"no group is named {name}; the groups are {', '.join(groups)}")
    return {**asdict(groups[name]), **options}


_BY_NAME = Field(discriminator="name")
HrEncoder = Annotated[EncoderConfig, _BY_NAME, BeforeValidator(partial(_complete, HR_ENCODERS))]
LrEncoder = Annotated[EncoderConfig, _BY_NAME, BeforeValidator(partial(_complete, LR_ENCODERS))]
Decoder = Annotated[DecoderConfig, _BY_NAME, BeforeValidator(partial(_complete, DECODERS))]


@dataclass(frozen=True, config=_STRICT)
class TamrfsitsConfig:
    """The published architecture by default (2,329,258 parameters).

    Attributes:
        hr_bands: channels of the fine sensor; `lr_bands` those of the coarse one.
        out_bands: channels of the output, coarse bands first.
        ratio: fine pixels per coarse pixel, along each axis.
        latent: channels of image features.
        sensor_token: width of the learnt vector that tells the sensors apart; 0 for none.
        encoding: temporal encoding: fixed sinusoids or learnt ones.
        encoding_features: its width; `encoding_div` and `encoding_offset` belong to the fixed one.
        encoding_mode: "concat" (features first), "add" (needs `encoding_features == latent`), or "yield"
            (the encoding alone: images are ignored, for experiments on the encoding).
        dropout: in training, in the transformer and the cross attention.
    """

    hr_bands: PositiveInt = 10
    lr_bands: PositiveInt = 8
    out_bands: PositiveInt = 18
    ratio: PositiveInt = 3
    latent: PositiveInt = 64
    sensor_token: Annotated[int, Field(ge=0)] = 8
    encoding: Literal["fixed", "learnable"] = "fixed"
    encoding_features: Annotated[int, Field(ge=2)] = 64
    encoding_div: Annotated[float, Field(gt=0)] = 365.0
    encoding_offset: int = 0
    encoding_mode: Literal["concat", "add", "yield"] = "concat"
    heads: PositiveInt = 4
    layers: Annotated[int, Field(ge=0)] = 3
    feedforward: PositiveInt = 256
    decoder_heads: PositiveInt = 4
    decoder_feedforward: PositiveInt = 256
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    hr_encoder: HrEncoder = HR_ENCODERS["esrenc"]
    lr_encoder: LrEncoder = LR_ENCODERS["esrenc"]
    decoder: Decoder = DECODERS["esrdec"]

    @model_validator(mode="after")
    def _widths_fit(self) -> TamrfsitsConfig:
        if self.encoding_mode == "add" and self.encoding_features != self.latent:
            raise ValueError(
                f"encoding_mode add needs {self.latent} encoding_features (latent), found {self.encoding_features}"
            )
        for heads in (self.heads, self.decoder_heads):
            if self.width % heads:
                raise ValueError(f"tokens of width {self.width} cannot be split into {heads} heads")
        return self

    @property
    def width(self) -> int:
        """Width of a token: image features, encoding and sensor token (136 in the published model)."""
        joined = {"concat": self.latent + self.encoding_features, "add": self.latent, "yield": self.encoding_features}
        return joined[self.encoding_mode] + self.sensor_token

    def to_dict(self) -> dict[str, Any]:
        """Primitives only; `from_dict` gives an equal config back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TamrfsitsConfig:
        """Read a config; InputError names every unknown key and unfit value."""
        try:
            return TypeAdapter(cls).validate_python(dict(values))
        except ValidationError as error:
            found = [(".".join(map(str, e["loc"])) or "config", e["msg"], e["input"]) for e in error.errors()]
            lines = [f"  {where}: {what} (found {value!r:.80})" for where, what, value in found]
            raise InputError("\n".join(["this is not a TAMRFSITS network config:", *lines])) from error

    def describe(self) -> str:
        """One line for messages."""
        return (
            f"TAMRFSITS: HR {_describe(self.hr_encoder)} of {self.hr_bands} bands, "
            f"LR {_describe(self.lr_encoder)} of {self.lr_bands} bands, {self.layers} transformer layers, "
            f"tokens of {self.width}, decoder {self.decoder.name} to {self.out_bands} bands, ratio {self.ratio}"
        )


def _describe(encoder: EncoderConfig) -> str:
    depth = f" with {encoder.rrdb} RRDB" if isinstance(encoder, EsrEncConfig | EsrganConfig) else ""
    return encoder.name + depth


def _sized(rrdb: int, layers: int, **other: Any) -> TamrfsitsConfig:
    encoder = EsrEncConfig(rrdb=rrdb)
    return replace(TamrfsitsConfig(), hr_encoder=encoder, lr_encoder=encoder, layers=layers, **other)


# Sizes that were published or ablated: s = RRDBs per encoder, t = transformer layers.
VARIANTS: dict[str, TamrfsitsConfig] = {
    "s1t3": _sized(1, 3),
    "s2t3": _sized(2, 3),
    "s3t3": _sized(3, 3),
    "s1t2": _sized(1, 2),
    "s1t1": _sized(1, 1),
    "no_sensor_tokens": _sized(1, 3, sensor_token=0),
}
