"""Quality layers that the engine adds to every prediction, alike for all methods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sitsfusion.dates import days_since
from sitsfusion.methods.base import Step, Tile
from sitsfusion.ops.gapfill import observation_quality
from sitsfusion.ops.resample import nearest

# Stored where a pixel has no clear observation at all, or one more than this many days away.
NEVER = 32767


@dataclass(frozen=True)
class Quality:
    """Per output date and pixel [t, h, w]: days to the nearest clear observation (`NEVER` if none), and how many
    clear observations informed the pixel.
    """

    days_to_clear: NDArray[np.int16]
    clear_count: NDArray[np.int16]


def measure(tile: Tile, step: Step, role: str) -> Quality:
    """Quality of one output role on a tile, from the validity of the inputs that inform it."""
    wanted = step.query[role]
    size = tile.output_size(wanted.per_cell)
    targets = torch.from_numpy(days_since(wanted.dates, tile.origin))
    gap = torch.full((len(targets), *size), torch.inf)
    count = torch.zeros(size, dtype=torch.int32)
    for source in step.informing(role):
        cube = tile.cubes[source]
        if not len(cube):
            continue
        rows, cols = tile.core_in(source).slices
        clear = np.stack([cube.frame(t).valid[rows, cols] for t in range(len(cube))])
        shown = nearest(torch.from_numpy(clear), tile.per_cell[source] / wanted.per_cell)
        days = torch.from_numpy(days_since(cube.dates, tile.origin))
        found = observation_quality(shown, days, targets)
        gap = torch.minimum(gap, found.nearest_days)
        count += found.clear_count
    return Quality(_capped(gap), _capped(count.expand_as(gap)))


def _capped(numbers: torch.Tensor) -> NDArray[np.int16]:
    return numbers.clamp(max=NEVER).to(torch.int16).numpy()
