"""xarray in and out, and reader `xarray`: Zarr and NetCDF stores.

Three layouts come in: a variable or array with dimensions `time, band, y, x` (any order), openEO's `t, bands, y, x`,
and one variable per band with `time, y, x`. Pixels are areas and coordinates are their centres.

Numbers are decoded here and not by xarray, which would make them float64: integers by the attributes `scale_factor`,
`add_offset` and `_FillValue` (or `nodata`) where they are there, else as the sensor's product stores them; floating
point without these attributes is physical (reflectance, kelvin), NaN where unobserved.

What is usable comes from a variable or coordinate `valid` (bool, True: usable) and from variables that are quality
layers of the sensor (SCL, QA_PIXEL, ...). Nothing is read before a window is asked for. Where y increases, rows are
turned to run from north to south as they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field

from sitsfusion import sensors
from sitsfusion.cube import Cube, Item
from sitsfusion.errors import InputError, MissingExtraError, ReadError, SensorError
from sitsfusion.io.files import file_prints, tree_digest
from sitsfusion.io.merge import Duplicates, join
from sitsfusion.io.roles import by_role
from sitsfusion.io.xarray_layout import Parts, grid_mapping, grid_of, moments_of, parts_of
from sitsfusion.io.xarray_source import Flags, StoredLayer, XarraySource
from sitsfusion.scene import ROLES
from sitsfusion.sensors import Encoding, Sensor
from sitsfusion.sensors.model import DType

NAME = "xarray"
_ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
_NETCDF = (".nc", ".nc4", ".cdf")
_FILLS = ("_FillValue", "missing_value", "nodata")


class Options(BaseModel):
    """How arrays become a cube; the module says by which rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: str | None = Field(None, description="name, or a .yaml file (default: the attribute `sensor`)")
    bands: tuple[str, ...] | None = Field(None, description="bands wanted, in this order (default: all, in theirs)")
    group: str | None = Field(None, description="group of the store (default: groups named like roles, else the root)")
    crs: str | None = Field(None, description="coordinate system where the data do not say, e.g. EPSG:32631")
    scale: float | None = Field(None, description="physical value = stored number * scale + offset")
    offset: float | None = Field(None, description="in physical units")
    nodata: float | None = Field(None, description="stored number of missing pixels")
    baseline: str | None = Field(None, description="processing baseline of Sentinel-2 products, e.g. '05.09'")
    duplicates: Duplicates = Field("error", description="several images of one solar day: error, or merge into one")


def from_xarray(
    obj: xr.Dataset | xr.DataArray, sensor: str | Sensor | None = None, *, options: Options | None = None
) -> Cube:
    """A cube of an xarray object in one of the three layouts (see the module). Nothing is read.

    Args:
        obj: with dimensions time (or t), y, x and perhaps band (or bands); in memory or lazy.
        sensor: default: that of the options, else the attribute `sensor`.
        options: for data that do not say everything themselves.

    Raises:
        InputError, GridError, DateError, MissingBandError: what is missing or does not fit, and the remedy.
    """
    return _cube(obj, sensor, options or Options(), ())


def to_xarray(cube: Cube) -> xr.Dataset:
    """A cube as a dataset in memory: reads every pixel (take a `window` or `select` before).

    Variables `values` (time, band, y, x) float32 in physical units, NaN where unobserved, and `valid` (time, y, x)
    bool; the coordinates of pixels are their centres; `spatial_ref` holds the coordinate system as CF, rioxarray and
    odc-geo read it. `in_layout` gives the other layouts.
    """
    values, valid = cube.to_numpy()
    x, y = _centres(cube.grid)
    info = cube.band_info()
    coords: dict[str, Any] = {
        "time": np.array(cube.dates, "datetime64[ns]"),
        "band": _texts(cube.bands),
        "y": ("y", y, {"standard_name": "projection_y_coordinate"}),
        "x": ("x", x, {"standard_name": "projection_x_coordinate"}),
        "id": ("time", _texts(item.id for item in cube.items)),
        "common_name": ("band", _texts(band.common_name for band in info)),
        "wavelength": ("band", [np.nan if band.wavelength is None else band.wavelength for band in info]),
        "native": ("band", list(cube.native)),
        "spatial_ref": ((), 0, grid_mapping(cube.grid)),
    }
    mapped = {"grid_mapping": "spatial_ref"}
    units = {"units": ", ".join(dict.fromkeys(band.unit for band in info))}
    variables = {
        "values": (("time", "band", "y", "x"), values, {**mapped, **units}),
        "valid": (("time", "y", "x"), valid, {**mapped, "long_name": "usable: observed and not masked"}),
    }
    a = cube.grid.affine
    attributes = {"sensor": cube.sensor.name, "spatial:transform": [a.a, a.b, a.c, a.d, a.e, a.f]}
    if cube.grid.crs is not None:
        attributes["proj:code"] = str(cube.grid.crs)
    return xr.Dataset(variables, coords, attributes)


