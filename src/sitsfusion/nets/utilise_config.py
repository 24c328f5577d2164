"""What a U-TILISE network is made of: options only, no tensors (importing this does not import torch)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from sitsfusion.errors import InputError

_OrNone = BeforeValidator(lambda value: None if value in ("none", "None") else value)  # as published files write it
Norm = Annotated[Literal["group", "batch", "instance"] | None, _OrNone]
Aggregation = Annotated[Literal["att_group", "att_mean"] | None, _OrNone]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class UtiliseConfig:
    """Options and defaults of the published constructor.

    The published models have the decoder widths of the encoder and `ltae_activation` "gelu": see `PUBLISHED`.

    Attributes:
        input_dim: input channels (optical, then SAR).
        output_dim: output channels; None = `input_dim`.
        encoder_widths: channels of the levels, from full size to 1 / 2^(levels - 1).
        decoder_widths: the same for the decoder; None = those of the encoder. The last is that of the encoder.
        upconv_type: "transpose" (transposed convolution) or "bilinear" (then a 1x1 convolution).
        encoder_norm: norm of the encoder's convolutions; `decoder_norm` and `skip_norm` are those of the decoder.
        activation: of convolutions: relu, lrelu (or "lrelu,SLOPE"), prelu, mish, gelu, tanh, sigmoid.
        str_conv_k: side of the convolutions that halve the size; `str_conv_s` stride, `str_conv_p` padding.
        str_conv_k_up: side of the transposed convolutions, `str_conv_p_up` padding; None = as on the way down.
        padding_mode: of all convolutions.
        skip_attention: leave out the temporal encoder: a U-Net that sees each frame alone.
        positional_encoding: whether the temporal encoder looks at days.
        n_temporal_encoding_layers: its layers.
        agg_mode: how its attention weighs skip connections: "att_group", "att_mean", or None (it does not).
        n_head: its heads. The widths that they share (all but the decoder's) are multiples of it.
        d_k: width of its keys and queries, per head; `bias_qk`: whether they have a bias.
        attn_dropout: in training, of attention weights; `dropout`: after attention and perceptron.
        n_groups: groups of group norms in encoder and decoder; -1 = channels / `dim_per_group`. One of both is -1.
        group_norm_eps: of these norms.
        ltae_norm: norm in the temporal encoder; `norm_first`: whether it comes before attention and perceptron.
        ltae_activation: of its perceptron.
        pad_value: a frame whose values are all this (and whose day is 0, if days are given) only fills up the batch;
            None: there are no such frames.
        output_activation: a name; None or True = `activation`; False = none.
    """

    input_dim: PositiveInt
    output_dim: PositiveInt | None = None
    encoder_widths: Widths = (64, 64, 64, 128)
    decoder_widths: Widths | None = (32, 32, 64, 128)
    upconv_type: Literal["transpose", "bilinear"] = "transpose"
    encoder_norm: Norm = None
    decoder_norm: Norm = None
    skip_norm: Norm = None
    activation: str = "relu"
    str_conv_k: PositiveInt = 4
    str_conv_s: PositiveInt = 2
    str_conv_p: NonNegativeInt = 1
    str_conv_k_up: PositiveInt | None = 2
    str_conv_p_up: NonNegativeInt | None = 0
    padding_mode: PaddingMode = "reflect"
    skip_attention: bool = False
    positional_encoding: bool = True
    n_temporal_encoding_layers: PositiveInt = 1
    agg_mode: Aggregation = "att_group"
    n_head: PositiveInt = 4
    d_k: PositiveInt = 4
    bias_qk: bool = False
    attn_dropout: Share = 0.1
    dropout: Share = 0.1
    n_groups: int = 4
    dim_per_group: int = -1
    group_norm_eps: float = 1e-5
    ltae_norm: Literal["group", "layer"] = "group"
    ltae_activation: str = "relu"
    norm_first: bool = True
    pad_value: float | None = 0.0
    output_activation: str | bool | None = "sigmoid"

    @model_validator(mode="after")
    def _widths_fit(self) -> UtiliseConfig:
        down, up = self.encoder_widths, self.up_widths
        if len(down) != len(up) or down[-1] != up[-1]:
            raise ValueError(f"encoder_widths {down} and decoder_widths {up} must be equally long and end alike")
        shared = down[-1:] if self.agg_mode != "att_group" else down
        if not self.skip_attention and any(width % self.n_head for width in shared):
            raise ValueError(f"encoder_widths {shared} must be multiples of n_head {self.n_head}, which shares them")
        return self

    @property
    def up_widths(self) -> tuple[int, ...]:
        """Channels of the decoder's levels, from full size on."""
        return self.encoder_widths if self.decoder_widths is None else self.decoder_widths

    @property
    def channels_out(self) -> int:
        """Channels of the output."""
        return self.input_dim if self.output_dim is None else self.output_dim

    @property
    def last_activation(self) -> str | bool:
        """Activation of the output: a name, or False for none."""
        return self.activation if self.output_activation in (None, True) else self.output_activation

    @property
    def multiple(self) -> int:
        """Sides of images are multiples of this."""
        return int(2 ** (len(self.encoder_widths) - 1))

    @property
    def smallest(self) -> int:
        """Fewest pixels along a side: a reflected border needs 2 pixels in the deepest features."""
        return self.multiple * (2 if self.padding_mode == "reflect" else 1)

    def to_dict(self) -> dict[str, Any]:
        """Primitives only; `from_dict` gives an equal config back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UtiliseConfig:
        """Read a config; InputError names every unknown key and unfit value."""
        try:
            return TypeAdapter(cls).validate_python(dict(values))
        except ValidationError as error:
            found = [(".".join(map(str, e["loc"])) or "config", e["msg"], e["input"]) for e in error.errors()]
            lines = [f"  {where}: {what} (found {value!r:.80})" for where, what, value in found]
            raise InputError("\n".join(["this is not a U-TILISE network config:", *lines])) from error


def _published(inputs: int, outputs: int, widths: tuple[int, ...]) -> UtiliseConfig:
    return UtiliseConfig(
        input_dim=inputs, output_dim=outputs, encoder_widths=widths, decoder_widths=widths, ltae_activation="gelu"
    )


# The three published models, by the name of their file.
PUBLISHED: dict[str, UtiliseConfig] = {
    "utilise_earthnet2021": _published(4, 4, (64, 64, 64, 128)),
    "utilise_sen12mscrts_wo_s1": _published(13, 13, (64, 64, 64, 64, 128)),
    "utilise_sen12mscrts_w_s1": _published(15, 13, (64, 64, 64, 64, 128)),
}
