"""What lies in a job's folder, opened with plain rasterio, zarr, xarray and json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion import methods, sensors
from sitsfusion.api import execute
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec, image_tags, product
from sitsfusion.errors import EncodingError, GridError, InputError, WriteError
from sitsfusion.grid import Window
from sitsfusion.io.cog import Layout, mosaic_cog, vrt_xml, write_cog
from sitsfusion.methods.base import Method
from sitsfusion.prediction import open_prediction
from sitsfusion.query import RoleQuery, query_of
from sitsfusion.sensors import Encoding, Sensor
from tests import stubs
from tests.scenes import days, grid, scene

DATES = days(4, 21)
SIZE = (6, 175)  # cells: 18 x 525 pixels, two tiles across, enough for an overview


def job_in(folder: Path, method: str | Method = "naive", resolution: float | None = None, **spec: Any) -> Job:
    place, made = scene(SIZE if resolution is None else (3, 9)), methods.make(method)
    query = query_of(place, DATES, made.outputs(place), resolution=resolution)
    return plan_job(place, query, made, OutputSpec(folder, **spec), Resources(device="cpu", tile=480))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The same job as joined images, as virtual mosaics and as Zarr."""
    root = tmp_path_factory.mktemp("outputs")
    kinds: dict[str, dict[str, Any]] = {"cog": {}, "vrt": {"mosaic": "vrt"}, "zarr": {"format": "zarr"}}
    for name, spec in kinds.items():
        execute(job_in(root / name, **spec))
    return {name: root / name for name in kinds}


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["cog", "vrt"])
@pytest.mark.parametrize(
    ("role", "bands", "offsets"), [("fine", ("B02", "B08"), (0, 0)), ("coarse", ("B04", "LST"), (0, 273.15))]
)
def test_images_say_where_what_and_when(
    folders: Mapping[str, Path], kind: str, role: str, bands: tuple[str, str], offsets: tuple[float, float]
) -> None:
    suffix = {"cog": "tif", "vrt": "vrt"}[kind]
    with rasterio.open(folders[kind] / role / f"{role}_20220105.{suffix}") as file:
        assert (file.height, file.width, file.count) == (18, 525, 2)
        assert file.crs.to_epsg() == 32631
        assert tuple(file.transform)[:6] == (10, 0, 600_000, 0, -10, 5_000_000)
        assert file.descriptions == bands
        assert file.dtypes == ("int16", "int16")
        assert file.nodatavals == (-32768, -32768)
        assert file.scales == pytest.approx((1e-4, 0.01 if role == "coarse" else 1e-4))
        assert file.offsets == pytest.approx(offsets)
        assert file.units == ("reflectance", "kelvin" if role == "coarse" else "reflectance")
        tags = file.tags()
        assert tags["DATE"] == "2022-01-05"
        assert tags["TIFFTAG_DATETIME"] == "2022:01:05 00:00:00"
        assert tags["METHOD"] == "naive"
        assert tags["PLAN_ID"] == json.loads((folders[kind] / "plan.json").read_text())["plan_id"]
        assert tags["TIFFTAG_SOFTWARE"].startswith("sitsfusion ")
        if kind == "cog":
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.overviews(1) == [2]
            assert file.block_shapes[0] == (512, 512)
        physical = file.read(masked=True) * np.array(file.scales)[:, None, None] + np.array(file.offsets)[:, None, None]
    frame = open_prediction(folders[kind])[role].select(dates=days(4)).frame(0)
    np.testing.assert_allclose(physical.filled(np.nan), frame.values, rtol=1e-6)
    assert np.isnan(frame.values).any(), "the case has gaps"


