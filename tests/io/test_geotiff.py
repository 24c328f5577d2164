"""Reader `geotiff`: layouts, names, numbers, grids, and every bad input that it must explain."""

from __future__ import annotations

import pickle
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.cube import Cube
from sitsfusion.errors import DateError, GridError, InputError, MissingBandError, ReadError, SensorError
from sitsfusion.grid import Window
from sitsfusion.io import geotiff
from sitsfusion.io.fixes import fix_of
from tests.fake.geotiffs import CLOUD, L8, S2, S2_20M, S2_BANDS, VEGETATION, grid, numbers, write_image, write_stacks

DAYS = ("20220105", "20220110", "20220120")
DATES = (date(2022, 1, 5), date(2022, 1, 10), date(2022, 1, 20))


def opened(place: Path, **options: Any) -> Cube:
    cubes = geotiff.read(place, geotiff.Options(**{"sensor": S2, "offset": 0, **options}))
    assert len(cubes) == 1
    return next(iter(cubes.values()))


def reflectance(stored: np.ndarray, offset: float = 0.0) -> np.ndarray:
    return stored.astype(np.float32) * np.float32(1e-4) + np.float32(offset)


# -- layouts -----------------------------------------------------------------------------------------------------------


def test_one_file_per_date(tmp_path: Path) -> None:
    written = write_stacks(tmp_path, DAYS)
    cube = opened(tmp_path)
    assert (cube.bands, cube.dates, cube.grid) == (S2_BANDS, DATES, grid(12, 12))
    for t, day in enumerate(DAYS):
        frame = cube.frame(t)
        np.testing.assert_allclose(frame.values, reflectance(written[day]), rtol=1e-6)
        assert frame.valid.all()
    assert [item.id for item in cube.items] == [f"S2_{day}" for day in DAYS]


def test_one_file_per_band_in_one_folder(tmp_path: Path) -> None:
    images = numbers(1, 2, 12, 12)
    for name, image in zip(("B8A", "B04"), images, strict=True):
        write_image(tmp_path / f"T31UES_20220105T105211_{name}_20m.tif", image, nodata=0)
    cube = opened(tmp_path)
    assert cube.bands == ("B04", "B8A")
    np.testing.assert_array_equal(cube.stored(0).values, images[::-1])
    assert cube.items[0].time == datetime(2022, 1, 5, 10, 52, 11)


def test_one_folder_per_date(tmp_path: Path) -> None:
    for day in ("2022-01-05", "2022-01-10"):
        for name in ("B04", "B08"):
            write_image(tmp_path / day / f"{name}.tif", numbers(1, 12, 12))
    cube = opened(tmp_path)
    assert (cube.dates, cube.bands) == (DATES[:2], ("B04", "B08"))


def test_order_of_descriptions_is_kept(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:1], bands=("B08", "B02", "B04"))
    assert opened(tmp_path).bands == ("B08", "B02", "B04")
    assert opened(tmp_path, bands=("red", "B08")).bands == ("B04", "B08")


def test_layers_name_what_files_do_not(tmp_path: Path) -> None:
    image = numbers(1, 3, 12, 12)
    write_image(tmp_path / "a_20220105.tif", image)
    cube = opened(tmp_path, layers=("B04", "-", "B08"))
    assert cube.bands == ("B04", "B08")
    np.testing.assert_array_equal(cube.stored(0).values, image[[0, 2]])


def test_temperature_is_a_role_of_its_own(tmp_path: Path) -> None:
    for name, image in zip(("SR_B4", "SR_B5"), numbers(1, 2, 9, 9, low=8000, high=9000), strict=True):
        write_image(tmp_path / f"L8_20220105_{name}.tif", image, grid(9, 9, 30))
    temperature = numbers(2, 9, 9, low=40000, high=45000)
    for day in DAYS[:2]:
        write_image(tmp_path / f"L8_{day}_ST_B10.tif", temperature, grid(9, 9, 30))
    cubes = geotiff.read(tmp_path, geotiff.Options(sensor=L8))
    assert {role: (cube.bands, len(cube)) for role, cube in cubes.items()} == {
        "coarse": (("B04", "B05"), 1),
        "thermal": (("LST",), 2),
    }
    assert cubes["thermal"].native == (3,)  # 90 m
    np.testing.assert_allclose(cubes["thermal"].frame(0).values[0], temperature * 0.00341802 + 149, rtol=1e-6)


