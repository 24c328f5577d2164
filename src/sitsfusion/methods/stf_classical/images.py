"""What the methods compute from: images of one window of the scene as tensors, NaN where not usable (in all bands)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.grid import Window
from sitsfusion.methods.base import State, Tile
from sitsfusion.methods.stf_classical.blocks import block_means
from sitsfusion.ops.resample import bicubic, bilinear, nearest

_RESAMPLE = {"nearest": nearest, "bilinear": bilinear, "bicubic": bicubic}
# Coarse pixels beyond the one that holds a fine pixel which its resampled value depends on.
_TAPS = {"nearest": 0, "bilinear": 1, "bicubic": 2}


@dataclass(frozen=True, eq=False)
class Pair:
    """A fine and a coarse image [b h w] on one grid, NaN where not usable (in all bands)."""

    fine: Tensor
    coarse: Tensor


@dataclass(frozen=True)
class Place:
    """Where images lie.

    Attributes:
        window: of the scene, in cells.
        scene_size: of the whole scene, in cells.
        fine: fine pixels along a cell's side.
        coarse: coarse grid pixels along a cell's side.
        native: coarse grid pixels along one real coarse pixel's side.
    """

    window: Window
    scene_size: tuple[int, int]
    fine: int
    coarse: int
    native: int

    @classmethod
    def of(cls, tile: Tile, native: int) -> Place:
        """The place of a tile's fine cube, which covers what its coarse one does."""
        return cls(tile.reach["fine"], tile.scene_size, tile.per_cell["fine"], tile.per_cell["coarse"], native)

    @property
    def ratio(self) -> int:
        """Fine pixels along one real coarse pixel's side."""
        return self.native * self.fine // self.coarse


@dataclass(frozen=True, eq=False)
class Images:
    """Pairs and a wanted day, scaled.

    Attributes:
        references: days of the pairs, in time order.
        fine: one image [b h w] per pair, on the fine grid.
        coarse: one image [b h' w'] per pair, on the coarse grid.
        wanted: coarse image of the wanted day [b h' w'].
        place: where they lie.
    """

    references: tuple[date, ...]
    fine: tuple[Tensor, ...]
    coarse: tuple[Tensor, ...]
    wanted: Tensor
    place: Place

    def blocks(self) -> tuple[Tensor, Tensor]:
        """Coarse images of the (first) pair and of the wanted day, one pixel per real coarse pixel."""
        first, second = (block_means(image, self.place.native) for image in (self.coarse[0], self.wanted))
        return first, second

    def on_fine(self, method: str) -> tuple[list[Pair], Tensor]:
        """Pairs and the wanted day's coarse image on the fine grid."""
        coarse = [on_fine(image, self.place, method) for image in (*self.coarse, self.wanted)]
        return [Pair(f, c) for f, c in zip(self.fine, coarse[:-1], strict=True)], coarse[-1]

    def of_references(self, name: str, state: State) -> Tensor:
        """Rows of a table [n ...] of the state, one per reference image, that belong to these pairs: [k ...]."""
        days = list(state["days"])
        rows: NDArray[np.float64] = state[name][[days.index(day.toordinal()) for day in self.references]]
        return torch.from_numpy(rows).to(self.wanted.device)


def on_fine(image: Tensor, place: Place, method: str) -> Tensor:
    """A coarse image on the fine grid, by "nearest", "bilinear" or "bicubic"; NaN spreads with the kernel."""
    return _RESAMPLE[method](image, place.coarse / place.fine)


def taps(method: str) -> int:
    """Coarse pixels beyond its own that a resampled fine pixel depends on, and one for cut cells."""
    return _TAPS[method] + 1
