"""Scenes of Landsat (and Sentinel-2) items of a STAC catalogue, loaded with odc-stac on the pixels they were made on.

The multispectral and the panchromatic grid of a Landsat product have different corners (15 m apart); each is kept, and
the scene crops both to the cells they have in common. Files can be written in the layout of the Deep-Harmonization
pipeline.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from sitsfusion import sensors
from sitsfusion.cube import Cube, Item
from sitsfusion.errors import GridError, InputError, MissingExtraError, ReadError
from sitsfusion.grid import covering, crop
from sitsfusion.io.stac import Box, StacOptions, find_items, pair_levels, pan_rescaling, readable
from sitsfusion.scene import Scene
from sitsfusion.sensors.model import Encoding

LANDSAT_ASSETS = {"blue": "B02", "green": "B03", "red": "B04", "nir08": "B05", "swir16": "B06", "swir22": "B07"}
SENTINEL2_ASSETS = {"blue": "B02", "green": "B03", "red": "B04", "nir08": "B8A", "swir16": "B11", "swir22": "B12"}
_MS, _PAN, _S2 = "landsat-8-9-c2-l2", "landsat-8-9-c2-l1", "sentinel-2-l2a"
_FOLDERS = {"coarse": "L8", "pan": "L8_pan", "fine": "S2"}


@dataclass(frozen=True)
class Loaded:
    """A scene (`coarse`, `pan` and, where asked for, `fine`), and by role the names of its products, one per date."""

    scene: Scene
    products: Mapping[str, tuple[str, ...]]


def open_stac(box: Box, dates: tuple[date, date], options: StacOptions | None = None) -> Loaded:
    """Find, pair and load all clear images of an area; images of one day are joined, the first on top.

    Args:
        box: west, south, east, north in degrees (`stac.area_of` reads it from a file).
        dates: first and last day.
        options: catalogues, filters, credentials.

    Raises:
        MissingExtraError: the extra `stac` is not installed.
        ReadError: a catalogue or a file cannot be read. InputError: nothing is found, or nothing pairs.
        GridError: the area misses an item.
    """
    options = options or StacOptions()
    level2, level1 = (
        find_items(options.landsat, collection, box, dates, max_cloud=options.max_cloud, platforms=options.platforms)
        for collection in (options.level2, options.level1)
    )
    pairs = pair_levels(level2, level1)
    days = [pair.day for pair in pairs]
    twos, ones = [pair.level2 for pair in pairs], [pair.level1 for pair in pairs]
    cubes = {"coarse": _multispectral(twos, days, box, options), "pan": _panchromatic(ones, days, box, options)}
    if options.sentinel2 is not None:
        cubes["fine"] = _sentinel2(box, dates, options)
    products = {role: tuple(item.id for item in cube.items) for role, cube in cubes.items()}
    return Loaded(Scene(cubes, name="stac"), products)


def write_files(loaded: Loaded, folder: Path) -> list[Path]:
    """Write a scene in the published pipeline's layout: DN/{L8,L8_pan,S2}/<product>.tif and image_mapping.csv.

    Values are digital numbers as float32, bands stacked. The table has the dates of Landsat, the names of its products
    and those of Sentinel-2 of the same day, and the share of masked pixels. Returns what was written.
    """
    written = []
    for role, products in loaded.products.items():
        cube = loaded.scene[role]
        encodings = cube.sensor.stored(cube.bands)
        for t, product in enumerate(products):
            file = folder / "DN" / _FOLDERS[role] / f"{product}.tif"
            file.parent.mkdir(parents=True, exist_ok=True)
            frame = cube.frame(t)
            pairs = zip(frame.values, encodings, strict=True)
            _write(file, np.stack([(x - e.offset) / e.scale for x, e in pairs]), cube.grid)
            written.append(file)
    table = folder / "image_mapping.csv"
    _write_mapping(table, loaded)
    return [*written, table]


@dataclass(frozen=True, eq=False)
class _Stack:
    """Stored numbers `[t, c, h, w]` of items on one grid, and a quality layer `[t, h, w]`, if one was read."""

    grid: GeoBox
    values: NDArray[Any]
    quality: NDArray[Any] | None

    def joined(self, days: Sequence[date]) -> tuple[_Stack, list[int]]:
        """One image a day, gaps (0, NaN) of the first item filled with the next; and each day's first item."""
        first = [i for i, day in enumerate(days) if day not in days[:i]]
        values = self.values[first]
        quality = None if self.quality is None else self.quality[first]
        for i, day in enumerate(days):
            at = first.index(days.index(day))
            gap = ((values[at] == 0) | np.isnan(values[at])).all(axis=0)
            values[at][:, gap] = self.values[i][:, gap]
            if quality is not None and self.quality is not None:
                quality[at][gap] = self.quality[i][gap]
        return _Stack(self.grid, values, quality), first


def _multispectral(items: Sequence[Any], days: Sequence[date], box: Box, options: StacOptions) -> Cube:
    """The six reflective bands of level 2 at 30 m; what `qa_pixel` calls cloud, shadow or fill is not valid."""
    sensor, keys = sensors.get(_MS), tuple(LANDSAT_ASSETS.values())
    stack = _read(items, tuple(LANDSAT_ASSETS), "qa_pixel", box, options)
    return _cube(_MS, keys, *stack.joined(days), items, days, sensor.stored(keys), "QA_PIXEL")