def test_a_single_file_is_a_place(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS)
    cube = opened(tmp_path / "S2_20220110.tif")
    assert cube.dates == (DATES[1],)


# -- dates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("x_20220105_2022010.tif", DATES[0]),  # eight digits before seven
        ("x_2022-01-05_v20230101.tif", DATES[0]),  # dashes before eight digits
        ("x_2022_01_05.tif", DATES[0]),
        ("x_2022005_y.tif", DATES[0]),
        ("S2A_MSIL2A_20220105T105211_N0301_R051_T31UES_20220105T125743.tif", DATES[0]),
        ("199025_20220105103000.tif", DATES[0]),
        ("99999999_20220105.tif", DATES[0]),  # digits that are no date
        ("2022-01-10/20220105.tif", DATES[0]),  # the file before its folder
    ],
)
def test_dates_in_names(tmp_path: Path, name: str, day: date) -> None:
    write_image(tmp_path / name, numbers(1, 1, 5, 5), names=["B04"])
    assert opened(tmp_path).dates == (day,)


def test_a_time_gives_the_solar_day(tmp_path: Path) -> None:
    # near the date line a morning overpass is still the day before in UTC
    box = grid(5, 5, crs="EPSG:32760")
    write_image(tmp_path / "S2_20220104T223000.tif", numbers(1, 1, 5, 5), box, names=["B04"])
    cube = opened(tmp_path)
    assert cube.dates == (date(2022, 1, 5),)
    assert cube.items[0].time == datetime(2022, 1, 4, 22, 30)


def test_several_dates_need_a_pattern(tmp_path: Path) -> None:
    write_image(tmp_path / "LC08_199025_20220105_20220901.tif", numbers(1, 1, 5, 5), names=["B04"])
    with pytest.raises(DateError, match=r"several dates \(2022-01-05, 2022-09-01\).*date_pattern"):
        opened(tmp_path)
    assert opened(tmp_path, date_pattern=r"LC08_\d{6}_(\d{8})").dates == (DATES[0],)
    assert opened(tmp_path, date_pattern=r"_(?P<date>\d{8})\.tif").dates == (date(2022, 9, 1),)
    with pytest.raises(DateError, match="does not match"):
        opened(tmp_path, date_pattern=r"S2_(\d{8})")
    with pytest.raises(DateError, match="no group"):
        opened(tmp_path, date_pattern=r"\d{8}")


def test_no_date(tmp_path: Path) -> None:
    write_image(tmp_path / "image.tif", numbers(1, 1, 5, 5), names=["B04"])
    with pytest.raises(DateError, match=r"image\.tif contains no date.*dates_csv"):
        opened(tmp_path)


def test_dates_from_a_table(tmp_path: Path) -> None:
    for name in ("one.tif", "two.tif", "other.tif"):
        write_image(tmp_path / name, numbers(1, 1, 5, 5), names=["B04"])
    table = tmp_path / "dates.csv"
    table.write_text("file,date,baseline\ntwo.tif,2022-01-10,04.00\none.tif,2022-01-05T10:30:00,02.08\n")
    cube = opened(tmp_path, dates_csv="dates.csv", offset=None)
    assert cube.dates == DATES[:2]
    assert [item.baseline for item in cube.items] == ["02.08", "04.00"]
    assert cube.items[0].time == datetime(2022, 1, 5, 10, 30)
    difference = cube.frame(1).values - cube.frame(0).values
    np.testing.assert_allclose(difference, -0.1, atol=1e-6)
    table.write_text("name,day\none.tif,2022-01-05\n")
    with pytest.raises(InputError, match=r"dates\.csv holds name, day; expected .*file,date"):
        opened(tmp_path, dates_csv="dates.csv")
    table.write_text("file,date\ngone.tif,2022-01-05\n")
    with pytest.raises(InputError, match=r"not in .*: gone\.tif"):
        opened(tmp_path, dates_csv="dates.csv")
    with pytest.raises(ReadError, match="absent"):
        opened(tmp_path, dates_csv="absent.csv")


