"""Two instruments: from the surface on the 10 m grid to what each delivers.

A band of native resolution R is blurred with the Gaussian of its MTF at Nyquist, sampled at R, and interpolated to
the grid that the product is delivered on (Sentinel-2: 20 m bands on the 10 m grid; Landsat: 90 m temperature on the
30 m grid). Noise is added to the native samples, so that it is correlated where the pixels are interpolated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from sitsfusion.ops.mtf import degrade, psf_taps
from sitsfusion.ops.resample import bicubic
from sitsfusion.sensors import Encoding, Sensor, get
from sitsfusion.simulate.landscape import PIXEL

Image = NDArray[np.float32]  # [c, h, w]
TEMPERATURE = "LST"
_REFLECTANCE = (0.0, 1.2)  # what nature stays in, except for glints


@dataclass(frozen=True)
class Response:
    """How a band sees the surface: `gain * r + offset`, r the reflectance in band `source` of `spectra.BANDS`."""

    source: str
    gain: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Instrument:
    """A sensor and its orbit.

    Attributes:
        sensor: bands with resolution, MTF and encoding.
        responses: of each reflectance band delivered, in order.
        thermal: whether surface temperature (`LST`) follows as the last band.
        step: pixel of the delivered grid, in 10 m pixels.
        platforms: satellites that take turns, by the names of the products' files.
        local_hour: mean local solar time of the images.
        baseline: processing baseline, or None.
        noise_floor, noise_gain: standard deviation of the noise, reflectance, and per reflectance.
        noise_kelvin: standard deviation of the noise of temperature.
    """

    sensor: Sensor
    responses: Mapping[str, Response]
    thermal: bool
    step: int
    platforms: Mapping[str, str]
    local_hour: float
    baseline: str | None
    noise_floor: float
    noise_gain: float
    noise_kelvin: float = 0.0

    @property
    def bands(self) -> tuple[str, ...]:
        """Keys of the bands delivered."""
        return (*self.responses, *([TEMPERATURE] if self.thermal else []))

    @property
    def sources(self) -> tuple[str, ...]:
        """The bands of `spectra.BANDS` that the reflectance bands are made of."""
        return tuple(response.source for response in self.responses.values())

    @cached_property
    def encodings(self) -> tuple[Encoding, ...]:
        """How the product stores them."""
        return self.sensor.stored(self.bands, self.baseline)

    @property
    def native(self) -> tuple[int, ...]:
        """For each band, how many delivered pixels wide its real pixel is."""
        return tuple(size // self.step for size in self._native_pixels)

    @cached_property
    def wavelengths(self) -> NDArray[np.float64]:
        """Centres of the reflectance bands, nm."""
        return np.array([self.sensor.band(key).wavelength or np.nan for key in self.responses])

    def respond(self, reflectance: Mapping[str, NDArray[np.float32]]) -> Image:
        """Reflectances [h, w] by band of `spectra.BANDS` -> this sensor's bands [c, h, w], kept in 0 to 1.2."""
        parts = [r.gain * reflectance[r.source] + r.offset for r in self.responses.values()]
        return np.clip(np.stack(parts), *_REFLECTANCE).astype(np.float32, copy=False)

    def observe(self, values: Image, rng: np.random.Generator | None = None) -> Image:
        """What the instrument delivers of `values` [c, h, w] on the 10 m grid: [c, h / step, w / step].

        Optics and sampling; with `rng` also noise. Reflectance or kelvin in, the same out. h and w must be multiples
        of `step`; where they hold no whole number of native pixels the last row and column are repeated.
        """
        sizes, taps = self._native_pixels, self._taps
        shape = tuple(side // self.step for side in values.shape[1:])
        out = np.empty((len(sizes), *shape), np.float32)
        for size in sorted(set(sizes)):
            at = [i for i, s in enumerate(sizes) if s == size]
            native = _sample(torch.from_numpy(values[at]), taps[at], size)
            if rng is not None:
                native = self._noisy(native, at, rng)
            delivered = bicubic(native, self.step / size) if size > self.step else native
            out[at] = delivered[..., : shape[0], : shape[1]].numpy()
        return out

    def encode(self, values: Image) -> NDArray[np.generic]:
        """Physical values [c, h, w] as the product stores them; what does not fit is saturated, as in products."""
        pairs = zip(self.encodings, values, self.bands, strict=True)
        return np.stack([e.encode(np.clip(v, *e.limits()), band) for e, v, band in pairs])

    def noise(self, values: Image, at: list[int]) -> Image:
        """Standard deviation of the noise of native samples [c, h, w] of the bands number `at`."""
        sigma: Image = np.hypot(self.noise_floor, self.noise_gain * values).astype(np.float32)
        sigma[[self.bands[i] == TEMPERATURE for i in at]] = self.noise_kelvin
        return sigma

    def _noisy(self, native: torch.Tensor, at: list[int], rng: np.random.Generator) -> torch.Tensor:
        values = native.numpy()
        return torch.from_numpy(values + self.noise(values, at) * rng.standard_normal(values.shape, np.float32))

    @cached_property
    def _native_pixels(self) -> list[int]:
        return [max(self.step, round(self.sensor.band(key).resolution / PIXEL)) for key in self.bands]

    @cached_property
    def _taps(self) -> torch.Tensor:
        found = [self.sensor.band(key) for key in self.bands]
        return psf_taps(PIXEL, [b.resolution for b in found], [b.mtf for b in found])


def _sample(values: torch.Tensor, taps: torch.Tensor, size: int) -> torch.Tensor:
    """Blur and sample every `size` pixels: [c, h, w] -> [c, ceil(h / size), ceil(w / size)]."""
    if size == 1:
        return values
    bottom, right = (-side % size for side in values.shape[1:])
    padded = F.pad(values[None], (0, right, 0, bottom), mode="replicate")[0]
    return degrade(padded, taps, size)


SENTINEL2 = Instrument(
    sensor=get("sentinel-2-l2a"),
    responses={b: Response(b) for b in ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")},
    thermal=False, step=1, platforms={"S2A": "Sentinel-2A", "S2B": "Sentinel-2B"}, local_hour=11.1,
    baseline="05.10", noise_floor=0.0010, noise_gain=0.008,
)  # fmt: skip
# From Sentinel-2 to Landsat bands: adjustment of the Harmonized Landsat Sentinel-2 product (Claverie et al., 2018,
# table 5), taken as the true difference of the two spectral responses.
LANDSAT = Instrument(
    sensor=get("landsat-8-9-c2-l2"),
    responses={
        "B01": Response("B01", 0.9959, -0.0002), "B02": Response("B02", 0.9778, -0.0040),
        "B03": Response("B03", 1.0053, -0.0009), "B04": Response("B04", 0.9765, 0.0009),
        "B05": Response("B8A", 0.9983, -0.0001), "B06": Response("B11", 0.9987, -0.0011),
        "B07": Response("B12", 1.0030, -0.0012),
    },
    thermal=True, step=3, platforms={"LC08": "Landsat 8", "LC09": "Landsat 9"}, local_hour=10.8,
    baseline=None, noise_floor=0.0006, noise_gain=0.005, noise_kelvin=0.25,
)  # fmt: skip
INSTRUMENTS: Mapping[str, Instrument] = {"fine": SENTINEL2, "coarse": LANDSAT}
