"""Acquisitions: when each satellite passes over a simulated place, and what its product then holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.warp import transform

from sitsfusion.cube import Item
from sitsfusion.errors import InputError
from sitsfusion.sensors import QualityRule
from sitsfusion.simulate.clouds import Clouds, Sky, make_clouds, sky_of
from sitsfusion.simulate.noise import stream
from sitsfusion.simulate.quality import QA_PIXELS, SCL_PIXELS, detect, qa_pixel, scene_classes
from sitsfusion.simulate.sensors import INSTRUMENTS, Image, Instrument
from sitsfusion.simulate.sun import Sun, overpass, sun_at
from sitsfusion.simulate.surface import Surface

_HAZE = 0.0025  # standard deviation of what atmospheric correction leaves, reflectance at 490 nm
_GAIN_ERROR = 0.006
_KELVIN_ERROR = 0.5
QUALITY_LAYER = {"fine": "SCL", "coarse": "QA_PIXEL"}


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
    """

    surface: Surface
    grid: GeoBox
    seed: int
    cloudiness: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the 10 m grid."""
        return self.surface.landscape.shape

    def moment(self, role: str, day: date) -> datetime:
        """When the satellites of a role pass on a day, UTC."""
        return overpass(day, instrument(role).local_hour, self._lonlat[0])

    def sun(self, role: str, day: date) -> Sun:
        """Where the sun then is."""
        longitude, latitude = self._lonlat
        return sun_at(self.moment(role, day), latitude, longitude)

    def truth(self, role: str, day: date) -> Image:
        """The noise-free, cloud-free surface [c, h, w] on the 10 m grid, in the bands of a role's instrument.

        Reflectance; the last band of `coarse` is surface temperature in kelvin.
        """
        what, surface = instrument(role), self.surface.on(day, self.sun(role, day))
        reflectance = what.respond(surface.reflectance(what.sources))
        return np.concatenate([reflectance, surface.temperature()[None]]) if what.thermal else reflectance

    def sky(self, role: str, day: date) -> Sky:
        """The true clouds, shadows and cirrus of an acquisition, on the 10 m grid."""
        return self._sky(self._clouds(role, day), role, day)

    def acquire(self, role: str, day: date, platform: str) -> Acquisition:
        """The product of one pass."""
        what, sun, clouds = instrument(role), self.sun(role, day), self._clouds(role, day)
        surface, sky = self.surface.on(day, sun), self._sky(clouds, role, day)
        seen = sky.over_reflectance(surface.reflectance(what.sources))
        values = what.respond(seen) * self._gain(role, day) + self._haze(role, day)
        if what.thermal:
            error = _KELVIN_ERROR * stream(self.seed, "temperature error", role, day).standard_normal()
            kelvin = sky.over_temperature(surface.temperature(), sun) + np.float32(error)
            values = np.concatenate([values, kelvin[None]])
        stored = what.encode(what.observe(values, stream(self.seed, "noise", role, day)))
        pixels = SCL_PIXELS if role == "fine" else QA_PIXELS
        found = detect(clouds, sky, sun, seen, stream(self.seed, "detection", role, day), pixels)
        quality = scene_classes(found) if role == "fine" else qa_pixel(found)
        clear = _clear(role, quality, stored.shape[1:])
        return Acquisition(stored, quality, clear, self._item(role, day, platform, float(clear.mean())))

    def _haze(self, role: str, day: date) -> Image:
        """What atmospheric correction left in each band, [c, 1, 1]: more in the blue."""
        found = [instrument(role).sensor.band(key) for key in instrument(role).responses]
        shape = np.array([(490.0 / (band.wavelength or 490.0)) ** 1.5 for band in found])
        haze = _HAZE * stream(self.seed, "haze", role, day).standard_normal() * shape
        return haze.astype(np.float32)[:, None, None]

    def _gain(self, role: str, day: date) -> np.float32:
        return np.float32(1 + _GAIN_ERROR * stream(self.seed, "calibration", role, day).standard_normal())

    def _clouds(self, role: str, day: date) -> Clouds:
        cover = self.surface.weather.cover(day, self.cloudiness)
        return make_clouds(stream(self.seed, "clouds", role, day), self.shape, cover)

    def _sky(self, clouds: Clouds, role: str, day: date) -> Sky:
        return sky_of(clouds, self.shape, self.sun(role, day), self.surface.weather.air_temperature(day))

    def _item(self, role: str, day: date, platform: str, clear_share: float) -> Item:
        sun = self.sun(role, day)
        return Item(
            id=f"{platform}_{day:%Y%m%d}", time=self.moment(role, day), platform=instrument(role).platforms[platform],
            baseline=instrument(role).baseline, clear_share=clear_share,
            sun_zenith=sun.zenith, sun_azimuth=sun.azimuth, view_zenith=0.0, view_azimuth=0.0,
        )  # fmt: skip

    @cached_property
    def _lonlat(self) -> tuple[float, float]:
        """Longitude and latitude of the centre, degrees."""
        box = self.grid.boundingbox
        x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        (longitude,), (latitude,) = transform(str(self.grid.crs), "EPSG:4326", [x], [y])
        return float(longitude), float(latitude)


def instrument(role: str) -> Instrument:
    """The instrument of a role.

    Raises:
        InputError: a role that is not simulated.
    """
    if role not in INSTRUMENTS:
        raise InputError(f"role {role!r} is not simulated; a simulated scene has {', '.join(INSTRUMENTS)}")
    return INSTRUMENTS[role]


def passes(role: str, year: int, seed: int) -> Sequence[tuple[date, str]]:
    """Days of a year on which a role's satellites pass, and which of them it is: they take turns."""
    what = instrument(role)
    rng = stream(seed, "orbit", role, year)
    first, turn = int(rng.integers(what.revisit)), int(rng.integers(len(what.platforms)))
    names, new_year = list(what.platforms), date(year, 1, 1)
    days = range(first, (date(year + 1, 1, 1) - new_year).days, what.revisit)
    return [(new_year + timedelta(day), names[(turn + i) % len(names)]) for i, day in enumerate(days)]


def _clear(role: str, quality: NDArray[np.integer], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """What a reader of the product makes of the quality layer, on the grid of the images."""
    layer = QUALITY_LAYER[role]
    rule = instrument(role).sensor.rule(layer)
    if not isinstance(rule, QualityRule):
        raise InputError(f"{instrument(role).sensor.name} has no rule for the quality layer {layer}")
    times = SCL_PIXELS if role == "fine" else 1
    return rule.clear(quality).repeat(times, 0).repeat(times, 1)[: shape[0], : shape[1]]