def test_two_images_of_one_day(tmp_path: Path) -> None:
    first, second = numbers(1, 2, 6, 6), numbers(2, 2, 6, 6)
    first[:, :2] = 0
    for letter, image in (("a", first), ("b", second)):
        for name, band in zip(("B04", "B08"), image, strict=True):
            write_image(tmp_path / f"S2_20220105{letter}_{name}.tif", band, nodata=0)
    with pytest.raises(DateError, match=r"2022-01-05: S2_20220105a, S2_20220105b.*duplicates merge") as caught:
        opened(tmp_path)
    cube = opened(tmp_path, **fix_of(caught.value))
    np.testing.assert_array_equal(cube.stored(0).values[:, :2], second[:, :2])
    np.testing.assert_array_equal(cube.stored(0).values[:, 2:], first[:, 2:])
    assert cube.items[0].id == "S2_20220105a+S2_20220105b"


# -- bands and sensors -------------------------------------------------------------------------------------------------


def test_sensor_is_recognised_or_asked_for(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:1])
    write_image(tmp_path / "S2_20220105_SCL.tif", np.full((12, 12), VEGETATION, np.uint8))
    assert opened(tmp_path, sensor=None).sensor.name == S2
    with pytest.raises(SensorError, match=r"not clear .* could be .*sentinel-2-l2a.*--sensor NAME"):
        opened(tmp_path, sensor=None, exclude=("*SCL*",))
    with pytest.raises(SensorError, match="unknown sensor 'sentinel'"):
        opened(tmp_path, sensor="sentinel")


def test_unknown_names_in_a_stack(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:1], bands=("B04", "NDVI"))
    with pytest.raises(InputError, match=r"no band or quality layer called NDVI.*bands="):
        opened(tmp_path)
    assert opened(tmp_path, bands=("B04",)).bands == ("B04",)


def test_undescribed_bands(tmp_path: Path) -> None:
    write_image(tmp_path / "S2_20220105.tif", numbers(1, 3, 5, 5))
    with pytest.raises(InputError, match=r"3 bands but they are not described; .*layers="):
        opened(tmp_path)
    with pytest.raises(InputError, match="`layers` names 2"):
        opened(tmp_path, layers=("B04", "B08"))


def test_single_band_file_without_a_name(tmp_path: Path) -> None:
    write_image(tmp_path / "S2_20220105_ndvi.tif", numbers(1, 5, 5))
    with pytest.raises(InputError, match=r"S2_20220105_ndvi\.tif: its name holds no band"):
        opened(tmp_path)
    with pytest.raises(InputError, match=r"holds no \.tif image"):
        opened(tmp_path, exclude=("*ndvi*",))


def test_ambiguous_file_name(tmp_path: Path) -> None:
    write_image(tmp_path / "S2_20220105_B04_B08.tif", numbers(1, 5, 5))
    with pytest.raises(InputError, match="names several layers of sentinel-2-l2a: B04, B08"):
        opened(tmp_path)


def test_bands_that_some_dates_lack(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:2])
    write_image(tmp_path / "S2_20220120.tif", numbers(1, 2, 12, 12), names=["B02", "B03"])
    with pytest.raises(MissingBandError, match=r"1 of 3 dates .* 2022-01-20 lacks B04, B08.*incomplete='drop'"):
        opened(tmp_path)
    assert opened(tmp_path, incomplete="drop").dates == DATES[:2]
    assert opened(tmp_path, bands=("B02", "B03")).dates == DATES
    with pytest.raises(MissingBandError, match="no file holds B12"):
        opened(tmp_path, bands=("B12",))


