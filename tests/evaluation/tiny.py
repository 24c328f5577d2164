"""A scene without clouds whose bands are uniform and grow by the day: interpolation in time is exact."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sitsfusion import sensors
from sitsfusion.cube import Cube
from sitsfusion.scene import Scene
from tests.scenes import START, days, grid

CELLS = 10
BANDS = {"fine": ("B02", "B04", "B08"), "coarse": ("B04", "B05", "LST")}
FINE, COARSE = (0, 20, 40, 80), (5, 20, 50, 90)


def level(role: str, day: date) -> NDArray[np.float32]:
    """Values of a day, one per band: [c]."""
    n = (day - START).days
    return np.array([0.1 + n / 1000, 0.2 + n / 1000, 290 + n / 10 if role == "coarse" else 0.3], np.float32)


def truth(role: str, day: date) -> NDArray[np.float32]:
    """[c, H, W] on the fine grid."""
    return np.broadcast_to(level(role, day)[:, None, None], (3, 3 * CELLS, 3 * CELLS)).copy()


def cube(role: str, numbers: Sequence[int]) -> Cube:
    """Images of some days after the first of 2022."""
    n = {"fine": 3, "coarse": 1}[role]
    shape = (CELLS * n, CELLS * n)
    dates = days(*numbers)
    values = np.stack([np.broadcast_to(level(role, day)[:, None, None], (3, *shape)) for day in dates])
    sensor = sensors.get({"fine": "sentinel-2-l2a", "coarse": "landsat-8-9-c2-l2"}[role])
    return Cube.from_array(values, sensor=sensor, bands=BANDS[role], grid=grid(shape, 30 / n), dates=dates)


def scene(fine: Sequence[int] = FINE, coarse: Sequence[int] = COARSE, name: str = "tiny") -> Scene:
    """Four images of each sensor; one day in common."""
    return Scene({"fine": cube("fine", fine), "coarse": cube("coarse", coarse)}, name=name)
