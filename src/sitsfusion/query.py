"""`Query`: what is wanted. Per role: sensor, bands, dates and pixels per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from sitsfusion.errors import DateError, InputError, MissingBandError
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
    outputs: Mapping[str, tuple[Sensor, tuple[str, ...]]],
    *,
    roles: Sequence[str] | None = None,
    bands: Mapping[str, Sequence[str]] | None = None,
    resolution: float | None = None,
) -> dict[str, RoleQuery]:
    """A query for a scene and what a method can give (`Method.outputs`).

    Args:
        scene: gives the lattice.
        dates: wanted of every role.
        outputs: sensor and bands that can be asked for, by role.
        roles: which outputs (default: those whose images the scene has).
        bands: by role, if not all.
        resolution: output pixel in the unit of the CRS; must divide a cell (default: the scene's finest pixel).

    Raises:
        InputError: a role that cannot be given, or a resolution that does not divide a cell.
        MissingBandError: a band that cannot be given.
        DateError: no dates.
    """
    if not dates:
        raise DateError("no date asked for")
    chosen = list(roles) if roles is not None else [role for role in outputs if role in scene]
    unknown = sorted((set(chosen) | set(bands or ())) - set(outputs))
    if unknown or not chosen:
        raise InputError(f"cannot predict {', '.join(unknown) or 'anything'}; possible: {', '.join(outputs) or 'nothing'}")
    n = _finest(scene) if resolution is None else _pixels_per_cell(scene, resolution)
    days = tuple(sorted(set(dates)))
    return {role: RoleQuery(outputs[role][0], _bands(role, *outputs[role], bands), days, n) for role in chosen}


def _bands(
    role: str, sensor: Sensor, possible: tuple[str, ...], wanted: Mapping[str, Sequence[str]] | None
) -> tuple[str, ...]:
    keys = sensor.resolve(wanted[role]) if wanted and role in wanted else possible
    missing = [key for key in keys if key not in possible]
    if missing:
        raise MissingBandError(f"cannot predict {role} {', '.join(missing)}; possible: {', '.join(possible)}")
    return keys


def _finest(scene: Scene) -> int:
    return max(scene.per_cell(role) for role in scene.cubes)


def _pixels_per_cell(scene: Scene, resolution: float) -> int:
    cell = scene.cells.affine.a
    n = round(cell / resolution) if resolution > 0 else 0
    if n < 1 or abs(cell / n - resolution) > 1e-6 * cell:
        fits = ", ".join(f"{cell / k:g}" for k in range(1, 13))
        raise InputError(f"resolution {resolution:g} does not divide the common cell of {cell:g}; use {fits}, ...")
    return n
