"""Put images onto another grid.

`onto` warps a cube lazily, window by window, with GDAL's warper (through rasterio). `nested_grid` builds the grid to
warp to when two grids of a scene do not nest.

What a resampled pixel is made of is decided by absolute positions only, so that any window of the result holds the
same numbers as the same pixels of the whole: the resampling ratio is fixed for the whole grid (GDAL would take it
from each window), the transformation does not depend on the window, and enough source pixels around it are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, hypot
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject, transform_bounds
from rasterio.warp import transform as transform_points

from sitsfusion.cube import Cube, Stored
from sitsfusion.errors import GridError, InputError
from sitsfusion.grid import TOLERANCE, Window, crop, describe
from sitsfusion.sensors import Encoding

Method = Literal["nearest", "bilinear", "cubic", "average"]

# Half width of each kernel in source pixels (in output pixels where the output is coarser).
_RADIUS: Mapping[str, int] = {"nearest": 1, "bilinear": 1, "cubic": 2, "average": 1}
# A share of invalid support larger than this is not a rounding error.
_ANY = 1e-5
# Width of what is warped at a time between two CRS: rows this short are straight to a hundredth of a pixel.
_STRIP = 64
_FLOAT = Encoding(dtype="float32")


def onto(cube: Cube, grid: GeoBox, method: Method = "cubic") -> Cube:
    """The cube resampled onto another grid, also of another CRS. Lazy: pixels are warped when they are read.

    Values are decoded first and come back as float32 physical units. A value is NaN where any source pixel that the
    kernel spans was never observed, or where the output pixel's centre (with `average`: all of it) lies outside the
    cube. A pixel is valid
    only if all source pixels that the kernel spans are valid: 1 for `nearest`, 2 x 2 for `bilinear`, 4 x 4 for
    `cubic` (one more pixel around where the output is aligned with the source), every pixel that the output pixel
    covers for `average`; kernels widen in proportion when the output is coarser. At the border of the cube the
    kernel has the pixels that exist.

    Args:
        cube: with a CRS.
        grid: north-up, with a CRS.
        method: `nearest` (classes; moves pixels by up to half a pixel), `bilinear` (smooths), `cubic` (Keys,
            a = -0.5; keeps detail, may overshoot at sharp edges), `average` (area mean, for coarser grids only).

    Raises:
        GridError: no CRS, a rotated output grid, no overlap, or `average` onto finer pixels.
    """
    _check(cube.grid, grid, method)
    source = WarpedSource(cube, grid, method)
    wider = [n * _pixel(cube.grid, grid) for n in cube.native]
    native = tuple(max(1, round(n)) for n in wider)
    return Cube(cube.sensor, cube.bands, grid, cube.dates, source, cube.items, native)


def nested_grid(reference: GeoBox, ratio: int, extent: GeoBox | None = None) -> GeoBox:
    """A grid whose pixels are `ratio` x `ratio` pixels of `reference`, edge on edge.

    Pixels are counted from the upper left corner of `reference`; the result has those that lie wholly inside
    `extent` (default: inside `reference`), which may have another CRS.

    Raises:
        InputError: a ratio below 1. GridError: no such pixel.
    """
    if ratio < 1:
        raise InputError(f"a ratio of {ratio} is not possible: one output pixel must be 1, 2, 3, ... reference pixels")
    a, (x0, y0, x1, y1) = reference.affine, _bounds(extent or reference, reference)
    step_x, step_y = a.a * ratio, -a.e * ratio
    left, right, top, bottom = (x0 - a.c) / step_x, (x1 - a.c) / step_x, (a.f - y1) / step_y, (a.f - y0) / step_y
    slack = TOLERANCE / ratio
    col, row = ceil(left - slack), ceil(top - slack)
    width, height = floor(right + slack) - col, floor(bottom + slack) - row
    if width < 1 or height < 1:
        raise GridError(f"{describe(extent or reference)} does not hold a single pixel of {step_x:g} x {step_y:g}")
    affine = type(a)(step_x, 0, a.c + col * step_x, 0, -step_y, a.f - row * step_y)
    return GeoBox((height, width), affine, reference.crs)


@dataclass(frozen=True)
class WarpedSource:
    """Pixels of a cube on another grid. Reads float32 physical values with NaN where never observed."""

    cube: Cube
    grid: GeoBox
    method: Method

    def read(self, t: int, bands: Sequence[int], window: Window) -> Stored:
        strips = self._strips(window)
        wide = Window(window.row, strips[0].col, window.height, sum(strip.width for strip in strips))
        encodings, keys = tuple(_FLOAT for _ in bands), [self.cube.bands[i] for i in bands]
        around = source_window(self.cube.grid, crop(self.grid, wide), self._margin())
        if around.empty:
            shape = (window.height, window.width)
            return Stored(np.full((len(bands), *shape), np.nan, np.float32), encodings, np.zeros(shape, bool))
        part = self.cube.select(bands=keys).window(around)
        frame, scale = part.frame(t), kernel_scale(self.cube.grid, self.grid)
        warpers = [Warper(part.grid, crop(self.grid, strip), self.method, scale) for strip in strips]
        cols = slice(window.col - wide.col, window.col - wide.col + window.width)
        values = np.concatenate([warper.values(frame.values) for warper in warpers], axis=2)[:, :, cols]
        valid = np.concatenate([warper.all_of(frame.valid) for warper in warpers], axis=1)[:, cols]
        return Stored(values, encodings, valid)

    def fingerprint(self, t: int) -> Mapping[str, object]:
        warp = {"onto": describe(self.grid), "method": self.method}
        return {"files": [], **self.cube.fingerprint(t), "warp": warp, "from": describe(self.cube.grid)}

    def _strips(self, window: Window) -> list[Window]:
        """What to warp at a time: the window, or between two CRS the columns of the grid's fixed strips that it meets.

        GDAL interpolates the transformation along each row of what it is given, whatever its tolerance option says.
        """
        if self.cube.grid.crs == self.grid.crs:
            return [window]
        first, stop = window.col - window.col % _STRIP, window.col + window.width
        whole = (self.grid.shape.y, self.grid.shape.x)
        return [Window(window.row, col, window.height, _STRIP).clipped(whole) for col in range(first, stop, _STRIP)]

    def _margin(self) -> int:
        widest = max(1.0, *(1 / scale for scale in kernel_scale(self.cube.grid, self.grid)))
        # one more ring for `all_of`, one for rounding
        return ceil((_RADIUS[self.method] + 1) * widest) + 1


@dataclass(frozen=True)
class Warper:
    """Warps arrays from one grid to another.

    `scale` is (x, y): source pixel over output pixel, above 1 when the output is finer; the same for every window of
    one job.
    """

    source: GeoBox
    target: GeoBox
    method: Method
    scale: tuple[float, float]

    def values(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images [c, h, w] float32 with NaN to the target [c, h', w']; NaN where any of the support is NaN."""
        missing = np.isnan(values)
        out = self._warp(np.where(missing, np.float32(0), values), self.method)
        for band, gaps in zip(out, missing, strict=True):
            if gaps.any():
                band[~self.all_of(~gaps)] = np.nan
        return out

    def all_of(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """[h, w] bool to the target: True where the whole support is True; outside the source False."""
        bad = ~flags
        if self.method == "cubic":
            # a cubic kernel spans twice as far as a bilinear one and has negative weights, which could cancel:
            # ask a bilinear kernel about a mask that was grown by the difference
            bad = _grown(bad, [ceil(max(1.0, 1 / s)) for s in reversed(self.scale)])
        spanning: Method = "bilinear" if self.method == "cubic" else self.method
        share = self._warp(bad[None].astype(np.float32), spanning)[0]
        return np.asarray(share < _ANY)  # NaN, outside, compares False

    def _warp(self, values: NDArray[np.float32], method: str) -> NDArray[np.float32]:
        out = np.full((len(values), *self.target.shape), np.nan, np.float32)
        reproject(
            np.ascontiguousarray(values), out,
            src_transform=self.source.affine, src_crs=crs_of(self.source),
            dst_transform=self.target.affine, dst_crs=crs_of(self.target), dst_nodata=np.nan,
            resampling=Resampling[method], XSCALE=self.scale[0], YSCALE=self.scale[1],
        )  # fmt: skip
        return out


def kernel_scale(source: GeoBox, target: GeoBox) -> tuple[float, float]:
    """(x, y) ratio of source pixel over output pixel, measured at the centre of the output grid."""
    a, b = source.affine, target.affine
    if source.crs == target.crs:
        return a.a / b.a, a.e / b.e
    x, y = b.c + b.a * target.shape.x / 2, b.f + b.e * target.shape.y / 2
    xs, ys = transform_points(crs_of(target), crs_of(source), [x, x + b.a, x], [y, y, y + b.e])
    return a.a / hypot(xs[1] - xs[0], ys[1] - ys[0]), -a.e / hypot(xs[2] - xs[0], ys[2] - ys[0])


def source_window(source: GeoBox, target: GeoBox, margin: int) -> Window:
    """The source pixels below a target grid, with a margin of source pixels, clipped to the source (may be empty)."""
    a, b = source.affine, target.affine
    edge = target.boundary(16)  # points along it: straight lines are curved in another CRS
    x, y = b.c + b.a * edge[:, 0], b.f + b.e * edge[:, 1]
    if source.crs != target.crs:
        x, y = (np.asarray(v) for v in transform_points(crs_of(target), crs_of(source), x, y))
    cols, rows = (x - a.c) / a.a, (y - a.f) / a.e
    col, row = floor(np.min(cols)) - margin, floor(np.min(rows)) - margin
    right, bottom = ceil(np.max(cols)) + margin, ceil(np.max(rows)) + margin
    return Window(row, col, bottom - row, right - col).clipped((source.shape.y, source.shape.x))


def _bounds(grid: GeoBox, reference: GeoBox) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) of a grid in the CRS of another."""
    box = grid.boundingbox
    if grid.crs == reference.crs:
        return box.left, box.bottom, box.right, box.top
    corners = (box.left, box.bottom, box.right, box.top)
    left, bottom, right, top = transform_bounds(crs_of(grid), crs_of(reference), *corners)
    return left, bottom, right, top


def _grown(flags: NDArray[np.bool_], radius: Sequence[int]) -> NDArray[np.bool_]:
    """True wherever a True lies within `radius` (rows, columns)."""
    grown = flags
    for axis, n in enumerate(radius):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (n, n)
        padded = np.pad(grown, pad)
        grown = np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * n + 1, axis=axis).any(axis=-1))
    return grown


def _pixel(source: GeoBox, target: GeoBox) -> float:
    return kernel_scale(source, target)[0]


def crs_of(grid: GeoBox) -> CRS:
    """The coordinate system of a grid as rasterio's; an empty one where the grid has none."""
    return CRS.from_wkt(grid.crs.to_wkt()) if grid.crs is not None else CRS()


def _check(source: GeoBox, target: GeoBox, method: str) -> None:
    if method not in _RADIUS:
        raise InputError(f"unknown resampling method {method!r}; use {', '.join(_RADIUS)}")
    for name, grid in (("the images to warp have", source), ("the grid to warp to has", target)):
        if grid.crs is None:
            raise GridError(f"{name} no coordinate system ({describe(grid)}); a warp needs both")
        if not grid.axis_aligned or grid.affine.a <= 0 or grid.affine.e >= 0:
            raise GridError(f"{name} a rotated or flipped grid: {describe(grid)}; expected rows from north to south")
    if source_window(source, target, 0).empty:
        raise GridError(f"{describe(source)} and the grid to warp to, {describe(target)}, do not overlap")
    if method == "average" and max(kernel_scale(source, target)) > 1 + TOLERANCE:
        raise GridError(f"method average needs pixels at least as large as the source's: {describe(target)}; use cubic")
