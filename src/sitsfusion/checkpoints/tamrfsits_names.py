"""Names of published TAMRFSITS state dicts, from ours and back.

Every rule is a pattern on our name and its replacement, applied in order; the published names
are those of the module dictionary {encoder, decoder}, without the leading `the_modules.`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from sitsfusion.errors import CheckpointError
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.nets.tamrfsits_config import (
    CarnConfig,
    EncoderConfig,
    EsrEncConfig,
    EsrganConfig,
    TamrfsitsConfig,
    UNetConfig,
)

from .common import require_same, shapes

Rule = tuple[str, str | Callable[[re.Match[str]], str]]

_TEMPORAL: list[Rule] = [
    (r"^encoder\.(hr|lr)_token$", r"encoder.\1_sensor_token"),
    (r"^(encoder\.temporal\.layers\.\d+)\.attention\.", r"\1.self_attn."),
    (r"^encoder\.temporal\.", "encoder.transformer_encoder.transformer_encoder."),
    (r"^decoder\.cross\.", "decoder.attention."),
    (r"\.in_proj\.(weight|bias)$", r".in_proj_\1"),
    (r"^decoder\.default_token$", "decoder.imputer.default_token"),
    (r"^decoder\.sensor_token$", "decoder.query_sensor_token"),
]
_UNET: list[Rule] = [
    (r"^down\.(\d+)\.", r"encoding_module.\1.block."),
    (r"^up\.(\d+)\.", r"decoding_module.\1.upsize."),
    (r"^merge\.(\d+)\.", r"decoding_module.\1.conv.block."),
]
_CARN: list[Rule] = [
    (r"\bmix\.", "residual_1d_conv."),
    (r"^blocks\.", "cascading_blocks."),
    (r"\.residual\.(\d+)\.conv([12])\.", r".residual_blocks.\1.net.conv_\2."),
    (r"\.residual\.(\d+)\.conv3\.", r".residual_blocks.\1.single_conv."),
]


def _esr(rrdb: int) -> list[Rule]:
    """Published blocks are numbered in one list: first convolution, RRDBs, last convolution."""
    return [
        (r"^first\.", "encoder.blocks.0."),
        (r"^blocks\.(\d+)\.", lambda found: f"encoder.blocks.{int(found[1]) + 1}."),
        (r"^last\.", f"encoder.blocks.{rrdb + 1}."),
        (r"\.dense\.(\d+)\.scale$", r".module.block_\1.scale"),
        (r"\.dense\.(\d+)\.convs\.(\d+)\.", r".module.block_\1.module.module.\2.conv."),
        (r"^upsampling\.(\d+)\.conv\.", r"upsampling.\1.block.0."),
    ]


def _esrgan(rrdb: int) -> list[Rule]:
    return [
        (r"^conv1\.", "decoder.blocks.conv.0."),
        (r"^conv2\.", "decoder.blocks.conv.2."),
        (r"^upsampling\.(\d+)\.conv\.", r"decoder.blocks.upsampling_\1.block.0."),
        (r"^encoder\.", ""),
        *_esr(rrdb),
    ]


def _apply(rules: Iterable[Rule], name: str) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def published_network_names(config: EncoderConfig, name: str) -> tuple[str, ...]:
    """Published names of one entry of a spatial encoder's network.

    A shared CARN block is listed three times; the last copy is the one in force.
    """
    match config:
        case EsrEncConfig(rrdb=rrdb):
            return (_apply(_esr(rrdb), name),)
        case EsrganConfig(rrdb=rrdb):
            return (_apply(_esrgan(rrdb), name),)
        case CarnConfig(shared=shared):
            published = _apply(_CARN, name)
            copies = range(3) if shared and ".residual_blocks.0." in published else range(1)
            return tuple(published.replace(".residual_blocks.0.", f".residual_blocks.{i}.") for i in copies)
        case UNetConfig():
            return (_apply(_UNET, name),)
        case _:
            return (name,)


def _published(config: TamrfsitsConfig, name: str) -> tuple[str, ...]:
    for role, encoder in (("hr", config.hr_encoder), ("lr", config.lr_encoder)):
        prefix = f"encoder.{role}.network."
        if name.startswith(prefix):
            inner = published_network_names(encoder, name.removeprefix(prefix))
            return tuple(f"encoder.{role}_encoder.model.{n}" for n in inner)
    if name.startswith("decoder.spatial."):
        group = {"esrdec": "decoder", "mlp": "layers"}[config.decoder.name]
        return (name.replace("decoder.spatial.", f"decoder.decoder.model.{group}."),)
    return (_apply(_TEMPORAL, name),)


def _layout(config: TamrfsitsConfig) -> dict[str, Tensor]:
    """Our state dict of a config, without memory for the tensors."""
    with torch.device("meta"):
        return TamrfsitsNet(config).state_dict()


def published_names(config: TamrfsitsConfig) -> dict[str, tuple[str, ...]]:
    """Our name of every entry to its published names (several for a shared CARN block, else one)."""
    if config.encoding == "learnable":
        raise CheckpointError("no published weights have a learnable day encoding: its published names are not known")
    return {name: _published(config, name) for name in _layout(config)}


def from_published(state: Mapping[str, Tensor], config: TamrfsitsConfig, source: str) -> dict[str, Tensor]:
    """Published names to ours; CheckpointError unless names and shapes are exactly those of the config."""
    names = published_names(config)
    ours = shapes(_layout(config))
    expected = {published: ours[name] for name, several in names.items() for published in several}
    require_same(expected, shapes(state), config.describe(), source)
    return {name: state[several[-1]] for name, several in names.items()}


def to_published(state: Mapping[str, Tensor], config: TamrfsitsConfig) -> dict[str, Tensor]:
    """Our names to published ones."""
    return {published: state[name] for name, several in published_names(config).items() for published in several}
