"""How the pixels of one file lie on the grid of a cube: same pixels, coarser ones (20 m files on a 10 m grid) or finer.

Images of coarser pixels are interpolated (`warp.Warper`), quality layers are repeated; finer flags are joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sitsfusion.errors import GridError
from sitsfusion.grid import TOLERANCE, Window, describe


@dataclass(frozen=True)
class Placing:
    """Pixels of a layer on a grid.

    One layer pixel is `up` x `up` grid pixels (coarser layer), or `down` x `down` layer pixels are one grid pixel
    (finer layer); at least one of the two is 1. The grid's upper left corner lies `row`, `col` *fine* pixels (of the
    finer of the two) below and right of the layer's.
    """

    up: int
    down: int
    row: int
    col: int

    @property
    def direct(self) -> bool:
        """Same pixel size."""
        return self.up == self.down == 1

    def needed(self, window: Window, margin: int = 0) -> Window:
        """The layer's pixels below a window of the grid, and a margin of the layer's pixels; may reach beyond it."""
        fine = window.scaled(self.down)
        top, left = fine.row + self.row, fine.col + self.col
        row, col = floor(top / self.up) - margin, floor(left / self.up) - margin
        bottom, right = ceil((top + fine.height) / self.up), ceil((left + fine.width) / self.up)
        return Window(row, col, bottom + margin - row, right + margin - col)


def same_grid(a: GeoBox, b: GeoBox) -> bool:
    """Whether two grids have the same pixels, up to the rounding of file headers (a hundredth of a pixel)."""
    return a.crs == b.crs and a.shape == b.shape and _distance(a, b) <= TOLERANCE


def place(layer: GeoBox, grid: GeoBox) -> Placing:
    """How a layer's pixels nest in a grid (the layer may cover less or more of the ground).

    Raises:
        GridError: other CRS, pixel sizes without a whole ratio, or pixel edges that do not meet.
    """
    if layer.crs != grid.crs:
        raise GridError(f"its coordinate system is {layer.crs}, that of the images {grid.crs}")
    ratio = layer.affine.a / grid.affine.a
    up, down = max(1, round(ratio)), max(1, round(1 / ratio))
    wrong = [abs(layer.affine[i] / grid.affine[i] * down / up - 1) for i in (0, 4)]
    fine = grid.affine.a / down
    col, row = (grid.affine.c - layer.affine.c) / fine, (layer.affine.f - grid.affine.f) / fine
    if max(wrong) * max(layer.shape) > TOLERANCE or max(abs(col - round(col)), abs(row - round(row))) > TOLERANCE:
        raise GridError(f"its pixels ({describe(layer)}) do not nest in those of the images ({describe(grid)})")
    return Placing(up, down, round(row), round(col))


def flags_on_grid(flags: NDArray[np.bool_], placing: Placing, window: Window) -> NDArray[np.bool_]:
    """A layer's flags on the grid: coarser ones are repeated, of finer ones all must be True.

    `flags` [h, w] are those of `placing.needed(window)`; the result is [window.height, window.width].
    """
    needed, fine = placing.needed(window), window.scaled(placing.down)
    repeated = flags.repeat(placing.up, axis=0).repeat(placing.up, axis=1)
    top, left = fine.row + placing.row - needed.row * placing.up, fine.col + placing.col - needed.col * placing.up
    part = repeated[top : top + fine.height, left : left + fine.width]
    blocks = part.reshape(window.height, placing.down, window.width, placing.down)
    return np.asarray(blocks.all(axis=(1, 3)))


def _distance(a: GeoBox, b: GeoBox) -> float:
    """The largest distance between corresponding corners of two grids of one shape, in pixels."""
    p, q = a.affine, b.affine
    x = [abs(p.c - q.c), abs(p.c + p.a * a.shape.x - q.c - q.a * a.shape.x)]
    y = [abs(p.f - q.f), abs(p.f + p.e * a.shape.y - q.f - q.e * a.shape.y)]
    return max(max(x) / abs(p.a), max(y) / abs(p.e))
