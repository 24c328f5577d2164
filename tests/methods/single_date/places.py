"""Small weights drawn from a seed, and made-up scenes, for DSen2, DSTFN and Deep-Harmonization."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sitsfusion import sensors
from sitsfusion.checkpoints.deepharmo import save_deepharmo
from sitsfusion.checkpoints.dsen2 import build, save_dsen2
from sitsfusion.checkpoints.dstfn import save_dstfn
from sitsfusion.cube import Cube
from sitsfusion.nets.deepharmo import DeepHarmoNet
from sitsfusion.nets.deepharmo_config import DeepHarmoConfig
from sitsfusion.nets.dstfn import DstfnNet
from sitsfusion.nets.dstfn_config import DstfnConfig
from sitsfusion.scene import Scene
from sitsfusion.weights.deepharmo import DeepHarmoWeights
from sitsfusion.weights.dsen2 import SIXTY, TEN, TWENTY, Dsen2Weights
from sitsfusion.weights.dstfn import DstfnWeights
from tests import scenes

SIX_COARSE = ("B02", "B03", "B04", "B05", "B06", "B07")
SIX_FINE = ("B02", "B03", "B04", "B8A", "B11", "B12")
SAID: dict[str, Any] = {"licence": "Apache-2.0", "source": "drawn from a seed, untrained"}


@cache
def _folder(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"sitsfusion-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def deepharmo_weights(seed: int = 0, **architecture: Any) -> str:
    """A folder of a small U-Net."""
    torch.manual_seed(seed)
    net = DeepHarmoNet(DeepHarmoConfig(**{"depth": 3, "growth_factor": 2, **architecture}))
    folder = _folder(f"deepharmo-{seed}-{sorted(architecture.items())}".replace("/", "_").replace(" ", ""))
    pan = {"pan": None} if net.config.in_channels == 6 else {}
    save_deepharmo(folder, net, DeepHarmoWeights(name=f"seeded-{seed}", architecture=net.config, **pan, **SAID))
    return str(folder)


@cache
def dsen2_weights(seed: int = 0, sixty: bool = False) -> str:
    """A folder of a small DSen2 network."""
    torch.manual_seed(seed)
    groups = (TEN, TWENTY, SIXTY) if sixty else (TEN, TWENTY)
    config = Dsen2Weights(name=f"seeded-{seed}", groups=groups, factor=6 if sixty else 2, blocks=2, features=8, **SAID)
    save_dsen2(_folder(f"dsen2-{seed}-{sixty}"), build(config), config)
    return str(_folder(f"dsen2-{seed}-{sixty}"))


@cache
def dstfn_weights(seed: int = 0, kind: str = "net2") -> str:
    """A folder of a small DSTFN network."""
    torch.manual_seed(seed)
    net = DstfnNet(DstfnConfig(kind=kind, features=16, layers=2, growth=4))
    folder = _folder(f"dstfn-{seed}-{kind}")
    save_dstfn(folder, net, DstfnWeights(name=f"seeded-{seed}", architecture=net.config, **SAID))
    return str(folder)


def pan_cube(dates: tuple[int, ...], cells: tuple[int, int], seed: int = 0) -> Cube:
    """Panchromatic images at 15 m, clouds included, that begin one 15 m pixel inside the first cell."""
    shape = (2 * cells[0], 2 * cells[1])
    values, valid = scenes.images(len(dates), ("B08",), shape, seed + 9)
    left, top = scenes.CORNER
    # as real products do: the panchromatic grid begins 15 m right of and below the multispectral corner
    grid = scenes.grid((shape[0] + 1, shape[1] + 1), 15, corner=(left - 15, top + 15))
    pad = ((0, 0), (0, 0), (1, 0), (1, 0))
    values, valid = np.pad(values, pad, mode="edge"), np.pad(valid, pad[:1] + pad[2:], mode="edge")
    sensor = sensors.get("landsat-8-9-c2-l1")
    return Cube.from_array(values, sensor=sensor, bands=("B08",), grid=grid, dates=scenes.days(*dates), valid=valid)


def landsat_scene(cells: tuple[int, int] = (20, 24), seed: int = 0) -> Scene:
    """Six coarse bands and the panchromatic one, of the same days but for one."""
    return Scene(
        {
            "coarse": scenes.cube("coarse", (-5, -3, -1, 4, 5, 21), cells, bands=SIX_COARSE, seed=seed),
            "pan": pan_cube((-7, -3, -2, 4, 5, 21), cells, seed),
        },
        name="made-up",
    )


def sentinel_scene(cells: tuple[int, int] = (20, 24), seed: int = 0) -> Scene:
    """All bands of Sentinel-2 on the 10 m grid."""
    bands = (*TEN, *TWENTY, *SIXTY)
    return Scene({"fine": scenes.cube("fine", (-5, -3, -1, 4, 5), cells, bands=bands, seed=seed)}, name="made-up")


def three_roles(cells: tuple[int, int] = (20, 24), seed: int = 0) -> Scene:
    """Fine images of other days than the coarse and panchromatic ones."""
    fine = scenes.cube("fine", (-9, 2, 14, 17), cells, bands=SIX_FINE, seed=seed)
    return Scene({"fine": fine, **landsat_scene(cells, seed).cubes}, name="made-up")
