"""Untrained weights of the deep spatiotemporal fusion models, small where the network can be made so."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

from sitsfusion.checkpoints.stf import network, save_stf
from sitsfusion.weights.stf import StfWeights

BANDS = ("blue", "green", "nir08")
SMALL: dict[str, dict[str, Any]] = {
    "stfdiff": {"dim": 8, "multipliers": [1, 2], "steps": 10},
    "swinstfm": {"size": 32, "width": 32},
    "srsfgan": {"width": 16},
}


def small_config(model: str, patch: int = 27, **changes: Any) -> StfWeights:
    values: dict[str, Any] = {
        "name": f"{model}-drawn",
        "model": model,
        "bands": BANDS,
        "fine": "sentinel-2-l2a",
        "coarse": "landsat-8-9-c2-l2",
        "options": SMALL.get(model, {}),
        "patch": 32 if model == "swinstfm" else patch,
        "sampling_steps": 2,
        "licence": "Apache-2.0",
        "source": "drawn",
    }
    return StfWeights(**values | changes)


@cache
def stf_weights(model: str, seed: int = 3) -> str:
    """A folder of drawn weights, made when first asked for."""
    folder = Path(tempfile.mkdtemp(prefix="sitsfusion-stf-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config = small_config(model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_stf(folder, network(config), config)
    return str(folder)
