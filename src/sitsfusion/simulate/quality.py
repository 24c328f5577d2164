"""Quality layers as the products have them: mostly right.

They are made from the true sky, seen at the layer's own resolution, with the errors that real ones have: thin
cloud and cloud edges missed, a level of suspicion that changes from image to image, shadows sought at a wrong cloud
height, bright roofs taken for clouds and dark woods for shadows.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sitsfusion.simulate.clouds import Clouds, Sky
from sitsfusion.simulate.landscape import PIXEL
from sitsfusion.simulate.noise import Map, field
from sitsfusion.simulate.sun import Sun

Flags = NDArray[np.bool_]

SCL_PIXELS, QA_PIXELS = 2, 3  # 10 m pixels along a side of a pixel of the layer
FILL = {"fine": 0, "coarse": 1}  # of the layer where nothing was observed: no data (SCL), fill bit (QA_PIXEL)
_UNREST = 0.05  # standard deviation, between images, of how suspicious a detector is


@dataclass(frozen=True)
class Detector:
    """How well a role's cloud masks are made at a place.

    Attributes:
        suspicion: added to the opacity of everything; positive finds more clouds than there are, negative fewer.
        missed: share of the area where clouds are not found at all, in patches that change from image to image.
        false: share of the area taken for cloud though it is clear, in patches.
        margin: pixels of the layer around a cloud that are flagged too.
    """

    suspicion: float = 0.0
    missed: float = 0.0
    false: float = 0.0
    margin: int = 0


@dataclass(frozen=True)
class Detection:
    """What a detector believes, at the resolution of its layer [h, w]: flags, and indices of the land below.

    `thick`: cloud of which it is certain; `near`: beside a cloud; `water`, `dark`, `green`: of the pixels as they look.
    """

    cloud: Flags
    thick: Flags
    cirrus: Flags
    shadow: Flags
    near: Flags
    snow: Flags
    water: Flags
    dark: Flags
    green: Flags


def detect(
    clouds: Clouds,
    sky: Sky,
    sun: Sun,
    seen: dict[str, Map],
    rng: np.random.Generator,
    pixels: int,
    detector: Detector,
    snow: bool = False,
) -> Detection:
    """Detect on pixels of `pixels` x `pixels` 10 m pixels.

    `seen`: noise-free reflectance [h, w] through the sky, on the 10 m grid, of Sentinel-2's B03, B04, B8A, B11 and
    B12. `snow`: whether there can be any.
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
    mood = 0.07 * here + np.float32(rng.normal(0, _UNREST) + detector.suspicion)
    white = _snow(seen, pixels) if snow else np.zeros(opacity.shape, bool)
    bright = (green > 0.23) & (mood > np.where(white, 0.10, 0.03))
    cloud = ((opacity + mood > 0.28) & ~(here < _level(detector.missed))) | bright
    cloud |= -here < _level(detector.false)
    shadow = ~cloud & (shade + 0.5 * mood > 0.40) & (nir < 0.30)
    near = _grow(cloud, detector.margin) & ~cloud if detector.margin else np.zeros_like(cloud)
    return Detection(
        cloud=cloud,
        near=near,
        snow=white & ~cloud,
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
    classes[found.snow] = 11
    classes[found.shadow] = 3
    classes[found.cirrus] = 10
    classes[found.cloud | found.near] = 8
    classes[found.cloud & found.thick] = 9
    return classes


def qa_pixel(found: Detection) -> NDArray[np.uint16]:
    """The Landsat Collection 2 QA_PIXEL layer: [h, w] of bits, confidences included."""
    dilated = found.near
    bits = {1: dilated, 2: found.cirrus, 3: found.cloud, 4: found.shadow, 5: found.snow, 7: found.water}
    bits[6] = ~(found.cloud | dilated)
    layer = np.zeros(found.cloud.shape, np.uint16)
    for bit, flag in bits.items():
        layer |= flag.astype(np.uint16) << np.uint16(bit)
    # confidences: 1 low, 2 medium, 3 high
    confidences = {
        8: 1 + dilated + 2 * found.cloud,
        10: 1 + 2 * found.shadow,
        12: 1 + 2 * found.snow,
        14: 1 + 2 * found.cirrus,
    }
    for bit, confidence in confidences.items():
        layer |= confidence.astype(np.uint16) << np.uint16(bit)
    return layer


def _snow(seen: dict[str, Map], pixels: int) -> Flags:
    """White ground that is dark in the short-wave infrared (normalised difference snow index above 0.4)."""
    green, nir, swir = (_coarsen(seen[band], pixels) for band in ("B03", "B8A", "B11"))
    return np.asarray((green - swir > 0.4 * (green + swir)) & (green > 0.2) & (nir > 0.15))


def _level(share: float) -> float:
    """What a share of the values of a Gaussian field of mean 0 and variance 1 lie below."""
    return NormalDist().inv_cdf(share) if share else -np.inf


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