Layout = Literal["dataset", "array", "openeo", "variables"]


def layout_of(obj: xr.Dataset | xr.DataArray) -> Layout:
    """The layout of an object that `from_xarray` takes, to give a result back in the same with `in_layout`."""
    if isinstance(obj, xr.DataArray):
        return "openeo" if "bands" in obj.dims else "array"
    return "dataset" if {"band", "bands"} & set(obj.dims) else "variables"


def in_layout(dataset: xr.Dataset, layout: Layout) -> xr.Dataset | xr.DataArray:
    """A dataset of `to_xarray` in another layout.

    `array`: one array (time, band, y, x) with `valid` as a coordinate; `openeo`: the same with dimensions t and bands;
    `variables`: a variable per band (time, y, x), and `valid`.
    """
    if layout == "dataset":
        return dataset
    if layout == "variables":
        plain = dataset["values"].drop_vars(["common_name", "wavelength", "native"])
        bands = {str(key): plain.sel(band=key, drop=True) for key in dataset["band"].values}
        return xr.Dataset({**bands, "valid": dataset["valid"]}, attrs=dataset.attrs)
    array = dataset["values"].assign_coords(valid=dataset["valid"]).assign_attrs(dataset.attrs)
    return array.rename(time="t", band="bands") if layout == "openeo" else array


# -- reader ------------------------------------------------------------------------------------------------------------


def recognise(path: Path) -> bool:
    """A Zarr store (a folder with its metadata) or a NetCDF file."""
    if path.is_dir():
        return any((path / mark).exists() for mark in _ZARR_MARKS)
    return path.suffix.lower() in _NETCDF


def read(path: Path, options: Options) -> dict[str, Cube]:
    """The cubes of a store by role: one per group that is named like a role, else of the root (see `by_role`).

    Raises:
        ReadError: it cannot be opened. MissingExtraError: NetCDF without its reader. Else as `from_xarray`.
    """
    roles = [role for role in ROLES if (path / role).is_dir()]
    if options.group is None and roles:
        return {role: _stored_cube(path, role, options) for role in roles}
    return by_role(_stored_cube(path, options.group, options))


def _stored_cube(path: Path, group: str | None, options: Options) -> Cube:
    dataset = _open(path, group)
    found = _cube(dataset, None, options, (path,))
    if layout_of(dataset) == "variables" and options.bands is None:
        # the variables of a Zarr group have no order
        found = found.select(bands=[key for key in found.sensor.keys if key in found.bands])
    return found


def _open(path: Path, group: str | None) -> xr.Dataset:
    if not path.is_dir() and find_spec("h5netcdf") is None:
        raise MissingExtraError(f"reading the NetCDF file {path}", "netcdf")
    engine: dict[str, Any] = {"engine": "zarr", "consolidated": False} if path.is_dir() else {"engine": "h5netcdf"}
    try:
        # without dask and without decoding: windows are read as they are asked for
        return xr.open_dataset(
            path, group=group, chunks=None, cache=False, mask_and_scale=False, decode_coords="all", **engine
        )
    except (OSError, ValueError, KeyError) as error:
        raise ReadError(f"{path}, group {group or '/'}, cannot be opened ({error}); copy it again") from error


