"""Small TAMRFSITS weights, drawn from a seed, in the library's own format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sitsfusion.checkpoints.tamrfsits import save_tamrfsits
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.nets.tamrfsits_config import TamrfsitsConfig
from sitsfusion.weights.config import SensorInput, TamrfsitsWeights, standardised_inputs

SMALL: dict[str, Any] = {
    "latent": 8,
    "encoding_features": 8,
    "sensor_token": 4,
    "heads": 2,
    "decoder_heads": 2,
    "layers": 1,
    "feedforward": 16,
    "decoder_feedforward": 16,
    "hr_encoder": {"name": "esrenc", "growth": 4},
    "lr_encoder": {"name": "esrenc", "growth": 4},
}


def seeded_weights(
    folder: Path,
    *,
    seed: int = 0,
    coarse: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    day_origin: str = "first_valid_hr",
    architecture: dict[str, Any] | None = None,
    **said: Any,
) -> Path:
    """Write weights into a folder and return it; `coarse` and `optional` are keys of the coarse bands, `said` further
    fields of the config.
    """
    lr, hr = standardised_inputs("ls2s2_all")
    lr = _only(lr, coarse or lr.keys, optional)
    config = TamrfsitsConfig.from_dict(
        {**SMALL, **(architecture or {}), "lr_bands": len(lr.bands), "out_bands": len(lr.bands) + len(hr.bands)}
    )
    torch.manual_seed(seed)
    net = TamrfsitsNet(config)
    weights = TamrfsitsWeights.model_validate(
        {
            "name": f"seeded-{seed}",
            "architecture": config,
            "lr": lr,
            "hr": hr,
            "day_origin": day_origin,
            "licence": "Apache-2.0",
            "source": "drawn from a seed, untrained",
            **said,
        }
    )
    save_tamrfsits(folder, net, weights)
    return folder


def _only(sensor: SensorInput, keys: Sequence[str], optional: Sequence[str]) -> SensorInput:
    bands = tuple(sensor.bands[sensor.keys.index(key)] for key in keys)
    return sensor.model_copy(update={"bands": bands, "optional_bands": tuple(optional)})
