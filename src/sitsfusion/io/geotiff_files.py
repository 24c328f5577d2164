"""What lies in a user's folder of GeoTIFFs: headers, dates, bands, and which files make one acquisition.

Nothing is read but headers. See `geotiff` for the rules as a user needs to know them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from math import isnan
from pathlib import Path
from typing import get_args

import rasterio
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.warp import transform

from sitsfusion import sensors
from sitsfusion.dates import parse_day
from sitsfusion.errors import DateError, GridError, InputError, ReadError, SensorError
from sitsfusion.grid import describe
from sitsfusion.io.files import relative
from sitsfusion.io.fixes import fixable
from sitsfusion.io.names import Moment, find_baseline, find_layer, find_moment, stem
from sitsfusion.io.warp import crs_of
from sitsfusion.sensors import Sensor
from sitsfusion.sensors.model import DType

SUFFIXES = (".tif", ".tiff")
MASK = "mask"  # name of the layer in files of `mask_pattern`
SKIPPED = "-"  # in option `layers`
_DTYPES = get_args(DType)
_USUAL = ("sentinel-2-l2a", "landsat-8-9-c2-l2")  # what the doctor supposes where several sensors have the names
_BASELINE_TAGS = ("processing_baseline", "s2:processing_baseline", "baseline")


@dataclass(frozen=True)
class Header:
    """One file. Per band: `dtypes`, `descriptions`, `scales`, `offsets`, `nodata`; `name` is relative to the place."""

    name: str
    grid: GeoBox
    dtypes: tuple[str, ...]
    descriptions: tuple[str | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: tuple[float | None, ...]
    tags: Mapping[str, str]

    @property
    def pixel(self) -> float:
        return float(self.grid.affine.a)


@dataclass(frozen=True)
class Layer:
    """One band of one file: `name` is a band key, a quality layer or `MASK`; `index` counts from 0.

    `stem` is the same for all files of one acquisition (file name without band and pixel size).
    """

    name: str
    header: Header
    index: int
    stem: str

    @property
    def dtype(self) -> str:
        return self.header.dtypes[self.index]


@dataclass(frozen=True)
class Acquisition:
    """The layers of one image; one per name."""

    id: str
    moment: Moment
    baseline: str | None
    layers: Mapping[str, Layer]


@dataclass(frozen=True)
class Listed:
    """A line of `dates_csv`: date or time as text."""

    moment: str
    baseline: str | None


Table = Mapping[str, Listed]  # by file name


def find_files(place: Path, exclude: Sequence[str] = ()) -> list[str]:
    """Names of the GeoTIFFs of a place (a folder with sub-folders, or one file), without excluded and hidden ones."""
    if place.is_file():
        return [place.name]
    images = (path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    found = (relative(path, place) for path in images)
    return sorted(name for name in found if not any(matches(name, pattern) for pattern in exclude))


def matches(name: str, pattern: str) -> bool:
    """Whether a file name, or its path relative to the place, matches a pattern with * and ?."""
    return fnmatch(name, pattern) or fnmatch(name.rsplit("/", 1)[-1], pattern)


def folder_of(place: Path) -> Path:
    """What names are relative to."""
    return place.parent if place.is_file() else place


def read_headers(place: Path, names: Sequence[str]) -> list[Header]:
    """The headers of several files.

    Raises:
        ReadError, GridError, InputError: as `read_header`; the others that cannot be used are named with the first.
    """
    headers: list[Header] = []
    problems: list[tuple[str, ReadError | InputError]] = []
    for name in names:
        try:
            headers.append(read_header(place, name))
        except (ReadError, InputError) as error:
            problems.append((name, error))
    if not problems:
        return headers
    bad, first = [name for name, _ in problems], problems[0][1]
    listed = ", ".join(bad[:6]) + (", ..." if len(bad) > 6 else "")
    message = str(first) if len(bad) == 1 else f"{len(bad)} files cannot be used ({listed}). The first: {first}"
    raise fixable(type(first)(message), exclude=tuple(bad)) from first


def read_header(place: Path, name: str) -> Header:
    """The header of one file.

    Raises:
        ReadError: it is missing or no GeoTIFF. GridError: no CRS, rotated. InputError: a pixel type or mask that
            cannot be used.
    """
    path = folder_of(place) / name
    try:
        with rasterio.open(path) as file:
            grid = GeoBox((file.height, file.width), file.transform, _named(file.crs))
            masked = MaskFlags.per_dataset in file.mask_flag_enums[0] and MaskFlags.alpha not in file.mask_flag_enums[0]
            nodata = tuple(None if n is None or isnan(n) else n for n in file.nodatavals)  # NaN is missing anyway
            header = Header(name, grid, file.dtypes, file.descriptions, file.scales, file.offsets, nodata, file.tags())
    except (RasterioError, OSError) as error:
        raise fixable(
            ReadError(f"{path} cannot be read ({error}); copy or download it again, or leave it out (exclude)"),
            exclude=(name,),
        ) from error
    _check_header(path, header, masked)
    return header


def _named(crs: CRS | None) -> str | None:
    """A coordinate system by its EPSG code, where it has one: readable in messages."""
    code = None if crs is None else crs.to_epsg()
    return f"EPSG:{code}" if code else crs and crs.to_wkt()


def _check_header(path: Path, header: Header, masked: bool) -> None:
    problem: InputError | None = None
    if header.grid.crs is None:
        problem = GridError(
            f"{path} has no coordinate system; if you know it, set it: rio edit-info --crs EPSG:32631 {path.name}"
        )
    elif not header.grid.axis_aligned or header.grid.affine.a <= 0 or header.grid.affine.e >= 0:
        problem = GridError(f"{path} is rotated or not north-up ({describe(header.grid)}); warp it first: rio warp")
    elif unknown := sorted(set(header.dtypes) - set(_DTYPES)):
        problem = InputError(f"{path} has pixels of type {', '.join(unknown)}; expected one of {', '.join(_DTYPES)}")
    elif masked:
        problem = InputError(
            f"{path} marks missing pixels with an internal mask, which is not read; write them as a nodata number: "
            "gdalwarp -dstnodata 0 in.tif out.tif"
        )
    if problem is not None:
        raise fixable(problem, exclude=(header.name,))


def layer_names(sensor: Sensor, header: Header, given: Sequence[str] = ()) -> list[str | None]:
    """Band key or quality layer of each band of a file; None where no name fits.

    From the descriptions of the bands, else (one band) the name of the file and its folders, else `given` (one per
    band).
    """
    if any(header.descriptions):
        return [find_layer(sensor, text) if text else None for text in header.descriptions]
    if len(header.dtypes) == 1:
        parts = reversed(header.name.rsplit(".", 1)[0].split("/"))
        if found := next(filter(None, (find_layer(sensor, part) for part in parts)), None):
            return [found]
    if len(given) == len(header.dtypes):
        return [SKIPPED if name == SKIPPED else find_layer(sensor, name) for name in given]
    return [None] * len(header.dtypes)


def recognise_sensor(headers: Sequence[Header], given: Sequence[str] = ()) -> Sensor:
    """The only sensor that knows every layer of some files by name.

    Raises:
        SensorError: none does, or several do.
    """
    known = [sensors.get(name) for name in sensors.names()]
    found = [sensor for sensor in known if all(_fits(sensor, header, given) for header in headers)]
    if len(found) == 1:
        return found[0]
    what = sorted({text or h.name for h in headers for text in h.descriptions})
    listed = ", ".join(what[:4]) + (", ..." if len(what) > 4 else "")
    which = f"could be {' or '.join(s.name for s in found)}" if found else "no sensor has all these names"
    names = " or ".join(sensor.name for sensor in found or known)
    error = SensorError(
        f"the sensor is not clear from the names {listed}: {which}; name it (--sensor NAME, `sensor:`): {names}, or a "
        ".yaml file that describes yours"
    )
    likely = next((name for name in _USUAL if name in [sensor.name for sensor in found]), None)
    raise fixable(error, sensor=likely) if likely else error


def _fits(sensor: Sensor, header: Header, given: Sequence[str]) -> bool:
    try:
        return None not in layer_names(sensor, header, given)
    except InputError:  # a name that is ambiguous for this sensor
        return False


def layers_of(sensor: Sensor, header: Header, given: Sequence[str], wanted: Sequence[str] | None) -> list[Layer]:
    """The layers of a file. Names that the sensor does not know are left out if `wanted` says what is wanted.

    Raises:
        InputError: unknown or missing names.
    """
    names = layer_names(sensor, header, given)
    if None in names and (wanted is None or not any(header.descriptions)):
        raise fixable(_unnamed(sensor, header, names, given), exclude=(header.name,))
    bare = stem(sensor, header.name)
    return [Layer(name, header, i, bare) for i, name in enumerate(names) if name is not None and name != SKIPPED]


def mask_layer(sensor: Sensor, header: Header, pattern: str) -> Layer:
    """The mask file as a layer; what the pattern says literally is no part of its stem."""
    bare = header.name.rsplit(".", 1)[0]
    for piece in re.split(r"[*?]", pattern.rsplit(".", 1)[0]):
        bare = bare.replace(piece, "") if piece else bare
    return Layer(MASK, header, 0, stem(sensor, f"{bare}.tif"))


def _unnamed(sensor: Sensor, header: Header, names: Sequence[str | None], given: Sequence[str]) -> InputError:
    count = len(header.dtypes)
    if any(header.descriptions):
        unknown = [text or f"band {i + 1}" for i, text in enumerate(header.descriptions) if names[i] is None]
        return InputError(
            f"{header.name}: {sensor.name} has no band or quality layer called {', '.join(unknown)}; say which bands "
            f"you want (bands=[...]), of {', '.join(sensor.keys)}"
        )
    if count > 1:
        gave = f"`layers` names {len(given)}" if given else "they are not described"
        return InputError(
            f"{header.name} has {count} bands but {gave}; name them in order with layers=[...], of "
            f"{', '.join(sensor.keys)} ('{SKIPPED}' leaves one out)"
        )
    return InputError(
        f"{header.name}: its name holds no band or quality layer of {sensor.name} ({', '.join(sensor.keys)}); "
        "name it with layers=[...], or leave the file out (exclude)"
    )


def read_dates(file: Path) -> dict[str, Listed]:
    """The lines of `dates_csv` by file name.

    Raises:
        ReadError: it cannot be read. InputError: columns are missing.
    """
    try:
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
    except OSError as error:
        raise ReadError(f"dates_csv {file} cannot be read ({error.strerror})") from error
    if not rows or not {"file", "date"} <= set(rows[0]):
        found = ", ".join(rows[0]) if rows else "nothing"
        raise InputError(f"dates_csv {file} holds {found}; expected a header line with file,date and perhaps baseline")
    baselines = [(row.get("baseline") or "").strip() or None for row in rows]
    return {row["file"].strip(): Listed(row["date"].strip(), b) for row, b in zip(rows, baselines, strict=True)}


def moment_of(header: Header, listed: Table | None, pattern: re.Pattern[str] | None) -> Moment:
    """When the image of a file was taken: from `dates_csv` if it lists the file, else from its name."""
    longitude = longitude_of(header.grid)
    if listed is None or header.name not in listed:
        return find_moment(header.name, longitude, pattern)
    text = listed[header.name].moment
    if re.search(r"\d[T ]\d", text):
        try:
            time = datetime.fromisoformat(text)
        except ValueError as error:
            raise DateError(f"dates_csv gives {text!r} for {header.name}; write 2022-01-31T10:30:00") from error
        return find_moment(f"{time:%Y%m%dT%H%M%S}", longitude)
    return Moment(parse_day(text))


def longitude_of(grid: GeoBox) -> float:
    """Longitude of the centre of a grid with a CRS, degrees east."""
    a = grid.affine
    x, y = a.c + a.a * grid.shape.x / 2, a.f + a.e * grid.shape.y / 2
    return float(transform(crs_of(grid), "EPSG:4326", [x], [y])[0][0])


def baseline_of(layers: Iterable[Layer], listed: Table | None, default: str | None) -> str | None:
    """The processing baseline of an acquisition: from `dates_csv`, file tags, product names, else the option."""
    for header in (layer.header for layer in layers):
        if listed is not None and header.name in listed and listed[header.name].baseline:
            return listed[header.name].baseline
        tags = {key.lower(): value for key, value in header.tags.items()}
        found = next((tags[tag] for tag in _BASELINE_TAGS if tag in tags), None) or find_baseline(header.name)
        if found:
            return found
    return default


def group(layers: Sequence[Layer]) -> list[tuple[str, dict[str, Layer]]]:
    """The layers of one day as acquisitions: (name, layers by name).

    A band that is there at several pixel sizes is taken at the finest. Files whose names differ only in band and
    pixel size belong together if a layer occurs more than once.

    Raises:
        InputError: two files of one acquisition hold the same layer.
    """
    finest: dict[str, float] = {}
    for layer in layers:
        finest[layer.name] = min(layer.header.pixel, finest.get(layer.name, layer.header.pixel))
    kept = [layer for layer in layers if layer.header.pixel <= finest[layer.name] * 1.001]
    if len(finest) == len(kept):
        shortest = min((layer.stem for layer in kept), key=lambda text: (len(text), text))
        return [(shortest, {layer.name: layer for layer in kept})]
    groups: dict[str, dict[str, Layer]] = {}
    for layer in kept:
        other = groups.setdefault(layer.stem, {}).setdefault(layer.name, layer)
        if other is not layer:
            both = f"{other.header.name} and {layer.header.name} both hold {layer.name} of one image"
            raise fixable(InputError(f"{both}; leave one out (exclude)"), exclude=(layer.header.name,))
    return sorted(groups.items())
