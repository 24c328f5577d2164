"""Made-up scenes for coarse/fine fusion: fields that change, seen by two sensors, with clouds in corners."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sitsfusion import sensors
from sitsfusion.cube import Cube
from sitsfusion.scene import Scene
from tests.scenes import days, grid

FINE_BANDS, COARSE_BANDS = ("B02", "B03", "B8A"), ("B02", "B03", "B05")
FINE_DAYS, COARSE_DAYS = (0, 10, 21), (0, 4, 5, 10, 21)


SIDE = 8


def truth(day: int, shape: tuple[int, int], seed: int, bands: int = 3) -> NDArray[np.float64]:
    """Reflectances [b h w] of fields of 8 x 8 pixels, each with a line in time of its own, and fixed texture."""
    rng = np.random.default_rng(seed)
    fields = (-(-shape[0] // SIDE), -(-shape[1] // SIDE))
    level, slope = rng.uniform(0.1, 0.4, (bands, *fields)), rng.uniform(-0.004, 0.004, (bands, *fields))
    image = np.kron(level + slope * day, np.ones((SIDE, SIDE)))[:, : shape[0], : shape[1]]
    return image + rng.normal(0, 0.01, image.shape)


def block_mean(image: NDArray[np.float64], ratio: int) -> NDArray[np.float64]:
    b, h, w = image.shape
    return image.reshape(b, h // ratio, ratio, w // ratio, ratio).mean((2, 4))


def corner_clouds(shape: tuple[int, int], number: int) -> NDArray[np.bool_]:
    """Valid [h w]: a ninth of the image, in a corner that depends on the number, is cloudy; never all of it."""
    valid = np.ones(shape, bool)
    height, width = (side // 3 for side in shape)
    rows = slice(0, height) if number % 2 else slice(shape[0] - height, shape[0])
    columns = slice(0, width) if number // 2 % 2 else slice(shape[1] - width, shape[1])
    valid[rows, columns] = False
    return valid


def pair_scene(
    cells: tuple[int, int],
    seed: int = 0,
    *,
    fine: Sequence[int] = FINE_DAYS,
    coarse: Sequence[int] = COARSE_DAYS,
    clouds: bool = True,
    native: int = 1,
) -> Scene:
    """10 m and 30 m images of the same truth. With `native` 2, a real coarse pixel is two of its grid's pixels wide."""
    shape = (cells[0] * 3, cells[1] * 3)
    fine_values = np.stack([truth(d, shape, seed) for d in fine])
    coarse_values = np.stack([block_mean(truth(d, shape, seed), 3) for d in coarse])
    masks = [
        np.stack([corner_clouds(s, i) if clouds else np.ones(s, bool) for i in range(n)])
        for s, n in ((shape, len(fine)), (cells, len(coarse)))
    ]
    return Scene(
        {
            "fine": Cube.from_array(
                fine_values.astype(np.float32),
                sensor=sensors.get("sentinel-2-l2a"),
                bands=FINE_BANDS,
                grid=grid(shape, 10),
                dates=days(*fine),
                valid=masks[0],
            ),
            "coarse": Cube.from_array(
                coarse_values.astype(np.float32),
                sensor=sensors.get("landsat-8-9-c2-l2"),
                bands=COARSE_BANDS,
                grid=grid(cells, 30),
                dates=days(*coarse),
                valid=masks[1],
                native=(native,) * len(COARSE_BANDS),
            ),
        },
        name="made-up",
    )
