"""Results as one Zarr store: a group per product, a variable per band [time, y, x], CF names and encodings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sitsfusion.engine.job import Job, Task
from sitsfusion.engine.outputs import Product
from sitsfusion.engine.quality import Quality
from sitsfusion.engine.store import images
from sitsfusion.methods.base import Block

_EPOCH = np.datetime64("1970-01-01", "D")


class ZarrStore:
    """Each task writes whole shards only: one shard is one date of one tile of one band."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @property
    def path(self) -> str:
        return str(self.job.output.folder / "prediction.zarr")

    def create(self) -> None:
        root = zarr.open_group(self.path, mode="w", zarr_format=3)
        root.attrs["provenance"] = self.job.provenance()
        for made in self.job.products():
            self._create_group(root, made)

    def write(self, task: Task, blocks: Mapping[str, Block], quality: Mapping[str, Quality]) -> str:
        digest = hashlib.sha256()
        root = zarr.open_group(self.path, mode="r+", zarr_format=3)
        for made, day, stored in images(self.job, task, blocks, quality):
            if made.kind == "sigma" and made.name not in root:
                self._create_group(root, made)
            group, t = root[made.name], self.job.query[made.role].dates.index(day)
            rows, cols = task.core.scaled(task.step.query[made.role].per_cell).slices
            for name, band in zip(made.layout.bands, stored, strict=True):
                group[name][t, rows, cols] = band
            digest.update(np.ascontiguousarray(stored).tobytes())
        return digest.hexdigest()

    def holds(self, task: Task) -> bool:
        return Path(self.path).exists()

    def _create_group(self, root: Any, made: Product) -> None:
        layout, dates = made.layout, self.job.query[made.role].dates
        n = self.job.query[made.role].per_cell
        group = root.require_group(made.name)
        group.attrs.update(_georeference(layout.grid))
        group.attrs["sensor"] = self.job.query[made.role].sensor.name
        days = (np.array(dates, "datetime64[D]") - _EPOCH).astype(np.int64)
        _coordinate(group, "time", days, {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"})
        for axis in ("y", "x"):
            _coordinate(group, axis, _centres(layout.grid, axis), {})
        crs = group.create_array("spatial_ref", shape=(), dtype="int64", dimension_names=())
        crs.attrs.update(_grid_mapping(layout.grid))
        tile = (1, self.job.tiles.height * n, self.job.tiles.width * n)
        for name, encoding, unit in zip(layout.bands, layout.encodings, layout.units, strict=True):
            fill = 0 if encoding.nodata is None else encoding.nodata
            band = group.create_array(
                name,
                shape=(len(dates), *layout.grid.shape),
                dtype=encoding.dtype,
                chunks=tile,
                shards=tile,
                fill_value=fill,
                dimension_names=("time", "y", "x"),
            )
            attributes = {"scale_factor": encoding.scale, "add_offset": encoding.offset, "grid_mapping": "spatial_ref"}
            if encoding.nodata is not None and not np.isnan(encoding.nodata):
                attributes["_FillValue"] = band.dtype.type(encoding.nodata).item()
            band.attrs.update({**attributes, "units": unit})


def _coordinate(group: Any, name: str, values: NDArray[Any], attributes: Mapping[str, str]) -> None:
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=(name,))
    array[:] = values
    array.attrs.update(attributes)


def _centres(grid: GeoBox, axis: str) -> NDArray[np.float64]:
    a, shape = grid.affine, grid.shape
    if axis == "x":
        return np.asarray(a.c + a.a * (np.arange(shape.x) + 0.5))
    return np.asarray(a.f + a.e * (np.arange(shape.y) + 0.5))


def _georeference(grid: GeoBox) -> dict[str, Any]:
    a = grid.affine
    found: dict[str, Any] = {"spatial:transform": [a.a, a.b, a.c, a.d, a.e, a.f]}
    if grid.crs is not None:
        found["proj:code"] = str(grid.crs)
    return found


def _grid_mapping(grid: GeoBox) -> dict[str, str]:
    a = grid.affine
    found = {"GeoTransform": f"{a.c!r} {a.a!r} {a.b!r} {a.f!r} {a.d!r} {a.e!r}"}
    if grid.crs is not None:
        found |= {"crs_wkt": grid.crs.to_wkt(), "spatial_ref": grid.crs.to_wkt()}
    return found
