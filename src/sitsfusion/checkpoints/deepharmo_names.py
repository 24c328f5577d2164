"""Published names of the Deep-Harmonization networks, and what names and shapes say about the architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from sitsfusion.checkpoints.renaming import Renaming
from sitsfusion.errors import CheckpointError
from sitsfusion.nets.deepharmo_config import DeepHarmoConfig

# The U-Nets (also UNet-Pan, which is `unet.UNet`). In the bilinear step the published convolution has index 1.
UNET = Renaming(
    (
        ("encoding_module.{}.block.{*}", "down.{}.{*}"),
        ("decoding_module.{}.conv.block.{*}", "merge.{}.{*}"),
        ("decoding_module.{}.attention_gate.W_gate.{*}", "gate.{}.gate.{*}"),
        ("decoding_module.{}.attention_gate.W_x.{*}", "gate.{}.skip.{*}"),
        ("decoding_module.{}.attention_gate.psi.{*}", "gate.{}.score.{*}"),
        ("decoding_module.{}.attention_gate.relu.{*}", "gate.{}.relu.{*}"),
        ("decoding_module.{}.Upsize.{*}", "up.{}.{*}"),
    )
)
UNET_BILINEAR = Renaming((("decoding_module.{}.Upsize.1.{}", "up.{}.conv.{}"), *UNET.pairs))
MB_RRDB = Renaming(
    (
        ("C1.{}", "ms.first.{}"),
        ("PANC1.{}", "pan.first.{}"),
        *(
            pair
            for k in (1, 2, 3)
            for published, ours in ((f"RDB{k}", f"ms.groups.{k - 1}"), (f"PRDB{k}", f"pan.groups.{k - 1}"))
            for pair in (
                (f"{published}.dense_layers.{{}}.conv.{{}}", f"{ours}.dense.{{}}.{{}}"),
                (f"{published}.conv_1x1.weight", f"{ours}.fuse.weight"),
            )
        ),
        ("FF_1X1.{}", "fuse.{}"),
        ("PANRES.{}", "pan_residual.{}"),
    )
)


def renaming(config: DeepHarmoConfig) -> Renaming:
    """The names of an architecture."""
    return UNET_BILINEAR if config.up_mode == "upsample" else UNET


def infer_config(state: Mapping[str, Tensor], source: str) -> DeepHarmoConfig:
    """The architecture that published names and shapes tell (dropout leaves no trace).

    Raises:
        CheckpointError: these are not the entries of such a network.
    """
    levels = {int(m[1]) for name in state if (m := re.match(r"encoding_module\.(\d+)\.", name))}
    first = state.get("encoding_module.0.block.0.weight")
    gaussian = "final_mean.weight" in state
    last = state.get("final_mean.weight" if gaussian else "final.weight")
    if len(levels) < 2 or first is None or last is None:
        raise CheckpointError(
            f"{source} does not hold a Deep-Harmonization U-Net: expected encoding_module.*, decoding_module.* and "
            f"final.*, found {', '.join(list(state)[:3]) or 'nothing'} ..."
        )
    return DeepHarmoConfig(
        in_channels=first.shape[1],
        out_channels=last.shape[0],
        depth=len(levels),
        growth_factor=int(first.shape[0]).bit_length() - 1,
        up_mode=_up_mode(state),
        spatial_attention=_attention(state),
        ca_layer="encoding_module.0.block.4.conv.weight" in state,
        head="gaussian" if gaussian else "plain",
    )


def _up_mode(state: Mapping[str, Tensor]) -> str:
    if "decoding_module.0.Upsize.weight" in state:
        return "upconv"
    return "shuffle" if "decoding_module.0.Upsize.0.weight" in state else "upsample"


def _attention(state: Mapping[str, Tensor]) -> str:
    if not any(".attention_gate." in name for name in state):
        return "None"
    merged = state["decoding_module.0.conv.block.0.weight"]
    return "modified" if merged.shape[1] == 3 * merged.shape[0] else "standard"
