"""Reading a whole scene strip by strip, for quantities of all of it: memory does not grow with the scene."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, sqrt

from torch import Tensor

from sitsfusion.grid import Window
from sitsfusion.scene import Scene

_STRIP_PIXELS = 2**21
_SAMPLES = 20_000


def strips(scene: Scene, align: int = 1, pixels: int = _STRIP_PIXELS) -> Iterator[Window]:
    """The scene from top to bottom, in cells; strips begin at multiples of `align` cells.

    Each has at most about `pixels` pixels of the finest role, or `align` rows of cells.
    """
    height, width = scene.size
    n = max(scene.per_cell(role) for role in scene.cubes)
    rows = max(align, pixels // (width * n * n) // align * align)
    for row in range(0, height, rows):
        yield Window(row, 0, rows, width).clipped(scene.size)


def sample_step(scene: Scene) -> int:
    """Every how many fine pixels a regular sample of the scene is taken, to have at most about 20 000."""
    height, width = (side * scene.per_cell("fine") for side in scene.size)
    return max(1, ceil(sqrt(height * width / _SAMPLES)))


def sampled(image: Tensor, first_row: int, step: int) -> Tensor:
    """Pixels of a strip `[b h w]`, whose first row is `first_row` of the scene, on the sample's grid: `[b n]`."""
    return image[:, -first_row % step :: step, ::step].flatten(1)
