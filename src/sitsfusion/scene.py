"""`Scene`: the cubes of one place by role, on one lattice of common cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, cast, get_args

from odc.geo.geobox import GeoBox

from sitsfusion import grid as grids
from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.errors import InputError
from sitsfusion.grid import Window

Role = Literal["fine", "coarse", "thermal", "pan", "sar", "dem"]
ROLES: tuple[str, ...] = get_args(Role)
# Roles whose images can be predicted; the others only help.
IMAGE_ROLES = ("fine", "coarse", "thermal")
_FROM_GRIDS = cast(GeoBox, None)  # replaced when the scene is made


@dataclass(frozen=True)
class Scene:
    """Cubes by role (`fine`, `coarse`, `thermal`, `pan`, `sar`, `dem`) that nest in common cells.

    Extents may differ; a scene covers what all have in common, in whole cells, and crops its cubes to it (nothing is
    read).

    Attributes:
        cubes: by role.
        origin: day 0 of the job; None when it is left to the method's rule.
        name: for messages and file names.
        cells: the lattice over the scene's extent; one of its pixels is a cell (default: found from the grids).
    """

    cubes: Mapping[str, Cube]
    origin: date | None = None
    name: str = "scene"
    cells: GeoBox = _FROM_GRIDS

    def __post_init__(self) -> None:
        unknown = sorted(set(self.cubes) - set(ROLES))
        if unknown:
            raise InputError(f"unknown role(s) {', '.join(unknown)}; a scene has {', '.join(ROLES)}")
        if self.cells is None:
            found = grids.common_cells({role: cube.grid for role, cube in self.cubes.items()})
            object.__setattr__(self, "cells", found)
        cropped = {role: _crop(cube, self.cells) for role, cube in self.cubes.items()}
        object.__setattr__(self, "cubes", cropped)

    def __getitem__(self, role: str) -> Cube:
        if role not in self.cubes:
            raise InputError(f"{self.name} has no {role} images; it has {', '.join(self.cubes)}")
        return self.cubes[role]

    def __contains__(self, role: str) -> bool:
        return role in self.cubes

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of the scene in cells."""
        return int(self.cells.shape.y), int(self.cells.shape.x)

    def per_cell(self, role: str) -> int:
        """Pixels of a role's grid along one side of a cell."""
        return grids.per_cell(self[role].grid, self.cells)

    def days(self, role: str) -> list[int]:
        """Days of a role's images since the scene's origin."""
        return [int(n) for n in days_since(self[role].dates, self.day_origin)]

    @property
    def latitude(self) -> float:
        """Degrees north of the scene's middle; 45 for a grid without a CRS, which only benchmark data may have."""
        if self.cells.crs is None:
            return 45.0
        left, bottom, right, top = self.cells.boundingbox.bbox
        to_degrees = self.cells.crs.transformer_to_crs("EPSG:4326")
        return float(to_degrees((left + right) / 2, (bottom + top) / 2)[1])

    @property
    def day_origin(self) -> date:
        """Day 0: as given, else the first date of any cube."""
        if self.origin is not None:
            return self.origin
        found = self.dates()
        if not found:
            raise InputError(f"{self.name} has no date at all; give an origin")
        return found[0]

    def dates(self, roles: Iterable[str] | None = None) -> tuple[date, ...]:
        """Sorted union of the dates of some roles (default: all)."""
        chosen = self.cubes if roles is None else list(roles)
        return tuple(sorted({day for role in chosen for day in self[role].dates}))

    # -- other scenes; nothing is read --------------------------------------------------------------------------------

    def window(self, window: Window) -> Scene:
        """The scene of a window of cells, counted from this scene's first cell.

        Raises:
            InputError: the window is empty or reaches beyond the scene.
        """
        if window.empty or window.clipped(self.size) != window:
            raise InputError(f"{window} does not lie inside a scene of {self.size[0]} x {self.size[1]} cells")
        return replace(self, cells=grids.crop(self.cells, window))

    def within(self, left: float, bottom: float, right: float, top: float) -> Scene:
        """The scene of all cells that a box touches, in the unit of the CRS.

        Raises:
            InputError: the box is empty or misses the scene.
        """
        window = grids.covering(self.cells, left, bottom, right, top)
        if window.empty:
            found = self.cells.boundingbox
            raise InputError(f"box {(left, bottom, right, top)} does not touch the scene, which covers {found.bbox}")
        return self.window(window)

    def select(self, dates: Mapping[str, Iterable[date]]) -> Scene:
        """The scene with only these roles and, of each, only these dates."""
        return replace(self, cubes={role: self[role].select(dates=days) for role, days in dates.items()})

    def with_cubes(self, **cubes: Cube) -> Scene:
        """The scene with cubes added or replaced, by role."""
        return replace(self, cubes={**self.cubes, **cubes}, cells=_FROM_GRIDS)

    def load(self) -> Scene:
        """The same scene with all pixels in memory, as stored."""
        return replace(self, cubes={role: cube.load() for role, cube in self.cubes.items()})


def _crop(cube: Cube, cells: GeoBox) -> Cube:
    window = grids.pixel_window(cube.grid, cells)
    if window == Window(0, 0, *cube.grid.shape):
        return cube
    return cube.window(window)