def test_the_finest_of_several_pixel_sizes_counts(tmp_path: Path) -> None:
    fine = numbers(1, 12, 12)
    write_image(tmp_path / "20220105" / "R10m" / "B04_10m.tif", fine)
    write_image(tmp_path / "20220105" / "R20m" / "B04_20m.tif", numbers(2, 6, 6), grid(6, 6, 20))
    cube = opened(tmp_path)
    np.testing.assert_array_equal(cube.stored(0).values[0], fine)


def test_the_same_band_twice_in_one_image(tmp_path: Path) -> None:
    write_image(tmp_path / "S2_20220105_B04.tif", numbers(1, 6, 6))
    write_image(tmp_path / "S2_20220105_red.tif", numbers(1, 6, 6))
    with pytest.raises(InputError, match=r"S2_20220105_B04\.tif and S2_20220105_red\.tif both hold B04"):
        opened(tmp_path)


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_tags_of_the_file_count_before_the_product(tmp_path: Path) -> None:
    stored = numbers(1, 1, 5, 5, dtype="int16")
    stored[0, 0, 0] = -9999
    write_image(tmp_path / "S2_20220105.tif", stored, names=["B04"], scale=2e-4, offset=-0.5, nodata=-9999)
    frame = opened(tmp_path, offset=None).frame(0)
    np.testing.assert_allclose(frame.values[0, 1:], stored[0, 1:] * 2e-4 - 0.5, atol=1e-6)
    assert np.isnan(frame.values[0, 0, 0])
    assert not frame.valid[0, 0]
    changed = opened(tmp_path, scale=1e-4, offset=0, nodata=int(stored[0, 4, 4])).frame(0)
    assert np.isnan(changed.values[0, 4, 4])
    assert changed.values[0, 0, 0] == pytest.approx(-0.9999)


def test_floating_point_files_are_physical(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 5, 5)).astype(np.float32)
    values[0, 1, 1] = np.nan
    write_image(tmp_path / "S2_20220105.tif", values, names=["B04"], nodata=np.nan)
    cube = opened(tmp_path, offset=None)
    np.testing.assert_array_equal(cube.frame(0).values, values)
    np.testing.assert_allclose(opened(tmp_path, scale=0.5).frame(0).values, values / 2)


def test_the_baseline_must_be_known(tmp_path: Path) -> None:
    stored = write_stacks(tmp_path, DAYS)
    with pytest.raises(InputError, match=r"baseline of 3 date\(s\) is not known.*offset=-0\.1 if it must"):
        opened(tmp_path, offset=None)
    new, old = opened(tmp_path, offset=None, baseline="05.09"), opened(tmp_path, offset=None, baseline="02.14")
    np.testing.assert_allclose(new.frame(0).values, reflectance(stored[DAYS[0]], -0.1), atol=1e-6)
    np.testing.assert_allclose(old.frame(0).values, reflectance(stored[DAYS[0]]), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "tags"),
    [("S2_20220105.tif", {"PROCESSING_BASELINE": "04.00"}), ("S2A_MSIL2A_20220105T105211_N0400_R051.tif", {})],
)
def test_baseline_in_tags_and_names(tmp_path: Path, name: str, tags: dict[str, str]) -> None:
    write_image(tmp_path / name, np.full((1, 4, 4), 1500, np.uint16), names=["B04"], tags=tags)
    cube = opened(tmp_path, offset=None)
    assert cube.items[0].baseline == "04.00"
    np.testing.assert_allclose(cube.frame(0).values, 0.05, atol=1e-6)


def test_eight_bit_files_need_a_scale(tmp_path: Path) -> None:
    write_image(tmp_path / "S2_20220105.tif", np.full((1, 4, 4), 100, np.uint8), names=["B04"])
    with pytest.raises(InputError, match="8-bit pixels"):
        opened(tmp_path)
    np.testing.assert_allclose(opened(tmp_path, scale=0.01).frame(0).values, 1.0)