@pytest.mark.parametrize("role", ["fine", "coarse", "fine_quality", "coarse_quality"])
def test_virtual_mosaics_equal_the_joined_images(folders: Mapping[str, Path], role: str) -> None:
    for day in ("20220105", "20220122"):
        with (
            rasterio.open(folders["cog"] / role / f"{role}_{day}.tif") as joined,
            rasterio.open(folders["vrt"] / role / f"{role}_{day}.vrt") as virtual,
        ):
            np.testing.assert_array_equal(joined.read(), virtual.read())
            assert joined.profile["nodata"] == virtual.profile["nodata"]
    assert list((folders["vrt"] / "work").glob("*/*.tif")), "tiles stay under a virtual mosaic"
    assert not list((folders["cog"] / "work").glob("*/*.tif")), "tiles go when they are joined"


def test_a_moved_folder_of_virtual_mosaics_still_opens(folders: Mapping[str, Path], tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "elsewhere"
    shutil.copytree(folders["vrt"], moved)
    with rasterio.open(moved / "fine" / "fine_20220105.vrt") as file:
        assert all(str(moved) in name for name in file.files)
        assert (file.read() != -32768).any()


def test_quality_images(folders: Mapping[str, Path]) -> None:
    with rasterio.open(folders["cog"] / "fine_quality" / "fine_quality_20220105.tif") as file:
        assert file.descriptions == ("invalid", "days_to_clear", "clear_count")
        assert file.dtypes == ("int16",) * 3
        invalid, away, count = file.read()
    assert set(np.unique(invalid)) == {0, 1}
    np.testing.assert_array_equal(invalid == 1, count == 0)
    np.testing.assert_array_equal(away == 32767, count == 0)


@pytest.mark.parametrize("role", ["fine", "coarse"])
def test_zarr_opens_in_xarray_with_units_and_places(folders: Mapping[str, Path], role: str) -> None:
    path = folders["zarr"] / "prediction.zarr"
    found = xarray.open_zarr(path, group=role, consolidated=False, chunks=None)
    assert list(found.time.values) == [np.datetime64(day) for day in DATES]
    np.testing.assert_allclose(found.x.values, 600_005 + 10 * np.arange(525))
    np.testing.assert_allclose(found.y.values, 4_999_995 - 10 * np.arange(18))
    assert "EPSG" in found.spatial_ref.attrs["crs_wkt"]
    assert found.spatial_ref.attrs["GeoTransform"] == "600000.0 10.0 0.0 5000000.0 0.0 -10.0"
    assert found.attrs["proj:code"] == "EPSG:32631"
    frames = open_prediction(folders["zarr"])[role].to_numpy()[0]
    for c, band in enumerate(found.attrs["bands"]):
        assert found[band].dims == ("time", "y", "x")
        assert found[band].attrs["units"] == ("kelvin" if band == "LST" else "reflectance")
        np.testing.assert_allclose(found[band].values, frames[:, c], rtol=1e-5)


def test_zarr_holds_the_same_numbers_as_the_images(folders: Mapping[str, Path]) -> None:
    a, b = open_prediction(folders["zarr"]), open_prediction(folders["cog"])
    for role in ("fine", "coarse"):
        for one, other in zip(a[role].to_numpy(), b[role].to_numpy(), strict=True):
            np.testing.assert_array_equal(one, other)
        for day in DATES:
            for layer, numbers in a.quality(role, day).items():
                np.testing.assert_array_equal(numbers, b.quality(role, day)[layer])


def test_zarr_chunks_are_one_date_of_one_tile_and_shards_all_its_dates(folders: Mapping[str, Path]) -> None:
    root: Any = zarr.open_group(str(folders["zarr"] / "prediction.zarr"), mode="r")
    band = root["fine"]["B02"]
    assert (band.chunks, band.shards) == ((1, 18, 480), (2, 18, 480))
    files = [p for p in (folders["zarr"] / "prediction.zarr" / "fine" / "B02" / "c").rglob("*") if p.is_file()]
    assert len(files) == 2, "one file per tile"
    assert root.attrs["provenance"]["method"] == "naive"


def test_stac_items_point_to_files_that_are_there(folders: Mapping[str, Path]) -> None:
    for kind in ("cog", "vrt"):
        stac = folders[kind] / "stac"
        collection = json.loads((stac / "collection.json").read_text())
        items = [link["href"] for link in collection["links"] if link["rel"] == "item"]
        assert items == ["./2022-01-05.json", "./2022-01-22.json"]
        assert collection["extent"]["temporal"]["interval"] == [["2022-01-05T00:00:00Z", "2022-01-22T00:00:00Z"]]
        west, south, east, north = collection["extent"]["spatial"]["bbox"][0]
        assert 4 < west < east < 5
        assert 45 < south < north < 46
        for name in items:
            item = json.loads((stac / name).read_text())
            assert item["type"] == "Feature"
            assert item["properties"]["proj:code"] == "EPSG:32631"
            assert item["geometry"]["coordinates"][0][0] == item["geometry"]["coordinates"][0][-1]
            assert set(item["assets"]) == {"fine", "coarse", "fine_quality", "coarse_quality"}
            for asset in item["assets"].values():
                path = stac / asset["href"]
                assert asset["href"].startswith("../")
                with rasterio.open(path) as file:
                    assert tuple(asset["proj:transform"]) == tuple(file.transform)[:6]
                    assert asset["proj:shape"] == [file.height, file.width]
                    assert [b["name"] for b in asset["raster:bands"]] == list(file.descriptions)
                    assert [b["data_type"] for b in asset["raster:bands"]] == list(file.dtypes)
                    assert [b.get("nodata") for b in asset["raster:bands"]] == [*file.nodatavals]


def test_float_output_and_sigma(tmp_path: Path) -> None:
    job = job_in(tmp_path, stubs.Finer(), resolution=2.5, encoding="float32")
    execute(job)
    with rasterio.open(tmp_path / "coarse_sigma" / "coarse_sigma_20220105.tif") as file:
        assert file.dtypes == ("float32", "float32")
        assert np.isnan(file.nodata)
        assert file.units == ("reflectance", "kelvin")
        assert file.res == (2.5, 2.5)
        sigma = file.read()
    found = open_prediction(tmp_path)
    np.testing.assert_array_equal(found.sigma["coarse"].frame(0).values, sigma)
    with rasterio.open(tmp_path / "coarse" / "coarse_20220105.tif") as file:
        assert file.dtypes == ("float32", "float32")
    item = json.loads((tmp_path / "stac" / "2022-01-05.json").read_text())
    assert item["assets"]["coarse_sigma"]["raster:bands"][0]["nodata"] == "nan"


def sensor_with(**outputs: dict[str, Any]) -> Sensor:
    """Sentinel-2 with other output encodings."""
    s2 = sensors.get("sentinel-2-l2a")
    bands = [
        band.model_copy(update={"output": Encoding(**outputs[band.key])}) if band.key in outputs else band
        for band in s2.bands
    ]
    return s2.model_copy(update={"bands": tuple(bands)})


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"dtype": "uint16", "nodata": 0}, r"bands B02 \(int16, nodata -32768.0\) and B08 \(uint16, nodata 0.0\)"),
        ({"dtype": "int16", "nodata": 0}, "B08 .int16, nodata 0.0. of sentinel-2-l2a cannot be written into one image"),
        ({"dtype": "int16"}, "band B08 .* without a nodata number, .* add `nodata`"),
    ],
)
def test_bands_that_one_image_cannot_hold_are_refused_with_the_remedy(output: dict[str, Any], message: str) -> None:
    wanted = RoleQuery(sensor_with(B08=output), ("B02", "B08"), DATES, 3)
    with pytest.raises(InputError, match=message) as caught:
        product(scene((2, 2)), "fine", wanted, "values", OutputSpec(Path("x")))
    assert "--encoding float32" in str(caught.value)
    product(scene((2, 2)), "fine", wanted, "values", OutputSpec(Path("x"), encoding="float32"))
    product(scene((2, 2)), "fine", wanted, "sigma", OutputSpec(Path("x")))


