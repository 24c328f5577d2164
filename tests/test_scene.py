"""Scenes: cubes of one place on one lattice."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from sitsfusion.errors import GridError, InputError
from sitsfusion.grid import Window
from sitsfusion.scene import Scene
from tests.scenes import cube, days, scene, spied

pytestmark = pytest.mark.smoke


def test_a_scene_crops_its_cubes_to_the_cells_they_share() -> None:
    fine = cube("fine", (0, 5), (6, 8)).window(Window(1, 2, 16, 21))  # starts and ends inside cells
    coarse = cube("coarse", (3,), (5, 9))
    made = Scene({"fine": fine, "coarse": coarse})
    assert made.size == (4, 6)
    assert made["fine"].shape[2:] == (12, 18)
    assert made["coarse"].shape[2:] == (4, 6)
    assert made["fine"].grid.boundingbox.bbox == made["coarse"].grid.boundingbox.bbox == made.cells.boundingbox.bbox
    assert (made.per_cell("fine"), made.per_cell("coarse")) == (3, 1)
    np.testing.assert_array_equal(made["coarse"].frame(0).values, coarse.frame(0).values[:, 1:5, 1:7])
    np.testing.assert_array_equal(made["fine"].frame(0).values, fine.frame(0).values[:, 2:14, 1:19])


def test_the_roles_of_a_scene_are_known() -> None:
    with pytest.raises(InputError, match=r"unknown role\(s\) sentinel; a scene has fine, coarse"):
        Scene({"sentinel": cube("fine", (0,), (2, 2))})
    with pytest.raises(InputError, match="has no thermal images; it has fine, coarse"):
        scene()["thermal"]
    assert "thermal" not in scene()
    with pytest.raises(GridError, match="at least one grid"):
        Scene({})


def test_cubes_of_two_coordinate_systems_are_refused() -> None:
    with pytest.raises(GridError, match="fine: EPSG:32631; coarse: EPSG:32632"):
        Scene({"fine": cube("fine", (0,), (2, 2)), "coarse": cube("coarse", (0,), (2, 2), crs="EPSG:32632")})
    with pytest.raises(GridError, match="coarse: no CRS"):
        Scene({"fine": cube("fine", (0,), (2, 2)), "coarse": cube("coarse", (0,), (2, 2), crs=None)})


def test_day_zero_is_the_first_date_unless_given() -> None:
    made = scene()
    assert made.day_origin == days(0)[0]
    assert made.days("coarse") == [3, 5, 12, 30]
    assert replace(made, origin=days(10)[0]).days("coarse") == [-7, -5, 2, 20]
    assert made.dates() == days(0, 3, 5, 10, 12, 17, 30)
    assert made.dates(["coarse"]) == days(3, 5, 12, 30)
    empty = Scene({"fine": cube("fine", (), (2, 2))})
    with pytest.raises(InputError, match="has no date at all; give an origin"):
        empty.day_origin  # noqa: B018
    assert replace(empty, origin=date(2020, 1, 1)).days("fine") == []


def test_a_window_keeps_day_zero_and_the_lattice() -> None:
    made = replace(scene((6, 9)), origin=days(3)[0])
    part = made.window(Window(1, 2, 3, 4))
    assert (part.size, part.origin) == ((3, 4), made.origin)
    np.testing.assert_array_equal(part["fine"].frame(0).values, made["fine"].frame(0).values[:, 3:12, 6:18])
    np.testing.assert_array_equal(part["coarse"].frame(0).values, made["coarse"].frame(0).values[:, 1:4, 2:6])
    for window in (Window(0, 0, 7, 1), Window(-1, 0, 2, 2), Window(0, 0, 0, 2)):
        with pytest.raises(InputError, match="does not lie inside a scene of 6 x 9 cells"):
            made.window(window)


def test_a_box_takes_all_cells_that_it_touches() -> None:
    made = scene((6, 9))
    part = made.within(600_035, 4_999_900, 600_070, 4_999_995)
    assert part.size == (4, 2)
    assert part.cells.boundingbox.bbox == (600_030, 4_999_880, 600_090, 5_000_000)
    with pytest.raises(InputError, match="does not touch the scene"):
        made.within(0, 0, 10, 10)


def test_other_scenes_of_the_same_pixels() -> None:
    made = scene((3, 4))
    assert made.select({"fine": days(5)}).dates() == days(5)
    assert made.select({"fine": days(5)}).cells == made.cells
    grown = made.with_cubes(thermal=cube("coarse", (1,), (2, 9), bands=["LST"]))
    assert (set(grown.cubes), grown.size) == ({"fine", "coarse", "thermal"}, (2, 4))
    with pytest.raises(InputError, match="no image of"):
        made.select({"fine": days(6)})


def test_nothing_is_read_before_loading() -> None:
    made, spies = spied(scene((6, 9)))
    part = made.window(Window(1, 1, 3, 3)).select({"fine": days(5, 10), "coarse": ()}).within(0, 0, 1e9, 1e9)
    assert not any(spy.reads for spy in spies.values())
    part.load()
    assert dict(spies["fine"].reads) == {(1, Window(3, 3, 9, 9)): 1, (2, Window(3, 3, 9, 9)): 1}
    assert not spies["coarse"].reads


def test_latitude_of_the_middle() -> None:
    assert scene((6, 9)).latitude == pytest.approx(45.1, abs=0.2)  # UTM, 5 000 km north of the equator