def _panchromatic(items: Sequence[Any], days: Sequence[date], box: Box, options: StacOptions) -> Cube:
    """The panchromatic band of level 1 at 15 m, reflectance without correction of the sun's height, as published."""
    (stored,) = sensors.get(_PAN).stored(("B08",))
    stack = _read(items, ("pan",), None, box, options)
    values = stack.values.astype(np.float32)
    fill = stack.values == stored.nodata
    for t, item in enumerate(items):
        factor, offset = pan_rescaling(item) if options.mtl == "asset" else (stored.scale, stored.offset)
        values[t] = values[t] * np.float32(factor) + np.float32(offset)
    values[fill] = np.nan
    return _cube(_PAN, ("B08",), *_Stack(stack.grid, values, None).joined(days), items, days, None, None)


def _sentinel2(box: Box, dates: tuple[date, date], options: StacOptions) -> Cube:
    """Six bands at 10 m (those of 20 m repeated); the scene classification says what is valid."""
    catalogue, collection = options.sentinel2 or "", options.sentinel2_collection
    items = find_items(catalogue, collection, box, dates, max_cloud=options.sentinel2_max_cloud)
    if not items:
        raise InputError(f"no Sentinel-2 item of {collection} between {dates[0]} and {dates[1]}; allow more clouds")
    sensor, keys = sensors.get(_S2), tuple(SENTINEL2_ASSETS.values())
    days = [item.datetime.date() for item in items]
    baselines = {
        None if item.properties.get("earthsearch:boa_offset_applied") else item.properties.get("s2:processing_baseline")
        for item in items
    }
    encodings = {sensor.stored(keys, baseline) for baseline in baselines}
    if len(encodings) > 1:
        raise InputError(
            f"Sentinel-2 items of processing baselines {baselines} are stored differently; split the dates"
        )
    stack = _read(items, tuple(SENTINEL2_ASSETS), "scl", box, options)
    native = tuple(int(sensor.band(key).resolution // 10) for key in keys)
    return _cube(_S2, keys, *stack.joined(days), items, days, encodings.pop(), "SCL", native)


def _cube(
    sensor: str,
    keys: Sequence[str],
    stack: _Stack,
    first: Sequence[int],
    items: Sequence[Any],
    days: Sequence[date],
    encodings: Sequence[Encoding] | None,
    layer: str | None,
    native: Sequence[int] = (),
) -> Cube:
    described = sensors.get(sensor)
    rule = described.rule(layer) if layer else None
    valid = None if rule is None or stack.quality is None else rule.clear(stack.quality)
    acquired = [Item(id=items[i].id, time=items[i].datetime) for i in first]
    return Cube.from_array(
        stack.values, sensor=described, bands=keys, grid=stack.grid, dates=[days[i] for i in first], valid=valid,
        encodings=encodings, items=acquired, native=native,
    )  # fmt: skip


def _read(items: Sequence[Any], assets: Sequence[str], quality: str | None, box: Box, options: StacOptions) -> _Stack:
    """Assets of items on the pixels of the first item's first asset over the box; others are resampled by nearest."""
    try:
        from odc import stac
    except ImportError as error:
        raise MissingExtraError("loading STAC items", "stac") from error
    if options.requester_pays:
        credentials = {"profile_name": options.profile} if options.profile else {}
        stac.configure_rio(cloud_defaults=True, aws={"requester_pays": True, **credentials})
    grid = _native_grid(items[0], assets[0], box, options)
    names = [*assets, *([quality] if quality else [])]
    found = stac.load(
        items, bands=names, geobox=grid, groupby="id", resampling="nearest", pool=options.threads,
        patch_url=lambda href: readable(href, options.requester_pays), preserve_original_order=True,
    )  # fmt: skip
    if found.sizes["time"] != len(items):
        raise ReadError(f"{len(items)} items gave {found.sizes['time']} images; is one of them listed twice?")
    values = np.stack([found[name].values for name in assets], axis=1)
    return _Stack(grid, values, None if quality is None else found[quality].values)


def _native_grid(item: Any, asset: str, box: Box, options: StacOptions) -> GeoBox:
    """The pixels of an asset that touch the box: read from the file, which knows best."""
    if asset not in item.assets:
        raise ReadError(f"{item.id} has no asset {asset}; it has {', '.join(item.assets)}")
    href = readable(item.assets[asset].get_absolute_href(), options.requester_pays)
    try:
        with rasterio.open(href) as file:
            whole = GeoBox(file.shape, file.transform, file.crs)
    except RasterioError as error:
        raise ReadError(f"{href} cannot be opened ({error}); check the address and the credentials") from error
    window = covering(whole, *transform_bounds("EPSG:4326", str(whole.crs), *box))
    if window.empty:
        raise GridError(f"the area {box} does not touch {item.id}")
    return crop(whole, window)


def _write(file: Path, values: NDArray[np.floating], grid: GeoBox) -> None:
    size = {"count": len(values), "height": grid.shape.y, "width": grid.shape.x}
    place = {"crs": str(grid.crs), "transform": grid.affine}
    profile = {"driver": "GTiff", "dtype": "float32", "compress": "deflate", **size, **place}
    with rasterio.open(file, "w", **profile) as out:
        out.write(values.astype(np.float32))


def _write_mapping(file: Path, loaded: Loaded) -> None:
    coarse, fine = loaded.scene["coarse"], loaded.scene.cubes.get("fine")
    with file.open("w", newline="") as text:
        table = csv.writer(text)
        table.writerow(["dates", "S2", "L8MS", "L8PAN", "L8_invalid", "S2_invalid"])
        for t, day in enumerate(coarse.dates):
            pan = loaded.products["pan"][loaded.scene["pan"].dates.index(day)]
            masked = f"{1 - coarse.frame(t).valid.mean():.4f}"
            same, other = "", ""
            if fine is not None and day in fine.dates:
                at = fine.dates.index(day)
                same, other = loaded.products["fine"][at], f"{1 - fine.frame(at).valid.mean():.4f}"
            table.writerow([day.isoformat(), same, loaded.products["coarse"][t], pan, masked, other])
