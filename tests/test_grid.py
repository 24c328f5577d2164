"""Grids and their common cells."""

from __future__ import annotations

from fractions import Fraction
from math import lcm

import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sitsfusion import grid as grids
from sitsfusion.errors import GridError
from sitsfusion.grid import Window
from tests.scenes import grid

pytestmark = pytest.mark.smoke


def bounds(box: GeoBox) -> tuple[float, float, float, float]:
    return box.boundingbox.bbox


@pytest.mark.parametrize(
    ("steps", "cell"),
    [
        ((10,), 10),
        ((10, 30), 30),
        ((10, 15, 30), 30),
        ((10, 20, 60), 60),
        ((2.5, 10), 10),
        ((480, 30), 480),
        ((4, 6), 12),
    ],
)
def test_cells_are_the_smallest_common_multiple(steps: tuple[float, ...], cell: float) -> None:
    cells = grids.common_cells({str(s): grid((int(960 / s), int(1920 / s)), s) for s in steps})
    assert cells.affine.a == pytest.approx(cell)
    assert cells.shape == (960 // cell, 1920 // cell)
    assert bounds(cells) == pytest.approx((600_000, 4_999_040, 601_920, 5_000_000))


@settings(deadline=None)
@given(
    ratios=st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4),
    base=st.sampled_from([0.25, 1, 2.5, 10, 1e-4]),
    starts=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=4, max_size=4),
    sizes=st.lists(st.tuples(st.integers(5, 9), st.integers(5, 9)), min_size=4, max_size=4),
    jitter=st.floats(-0.004, 0.004),
)
def test_grids_on_one_lattice_nest_whatever_their_extents(
    ratios: list[int], base: float, starts: list, sizes: list, jitter: float
) -> None:
    """Grids that start at whole cells: the common cells are the intersection of the extents, in whole cells."""
    cell = lcm(*ratios)
    made = {}
    for i, ratio in enumerate(ratios):
        (row, col), (height, width) = starts[i], sizes[i]
        step, off = base * ratio, jitter * base * (-1) ** i  # headers round coordinates
        corner = (col * cell * base + off, -(row * cell * base) - off)
        made[str(i)] = GeoBox(
            (height * cell // ratio, width * cell // ratio),
            Affine(step, 0, corner[0], 0, -step, corner[1]),
            "EPSG:32631",
        )
    first = max(s[0] for s in starts[: len(ratios)]), max(s[1] for s in starts[: len(ratios)])
    last = [min(s[k] + z[k] for s, z in zip(starts[: len(ratios)], sizes, strict=False)) for k in (0, 1)]
    if last[0] <= first[0] or last[1] <= first[1]:
        with pytest.raises(GridError, match="no common extent"):
            grids.common_cells(made)
        return
    cells = grids.common_cells(made)
    assert cells.shape == (last[0] - first[0], last[1] - first[1])
    for name, box in made.items():
        n = grids.per_cell(box, cells)
        assert n * box.affine.a == pytest.approx(cells.affine.a)
        window = grids.pixel_window(box, cells)
        assert window.clipped(box.shape) == window, f"{name} does not cover the cells"
        cut = bounds(grids.crop(box, window))
        assert cut == pytest.approx(bounds(cells), abs=0.011 * box.affine.a + 1e-9)


@settings(deadline=None)
@given(a=st.integers(1, 40), b=st.integers(1, 40))
def test_any_two_pixel_sizes_nest_or_are_refused(a: int, b: int) -> None:
    made = {"a": grid((400, 400), a), "b": grid((400, 400), b)}
    cell = lcm(a, b)
    if cell > 12 * max(a, b):
        with pytest.raises(GridError, match=r"do not nest.*--resample"):
            grids.common_cells(made)
    else:
        cells = grids.common_cells(made)
        assert cells.affine.a == pytest.approx(cell)
        assert Fraction(grids.per_cell(made["a"], cells), grids.per_cell(made["b"], cells)) == Fraction(b, a)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({}, "at least one grid"),
        ({"fine": grid((9, 9), 10, None), "coarse": grid((3, 3), 30)}, "fine: no CRS"),
        ({"fine": grid((9, 9), 10), "coarse": grid((3, 3), 30, "EPSG:32632")}, "EPSG:32632.*--resample ROLE"),
        (
            {"fine": grid((9, 9), 10), "coarse": grid((3, 3), 30, corner=(600_005, 5_000_000))},
            "along x: pixel edges never",
        ),
        (
            {"fine": grid((9, 9), 10), "coarse": grid((3, 3), 30, corner=(600_000, 5_000_004))},
            "along y: pixel edges never",
        ),
        ({"fine": grid((90, 90), 10), "coarse": grid((20, 20), 31.5)}, "smallest common cell would be 630"),
        ({"fine": grid((90, 90), 10), "coarse": grid((20, 20), 10 * 2**0.5)}, "no common multiple"),
        (
            {"fine": grid((9, 9), 10), "coarse": grid((3, 3), 30, corner=(700_020, 5_000_000))},
            "no common extent along x",
        ),
        (
            {"fine": GeoBox((9, 9), Affine.rotation(10) * Affine.scale(10, -10), "EPSG:32631")},
            "fine: the grid is rotated",
        ),
        ({"fine": GeoBox((9, 9), Affine(10, 0, 0, 0, 10, 0), "EPSG:32631")}, "not north-up"),
    ],
)
def test_what_does_not_nest_is_refused_with_the_reason(boxes: dict[str, GeoBox], message: str) -> None:
    with pytest.raises(GridError, match=message):
        grids.common_cells(boxes)


