"""Grids and their common cells.

A grid is an odc-geo `GeoBox`. Grids of one scene must *nest*: there is a lattice of common cells such that each
cell holds a whole number of pixels of every grid, edge on edge (30 m cells for 10, 15 and 30 m). Everything that is
cut, tiled or padded is counted in cells, so no pixel of any sensor is ever split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, lcm

from odc.geo.geobox import GeoBox

from sitsfusion.errors import GridError

# Positions closer than this share of a pixel count as equal: file headers round coordinates.
TOLERANCE = 0.01
# Cells larger than this many of the coarsest pixels mean that the grids do not really nest.
_MOST_COARSE_PIXELS = 12


@dataclass(frozen=True)
class Window:
    """A rectangle of cells (or pixels): first row and column, height and width."""

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    @property
    def empty(self) -> bool:
        return self.height <= 0 or self.width <= 0

    def scaled(self, factor: int) -> Window:
        """The same rectangle counted in units `factor` times smaller."""
        return Window(self.row * factor, self.col * factor, self.height * factor, self.width * factor)

    def padded(self, margin: int, within: tuple[int, int]) -> Window:
        """Grown by `margin` on every side and clipped to `[0, height) x [0, width)`."""
        return Window(self.row - margin, self.col - margin, self.height + 2 * margin, self.width + 2 * margin).clipped(
            within
        )

    def clipped(self, within: tuple[int, int]) -> Window:
        """The part inside `[0, height) x [0, width)`."""
        row, col = max(self.row, 0), max(self.col, 0)
        bottom, right = min(self.row + self.height, within[0]), min(self.col + self.width, within[1])
        return Window(row, col, bottom - row, right - col)

    def relative_to(self, other: Window) -> Window:
        """The same rectangle counted from the first row and column of `other`."""
        return Window(self.row - other.row, self.col - other.col, self.height, self.width)


def common_cells(grids: Mapping[str, GeoBox]) -> GeoBox:
    """The lattice of common cells over the common extent of the grids: one "pixel" of the result is a cell.

    Raises:
        GridError: no grid, different or partly missing CRS, rotated grids, grids that do not nest, no common cell.
    """
    if not grids:
        raise GridError("a scene needs at least one grid")
    _same_crs(grids)
    for name, grid in grids.items():
        if not grid.axis_aligned or grid.affine.a <= 0 or grid.affine.e >= 0:
            raise GridError(f"{name}: the grid is rotated or not north-up ({grid.affine[:6]}); warp it first")
    x0, width, dx = _axis({n: (g.affine.c, g.affine.a, g.shape.x) for n, g in grids.items()}, "x")
    # y runs downwards: mirrored so that the same arithmetic serves both axes
    y0, height, dy = _axis({n: (-g.affine.f, -g.affine.e, g.shape.y) for n, g in grids.items()}, "y")
    finest = next(iter(grids.values()))
    affine = type(finest.affine)(dx, 0, x0, 0, -dy, -y0)
    return GeoBox((height, width), affine, finest.crs)


def per_cell(grid: GeoBox, cells: GeoBox) -> int:
    """Pixels of a nested grid along one side of a cell.

    Raises:
        GridError: the two axes differ.
    """
    x, y = cells.affine.a / grid.affine.a, cells.affine.e / grid.affine.e
    if round(x) != round(y):
        raise GridError(f"a cell holds {x:g} x {y:g} pixels; only square ratios are supported: warp this grid first")
    return round(x)


def pixel_window(grid: GeoBox, cells: GeoBox) -> Window:
    """The rectangle of `grid`'s pixels that the lattice `cells` covers (it may reach beyond the grid)."""
    n = per_cell(grid, cells)
    row = (grid.affine.f - cells.affine.f) / -grid.affine.e
    col = (cells.affine.c - grid.affine.c) / grid.affine.a
    return Window(round(row), round(col), cells.shape.y * n, cells.shape.x * n)


def covering(grid: GeoBox, left: float, bottom: float, right: float, top: float) -> Window:
    """The pixels of a grid that a box touches, clipped to the grid; empty when it misses the grid."""
    a = grid.affine
    row, col = floor((top - a.f) / a.e + TOLERANCE), floor((left - a.c) / a.a + TOLERANCE)
    last_row, last_col = ceil((bottom - a.f) / a.e - TOLERANCE), ceil((right - a.c) / a.a - TOLERANCE)
    return Window(row, col, last_row - row, last_col - col).clipped((grid.shape.y, grid.shape.x))


