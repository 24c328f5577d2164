"""Products as the archives deliver them: find them in a place, and put their layers together into a series.

What the readers of product families (`usgs`, `safe`, `hls`) have in common. A place is a folder with products in it
(folders, archives or loose files), or one product (folder or archive).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from pathlib import Path

from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field

from sitsfusion.cube import Cube, Item, Stored
from sitsfusion.errors import GridError, InputError, MissingBandError, ReadError
from sitsfusion.grid import TOLERANCE, Window, describe
from sitsfusion.io import rasters
from sitsfusion.io.files import file_prints, is_archive, listing, read_bytes
from sitsfusion.io.fixes import fixable
from sitsfusion.io.geotiff_source import GeoTiffSource, StoredBand, StoredFlags
from sitsfusion.io.merge import Duplicates, join
from sitsfusion.io.placing import Placing
from sitsfusion.io.placing import place as placing_of
from sitsfusion.io.warp import Method
from sitsfusion.sensors import Encoding, Sensor

_NAMED = 6  # as many offenders are named in an error


class ProductOptions(BaseModel):
    """Options that all readers of products have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bands: tuple[str, ...] | None = Field(None, description="bands wanted, in this order (default: see the reader)")
    quality: tuple[str, ...] | None = Field(
        None, description="quality layers to use (default: all that the sensor has rules for; []: none)"
    )
    exclude: tuple[str, ...] = Field((), description="patterns of products to leave out, e.g. '*_198029_*'")
    duplicates: Duplicates = Field("error", description="several images of one solar day: error, or merge into one")
    interpolation: Method = Field("cubic", description="kernel for bands of coarser pixels than the finest")


