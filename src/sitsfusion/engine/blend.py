"""Patch-wise prediction: one patch at a time on the scene's lattice, blended over the core of a tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sitsfusion.engine.check import check_blocks
from sitsfusion.engine.runtime import Runtime
from sitsfusion.engine.tiling import patches_over, taper
from sitsfusion.grid import Window
from sitsfusion.methods.base import Block, Method, Patches, State, Step, Tile


@dataclass
class _Sum:
    """Weighted sums of one role over a core."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]  # [t, h, w], of valid contributions
    sigma: NDArray[np.float64] | None = None


def predict_patches(
    method: Method, tile: Tile, step: Step, tiling: Patches, state: State, runtime: Runtime
) -> Mapping[str, Block]:
    """Blend the predictions of all patches over the tile's core.

    Patches are added in the lattice's order, so every tiling sums the same numbers in the same order. Only valid
    pixels contribute; a pixel that no patch could predict is NaN. The blended sigma is the weighted mean of the
    patches' sigmas: overlapping patches see mostly the same pixels, so their errors are taken as fully correlated.

    Raises:
        InputError: the method returned something else than was asked for.
    """
    sums: dict[str, _Sum] = {}
    for patch in patches_over(tile.core, tiling, tile.scene_size):
        shown = _patch_tile(tile, patch)
        with torch.inference_mode():
            blocks = method.predict(shown, step, state, runtime)
        for role, block in check_blocks(method, shown, step, blocks).items():
            n = step.query[role].per_cell
            _add(sums, role, block, tile.core.scaled(n), patch.scaled(n), taper(patch, tiling, n))
    return {role: _normalised(total) for role, total in sums.items()}


def _patch_tile(tile: Tile, patch: Window) -> Tile:
    cubes = {
        role: cube.window(patch.relative_to(tile.reach[role]).scaled(tile.per_cell[role]))
        for role, cube in tile.cubes.items()
    }
    return replace(tile, core=patch, cubes=cubes, reach=dict.fromkeys(cubes, patch))


def _add(
    sums: dict[str, _Sum], role: str, block: Block, core: Window, patch: Window, weight: NDArray[np.float32]
) -> None:
    """Add the part of a patch that lies in the core; windows in output pixels of the whole image."""
    shape = (*block.values.shape[:2], core.height, core.width)
    if role not in sums:
        sigma = None if block.sigma is None else np.zeros(shape)
        sums[role] = _Sum(np.zeros(shape), np.zeros((shape[0], *shape[2:])), sigma)
    shared = _intersection(core, patch)
    to, source = shared.relative_to(core).slices, shared.relative_to(patch).slices
    valid = block.valid[:, *source]
    contribution = weight[source] * valid  # [t, h, w]
    total = sums[role]
    total.weights[:, *to] += contribution
    total.values[:, :, *to] += np.where(valid[:, None], block.values[:, :, *source], 0) * contribution[:, None]
    if total.sigma is not None and block.sigma is not None:
        total.sigma[:, :, *to] += np.where(valid[:, None], block.sigma[:, :, *source], 0) * contribution[:, None]


def _normalised(total: _Sum) -> Block:
    valid = total.weights > 0
    divisor = np.where(valid, total.weights, np.nan)[:, None]
    sigma = None if total.sigma is None else (total.sigma / divisor).astype(np.float32)
    return Block((total.values / divisor).astype(np.float32), valid, sigma)


def _intersection(a: Window, b: Window) -> Window:
    row, col = max(a.row, b.row), max(a.col, b.col)
    bottom, right = min(a.row + a.height, b.row + b.height), min(a.col + a.width, b.col + b.width)
    return Window(row, col, bottom - row, right - col)
