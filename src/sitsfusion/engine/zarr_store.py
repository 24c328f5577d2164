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

from sitsfusion.engine.files import part_of, place_folder
from sitsfusion.engine.job import Job, Task
from sitsfusion.engine.outputs import Product
from sitsfusion.engine.quality import Quality
from sitsfusion.engine.store import ZARR, Results, results
from sitsfusion.methods.base import Block
from sitsfusion.sensors import Encoding

_EPOCH = np.datetime64("1970-01-01", "D")


class ZarrStore:
    """Each task writes whole objects only.

    A chunk is one date of one tile of one band. Where one step makes all dates of a role, the chunks of all dates of
    a tile are one shard (one file), else each is a file of its own: two tasks never write to one file.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    @property
    def path(self) -> Path:
        return self.job.output.folder / ZARR

    def create(self) -> None:
        if self.path.exists():
            return
        part = part_of(self.path)
        root: Any = zarr.open_group(str(part), mode="w", zarr_format=3)
        root.attrs["provenance"] = self.job.provenance()
        for made in self.job.products():
            self._fill_group(root.create_group(made.name), made)
        place_folder(part, self.path)

    def write(self, task: Task, blocks: Mapping[str, Block], quality: Mapping[str, Quality]) -> str:
        digest = hashlib.sha256()
        for series in results(self.job, task, blocks, quality):
            if series.made.kind == "sigma":
                self._add_group(series.made)
            stored = np.stack([series.image(t) for t in range(len(series.dates))])  # [t c h w]
            self._write_series(task, series, stored)
            digest.update(stored.data)
        return digest.hexdigest()

    def holds(self, task: Task) -> bool:
        return self.path.exists()

    def _write_series(self, task: Task, series: Results, stored: NDArray[np.generic]) -> None:
        group: Any = zarr.open_group(str(self.path / series.made.name), mode="r+")
        wanted = self.job.query[series.made.role]
        rows, cols = task.core.scaled(wanted.per_cell).slices
        for c, name in enumerate(series.made.layout.bands):
            if self._one_step(series.made):
                group[name][:, rows, cols] = stored[:, c]
            else:
                for t, day in enumerate(series.dates):
                    group[name][wanted.dates.index(day), rows, cols] = stored[t, c]

    def _one_step(self, made: Product) -> bool:
        made_by = [step.query[made.role].dates for step in self.job.plan.steps if made.role in step.query]
        return made_by == [self.job.query[made.role].dates]

    def _add_group(self, made: Product) -> None:
        """Make the group of a product that only running shows to exist; other processes may do the same."""
        final = self.path / made.name
        if not final.exists():
            part = part_of(self.path)
            self._fill_group(zarr.open_group(str(part), mode="w", zarr_format=3), made)
            place_folder(part, final)

    def _fill_group(self, group: Any, made: Product) -> None:
        layout, wanted = made.layout, self.job.query[made.role]
        group.attrs.update({**_georeference(layout.grid), "sensor": wanted.sensor.name, "bands": list(layout.bands)})
        days = (np.array(wanted.dates, "datetime64[D]") - _EPOCH).astype(np.int64)
        _coordinate(group, "time", days, {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"})
        for axis in ("y", "x"):
            _coordinate(group, axis, _centres(layout.grid, axis), {"axis": axis.upper()})
        crs = group.create_array("spatial_ref", shape=(), dtype="int64", dimension_names=())
        crs.attrs.update(_grid_mapping(layout.grid))
        height, width = (side * wanted.per_cell for side in self.job.tiles.largest)
        shard = (len(wanted.dates), height, width) if self._one_step(made) else None
        for name, encoding, unit in zip(layout.bands, layout.encodings, layout.units, strict=True):
            band = group.create_array(
                name,
                shape=(len(wanted.dates), *layout.grid.shape),
                dtype=encoding.dtype,
                chunks=(1, height, width),
                shards=shard,
                fill_value=0 if encoding.nodata is None else encoding.nodata,
                dimension_names=("time", "y", "x"),
            )
            band.attrs.update({**_cf_encoding(encoding), "grid_mapping": "spatial_ref", "units": unit})


def _cf_encoding(encoding: Encoding) -> dict[str, Any]:
    found: dict[str, Any] = {"scale_factor": encoding.scale, "add_offset": encoding.offset}
    if encoding.nodata is not None and not np.isnan(encoding.nodata):
        found["_FillValue"] = np.dtype(encoding.dtype).type(encoding.nodata).item()
    return found


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
