"""Weather of each day: cloud cover, soil wetness and air temperature.

One latent number per day, high in bad weather and correlated over a few days, drives all of it, so that cloudy days
are wet and clear summer days hot. Everything is a function of the date: it does not matter which other days are
asked for. Soil and temperature do not depend on how cloudy the *images* are asked to be: the same truth can be
observed through different skies.
"""

from __future__ import annotations

from calendar import isleap
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from sitsfusion.simulate.noise import stream

_MEMORY = 12  # days of noise that a day's weather is an average of
_SPREAD = 4.0  # of the logit of cloud cover: most days are nearly clear or nearly overcast
KELVIN = 273.15
_YEAR = 365.25
_WINTER = 240  # days before a year from which its snow is counted: from the middle of the year before
_DEEPEST = 150.0  # mm of water in the snow; more slides or is blown away


@dataclass(frozen=True)
class Climate:
    """The climate of a place; the defaults are 50 degrees north, near the sea, without snow.

    Attributes:
        warmest: day of the year; the coldest is half a year away.
        coldest: mean air temperature then, at the time of the images, degrees Celsius.
        season: how much warmer the warmest time is, K.
        spells: standard deviation of warm and cold spells, K.
        water: of rivers and ponds, degrees Celsius when coldest, and how much warmer when warmest.
        rain: amount, relative to the default.
        damp: wetness of the ground that stays in the cold season without rain, mm.
        wettest, rain_season: day of the year of most rain and clouds, and how strongly both follow it, in [0, 1].
        snowfall: amount of snow on cold wet days, relative to the rain; 0 for none.
    """

    warmest: float = 199
    coldest: float = 4.0
    season: float = 17.5
    spells: float = 2.3
    water: tuple[float, float] = (4.0, 16.0)
    rain: float = 1.0
    damp: float = 1.5
    wettest: float = 0.0
    rain_season: float = 0.0
    snowfall: float = 0.0

    def warmth(self, day: date) -> float:
        """Season from 0 (coldest) to 1 (warmest)."""
        return float(0.5 + 0.5 * np.cos(2 * np.pi * (day.timetuple().tm_yday - self.warmest) / _YEAR))

    def rains(self, day: date) -> float:
        """Season of rain and clouds, from -1 to 1 times `rain_season`."""
        return float(self.rain_season * np.cos(2 * np.pi * (day.timetuple().tm_yday - self.wettest) / _YEAR))

    def water_temperature(self, day: date) -> float:
        """Of rivers and ponds, kelvin: the season, two weeks late and without the extremes."""
        coldest, season = self.water
        return KELVIN + coldest + season * self.warmth(date.fromordinal(day.toordinal() - 15))


@dataclass(frozen=True)
class Weather:
    """The weather of one simulated place."""

    seed: int
    climate: Climate = Climate()
    _draws: dict[tuple[str, int], NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)
    _snows: dict[int, NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)

    def regime(self, day: date, days: int = 1) -> NDArray[np.float64]:
        """The latent number (mean 0, variance 1) of the last `days` days up to `day`: shape [days], oldest first."""
        return self._smooth("regime", day, days, memory=2.5)

    def cover(self, day: date, cloudiness: float) -> float:
        """Share of the sky that is cloudy, in [0, 1]; its mean over many days is about `cloudiness`."""
        if cloudiness in (0.0, 1.0):
            return cloudiness
        # mean of a logistic-normal variable, MacKay's approximation, solved for the location
        centre = np.log(cloudiness / (1 - cloudiness)) * np.sqrt(1 + np.pi * _SPREAD**2 / 8)
        return float(1 / (1 + np.exp(-(centre + 2 * self.climate.rains(day) + _SPREAD * self.regime(day)[0]))))

    def wetness(self, day: date) -> float:
        """Wetness of the top soil in [0, 1): rain of the last weeks, which dries faster in summer."""
        rain = 6.0 * np.maximum(self.regime(day, 45) - 0.4, 0)  # mm per day
        warmth, rains = self.climate.warmth(day), self.climate.rain * (1 + self.climate.rains(day))
        drying = 9.0 - 5.0 * warmth
        left = rain @ np.exp(-np.arange(45)[::-1] / drying)
        return float(1 - np.exp(-(rains * left + self.climate.damp * (1 - warmth)) / 12))

    def air_temperature(self, day: date) -> float:
        """Of the air at the time of the images, kelvin: season, spells of some days, clear or cloudy."""
        return float(self._air(day, 1)[0])

    def snow(self, day: date) -> float:
        """Snow on the ground, mm of water: what fell on cold wet days less what has melted (degree-day method)."""
        if self.climate.snowfall == 0:
            return 0.0
        if day.year not in self._snows:
            self._snows[day.year] = self._snow_of(day.year)
        return float(self._snows[day.year][day.timetuple().tm_yday - 1])

    def _snow_of(self, year: int) -> NDArray[np.float64]:
        """Snow of each day of a year; that of earlier winters is not in it."""
        last, days = date(year, 12, 31), 365 + isleap(year) + _WINTER
        celsius, regime = self._air(last, days) - KELVIN, self.regime(last, days)
        fallen = 8.0 * self.climate.snowfall * np.maximum(regime - 0.6, 0) * (celsius < 2)
        melting, snow = 3.0 * np.maximum(celsius - 1.5, 0), np.zeros(days)
        for i in range(1, days):
            snow[i] = np.clip(snow[i - 1] + fallen[i] - melting[i], 0, _DEEPEST)
        return snow[_WINTER:]

    def _air(self, day: date, days: int) -> NDArray[np.float64]:
        """Air temperature of the last `days` days, kelvin."""
        warmth = np.array([self.climate.warmth(day - timedelta(back)) for back in range(days)])[::-1]
        spell = self._smooth("temperature", day, days, memory=4.0)
        clear_effect = -self.regime(day, days) * (2.2 * warmth - 0.8)
        return KELVIN + self.climate.coldest + self.climate.season * warmth + self.climate.spells * spell + clear_effect

    def _smooth(self, name: str, day: date, days: int, memory: float) -> NDArray[np.float64]:
        weights = np.exp(-np.arange(_MEMORY) / memory)
        weights /= np.linalg.norm(weights)
        return np.convolve(self._white(name, day, days + _MEMORY - 1), weights, "valid")

    def _white(self, name: str, day: date, days: int) -> NDArray[np.float64]:
        """Independent normal numbers of the last `days` days, drawn year by year."""
        of_year = day.timetuple().tm_yday
        numbers = np.zeros(0)
        for year in (day.year - 1, day.year):
            length = 366 if isleap(year) else 365
            if (name, year) not in self._draws:
                self._draws[name, year] = stream(self.seed, name, year).standard_normal(366)
            numbers = np.concatenate([numbers, self._draws[name, year][:length]])
        end = numbers.size - length + of_year
        return numbers[end - days : end]
