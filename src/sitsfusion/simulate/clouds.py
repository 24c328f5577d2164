"""The sky of one acquisition: opaque clouds, their shadows, and cirrus; and what they do to an image.

Clouds are a fractal random field cut at the level that gives the wanted cover, so that edges are soft and thin.
A shadow is the same cloud moved away from the sun by its height times the tangent of the sun's zenith angle
(seen from straight above).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sitsfusion.simulate.landscape import PIXEL
from sitsfusion.simulate.noise import Map, next_power_of_two, periodic_field, sample
from sitsfusion.simulate.spectra import BANDS
from sitsfusion.simulate.sun import Sun

_STEP = 20.0  # m, of the cloud field
_SMALLEST_FIELD = 256  # steps
_CLEAR_SKY, _OVERCAST = 0.02, 0.999
_DETAIL, _CIRRUS_DETAIL = 1.75, 1.9  # slopes of the amplitude spectra

#                        B01   B02   B03   B04   B05   B06   B07   B08   B8A   B11   B12
_CLOUD_COLOUR = np.array([1.00, 1.00, 0.99, 0.99, 1.00, 1.01, 1.02, 1.02, 1.02, 0.72, 0.52], np.float32)
_CIRRUS_COLOUR = np.array([1.00, 1.00, 0.99, 0.99, 0.99, 0.98, 0.98, 0.98, 0.97, 0.62, 0.45], np.float32)
# Share of the sunlight that reaches a shadow from the blue sky and from clouds around: falls with the wavelength.
_SKYLIGHT = np.array([0.52, 0.47, 0.40, 0.35, 0.34, 0.33, 0.32, 0.31, 0.30, 0.22, 0.18], np.float32)
_CIRRUS_BRIGHTNESS = 0.55
_SHADOW_COOLING = 4.0  # K, of the full shadow with the sun overhead
_CIRRUS_TEMPERATURE = 228.0  # K


@dataclass(frozen=True)
class Cloudscape:
    """The clouds of a place.

    `cloudiness`: mean share of the sky under cloud, in [0, 1]; `size`: of clouds, relative to the default (structures
    of 0.7 to 2.2 km); `cirrus`: share of the images with cirrus when the sky is cloudy.
    """

    cloudiness: float = 0.5
    size: float = 1.0
    cirrus: float = 0.35


@dataclass(frozen=True)
class Clouds:
    """The cloud field over a scene and around it, from which views can be cut.

    Attributes:
        field: thickness field, periodic; clouds are where it exceeds `level`.
        cirrus_field: the same for cirrus; where it exceeds `cirrus_level`.
        height: of the clouds above ground, m.
    """

    field: Map
    level: float
    cirrus_field: Map
    cirrus_level: float
    height: float

    def thickness(self, shape: tuple[int, int], south: float = 0.0, east: float = 0.0) -> Map:
        """Optical thickness [h, w] over a scene of 10 m pixels, clouds moved south and east (m)."""
        rows = ((np.arange(shape[0]) + 0.5) * PIXEL - south) / _STEP
        cols = ((np.arange(shape[1]) + 0.5) * PIXEL - east) / _STEP
        above = np.maximum(sample(self.field, rows, cols) - np.float32(self.level), 0)
        return np.asarray(9.0 * above * np.sqrt(above), np.float32)

    def opacity(self, shape: tuple[int, int], south: float = 0.0, east: float = 0.0) -> Map:
        """Share of the light that the clouds stop, [h, w] in [0, 1); arguments as `thickness`."""
        return 1 - np.exp(-self.thickness(shape, south, east))

    def cirrus(self, shape: tuple[int, int]) -> Map:
        """Share of the light that cirrus stops, [h, w] in [0, 0.45): long streaks."""
        rows, cols = ((np.arange(side) + 0.5) * PIXEL / _STEP for side in shape)
        above = np.maximum(sample(self.cirrus_field, rows, cols) - np.float32(self.cirrus_level), 0)
        return np.asarray(0.45 * (1 - np.exp(-0.5 * above)), np.float32)


@dataclass(frozen=True)
class Sky:
    """What is between sun, surface and sensor, on the 10 m grid [h, w].

    `opacity`, `cirrus`: share of the view that clouds and cirrus hide, in [0, 1]; `shadow`: share of the direct
    sunlight that clouds stop; `brightness`: reflectance of the clouds; `cloud_temperature`: of their tops, kelvin.
    """

    opacity: Map
    cirrus: Map
    shadow: Map
    brightness: Map
    cloud_temperature: float

    def over_reflectance(self, surface: Mapping[str, Map]) -> dict[str, Map]:
        """Reflectances [h, w] by band of `spectra.BANDS`, as seen through this sky."""
        return {band: self._over_band(values, BANDS.index(band)) for band, values in surface.items()}

    def over_temperature(self, surface: Map, sun: Sun) -> Map:
        """Surface temperature [h, w] (kelvin) as retrieved through this sky."""
        cooled = surface - _SHADOW_COOLING * max(sun.height, 0) * self.shadow
        veiled = cooled + self.opacity * (self.cloud_temperature - cooled)
        return np.asarray(veiled + 0.5 * self.cirrus * (_CIRRUS_TEMPERATURE - veiled), np.float32)

    def _over_band(self, surface: Map, b: int) -> Map:
        lit = surface * (1 - self.shadow * (1 - _SKYLIGHT[b]))
        veiled = lit + self.opacity * (self.brightness * _CLOUD_COLOUR[b] - lit)
        return np.asarray(veiled + self.cirrus * (_CIRRUS_BRIGHTNESS * _CIRRUS_COLOUR[b] - veiled), np.float32)


def make_clouds(
    rng: np.random.Generator, shape: tuple[int, int], cover: float, kind: Cloudscape | None = None
) -> Clouds:
    """Clouds that cover a share of the sky (of the field around the scene: the scene's own share varies)."""
    kind = Cloudscape() if kind is None else kind
    side = max(next_power_of_two(round(2 * max(shape) * PIXEL / _STEP)), _SMALLEST_FIELD)
    height, wavelength, cirrus_share = rng.uniform(600, 2600), rng.uniform(700, 2200), rng.uniform(0.1, 0.9)
    has_cirrus, wind = rng.random() < kind.cirrus * cover**0.2, rng.uniform(0, np.pi)  # seldom in a fine sky
    field = _field(rng, side, 0.0 if cover < _CLEAR_SKY else cover, kind.size * wavelength, _DETAIL, 1.4, wind)
    cirrus = _field(rng, side, cirrus_share if has_cirrus else 0.0, 450.0, _CIRRUS_DETAIL, 6.0, wind + 0.4)
    return Clouds(*field, *cirrus, float(height))


def sky_of(clouds: Clouds, shape: tuple[int, int], sun: Sun, air_temperature: float) -> Sky:
    """The sky over a scene of `shape` 10 m pixels."""
    south, east = sun.shift(clouds.height)
    thickness = clouds.thickness(shape)
    towards_sun = clouds.thickness(shape, 80 * sun.away[0], 80 * sun.away[1])
    # sides that face the sun are brighter: where the cloud is thinner on the sun's side
    relief = np.tanh((thickness - towards_sun) / 6)
    brightness = 0.36 + 0.40 * (1 - np.exp(-thickness / 9)) + 0.10 * relief
    top = air_temperature - 0.0065 * clouds.height - 6.0
    return Sky(
        1 - np.exp(-thickness), clouds.cirrus(shape), clouds.opacity(shape, south, east),
        brightness.astype(np.float32), float(top),
    )  # fmt: skip


def _field(rng: np.random.Generator, side: int, share: float, *form: float) -> tuple[Map, float]:
    """A field (`form` as in `periodic_field`) and the level that a share of it exceeds; only zeros if that is 0."""
    if share == 0:
        return np.zeros((1, 1), np.float32), 1.0
    field = periodic_field(rng, side, _STEP, *form)
    if share >= _OVERCAST:
        return field, float(field.min()) - 2.0
    return field, float(np.quantile(field, 1 - share))
