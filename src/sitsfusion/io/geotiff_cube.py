"""From the acquisitions of a folder of GeoTIFFs to a cube: which are complete, on which grid, in which numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path

from odc.geo.geobox import GeoBox

from sitsfusion.cube import Cube, Item
from sitsfusion.errors import GridError, InputError, MissingBandError
from sitsfusion.grid import describe
from sitsfusion.io import geotiff_files as files
from sitsfusion.io.fixes import fixable
from sitsfusion.io.geotiff_files import MASK, Acquisition, Layer
from sitsfusion.io.geotiff_options import Options
from sitsfusion.io.geotiff_source import GeoTiffSource, StoredBand, StoredFlags
from sitsfusion.io.merge import join
from sitsfusion.io.placing import Placing, place, same_grid
from sitsfusion.io.warp import onto
from sitsfusion.sensors import Encoding, Sensor

_NAMED = 6  # as many offenders are named in an error
_METRES_PER_DEGREE = 111_320.0


def cube_of(
    folder: Path, sensor: Sensor, keys: tuple[str, ...], acquisitions: Sequence[Acquisition], options: Options
) -> Cube:
    """The bands `keys` of some acquisitions as one cube.

    Raises:
        MissingBandError: some lack a band. InputError: mixed pixel types, unknown baselines, numbers that do not fit.
        GridError: other grids. DateError: several images of one day.
    """
    quality = _quality_layers(sensor, acquisitions, options)
    complete = _complete(acquisitions, (*keys, *quality), options)
    _check_types(complete, keys)
    if options.offset is None:
        _check_baselines(sensor, complete, keys)
    grid = _common_grid(folder, complete, keys, options)
    build = _Builder(folder, sensor, keys, tuple(quality), grid, options)
    return join([build(acquisition) for acquisition in complete], options.duplicates)


@dataclass(frozen=True)
class _Builder:
    """Makes a cube of one date of an acquisition, on the grid of all."""

    folder: Path
    sensor: Sensor
    keys: tuple[str, ...]
    quality: tuple[str, ...]
    grid: GeoBox
    options: Options

    def __call__(self, acquisition: Acquisition) -> Cube:
        own = own_grid(acquisition, self.keys)
        if same_grid(own, self.grid) or self._nests(acquisition):
            return self._cube(acquisition, self.grid)
        return onto(self._cube(acquisition, own), self.grid, self.options.interpolation)

    def _nests(self, acquisition: Acquisition) -> bool:
        """Whether all layers can be placed on the common grid as they are (another extent, but the same lattice)."""
        layers = [acquisition.layers[name] for name in (*self.keys, *self.quality)]
        try:
            placed = [place(layer.header.grid, self.grid) for layer in layers]
        except GridError:
            return False
        return all(p.down == 1 for p, layer in zip(placed, layers, strict=True) if layer.name in self.keys)

    def _cube(self, acquisition: Acquisition, grid: GeoBox) -> Cube:
        options, layers = self.options, acquisition.layers
        bands = [self._band(layers[key], acquisition.baseline, grid) for key in self.keys]
        source = GeoTiffSource(
            self.folder, grid, tuple(bands), tuple(self._flags(layers[name], grid) for name in self.quality),
            options.interpolation, options.valid_range,
        )  # fmt: skip
        native = tuple(_native(self.sensor, layers[key], grid) for key in self.keys)
        moment = acquisition.moment
        item = Item(acquisition.id, moment.time, baseline=acquisition.baseline)
        return Cube(self.sensor, self.keys, grid, (moment.day,), source, (item,), native)

    def _band(self, layer: Layer, baseline: str | None, grid: GeoBox) -> StoredBand:
        encoding = encoding_of(self.sensor, layer, baseline, self.options)
        header = layer.header
        return StoredBand(self.folder / header.name, layer.index, header.grid, _placed(layer, grid), encoding)

    def _flags(self, layer: Layer, grid: GeoBox) -> StoredFlags:
        rule = None if layer.name == MASK else self.sensor.rule(layer.name)
        header = layer.header
        return StoredFlags(self.folder / header.name, layer.index, header.grid, _placed(layer, grid), rule)


def encoding_of(sensor: Sensor, layer: Layer, baseline: str | None, options: Options) -> Encoding:
    """How one band of one file is stored: by the options, else the file's tags, else the sensor's product.

    Raises:
        InputError: 8-bit pixels without a scale, or a `valid_range` without a nodata number.
    """
    header, i = layer.header, layer.index
    scale, offset, nodata = header.scales[i], header.offsets[i], header.nodata[i]
    if product_numbers(layer):
        product = sensor.stored([layer.name], baseline)[0]
        scale, offset, nodata = product.scale, product.offset, product.nodata if nodata is None else nodata
        if layer.dtype in ("uint8", "int8") and options.scale is None:
            raise InputError(
                f"{header.name} has 8-bit pixels, which cannot hold {layer.name} as {sensor.name} stores it (an image "
                "stretched for display?); give scale and offset if you know them"
            )
    chosen = Encoding.model_validate(
        {
            "dtype": layer.dtype,
            "scale": scale if options.scale is None else options.scale,
            "offset": offset if options.offset is None else options.offset,
            "nodata": nodata if options.nodata is None else options.nodata,
        }
    )
    if options.valid_range is not None and chosen.nodata is None and not layer.dtype.startswith("float"):
        raise InputError(f"{header.name} declares no nodata number, which valid_range needs; give nodata as well")
    return chosen


def product_numbers(layer: Layer) -> bool:
    """Whether the numbers must be taken as the sensor's product stores them: integers without scale in the file."""
    header, i = layer.header, layer.index
    return not layer.dtype.startswith("float") and (header.scales[i], header.offsets[i]) == (1.0, 0.0)


