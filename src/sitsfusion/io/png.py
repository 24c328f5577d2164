"""Pictures for people: 8-bit PNG files without a place on the map."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture [h, w, 3] as PNG."""
    height, width, _ = picture.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a picture has no place on the map
        with rasterio.open(path, "w", driver="PNG", count=3, height=height, width=width, dtype="uint8") as file:
            file.write(np.moveaxis(picture, -1, 0))