def test_mixed_pixel_types(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:2], bands=("B04",))
    write_image(tmp_path / "S2_20220120.tif", np.zeros((1, 12, 12), np.float32), names=["B04"])
    with pytest.raises(InputError, match=r"float32: 2022-01-20 .*; uint16: 2022-01-05 .*, 2022-01-10") as caught:
        opened(tmp_path)
    assert opened(tmp_path, **fix_of(caught.value)).dates == DATES[:2]


def test_numbers_outside_the_valid_range_are_missing(tmp_path: Path) -> None:
    stored = numbers(1, 1, 4, 4)
    stored[0, 2, 2] = 65530  # a wrapped negative
    write_image(tmp_path / "S2_20220105.tif", stored, names=["B04"])
    frame = opened(tmp_path, valid_range=(0, 20000)).frame(0)
    assert np.isnan(frame.values[0, 2, 2])
    assert frame.valid.sum() == 15
    write_image(tmp_path / "S2_20220105.tif", stored, names=["B04"], scale=1e-4)
    with pytest.raises(InputError, match="no nodata number, which valid_range needs"):
        opened(tmp_path, valid_range=(0, 20000))


# -- quality -----------------------------------------------------------------------------------------------------------


def test_quality_layer_of_coarser_pixels(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:1])
    classes = np.full((6, 6), VEGETATION, np.uint8)
    classes[1, 2] = CLOUD
    write_image(tmp_path / "S2_20220105_SCL_20m.tif", classes, grid(6, 6, 20))
    cube = opened(tmp_path)
    expected = np.ones((12, 12), bool)
    expected[2:4, 4:6] = False
    np.testing.assert_array_equal(cube.frame(0).valid, expected)
    np.testing.assert_array_equal(cube.window(Window(3, 5, 4, 3)).frame(0).valid, expected[3:7, 5:8])
    assert not np.isnan(cube.frame(0).values).any()  # cloudy pixels keep their values
    assert opened(tmp_path, quality=()).frame(0).valid.all()
    with pytest.raises(InputError, match="no quality layer CLM; it knows SCL"):
        opened(tmp_path, quality=("CLM",))


def test_quality_layer_inside_the_stack(tmp_path: Path) -> None:
    stack = np.stack([np.full((4, 4), 0.5), np.full((4, 4), float(VEGETATION))]).astype(np.float32)
    stack[1, 0, 0], stack[1, 1, 1] = CLOUD, np.nan
    write_image(tmp_path / "S2_20220105.tif", stack, names=["B04", "SCL"])
    cube = opened(tmp_path)
    assert cube.bands == ("B04",)
    assert np.argwhere(~cube.frame(0).valid).tolist() == [[0, 0], [1, 1]]


def test_own_masks(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:2], size=6)
    mask = np.zeros((12, 12), np.uint8)
    mask[5, 5] = 1
    for day in DAYS[:2]:
        write_image(tmp_path / "masks" / f"{day}_cloud.tif", mask, grid(12, 12, 5))  # finer than the images
    cube = opened(tmp_path, mask_pattern="masks/*_cloud.tif")
    assert np.argwhere(~cube.frame(0).valid).tolist() == [[2, 2]]
    (tmp_path / "masks" / f"{DAYS[1]}_cloud.tif").unlink()
    with pytest.raises(MissingBandError, match="2022-01-10 lacks mask"):
        opened(tmp_path, mask_pattern="masks/*_cloud.tif")


def test_a_date_without_its_quality_layer(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:2])
    write_image(tmp_path / "S2_20220105_SCL.tif", np.full((12, 12), VEGETATION, np.uint8))
    with pytest.raises(MissingBandError, match=r"2022-01-10 lacks SCL.*quality=\["):
        opened(tmp_path)


# -- grids -------------------------------------------------------------------------------------------------------------


