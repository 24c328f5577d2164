"""Is an LS2S2 site whole? What the check step of the download looks at, before days of training find it out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from odc.geo.geobox import GeoBox
from rasterio.crs import CRS

from sitsfusion.datasets.ls2s2 import SiteParameters, SiteReader
from sitsfusion.datasets.ls2s2_extract import CUBES, CubeName
from sitsfusion.datasets.ls2s2_splits import Aoi
from sitsfusion.errors import SitsFusionError
from sitsfusion.io import rasters
from sitsfusion.io.ls2s2_index import IndexLine, read_index

PATCH = 3300.0  # metres


@dataclass(frozen=True)
class Finding:
    """What is wrong with a site: an error makes it unusable, a warning is to be known."""

    level: Literal["error", "warning"]
    message: str


@dataclass(frozen=True)
class _Part:
    """An index of a site, and what its images must be: pixel (m), bands, mask files there or not."""

    index: str
    step: float
    bands: int


_PARTS: Mapping[CubeName, _Part] = {
    "sentinel2": _Part("sentinel2/index.csv", 10, 10),
    "landsat": _Part("landsat/index.csv", 30, 8),
    "landsat_pan": _Part("landsat/index_pan.csv", 15, 1),
}


def check(aoi: Aoi, site: Path, names: Collection[CubeName] = CUBES) -> list[Finding]:
    """What is wrong with a site; nothing if it is whole.

    Every file that an index names is opened: it must be there, of the size of the site's box, on one grid per sensor,
    with the right number of bands. Then one patch is read with all bands, Landsat and panchromatic at 15 m. Images in
    another zone than asked for are a warning, and so is a box that is not the one asked for.

    Args:
        aoi: what the site must be.
        site: its folder.
        names: what of it is looked at; without Sentinel-2 or Landsat no patch is read.
    """
    found = [finding for name in names for finding in _part(aoi, site, _PARTS[name])]
    if {"sentinel2", "landsat"} <= set(names) and all(finding.level != "error" for finding in found):
        found += _reading(aoi, site, "landsat_pan" in names)
    return found


def _part(aoi: Aoi, site: Path, part: _Part) -> Iterator[Finding]:
    try:
        lines = [line for line in read_index(site / part.index).values() if line.valid]
    except SitsFusionError as error:
        yield Finding("error", str(error))
        return
    if not lines:
        yield Finding("error", f"{part.index}: no date is valid")
        return
    grids: dict[GeoBox, IndexLine] = {}
    for line in lines:
        for file, bands in ((line.bands, part.bands), (line.mask, 1), (line.snow_mask, 1)):
            if file is not None:
                yield from _file(file, bands, grids, line)
        if line.mask is None:
            yield Finding("error", f"{part.index}: {line.day} is valid, but has no mask")
    if len(grids) > 1:
        days = ", ".join(f"{line.day}" for line in grids.values())
        yield Finding("error", f"{part.index}: images have {len(grids)} different grids, first on {days}")
    elif grids:
        yield from _place(aoi, part, next(iter(grids)))


def _file(file: Path, bands: int, grids: dict[GeoBox, IndexLine], line: IndexLine) -> Iterator[Finding]:
    """Open one file and remember its grid."""
    try:
        head = rasters.header(str(file))
    except SitsFusionError as error:
        yield Finding("error", str(error))
        return
    grids.setdefault(head.grid, line)
    if head.count != bands:
        yield Finding("error", f"{file} has {head.count} bands; expected {bands}")


def _place(aoi: Aoi, part: _Part, grid: GeoBox) -> Iterator[Finding]:
    left, bottom, right, top = aoi.aoi
    expected = round((top - bottom) / part.step), round((right - left) / part.step)
    if tuple(grid.shape) != expected:
        size = " x ".join(map(str, grid.shape))
        yield Finding("error", f"{part.index}: images have {size} pixels; expected {expected[0]} x {expected[1]}")
    elif CRS.from_user_input(str(grid.crs)) != CRS.from_string(aoi.crs):
        found = CRS.from_user_input(str(grid.crs)).to_string()
        yield Finding("warning", f"{part.index}: images are in {found}; {aoi.crs} was asked for")
    elif any(abs(a - b) > 0.01 for a, b in zip(grid.boundingbox, aoi.aoi, strict=True)):
        yield Finding("warning", f"{part.index}: images cover {tuple(grid.boundingbox)}; {aoi.aoi} was asked for")


def _reading(aoi: Aoi, site: Path, pan: bool) -> Iterator[Finding]:
    """The site as training opens it."""
    left, bottom, right, top = aoi.aoi
    parameters = SiteParameters(
        patch_size=min(PATCH, right - left, top - bottom),
        lr_index_files=("index.csv", "index_pan.csv") if pan else ("index.csv",),
        lr_bands=(None, None) if pan else (None,),
        lr_resolution=15,
        dt_orig=None,
        exclude_last_date=False,
    )
    try:
        SiteReader(site, parameters)[0]
    except SitsFusionError as error:
        yield Finding("error", f"a patch cannot be read: {error}")
