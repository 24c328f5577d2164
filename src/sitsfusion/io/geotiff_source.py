"""The pixels of one acquisition that lies in one or many GeoTIFFs, some perhaps of coarser pixels than the cube's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sitsfusion.cube import Stored
from sitsfusion.grid import Window, crop
from sitsfusion.io import rasters
from sitsfusion.io.files import file_prints
from sitsfusion.io.placing import Placing, flags_on_grid
from sitsfusion.io.warp import Method, Warper
from sitsfusion.sensors import Encoding, QualityRule

_KERNEL = 3  # coarse pixels around a window: a cubic kernel spans two on each side


@dataclass(frozen=True)
class StoredBand:
    """One band of one file: `index` counts from 0; `grid` is the file's, `placing` how it lies on the cube's."""

    file: Path
    index: int
    grid: GeoBox
    placing: Placing
    encoding: Encoding


@dataclass(frozen=True)
class StoredFlags:
    """A quality layer with its rule, or a mask file (`rule` None: above 0 is unusable)."""

    file: Path
    index: int
    grid: GeoBox
    placing: Placing
    rule: QualityRule | None

    def clear(self, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
        """True where the layer calls a pixel usable; never where the layer itself has no number."""
        numbers = np.asarray(stored, np.float64)
        known = np.isfinite(numbers)
        numbers = np.where(known, numbers, 0)
        usable = numbers <= 0 if self.rule is None else self.rule.clear(numbers.astype(np.int64))
        return known & usable


@dataclass(frozen=True)
class GeoTiffSource:
    """One acquisition; stored date 0 is the only one.

    Bands of coarser pixels are interpolated to `grid` (kernel `interpolation`) in stored numbers; then all values are
    float32. `valid_range`: stored numbers outside are read as nodata.
    """

    place: Path
    grid: GeoBox
    bands: tuple[StoredBand, ...]
    flags: tuple[StoredFlags, ...]
    interpolation: Method
    valid_range: tuple[float, float] | None = None

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        wanted = [self.bands[i] for i in bands]
        read: dict[tuple[Path, int], NDArray[np.generic]] = {}
        for file in dict.fromkeys(band.file for band in wanted):
            of_file = [band for band in wanted if band.file == file]
            read |= {(file, band.index): v for band, v in zip(of_file, self._read(of_file, window), strict=True)}
        values = [read[band.file, band.index] for band in wanted]
        if len({v.dtype for v in values}) > 1:
            values = [v.astype(np.float32) for v in values]
        return Stored(np.stack(values), tuple(band.encoding for band in wanted), self._clear(window))

    def fingerprint(self, t: int) -> Mapping[str, object]:
        files = file_prints(self.place, [band.file for band in self.bands] + [flags.file for flags in self.flags])
        reading = {"interpolation": self.interpolation, "valid_range": self.valid_range}
        layers = [f"{band.file.name}:{band.index + 1}" for band in self.bands]
        return {"files": files, "layers": layers, **reading, "encodings": [b.encoding.model_dump() for b in self.bands]}

    def _read(self, bands: Sequence[StoredBand], window: Window) -> Sequence[NDArray[np.generic]]:
        """Bands of one file, hence of one placing, on the cube's grid."""
        first = bands[0]
        direct = first.placing.direct
        needed = first.placing.needed(window, 0 if direct else _KERNEL)
        inside = needed.clipped((first.grid.shape.y, first.grid.shape.x))
        if inside.empty:
            return [np.full((window.height, window.width), np.nan, np.float32) for _ in bands]
        stored = rasters.read_window(str(first.file), [band.index for band in bands], inside)
        values = [self._without_odd(band, v) for band, v in zip(bands, stored, strict=True)]
        if direct and inside == needed:
            return values
        numbers = np.stack([_with_nan(band.encoding, v) for band, v in zip(bands, values, strict=True)])
        if direct:
            return list(_padded(numbers, inside, needed))
        up = float(first.placing.up)
        warper = Warper(crop(first.grid, inside), crop(self.grid, window), self.interpolation, (up, up))
        return list(warper.values(numbers))

    def _without_odd(self, band: StoredBand, values: NDArray[np.generic]) -> NDArray[np.generic]:
        if self.valid_range is None:
            return values
        low, high = self.valid_range
        fill = np.nan if band.encoding.nodata is None else band.encoding.nodata
        numbers = values.astype(np.float64)
        return np.where((numbers < low) | (numbers > high), np.asarray(fill, values.dtype), values)

    def _clear(self, window: Window) -> NDArray[np.bool_] | None:
        if not self.flags:
            return None
        return np.asarray(np.logical_and.reduce([self._flags(layer, window) for layer in self.flags]))

    def _flags(self, layer: StoredFlags, window: Window) -> NDArray[np.bool_]:
        needed = layer.placing.needed(window)
        inside = needed.clipped((layer.grid.shape.y, layer.grid.shape.x))
        clear = np.zeros((needed.height, needed.width), bool)
        if not inside.empty:
            stored = rasters.read_window(str(layer.file), [layer.index], inside)[0]
            clear[inside.relative_to(needed).slices] = layer.clear(stored)
        return flags_on_grid(clear, layer.placing, window)


def _with_nan(encoding: Encoding, stored: NDArray[np.generic]) -> NDArray[np.float32]:
    """Stored numbers as float32, NaN where there is no data."""
    missing = np.zeros(stored.shape, bool) if encoding.nodata is None else stored == encoding.nodata
    numbers = stored.astype(np.float32)
    numbers[missing] = np.nan
    return numbers


def _padded(values: NDArray[np.float32], inside: Window, needed: Window) -> NDArray[np.float32]:
    out = np.full((len(values), needed.height, needed.width), np.nan, np.float32)
    rows, cols = inside.relative_to(needed).slices
    out[:, rows, cols] = values
    return out