@settings(deadline=None)
@given(
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32"]),
    scale=st.sampled_from([1e-4, 0.01, 1.0]),
    offset=st.sampled_from([0.0, 273.15, -0.2]),
    share=st.floats(0, 1),
    beyond=st.floats(0.6, 1e4),
)
def test_what_fits_comes_back_and_what_does_not_is_refused(
    dtype: str, scale: float, offset: float, share: float, beyond: float
) -> None:
    encoding = Encoding(dtype=dtype, scale=scale, offset=offset, nodata=float(np.iinfo(dtype).min))
    low, high = encoding.limits()
    layout = Layout(grid((1, 2), 10), ("B02",), (encoding,), ("reflectance",))
    physical = np.array([[[low + share * (high - low), np.nan]]])
    stored = layout.encode(physical.astype(np.float64), "fine of 2022-01-05")
    assert stored.dtype == dtype
    assert stored[0, 0, 1] == np.iinfo(dtype).min
    np.testing.assert_allclose(encoding.decode(stored), physical, rtol=3e-7, atol=0.51 * scale)
    for outside in (high + beyond * scale, low - beyond * scale):
        with pytest.raises(EncodingError, match=r"fine of 2022-01-05, band B02: .* does not fit .*--encoding float32"):
            layout.encode(np.array([[[outside]]]), "fine of 2022-01-05")


