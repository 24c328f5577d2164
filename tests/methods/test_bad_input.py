"""What the classical methods do with input that says nothing: a named error, a refused date, or a masked gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sitsfusion.cube import Cube
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.errors import GridError, InputError, PlanError, SitsFusionError
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests import scenes
from tests.battery import CASES, assemble

# Of the battery, one or more of every family.
TEMPORAL = ("linear", "spline", "whittaker", "savgol", "harmonic", "double-logistic", "joint-gp")
PAIRS = ("starfm", "estarfm", "fsdaf", "fit-fc", "spstfm", "efast")
TWO_SENSORS = ("stair", "stair-full", "sen2like", "sen2like-full")
ALL = ("naive", "closest", *TEMPORAL, *PAIRS, *TWO_SENSORS, "dms")
CELLS = (9, 9)
THERMAL_CELLS = (18, 18)  # of which 3 x 3 make one temperature pixel: enough of them for a model
WANTED = scenes.days(5)

Change = Callable[[str, NDArray[np.float32], NDArray[np.bool_]], tuple[NDArray[np.float32], NDArray[np.bool_]]]


def place_of(name: str, change: Change) -> Scene:
    """The battery's scene of a method, with the pixels [t c h w] and masks [t h w] of every role changed."""
    place = CASES[name].place(THERMAL_CELLS if name == "dms" else CELLS, 0)
    return replace(place, cubes={role: changed(role, cube, change) for role, cube in place.cubes.items()})


def changed(role: str, cube: Cube, change: Change) -> Cube:
    values, valid = change(role, *cube.to_numpy())
    return Cube.from_array(
        values, sensor=cube.sensor, bands=cube.bands, grid=cube.grid, dates=cube.dates, valid=valid, native=cube.native
    )


def job_of(name: str, place: Scene) -> Job:
    method = CASES[name].make()
    if method.card.needs_clear_share:
        place = with_clear_shares(place)
    query = query_of(place, WANTED, method.outputs(place))
    spec = OutputSpec(Path("never-written"), encoding="float32", format="zarr")
    return plan_job(place, query, method, spec, Resources(device="cpu"))


