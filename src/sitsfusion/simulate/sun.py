"""Where the sun is: zenith and azimuth of a place and a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np


@dataclass(frozen=True)
class Sun:
    """Position of the sun: `zenith` (0 overhead) and `azimuth` (clockwise from north), degrees."""

    zenith: float
    azimuth: float

    @property
    def height(self) -> float:
        """Cosine of the zenith angle: 1 overhead, 0 at the horizon."""
        return float(np.cos(np.radians(self.zenith)))

    @property
    def away(self) -> tuple[float, float]:
        """Unit vector (south, east) on the ground that points away from the sun, where shadows fall."""
        return float(np.cos(np.radians(self.azimuth))), float(-np.sin(np.radians(self.azimuth)))

    def shift(self, metres: float) -> tuple[float, float]:
        """How far (south, east), in metres, a shadow falls from an object of this height above flat ground."""
        reach = metres * float(np.tan(np.radians(min(self.zenith, 85.0))))
        return reach * self.away[0], reach * self.away[1]


def overpass(day: date, local_hour: float, longitude: float) -> datetime:
    """When it is a mean local solar hour (sun-synchronous satellites keep theirs) at a longitude: UTC, without zone."""
    return datetime.combine(day, time()) + timedelta(seconds=round(3600 * (local_hour - longitude / 15)))


def sun_at(moment: datetime, latitude: float, longitude: float) -> Sun:
    """Position of the sun to about 0.3 degrees (series of Spencer, 1971: declination and equation of time)."""
    angle = 2 * np.pi * (moment.timetuple().tm_yday - 1 + moment.hour / 24) / 365
    cos1, sin1, cos2, sin2 = np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)
    declination = 0.006918 - 0.399912 * cos1 + 0.070257 * sin1 - 0.006758 * cos2 + 0.000907 * sin2
    minutes = 229.18 * (0.000075 + 0.001868 * cos1 - 0.032077 * sin1 - 0.014615 * cos2 - 0.040849 * sin2)
    hours = moment.hour + moment.minute / 60 + moment.second / 3600 + minutes / 60 + longitude / 15
    turn, north = np.radians(15 * (hours - 12)), np.radians(latitude)
    up = np.sin(north) * np.sin(declination) + np.cos(north) * np.cos(declination) * np.cos(turn)
    east = -np.cos(declination) * np.sin(turn)
    towards_north = np.cos(north) * np.sin(declination) - np.sin(north) * np.cos(declination) * np.cos(turn)
    azimuth = np.degrees(np.arctan2(east, towards_north)) % 360
    return Sun(float(np.degrees(np.arccos(np.clip(up, -1, 1)))), float(azimuth))