def test_pixels_that_are_not_square_relative_to_cells_are_refused() -> None:
    box = GeoBox((10, 30), Affine(10, 0, 0, 0, -30, 0), "EPSG:32631")
    cells = grids.common_cells({"a": box, "b": grid((10, 10), 30, corner=(0, 0))})
    with pytest.raises(GridError, match="3 x 1 pixels"):
        grids.per_cell(box, cells)


def test_grids_without_any_crs_nest() -> None:
    assert grids.common_cells({"a": grid((9, 9), 10, None), "b": grid((3, 3), 30, None)}).crs is None


windows = st.builds(Window, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9), st.integers(1, 9))


@settings(deadline=None)
@given(window=windows, other=windows, factor=st.integers(1, 7), margin=st.integers(0, 5))
def test_window_arithmetic(window: Window, other: Window, factor: int, margin: int) -> None:
    assert window.scaled(factor).height == window.height * factor
    moved = window.relative_to(other)
    assert (moved.row + other.row, moved.col + other.col) == (window.row, window.col)
    assert window.scaled(factor).relative_to(other.scaled(factor)) == moved.scaled(factor)
    clipped = window.padded(margin, (10, 12))
    inside = {
        (r, c)
        for r in range(window.row - margin, window.row + window.height + margin)
        for c in range(window.col - margin, window.col + window.width + margin)
        if 0 <= r < 10 and 0 <= c < 12
    }
    rows, cols = clipped.slices
    found = (
        set() if clipped.empty else {(r, c) for r in range(rows.start, rows.stop) for c in range(cols.start, cols.stop)}
    )
    assert found == inside


@settings(deadline=None)
@given(n=st.integers(1, 12))
def test_refined_cells_cover_the_same_ground(n: int) -> None:
    cells = grid((4, 5), 30)
    fine = grids.refine(cells, n)
    assert fine.shape == (4 * n, 5 * n)
    assert bounds(fine) == pytest.approx(bounds(cells))
    assert grids.per_cell(fine, cells) == n


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((600_000, 4_999_910, 600_090, 5_000_000), Window(0, 0, 3, 3)),
        ((600_031, 4_999_900, 600_059, 4_999_969), Window(1, 1, 3, 1)),
        ((599_000, 4_990_000, 700_000, 6_000_000), Window(0, 0, 4, 5)),
        ((600_030.01, 4_999_880, 600_060.01, 4_999_970), Window(1, 1, 3, 1)),
    ],
)
def test_the_pixels_that_a_box_touches(box: tuple[float, float, float, float], expected: Window) -> None:
    assert grids.covering(grid((4, 5), 30), *box) == expected


def test_a_box_beside_a_grid_touches_nothing() -> None:
    assert grids.covering(grid((4, 5), 30), 0, 0, 10, 10).empty


def test_a_grid_is_described_in_one_line() -> None:
    assert grids.describe(grid((4, 5), 30)) == "4 x 5 pixels of 30 x 30 from (600000, 5000000), EPSG:32631"
    assert grids.describe(grid((4, 5), 30, None)).endswith("no CRS")
