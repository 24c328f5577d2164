"""What an xarray object says: its bands, quality layers, dates, pixels and CRS, in any of three layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from sitsfusion.dates import solar_day
from sitsfusion.errors import DateError, GridError, InputError, MissingBandError
from sitsfusion.grid import TOLERANCE
from sitsfusion.io.geotiff_files import longitude_of
from sitsfusion.io.names import Moment, find_layer
from sitsfusion.sensors import Sensor

VALID = "valid"
_NAMES = {"t": "time", "bands": "band", "lat": "y", "latitude": "y", "lon": "x", "longitude": "x"}
_IMAGE = {"time", "y", "x"}

# An array with dimensions time, y, x (index None), or a layer of one with a dimension band (index in it).
Part = tuple[xr.DataArray, int | None]


@dataclass(frozen=True)
class Parts:
    """The layers of an object whose dimensions are called time, band, y and x.

    `bands` by key, in order; `flags` by name of the quality layer, or `VALID`; `ids` and `native` if the data have
    them, else empty; `coords` and `attrs` are the object's.
    """

    bands: Mapping[str, Part]
    flags: Mapping[str, Part]
    coords: Mapping[Any, xr.DataArray]
    attrs: Mapping[Any, Any]
    mapping: Mapping[str, Any] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    native: tuple[int, ...] = ()


def parts_of(obj: xr.Dataset | xr.DataArray, sensor: Sensor, wanted: Sequence[str] | None) -> Parts:
    """The layers of an object in one of the three layouts.

    Raises:
        InputError: dimensions or names that are not understood. MissingBandError: a wanted band is not there.
    """
    named = _renamed(obj)
    arrays = [named] if isinstance(named, xr.DataArray) else _images(named)
    layers: dict[str, Part] = {}
    for array in arrays:
        layers |= _layers(array)
    if VALID in named.coords:
        layers[VALID] = (named.coords[VALID], None)
    bands, flags = _sorted_out(layers, sensor, wanted)
    ids = tuple(str(i) for i in np.atleast_1d(named.coords["id"].values)) if "id" in named.coords else ()
    native = _native(arrays[0], bands)
    mapping = _mapping_attributes(named, arrays[0])
    return Parts(bands, flags, dict(named.coords), dict(named.attrs), mapping, ids, native)


def grid_of(parts: Parts, crs: str | None) -> tuple[GeoBox, bool]:
    """The grid, rows from north to south, and whether the data have them from south to north.

    Raises:
        GridError: coordinates missing or irregular, or no CRS.
    """
    x0, dx, width = _axis(parts, "x")
    y0, dy, height = _axis(parts, "y")
    if dx < 0:
        raise GridError("coordinate x decreases; order the columns from west to east (obj.sortby('x'))")
    top = y0 + dy * height if dy > 0 else y0
    return GeoBox((height, width), Affine(dx, 0, x0, 0, -abs(dy), top), _crs(parts, crs)), dy > 0


def moments_of(parts: Parts, grid: GeoBox) -> list[Moment]:
    """The solar day of each date. Times that are all midnight are days; others are UTC.

    Raises:
        DateError: `time` is missing or is no numpy datetime64 (of any unit).
    """
    if "time" not in parts.coords or not np.issubdtype(parts.coords["time"].dtype, np.datetime64):
        kind = parts.coords["time"].dtype if "time" in parts.coords else "missing"
        raise DateError(f"coordinate time is {kind}; expected numpy datetime64 (of any unit)")
    values = np.atleast_1d(parts.coords["time"].values)
    if np.isnat(values).any():
        raise DateError(f"{int(np.isnat(values).sum())} of {len(values)} times are missing (NaT); remove these images")
    found: list[datetime] = values.astype("datetime64[us]").astype(object).tolist()
    if all(moment.time() == time() for moment in found):
        return [Moment(moment.date()) for moment in found]
    longitude = longitude_of(grid)
    return [Moment(solar_day(moment, longitude), moment) for moment in found]


def grid_mapping(grid: GeoBox) -> dict[str, str]:
    """Attributes of the CF variable `spatial_ref` (WKT and GDAL's geotransform) that rioxarray and odc-geo read."""
    a = grid.affine
    found = {"GeoTransform": " ".join(repr(float(v)) for v in (a.c, a.a, a.b, a.f, a.d, a.e))}
    if grid.crs is not None:
        found |= {"crs_wkt": grid.crs.to_wkt(), "spatial_ref": grid.crs.to_wkt()}
    return found


# -- layers ------------------------------------------------------------------------------------------------------------


def _renamed(obj: xr.Dataset | xr.DataArray) -> xr.Dataset | xr.DataArray:
    """With dimensions called time, band, y, x; a single image gets a dimension time."""
    there = {str(name) for name in (*obj.dims, *obj.coords)}
    named = obj.rename({old: new for old, new in _NAMES.items() if old in there and new not in there})
    if "time" not in named.dims and "time" in named.coords:
        named = named.expand_dims("time")
    missing = _IMAGE - set(map(str, named.dims))
    if missing:
        raise InputError(
            f"dimensions are {', '.join(map(str, obj.dims))}; expected time (or t), y, x and perhaps band (or bands): "
            f"there is no {', '.join(sorted(missing))}"
        )
    return named


def _images(dataset: xr.Dataset) -> list[xr.DataArray]:
    """The variables that are images: one with bands, or one per band; `valid` and quality layers among them."""
    images = [v for v in dataset.data_vars.values() if set(map(str, v.dims)) >= _IMAGE]
    stacks = [v for v in images if "band" in v.dims]
    if len(stacks) > 1:
        names = ", ".join(str(v.name) for v in stacks)
        raise InputError(f"several variables have bands ({names}); select the one with the images: dataset[['NAME']]")
    if not images:
        raise InputError(f"no variable has dimensions time, y, x; there are {', '.join(map(str, dataset.data_vars))}")
    return stacks + [v for v in images if "band" not in v.dims]


def _layers(array: xr.DataArray) -> dict[str, Part]:
    extra = set(map(str, array.dims)) - _IMAGE - {"band"}
    if extra:
        dims = ", ".join(map(str, array.dims))
        raise InputError(f"array {array.name} has dimensions {dims}; select one {extra.pop()}")
    if "band" not in array.dims:
        return {str(array.name): (array, None)}
    return {name: (array, i) for i, name in enumerate(_band_names(array))}


def _band_names(array: xr.DataArray) -> list[str]:
    labels = array.coords["band"].values if "band" in array.coords else np.arange(array.sizes["band"])
    if labels.dtype.kind in "iuf":  # numbered by rioxarray, which keeps the descriptions in long_name
        given = array.attrs.get("long_name")
        labels = np.atleast_1d(np.asarray(given if given is not None else [], dtype=str))
    if len(labels) != array.sizes["band"]:
        raise InputError("the bands have no names; label them: obj.assign_coords(band=['B02', 'B03', ...])")
    return [str(label) for label in labels]


def _sorted_out(
    layers: Mapping[str, Part], sensor: Sensor, wanted: Sequence[str] | None
) -> tuple[dict[str, Part], dict[str, Part]]:
    found = {name: VALID if name == VALID else find_layer(sensor, name) for name in layers}
    unknown = [name for name, layer in found.items() if layer is None]
    if unknown and wanted is None:
        raise InputError(
            f"{sensor.name} has no band or quality layer called {', '.join(unknown)}; say which bands you want "
            f"(option bands), of {', '.join(sensor.keys)}"
        )
    bands = {layer: layers[name] for name, layer in found.items() if layer in sensor.keys}
    flags = {layer: layers[name] for name, layer in found.items() if layer == VALID or (layer and sensor.rule(layer))}
    keys = tuple(bands) if wanted is None else sensor.resolve(wanted)
    if absent := [key for key in keys if key not in bands]:
        raise MissingBandError(f"the data have no {', '.join(absent)}; they have {', '.join(bands)}")
    if not keys:
        raise MissingBandError(f"the data hold no band of {sensor.name}, only {', '.join(layers)}")
    return {str(key): bands[key] for key in keys}, {str(name): part for name, part in flags.items()}


def _native(array: xr.DataArray, bands: Mapping[str, Part]) -> tuple[int, ...]:
    if "native" not in array.coords:
        return ()
    values = array.coords["native"].values
    return tuple(int(values[index]) for _, index in bands.values() if index is not None)


# -- where -------------------------------------------------------------------------------------------------------------


def _axis(parts: Parts, name: str) -> tuple[float, float, int]:
    """(outer edge of the first pixel, step, number) from the coordinate of pixel centres."""
    if name not in parts.coords:
        raise GridError(f"there is no coordinate {name}; give pixel centres: obj.assign_coords({name}=...)")
    centres = np.asarray(parts.coords[name].values, np.float64)
    if len(centres) < 2:
        raise GridError(f"coordinate {name} has {len(centres)} value(s); two are needed to know the size of a pixel")
    step = (centres[-1] - centres[0]) / (len(centres) - 1)
    worst = np.abs(centres - (centres[0] + step * np.arange(len(centres)))).max()
    if step == 0 or worst > TOLERANCE * abs(step):
        raise GridError(f"coordinate {name} is not regular (off by {worst:g} for a step of {step:g}); regrid first")
    return float(centres[0] - step / 2), float(step), len(centres)


def _mapping_attributes(named: xr.Dataset | xr.DataArray, image: xr.DataArray) -> dict[str, Any]:
    """Attributes of the CF grid mapping variable, or nothing."""
    declared = image.attrs.get("grid_mapping") or image.encoding.get("grid_mapping")
    everything = named.variables if isinstance(named, xr.Dataset) else named.coords
    for name in (declared, "spatial_ref", "crs"):
        if name is not None and name in everything:
            return {str(key): value for key, value in everything[name].attrs.items()}
    return {}


def _crs(parts: Parts, given: str | None) -> str:
    found = [given, parts.attrs.get("proj:code")]
    found += [parts.mapping.get(key) for key in ("crs_wkt", "spatial_ref")]
    found += [parts.attrs.get(key) for key in ("crs", "crs_wkt")]
    crs = next((str(text) for text in found if text), None)
    if crs is None:
        raise GridError("the data have no coordinate system (spatial_ref, proj:code or crs); give it: crs='EPSG:32631'")
    try:
        code = CRS(crs).to_epsg()
    except CRSError as error:
        raise GridError(f"{crs[:60]!r} is not a coordinate system ({error}); write e.g. EPSG:32631") from error
    return crs if code is None else f"EPSG:{code}"
