"""Cutting a scene into cores, the windows that each core reads, and the lattice of patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, gcd, lcm

import numpy as np
from numpy.typing import NDArray

from sitsfusion.errors import InputError, PlanError
from sitsfusion.grid import Window
from sitsfusion.methods.base import Local, Patches, Tiling, Whole

# The core aimed at, in output pixels: a multiple of 48 = lcm(6, 16), so that 10, 20 and 30 m pixels and TIFF blocks
# are never cut.
TARGET_PIXELS = 480
_TIFF_BLOCK = 16


@dataclass(frozen=True)
class TileGrid:
    """Cores of `height x width` cells over a scene of `size` cells; the last row and column may be smaller."""

    size: tuple[int, int]
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of tiles (down, across)."""
        return ceil(self.size[0] / self.height), ceil(self.size[1] / self.width)

    @property
    def largest(self) -> tuple[int, int]:
        """(rows, columns) of the largest core in cells."""
        return min(self.height, self.size[0]), min(self.width, self.size[1])

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def __iter__(self) -> Iterator[tuple[str, Window]]:
        """Name and core of every tile, row by row."""
        for r in range(self.shape[0]):
            for c in range(self.shape[1]):
                yield f"r{r:03d}c{c:03d}", self.core(r, c)

    def core(self, row: int, col: int) -> Window:
        """The core of a tile in cells, clipped to the scene."""
        return Window(row * self.height, col * self.width, self.height, self.width).clipped(self.size)


def alignment(tilings: Sequence[Tiling], per_cell: Sequence[int]) -> int:
    """Cores must be multiples of this many cells: method alignments, patch strides, whole TIFF blocks."""
    aligns = [t.align if isinstance(t, Local) else t.stride for t in tilings if not isinstance(t, Whole)]
    blocks = [_TIFF_BLOCK // gcd(_TIFF_BLOCK, n) for n in per_cell]
    return lcm(*aligns, *blocks)


def choose(
    size: tuple[int, int],
    tilings: Sequence[Tiling],
    per_cell: Sequence[int],
    peak: Callable[[tuple[int, int]], int],
    budget: int,
    wanted_pixels: int | None = None,
) -> TileGrid:
    """The tile grid of a job.

    Args:
        size: of the scene, in cells.
        tilings: of all steps.
        per_cell: output pixels per cell side, of all outputs.
        peak: predicted peak bytes of a worker for a core of (rows, columns) cells.
        budget: bytes that a worker may use; where the usual core does not fit, a smaller one is taken.
        wanted_pixels: core side in output pixels instead of the usual one; rounded to the alignment.

    Raises:
        PlanError: nothing fits.
    """
    if any(isinstance(t, Whole) for t in tilings):
        if peak(size) > budget:
            raise PlanError(
                f"this method must see the whole scene of {size[0]} x {size[1]} cells at once, which needs "
                f"{_mib(peak(size))} per worker; the budget is {_mib(budget)}: process a part of the scene "
                "(--bbox, --size), raise --memory or use fewer workers"
            )
        return TileGrid(size, *size)
    if wanted_pixels is not None and wanted_pixels < 1:
        raise InputError(f"a tile of {wanted_pixels} pixels is not possible; give 1 or more")
    unit = alignment(tilings, per_cell)
    most = max(1, round((wanted_pixels or TARGET_PIXELS) / max(per_cell) / unit))
    for k in range(most, 0, -1):
        tiles = TileGrid(size, k * unit, k * unit)
        if peak(tiles.largest) <= budget:
            return tiles
    raise PlanError(
        f"even the smallest tile ({unit} x {unit} cells) needs {_mib(peak(tiles.largest))} per worker; the budget is "
        f"{_mib(budget)}: raise --memory, use fewer workers, or ask for fewer dates"
    )


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def reach(core: Window, tiling: Tiling, role: str, size: tuple[int, int]) -> Window:
    """The cells of a role that must be read for a core: its halo, or the patches that touch it, or everything."""
    if isinstance(tiling, Whole):
        return Window(0, 0, *size)
    if isinstance(tiling, Local):
        return core.padded(tiling.halo.get(role, 0), size)
    rows, cols = _starts(core.row, core.height, tiling, size[0]), _starts(core.col, core.width, tiling, size[1])
    height, width = rows[-1] + tiling.size - rows[0], cols[-1] + tiling.size - cols[0]
    return Window(rows[0], cols[0], height, width).clipped(size)


def patches_over(core: Window, tiling: Patches, size: tuple[int, int]) -> Iterator[Window]:
    """Patches of the scene's lattice that overlap a core, row by row."""
    for row in _starts(core.row, core.height, tiling, size[0]):
        for col in _starts(core.col, core.width, tiling, size[1]):
            yield Window(row, col, tiling.size, tiling.size).clipped(size)


def patch_starts(length: int, tiling: Patches) -> list[int]:
    """First cells of the patches along one axis: every stride, and a last one that ends at the border."""
    if length <= tiling.size:
        return [0]
    starts = list(range(0, length - tiling.size, tiling.stride))
    return [*starts, length - tiling.size]


def taper(patch: Window, tiling: Patches, per_cell: int) -> NDArray[np.float32]:
    """Blending weights [h, w] of a patch in output pixels: 1 inside, falling linearly over the overlap to the edge."""
    ramp = max((tiling.size - tiling.stride) * per_cell, 1)

    def side(length: int) -> NDArray[np.float32]:
        position = np.arange(length, dtype=np.float32) + np.float32(0.5)
        weights: NDArray[np.float32] = np.minimum(np.minimum(position, length - position) / np.float32(ramp), 1.0)
        return weights

    return side(patch.height * per_cell)[:, None] * side(patch.width * per_cell)


def _starts(first: int, length: int, tiling: Patches, total: int) -> list[int]:
    return [s for s in patch_starts(total, tiling) if s < first + length and s + tiling.size > first]
