"""Quality layers as the products have them: mostly right.

They are made from the true sky, seen at the layer's own resolution, with the errors that real ones have: thin
cloud and cloud edges missed, a level of suspicion that changes from image to image, shadows sought at a wrong cloud
height, bright roofs taken for clouds and dark woods for shadows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sitsfusion.simulate.clouds import Clouds, Sky
from sitsfusion.simulate.landscape import PIXEL
from sitsfusion.simulate.noise import Map, field
from sitsfusion.simulate.sun import Sun

Flags = NDArray[np.bool_]

SCL_PIXELS, QA_PIXELS = 2, 3  # 10 m pixels along a side of a pixel of the layer
_NEAR = 3  # pixels of the QA layer around a cloud that are flagged too


@dataclass(frozen=True)
class Detection:
    """What a detector believes, at the resolution of its layer [h, w]: flags, and indices of the land below.

    `thick`: cloud of which it is certain; `water`, `dark`, `green`: of the pixels as they look.
    """

    cloud: Flags
    thick: Flags
    cirrus: Flags
    shadow: Flags
    water: Flags
    dark: Flags
    green: Flags


def detect(
    clouds: Clouds, sky: Sky, sun: Sun, seen: dict[str, Map], rng: np.random.Generator, pixels: int
) -> Detection:
    """Detect on pixels of `pixels` x `pixels` 10 m pixels.

    `seen`: noise-free reflectance [h, w] through the sky, on the 10 m grid, of Sentinel-2's B03, B04, B8A and B12.
    """
    shape = sky.opacity.shape
    height_error = rng.uniform(0.75, 1.25)
    south, east = sun.shift(clouds.height * height_error)
    opacity, cirrus, green, red, nir, swir = (
        _coarsen(x, pixels) for x in (sky.opacity, sky.cirrus, seen["B03"], seen["B04"], seen["B8A"], seen["B12"])
    )
    shade = _coarsen(clouds.opacity((int(shape[0]), int(shape[1])), south, east), pixels)
    # how suspicious the detector is, here and on this date
    here = field(rng, (opacity.shape[0], opacity.shape[1]), PIXEL * pixels, 200, 1.0)
    mood = 0.07 * here + np.float32(rng.normal(0, 0.05))
    bright = (green > 0.23) & (mood > 0.03)
    cloud = (opacity + mood > 0.28) | bright
    shadow = ~cloud & (shade + 0.5 * mood > 0.40) & (nir < 0.30)
    return Detection(
        cloud=cloud,
        thick=opacity + mood > 0.65,
        cirrus=~cloud & (cirrus + 0.2 * mood > 0.055),
        shadow=shadow,
        water=(nir < 0.10) & (green > nir) & (swir < 0.05),
        dark=(nir < 0.10) & (red < 0.035) & (mood > 0.02),
        green=(nir - red) / np.maximum(nir + red, 1e-3) > 0.35,
    )


def scene_classes(found: Detection) -> NDArray[np.uint8]:
    """The Sentinel-2 scene classification (SCL): [h, w] of class numbers, later lines winning over earlier ones."""
    classes = np.full(found.cloud.shape, 5, np.uint8)  # bare
    classes[found.green] = 4
    classes[found.dark] = 2
    classes[found.water] = 6
    classes[found.shadow] = 3
    classes[found.cirrus] = 10
    classes[found.cloud] = 8
    classes[found.cloud & found.thick] = 9
    return classes


def qa_pixel(found: Detection) -> NDArray[np.uint16]:
    """The Landsat Collection 2 QA_PIXEL layer: [h, w] of bits, confidences included."""
    dilated = _grow(found.cloud, _NEAR) & ~found.cloud
    bits = {1: dilated, 2: found.cirrus, 3: found.cloud, 4: found.shadow, 7: found.water}
    bits[6] = ~(found.cloud | dilated)
    layer = np.zeros(found.cloud.shape, np.uint16)
    for bit, flag in bits.items():
        layer |= flag.astype(np.uint16) << np.uint16(bit)
    # confidences: 1 low, 2 medium, 3 high; the one of snow (bits 12-13) stays low
    confidences = {8: 1 + dilated + 2 * found.cloud, 10: 1 + 2 * found.shadow, 14: 1 + 2 * found.cirrus}
    for bit, confidence in confidences.items():
        layer |= confidence.astype(np.uint16) << np.uint16(bit)
    return layer | np.uint16(1 << 12)


def _coarsen(values: Map, pixels: int) -> Map:
    """Means of blocks [h, w] -> [ceil(h / pixels), ceil(w / pixels)], the last row and column repeated if needed."""
    padded = np.pad(values, [(0, -side % pixels) for side in values.shape], mode="edge")
    total = np.zeros([side // pixels for side in padded.shape], np.float32)
    for row, col in np.ndindex(pixels, pixels):
        total += padded[row::pixels, col::pixels]
    return np.asarray(total / pixels**2, np.float32)


def _grow(flags: Flags, pixels: int) -> Flags:
    """Flags [h, w] and every pixel within a square of `pixels` around one."""
    padded = np.pad(flags, pixels)
    side = 2 * pixels + 1
    rows = np.lib.stride_tricks.sliding_window_view(padded, side, axis=0).any(-1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, side, axis=1).any(-1))
