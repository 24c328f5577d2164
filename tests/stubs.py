"""Methods that are of no use but to test the engine: each needs something of it that the simple methods do not."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from einops import rearrange, repeat

from sitsfusion.engine.runtime import Runtime
from sitsfusion.methods.arrays import stack
from sitsfusion.methods.base import (
    Block,
    Card,
    Local,
    Method,
    MethodPlan,
    Options,
    Patches,
    State,
    Step,
    Tile,
    Tiling,
    Whole,
)
from sitsfusion.methods.roles import bicubic_halo, to_output
from sitsfusion.ops.resample import nearest
from sitsfusion.scene import Scene


class PoolingOptions(Options):
    """Options of `pooling`."""

    lattice: Literal["patches", "whole"] = "patches"
    size: int = 20
    stride: int = 16


class Pooling(Method):
    """The mean of all that it is shown less the mean of each pixel: as in a network with instance norms, the output
    depends on the extent of the input."""

    card: ClassVar[Card] = Card("pooling", "Whole-image pooling", "For tests.", "none", uses=("fine", "coarse"))
    Options: ClassVar[type[Options]] = PoolingOptions
    options: PoolingOptions

    def tiling(self, scene: Scene, step: Step) -> Tiling:
        return Whole() if self.options.lattice == "whole" else Patches(self.options.size, self.options.stride)

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        return {role: self._predict(tile, step, role) for role in step.query}

    def _predict(self, tile: Tile, step: Step, role: str) -> Block:
        wanted = step.query[role]
        pixel, seen = _means(tile, role, wanted.bands)
        pooled = seen.double().nanmean((0, 2, 3)).float()[:, None, None] - pixel
        rows, cols = tile.core_in(role, wanted.per_cell).slices
        shown = nearest(pooled, tile.per_cell[role] / wanted.per_cell)[:, rows, cols]
        out = (shown * torch.arange(1, len(wanted.dates) + 1)[:, None, None, None]).numpy()
        return Block(out, np.isfinite(out).all(1))


class Calibrated(Method):
    """Means of blocks of 3 x 3 cells, counted from the scene's first, less a mean of the whole scene."""

    card: ClassVar[Card] = Card("calibrated", "One pass over the scene", "For tests.", "none", needs=("coarse",))

    def tiling(self, scene: Scene, step: Step) -> Local:
        return Local(align=3)

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        cube = scene["coarse"]
        total, count = np.zeros(len(cube.bands)), 0
        for t in range(len(cube)):
            frame = cube.frame(t)
            total += frame.values[:, frame.valid].sum(1, dtype=np.float64)
            count += int(frame.valid.sum())
        return {"mean": total / max(count, 1)}

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        wanted, n = step.query["coarse"], 3 * step.query["coarse"].per_cell
        pixel, _ = _means(tile, "coarse", wanted.bands)
        blocks = _block_means(nearest(pixel, tile.per_cell["coarse"] / wanted.per_cell), n)
        cube = tile.cubes["coarse"]
        level = torch.from_numpy(state["mean"][[cube.bands.index(key) for key in wanted.bands]])[:, None, None]
        height, width = tile.output_size(wanted.per_cell)
        out = repeat((blocks - level).float(), "c h w -> t c (h i) (w j)", t=len(wanted.dates), i=n, j=n)
        values = np.ascontiguousarray(out[..., :height, :width].numpy())
        return {"coarse": Block(values, np.isfinite(values).all(1))}


class Finer(Method):
    """Mean over time, bicubic to whatever is asked for, with a sigma: the spread over time."""

    card: ClassVar[Card] = Card("finer", "Finer than any input", "For tests.", "none", uses=("fine", "coarse"))

    def tiling(self, scene: Scene, step: Step) -> Local:
        return bicubic_halo(scene, step)

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        return {role: self._predict(tile, step, role) for role in step.query}

    def _predict(self, tile: Tile, step: Step, role: str) -> Block:
        wanted = step.query[role]
        mean, seen = _means(tile, role, wanted.bands)
        spread = (seen - mean).square().nanmean(0).sqrt()
        rows, cols = tile.core_in(role, wanted.per_cell).slices
        many = len(wanted.dates)
        values = to_output(mean, tile, role, wanted.per_cell).repeat(many, 1, 1, 1).numpy()
        sigma = nearest(spread, tile.per_cell[role] / wanted.per_cell)[:, rows, cols].repeat(many, 1, 1, 1).numpy()
        return Block(values, np.isfinite(values).all(1), sigma)


