"""A static STAC catalogue on disk: Landsat products of levels 2 and 1, and Sentinel-2, as small COGs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.warp import transform_bounds

# Lower left of a UTM square near Toulouse, and its size in metres.
CORNER = (375_000, 4_830_000)
CELLS = (20, 24)
MS_GRID = GeoBox(CELLS, Affine(30, 0, CORNER[0], 0, -30, CORNER[1]), "EPSG:32631")
# As real products have it: the panchromatic grid begins one of its pixels inside the multispectral one.
PAN_GRID = GeoBox(
    (2 * CELLS[0] - 2, 2 * CELLS[1] - 1), Affine(15, 0, CORNER[0] + 15, 0, -15, CORNER[1] - 15), "EPSG:32631"
)
MS = ("blue", "green", "red", "nir08", "swir16", "swir22")
MTL = {"LANDSAT_METADATA_FILE": {"LEVEL1_RADIOMETRIC_RESCALING": {
    "REFLECTANCE_MULT_BAND_8": "2.0000E-05", "REFLECTANCE_ADD_BAND_8": "-0.100000"}}}  # fmt: skip


def surface(grid: GeoBox, number: int = 0) -> NDArray[np.float32]:
    """Reflectance that depends on the place alone: [h, w]."""
    x = grid.affine.c + grid.affine.a * (np.arange(grid.shape.x) + 0.5) - CORNER[0]
    y = CORNER[1] - (grid.affine.f + grid.affine.e * (np.arange(grid.shape.y) + 0.5))
    waves = 0.2 + 0.05 * np.sin(x[None] / 120 + number) + 0.05 * np.cos(y[:, None] / 150)
    return waves.astype(np.float32)


def catalogue(folder: Path, days: Sequence[str] = ("20230301", "20230317"), cloud: float = 1.0) -> Path:
    """Write the catalogue and its files; returns catalog.json."""
    root = pystac.Catalog("made-up", "for tests")
    for level, collection in (("L2SP", "landsat-c2l2-sr"), ("L1TP", "landsat-c2l1")):
        child = _collection(collection)
        for number, day in enumerate(days):
            name = f"LC08_{level}_198030_{day}_20230401_02_T1" + ("_SR" if level == "L2SP" else "")
            assets = _level2(folder, name, number) if level == "L2SP" else _level1(folder, name)
            child.add_item(_item(name, day, assets, cloud, "LANDSAT_8" if number % 2 == 0 else "LANDSAT_9"))
        root.add_child(child)
    root.normalize_and_save(str(folder / "stac"), pystac.CatalogType.SELF_CONTAINED)
    return folder / "stac" / "catalog.json"


def add_sentinel2(folder: Path, day: str = "20230301") -> Path:
    """A second catalogue, of one Sentinel-2 item; returns catalog.json."""
    grid = GeoBox((3 * CELLS[0], 3 * CELLS[1]), Affine(10, 0, CORNER[0], 0, -10, CORNER[1]), "EPSG:32631")
    name, assets = f"S2A_31TCJ_{day}_0_L2A", {}
    for number, asset in enumerate(MS):
        dn = (surface(grid) * 10_000 + 10 * number).astype(np.uint16)
        assets[asset] = write(folder / "s2" / f"{name}_{asset}.tif", dn, grid)
    scl = np.full(grid.shape, 4, np.uint8)
    scl[:6, :6] = 9
    assets["scl"] = write(folder / "s2" / f"{name}_scl.tif", scl, grid)
    root, child = pystac.Catalog("sentinel", "for tests"), _collection("sentinel-2-l2a")
    item = _item(name, day, assets, 1.0, "sentinel-2a")
    item.properties["s2:processing_baseline"] = "03.01"
    child.add_item(item)
    root.add_child(child)
    root.normalize_and_save(str(folder / "stac-s2"), pystac.CatalogType.SELF_CONTAINED)
    return folder / "stac-s2" / "catalog.json"


def write(file: Path, values: NDArray[np.generic], grid: GeoBox) -> Path:
    """A one-band COG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "COG", "dtype": values.dtype.name, "count": 1, "height": grid.shape.y, "width": grid.shape.x,
               "crs": str(grid.crs), "transform": grid.affine}  # fmt: skip
    with rasterio.open(file, "w", **profile) as out:
        out.write(values, 1)
    return file


def box(cells: float = 4) -> tuple[float, float, float, float]:
    """An area in degrees that reaches some cells into the images from every side."""
    metres = 30 * cells
    left, top = CORNER[0] + metres, CORNER[1] - metres
    right, bottom = CORNER[0] + 30 * CELLS[1] - metres, CORNER[1] - 30 * CELLS[0] + metres
    return transform_bounds("EPSG:32631", "EPSG:4326", left, bottom, right, top)


def _level2(folder: Path, name: str, number: int) -> Mapping[str, Path]:
    assets = {}
    for band, asset in enumerate(MS):
        dn = ((surface(MS_GRID) + 0.01 * band + 0.2) / 2.75e-5).astype(np.uint16)
        assets[asset] = write(folder / "l2" / f"{name}_{asset}.tif", dn, MS_GRID)
    qa = np.full(MS_GRID.shape, 1 << 6, np.uint16)
    qa[8:10, 8 + number] = 1 << 3
    assets["qa_pixel"] = write(folder / "l2" / f"{name}_qa_pixel.tif", qa, MS_GRID)
    return assets


def _level1(folder: Path, name: str) -> Mapping[str, Path]:
    dn = ((surface(PAN_GRID) + 0.1) / 2e-5).astype(np.uint16)
    mtl = folder / "l1" / f"{name}_MTL.json"
    mtl.parent.mkdir(parents=True, exist_ok=True)
    mtl.write_text(json.dumps(MTL))
    return {"pan": write(folder / "l1" / f"{name}_pan.tif", dn, PAN_GRID), "MTL.json": mtl}


def _collection(name: str) -> pystac.Collection:
    everywhere = pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]])
    always = pystac.TemporalExtent([[datetime(2023, 1, 1, tzinfo=UTC), None]])
    return pystac.Collection(name, "for tests", pystac.Extent(everywhere, always))


def _item(name: str, day: str, assets: Mapping[str, Path], cloud: float, platform: str) -> pystac.Item:
    left, bottom, right, top = box(0)
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    item = pystac.Item(
        name, {"type": "Polygon", "coordinates": [ring]}, [left, bottom, right, top],
        datetime.strptime(day + "1030", "%Y%m%d%H%M").replace(tzinfo=UTC),
        {"eo:cloud_cover": cloud, "platform": platform},
    )  # fmt: skip
    for key, file in assets.items():
        item.add_asset(key, pystac.Asset(str(file), roles=["data"]))
    return item
