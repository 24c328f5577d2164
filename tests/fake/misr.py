"""Small cross-sensor super-resolution weights, drawn from a seed, in the library's own format."""

from __future__ import annotations

from pathlib import Path

import torch

from sitsfusion.checkpoints.misr import save_misr
from sitsfusion.nets.misr_config import (
    BackboneConfig,
    DiffusionConfig,
    HighResConfig,
    HighResLtaeConfig,
    MisrConfig,
    RrdbConfig,
    RrdbHighResConfig,
    RrdbLtaeConfig,
)
from sitsfusion.nets.srdiff import build_misr
from sitsfusion.weights.misr import MisrBand, MisrWeights

BACKBONES: dict[str, BackboneConfig] = {
    "rrdb": RrdbConfig(features=8, growth=4, blocks=2),
    "highresnet": HighResConfig(features=8, blocks=1),
    "highresnet_ltae": HighResLtaeConfig(features=8, blocks=1, heads=2, width=16),
    "rrdb_ltae": RrdbLtaeConfig(features=8, growth=4, blocks=1, heads=2, width=16),
    "rrdb_highresnet": RrdbHighResConfig(features=8, growth=4, blocks=1),
}
DIFFUSION = DiffusionConfig(steps=20, width=4, multipliers=(1, 2))


def small_config(backbone: str | None, *, diffusion: bool = False, views: int = 4, bands: int = 3) -> MisrConfig:
    """A network of a kind, small."""
    return MisrConfig(
        backbone=None if backbone is None else BACKBONES[backbone],
        diffusion=DIFFUSION if diffusion else None,
        views=1 if backbone in (None, "rrdb") else views,
        bands=bands,
    )


def seeded_misr(
    folder: Path, config: MisrConfig, *, keys: tuple[str, ...] = ("B04", "B03", "B02"), seed: int = 0
) -> Path:
    """Write untrained weights into a folder and return it."""
    torch.manual_seed(seed)
    bands = tuple(MisrBand(key=key, maximum=0.5) for key in keys)
    weights = MisrWeights(
        name=f"seeded-{seed}", architecture=config, bands=bands, licence="Apache-2.0", source="drawn, untrained"
    )
    save_misr(folder, build_misr(config), weights)
    return folder
