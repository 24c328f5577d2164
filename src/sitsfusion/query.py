"""`Query`: what is wanted. Per role: sensor, bands, dates and pixels per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from sitsfusion.errors import DateError, InputError
from sitsfusion.scene import Scene
from sitsfusion.sensors import Sensor


@dataclass(frozen=True)
class RoleQuery:
    """What is wanted of one role: `bands` and `dates` of a `sensor`, `per_cell` output pixels along a cell's side."""

    sensor: Sensor
    bands: tuple[str, ...]
    dates: tuple[date, ...]
    per_cell: int

    def at(self, dates: Sequence[date]) -> RoleQuery:
        """The same for other dates."""
        return replace(self, dates=tuple(dates))


Query = Mapping[str, RoleQuery]


def query_of(
    scene: Scene,
    dates: Sequence[date],
    *,
    roles: Sequence[str] | None = None,
    bands: Mapping[str, Sequence[str]] | None = None,
    resolution: float | None = None,
) -> dict[str, RoleQuery]:
    """The usual query: every band of the scene's image roles, at the finest grid, on the same dates.

    Args:
        scene: gives sensors and bands.
        dates: wanted, unique.
        roles: which outputs (default: fine, coarse and thermal, those that the scene has).
        bands: by role, if not all.
        resolution: output pixel in the unit of the CRS; must divide a cell (default: the scene's finest pixel).

    Raises:
        InputError: a role that the scene lacks, or a resolution that does not divide a cell.
        DateError: no dates.
    """
    if not dates:
        raise DateError("no date asked for")
    chosen = roles or [role for role in ("fine", "coarse", "thermal") if role in scene]
    n = _finest(scene) if resolution is None else _pixels_per_cell(scene, resolution)
    wanted = {}
    for role in chosen:
        cube = scene[role]
        keys = cube.sensor.resolve(bands[role]) if bands and role in bands else cube.bands
        wanted[role] = RoleQuery(cube.sensor, keys, tuple(sorted(set(dates))), n)
    return wanted


def _finest(scene: Scene) -> int:
    return max(scene.per_cell(role) for role in scene.cubes)


def _pixels_per_cell(scene: Scene, resolution: float) -> int:
    cell = scene.cells.affine.a
    n = round(cell / resolution) if resolution > 0 else 0
    if n < 1 or abs(cell / n - resolution) > 1e-6 * cell:
        fits = ", ".join(f"{cell / k:g}" for k in range(1, 13))
        raise InputError(f"resolution {resolution:g} does not divide the common cell of {cell:g}; use {fits}, ...")
    return n
