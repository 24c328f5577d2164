"""What spoils the images of one role at one place, other than clouds: haze, calibration, viewing angle, registration.

None of it is truth: it changes from image to image, or from orbit to orbit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from sitsfusion.simulate.landscape import PIXEL, Landscape
from sitsfusion.simulate.noise import Map, periodic_field, sample, stream
from sitsfusion.simulate.orbits import Orbits
from sitsfusion.simulate.quality import Detector
from sitsfusion.simulate.sensors import Image, Instrument, Response
from sitsfusion.simulate.spectra import BANDS, SHADE
from sitsfusion.simulate.sun import Sun

_HAZE_SIDE, _HAZE_STEP, _HAZE_WAVE = 64, 200.0, 3000.0  # pixels, m, m of the patches of haze
#                       B01   B02   B03   B04   B05   B06   B07   B08   B8A   B11   B12
_VIEW_COLOUR = np.array([0.70, 0.72, 0.75, 0.82, 0.86, 0.95, 1.00, 1.00, 1.00, 0.88, 0.82], np.float32)


@dataclass(frozen=True)
class Sensing:
    """How the images of one role come about. The defaults are clean: the errors that good products have.

    Attributes:
        orbits: when the satellites pass, and what their swaths leave out.
        detector: how well clouds are found.
        haze: standard deviation of what atmospheric correction leaves, reflectance at 490 nm.
        haze_patches: variation of it inside an image, relative to its mean.
        gain: standard deviation of the calibration of an image, relative.
        kelvin: standard deviation of the error of temperature of an image.
        view: how much brighter (relative) rough land looks from one orbit than the mean of both, sun at 45 degrees.
        shift: standard deviation of the misregistration of an image, m, in each direction.
        noise: of the instrument, relative to the default's.
        responses: of the bands, where they differ from the instrument's default.
    """

    orbits: Orbits
    detector: Detector
    haze: float = 0.0025
    haze_patches: float = 0.0
    gain: float = 0.006
    kelvin: float = 0.5
    view: float = 0.0
    shift: float = 0.0
    noise: float = 1.0
    responses: Mapping[str, Response] | None = None

    def instrument(self, usual: Instrument) -> Instrument:
        """The instrument with the noise and responses of this place."""
        return replace(
            usual, responses=self.responses or usual.responses,
            noise_floor=self.noise * usual.noise_floor, noise_gain=self.noise * usual.noise_gain,
            noise_kelvin=self.noise * usual.noise_kelvin,
        )  # fmt: skip


def seen_from(reflectance: Mapping[str, Map], rough: Map, sun: Sun, view: float) -> dict[str, Map]:
    """Reflectance [h, w] by band of `spectra.BANDS` from a direction other than the mean one.

    Towards the sun rough land shows its lit side, away from it its shadows: a smooth factor, larger in the near
    infrared, where the sun is low and where the land is `rough` [h, w] (see `roughness`). `view` as in `Sensing`,
    negative from the other side.
    """
    strength = view * (1 + 0.5 * (0.7 - sun.height))
    colours = {band: strength * float(_VIEW_COLOUR[BANDS.index(band)]) for band in reflectance}
    return {band: values * (1 + np.float32(colours[band]) * rough) for band, values in reflectance.items()}


def roughness(land: Landscape) -> Map:
    """How strongly land looks different from another direction, [h, w] from 0.5 (smooth) to 1 (woods, houses)."""
    return 0.5 + 0.5 * land.to_pixels((SHADE[land.cover] / SHADE.max())[land.parcel])


def haze_patches(shape: tuple[int, int], seed: int, role: str, day: date) -> Map:
    """Unevenness of the haze of an image, [h, w] of mean 0 and variance 1 over a larger area."""
    field = periodic_field(stream(seed, "haze patches", role, day), _HAZE_SIDE, _HAZE_STEP, _HAZE_WAVE, 2.5)
    rows, cols = (np.arange(side) * (PIXEL / _HAZE_STEP) for side in shape)
    return sample(field, rows, cols)


def moved(values: Image, south: float, east: float) -> Image:
    """An image [c, h, w] whose content lies `south` and `east` (in pixels) of where it was; its edges are repeated.

    Cubic convolution (Keys, 1981); the fraction of a pixel may be any.
    """
    return _moved(_moved(values, south, axis=1), east, axis=2)


def _moved(values: Image, pixels: float, axis: int) -> Image:
    if pixels == 0:
        return values
    whole = int(np.floor(-pixels))
    t = -pixels - whole
    weights = (
        -0.5 * t**3 + t**2 - 0.5 * t,
        1.5 * t**3 - 2.5 * t**2 + 1,
        -1.5 * t**3 + 2 * t**2 + 0.5 * t,
        0.5 * t**3 - 0.5 * t**2,
    )
    side, room = values.shape[axis], abs(whole) + 2
    padded = np.pad(values, [(room, room) if a == axis else (0, 0) for a in range(3)], mode="edge")
    found = np.zeros_like(values)
    for k, weight in enumerate(weights):
        start = room + whole + k - 1
        found += np.float32(weight) * padded[(slice(None),) * axis + (slice(start, start + side),)]
    return found