class Noisy(Method):
    """Random numbers around the mean over time, another for every date and band."""

    card: ClassVar[Card] = Card("noisy", "Random noise", "For tests.", "none", uses=("fine", "coarse"))

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        return {role: self._predict(tile, step, role, runtime) for role in step.query}

    def _predict(self, tile: Tile, step: Step, role: str, runtime: Runtime) -> Block:
        wanted = step.query[role]
        mean, _ = _means(tile, role, wanted.bands)
        rows, cols = tile.core_in(role, wanted.per_cell).slices
        shown = nearest(mean, tile.per_cell[role] / wanted.per_cell)[:, rows, cols].numpy()
        window = tile.core.scaled(wanted.per_cell)
        noise = [runtime.noise(f"{role} {day}", window, len(wanted.bands)) for day in wanted.dates]
        values = (shown[None] * (1 + np.float32(0.01) * np.stack(noise))).astype(np.float32)
        return Block(values, np.isfinite(values).all(1))


def _means(tile: Tile, role: str, bands: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over the clear dates [c h w] (NaN where there is none), and the clear values [t c h w], NaN elsewhere."""
    values, valid = stack(tile.cubes[role].select(bands=bands))
    seen = torch.where(valid[:, None], values, torch.nan)
    return seen.nanmean(0), seen


def _block_means(image: torch.Tensor, n: int) -> torch.Tensor:
    """Means of the finite pixels of n x n blocks: [c h w] -> [c ceil(h / n) ceil(w / n)] float64."""
    c, h, w = image.shape
    padded = torch.full((c, -(-h // n) * n, -(-w // n) * n), torch.nan, dtype=torch.float64)
    padded[:, :h, :w] = image
    return rearrange(padded, "c (h i) (w j) -> c h w (i j)", i=n, j=n).nanmean(-1)


class WrongOptions(Options):
    """Options of `wrong`."""

    how: str = ""


class Wrong(Method):
    """Returns what it should not, or dies of it."""

    card: ClassVar[Card] = Card("wrong", "Wrong", "For tests.", "none", uses=("coarse",))
    Options: ClassVar[type[Options]] = WrongOptions
    options: WrongOptions

    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        wanted = step.query["coarse"]
        shape = (len(wanted.dates), len(wanted.bands), *tile.output_size(wanted.per_cell))
        values, valid = np.full(shape, 0.5, np.float32), np.ones((shape[0], *shape[2:]), bool)
        good = Block(values, valid)
        if self.options.how == "batch too large" and runtime.batch > 2:
            raise torch.cuda.OutOfMemoryError("tried to allocate 3 GiB")
        spared = self.options.how.removeprefix("killed unless ")
        if spared.isdigit() and os.getpid() != int(spared) and tile.core.row > 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return {
            "no role": {},
            "another role": {"coarse": good, "fine": good},
            "shape": {"coarse": Block(values[:, :, :1], valid)},
            "type": {"coarse": Block(values.astype(np.float64), valid)},
            "valid shape": {"coarse": Block(values, valid[:, :1])},
            "valid type": {"coarse": Block(values, valid.astype(np.uint8))},
            "sigma shape": {"coarse": Block(values, valid, values[:, :1])},
            "valid gaps": {"coarse": Block(np.where(valid[:, None], np.float32(np.nan), values), valid)},
            "nothing": {"coarse": Block(np.full_like(values, np.nan), np.zeros_like(valid))},
            "too warm": {"coarse": Block(values * 2000, valid)},
            "too warm cloud": {"coarse": Block(values * 2000, np.zeros_like(valid))},
            "sigma at the left": {"coarse": Block(values, valid, values if tile.core.col == 0 else None)},
        }.get(self.options.how, {"coarse": good})


def end_at_once(*_: object) -> None:
    """What a worker process runs that ends before it begins."""
    os._exit(1)
