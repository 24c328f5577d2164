"""Acquisitions: what each satellite's product holds of a simulated place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.warp import transform

from sitsfusion.cube import Item
from sitsfusion.errors import InputError
from sitsfusion.sensors import QualityRule
from sitsfusion.simulate.clouds import Clouds, Sky, make_clouds, sky_of
from sitsfusion.simulate.landscape import PIXEL, make_landscape
from sitsfusion.simulate.noise import Map, stream
from sitsfusion.simulate.orbits import Pass
from sitsfusion.simulate.phenology import Phenology
from sitsfusion.simulate.quality import FILL, QA_PIXELS, SCL_PIXELS, detect, qa_pixel, scene_classes
from sitsfusion.simulate.sensing import haze_patches, moved, roughness, seen_from
from sitsfusion.simulate.sensors import INSTRUMENTS, Image, Instrument
from sitsfusion.simulate.sun import Sun, overpass, sun_at
from sitsfusion.simulate.surface import Surface
from sitsfusion.simulate.weather import Weather
from sitsfusion.simulate.world import World

QUALITY_LAYER = {"fine": "SCL", "coarse": "QA_PIXEL"}
_LAYER_PIXELS = {"fine": SCL_PIXELS, "coarse": QA_PIXELS}  # 10 m pixels along a pixel of the layer
_DETECTION_BANDS = ("B03", "B04", "B8A", "B11", "B12")
_VIEW_ZENITH = {"fine": 8.0, "coarse": 6.0}  # degrees, where two orbits see a place


@dataclass(frozen=True)
class Acquisition:
    """One image as a product holds it: `stored` [c, h, w], `quality` layer at its own resolution, `clear` [h, w]."""

    stored: NDArray[np.generic]
    quality: NDArray[np.integer]
    clear: NDArray[np.bool_]
    item: Item


@dataclass(frozen=True)
class Place:
    """A simulated place: what is there on any day, and what each instrument makes of it.

    Attributes:
        surface: the truth, before any sensor.
        grid: the 10 m pixels.
        seed: of everything random.
        cloudiness: mean share of the sky under cloud, in [0, 1].
        world: what kind of place it is.
    """

    surface: Surface
    grid: GeoBox
    seed: int
    cloudiness: float
    world: World

    @classmethod
    def create(cls, grid: GeoBox, seed: int, cloudiness: float, world: World) -> Place:
        """The place of a seed in a world, on a grid of 10 m pixels."""
        landscape = make_landscape((grid.shape.y, grid.shape.x), seed, world.land)
        phenology, weather = Phenology(landscape, seed, world.farming), Weather(seed, world.climate)
        surface = Surface(landscape, phenology, weather, world.colours, world.heating)
        return cls(surface, grid, seed, cloudiness, world)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the 10 m grid."""
        return self.surface.landscape.shape

    def instrument(self, role: str) -> Instrument:
        """The instrument of a role here."""
        check_role(role)
        return self._instruments[role]

    def passes(self, role: str, year: int) -> list[Pass]:
        """The images of a role in a year."""
        what = self.instrument(role)
        return self.world.sensing(role).orbits.passes(role, year, self.seed, tuple(what.platforms))

    def moment(self, role: str, day: date) -> datetime:
        """When the satellites of a role pass on a day, UTC."""
        return overpass(day, self.instrument(role).local_hour, self._lonlat[0])

    def sun(self, role: str, day: date) -> Sun:
        """Where the sun then is."""
        longitude, latitude = self._lonlat
        return sun_at(self.moment(role, day), latitude, longitude)

    def truth(self, role: str, day: date) -> Image:
        """The noise-free, cloud-free surface [c, h, w] on the 10 m grid, in the bands of a role's instrument.

        Reflectance, of the surface, or in a world `toa` at the top of the mean atmosphere for `fine`; the last band
        of `coarse` is surface temperature in kelvin.
        """
        what, sun = self.instrument(role), self.sun(role, day)
        surface = self.surface.on(day, sun)
        reflectance = surface.reflectance(what.sources)
        if self._uncorrected(role):
            reflectance = self.world.atmosphere.over(reflectance, sun)
        values = what.respond(reflectance)
        return np.concatenate([values, surface.temperature()[None]]) if what.thermal else values

    def sky(self, role: str, day: date) -> Sky:
        """The true clouds, shadows and cirrus of an acquisition, on the 10 m grid."""
        return self._sky(self._clouds(role, day), role, day)

    def acquire(self, role: str, day: date, platform: str, orbit: int = 0) -> Acquisition:
        """The product of one pass."""
        what, sun, clouds = self.instrument(role), self.sun(role, day), self._clouds(role, day)
        surface, sky = self.surface.on(day, sun), self._sky(clouds, role, day)
        reflectance = surface.reflectance([*what.sources, *(set(_DETECTION_BANDS) - set(what.sources))])
        reflectance = self._from_orbit(reflectance, role, sun, orbit)
        seen = sky.over_reflectance(reflectance)
        values = what.respond(self._uncorrect(reflectance, sky, role, day) if self._uncorrected(role) else seen)
        values = values * self._gain(role, day) + self._haze(role, day)
        if what.thermal:
            error = (
                self.world.sensing(role).kelvin * stream(self.seed, "temperature error", role, day).standard_normal()
            )
            kelvin = sky.over_temperature(surface.temperature(), sun) + np.float32(error)
            values = np.concatenate([values, kelvin[None]])
        values = moved(values, *self.shift(role, day))
        stored = what.encode(what.observe(values, stream(self.seed, "noise", role, day)))
        pixels, detector = _LAYER_PIXELS[role], self.world.sensing(role).detector
        rng = stream(self.seed, "detection", role, day)
        found = detect(clouds, sky, sun, seen, rng, pixels, detector, snow=surface.snow > 0)
        quality = scene_classes(found) if role == "fine" else qa_pixel(found)
        self._leave_out(stored, quality, role, day, orbit)
        clear = _clear(role, quality, stored.shape[1:])
        return Acquisition(stored, quality, clear, self._item(role, day, platform, orbit, float(clear.mean())))

    def shift(self, role: str, day: date) -> tuple[float, float]:
        """How far south and east (10 m pixels) of its true place an image's content lies: its misregistration."""
        deviation = self.world.sensing(role).shift / PIXEL
        south, east = deviation * stream(self.seed, "registration", role, day).standard_normal(2)
        return float(south), float(east)

    def _uncorrected(self, role: str) -> bool:
        return role == "fine" and self.world.toa

    def _from_orbit(self, reflectance: dict[str, Map], role: str, sun: Sun, orbit: int) -> dict[str, Map]:
        """Surface reflectance as seen from one of two orbits; the truth is their mean."""
        sensing = self.world.sensing(role)
        if sensing.view == 0 or not sensing.orbits.overlap:
            return reflectance
        return seen_from(reflectance, self._roughness, sun, sensing.view * (1 - 2 * orbit))

    def _uncorrect(self, reflectance: dict[str, Map], sky: Sky, role: str, day: date) -> dict[str, Map]:
        """Surface reflectance as seen through the day's atmosphere and the clouds in it."""
        atmosphere = self.world.atmosphere
        haze = np.exp(atmosphere.unrest * stream(self.seed, "aerosol", role, day).standard_normal())
        return sky.over_reflectance(atmosphere.over(reflectance, self.sun(role, day), float(haze)))

    def _haze(self, role: str, day: date) -> Image:
        """What atmospheric correction left in each band, [c, 1, 1] or [c, h, w]: more in the blue."""
        sensing, shape = self.world.sensing(role), (490.0 / self.instrument(role).wavelengths) ** 1.5
        amount = sensing.haze * stream(self.seed, "haze", role, day).standard_normal()
        haze = (amount * shape).astype(np.float32)[:, None, None]
        if sensing.haze_patches == 0:
            return haze
        patches = np.float32(sensing.haze_patches) * haze_patches(self.shape, self.seed, role, day)
        return np.asarray(haze * (1 + patches), np.float32)

    def _gain(self, role: str, day: date) -> np.float32:
        error = self.world.sensing(role).gain * stream(self.seed, "calibration", role, day).standard_normal()
        return np.float32(1 + error)

    def _clouds(self, role: str, day: date) -> Clouds:
        cover = self.surface.weather.cover(day, self.cloudiness)
        return make_clouds(stream(self.seed, "clouds", role, day), self.shape, cover, self.world.sky)

    def _sky(self, clouds: Clouds, role: str, day: date) -> Sky:
        return sky_of(clouds, self.shape, self.sun(role, day), self.surface.weather.air_temperature(day))

    def _leave_out(
        self, stored: NDArray[np.generic], quality: NDArray[np.integer], role: str, day: date, orbit: int
    ) -> None:
        """Write nodata where the swath does not reach, in place."""
        shape = (quality.shape[0], quality.shape[1])
        seen = self.world.sensing(role).orbits.observed(shape, role, day, orbit, self.seed)
        if seen is None:
            return
        quality[~seen] = FILL[role]
        missing = ~_on_image(seen, role, stored.shape[1:])
        for values, encoding in zip(stored, self.instrument(role).encodings, strict=True):
            values[missing] = 0 if encoding.nodata is None else encoding.nodata

    def _item(self, role: str, day: date, platform: str, orbit: int, clear_share: float) -> Item:
        sun, what = self.sun(role, day), self.instrument(role)
        zenith = _VIEW_ZENITH[role] if self.world.sensing(role).orbits.overlap else 0.0
        return Item(
            id=f"{platform}_{day:%Y%m%d}", time=self.moment(role, day), platform=what.platforms[platform],
            baseline=what.baseline, clear_share=clear_share, sun_zenith=sun.zenith, sun_azimuth=sun.azimuth,
            view_zenith=zenith, view_azimuth=(100.0 + 180.0 * orbit) if zenith else 0.0,
        )  # fmt: skip

    @cached_property
    def _instruments(self) -> dict[str, Instrument]:
        return {role: self.world.instrument(role) for role in INSTRUMENTS}

    @cached_property
    def _roughness(self) -> Map:
        return roughness(self.surface.landscape)

    @cached_property
    def _lonlat(self) -> tuple[float, float]:
        """Longitude and latitude of the centre, degrees."""
        box = self.grid.boundingbox
        x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        (longitude,), (latitude,) = transform(str(self.grid.crs), "EPSG:4326", [x], [y])
        return float(longitude), float(latitude)


def check_role(role: str) -> None:
    """Refuse a role that is not simulated.

    Raises:
        InputError: naming those that are.
    """
    if role not in INSTRUMENTS:
        raise InputError(f"role {role!r} is not simulated; a simulated scene has {', '.join(INSTRUMENTS)}")


def _clear(role: str, quality: NDArray[np.integer], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """What a reader of the product makes of the quality layer, on the grid of the images.

    The images of level 1C come with the layer too, as a user's own mask.
    """
    sensor, layer = INSTRUMENTS[role].sensor, QUALITY_LAYER[role]
    rule = sensor.rule(layer)
    if not isinstance(rule, QualityRule):
        raise InputError(f"{sensor.name} has no rule for the quality layer {layer}")
    return _on_image(rule.clear(quality), role, shape)


def _on_image(flags: NDArray[np.bool_], role: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Flags of the quality layer on the grid of the images."""
    times = _LAYER_PIXELS[role] // INSTRUMENTS[role].step
    return flags.repeat(times, 0).repeat(times, 1)[: shape[0], : shape[1]]
