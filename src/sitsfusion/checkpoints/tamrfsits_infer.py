"""The architecture of published TAMRFSITS weights, read off the names and shapes of their entries.

Not visible in shapes, hence taken from `known` or left at the published values: the number of
heads, the base and offset of the day encoding, the size ratio, dropout, and where a
size-preserving encoder resamples.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sitsfusion.errors import CheckpointError
from sitsfusion.nets.tamrfsits_config import TamrfsitsConfig

from .common import shapes


@dataclass(frozen=True)
class _Entries:
    """Shapes of the entries below a prefix, by what follows it."""

    prefix: str
    shapes: Mapping[str, tuple[int, ...]]

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def below(self, prefix: str) -> _Entries:
        inner = {n.removeprefix(prefix): shape for n, shape in self.shapes.items() if n.startswith(prefix)}
        if not inner:
            raise CheckpointError(f"no entry begins with {prefix}: these are not TAMRFSITS weights of published layout")
        return _Entries(self.prefix + prefix, inner)

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise CheckpointError(
                f"1 missing: {self.prefix}{name}; without it the architecture of these weights cannot be told"
            )
        return self.shapes[name]

    def count(self, pattern: str) -> int:
        """One more than the highest number that the pattern finds; 0 if it finds none."""
        numbers = [int(found[1]) for found in (re.match(pattern, name) for name in self.shapes) if found]
        return max(numbers, default=-1) + 1


def infer_architecture(state: Mapping[str, Tensor], **known: Any) -> TamrfsitsConfig:
    """The config of a state dict with published names ({encoder, decoder}); `known` fields take precedence.

    CheckpointError if an entry is missing without which the architecture cannot be told. Whether
    all entries fit is not checked here.
    """
    found = _Entries("", shapes(state))
    hr, lr = found.below("encoder.hr_encoder.model."), found.below("encoder.lr_encoder.model.")
    out_bands, decoder = _decoder(found.below("decoder.decoder.model."))
    layer = "encoder.transformer_encoder.transformer_encoder.layers."
    layers = found.count(re.escape(layer) + r"(\d+)\.")
    inferred: dict[str, Any] = {
        "hr_bands": _input_bands(hr),
        "lr_bands": _input_bands(lr),
        "out_bands": out_bands,
        "layers": layers,
        "decoder_feedforward": found.shape("decoder.attention.linear1.weight")[0],
        "hr_encoder": _encoder(hr),
        "lr_encoder": _encoder(lr),
        "decoder": decoder,
        **_token(found),
    }
    if layers:
        inferred["feedforward"] = found.shape(f"{layer}0.linear1.weight")[0]
    return TamrfsitsConfig.from_dict(inferred | known)


def _token(found: _Entries) -> dict[str, Any]:
    """Widths of a token's parts: what it has beyond image features and sensor token is the day encoding."""
    latent = found.shape("decoder.imputer.default_token")[0]
    sensor = found.shape("decoder.query_sensor_token")[0]
    rest = found.shape("decoder.attention.linear2.weight")[0] - latent - sensor
    mode = {"encoding_mode": "concat", "encoding_features": rest}
    if rest == 0:
        mode = {"encoding_mode": "add", "encoding_features": latent}
    return {"latent": latent, "sensor_token": sensor, **mode}


_FIRST = (  # the first convolution of each encoder group
    "encoder.blocks.0.weight",
    "input_conv.weight",
    "encoding_module.0.block.0.weight",
    "layers.0.0.weight",
    "layers.0.weight",
)


def _input_bands(found: _Entries) -> int:
    first = next((name for name in _FIRST if name in found), _FIRST[0])
    return found.shape(first)[1]


def _encoder(found: _Entries) -> dict[str, Any]:
    """Group and options of a spatial encoder."""
    if "input_conv.weight" in found:
        return _carn(found)
    if "encoding_module.0.block.0.weight" in found:
        first = found.shape("encoding_module.0.block.0.weight")[0]
        return {"name": "unet", "depth": found.count(r"encoding_module\.(\d+)\."), "growth": round(math.log2(first))}
    if "encoder.blocks.0.weight" in found:
        return _esr(found)
    return {"name": "linear"} if found.count(r"layers\.(\d+)\.") == 1 else {"name": "mlp", **_mlp(found)}


def _esr(found: _Entries) -> dict[str, Any]:
    growth, features = found.shape("encoder.blocks.1.module.block_0.module.module.0.conv.weight")[:2]
    # Blocks are numbered from the first convolution, 0.
    options = {"rrdb": found.count(r"encoder\.blocks\.(\d+)\.module\.") - 1, "growth": growth}
    if "decoder.blocks.conv.0.weight" in found:
        return {"name": "esrgan", **options}
    upsampling = "upsampling.0.block.0.weight"
    enlarged = found.shape(upsampling)[0] if upsampling in found else features
    if enlarged == features:
        return {"name": "esrenc", **options}
    return {"name": "esrenc", **options, "upsampling": "pixel_shuffle", "base": math.isqrt(enlarged // features)}


def _carn(found: _Entries) -> dict[str, Any]:
    width, per_group = found.shape("cascading_blocks.0.residual_blocks.0.net.conv_1.weight")[:2]
    return {
        "name": "carn",
        "features": found.shape("output_conv2.weight")[1],
        "blocks": found.count(r"cascading_blocks\.(\d+)\."),
        "groups": width // per_group,
        "shared": found.count(r"cascading_blocks\.0\.residual_1d_conv\.(\d+)\.") == 1,
    }


def _mlp(found: _Entries) -> dict[str, Any]:
    hidden = range(found.count(r"layers\.(\d+)\.") - 1)
    return {
        "hidden": [found.shape(f"layers.{i}.0.weight")[0] for i in hidden],
        "batch_norm": "layers.0.1.weight" in found,
    }


def _decoder(found: _Entries) -> tuple[int, dict[str, Any]]:
    """Output bands, and group and options of the spatial decoder."""
    if layers := found.count(r"layers\.(\d+)\."):
        return found.shape(f"layers.{layers - 1}.weight")[0], {"name": "mlp", **_mlp(found)}
    hidden, width = found.shape("decoder.0.weight")[:2]
    return found.shape("decoder.2.weight")[0], {"name": "esrdec", "hidden": None if hidden == width else hidden}
