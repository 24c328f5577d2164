"""The images of one of the network's sensors in a tile: which cubes they come from, and each of them on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sitsfusion.cube import Cube
from sitsfusion.grid import Window

# Roles of a scene that feed each sensor of the network, named by the role of its output; the first that is there
# lends its grid. Temperatures of a day and the coarse image of that day are one input image.
FEEDING: Mapping[str, tuple[str, ...]] = {"coarse": ("coarse", "thermal"), "fine": ("fine",)}


@dataclass(frozen=True)
class Images:
    """Images of several cubes of one grid joined by day.

    Attributes:
        cubes: the cubes, the first wins where two have a band.
        keys: band keys in the network's order.
        hidden: whether masked pixels are to look like pixels never observed.
    """

    cubes: tuple[Cube, ...]
    keys: tuple[str, ...]
    hidden: bool = False

    @property
    def dates(self) -> tuple[date, ...]:
        """Days with an image of any cube, in order."""
        return tuple(sorted({day for cube in self.cubes for day in cube.dates}))

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.cubes[0].shape[2], self.cubes[0].shape[3]

    def window(self, window: Window) -> Images:
        """The same images over a window, in pixels of these."""
        return Images(tuple(cube.window(window) for cube in self.cubes), self.keys, self.hidden)

    def image(self, day: date) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values [c, h, w] in physical units, NaN where not observed (or hidden), and what is usable [c, h, w]."""
        values = np.full((len(self.keys), *self.size), np.nan, np.float32)
        usable = np.zeros(values.shape, bool)
        missing = list(self.keys)
        for cube in self.cubes:
            found = [key for key in missing if key in cube.bands] if day in cube.dates else []
            if found:
                frame = cube.select(bands=found).frame(cube.dates.index(day))
                at = [self.keys.index(key) for key in found]
                values[at], usable[at] = frame.values, frame.valid & np.isfinite(frame.values)
                missing = [key for key in missing if key not in found]
        if self.hidden:
            values[~usable] = np.nan
        return values, usable

    def seen(self) -> NDArray[np.bool_]:
        """Pixels [h, w] with a usable number of any band on any day."""
        found = np.zeros(self.size, bool)
        for day in self.dates:
            found |= self.image(day)[1].any(0)
        return found


def joined(cubes: Mapping[str, Cube], role: str, keys: Sequence[str], hidden: bool = False) -> Images | None:
    """The images that feed the sensor of an output role, or None where no cube does."""
    found = tuple(cubes[name] for name in FEEDING[role] if name in cubes)
    return Images(found, tuple(keys), hidden) if found else None
