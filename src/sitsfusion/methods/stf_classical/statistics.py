"""Quantities of the whole scene, read strip by strip: memory does not grow with the scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.scene import Scene

_STRIP_PIXELS = 2**21


def strips(scene: Scene, align: int = 1) -> Iterator[Window]:
    """The scene from top to bottom, in cells; strips begin at multiples of `align` cells."""
    height, width = scene.size
    n = max(scene.per_cell(role) for role in scene.cubes)
    rows = max(align, _STRIP_PIXELS // (width * n * n) // align * align)
    for row in range(0, height, rows):
        yield Window(row, 0, rows, width).clipped(scene.size)


def of_references(
    scene: Scene, days: Sequence[date], bands: Sequence[str], scale: float
) -> dict[str, NDArray[np.generic]]:
    """Mean and population standard deviation of the usable fine pixels: `days` [n] (ordinals), `mean`, `std` [n b].

    Raises:
        InputError: an image without any usable pixel.
    """
    found = [_moments(scene, day, bands) for day in days]
    shape = (len(days), len(bands))
    mean, std = (np.array([pair[i] for pair in found]).reshape(shape) * scale for i in (0, 1))
    return {"days": np.array([day.toordinal() for day in days], np.int64), "mean": mean, "std": std}


def _moments(scene: Scene, day: date, bands: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation per band, strips joined by the update of Chan et al. (1983)."""
    count, mean, squares = 0, np.zeros(len(bands)), np.zeros(len(bands))
    for window in strips(scene):
        pixels = window.scaled(scene.per_cell("fine"))
        seen = scene["fine"].select(bands, [day]).window(pixels).frame(0)
        values = seen.values[:, seen.valid].astype(np.float64)  # [b n]
        if values.shape[1]:
            more = values.shape[1]
            shift = values.mean(1) - mean
            squares += values.var(1) * more + shift**2 * count * more / (count + more)
            mean, count = mean + shift * more / (count + more), count + more
    if count == 0:
        raise InputError(f"the fine image of {day} has no usable pixel in {scene.name}; it cannot be a reference")
    return mean, np.sqrt(squares / count)
