"""A simulated scene: the images of a year as a `Scene`, beside their truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sitsfusion.cube import Cube
from sitsfusion.errors import InputError
from sitsfusion.scene import Scene
from sitsfusion.simulate.acquire import Acquisition, Place, instrument, passes
from sitsfusion.simulate.clouds import Sky
from sitsfusion.simulate.landscape import PIXEL
from sitsfusion.simulate.sensors import INSTRUMENTS
from sitsfusion.simulate.surface import Surface

_CRS = "EPSG:32631"
_CORNER = (502_200.0, 5_628_000.0)  # upper left, multiples of 30 m: 3 degrees east, 50.8 north
_CELL = 3  # 10 m pixels along a side of a cell of 30 m
_SMALLEST = 12  # pixels: the point spread function of the temperature must fit in


@dataclass(frozen=True)
class Simulated:
    """A scene of simulated images and what they are images of.

    Attributes:
        scene: roles `fine` (Sentinel-2 level 2A, ten bands on 10 m) and `coarse` (Landsat 8 and 9 Collection 2 level
            2, seven bands and temperature on 30 m), stored as the products store them, with imperfect cloud masks.
        place: makes truth, sky and images of any day.
        quality: the masks' quality layers by role, [t, h, w]: SCL at 20 m, QA_PIXEL at 30 m.
    """

    scene: Scene
    place: Place
    quality: Mapping[str, NDArray[np.integer]]

    def truth(self, role: str, dates: Sequence[date]) -> NDArray[np.float32]:
        """The surface without clouds or noise at any dates: [t, c, H, W] on the 10 m grid.

        Bands as those of the role's cube, in its units (reflectance, kelvin). For `coarse` too this is the surface
        at 10 m, before the sensor's optics. The light is that of the hour at which the role's satellites pass.

        Raises:
            InputError: a role other than `fine` or `coarse`.
        """
        shape = (len(dates), len(instrument(role).bands), *self.place.shape)
        out = np.empty(shape, np.float32)
        for t, day in enumerate(dates):
            out[t] = self.place.truth(role, day)
        return out

    def sky(self, role: str, day: date) -> Sky:
        """The true clouds, shadows and cirrus of an image, on the 10 m grid."""
        return self.place.sky(role, day)


def simulate_scene(
    size: int | tuple[int, int] = 240, *, year: int = 2022, seed: int = 0, cloudiness: float = 0.5
) -> Simulated:
    """A year of Sentinel-2 (every 5 days) and Landsat 8 and 9 (every 8 days) over a landscape made from a seed.

    The same arguments give the same numbers. Neither `cloudiness` nor the dates asked for change the truth.

    Args:
        size: side, or (rows, columns), in pixels of 10 m; multiples of 3.
        year: of the images.
        seed: 0 or more.
        cloudiness: mean share of the sky under cloud, from 0 (always clear) to 1 (always overcast).

    Raises:
        InputError: an argument out of its range.
    """
    shape = (size, size) if isinstance(size, int) else size
    _check(shape, seed, year, cloudiness)
    grid = GeoBox(shape, Affine(PIXEL, 0, _CORNER[0], 0, -PIXEL, _CORNER[1]), _CRS)
    place = Place(Surface.create(shape, seed), grid, seed, float(cloudiness))
    images = {role: [(d, place.acquire(role, d, p)) for d, p in passes(role, year, seed)] for role in INSTRUMENTS}
    cubes = {role: _cube(place, role, found) for role, found in images.items()}
    quality = {role: np.stack([image.quality for _, image in found]) for role, found in images.items()}
    return Simulated(Scene(cubes, name=f"simulated-{seed}"), place, quality)


def _cube(place: Place, role: str, images: Sequence[tuple[date, Acquisition]]) -> Cube:
    what = instrument(role)
    a = place.grid.affine
    rows, cols = (side // what.step for side in place.shape)
    grid = GeoBox((rows, cols), Affine(a.a * what.step, 0, a.c, 0, a.e * what.step, a.f), place.grid.crs)
    return Cube.from_array(
        np.stack([image.stored for _, image in images]),
        sensor=what.sensor, bands=what.bands, grid=grid, dates=[day for day, _ in images],
        valid=np.stack([image.clear for _, image in images]),
        encodings=what.encodings, items=[image.item for _, image in images], native=what.native,
    )  # fmt: skip


def _check(shape: tuple[int, int], seed: int, year: int, cloudiness: float) -> None:
    if len(shape) != 2 or any(side < _SMALLEST or side % _CELL for side in shape):
        raise InputError(
            f"a size of {shape} pixels is not possible: sides must be multiples of {_CELL} (30 m), {_SMALLEST} or more"
        )
    if seed < 0:
        raise InputError(f"seed {seed} is negative; give 0 or more")
    if not 2 <= year <= 9998:
        raise InputError(f"year {year} is not between 2 and 9998")
    if not 0 <= cloudiness <= 1:
        raise InputError(f"cloudiness {cloudiness} is not a share between 0 and 1")