def seen_well(role: str, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """All images clear and whole: what was never observed gets a value."""
    middle = np.nanmean(values, axis=(0, 2, 3), keepdims=True)
    return np.where(np.isnan(values), middle, values).astype(np.float32), np.ones_like(valid)


def constant(role: str, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """No variance in space nor in time; kelvins stay kelvins."""
    warm = np.nanmax(values, axis=(0, 2, 3), keepdims=True) > 2
    return np.broadcast_to(np.where(warm, 300.0, 0.25), values.shape).astype(np.float32), np.ones_like(valid)


def never_clear(role: str, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """The upper left third is cloudy in all images: bright, and not valid."""
    values, valid = seen_well(role, values, valid)
    rows, columns = (side // 3 for side in values.shape[2:])
    values[:, :, :rows, :columns] = 7.0
    valid[:, :rows, :columns] = False
    return values, valid


def all_cloud(role: str, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    return seen_well(role, values, valid)[0], np.zeros_like(valid)


def some_missing(role: str, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """Single pixels are NaN in single bands, and no quality layer says so."""
    values, valid = seen_well(role, values, valid)
    values[np.random.default_rng(1).random(values.shape) < 0.02] = np.nan
    return values, valid


@pytest.mark.parametrize("name", ALL)
def test_without_any_variance_the_value_stays(name: str) -> None:
    place = place_of(name, constant)
    if name == "spstfm":  # there is no change to learn from
        with pytest.raises(InputError, match="no change between the pairs"):
            assemble(job_of(name, place))
        return
    for role, picture in assemble(job_of(name, place)).items():
        if name == "dms":  # learns from temperature pixels with some contrast only
            assert not picture.valid.any()
            continue
        assert picture.valid.all()
        if name == "sen2like-full":  # Landsat is adjusted to Sentinel-2 before
            assert np.ptp(picture.values, axis=(2, 3)).max() < 1e-4
            continue
        warm = picture.values > 2
        np.testing.assert_allclose(picture.values, np.where(warm, 300.0, 0.25), rtol=1e-3, err_msg=role)


@pytest.mark.parametrize("name", [name for name in ALL if name != "stair"])
def test_a_window_that_was_never_clear_is_a_gap(name: str) -> None:
    for picture in assemble(job_of(name, place_of(name, never_clear))).values():
        rows, columns = (side // 3 for side in picture.valid.shape[1:])
        assert not picture.valid[:, :rows, :columns].any()
        assert picture.valid[:, 2 * rows :, 2 * columns :].all()


# What is refused before any pixel is computed; the others leave a masked gap.
REFUSED = {
    "closest": "no coarse image with at most 60% masked at all",
    **dict.fromkeys(PAIRS, "no usable coarse image of that day"),
    "efast": "no usable fine image of another day within 30 days",
    "stair-full": "no fine pixel of made-up is usable on any day; check the masks",
}


@pytest.mark.parametrize("name", [name for name in ALL if name != "stair"])
def test_nothing_but_clouds_is_refused_by_name_or_a_gap(name: str) -> None:
    place = place_of(name, all_cloud)
    if name in REFUSED:
        with pytest.raises((PlanError, InputError), match=REFUSED[name]):
            assemble(job_of(name, place))
        return
    for picture in assemble(job_of(name, place)).values():
        assert not picture.valid.any()
        assert (picture.clear_count == 0).all()  # this explains the gap


@pytest.mark.parametrize("name", ["stair"])
def test_the_published_stair_says_zero_where_nothing_is_known(name: str) -> None:
    assert (assemble(job_of(name, place_of(name, all_cloud)))["fine"].values == 0).all()


@pytest.mark.parametrize("name", ["linear", "whittaker", "starfm", "fsdaf", "stair-full", "sen2like", "dms"])
def test_single_missing_numbers_neither_spread_nor_come_out(name: str) -> None:
    for picture in assemble(job_of(name, place_of(name, some_missing))).values():
        frame = picture.values.transpose(0, 2, 3, 1)[picture.valid]
        assert np.isfinite(frame).all()
        assert picture.valid.mean() > 0.1


ONE_DATE = {
    "naive": "naive needs 2 or more fine images, there are 1",
    "spline": None,
    "linear": None,
    "whittaker": "whittaker needs",
    "savgol": "savgol needs",
    "harmonic": "harmonic needs",
    "double-logistic": "double-logistic needs",
    **dict.fromkeys(PAIRS, "no usable coarse image of that day"),
    "efast": r"1 usable coarse image\(s\) in 45 days, more than 3 needed",
    "stair": "stair needs a coarse image of the day",
    "stair-full": "stair needs",
    "sen2like": "sen2like needs a coarse image of the day",
}


@pytest.mark.parametrize("name", ONE_DATE)
def test_a_single_date_is_repeated_or_refused_by_name(name: str) -> None:
    place = place_of(name, seen_well)
    place = replace(place, cubes={role: cube.select(dates=cube.dates[:1]) for role, cube in place.cubes.items()})
    expected = ONE_DATE[name]
    if expected is None:
        for role, picture in assemble(job_of(name, place)).items():
            there = picture.values[0] if role == "fine" else picture.values[0, :, 1::3, 1::3]
            np.testing.assert_allclose(there, place[role].frame(0).values, rtol=1e-4)
        return
    with pytest.raises(SitsFusionError, match=expected):
        assemble(job_of(name, place))


def coarser(place: Scene, step: float) -> Scene:
    """The scene with coarse pixels of another size over the same ground."""
    old = place["coarse"]
    side = int(old.grid.shape.x * 30 // step)
    shape = (len(old), len(old.bands), side, side)
    values = np.full(shape, 0.3, np.float32)
    cube = Cube.from_array(
        values, sensor=old.sensor, bands=old.bands, grid=scenes.grid((side, side), step), dates=old.dates
    )
    return Scene({**place.cubes, "coarse": cube}, name=place.name)


@pytest.mark.parametrize("name", ["fsdaf", "fit-fc", "efast", "stair-full", "sen2like-full"])
def test_coarse_pixels_that_are_no_whole_number_of_fine_ones_are_refused(name: str) -> None:
    with pytest.raises((GridError, InputError), match="resample"):
        job_of(name, coarser(CASES[name].place(CELLS, 0), 25.0))


def test_grids_that_do_not_nest_are_no_scene() -> None:
    with pytest.raises(GridError, match="nest"):
        coarser(CASES["starfm"].place(CELLS, 0), 28.7)