def test_coarser_bands_are_placed_exactly(tmp_path: Path) -> None:
    """A plane sampled at 20 m pixel centres is the same plane at 10 m centres, away from the border."""
    rows, cols = np.mgrid[:12, :14]
    write_stacks(tmp_path, DAYS[:1], size=24)
    plane = (1000 + 40 * rows + 60 * cols).astype(np.uint16)
    write_image(tmp_path / "S2_20220105_20m.tif", np.stack([plane, plane]), grid(12, 14, 20), names=S2_20M)
    cube = opened(tmp_path)
    assert dict(zip(cube.bands, cube.native, strict=True)) == {**dict.fromkeys(S2_BANDS, 1), **dict.fromkeys(S2_20M, 2)}
    y, x = (np.mgrid[:24, :24] + 0.5) / 2 - 0.5
    found = cube.select(bands=["B11"]).frame(0).values[0]
    np.testing.assert_allclose(found[4:-4, 4:-4], (1000 + 40 * y + 60 * x)[4:-4, 4:-4] * 1e-4, atol=1e-6)
    assert not np.isnan(found).any()


def test_gaps_of_coarser_bands_stay_gaps(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:1], size=24)
    coarse = numbers(1, 1, 12, 12)
    coarse[0, 5, 5] = 0
    write_image(tmp_path / "S2_20220105_20m.tif", coarse, grid(12, 12, 20), names=["B11"], nodata=0)
    frame = opened(tmp_path).frame(0)
    assert np.isnan(frame.values[-1, 10:12, 10:12]).all()
    assert not np.isnan(frame.values[-1, :6]).any()
    assert not frame.valid[10, 10]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), coarse=st.integers(7, 12), shift=st.integers(0, 3), seed=st.integers(0, 99))
def test_a_window_holds_the_same_numbers(tmp_path_factory: Any, data: Any, coarse: int, shift: int, seed: int) -> None:
    folder = tmp_path_factory.mktemp("images")
    size = 2 * coarse - 1  # the coarser grid reaches beyond the finer one
    image = numbers(seed, 1, size, size)
    image[0, 1, 2] = 0
    box = grid(size, size, 10, (10.0 * shift, 0))
    write_image(folder / "S2_20220105.tif", image, box, names=["B04"], nodata=0)
    coarser = grid(coarse, coarse, 20)
    write_image(folder / "S2_20220105_20m.tif", numbers(seed, 1, coarse, coarse), coarser, names=["B11"])
    write_image(folder / "S2_20220105_SCL.tif", numbers(seed, coarse, coarse, low=0, high=12), coarser)
    cube = opened(folder)
    row, col = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    window = Window(row, col, data.draw(st.integers(1, size - row)), data.draw(st.integers(1, size - col)))
    whole, part = cube.frame(0), cube.window(window).frame(0)
    rows, cols = window.slices
    np.testing.assert_allclose(part.values, whole.values[:, rows, cols], atol=1e-6)
    np.testing.assert_array_equal(part.valid, whole.valid[rows, cols])
    # what the coarser file does not cover was not observed
    uncovered = max(0, size + shift - 2 * coarse)
    assert np.isnan(whole.values[1]).any() == bool(uncovered)


def test_mixed_grids(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:2])
    write_image(tmp_path / "S2_20220120.tif", numbers(3, 4, 12, 12), grid(12, 12, 10, (4, 0)), names=S2_BANDS)
    with pytest.raises(GridError, match=r"1 of 3 images lie on another grid .*S2_20220120 of 2022-01-20.*500004"):
        opened(tmp_path)
    cube = opened(tmp_path, resample_to="first")
    assert cube.dates == DATES
    assert cube.grid == grid(12, 12)
    moved = opened(tmp_path, resample_to="S2_20220120.tif")
    assert moved.grid == grid(12, 12, 10, (4, 0))
    np.testing.assert_allclose(moved.frame(2).values, reflectance(numbers(3, 4, 12, 12)), atol=1e-6)


def test_another_extent_on_the_same_lattice_is_not_interpolated(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:1])
    image = numbers(3, 4, 12, 12)
    write_image(tmp_path / "S2_20220110.tif", image, grid(12, 12, 10, (30, -20)), names=S2_BANDS, nodata=0)
    cube = opened(tmp_path, resample_to="first")
    frame = cube.frame(1)
    np.testing.assert_allclose(frame.values[:, :10, 3:], reflectance(image[:, 2:, :9]), atol=1e-6)
    assert np.isnan(frame.values[:, 10:]).all()
    assert np.isnan(frame.values[:, :, :3]).all()


