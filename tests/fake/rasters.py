"""Write small raster files as the fake products need them."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray


def noise(name: str, shape: tuple[int, ...], low: int, high: int, seed: int = 0, dtype: str = "int32") -> NDArray:
    """Whole numbers in [low, high), the same for the same name and seed."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    return rng.integers(low, high, shape).astype(dtype)


def write_tiff(
    path: Path,
    values: NDArray,
    step: float | tuple[float, float],
    corner: tuple[float, float],
    crs: str = "EPSG:32631",
    nodata: float | None = None,
    tags: dict[str, str] | None = None,
) -> Path:
    """`values` [c, h, w] or [h, w]; `corner` is (left, top); `step` is the pixel (or width and height of it)."""
    bands = values if values.ndim == 3 else values[None]
    dx, dy = step if isinstance(step, tuple) else (step, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype,
        nodata=nodata, crs=crs, transform=Affine(dx, 0, corner[0], 0, -dy, corner[1]), compress="deflate",
    ) as file:  # fmt: skip
        file.write(bands)
        file.update_tags(**(tags or {}))
    return path


def write_jp2(path: Path, values: NDArray, step: float, corner: tuple[float, float], crs: str = "EPSG:32631") -> Path:
    """A lossless JPEG 2000 file of `values` [c, h, w] or [h, w]."""
    bands = values if values.ndim == 3 else values[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", count=len(bands), height=bands.shape[1], width=bands.shape[2],
        dtype=bands.dtype, crs=crs, transform=Affine(step, 0, corner[0], 0, -step, corner[1]),
        QUALITY="100", REVERSIBLE="YES", RESOLUTIONS="1",
    ) as file:  # fmt: skip
        file.write(bands)
    return path