def test_a_float_layout_keeps_infinite_gaps_as_nan() -> None:
    layout = Layout(grid((1, 2), 10), ("B02",), (Encoding(dtype="float32", nodata=-9999.0),), ("reflectance",))
    stored = layout.encode(np.array([[[np.nan, 0.5]]], np.float32), "x")
    np.testing.assert_array_equal(stored, np.float32([[[-9999, 0.5]]]))


@pytest.mark.smoke
def test_images_need_a_coordinate_system(tmp_path: Path) -> None:
    layout = Layout(grid((4, 4), 10, None), ("B02",), (Encoding(dtype="int16"),), ("reflectance",))
    with pytest.raises(GridError, match="needs a coordinate system"):
        write_cog(tmp_path / "a.tif", np.zeros((1, 4, 4), np.int16), layout, tags={})
    with pytest.raises(GridError, match="needs a coordinate system"):
        vrt_xml(layout, [], {}, None)
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_missing_tile_leaves_no_half_mosaic(tmp_path: Path) -> None:
    layout = Layout(grid((300, 300), 10), ("B02",), (Encoding(dtype="int16"),), ("reflectance",))
    noise = np.random.default_rng(0).integers(0, 9999, (1, 300, 300)).astype(np.int16)
    write_cog(tmp_path / "tile.tif", noise, layout, tags={})
    whole = (tmp_path / "tile.tif").read_bytes()
    (tmp_path / "tile.tif").write_bytes(whole[: len(whole) // 2])
    for name in ("tile.tif", "absent.tif"):
        xml = vrt_xml(layout, [(tmp_path / name, Window(0, 0, 300, 300))], {}, None)
        with pytest.raises(
            WriteError, match=rf"mosaic.tif cannot be written \(.*{name}.*is the disk full, or a file damaged"
        ):
            mosaic_cog(tmp_path / "mosaic.tif", xml)
    assert [p.name for p in tmp_path.iterdir()] == ["tile.tif"]


def test_tags_hold_no_time_of_writing() -> None:
    provenance = {"version": "1.2", "method": "naive", "plan_id": "abc", "weights": None}
    assert image_tags(date(2022, 1, 5), provenance) == {
        "TIFFTAG_DATETIME": "2022:01:05 00:00:00",
        "TIFFTAG_SOFTWARE": "sitsfusion 1.2",
        "DATE": "2022-01-05",
        "METHOD": "naive",
        "PLAN_ID": "abc",
    }
