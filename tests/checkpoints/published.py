"""Fabricated checkpoints in the layout of the authors' files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from sitsfusion.checkpoints.tamrfsits import to_published
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.weights.config import catalogue
from tests.nets.small import small_net

BANDS = {"hr_bands": 10, "lr_bands": 8, "out_bands": 18, "heads": 4, "decoder_heads": 4}
ALL = catalogue().standardisation["ls2s2_all"]


def published_net(**options: Any) -> TamrfsitsNet:
    """A small network with the published bands and options that shapes do not show."""
    return small_net(**BANDS | {"encoding_features": 10, "sensor_token": 2, "encoding_div": 365.0} | options)


def buffers() -> dict[str, Tensor]:
    bands = {"hr": catalogue().hr.bands, "lr": catalogue().lr.bands}
    stored = {name: torch.tensor(values) for name, values in ALL.items()}
    for role, several in bands.items():
        stored[f"{role}_mtf"] = torch.tensor([b.mtf for b in several])
        stored[f"{role}_resolution"] = torch.tensor([b.resolution for b in several])
    return stored


def state_dict(net: TamrfsitsNet, generation: int = 2) -> dict[str, Tensor]:
    """Names of version 1 (compiled sub-modules) or 2, buffers and perceptual loss included."""
    entries = to_published(net.state_dict(), net.config)
    lpips = "cca_loss_instance.lpips.lpips.model.0.weight"
    if generation == 1:
        compiled = ("encoder.hr_encoder.model.", "encoder.lr_encoder.model.", "encoder.transformer_encoder.")
        for part in compiled:
            entries = {name.replace(part, f"{part}_orig_mod."): tensor for name, tensor in entries.items()}
        lpips = lpips.replace("lpips.lpips", "lpips._orig_mod.lpips")
    return buffers() | {f"the_modules.{n}": t for n, t in entries.items()} | {lpips: torch.zeros(64, 3, 3, 3)}


def lightning(state: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "epoch": 3,
        "global_step": 12,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": state,
        "loops": {},
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}}],
        "lr_schedulers": [],
    }


def training_config(**datamodule: Any) -> dict[str, Any]:
    """A Hydra configuration with the sections that a reader needs, and references in it."""
    heads = {"nb_heads": 4, "nb_layers": "${layers}", "dim_feedforward": 12, "sensor_token_size": 2}
    module = {
        "encoder": heads | {"temporal_positional_encoder": {"_target_": "some.Class", "div": "${base}"}},
        "decoder": heads | {"dim_feedforward": 10},
        "config": {
            "standardization": "${stats}",
            "mtfs": {"hr": [b.mtf for b in catalogue().hr.bands], "hr_res": [10.0] * 10},
        },
    }
    return {
        "layers": 2,
        "base": 365,
        "stats": {name: list(values) for name, values in ALL.items()},
        "datamodule": {"config": {"dt_orig": None} | datamodule},
        "training_module": {"training_module": module},
        "work_dir": "${oc.env:SOMEWHERE}/${hydra:job.name}",
    }


def write(folder: Path, state: dict[str, Tensor], training: dict[str, Any] | None = None, name: str = "x.ckpt") -> Path:
    torch.save(lightning(state), folder / name)
    if training is not None:
        (folder / "hydra_config").mkdir()
        (folder / "hydra_config" / "config.yaml").write_text(yaml.safe_dump(training))
    return folder / name
