"""Small made-up scenes, and sources that count or refuse what is read of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sitsfusion import sensors
from sitsfusion.cube import Cube, Source, Stored
from sitsfusion.errors import ReadError
from sitsfusion.grid import Window
from sitsfusion.scene import Scene

START = date(2022, 1, 1)
CORNER = (600_000.0, 5_000_000.0)


def days(*numbers: int) -> tuple[date, ...]:
    """Dates so many days after the first of the scenes."""
    return tuple(START + timedelta(n) for n in numbers)


def grid(
    shape: tuple[int, int], step: float, crs: str | None = "EPSG:32631", corner: tuple[float, float] = CORNER
) -> GeoBox:
    """A north-up grid with square pixels."""
    return GeoBox(shape, Affine(step, 0, corner[0], 0, -step, corner[1]), crs)


def images(dates: int, bands: Sequence[str], shape: tuple[int, int], seed: int) -> tuple[NDArray, NDArray]:
    """Reflectances (kelvin for LST) with clouds over a third of the pixels, a corner never observed and, from the
    third date on, one date without data: values [t, c, h, w] and valid [t, h, w]."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.02, 0.5, (dates, len(bands), *shape)).astype(np.float32)
    for c, band in enumerate(bands):
        if band == "LST":
            values[:, c] = 280 + 40 * values[:, c]
    valid = rng.random((dates, *shape)) > 0.3
    values[:, :, :2, :2] = np.nan
    if dates > 2:
        values[2] = np.nan
    return values, valid


def cube(
    role: str,
    dates: Sequence[int],
    cells: tuple[int, int],
    *,
    per_cell: int | None = None,
    bands: Sequence[str] | None = None,
    seed: int = 0,
    crs: str | None = "EPSG:32631",
) -> Cube:
    """A cube of 30 m cells: `fine` is Sentinel-2 at 10 m, `coarse` Landsat at 30 m."""
    n = per_cell or {"fine": 3, "coarse": 1}[role]
    keys = bands or {"fine": ("B02", "B08"), "coarse": ("B04", "LST")}[role]
    sensor = sensors.get({"fine": "sentinel-2-l2a", "coarse": "landsat-8-9-c2-l2"}[role])
    shape = (cells[0] * n, cells[1] * n)
    values, valid = images(len(dates), keys, shape, seed + len(role))
    return Cube.from_array(
        values, sensor=sensor, bands=keys, grid=grid(shape, 30 / n, crs), dates=days(*dates), valid=valid
    )


def scene(cells: tuple[int, int] = (40, 50), seed: int = 0, crs: str | None = "EPSG:32631") -> Scene:
    """Four 10 m and four 30 m images."""
    return Scene(
        {
            "fine": cube("fine", (0, 5, 10, 17), cells, seed=seed, crs=crs),
            "coarse": cube("coarse", (3, 5, 12, 30), cells, seed=seed, crs=crs),
        },
        name="made-up",
    )


def coarse_scene(cells: tuple[int, int] = (100, 70), seed: int = 0) -> Scene:
    """30 m images only: a cell is a pixel."""
    return Scene({"coarse": cube("coarse", (0, 4, 9), cells, seed=seed)}, name="made-up")


def fine_scene(cells: tuple[int, int] = (20, 24), seed: int = 0) -> Scene:
    """Images of one sensor only: a cell is a pixel."""
    return Scene({"fine": cube("fine", (0, 5, 10, 17), cells, per_cell=1, seed=seed)}, name="made-up")


@dataclass
class Spy:
    """A source that counts what is read of another, and fails where it is told to.

    `reads`: by date and window, how often; `broken`: dates of the source that cannot be read in windows that contain
    the pixel given.
    """

    source: Source
    reads: Counter[tuple[int, Window]] = field(default_factory=Counter)
    broken: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        self.reads[t, window] += 1
        row, col = self.broken.get(t, (-1, -1))
        if window.row <= row < window.row + window.height and window.col <= col < window.col + window.width:
            raise ReadError(f"image-{t}.tif cannot be read (it is cut short); download it again")
        return self.source.read(t, bands, window)

    def fingerprint(self, t: int) -> Mapping[str, object]:
        return self.source.fingerprint(t)


def spied(
    place: Scene, broken: Mapping[str, Mapping[int, tuple[int, int]]] | None = None
) -> tuple[Scene, dict[str, Spy]]:
    """The same scene with every cube watched."""
    spies = {role: Spy(c.source, broken=(broken or {}).get(role, {})) for role, c in place.cubes.items()}
    return replace(place, cubes={role: replace(c, source=spies[role]) for role, c in place.cubes.items()}), spies
