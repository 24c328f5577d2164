"""Which role a cube has when nobody says it."""

from __future__ import annotations

from collections.abc import Sequence

from sitsfusion.cube import Cube
from sitsfusion.sensors import Sensor

# By the unit of the bands; reflectance is fine or coarse by the sensor's finest pixel in metres.
_BY_UNIT = {"kelvin": "thermal", "decibel": "sar", "metre": "dem"}
_COARSE_FROM = 30.0


def role_of(sensor: Sensor, unit: str) -> str:
    """`thermal`, `sar` or `dem` by unit; for reflectance `fine` (sensors with pixels below 30 m) or `coarse`."""
    finest = min(band.resolution for band in sensor.bands)
    return _BY_UNIT.get(unit, "fine" if finest < _COARSE_FROM else "coarse")


def keys_by_role(sensor: Sensor, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The bands of each role, in their order: surface temperature is no band of a reflectance image."""
    found: dict[str, tuple[str, ...]] = {}
    for key in keys:
        role = role_of(sensor, sensor.band(key).unit)
        found[role] = (*found.get(role, ()), key)
    return found


def by_role(cube: Cube) -> dict[str, Cube]:
    """A cube as cubes of one role each."""
    return {role: cube.select(bands=keys) for role, keys in keys_by_role(cube.sensor, cube.bands).items()}