@dataclass(frozen=True)
class Delivery:
    """One product: its identifier, the folder or archive it lies in, and the names of its files in there."""

    id: str
    place: Path
    names: tuple[str, ...]

    def named(self, ending: str) -> str | None:
        """The file whose name ends so (case ignored), the shortest if there are several; None if there is none."""
        found = [name for name in self.names if name.lower().endswith(ending.lower())]
        return min(found, key=lambda name: (len(name), name)) if found else None

    def text(self, name: str) -> str:
        """Content of a text file of the product.

        Raises:
            ReadError: it cannot be read, or is no text.
        """
        try:
            return read_bytes(self.place, name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ReadError(f"{name} in {self.place} is no text ({error}); download or unpack it again") from error


@dataclass(frozen=True)
class Layer:
    """One band or quality layer of a product: file, band in it (counted from 0), and the size of its pixels.

    Files of one product with the same `pixel` (metres, nominal) lie on the same grid.
    """

    name: str
    pixel: float
    index: int = 0


@dataclass(frozen=True)
class Image:
    """One product, opened: what is known of it, and its layers by band key and by name of the quality layer."""

    delivery: Delivery
    item: Item
    day: date
    layers: Mapping[str, Layer]
    encodings: Mapping[str, Encoding]

    def grid(self, name: str) -> GeoBox:
        """Pixels of a layer; reads the header of its file."""
        return rasters.header(str(member_path(self.delivery.place, self.layers[name].name))).grid


@dataclass(frozen=True)
class ProductSource:
    """Pixels of one product. In an archive, the archive is the file that a fingerprint tells apart."""

    pixels: GeoTiffSource
    archive: Path | None

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        return self.pixels.read(t, bands, window)

    def fingerprint(self, t: int) -> Mapping[str, object]:
        if self.archive is None:
            return self.pixels.fingerprint(t)
        bands = [f"{band.file.name}:{band.index + 1}" for band in self.pixels.bands]
        flags = [f"{layer.file.name}:{layer.index + 1}" for layer in self.pixels.flags]
        return {
            "files": file_prints(self.pixels.place, [self.archive]),
            "layers": [*bands, *flags],
            "interpolation": self.pixels.interpolation,
            "encodings": [band.encoding.model_dump() for band in self.pixels.bands],
        }


def find(path: Path, identify: Callable[[str], str | None], what: str, exclude: Sequence[str] = ()) -> list[Delivery]:
    """The products of a place in the order of their identifiers; `identify` finds that in a path.

    Raises:
        ReadError: the place cannot be read, or holds no such product.
        InputError: a product is there more than once.
    """
    found: dict[str, dict[Path, list[str]]] = {}
    for where, name in _members(path, identify):
        product = identify(f"{where.name}/{name}")
        if product is not None and not any(fnmatch(product, pattern) for pattern in exclude):
            found.setdefault(product, {}).setdefault(where, []).append(name)
    if not found:
        raise ReadError(f"{path} holds no {what} (or all are excluded); give the folder or archive that holds them")
    for product, places in found.items():
        if len(places) > 1:
            raise InputError(f"{product} is there more than once: {', '.join(map(str, places))}; remove one")
    return [
        Delivery(product, where, tuple(names))
        for product, places in sorted(found.items())
        for where, names in places.items()
    ]


def recognised(path: Path, identify: Callable[[str], str | None]) -> bool:
    """Whether a place, or something directly in it, has the name of a product."""
    if identify(path.name) is not None:
        return path.is_dir() or is_archive(path)
    return path.is_dir() and any(identify(child.name) is not None for child in path.iterdir())


def refuse_mixture(products: Mapping[str, str], what: str) -> None:
    """All products (identifier -> tile, path, level, ...) must be of one kind.

    Raises:
        InputError: lists the products of each kind.
    """
    kinds: dict[str, list[str]] = {}
    for product, kind in products.items():
        kinds.setdefault(kind, []).append(product)
    if len(kinds) > 1:
        listed = "; ".join(f"{what} {kind}: {_listed(ids)}" for kind, ids in sorted(kinds.items()))
        raise InputError(f"products of several {what}s ({listed}); open one at a time, or leave some out (exclude)")


@dataclass(frozen=True)
class Reading:
    """What is read of each product of a place, into one cube."""

    place: Path
    sensor: Sensor
    keys: tuple[str, ...]
    quality: tuple[str, ...]
    options: ProductOptions


def series(reading: Reading, images: Sequence[Image]) -> Cube:
    """All images as one cube on the pixels of its finest band; it covers the frames of all. Every layer must be there.

    Raises:
        GridError: frames that do not share a lattice. DateError: several images of one day.
    """
    finest = min(reading.keys, key=lambda key: images[0].layers[key].pixel)
    grid = _frame({image.delivery.id: image.grid(finest) for image in images})
    return join([_cube(reading, image, grid) for image in images], reading.options.duplicates)


def refuse_missing(
    images: Sequence[Image], names: Sequence[str], option: str, lacking: Callable[[Image], Sequence[str]] | None = None
) -> None:
    """All products must have all of these layers; `option` (`bands` or `quality`) is the one that names them.

    `lacking` says what one product lacks (default: what is not among its layers).

    Raises:
        MissingBandError: lists the products and what they lack.
    """
    missing = {i.delivery.id: lacking(i) if lacking else [n for n in names if n not in i.layers] for i in images}
    offenders = [f"{product}: {', '.join(absent)}" for product, absent in missing.items() if absent]
    if offenders:
        common = tuple(name for name in names if not any(name in absent for absent in missing.values()))
        error = MissingBandError(
            f"{len(offenders)} product(s) lack {option} ({_listed(offenders, '; ')}); download them again, leave them "
            f"out (exclude), or do without: {option}={list(common)}"
        )
        raise fixable(error, **{option: common})


def quality_layers(sensor: Sensor, wanted: Sequence[str] | None) -> list[str]:
    """Names of the quality layers to use.

    Raises:
        InputError: the sensor has no rule for one of them.
    """
    if wanted is None:
        return [rule.layer for rule in sensor.quality]
    rules = {name: sensor.rule(name) for name in wanted}
    if unknown := [name for name, rule in rules.items() if rule is None]:
        known = ", ".join(rule.layer for rule in sensor.quality) or "none"
        raise InputError(f"{sensor.name} has no quality layer {', '.join(unknown)}; it knows {known}")
    return [rule.layer for rule in rules.values() if rule is not None]


def member_path(place: Path, name: str) -> Path:
    """What rasterio opens, as a `Path`: braces keep the archive's absolute path in one piece."""
    if not is_archive(place):
        return place / name
    system = "vsizip" if place.suffix.lower() == ".zip" else "vsitar"
    return Path(f"/{system}/{{{place.resolve().as_posix()}}}/{name}")


def _members(path: Path, identify: Callable[[str], str | None]) -> Iterable[tuple[Path, str]]:
    """(folder or archive, name of a file in it) of all files of a place and of the product archives in it."""
    for name in listing(path):
        inner = path / name
        if is_archive(inner) and identify(inner.name) is not None:
            yield from ((inner, member) for member in listing(inner))
        else:
            yield path, name


def _cube(reading: Reading, image: Image, grid: GeoBox) -> Cube:
    names = (*reading.keys, *reading.quality)
    grids = {image.layers[name].pixel: name for name in names}
    own = {pixel: image.grid(name) for pixel, name in grids.items()}
    placed = {pixel: placing_of(layer_grid, grid) for pixel, layer_grid in own.items()}

    def stored(name: str) -> tuple[Path, int, GeoBox, Placing]:
        layer = image.layers[name]
        return member_path(image.delivery.place, layer.name), layer.index, own[layer.pixel], placed[layer.pixel]

    sensor, options = reading.sensor, reading.options
    bands = tuple(StoredBand(*stored(key), image.encodings[key]) for key in reading.keys)
    flags = tuple(StoredFlags(*stored(name), sensor.rule(name)) for name in reading.quality)
    place = reading.place if reading.place.is_dir() else reading.place.parent
    archive = image.delivery.place if is_archive(image.delivery.place) else None
    source = ProductSource(GeoTiffSource(place, grid, bands, flags, options.interpolation), archive)
    native = tuple(max(1, round(sensor.band(key).resolution / grid.affine.a)) for key in reading.keys)
    return Cube(sensor, reading.keys, grid, (image.day,), source, (image.item,), native)


def _frame(grids: Mapping[str, GeoBox]) -> GeoBox:
    """The smallest grid that holds all of these, which share one lattice."""
    names, first = list(grids), next(iter(grids.values()))
    windows = []
    for name, grid in grids.items():
        a, b = first.affine, grid.affine
        col, row = (b.c - a.c) / a.a, (b.f - a.f) / a.e
        off = max(abs(col - round(col)), abs(row - round(row)))
        if grid.crs != first.crs or abs(b.a / a.a - 1) > 1e-6 or abs(b.e / a.e - 1) > 1e-6 or off > TOLERANCE:
            raise fixable(
                GridError(
                    f"{name} has {describe(grid)}, which does not fit {names[0]} with {describe(first)}; open products "
                    "of one tile or path and one coordinate system at a time, or leave some out (exclude)"
                ),
                exclude=(name,),
            )
        windows.append(Window(round(row), round(col), *grid.shape))
    top, left = min(w.row for w in windows), min(w.col for w in windows)
    height = max(w.row + w.height for w in windows) - top
    width = max(w.col + w.width for w in windows) - left
    a = first.affine
    return GeoBox((height, width), type(a)(a.a, 0, a.c + left * a.a, 0, a.e, a.f + top * a.e), first.crs)


def _listed(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return between.join(names[:_NAMED]) + more
