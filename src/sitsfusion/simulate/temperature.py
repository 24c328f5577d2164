"""Land-surface temperature: air, and what the sun adds, less where plants transpire or the ground is wet.

A linear mixture of the temperatures of bare ground, leaves and water, in the spirit of the triangle between vegetation
cover and surface temperature (Carlson, 2007). Mixing temperatures rather than radiances errs by less than 0.1 K for
differences of 15 K, and is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sitsfusion.simulate.landscape import Cover, Landscape, by_cover
from sitsfusion.simulate.noise import Map
from sitsfusion.simulate.phenology import Plants
from sitsfusion.simulate.sun import Sun
from sitsfusion.simulate.weather import Weather

_LAPSE = 0.0065  # K per m
_LEAF_HEATING = by_cover({
    Cover.FIELD: 4.0, Cover.MEADOW: 6.0, Cover.BROADLEAF: 1.5, Cover.CONIFER: 2.0, Cover.GARDEN: 3.0, Cover.TRACK: 7.0,
})  # fmt: skip
_SEALED = by_cover({Cover.ROAD: 0.75, Cover.TILE: 0.85, Cover.SLATE: 1.0, Cover.PALE_ROOF: 0.55, Cover.SAND: 0.9})
_LEAF_COVER = 0.5  # extinction: share of the ground that a leaf area hides


@dataclass(frozen=True)
class Heating:
    """How the sun heats a place.

    `bare`: K above the air, dry bare ground under a sun overhead; `leaves`: heating of leaves relative to the
    default, more where they lack water; `wet`: share of the heating that wet ground lacks.
    """

    bare: float = 18.0
    leaves: float = 1.0
    wet: float = 0.65


def surface_temperature(
    land: Landscape,
    plants: Plants,
    weather: Weather,
    heating: Heating,
    day: date,
    sun: Sun,
    facing: NDArray[np.float32],
) -> Map:
    """Kelvin [h, w]. `facing` [h, w]: sunlight on the slope relative to flat ground."""
    cover = land.cover[land.parcel]
    air = np.float32(weather.air_temperature(day))
    ground = _bare_heating(heating, land, plants, cover, weather.wetness(day))
    hidden = 1 - np.exp(-_LEAF_COVER * plants.green)
    excess = ground + hidden * (heating.leaves * _LEAF_HEATING[cover] - ground)  # for a sun overhead
    is_water = cover == Cover.WATER
    heated = land.to_pixels(np.where(is_water, 0, excess).astype(np.float32))
    water = land.to_pixels(is_water.astype(np.float32))
    relief = _LAPSE * (land.elevation.mean() - land.elevation)
    dry_land = air + relief + heated * facing * np.float32(max(sun.height, 0) ** 1.6)
    return np.asarray(dry_land + water * (weather.climate.water_temperature(day) - air - relief), np.float32)


def _bare_heating(
    heating: Heating, land: Landscape, plants: Plants, cover: NDArray[np.int8], wetness: float
) -> NDArray[np.float32]:
    """How far ground without leaves is above the air under a sun overhead, kelvin, of each fragment [n]."""
    soil = heating.bare * (1 - heating.wet * wetness) * (1 + 0.15 * plants.straw[land.parcel])
    sealed = _SEALED[cover]
    return np.where(sealed > 0, heating.bare * sealed, soil).astype(np.float32)
