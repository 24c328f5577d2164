"""`Query`: what is wanted. Per role: sensor, bands, dates and pixels per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

from sitsfusion.cube import check_bands
from sitsfusion.dates import check_series, parse_day
from sitsfusion.errors import DateError, InputError, MissingBandError
from sitsfusion.scene import Scene
from sitsfusion.sensors import Sensor


@dataclass(frozen=True)
class RoleQuery:
    """What is wanted of one role: `bands` and `dates` of a `sensor`, `per_cell` output pixels along a cell's side.

    Raises:
        InputError: no band, a band or date twice, dates out of order, less than one pixel per cell.
    """

    sensor: Sensor
    bands: tuple[str, ...]
    dates: tuple[date, ...]
    per_cell: int

    def __post_init__(self) -> None:
        check_bands(self.sensor, self.bands)
        check_series(self.dates, f"dates asked for of {self.sensor.name}")
        if not self.dates:
            raise DateError(f"no date asked for of {self.sensor.name}")
        if self.per_cell < 1:
            raise InputError(f"{self.per_cell} output pixels per cell are not possible; give 1 or more")

    def at(self, dates: Sequence[date]) -> RoleQuery:
        """The same for other dates."""
        return replace(self, dates=tuple(dates))


Query = Mapping[str, RoleQuery]


class Output(NamedTuple):
    """What a method can give of one role: bands of a sensor, usually at `per_cell` pixels along a cell's side (None:
    the scene's finest). `also`: other roles whose images make it an output by default.
    """

    sensor: Sensor
    bands: tuple[str, ...]
    per_cell: int | None = None
    also: tuple[str, ...] = ()


def query_of(
    scene: Scene,
    dates: Sequence[date | str],
    outputs: Mapping[str, Output],
    *,
    roles: Sequence[str] | None = None,
    bands: Mapping[str, Sequence[str]] | None = None,
    resolution: float | None = None,
) -> dict[str, RoleQuery]:
    """A query for a scene and what a method can give (`Method.outputs`).

    Args:
        scene: gives the lattice.
        dates: wanted of every role (dates, or texts that `parse_day` reads), in any order.
        outputs: what can be asked for, by role.
        roles: which outputs (default: those whose images the scene has).
        bands: by role, if not all.
        resolution: output pixel in the unit of the CRS; must divide a cell (default: what the method usually gives).

    Raises:
        InputError: a role that cannot be given, or a resolution that does not divide a cell.
        MissingBandError: a band that cannot be given.
        DateError: no dates.
    """
    if not dates:
        raise DateError("no date asked for")
    usual = [role for role, output in outputs.items() if any(one in scene for one in (role, *output.also))]
    chosen = usual if roles is None else list(roles)
    unknown = sorted((set(chosen) | set(bands or ())) - set(outputs))
    if unknown or not chosen:
        possible = ", ".join(outputs) or "nothing"
        raise InputError(f"cannot predict {', '.join(unknown) or 'anything'}; possible: {possible}")
    asked = None if resolution is None else _pixels_per_cell(scene, resolution)
    days = tuple(sorted({parse_day(day) for day in dates}))
    found = {}
    for role in chosen:
        output = outputs[role]
        n = asked or output.per_cell or _finest(scene)
        found[role] = RoleQuery(output.sensor, _bands(role, output, bands), days, n)
    return found


def _bands(role: str, output: Output, wanted: Mapping[str, Sequence[str]] | None) -> tuple[str, ...]:
    keys = output.sensor.resolve(wanted[role]) if wanted and role in wanted else output.bands
    missing = [key for key in keys if key not in output.bands]
    if missing:
        raise MissingBandError(f"cannot predict {role} {', '.join(missing)}; possible: {', '.join(output.bands)}")
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
