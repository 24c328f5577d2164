"""xarray in and out: three layouts, dates of any unit, lazy stores, and what is refused."""

from __future__ import annotations

import pickle
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.cube import Cube
from sitsfusion.errors import (
    DateError,
    GridError,
    InputError,
    MissingBandError,
    MissingExtraError,
    ReadError,
    SensorError,
)
from sitsfusion.grid import Window
from sitsfusion.io import open_scene, xarray_io
from sitsfusion.io.xarray_io import Options, from_xarray, in_layout, layout_of, to_xarray
from tests.fake.geotiffs import L8, S2, cube, grid

DAYS = (date(2022, 1, 5), date(2022, 1, 10), date(2022, 1, 20))
LAYOUTS = ("dataset", "array", "openeo", "variables")


def dataset(**options: Any) -> xr.Dataset:
    return to_xarray(cube(DAYS, gaps=0.05, clouds=0.2, **options))


def assert_same(found: Cube, wanted: Cube) -> None:
    assert (found.sensor, found.bands, found.dates) == (wanted.sensor, wanted.bands, wanted.dates)
    assert found.grid == wanted.grid
    for a, b in zip(found.to_numpy(), wanted.to_numpy(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_comes_back(layout: Any) -> None:
    original = cube(DAYS, gaps=0.05, clouds=0.2)
    given_back = in_layout(to_xarray(original), layout)
    assert layout_of(given_back) == layout
    assert_same(from_xarray(given_back), original)


def test_what_a_dataset_says() -> None:
    made = to_xarray(cube(DAYS))
    assert made["values"].dims == ("time", "band", "y", "x")
    assert made["values"].dtype == np.float32
    assert made["valid"].dtype == bool
    assert made["time"].dtype == "datetime64[ns]"
    assert float(made["x"][0]) == 500_005.0
    assert float(made["y"][0]) == 5_599_995.0  # the centre of the first pixel; y decreases
    mapping = made["spatial_ref"].attrs
    assert mapping["GeoTransform"] == "500000.0 10.0 0.0 5600000.0 0.0 -10.0"
    assert "UTM zone 31N" in mapping["crs_wkt"]
    assert made["values"].attrs["grid_mapping"] == "spatial_ref"
    assert made.attrs["proj:code"] == "EPSG:32631"
    assert made["common_name"].values.tolist() == ["red", "nir"]


def test_dimensions_in_any_order() -> None:
    original = cube(DAYS, gaps=0.05, clouds=0.2)
    array = in_layout(to_xarray(original), "array")
    assert_same(from_xarray(array.transpose("y", "x", "band", "time")), original)


def test_rows_from_south_to_north_are_turned() -> None:
    original = cube(DAYS, gaps=0.05, clouds=0.2)
    turned = from_xarray(to_xarray(original).isel(y=slice(None, None, -1)))
    assert_same(turned, original)
    window = Window(2, 3, 5, 4)
    np.testing.assert_array_equal(turned.window(window).frame(1).values, original.window(window).frame(1).values)


def test_stored_integers_by_attributes() -> None:
    made = to_xarray(cube(DAYS[:1], bands=["B04"]))
    stored = np.array([[[[0, 100], [2000, 3000]]]], np.int16)
    attributes = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    array = xr.DataArray(stored, made["values"].isel(y=slice(2), x=slice(2)).coords, attrs=attributes | made.attrs)
    found = from_xarray(array)
    assert found.stored(0).values.dtype == np.int16
    np.testing.assert_allclose(found.frame(0).values[0], [[np.nan, -0.09], [0.1, 0.2]], atol=1e-6)
    assert found.frame(0).values.dtype == np.float32


def test_stored_integers_of_the_product() -> None:
    made = to_xarray(cube(DAYS[:1], bands=["B04"]))
    numbers = (made["values"] * 1000 + 1000).astype("uint16").drop_attrs().assign_attrs(made.attrs)
    for nothing_declared in (numbers, numbers.assign_attrs(scale_factor=1.0, add_offset=0.0)):  # rioxarray's way
        with pytest.raises(InputError, match="offset depends on the processing baseline"):
            from_xarray(nothing_declared)
    found = from_xarray(numbers, options=Options(baseline="05.09"))
    np.testing.assert_allclose(found.frame(0).values, numbers.values[0] * 1e-4 - 0.1, atol=1e-6)
    with pytest.raises(InputError, match="B04 is int64; convert it"):
        from_xarray(numbers.astype("int64"), options=Options(baseline="05.09"))


def test_quality_layers_among_variables_and_bands() -> None:
    made = to_xarray(cube(DAYS[:1], bands=["B04"])).drop_vars("valid")
    classes = xr.full_like(made["values"].isel(band=0, drop=True), 4)
    classes[0, 2, 3] = 9
    variables = in_layout(made.assign(valid=classes > 0), "variables").assign(SCL=classes).drop_vars("valid")
    assert np.argwhere(~from_xarray(variables).frame(0).valid).tolist() == [[2, 3]]
    plain = made["values"].drop_vars(["common_name", "wavelength", "native"])
    stacked = xr.concat([plain, classes.assign_coords(band="SCL")], "band", coords="minimal", compat="override")
    found = from_xarray(stacked, S2)
    assert found.bands == ("B04",)
    assert np.argwhere(~found.frame(0).valid).tolist() == [[2, 3]]


@pytest.mark.parametrize("unit", ["D", "h", "s", "ms", "us", "ns"])
def test_dates_of_any_unit(unit: str) -> None:
    made = dataset()
    changed = made.assign_coords(time=made["time"].values.astype(f"datetime64[{unit}]"))
    assert from_xarray(changed).dates == DAYS


def test_times_give_solar_days() -> None:
    made = to_xarray(cube(DAYS, grid(12, 15, crs="EPSG:32760")))
    utc = np.array(["2022-01-04T22:30", "2022-01-09T22:30", "2022-01-19T22:30"], "datetime64[s]")
    found = from_xarray(made.assign_coords(time=utc))
    assert found.dates == DAYS
    assert found.items[0].time == datetime(2022, 1, 4, 22, 30)


def test_order_and_duplicates() -> None:
    original = cube(DAYS)
    made = to_xarray(original)
    assert_same(from_xarray(made.isel(time=[2, 0, 1])), original)
    twice = made.isel(time=[0, 0, 1]).assign_coords(id=("time", ["a", "b", "c"]))
    with pytest.raises(DateError, match=r"2022-01-05: a, b"):
        from_xarray(twice)
    assert from_xarray(twice, options=Options(duplicates="merge")).dates == DAYS[:2]


def test_a_single_image() -> None:
    original = cube(DAYS)
    assert_same(from_xarray(to_xarray(original).isel(time=1)), original.select(dates=[DAYS[1]]))


@settings(max_examples=20, deadline=None)
@given(data=st.data(), layout=st.sampled_from(LAYOUTS), turned=st.booleans())
def test_any_window(data: st.DataObject, layout: Any, turned: bool) -> None:
    original = cube(DAYS, grid(7, 9), gaps=0.1, clouds=0.3)
    made = in_layout(to_xarray(original), layout)
    found = from_xarray(made.isel(y=slice(None, None, -1)) if turned else made)
    row, col = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 8))
    window = Window(row, col, data.draw(st.integers(1, 7 - row)), data.draw(st.integers(1, 9 - col)))
    t = data.draw(st.integers(0, 2))
    bands = data.draw(st.permutations(["B04", "B08"]))
    frames = [c.select(bands=bands).window(window).frame(t) for c in (found, original)]
    np.testing.assert_array_equal(frames[0].values, frames[1].values)
    np.testing.assert_array_equal(frames[0].valid, frames[1].valid)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d: d.drop_attrs(deep=False), SensorError, "do not name their sensor"),
        (lambda d: d.assign_attrs(sensor="kodak"), SensorError, "unknown sensor 'kodak'"),
        (lambda d: d.isel(x=0), InputError, "there is no x"),
        (lambda d: d.drop_vars("x"), GridError, "no coordinate x"),
        (lambda d: d.isel(x=slice(1)), GridError, "two are needed"),
        (lambda d: d.isel(x=[0, 1, 3]), GridError, "coordinate x is not regular"),
        (lambda d: d.isel(x=slice(None, None, -1)), GridError, "x decreases"),
        (lambda d: d.drop_vars("time"), DateError, "time is missing; expected numpy datetime64"),
        (lambda d: d.assign_coords(time=["a", "b", "c"]), DateError, "expected numpy datetime64"),
        (lambda d: d.assign_coords(time=np.array(["2022-01-05", "NaT", "NaT"], "M8[s]")), DateError, "2 of 3 times"),
        (lambda d: d.assign_coords(band=["B04", "NDVI"]), InputError, "no band or quality layer called NDVI"),
        (lambda d: d.drop_vars("band"), InputError, "bands have no names"),
        (lambda d: d.assign(other=d["values"]), InputError, r"several variables have bands \(values, other\)"),
        (lambda d: d[["valid"]], MissingBandError, "no band of sentinel-2-l2a"),
        (lambda d: d[[]], InputError, "expected time"),
        (lambda d: d.assign(values=d["values"].expand_dims("member")), InputError, "select one member"),
    ],
)
def test_what_is_refused(change: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        from_xarray(change(dataset()))


def test_coordinate_system() -> None:
    bare = dataset().drop_vars("spatial_ref").drop_attrs(deep=False).assign_attrs(sensor=S2)
    with pytest.raises(GridError, match=r"no coordinate system.*crs='EPSG:32631'"):
        from_xarray(bare)
    assert from_xarray(bare, options=Options(crs="EPSG:32631")).grid == grid(12, 15)
    with pytest.raises(GridError, match="'EPSG:nowhere' is not a coordinate system"):
        from_xarray(bare, options=Options(crs="EPSG:nowhere"))


def test_bands_wanted() -> None:
    made = dataset().assign_coords(band=["B04", "NDVI"])
    assert from_xarray(made, options=Options(bands=("red",))).bands == ("B04",)
    with pytest.raises(MissingBandError, match="have no B08; they have B04"):
        from_xarray(made, options=Options(bands=("B08",)))


# -- stores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["dataset", "variables"])
def test_zarr_store(tmp_path: Path, layout: Any) -> None:
    original = cube(DAYS, gaps=0.05, clouds=0.2)
    place = tmp_path / "images.zarr"
    in_layout(to_xarray(original), layout).to_zarr(place, consolidated=False)
    found = pickle.loads(pickle.dumps(open_scene(place)["fine"]))
    assert_same(found, original)
    print_ = found.fingerprint(1)
    assert [file["path"] for file in print_["files"]] == ["images.zarr"]


def test_integers_in_a_store_stay_integers_until_they_are_decoded(tmp_path: Path) -> None:
    made = to_xarray(cube(DAYS, bands=["B04"]))
    encoding = {"values": {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": -32768}}
    made.to_zarr(tmp_path / "a.zarr", consolidated=False, encoding=encoding)
    found = open_scene(tmp_path / "a.zarr")["fine"]
    assert found.stored(0).values.dtype == np.int16
    np.testing.assert_allclose(found.frame(0).values, made["values"].values[0], atol=1e-4)


def test_a_group_per_role(tmp_path: Path) -> None:
    fine, coarse = cube(DAYS), cube(DAYS[:1], grid(4, 5, 30), sensor=L8, bands=["B04", "B05"])
    place = tmp_path / "scene.zarr"
    to_xarray(fine).to_zarr(place, group="fine", consolidated=False)
    to_xarray(coarse).to_zarr(place, group="coarse", consolidated=False, mode="a")
    scene = open_scene(place)
    assert set(scene.cubes) == {"fine", "coarse"}
    assert_same(scene["coarse"], coarse)
    one = xarray_io.read(place, Options(group="coarse"))
    assert list(one) == ["coarse"]


def test_only_the_window_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to_xarray(cube(DAYS)).to_zarr(tmp_path / "a.zarr", consolidated=False)
    read: list[tuple[int, ...]] = []
    original = xarray_io.XarraySource._window

    def spy(self: Any, image: xr.DataArray, window: Window) -> np.ndarray:
        pixels = original(self, image, window)
        read.append(pixels.shape)
        return pixels

    monkeypatch.setattr(xarray_io.XarraySource, "_window", spy)
    found = open_scene(tmp_path / "a.zarr")["fine"]
    assert read == []
    found.select(bands=["B08"]).window(Window(1, 2, 3, 4)).frame(2)
    assert read == [(1, 3, 4), (3, 4)]


def test_damaged_store(tmp_path: Path) -> None:
    place = tmp_path / "a.zarr"
    to_xarray(cube(DAYS)).to_zarr(place, consolidated=False)
    (place / "zarr.json").write_text("{")
    with pytest.raises(ReadError, match=r"a\.zarr, group /, cannot be opened"):
        xarray_io.read(place, Options())


def test_netcdf_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xarray_io, "find_spec", lambda name: None)
    place = tmp_path / "a.nc"
    place.write_bytes(b"CDF")
    assert xarray_io.recognise(place)
    with pytest.raises(MissingExtraError, match=r"sitsfusion\[netcdf\]"):
        xarray_io.read(place, Options())
