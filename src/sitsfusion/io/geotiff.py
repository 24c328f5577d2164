"""Reader `geotiff`: a user's own folder of GeoTIFFs of one sensor.

**Files.** One multi-band file per date, or many files per date with one or more bands each, in one folder or in
sub-folders. Every .tif and .tiff below the folder counts, unless `exclude` leaves it out.

**Dates** come from `dates_csv`, else from the file name, else from the names of its folders: `YYYYMMDDTHHMMSS` before
`YYYY-MM-DD` before `YYYYMMDD` before `YYYYDDD`; the first kind that occurs counts. Several different dates in one name
need a `date_pattern`. A time (UTC) is turned into the solar day; a date alone is taken as the solar day.

**Bands** are recognised from the band descriptions of the file, else from the file name (`B02`, `SR_B4`, `red`), else
named by `layers`. They keep the order of the file if one file per date holds them all, else they come in the order of
the sensor. A band that is there at several pixel sizes is taken at the finest. Bands with other units than
reflectance (surface temperature) become a cube of their own role.

**Quality layers** that the sensor knows (SCL, QA_PIXEL, Fmask, ...) are found like bands, in files of their own or in
the stack, on the same or on a nested grid; `mask_pattern` names masks of your own (above 0: unusable).

**Grid**: that of the finest band. Bands of coarser pixels that nest in it (20 m files beside 10 m files) are brought
to it by `interpolation`, each pixel placed exactly; a value is missing where a pixel that the kernel spans is missing.

**Numbers**: `scale`, `offset`, `nodata` as given here; else those that the files declare; else, for floating-point
files, physical units (reflectance, kelvin); else as the sensor's product stores them. Sentinel-2 numbers depend on
the processing baseline, which must then be known: from `dates_csv`, a file tag PROCESSING_BASELINE, a product name in
the file name, or the option `baseline`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from sitsfusion import sensors
from sitsfusion.cube import Cube
from sitsfusion.errors import InputError, MissingBandError
from sitsfusion.io import geotiff_files as files
from sitsfusion.io.geotiff_cube import cube_of
from sitsfusion.io.geotiff_files import Acquisition, Header, Layer
from sitsfusion.io.geotiff_options import Options
from sitsfusion.io.roles import keys_by_role
from sitsfusion.sensors import Sensor

__all__ = ["NAME", "Options", "read", "recognise", "survey"]

NAME = "geotiff"


def recognise(path: Path) -> bool:
    """A .tif file, or a folder with .tif files in it or in its sub-folders."""
    if path.is_file():
        return path.suffix.lower() in files.SUFFIXES
    return any(found.suffix.lower() in files.SUFFIXES for found in path.rglob("*"))


def read(path: Path, options: Options) -> dict[str, Cube]:
    """The images of a folder by role: `fine` (sensors with pixels below 30 m) or `coarse`, `thermal`, `sar`, `dem`.

    Raises:
        ReadError: no GeoTIFF, or one that cannot be opened. GridError: no CRS, other grids. DateError: no or several
        dates in a name, several images of a day. SensorError: the sensor is not clear. MissingBandError: bands that
        some dates lack. InputError: names, numbers or options that do not fit.
    """
    sensor, acquisitions = survey(path, options)
    bands = _bands(sensor, acquisitions, options)
    cubes = {}
    for role, keys in keys_by_role(sensor, bands).items():
        others = set(bands) - set(keys)
        # an image of surface temperature alone is no incomplete image of reflectance, and the reverse
        mine = [a for a in acquisitions if a.layers.keys() & set(keys) or not a.layers.keys() & others]
        cubes[role] = cube_of(files.folder_of(path), sensor, keys, mine, options)
    return cubes


def survey(path: Path, options: Options) -> tuple[Sensor, list[Acquisition]]:
    """The sensor and all acquisitions of a folder, in order of time. Reads headers only."""
    listed = None if options.dates_csv is None else files.read_dates(files.folder_of(path) / options.dates_csv)
    headers = files.read_headers(path, _names(path, listed, options))
    images = [header for header in headers if not _is_mask(header.name, options)]
    sensor = sensors.get(options.sensor) if options.sensor else files.recognise_sensor(images, options.layers)
    pattern = None if options.date_pattern is None else re.compile(options.date_pattern)
    moments = {header.name: files.moment_of(header, listed, pattern) for header in headers}
    days: dict[date, list[Layer]] = {}
    for header in headers:
        days.setdefault(moments[header.name].day, []).extend(_layers(sensor, header, options))
    found = []
    for name, layers in (group for of_day in days.values() for group in files.group(of_day)):
        times = [moments[layer.header.name] for layer in layers.values()]
        moment = min(times, key=lambda m: (m.time is None, str(m.time)))
        baseline = files.baseline_of(layers.values(), listed, options.baseline)
        found.append(Acquisition(name or f"{moment.day:%Y%m%d}", moment, baseline, layers))
    return sensor, sorted(found, key=lambda a: (a.moment.day, a.id))


def _names(path: Path, listed: files.Table | None, options: Options) -> list[str]:
    names = files.find_files(path, options.exclude)
    if listed is not None:
        if missing := sorted(set(listed) - set(names)):
            shown = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
            raise InputError(f"{options.dates_csv} names files that are not in {path}: {shown}; correct the table")
        names = [name for name in names if name in listed or _is_mask(name, options)]
    if not any(not _is_mask(name, options) for name in names):
        raise InputError(f"{path} holds no .tif image (or all are excluded, or not in the table of dates)")
    return names


def _is_mask(name: str, options: Options) -> bool:
    return options.mask_pattern is not None and files.matches(name, options.mask_pattern)


def _layers(sensor: Sensor, header: Header, options: Options) -> list[Layer]:
    if _is_mask(header.name, options):
        return [files.mask_layer(sensor, header, str(options.mask_pattern))]
    return files.layers_of(sensor, header, options.layers, options.bands)


def _bands(sensor: Sensor, acquisitions: Sequence[Acquisition], options: Options) -> tuple[str, ...]:
    """Bands wanted: as asked for, else in the order of the file if one file per date holds all, else of the sensor."""
    there = {name for a in acquisitions for name in a.layers if name in sensor.keys}
    in_order = tuple(key for key in sensor.keys if key in there)
    if options.bands is not None:
        wanted = sensor.resolve(options.bands)
        if absent := [key for key in wanted if key not in there]:
            raise MissingBandError(f"no file holds {', '.join(absent)}; there are {', '.join(in_order)}")
        return wanted
    if not there:
        raise MissingBandError(f"no file holds a band of {sensor.name} ({', '.join(sensor.keys)}), only quality layers")
    first = [layer for layer in acquisitions[0].layers.values() if layer.name in there]
    if len(first) == len(there) and len({layer.header.name for layer in first}) == 1:
        return tuple(layer.name for layer in sorted(first, key=lambda layer: layer.index))
    return in_order