def own_grid(acquisition: Acquisition, keys: Iterable[str]) -> GeoBox:
    """The grid of an acquisition's finest band."""
    return min((acquisition.layers[key].header for key in keys), key=lambda header: header.pixel).grid


def _quality_layers(sensor: Sensor, acquisitions: Iterable[Acquisition], options: Options) -> list[str]:
    """Quality layers that every acquisition must have."""
    there = {name for a in acquisitions for name in a.layers}
    masks = [MASK] if options.mask_pattern is not None else []
    if options.quality is None:
        return [rule.layer for rule in sensor.quality if rule.layer in there] + masks
    rules = {name: sensor.rule(name) for name in options.quality}
    if unknown := [name for name, rule in rules.items() if rule is None]:
        known = ", ".join(rule.layer for rule in sensor.quality) or "none"
        raise InputError(f"{sensor.name} has no quality layer {', '.join(unknown)}; it knows {known}")
    return [rule.layer for rule in rules.values() if rule is not None] + masks


def _complete(acquisitions: Sequence[Acquisition], names: Sequence[str], options: Options) -> list[Acquisition]:
    missing = [[name for name in names if name not in a.layers] for a in acquisitions]
    short = [f"{a.moment.day} lacks {', '.join(m)}" for a, m in zip(acquisitions, missing, strict=True) if m]
    kept = [a for a, m in zip(acquisitions, missing, strict=True) if not m]
    if short and (options.incomplete == "error" or not kept):
        error = MissingBandError(
            f"{len(short)} of {len(acquisitions)} dates lack layers that others have: {_listed(short)}; leave these "
            "dates out (incomplete='drop'), or name the layers that you want (bands=[...], quality=[...])"
        )
        raise fixable(error, **({"incomplete": "drop"} if kept else {}))
    return kept


def _check_types(acquisitions: Sequence[Acquisition], keys: Sequence[str]) -> None:
    for key in keys:
        found: dict[str, list[str]] = {}
        for a in acquisitions:
            found.setdefault(a.layers[key].dtype, []).append(f"{a.moment.day} ({a.layers[key].header.name})")
        if len(found) > 1:
            kinds = sorted(found.items(), key=lambda kind: len(kind[1]))
            listed = "; ".join(f"{dtype}: {_listed(days, 3)}" for dtype, days in kinds)
            odd = tuple(a.layers[key].header.name for a in acquisitions if a.layers[key].dtype != kinds[-1][0])
            message = f"{key} has other pixel types at other dates ({listed}); convert them to one, or exclude some"
            raise fixable(InputError(message), exclude=odd)


def _check_baselines(sensor: Sensor, acquisitions: Sequence[Acquisition], keys: Sequence[str]) -> None:
    rule = sensor.baseline_offset
    if rule is None:
        return
    unknown = [a for a in acquisitions if a.baseline is None and any(product_numbers(a.layers[key]) for key in keys)]
    if unknown:
        days = _listed([str(a.moment.day) for a in unknown])
        shift = rule.add * sensor.band(keys[0]).stored.scale
        error = InputError(
            f"the processing baseline of {len(unknown)} date(s) is not known ({days}), so it is not known whether "
            f"{-rule.add:g} must be subtracted from the numbers (baselines from {rule.since} on; the date does not "
            "tell, old images were processed again); give baseline='05.09' or a column baseline in dates_csv, or "
            f"offset={shift:g} if it must and offset=0 if not (`sitsfusion doctor` measures which is likely)"
        )
        raise fixable(error, offset=0.0)


def _common_grid(folder: Path, acquisitions: Sequence[Acquisition], keys: Sequence[str], options: Options) -> GeoBox:
    own = [own_grid(a, keys) for a in acquisitions]
    if options.resample_to == "first":
        return own[0]
    if options.resample_to is not None:
        return files.read_header(folder, options.resample_to).grid
    usual, _ = Counter(describe(grid) for grid in own).most_common(1)[0]
    reference = next(grid for grid in own if describe(grid) == usual)
    named = [(f"{a.id} of {a.moment.day}: {describe(g)}", g) for a, g in zip(acquisitions, own, strict=True)]
    if odd := [text for text, grid in named if not same_grid(grid, reference)]:
        error = GridError(
            f"{len(odd)} of {len(own)} images lie on another grid than the others ({usual}): {_listed(odd)}; put them "
            "on one (resample_to='first', or the name of a file), or exclude them"
        )
        raise fixable(error, resample_to="first")
    return reference


def _placed(layer: Layer, grid: GeoBox) -> Placing:
    try:
        return place(layer.header.grid, grid)
    except GridError as error:
        what = f"{layer.header.name} ({layer.name}): {error}"
        remedy = "warp it onto the others (rio warp --like), or leave it out (exclude)"
        raise fixable(GridError(f"{what}; {remedy}"), exclude=(layer.header.name,)) from error


def _native(sensor: Sensor, layer: Layer, grid: GeoBox) -> int:
    """Grid pixels along one real pixel of a band: the sensor's, or the file's if that is coarser."""
    metres = 1.0
    if grid.crs is not None and grid.crs.geographic:
        middle = grid.affine.f + grid.affine.e * grid.shape.y / 2
        metres = _METRES_PER_DEGREE * cos(middle * pi / 180)
    real = max(sensor.band(layer.name).resolution, layer.header.pixel * metres)
    return max(1, round(real / (grid.affine.a * metres)))


def _listed(texts: Sequence[str], most: int = _NAMED) -> str:
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
