"""Small folders of GeoTIFFs as users have them, and small cubes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sitsfusion import sensors
from sitsfusion.cube import Cube

CRS = "EPSG:32631"
CORNER = (500_000.0, 5_600_000.0)
S2_BANDS = ("B02", "B03", "B04", "B08")
S2_20M = ("B05", "B11")
S2, L8 = "sentinel-2-l2a", "landsat-8-9-c2-l2"
VEGETATION, CLOUD = 4, 9


def grid(
    height: int, width: int, pixel: float = 10.0, shift: tuple[float, float] = (0.0, 0.0), crs: str = CRS
) -> GeoBox:
    """Upper left corner at `CORNER` moved by `shift` metres (x to the east, y to the south)."""
    affine = Affine(pixel, 0, CORNER[0] + shift[0], 0, -pixel, CORNER[1] - shift[1])
    return GeoBox((height, width), affine, crs)


def numbers(seed: int, *shape: int, low: int = 100, high: int = 4000, dtype: str = "uint16") -> NDArray:
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def write_image(
    path: Path,
    image: NDArray,
    box: GeoBox | None = None,
    *,
    names: Sequence[str] = (),
    nodata: float | None = None,
    scale: float | None = None,
    offset: float = 0.0,
    tags: dict[str, str] | None = None,
    crs: str | None = CRS,
    compress: str | None = None,
) -> Path:
    """One GeoTIFF of an image [c, h, w] or [h, w]; default grid: 10 m from `CORNER`."""
    bands = image if image.ndim == 3 else image[None]
    box = box or grid(*bands.shape[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype,
        crs=crs and str(box.crs), transform=box.affine, nodata=nodata,
        compress=compress,
    ) as file:  # fmt: skip
        file.write(bands)
        file.update_tags(**(tags or {}))
        if scale is not None:
            file.scales, file.offsets = (scale,) * len(bands), (offset,) * len(bands)
        for i, name in enumerate(names, start=1):
            file.set_band_description(i, name)
    return path


def write_stacks(
    folder: Path, days: Sequence[str], size: int = 12, bands: Sequence[str] = S2_BANDS
) -> dict[str, NDArray]:
    """One described multi-band uint16 file per day, as S2_YYYYMMDD.tif; returns the numbers by day."""
    written = {}
    for seed, day in enumerate(days):
        written[day] = numbers(seed, len(bands), size, size)
        write_image(folder / f"S2_{day}.tif", written[day], names=bands, nodata=0)
    return written


def cube(
    days: Sequence[date],
    box: GeoBox | None = None,
    *,
    sensor: str = S2,
    bands: Sequence[str] = ("B04", "B08"),
    seed: int = 0,
    gaps: float = 0.0,
    clouds: float = 0.0,
) -> Cube:
    """A cube of noise in [0, 1): a share `gaps` of its values is NaN, a share `clouds` of its pixels is not valid."""
    box = box or grid(12, 15)
    rng = np.random.default_rng(seed)
    values = rng.random((len(days), len(bands), *box.shape)).astype(np.float32)
    values[rng.random(values.shape) < gaps] = np.nan
    valid = rng.random((len(days), *box.shape)) >= clouds
    return Cube.from_array(values, sensor=sensors.get(sensor), bands=bands, grid=box, dates=days, valid=valid)
