"""From downloaded openEO cubes to the files of an LS2S2 site: the extraction step of the data set.

A cube is a NetCDF file with dimensions t, y (decreasing), x, one variable per band and a `crs` variable. Rules and
numbers are those of the published extraction, because the published data were made so. It moves Landsat images, but
not their masks, by half a pixel towards the south-east. Where it did harm without need, this differs: splines do not
mix dates, a missing pixel makes only itself missing, not its band in the whole series, quality layers keep all their
bits.

Needs the extras `netcdf` and `classical`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import floor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from sitsfusion.datasets import ls2s2_masks as rules
from sitsfusion.datasets.ls2s2_rows import Row, clean, write_index
from sitsfusion.datasets.ls2s2_splits import Aoi
from sitsfusion.dates import parse_day
from sitsfusion.errors import InputError, MissingExtraError, ReadError, WriteError

CubeName = Literal["sentinel2", "landsat", "landsat_pan"]
Array = NDArray[np.floating[Any]]
CUBES: tuple[CubeName, ...] = ("sentinel2", "landsat", "landsat_pan")
NODATA = -10000
_S2_20M = ("B05", "B06", "B07", "B8A", "B11", "B12")
_S2_QUALITY, _LANDSAT_QUALITY = ("SCL", "CLM", "CLP", "dataMask"), ("BQA", "SR_QA_AEROSOL", "QA_RADSAT")


@dataclass(frozen=True)
class _LayerFile:
    """Quality layers that go to a file of their own as they come; integers where NaN is 0, but fill in `BQA`."""

    kind: str
    layers: tuple[str, ...]
    dtype: type[np.generic] = np.uint16


_LAYER_FILES: Mapping[CubeName, tuple[_LayerFile, ...]] = {
    "sentinel2": (_LayerFile("qa", ("SCL", "CLM", "CLP", "AOT", "SNW", "dataMask")),),
    "landsat": (
        _LayerFile("qa", ("BQA",)),
        _LayerFile("st_cdist", ("ST_CDIST",), np.float32),
        _LayerFile("qa_radsat", ("QA_RADSAT",)),
        _LayerFile("sr_qa_aerosol", ("SR_QA_AEROSOL",)),
    ),
    "landsat_pan": (),
}


@dataclass(frozen=True)
class _Product:
    """What is made of one cube.

    Folder, pixel (m), bands, quality layers, masks, names of the files, index, layers with files of their own.
    """

    folder: str
    step: float
    bands: tuple[str, ...]
    quality: tuple[str, ...]
    masks: Callable[[rules.Layers], rules.Masks]
    kinds: tuple[str, ...]
    index: str
    layer_files: tuple[_LayerFile, ...] = ()

    def with_layer_files(self, name: CubeName) -> _Product:
        files = _LAYER_FILES[name]
        quality = dict.fromkeys([*self.quality, *(layer for file in files for layer in file.layers)])
        return replace(self, quality=tuple(quality), layer_files=files)


@dataclass(frozen=True)
class Extracted:
    """What became of a cube: its index file, its number of dates, and how many of them were clear enough."""

    index: Path
    dates: int
    written: int


def extract(
    aoi: Aoi,
    cube: Path,
    site: Path,
    name: CubeName,
    *,
    min_clear: float = 0.25,
    release: rules.Release = "2.0.0",
    quality: bool = False,
) -> Extracted:
    """Write images, masks and index of one cube into the folder of its site. The index is written last.

    Args:
        aoi: what to cut out.
        cube: NetCDF file.
        site: folder of the site.
        name: which cube it is.
        min_clear: least share of clear pixels of a date that is written.
        release: of the reference whose Landsat masks are wanted.
        quality: also write the quality layers of each date: `sentinel2_qa` (SCL, CLM, CLP, AOT, SNW, dataMask),
            `landsat_qa`, `landsat_st_cdist`, `landsat_qa_radsat`, `landsat_sr_qa_aerosol`.

    Raises:
        ReadError: the cube cannot be read.
        InputError: it lacks bands or dimensions, does not cover the site, or has a date twice.
        WriteError: a file cannot be written.
        MissingExtraError: the extras `netcdf` or `classical` are not installed.
    """
    product = _product(name, release)
    if quality:
        product = product.with_layer_files(name)
    with _opened(cube) as whole:
        crs = _crs(whole, cube)
        part = _cut(_checked(whole, product, cube), aoi, product.step, crs == CRS.from_string(aoi.crs))
        place = {"crs": crs, "transform": _transform(part, product.step)}
        rows = [_date(part.isel(t=t), product, site, place, min_clear) for t in range(part.sizes["t"])]
    index = site / product.folder / product.index
    write_index(index, rows)
    return Extracted(index, len(rows), sum(row.bands is not None for row in rows))


def extract_site(
    aoi: Aoi,
    site: Path,
    names: Sequence[CubeName] = CUBES,
    *,
    min_clear: float = 0.25,
    release: rules.Release = "2.0.0",
    quality: bool = False,
    override: bool = False,
) -> dict[CubeName, Extracted]:
    """Extract the cubes `<name>.nc` of a site's folder that have no index yet (`override`: all), then make the Landsat
    indices agree (`ls2s2_rows.clean`).

    Returns what was extracted. Arguments and errors as `extract`; ReadError also where a cube is missing.
    """
    done: dict[CubeName, Extracted] = {}
    for name in names:
        product = _product(name, release)
        if override or not (site / product.folder / product.index).is_file():
            cube = site / f"{name}.nc"
            done[name] = extract(aoi, cube, site, name, min_clear=min_clear, release=release, quality=quality)
    clean(site)
    return done


def _product(name: CubeName, release: rules.Release) -> _Product:
    if name == "sentinel2":
        kinds = ("bands", "mask", "snow_mask")
        return _Product(name, 10, rules.S2_BANDS, _S2_QUALITY, rules.sentinel2_masks, kinds, "index.csv")
    if name == "landsat_pan":
        return _Product("landsat", 15, rules.PAN_BANDS, (), rules.pan_masks, ("pan", "pan_mask"), "index_pan.csv")
    quality = (*_LANDSAT_QUALITY, "ST_CDIST") if release == "1.0.0" else _LANDSAT_QUALITY

    def masks(layers: rules.Layers) -> rules.Masks:
        return rules.landsat_masks(layers, release)

    kinds = ("bands", "mask", "snow_mask")
    return _Product(name, 30, rules.LANDSAT_BANDS, quality, masks, kinds, "index.csv")


# -- the cube ----------------------------------------------------------------------------------------------------------


def _opened(path: Path) -> xr.Dataset:
    if find_spec("h5netcdf") is None:
        raise MissingExtraError(f"reading the NetCDF file {path}", "netcdf")
    try:
        return xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False, chunks=None, cache=False)
    except (OSError, ValueError) as error:
        raise ReadError(f"{path} cannot be read ({error}); download it again") from error


def _checked(cube: xr.Dataset, product: _Product, path: Path) -> xr.Dataset:
    missing = [name for name in (*product.bands, *product.quality, "crs") if name not in cube.variables]
    if missing or not {"t", "y", "x"} <= set(cube.dims):
        raise InputError(
            f"{path} lacks {', '.join(missing) or 'one of the dimensions t, y, x'}; "
            f"it has {', '.join(map(str, cube.variables))} over {', '.join(map(str, cube.dims))}"
        )
    days = [parse_day(t) for t in cube["t"].values]
    if len(set(days)) < len(days):
        raise InputError(f"{path} has a date twice; expected one image per date")
    if cube.sizes["y"] > 1 and cube["y"].values[0] < cube["y"].values[-1]:
        raise InputError(f"{path} has y increasing; expected its first row in the north")
    return cube.sortby("t")[[*product.bands, *product.quality]].transpose("t", "y", "x")


def _crs(cube: xr.Dataset, path: Path) -> CRS:
    wkt = cube["crs"].attrs.get("crs_wkt")
    if wkt is None:
        raise InputError(f"{path}: variable crs has no attribute crs_wkt")
    return CRS.from_wkt(wkt)


def _cut(cube: xr.Dataset, aoi: Aoi, step: float, same_zone: bool) -> xr.Dataset:
    """The pixels inside the box; of a cube in another zone, the first rows and columns."""
    left, bottom, right, top = aoi.aoi
    columns, rows = round((right - left) / step), round((top - bottom) / step)
    x, y = cube["x"].values, cube["y"].values
    if same_zone:
        inside = cube.isel(x=(x >= left) & (x <= right), y=(y >= bottom) & (y <= top))
    else:
        inside = cube.isel(x=slice(columns), y=slice(rows))
    if (inside.sizes["y"], inside.sizes["x"]) != (rows, columns):
        raise InputError(
            f"the cube has {inside.sizes['y']} x {inside.sizes['x']} pixels inside {aoi.name}; "
            f"expected {rows} x {columns} of {step:g} m"
        )
    return inside


def _transform(cube: xr.Dataset, step: float) -> Affine:
    return Affine(step, 0, float(cube["x"].min()) - step / 2, 0, -step, float(cube["y"].max()) + step / 2)


# -- one date ----------------------------------------------------------------------------------------------------------


def _date(cube: xr.Dataset, product: _Product, site: Path, place: Mapping[str, Any], min_clear: float) -> Row:
    """Write the files of one date if it is clear enough; its line of the index."""
    layers = {name: cube[name].values for name in (*product.bands, *product.quality)}
    masks = product.masks(layers)
    row = Row.of(
        product.folder,
        parse_day(cube["t"].values.astype("datetime64[D]").item()),
        masks,
        masks.clear_share >= min_clear,
    )
    if not row.valid:
        return row
    compact = f"{row.day:%Y%m%d}"
    files = {kind: f"{compact}/{product.folder}_{kind}_{compact}.tif" for kind in product.kinds}
    folder = site / product.folder
    bands, mask, *snow = files.values()
    _write(folder / bands, _values(layers, product, cube), NODATA, place)
    _write(folder / mask, masks.unusable[None].astype(np.uint8), 0, place)
    if snow and masks.snow is not None:
        _write(folder / snow[0], masks.snow[None].astype(np.uint8), 0, place)
    for file in product.layer_files:
        values = np.stack([_as_it_came(layer, layers[layer], file.dtype) for layer in file.layers])
        _write(folder / f"{compact}/{product.folder}_{file.kind}_{compact}.tif", values, None, place, file.layers)
    return replace(row, bands=bands, mask=mask, snow_mask=snow[0] if snow else None)


def _as_it_came(name: str, layer: Array, dtype: type[np.generic]) -> NDArray[Any]:
    if np.issubdtype(dtype, np.floating):
        return layer.astype(dtype)
    fill = 1 if name == "BQA" else 0
    return np.nan_to_num(layer, nan=fill).astype(dtype)


def _values(layers: rules.Layers, product: _Product, cube: xr.Dataset) -> NDArray[np.int16]:
    """Stored numbers `[c y x]`: reflectance x 10000, kelvin x 10."""
    if product.folder == "sentinel2":
        offset = tuple(-0.25 + _fraction((float(cube[axis].min()) - 5) / 20) for axis in ("y", "x"))
        images = [sharpened(layers[b], offset) if b in _S2_20M else layers[b] for b in product.bands]
    else:
        images = [shifted(layers[band]) * (10.0 if band == "B10" else 1e4) for band in product.bands]
    return stored(np.stack(images))


def _fraction(value: float) -> float:
    return value - floor(value)


def sharpened(repeated: Array, offset: Sequence[float]) -> Array:
    """20 m pixels that were repeated over 10 m ones `[y x]`, interpolated with a cubic spline.

    Pixel (i, j) is the spline through every second pixel at (i / 2 + offset[0], j / 2 + offset[1]).
    """
    nd = rules.ndimage()
    shape = repeated.shape

    def at(image: Array, order: int) -> Array:
        return np.asarray(nd.affine_transform(image, [0.5, 0.5], offset, shape, order=order, mode="reflect"))

    return _despite_gaps(repeated[::2, ::2], at)


def shifted(image: Array) -> Array:
    """An image `[y x]` moved by half a pixel towards the south-east with a cubic spline."""
    nd = rules.ndimage()

    def at(image: Array, order: int) -> Array:
        # the nearest pixel to (i - 0.5, j - 0.5), a tie, is (i, j) as in the masks
        return np.asarray(nd.shift(image, 0.5 if order else 0, order=order, mode="reflect"))

    return _despite_gaps(image, at)


def _despite_gaps(image: Array, at: Callable[[Array, int], Array]) -> Array:
    """A spline of an image whose NaN take their nearest neighbour's value first and are put back afterwards."""
    missing = np.isnan(image)
    image = image.astype(np.float64)
    if missing.all():
        return at(np.zeros_like(image), 3) * np.nan
    if not missing.any():
        return at(image, 3)
    rows, cols = rules.ndimage().distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.where(at(missing.astype(np.float64), 0) > 0.5, np.nan, at(image[rows, cols], 3))


def stored(values: Array) -> NDArray[np.int16]:
    """Truncated towards zero, NaN as -10000; what does not fit into int16 takes its limits."""
    limits = np.iinfo(np.int16)
    return np.where(np.isnan(values), NODATA, np.clip(np.nan_to_num(values), limits.min, limits.max)).astype(np.int16)


def _write(
    file: Path, values: NDArray[Any], nodata: float | None, place: Mapping[str, Any], names: Sequence[str] = ()
) -> None:
    count, height, width = values.shape
    profile: dict[str, Any] = {
        "count": count,
        "height": height,
        "width": width,
        "dtype": values.dtype,
        "nodata": nodata,
    }
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "lzw", "interleave": "band"}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(file, "w", driver="GTiff", **profile, **layout, **place) as out:
            out.write(values)
            out.descriptions = tuple(names) or out.descriptions
    except (OSError, RasterioError) as error:
        raise WriteError(f"{file} cannot be written ({error})") from error
