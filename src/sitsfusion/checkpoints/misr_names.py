"""Names of published MISR-S2 state dicts, from ours and back.

Every rule is a pattern on our name and its replacement, applied in order. Published diffusion checkpoints hold the
denoiser under `denoise_fn.`, the backbone under `rrdb.` (whatever it is) and the buffers of the schedule.
"""

from __future__ import annotations

import re

from sitsfusion.nets.misr_config import BackboneConfig

Rule = tuple[str, str]

_RRDB: list[Rule] = [
    (r"^encoder\.first\.", "encoder.conv_first."),
    (r"^encoder\.last\.", "encoder.trunk_conv."),
    (r"^encoder\.blocks\.(\d+)\.dense\.0\.", r"encoder.RRDB_trunk.\1.RDB1."),
    (r"^encoder\.blocks\.(\d+)\.dense\.1\.", r"encoder.RRDB_trunk.\1.RDB2."),
    (r"^encoder\.blocks\.(\d+)\.dense\.2\.", r"encoder.RRDB_trunk.\1.RDB3."),
    *((rf"\.convs\.{i}\.", f".conv{i + 1}.") for i in range(5)),
    (r"^decoder\.enlarge\.0\.conv\.", "decoder.upconv1."),
    (r"^decoder\.enlarge\.1\.conv\.", "decoder.upconv2."),
    (r"^decoder\.conv\.", "decoder.HRconv."),
    (r"^decoder\.last\.", "decoder.conv_last."),
]
_HIGHRES: list[Rule] = [
    (r"^encoder\.first\.", "encoder.init_layer.0."),
    (r"^encoder\.slope\.", "encoder.init_layer.1."),
    (r"^encoder\.blocks\.(\d+)\.layers\.", r"encoder.res_layers.\1.block."),
    (r"^encoder\.last\.", "encoder.final.0."),
    (r"^decoder\.double1\.", "decoder.deconv.0."),
    (r"^decoder\.slope1\.", "decoder.deconv.1."),
    (r"^decoder\.double2\.", "decoder.deconv2.0."),
    (r"^decoder\.slope2\.", "decoder.deconv2.1."),
    (r"^decoder\.last\.", "decoder.final."),
]
_FUSION: list[Rule] = [
    (r"^fusion\.fuse\.0\.layers\.", "fuse.fuse.0.block."),
    (r"^fusion\.", "fuse."),
]
_TEMPORAL: list[Rule] = [(r"^temporal\.", "temporal_encoder.")]
_RULES: dict[str, list[Rule]] = {
    "rrdb": [*_RRDB, (r"^(encoder|decoder)\.", "")],
    "highresnet": [*_HIGHRES, *_FUSION, (r"^(en|de)coder\.", r"\1code.")],
    "highresnet_ltae": [*_HIGHRES, *_TEMPORAL],
    "rrdb_ltae": [*_RRDB, *_TEMPORAL],
    "rrdb_highresnet": [*_RRDB, *_FUSION],
}
_DENOISER: list[Rule] = [
    (r"^project\.", "cond_proj."),
    (r"^embed\.", "mlp."),
    (r"^(downs|ups)\.(\d+)\.blocks\.", r"\1.\2."),
    (r"^downs\.(\d+)\.shrink\.", r"downs.\1.2.conv.1."),
    (r"^ups\.(\d+)\.enlarge\.", r"ups.\1.2.conv.0."),
    (r"^middle\.0\.", "mid_block1."),
    (r"^middle\.1\.", "mid_block2."),
    (r"\.step\.", ".mlp.1."),
    (r"\.conv([12])\.(weight|bias)$", r".block\1.block.1.\2"),
    (r"\.skip\.", ".res_conv."),
    (r"^head\.", "final_conv.0.block.1."),
    (r"^last\.", "final_conv.1."),
]


def published_backbone_name(config: BackboneConfig, name: str) -> str:
    """The published name of an entry of a backbone's state dict."""
    return _applied(_RULES[config.name], name)


def published_name(config: BackboneConfig | None, name: str) -> str:
    """The published name of an entry of a diffusion network's state dict; `config`: of its backbone."""
    part, _, rest = name.partition(".")
    if part == "backbone" and config is not None:
        return "rrdb." + published_backbone_name(config, rest)
    return "denoise_fn." + _applied(_DENOISER, rest)


def _applied(rules: list[Rule], name: str) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
