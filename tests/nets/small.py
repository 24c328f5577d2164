"""A TAMRFSITS network small enough for tests, and inputs for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sitsfusion.nets.tamrfsits import TamrfsitsConfig, TamrfsitsNet

# Every encoder group, at sizes that run in milliseconds.
SMALL_ENCODERS: dict[str, dict[str, Any]] = {
    "esrenc": {"name": "esrenc", "rrdb": 2, "growth": 2},
    "pixel_shuffle": {"name": "esrenc", "rrdb": 1, "growth": 2, "upsampling": "pixel_shuffle"},
    "esrgan": {"name": "esrgan", "rrdb": 1, "growth": 2},
    "carn": {"name": "carn", "features": 2, "blocks": 2, "groups": 2},
    "carn_unshared": {"name": "carn", "features": 2, "blocks": 1, "groups": 2, "shared": False},
    "unet": {"name": "unet", "depth": 2, "growth": 2},
    "mlp": {"name": "mlp", "hidden": [5, 6]},
    "mlp_norm": {"name": "mlp", "hidden": [5], "batch_norm": True, "resample": "early"},
    "linear": {"name": "linear"},
}
SMALL_DECODERS: dict[str, dict[str, Any]] = {
    "esrdec": {"name": "esrdec"},
    "esrdec_hidden": {"name": "esrdec", "hidden": 7},
    "mlp": {"name": "mlp", "hidden": [6, 5]},
}


def small_config(**options: Any) -> TamrfsitsConfig:
    base: dict[str, Any] = {"hr_bands": 3, "lr_bands": 2, "out_bands": 5, "latent": 8, "encoding_features": 6}
    base |= {
        "sensor_token": 2,
        "heads": 2,
        "decoder_heads": 2,
        "feedforward": 12,
        "decoder_feedforward": 10,
        "layers": 2,
    }
    base |= {"hr_encoder": SMALL_ENCODERS["esrenc"], "lr_encoder": SMALL_ENCODERS["esrenc"]}
    return TamrfsitsConfig.from_dict(base | options)


def small_net(seed: int = 0, **options: Any) -> TamrfsitsNet:
    """In evaluation mode, every parameter drawn (the default query token would be zero)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = TamrfsitsNet(small_config(**options))
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return net.eval()


def images(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
