"""Weather of each day: cloud cover, soil wetness and air temperature.

One latent number per day, high in bad weather and correlated over a few days, drives all of it, so that cloudy days
are wet and clear summer days hot. Everything is a function of the date: it does not matter which other days are
asked for. Soil and temperature do not depend on how cloudy the *images* are asked to be: the same truth can be
observed through different skies.
"""

from __future__ import annotations

from calendar import isleap
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sitsfusion.simulate.noise import stream

_MEMORY = 12  # days of noise that a day's weather is an average of
_SPREAD = 4.0  # of the logit of cloud cover: most days are nearly clear or nearly overcast
KELVIN = 273.15


@dataclass(frozen=True)
class Weather:
    """The weather of one simulated place (50 degrees north, near the sea)."""

    seed: int

    def regime(self, day: date, days: int = 1) -> NDArray[np.float64]:
        """The latent number (mean 0, variance 1) of the last `days` days up to `day`: shape [days], oldest first."""
        return self._smooth("regime", day, days, memory=2.5)

    def cover(self, day: date, cloudiness: float) -> float:
        """Share of the sky that is cloudy, in [0, 1]; its mean over many days is about `cloudiness`."""
        if cloudiness in (0.0, 1.0):
            return cloudiness
        # mean of a logistic-normal variable, MacKay's approximation, solved for the location
        centre = np.log(cloudiness / (1 - cloudiness)) * np.sqrt(1 + np.pi * _SPREAD**2 / 8)
        return float(1 / (1 + np.exp(-(centre + _SPREAD * self.regime(day)[0]))))

    def wetness(self, day: date) -> float:
        """Wetness of the top soil in [0, 1): rain of the last weeks, which dries faster in summer."""
        rain = 6.0 * np.maximum(self.regime(day, 45) - 0.4, 0)  # mm per day
        drying = 9.0 - 5.0 * warmth(day)
        left = rain @ np.exp(-np.arange(45)[::-1] / drying)
        return float(1 - np.exp(-(left + 1.5 * (1 - warmth(day))) / 12))

    def air_temperature(self, day: date) -> float:
        """Of the air at the time of the images, kelvin: season, spells of some days, clear or cloudy."""
        spell = self._smooth("temperature", day, 1, memory=4.0)[0]
        clear_effect = -self.regime(day)[0] * (2.2 * warmth(day) - 0.8)
        return float(KELVIN + 4.0 + 17.5 * warmth(day) + 2.3 * spell + clear_effect)

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
            numbers = np.concatenate([numbers, stream(self.seed, name, year).standard_normal(366)[:length]])
        end = numbers.size - length + of_year
        return numbers[end - days : end]


def warmth(day: date) -> float:
    """Season from 0 (coldest, mid January) to 1 (warmest, mid July)."""
    return float(0.5 + 0.5 * np.cos(2 * np.pi * (day.timetuple().tm_yday - 199) / 365.25))
