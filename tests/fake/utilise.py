"""Small U-TILISE weights, drawn from a seed, in the library's own format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sitsfusion.checkpoints.utilise import save_utilise
from sitsfusion.nets.utilise import UTILISE
from sitsfusion.nets.utilise_config import UtiliseConfig
from sitsfusion.weights.utilise import UtiliseWeights

SMALL: dict[str, Any] = {"encoder_widths": (4, 8), "decoder_widths": None, "n_head": 2, "ltae_activation": "gelu"}
BANDS = ("B02", "B03", "B04", "B08")


def small_net(inputs: int = 4, outputs: int | None = None, seed: int = 0, **options: Any) -> UTILISE:
    """A network of two levels, in evaluation mode."""
    torch.manual_seed(seed)
    config = UtiliseConfig.from_dict({**SMALL, **options, "input_dim": inputs, "output_dim": outputs})
    return UTILISE(config).eval()


def seeded_utilise(
    folder: Path, *, bands: Sequence[str] = BANDS, sar: Sequence[str] = (), seed: int = 0, **said: Any
) -> Path:
    """Write weights into a folder and return it; `said` are further fields of the config."""
    net = small_net(len(bands) + len(sar), len(bands), seed)
    weights = {
        "name": f"seeded-{seed}",
        "architecture": net.config,
        "sensor": "sentinel-2-l2a",
        "bands": tuple(bands),
        "sar_bands": tuple(sar),
        "window": 4,
        "licence": "Apache-2.0",
        "source": "drawn from a seed, untrained",
    }
    save_utilise(folder, net, UtiliseWeights.model_validate({**weights, **said}))
    return folder
