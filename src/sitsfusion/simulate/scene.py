"""A simulated scene: the images of a year as a `Scene`, beside their truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.warp import transform

from sitsfusion.cube import Cube
from sitsfusion.errors import InputError
from sitsfusion.scene import Scene
from sitsfusion.simulate.acquire import Place
from sitsfusion.simulate.clouds import Sky
from sitsfusion.simulate.landscape import PIXEL
from sitsfusion.simulate.sensors import INSTRUMENTS
from sitsfusion.simulate.world import World

_ZONE, _LONGITUDE = 31, 3.031221  # where all places lie: the middle of a UTM zone
_EAST = 502_200.0  # m, of the upper left corner, a multiple of 30 m as the other coordinate
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
        shape = (len(dates), len(self.place.instrument(role).bands), *self.place.shape)
        out = np.empty(shape, np.float32)
        for t, day in enumerate(dates):
            out[t] = self.place.truth(role, day)
        return out

    def sky(self, role: str, day: date) -> Sky:
        """The true clouds, shadows and cirrus of an image, on the 10 m grid."""
        return self.place.sky(role, day)


def simulate_scene(
    size: int | tuple[int, int] = 240,
    *,
    year: int = 2022,
    seed: int = 0,
    cloudiness: float | None = None,
    world: World | None = None,
) -> Simulated:
    """A year of Sentinel-2 and Landsat 8 and 9 over a landscape made from a seed.

    The same arguments give the same numbers. Neither `cloudiness` nor the dates asked for change the truth.

    Args:
        size: side, or (rows, columns), in pixels of 10 m; multiples of 3.
        year: of the images.
        seed: of the landscape and the weather; 0 or more.
        cloudiness: mean share of the sky under cloud, from 0 (always clear) to 1 (always overcast); by default that
            of the world.
        world: what kind of place it is: climate, land use, colours, sensors' errors. By default `World.temperate()`,
            with Sentinel-2 every 5 days and Landsat every 8; `World.draw(seed)` is a random one.

    Raises:
        InputError: an argument out of its range.
    """
    if not 2 <= year <= 9998:
        raise InputError(f"year {year} is not between 2 and 9998")
    place = simulate_place(size, seed=seed, cloudiness=cloudiness, world=world)
    made = {role: _images(place, role, year) for role in INSTRUMENTS}
    cubes = {role: cube for role, (cube, _) in made.items()}
    return Simulated(
        Scene(cubes, name=f"simulated-{seed}"), place, {role: layers for role, (_, layers) in made.items()}
    )


def simulate_place(
    size: int | tuple[int, int] = 240,
    *,
    seed: int = 0,
    cloudiness: float | None = None,
    world: World | None = None,
) -> Place:
    """The place that `simulate_scene` takes its images of, without any image; same arguments and errors."""
    shape = (size, size) if isinstance(size, int) else size
    world = World.temperate() if world is None else world
    cloudiness = float(world.sky.cloudiness if cloudiness is None else cloudiness)
    _check(shape, seed, cloudiness)
    return Place.create(_grid(shape, world.latitude), seed, cloudiness, world)


def _grid(shape: tuple[int, int], latitude: float) -> GeoBox:
    """The 10 m pixels of a scene: its upper left corner is near a latitude, degrees north."""
    crs = f"EPSG:{(32600 if latitude >= 0 else 32700) + _ZONE}"
    _, (north,) = transform("EPSG:4326", crs, [_LONGITUDE], [latitude])
    cell = _CELL * PIXEL
    return GeoBox(shape, Affine(PIXEL, 0, _EAST, 0, -PIXEL, cell * round(north / cell)), crs)


def _images(place: Place, role: str, year: int) -> tuple[Cube, NDArray[np.integer]]:
    """The cube of a role, and the quality layers of its dates [t, h, w]."""
    what, passes, a = place.instrument(role), place.passes(role, year), place.grid.affine
    rows, cols = (side // what.step for side in place.shape)
    stored = np.empty((len(passes), len(what.bands), rows, cols), what.encodings[0].dtype)
    clear, layers, items = np.empty((len(passes), rows, cols), bool), [], []
    for t, image in enumerate(passes):
        found = place.acquire(role, *image)
        stored[t], clear[t] = found.stored, found.clear
        layers.append(found.quality)
        items.append(found.item)
    grid = GeoBox((rows, cols), Affine(a.a * what.step, 0, a.c, 0, a.e * what.step, a.f), place.grid.crs)
    cube = Cube.from_array(
        stored, sensor=what.sensor, bands=what.bands, grid=grid, dates=[image.day for image in passes],
        valid=clear, encodings=what.encodings, items=items, native=what.native,
    )  # fmt: skip
    return cube, np.stack(layers)


def _check(shape: tuple[int, int], seed: int, cloudiness: float) -> None:
    if len(shape) != 2 or any(side < _SMALLEST or side % _CELL for side in shape):
        raise InputError(
            f"a size of {shape} pixels is not possible: sides must be multiples of {_CELL} (30 m), {_SMALLEST} or more"
        )
    if seed < 0:
        raise InputError(f"seed {seed} is negative; give 0 or more")
    if not 0 <= cloudiness <= 1:
        raise InputError(f"cloudiness {cloudiness} is not a share between 0 and 1")
