"""Simulated scenes as the folders of GeoTIFF files that a user would have."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sitsfusion.cube import Cube, Item
from sitsfusion.sensors import Encoding
from sitsfusion.simulate.quality import SCL_PIXELS
from sitsfusion.simulate.scene import Simulated

_PLAIN = Encoding(dtype="float32")


def write_geotiffs(simulated: Simulated, folder: str | Path, *, truth: Sequence[date] = ()) -> None:
    """Write a simulated scene as Sentinel-2 and Landsat images, and the truth at some dates.

    * `sentinel2/S2_YYYYMMDD.tif`: ten bands at 10 m, uint16, band descriptions B02 to B12, scale, offset and nodata
      tags; `sentinel2/S2_YYYYMMDD_SCL.tif`: scene classification at 20 m;
    * `landsat/LC08_YYYYMMDD_SR_B1.tif` to `SR_B7`, `ST_B10` and `QA_PIXEL` at 30 m, one file each, as USGS delivers;
      `LC09` for Landsat 9;
    * `truth/fine_YYYYMMDD.tif` and `truth/coarse_YYYYMMDD.tif` for the dates in `truth`: float32 reflectance and
      kelvin, both on the 10 m grid.

    Files that exist are overwritten.
    """
    root = Path(folder)
    for name in ("sentinel2", "landsat"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for t in range(len(simulated.scene["fine"])):
        _write_sentinel2(simulated, t, root / "sentinel2")
    for t in range(len(simulated.scene["coarse"])):
        _write_landsat(simulated, t, root / "landsat")
    write_truth(simulated, root / "truth", truth)


def write_truth(simulated: Simulated, folder: Path, dates: Sequence[date]) -> None:
    """Write the truth at some dates: `fine_YYYYMMDD.tif` and `coarse_YYYYMMDD.tif`, float32 on the 10 m grid."""
    for day in dates:
        folder.mkdir(parents=True, exist_ok=True)
        for role in simulated.scene.cubes:
            values = simulated.truth(role, [day])[0]
            path, bands = folder / f"{role}_{day:%Y%m%d}.tif", simulated.place.instrument(role).bands
            _write(path, values, simulated.place.grid, [_PLAIN] * len(values), bands)


def _write_sentinel2(simulated: Simulated, t: int, folder: Path) -> None:
    cube: Cube = simulated.scene["fine"]
    stored, stem = cube.stored(t), folder / f"S2_{cube.dates[t]:%Y%m%d}"
    _write(Path(f"{stem}.tif"), stored.values, cube.grid, stored.encodings, cube.bands, _tags(cube.items[t]))
    layer = simulated.quality["fine"][t]
    a = cube.grid.affine
    grid = GeoBox(layer.shape, type(a)(a.a * SCL_PIXELS, 0, a.c, 0, a.e * SCL_PIXELS, a.f), cube.grid.crs)
    _write(Path(f"{stem}_SCL.tif"), layer[None], grid, [Encoding(dtype="uint8", nodata=0)], ["SCL"])


def _write_landsat(simulated: Simulated, t: int, folder: Path) -> None:
    cube: Cube = simulated.scene["coarse"]
    stored, item = cube.stored(t), cube.items[t]
    for values, encoding, key in zip(stored.values, stored.encodings, cube.bands, strict=True):
        name = cube.sensor.band(key).aliases[0]  # SR_B1 ... SR_B7, ST_B10: the names of the product's files
        _write(folder / f"{item.id}_{name}.tif", values[None], cube.grid, [encoding], [name], _tags(item))
    layer = simulated.quality["coarse"][t][None]
    _write(folder / f"{item.id}_QA_PIXEL.tif", layer, cube.grid, [Encoding(dtype="uint16", nodata=1)], ["QA_PIXEL"])


def _write(
    path: Path,
    values: NDArray[Any],
    grid: GeoBox,
    encodings: Sequence[Encoding],
    names: Sequence[str],
    tags: dict[str, str] | None = None,
) -> None:
    """One GeoTIFF of bands [c, h, w] with their names and radiometry."""
    count, height, width = values.shape
    profile = {
        "driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype.name,
        "crs": str(grid.crs), "transform": grid.affine, "nodata": encodings[0].nodata,
        "compress": "deflate", "interleave": "band",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.ascontiguousarray(values))
        file.descriptions = tuple(names)
        file.scales = tuple(e.scale for e in encodings)
        file.offsets = tuple(e.offset for e in encodings)
        file.update_tags(**(tags or {}))


def _tags(item: Item) -> dict[str, str]:
    """What the image's item knows, as text tags of the file."""
    known = {
        "TIFFTAG_DATETIME": item.time and f"{item.time:%Y:%m:%d %H:%M:%S}",
        "PLATFORM": item.platform,
        "PROCESSING_BASELINE": item.baseline,
        "SUN_ZENITH": item.sun_zenith and f"{item.sun_zenith:.2f}",
        "SUN_AZIMUTH": item.sun_azimuth and f"{item.sun_azimuth:.2f}",
    }
    return {key: str(value) for key, value in known.items() if value is not None}
