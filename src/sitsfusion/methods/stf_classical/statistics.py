"""Mean and spread of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sitsfusion.errors import InputError
from sitsfusion.methods.strips import strips
from sitsfusion.scene import Scene


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
