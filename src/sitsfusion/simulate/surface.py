"""The surface of a simulated place on any day, free of noise: reflectance and temperature on the 10 m grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sitsfusion.simulate.landscape import Landscape, Values
from sitsfusion.simulate.noise import Map
from sitsfusion.simulate.phenology import Phenology, Plants
from sitsfusion.simulate.spectra import (
    BANDS,
    EXTINCTION,
    FLOWERS,
    IS_SOIL,
    LEAF_FACTOR,
    SHADE,
    SNOW,
    SNOW_ON_GROUND,
    SNOW_ON_LEAVES,
    TEXTURE,
    WETTING,
    Colours,
    canopy_reflectance,
)
from sitsfusion.simulate.sun import Sun
from sitsfusion.simulate.temperature import Heating, surface_temperature
from sitsfusion.simulate.weather import Weather

_DEEP_SNOW = 8.0  # mm of water in the snow that leave about a third of flat ground bare
_FREEZING = 272.0  # kelvin: snow is no warmer
# Weights of the pixels on each side and of the pixel itself: a Gaussian with a response of 0.2 at 50 cycles per km.
_PIXEL_SPREAD = (np.float32(0.17), np.float32(0.66))


@dataclass(frozen=True)
class Surface:
    """Landscape, plants, weather and colours of one place."""

    landscape: Landscape
    phenology: Phenology
    weather: Weather
    colours: Colours = field(default_factory=Colours)
    heating: Heating = field(default_factory=Heating)

    def on(self, day: date, sun: Sun) -> SurfaceState:
        """The surface on a day, with the sun at a position."""
        return SurfaceState(self, self.phenology.on(day), self.weather.wetness(day), self.weather.snow(day), day, sun)

    @cached_property
    def ground_spectra(self) -> NDArray[np.float32]:
        """Reflectance of the ground under each cover, [covers, 11]."""
        return self.colours.ground_spectra()

    @cached_property
    def leaf_spectra(self) -> NDArray[np.float32]:
        """Reflectance of the leaves of each parcel, [p, 11]."""
        land = self.landscape
        return self.colours.leaf_spectra()[land.cover] * land.leaves[list(LEAF_FACTOR)].T

    @cached_property
    def straw(self) -> NDArray[np.float32]:
        """Reflectance of straw, [11]."""
        return self.colours.straw_spectrum()


@dataclass(frozen=True)
class SurfaceState:
    """The surface at one moment. `wetness` of the soil in [0, 1); `snow`: mm of water in it."""

    surface: Surface
    plants: Plants
    wetness: float
    snow: float
    day: date
    sun: Sun

    @property
    def landscape(self) -> Landscape:
        """The land below."""
        return self.surface.landscape

    def reflectance(self, bands: Sequence[str]) -> dict[str, Map]:
        """Surface reflectance [h, w] in some of `spectra.BANDS`, by band."""
        land, plants = self.landscape, self.plants
        light, leaf_area = self._light(), plants.green + plants.dry
        dry = plants.dry / np.maximum(leaf_area, np.float32(1e-6))
        soil = 1 + IS_SOIL[land.cover][land.parcel] * (land.soil - 1)
        leaf_spectra, straw, snow = self.surface.leaf_spectra, self.surface.straw, self._snow_cover()
        buried = None if snow is None else snow * SNOW_ON_LEAVES[land.cover][land.parcel]
        found = {}
        for band in bands:
            b = BANDS.index(band)
            green = (leaf_spectra[:, b] + FLOWERS[b] * plants.flowers)[land.parcel]
            leaves = green + dry * (straw[b] - green)
            ground = self._ground(b)[land.parcel] * soil
            if snow is not None:
                ground += snow * (SNOW[b] - ground)
            canopy = canopy_reflectance(ground, leaves, leaf_area, float(EXTINCTION[b]))
            if buried is not None:
                canopy += buried * (SNOW[b] - canopy)
            found[band] = _as_a_pixel_sees(land.to_pixels(canopy * light))
        return found

    def temperature(self) -> Map:
        """Land-surface temperature [h, w], kelvin."""
        of, land, snow = self.surface, self.landscape, self._snow_cover()
        kelvin = surface_temperature(land, self.plants, of.weather, of.heating, self.day, self.sun, self._facing())
        if snow is not None:
            kelvin += land.to_pixels(snow) * np.minimum(_FREEZING - kelvin, 0)
        return kelvin

    def _snow_cover(self) -> Values | None:
        """Share of the ground of each fragment [n] that is under snow; None if there is none at all.

        Deeper on heights, thinner where the sun falls and on dark soils, which shows through in patches.
        """
        if self.snow < 0.1:
            return None
        land = self.landscape
        higher = np.exp(0.004 * (land.elevation - land.elevation.mean()) + 1.0 - self._facing()).ravel()
        depth = self.snow / _DEEP_SNOW * higher[land.pixel] * land.soil**2
        return np.asarray(SNOW_ON_GROUND[land.cover][land.parcel] * (1 - np.exp(-depth)), np.float32)

    def _ground(self, b: int) -> Values:
        """Reflectance of each parcel's ground [p] in band number `b`: its tint, wetness, tillage and straw."""
        cover, plants = self.landscape.cover, self.plants
        soil = IS_SOIL[cover]
        ground = self.surface.ground_spectra[cover, b] * self.landscape.tint
        ground *= 1 - soil * (WETTING[b] * np.float32(self.wetness) + 0.12 * plants.tilled)
        straw = self.surface.straw[b]
        return np.asarray(ground + np.minimum(plants.straw, 0.9) * (straw - ground), np.float32)

    def _light(self) -> Values:
        """Brightness factor of each fragment [n]: relief, shadows inside the canopy, texture."""
        land, cover = self.landscape, self.landscape.cover
        low = np.float32(1 - self.sun.height)
        relief = 1 + np.float32(self.surface.colours.slopes) * (self._facing() - 1)
        shade = 1 - SHADE[cover] * low
        # low sun makes rough surfaces look rougher
        rough = np.exp((TEXTURE[cover] * (0.8 + 0.7 * low))[land.parcel] * land.texture)
        return np.asarray(relief.ravel()[land.pixel] * shade[land.parcel] * rough, np.float32)

    def _facing(self) -> Map:
        """Sunlight on the slopes relative to flat ground, [h, w]: cos(incidence) / cos(zenith) for gentle slopes."""
        south, east = self.sun.shift(1.0)
        facing = 1 + south * self.landscape.slope_south + east * self.landscape.slope_east
        return np.clip(facing, 0.3, 2.0).astype(np.float32)


def _as_a_pixel_sees(surface: Map) -> Map:
    """Light from around a pixel: part of what a 10 m sensor calls the surface, whatever its optics are said to be.

    Without it, real images of farmland have a third of the power of simulated ones at wavelengths of 20 to 28 m.
    """
    for axis in (0, 1):
        pad = [(1, 1) if a == axis else (0, 0) for a in (0, 1)]
        wide = np.pad(surface, pad, mode="edge")
        before, after = np.delete(wide, [-1, -2], axis), np.delete(wide, [0, 1], axis)
        surface = _PIXEL_SPREAD[0] * (before + after) + _PIXEL_SPREAD[1] * surface
    return surface
