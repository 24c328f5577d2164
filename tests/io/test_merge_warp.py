"""Several images of one day, other grids, and how coarser or finer files lie on a grid."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import date, datetime

import numpy as np
import pytest
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sitsfusion import sensors
from sitsfusion.cube import Cube, Item, Stored
from sitsfusion.errors import DateError, GridError, InputError
from sitsfusion.grid import Window, common_cells
from sitsfusion.io.merge import first_usable, join
from sitsfusion.io.placing import flags_on_grid, place, same_grid
from sitsfusion.io.warp import nested_grid, onto
from sitsfusion.sensors import Encoding
from tests.fake.geotiffs import CORNER, L8, S2, cube, grid

DAY, NEXT = date(2022, 6, 6), date(2022, 6, 22)
METHODS = ("nearest", "bilinear", "cubic", "average")


def plane(box: GeoBox, slope: tuple[float, float] = (0.002, 0.001)) -> Cube:
    """Values linear in the distance (metres) from `CORNER`: any exact placing gives the same plane."""
    x = box.affine.c + box.affine.a * (np.arange(box.shape.x) + 0.5) - CORNER[0]
    y = CORNER[1] - (box.affine.f + box.affine.e * (np.arange(box.shape.y) + 0.5))
    values = (slope[0] * x[None] + slope[1] * y[:, None]).astype(np.float32)
    return Cube.from_array(values[None, None], sensor=sensors.get(L8), bands=["B04"], grid=box, dates=[DAY])


# -- warp --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["bilinear", "cubic"])
@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_half_pixels_are_placed_exactly(method: str, ratio: int) -> None:
    landsat = plane(grid(30, 30, 30, (15, 15)))
    target = nested_grid(grid(90, 90, 10, (60, 60)), ratio)
    found, truth = landsat.onto(target, method).frame(0), plane(target).frame(0)
    inside = (slice(None), slice(8, -24), slice(8, -24))
    np.testing.assert_allclose(found.values[inside], truth.values[inside], atol=1e-5)
    assert not np.isnan(found.values[inside]).any()


def test_average_is_the_mean_of_what_a_pixel_covers() -> None:
    fine = cube([DAY], grid(12, 18))
    coarse = fine.onto(nested_grid(fine.grid, 3), "average").frame(0)
    means = fine.frame(0).values.reshape(2, 4, 3, 6, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse.values, means, atol=1e-6)


def test_same_grid_keeps_the_numbers() -> None:
    fine = cube([DAY])
    for method in METHODS:
        np.testing.assert_allclose(fine.onto(fine.grid, method).frame(0).values, fine.frame(0).values, atol=1e-6)


@pytest.mark.parametrize(("method", "reach"), [("nearest", 1), ("bilinear", 2), ("cubic", 4)])
def test_one_bad_pixel_spoils_what_its_kernel_reaches(method: str, reach: int) -> None:
    """The grid is moved by half a pixel: kernels of 1, 2 x 2 and 4 x 4 source pixels."""
    box, target = grid(12, 12, 30), grid(11, 11, 30, (15, 15))
    values, valid = np.ones((2, 1, 12, 12), np.float32), np.ones((2, 12, 12), bool)
    values[0, 0, 6, 6], valid[1, 6, 6] = np.nan, False
    source = Cube.from_array(
        values, sensor=sensors.get(L8), bands=["B04"], grid=box, dates=[DAY, NEXT], valid=valid
    ).onto(target, method)
    gap, cloud = source.frame(0), source.frame(1)
    lost = np.argwhere(np.isnan(gap.values[0]))
    assert len(lost) == reach**2
    assert np.ptp(lost, axis=0).tolist() == [reach - 1, reach - 1]
    np.testing.assert_array_equal(np.argwhere(~gap.valid), lost)
    np.testing.assert_array_equal(np.argwhere(~cloud.valid), lost)
    np.testing.assert_allclose(cloud.values, 1.0, atol=1e-6)  # cloudy pixels keep their values
    np.testing.assert_allclose(gap.values[~np.isnan(gap.values)], 1.0, atol=1e-6)


def test_outside_the_images_nothing_is_observed() -> None:
    source = cube([DAY], grid(10, 10, 30))
    frame = source.onto(grid(20, 20, 30, (-150, -150)), "cubic").frame(0)
    assert np.isnan(frame.values[:, :5]).all()
    assert not np.isnan(frame.values[:, 5:15, 5:15]).any()
    assert not frame.valid[15:].any()
    far = source.onto(grid(60, 60, 30, (-150, -150)), "bilinear").window(Window(40, 40, 10, 10)).frame(0)
    assert np.isnan(far.values).all()
    assert not far.valid.any()


@st.composite
def targets(draw: st.DrawFn) -> GeoBox:
    """Grids over the square kilometre at `CORNER`: same CRS, the next UTM zone, or degrees."""
    kind = draw(st.sampled_from(["utm", "zone", "degrees"]))
    height, width = draw(st.integers(3, 90)), draw(st.integers(3, 90))
    if kind == "utm":
        pixel = draw(st.sampled_from([10.0, 20.0, 30.0, 70.0]))
        return grid(height, width, pixel, (draw(st.integers(-100, 500)), draw(st.integers(-100, 500))))
    if kind == "zone":
        return GeoBox((height, width), Affine(13.0, 0, 75_150, 0, -13.0, 5_616_800), "EPSG:32632")
    return GeoBox((height, width), Affine(0.0001, 0, 3.001, 0, -0.0001, 50.5516), "EPSG:4326")


@settings(max_examples=40, deadline=None)
@given(data=st.data(), target=targets(), method=st.sampled_from(METHODS), seed=st.integers(0, 99))
def test_any_window_holds_the_same_numbers(data: st.DataObject, target: GeoBox, method: str, seed: int) -> None:
    source = cube([DAY], grid(40, 45, 30, (-60, -90)), seed=seed, gaps=0.01, clouds=0.02)
    assume(method != "average" or target.affine.a >= 30)
    warped = source.onto(target, method)
    height, width = target.shape
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(row, col, data.draw(st.integers(1, height - row)), data.draw(st.integers(1, width - col)))
    whole, part = warped.frame(0), warped.window(window).frame(0)
    rows, cols = window.slices
    np.testing.assert_allclose(part.values, whole.values[:, rows, cols], atol=2e-6)
    np.testing.assert_array_equal(part.valid, whole.valid[rows, cols])


def test_warped_cubes_keep_what_is_known() -> None:
    source = replace(cube([DAY, NEXT], grid(20, 20, 30), sensor=L8, bands=["B04", "LST"]), native=(1, 3))
    warped = pickle.loads(pickle.dumps(source.onto(grid(40, 40, 10))))
    assert warped.native == (3, 9)
    assert (warped.dates, warped.items, warped.bands) == (source.dates, source.items, source.bands)
    part = warped.select(bands=["LST"], dates=[NEXT])
    np.testing.assert_array_equal(part.frame(0).values[0], warped.frame(1).values[1])
    assert warped.fingerprint(0) != warped.fingerprint(1)
    assert warped.fingerprint(0) != source.onto(grid(40, 40, 10), "bilinear").fingerprint(0)


def test_what_cannot_be_warped() -> None:
    source = cube([DAY])
    bare = GeoBox((5, 5), Affine(10, 0, *CORNER[:1], 0, -10, CORNER[1]), None)
    rotated = GeoBox((5, 5), grid(5, 5).affine @ Affine.rotation(5), "EPSG:32631")
    with pytest.raises(GridError, match="no coordinate system"):
        source.onto(bare)
    with pytest.raises(GridError, match="rotated"):
        source.onto(rotated)
    with pytest.raises(GridError, match="do not overlap"):
        source.onto(grid(5, 5, 10, (5000, 0)))
    with pytest.raises(GridError, match="average needs pixels at least as large"):
        source.onto(grid(5, 5, 5), "average")
    with pytest.raises(InputError, match="unknown resampling method 'lanczos'; use nearest, bilinear, cubic, average"):
        onto(source, source.grid, "lanczos")  # type: ignore[arg-type]


def test_nested_grids() -> None:
    reference = grid(64, 64)
    whole = nested_grid(reference, 3)
    assert (whole.shape, whole.affine.a) == ((21, 21), 30)
    landsat = grid(22, 22, 30, (-15, -15))
    with pytest.raises(GridError, match="do not nest"):
        common_cells({"fine": reference, "coarse": landsat})
    nested = nested_grid(reference, 3, landsat)
    assert nested.shape == (21, 21)
    assert common_cells({"fine": reference, "coarse": nested}).shape == (21, 21)
    beyond = nested_grid(reference, 3, grid(30, 30, 30, (-100, -100)))
    assert (beyond.affine.c - CORNER[0]) % 30 == 0
    assert beyond.affine.c < CORNER[0]
    other = nested_grid(reference, 3, GeoBox((300, 300), Affine(0.0001, 0, 3.0, 0, -0.0001, 50.5516), "EPSG:4326"))
    assert other.crs == reference.crs
    with pytest.raises(InputError, match="ratio of 0"):
        nested_grid(reference, 0)
    with pytest.raises(GridError, match="does not hold a single pixel"):
        nested_grid(reference, 100)


# -- placing -----------------------------------------------------------------------------------------------------------


def test_flags_of_coarser_and_finer_layers() -> None:
    images = grid(6, 6)
    coarse = place(grid(4, 4, 20, (-10, 0)), images)
    assert (coarse.up, coarse.down, coarse.row, coarse.col) == (2, 1, 0, 1)
    flags = np.array([[True, False], [True, True]])
    np.testing.assert_array_equal(
        flags_on_grid(flags, coarse, Window(0, 0, 3, 2)), [[True, False], [True, False], [True, True]]
    )
    fine = place(grid(12, 12, 5), images)
    assert (fine.up, fine.down) == (1, 2)
    four = np.ones((4, 4), bool)
    four[3, 0] = False
    np.testing.assert_array_equal(flags_on_grid(four, fine, Window(1, 1, 2, 2)), [[True, True], [False, True]])


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (grid(4, 4, 15), "do not nest"),
        (grid(4, 4, 20, (3, 0)), "do not nest"),
        (grid(4000, 4000, 10.001), "do not nest"),
        (grid(4, 4, 20, crs="EPSG:32632"), "coordinate system is EPSG:32632"),
    ],
)
def test_layers_that_do_not_nest(layer: GeoBox, why: str) -> None:
    with pytest.raises(GridError, match=why):
        place(layer, grid(8, 8))


def test_same_grid_forgives_rounding_only() -> None:
    assert same_grid(grid(5, 5), grid(5, 5, shift=(1e-4, 0)))
    assert not same_grid(grid(5, 5), grid(5, 5, shift=(0.2, 0)))
    assert not same_grid(grid(5, 5), grid(5, 6))


# -- merge -------------------------------------------------------------------------------------------------------------


def test_join_sorts_by_day() -> None:
    early, late = cube([DAY], seed=1), cube([NEXT], seed=2)
    joined = pickle.loads(pickle.dumps(join([late, early])))
    assert joined.dates == (DAY, NEXT)
    np.testing.assert_array_equal(joined.frame(0).values, early.frame(0).values)
    np.testing.assert_array_equal(joined.select(bands=["B08"]).frame(1).values[0], late.frame(0).values[1])
    assert joined.fingerprint(1) == late.fingerprint(0)


def test_duplicates_are_refused_or_merged() -> None:
    first, second = cube([DAY], seed=1, clouds=0.5, gaps=0.1), cube([DAY], seed=2, clouds=0.5, gaps=0.1)
    first = replace(first, items=(Item("a", datetime(2022, 6, 6, 10, 30, 24), platform="A", clear_share=0.5),))
    second = replace(second, items=(Item("b", datetime(2022, 6, 6, 10, 30), platform="B"),))
    with pytest.raises(DateError, match=r"2022-06-06: b, a.*duplicates merge"):
        join([first, second])
    merged = join([first, second], "merge")
    assert merged.items == (Item("b+a", datetime(2022, 6, 6, 10, 30)),)
    frame, a, b = merged.frame(0), first.frame(0), second.frame(0)  # b is earlier
    np.testing.assert_array_equal(frame.valid, a.valid | b.valid)
    seen = [~np.isnan(f.values).any(axis=0) for f in (a, b)]
    from_a = ~b.valid & (a.valid | (seen[0] & ~seen[1]))
    np.testing.assert_array_equal(frame.values, np.where(from_a, a.values, b.values))
    window = merged.window(Window(2, 3, 4, 5)).frame(0)
    np.testing.assert_array_equal(window.values, frame.values[:, 2:6, 3:8])
    assert len(merged.fingerprint(0)["merged"]) == 2


def test_merging_other_encodings_gives_physical_values() -> None:
    stored = np.full((1, 2, 2), 1000, np.uint16)
    old = Encoding(dtype="uint16", scale=1e-4, nodata=0)
    new = old.model_copy(update={"offset": -0.1})
    holed = stored.copy()
    holed[0, 0, 0] = 0
    mixed = first_usable([Stored(holed, (old,)), Stored(stored, (new,))])
    np.testing.assert_allclose(mixed.encodings[0].decode(mixed.values[0]), [[0, 0.1], [0.1, 0.1]], atol=1e-6)
    alike = first_usable([Stored(holed, (old,)), Stored(stored, (old,))])
    assert alike.values.dtype == np.uint16
    assert (alike.values == 1000).all()


def test_what_cannot_be_joined() -> None:
    with pytest.raises(InputError, match="no image"):
        join([])
    with pytest.raises(InputError, match=r"bands B04.*select the common ones"):
        join([cube([DAY], bands=["B04", "B08"]), cube([NEXT], bands=["B04"])])
    with pytest.raises(GridError, match="put them on one grid first"):
        join([cube([DAY], grid(5, 5)), cube([NEXT], grid(5, 6))])
    with pytest.raises(InputError, match=f"{L8} bands"):
        join([cube([DAY], sensor=S2, bands=["B04"]), cube([NEXT], sensor=L8, bands=["B04"])])