def test_mixed_coordinate_systems(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:2])
    write_image(tmp_path / "S2_20220120.tif", numbers(3, 4, 12, 12), grid(12, 12, crs="EPSG:32632"), names=S2_BANDS)
    with pytest.raises(GridError, match=r"another grid.*S2_20220120 of 2022-01-20.*EPSG:32632"):
        opened(tmp_path)


def test_a_layer_that_does_not_nest(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:1])
    write_image(tmp_path / "S2_20220105_20m.tif", numbers(1, 1, 6, 6), grid(6, 6, 20, (5, 0)), names=["B11"])
    with pytest.raises(GridError, match=r"S2_20220105_20m\.tif \(B11\): its pixels .* do not nest"):
        opened(tmp_path)


def test_no_coordinate_system(tmp_path: Path) -> None:
    write_image(tmp_path / "S2_20220105.tif", numbers(1, 1, 5, 5), names=["B04"], crs=None)
    with pytest.raises(GridError, match=r"S2_20220105\.tif has no coordinate system.*--crs"):
        opened(tmp_path)


def test_rotated_image(tmp_path: Path) -> None:
    path = write_image(tmp_path / "S2_20220105.tif", numbers(1, 1, 5, 5), names=["B04"])
    with rasterio.open(path, "r+") as file:
        file.transform = file.transform @ rasterio.Affine.rotation(10)
    with pytest.raises(GridError, match="rotated"):
        opened(tmp_path)


# -- files -------------------------------------------------------------------------------------------------------------


def test_unreadable_files(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS)
    (tmp_path / "S2_20220110.tif").write_bytes(b"not an image")
    with pytest.raises(ReadError, match=r"S2_20220110\.tif cannot be read") as caught:
        opened(tmp_path)
    assert opened(tmp_path, **fix_of(caught.value)).dates == (DATES[0], DATES[2])


def test_truncated_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS[:1], size=64)
    path = tmp_path / "S2_20220105.tif"
    cube = opened(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # the header is at the beginning
    with pytest.raises(ReadError, match=r"S2_20220105\.tif"):
        cube.frame(0)


def test_internal_mask_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "S2_20220105.tif", numbers(1, 1, 5, 5), names=["B04"])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.eye(5, dtype=bool))
    with pytest.raises(InputError, match="internal mask"):
        opened(tmp_path)


def test_pixel_types_that_cannot_be_used(tmp_path: Path) -> None:
    write_image(tmp_path / "S2_20220105.tif", np.zeros((1, 5, 5), np.complex64), names=["B04"])
    with pytest.raises(InputError, match="pixels of type complex64"):
        opened(tmp_path)


def test_hidden_files_are_not_images(tmp_path: Path) -> None:
    write_stacks(tmp_path, DAYS)
    (tmp_path / "._S2_20220105.tif").write_bytes(b"resource fork")
    assert opened(tmp_path).dates == DATES


def test_recognise(tmp_path: Path) -> None:
    assert not geotiff.recognise(tmp_path)
    write_stacks(tmp_path / "deep", DAYS[:1])
    assert geotiff.recognise(tmp_path)
    assert geotiff.recognise(tmp_path / "deep" / f"S2_{DAYS[0]}.tif")


def test_fingerprint_does_not_depend_on_the_place(tmp_path: Path) -> None:
    prints = []
    for folder in ("one", "two"):
        write_stacks(tmp_path / folder, DAYS)
        cube = pickle.loads(pickle.dumps(opened(tmp_path / folder)))
        prints.append(cube.fingerprint(1))
    assert prints[0] == prints[1]
    assert [file["path"] for file in prints[0]["files"]] == ["S2_20220110.tif"]
    write_image(tmp_path / "two" / "S2_20220110.tif", numbers(9, 4, 12, 12), names=S2_BANDS, nodata=0)
    assert opened(tmp_path / "two").fingerprint(1) != prints[1]
