"""The surface of a simulated place on any day, free of noise: reflectance and temperature on the 10 m grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from sitsfusion.simulate.landscape import Landscape, Values, make_landscape
from sitsfusion.simulate.noise import Map
from sitsfusion.simulate.phenology import Phenology, Plants
from sitsfusion.simulate.spectra import (
    BANDS,
    EXTINCTION,
    FLOWERS,
    GROUND,
    IS_SOIL,
    LEAVES,
    SHADE,
    STRAW,
    TEXTURE,
    WETTING,
    canopy_reflectance,
)
from sitsfusion.simulate.sun import Sun
from sitsfusion.simulate.temperature import surface_temperature
from sitsfusion.simulate.weather import Weather

# Share of the brightness of a slope that follows the sun; the rest is removed by the products' terrain correction.
_RELIEF = 0.35


@dataclass(frozen=True)
class Surface:
    """Landscape, plants and weather of one place."""

    landscape: Landscape
    phenology: Phenology
    weather: Weather

    @classmethod
    def create(cls, shape: tuple[int, int], seed: int) -> Surface:
        """The place of a seed, `shape` (rows, columns) pixels of 10 m."""
        landscape = make_landscape(shape, seed)
        return cls(landscape, Phenology(landscape, seed), Weather(seed))

    def on(self, day: date, sun: Sun) -> SurfaceState:
        """The surface on a day, with the sun at a position."""
        return SurfaceState(self.landscape, self.phenology.on(day), self.weather, self.weather.wetness(day), day, sun)


@dataclass(frozen=True)
class SurfaceState:
    """The surface at one moment."""

    landscape: Landscape
    plants: Plants
    weather: Weather
    wetness: float
    day: date
    sun: Sun

    def reflectance(self, bands: Sequence[str]) -> dict[str, Map]:
        """Surface reflectance [h, w] in some of `spectra.BANDS`, by band."""
        land, plants = self.landscape, self.plants
        light, leaf_area = self._light(), plants.green + plants.dry
        dry = plants.dry / np.maximum(leaf_area, np.float32(1e-6))
        soil = 1 + IS_SOIL[land.cover][land.parcel] * (land.soil - 1)
        found = {}
        for band in bands:
            b = BANDS.index(band)
            green = (LEAVES[land.cover, b] + FLOWERS[b] * plants.flowers)[land.parcel]
            leaves = green + dry * (STRAW[b] - green)
            ground = self._ground(b)[land.parcel] * soil
            canopy = canopy_reflectance(ground, leaves, leaf_area, float(EXTINCTION[b]))
            found[band] = land.to_pixels(canopy * light)
        return found

    def temperature(self) -> Map:
        """Land-surface temperature [h, w], kelvin."""
        return surface_temperature(self.landscape, self.plants, self.weather, self.day, self.sun, self._facing())

    def _ground(self, b: int) -> Values:
        """Reflectance of each parcel's ground [p] in band number `b`: its tint, wetness, tillage and straw."""
        cover, plants = self.landscape.cover, self.plants
        soil = IS_SOIL[cover]
        ground = GROUND[cover, b] * self.landscape.tint
        ground *= 1 - soil * (WETTING[b] * np.float32(self.wetness) + 0.12 * plants.tilled)
        return np.asarray(ground + np.minimum(plants.straw, 0.9) * (STRAW[b] - ground), np.float32)

    def _light(self) -> Values:
        """Brightness factor of each fragment [n]: relief, shadows inside the canopy, texture."""
        land, cover = self.landscape, self.landscape.cover
        low = np.float32(1 - self.sun.height)
        relief = 1 + _RELIEF * (self._facing() - 1)
        shade = 1 - SHADE[cover] * low
        # low sun makes rough surfaces look rougher
        rough = np.exp((TEXTURE[cover] * (0.8 + 0.7 * low))[land.parcel] * land.texture)
        return np.asarray(relief.ravel()[land.pixel] * shade[land.parcel] * rough, np.float32)

    def _facing(self) -> Map:
        """Sunlight on the slopes relative to flat ground, [h, w]: cos(incidence) / cos(zenith) for gentle slopes."""
        south, east = self.sun.shift(1.0)
        facing = 1 + south * self.landscape.slope_south + east * self.landscape.slope_east
        return np.clip(facing, 0.3, 2.0).astype(np.float32)
