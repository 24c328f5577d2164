"""Raster files through GDAL: their header, and windows of their bands.

Every call opens the file and closes it again, so that nothing is shared between threads or processes. A path is what
`sitsfusion.io.files.gdal_path` gives: a file, or a member of an archive (/vsizip/, /vsitar/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from sitsfusion.errors import ReadError
from sitsfusion.grid import Window


@dataclass(frozen=True)
class Header:
    """What a raster file says of itself; `tags` are its own and those of its first band."""

    grid: GeoBox
    count: int
    dtype: str
    nodata: float | None
    tags: Mapping[str, str]


def header(path: str) -> Header:
    """The header of a raster file.

    Raises:
        ReadError: the file is missing or no raster.
    """
    with _opened(path) as file:
        grid = GeoBox((file.height, file.width), file.transform, file.crs)
        return Header(grid, file.count, file.dtypes[0], file.nodata, {**file.tags(), **file.tags(1)})


def read_window(path: str, bands: Sequence[int] | None, window: Window) -> NDArray[np.generic]:
    """Pixels [c, h, w], as stored, of some bands (counted from 0; None: all) inside a window of the file's grid.

    Raises:
        ReadError: the file is missing, damaged, or has no such band or pixel.
    """
    with _opened(path) as file:
        wanted = range(file.count) if bands is None else bands
        absent = [band for band in wanted if not 0 <= band < file.count]
        if absent:
            raise ReadError(f"{path} has {file.count} band(s), counted from 0; there is no band {absent}")
        if window.clipped((file.height, file.width)) != window:
            raise ReadError(f"{path} has {file.height} x {file.width} pixels; {window} does not lie inside")
        inside = RasterWindow(window.col, window.row, window.width, window.height)
        return np.asarray(file.read([band + 1 for band in wanted], window=inside))


def read_repeated(path: str, bands: Sequence[int] | None, window: Window, factor: int) -> NDArray[np.generic]:
    """As `read_window`, for a window of a grid that has `factor` x `factor` pixels in each pixel of the file."""
    top, left = window.row // factor, window.col // factor
    bottom, right = -(-(window.row + window.height) // factor), -(-(window.col + window.width) // factor)
    coarse = read_window(path, bands, Window(top, left, bottom - top, right - left))
    fine = coarse.repeat(factor, axis=1).repeat(factor, axis=2)
    rows, cols = window.relative_to(Window(top * factor, left * factor, 0, 0)).slices
    return fine[:, rows, cols]


@contextmanager
def _opened(path: str) -> Iterator[DatasetReader]:
    try:
        with rasterio.open(path) as file:
            yield file
    except (RasterioError, OSError) as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError(f"{path} cannot be read ({error}); download or unpack it again") from error
