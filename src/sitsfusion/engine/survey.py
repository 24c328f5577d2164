"""Scene-wide shares of usable pixels, for methods that choose images by them."""

from __future__ import annotations

from dataclasses import replace

from sitsfusion.cube import Cube
from sitsfusion.grid import Window
from sitsfusion.scene import Scene

_BLOCK_PIXELS = 1024


def with_clear_shares(scene: Scene) -> Scene:
    """The scene with `clear_share` filled in where it was unknown; reads those dates once, block by block."""
    return replace(scene, cubes={role: _surveyed(cube) for role, cube in scene.cubes.items()})


def _surveyed(cube: Cube) -> Cube:
    items = tuple(
        item if item.clear_share is not None else replace(item, clear_share=_share(cube, t))
        for t, item in enumerate(cube.items)
    )
    return replace(cube, items=items)


def _share(cube: Cube, t: int) -> float:
    height, width = cube.shape[2:]
    clear = 0
    for row in range(0, height, _BLOCK_PIXELS):
        for col in range(0, width, _BLOCK_PIXELS):
            block = Window(row, col, _BLOCK_PIXELS, _BLOCK_PIXELS).clipped((height, width))
            clear += int(cube.window(block).frame(t).valid.sum())
    return clear / (height * width)