# -- from arrays to a cube ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numbers:
    """How layers are stored."""

    sensor: Sensor
    options: Options

    def encoding(self, layer: xr.DataArray, key: str) -> Encoding:
        """Of one band.

        Raises:
            InputError: numbers of a type that cannot be used, or of an unknown processing baseline.
        """
        attributes, options = layer.attrs, self.options
        if str(layer.dtype) not in get_args(DType):
            raise InputError(f"{key} is {layer.dtype}; convert it to one of {', '.join(get_args(DType))}")
        scale, offset = float(attributes.get("scale_factor", 1.0)), float(attributes.get("add_offset", 0.0))
        declared = (scale, offset) != (1.0, 0.0)  # rioxarray writes 1 and 0 where a file declares nothing
        fills = [float(attributes[name]) for name in _FILLS if name in attributes]
        nodata = next((fill for fill in fills if not np.isnan(fill)), None)  # NaN is missing anyway
        if not declared and not np.issubdtype(layer.dtype, np.floating):
            self._check_baseline(key)
            product = self.sensor.stored([key], options.baseline)[0]
            scale, offset, nodata = product.scale, product.offset, product.nodata if nodata is None else nodata
        return Encoding.model_validate(
            {
                "dtype": str(layer.dtype),
                "scale": scale if options.scale is None else options.scale,
                "offset": offset if options.offset is None else options.offset,
                "nodata": nodata if options.nodata is None else options.nodata,
            }
        )

    def _check_baseline(self, key: str) -> None:
        rule = self.sensor.baseline_offset
        if rule is not None and self.options.baseline is None and self.options.offset is None:
            raise InputError(
                f"{self.sensor.name} {key} holds integers without scale_factor: their offset depends on the processing "
                "baseline, which is not known; give baseline='05.09' (or the one it is), or offset"
            )


def _cube(
    obj: xr.Dataset | xr.DataArray, sensor: str | Sensor | None, options: Options, files: tuple[Path, ...]
) -> Cube:
    chosen = _sensor(obj, sensor or options.sensor)
    parts = parts_of(obj, chosen, options.bands)
    grid, flipped = grid_of(parts, options.crs)
    moments = moments_of(parts, grid)
    numbers = _Numbers(chosen, options)
    layers = [StoredLayer(array, i, numbers.encoding(array, key)) for key, (array, i) in parts.bands.items()]
    flags = [Flags(array, i, chosen.rule(name)) for name, (array, i) in parts.flags.items()]
    source = XarraySource(tuple(layers), tuple(flags), flipped, tuple(_prints(files)))
    keys, native = tuple(parts.bands), _native(chosen, parts, grid)
    images = []
    for t, moment in enumerate(moments):
        name = parts.ids[t] if parts.ids else f"{chosen.name}_{moment.day:%Y%m%d}"
        item = Item(name, moment.time, baseline=options.baseline)
        images.append(Cube(chosen, keys, grid, (moment.day,), source.only(t), (item,), native))
    return join(images, options.duplicates) if images else Cube(chosen, keys, grid, (), source, (), native)


def _sensor(obj: xr.Dataset | xr.DataArray, given: str | Sensor | None) -> Sensor:
    name = given or obj.attrs.get("sensor")
    if name is None:
        raise SensorError(
            f"the data do not name their sensor (attribute `sensor`); give it: one of {', '.join(sensors.names())}"
        )
    return sensors.get(name)


def _native(sensor: Sensor, parts: Parts, grid: GeoBox) -> tuple[int, ...]:
    if parts.native:
        return parts.native
    metric = grid.crs is not None and grid.crs.projected
    found = [sensor.band(key).resolution / grid.affine.a if metric else 1.0 for key in parts.bands]
    return tuple(max(1, round(ratio)) for ratio in found)


def _prints(files: Sequence[Path]) -> list[Mapping[str, object]]:
    prints: list[Mapping[str, object]] = []
    for path in files:
        if path.is_dir():
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            prints.append({"path": path.name, "size": size, "checksum": tree_digest(path)})
        else:
            prints.extend(file_prints(path, [path]))
    return prints


def _texts(texts: Iterable[str]) -> NDArray[np.object_]:
    """Text of variable length: Zarr has no settled form for numpy's texts of fixed length."""
    return np.array(list(texts), dtype=object)


def _centres(grid: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a = grid.affine
    x, y = np.arange(grid.shape.x) + 0.5, np.arange(grid.shape.y) + 0.5
    return np.asarray(a.c + a.a * x), np.asarray(a.f + a.e * y)