def crop(grid: GeoBox, window: Window) -> GeoBox:
    """The part of a grid inside a window."""
    rows, cols = window.slices
    return grid[rows, cols]


def refine(cells: GeoBox, n: int) -> GeoBox:
    """The grid with `n x n` pixels in each cell."""
    a = cells.affine
    fine = type(a)(a.a / n, 0, a.c, 0, a.e / n, a.f)
    return GeoBox((cells.shape.y * n, cells.shape.x * n), fine, cells.crs)


def describe(grid: GeoBox) -> str:
    """One line for messages: size, pixel, corner, CRS."""
    a = grid.affine
    size, corner = f"{grid.shape.y} x {grid.shape.x}", f"({a.c:.10g}, {a.f:.10g})"
    return f"{size} pixels of {a.a:g} x {-a.e:g} from {corner}, {crs_name(grid)}"


def crs_name(grid: GeoBox) -> str:
    """The EPSG code of a grid's coordinate system where it has one, else its definition; "no CRS" without one."""
    if grid.crs is None:
        return "no CRS"
    return str(grid.crs) if grid.crs.epsg is None else f"EPSG:{grid.crs.epsg}"


def _same_crs(grids: Mapping[str, GeoBox]) -> None:
    found = {name: grid.crs for name, grid in grids.items()}
    if len(set(found.values())) > 1:
        listed = "; ".join(f"{name}: {crs or 'no CRS'}" for name, crs in found.items())
        raise GridError(f"the grids have different coordinate systems ({listed}); warp them to one (--resample ROLE)")


def _axis(axes: Mapping[str, tuple[float, float, int]], letter: str) -> tuple[float, int, float]:
    """(start, number of cells, cell size) of the common lattice on one axis, from start, step and size per grid."""
    cell = _common_step({name: step for name, (_, step, _) in axes.items()}, letter)
    anchor = _anchor(axes, cell, letter)
    # the common extent, in whole cells
    first = max(ceil((start - anchor - TOLERANCE * step) / cell) for start, step, _ in axes.values())
    last = min(floor((start + step * size - anchor + TOLERANCE * step) / cell) for start, step, size in axes.values())
    if last <= first:
        spans = "; ".join(f"{n}: {s:g} to {s + d * k:g}" for n, (s, d, k) in axes.items())
        raise GridError(f"the grids have no common extent along {letter} of at least one cell of {cell:g} ({spans})")
    return anchor + first * cell, last - first, cell


def _common_step(steps: Mapping[str, float], letter: str) -> float:
    """The smallest length that is a whole number of every step."""
    finest = min(steps.values())
    ratios = {name: Fraction(step / finest).limit_denominator(64) for name, step in steps.items()}
    for name, ratio in ratios.items():
        if abs(float(ratio) - steps[name] / finest) > 1e-6 * float(ratio):
            raise GridError(_no_nesting(steps, letter, "pixel sizes have no common multiple"))
    cells = lcm(*(r.numerator for r in ratios.values()))
    if cells * finest > _MOST_COARSE_PIXELS * max(steps.values()):
        raise GridError(_no_nesting(steps, letter, f"the smallest common cell would be {cells * finest:g}"))
    return cells * finest


def _anchor(axes: Mapping[str, tuple[float, float, int]], cell: float, letter: str) -> float:
    """A position where pixel edges of all grids meet."""
    start, step, _ = max(axes.values(), key=lambda axis: axis[1])
    for k in range(round(cell / step)):
        candidate = start + k * step
        if all(_off_edge(candidate, s, d) <= TOLERANCE for s, d, _ in axes.values()):
            return candidate
    offsets = {name: s for name, (s, _, _) in axes.items()}
    raise GridError(_no_nesting(offsets, letter, "pixel edges never meet", "start at"))


def _off_edge(position: float, start: float, step: float) -> float:
    """Distance from a position to the nearest pixel edge of a grid, in its pixels."""
    pixels = (position - start) / step
    return abs(pixels - round(pixels))


def _no_nesting(values: Mapping[str, float], letter: str, why: str, what: str = "step") -> str:
    listed = ", ".join(f"{name} {what} {value:.10g}" for name, value in values.items())
    return (
        f"the grids do not nest along {letter}: {why} ({listed}). "
        "Resample one onto a grid that nests in the other (--resample ROLE, or `Cube.onto`)"
    )
