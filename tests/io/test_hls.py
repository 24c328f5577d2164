"""HLS granules: both kinds, bands that have the same name but are not the same, fill, and what is refused."""

from __future__ import annotations

import shutil
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sitsfusion.errors import DateError, InputError, MissingBandError, ReadError
from sitsfusion.io import hls
from sitsfusion.io.fixes import fix_of
from sitsfusion.scene import Scene
from tests.fake.products import FakeHls, write_hls

L30, S30 = FakeHls(), FakeHls(kind="S30", time="2022010T105421")
WHOLE = hls.Options()


def test_one_granule(tmp_path: Path) -> None:
    folder = write_hls(tmp_path, L30)
    assert hls.recognise(folder)
    assert hls.recognise(tmp_path)
    cubes = hls.read(folder, WHOLE)
    coarse, thermal = cubes["coarse"], cubes["thermal"]
    assert coarse.sensor.name == "hls-l30"
    assert coarse.bands == ("B01", "B02", "B03", "B04", "B05", "B06", "B07")
    assert thermal.bands == ("B10", "B11")
    assert thermal.native == (3, 3)
    frame = coarse.frame(0)
    stored = L30.values("B05").astype(float)
    stored[stored == -9999] = np.nan
    np.testing.assert_allclose(frame.values[4], stored / 10000, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        thermal.frame(0).values[0, 1:, :-1], L30.values("B10")[1:, :-1] / 100 + 273.15, rtol=1e-6
    )
    clear = np.ones((6, 6), bool)
    clear[0] = clear[:, -1] = False  # cloud, fill
    np.testing.assert_array_equal(frame.valid, clear)


def test_metadata(tmp_path: Path) -> None:
    item = hls.read(write_hls(tmp_path, L30), WHOLE)["coarse"].items[0]
    assert item.id == "HLS.L30.T31TCJ.2022005T105341.v2.0"
    assert item.time == datetime(2022, 1, 5, 10, 53, 41)
    assert item.platform == "Landsat 8"
    assert item.clear_share == pytest.approx(0.63)
    assert (item.sun_zenith, item.sun_azimuth, item.view_zenith) == (67.25, 160.5, None)
    other = hls.read(write_hls(tmp_path, S30).parent / S30.id, WHOLE)["coarse"].items[0]
    assert other.platform == "Sentinel-2B"


def test_angles_of_several_source_images_are_unknown(tmp_path: Path) -> None:
    folder = write_hls(tmp_path, L30)
    for file in folder.glob("*.tif"):
        with rasterio.open(file, "r+") as image:
            image.update_tags(MEAN_SUN_ZENITH_ANGLE="67.25, 67.5")
    assert hls.read(folder, WHOLE)["coarse"].items[0].sun_zenith is None


def test_both_kinds(tmp_path: Path) -> None:
    """B05 is near infrared in L30 and red edge in S30: common names are safe."""
    write_hls(tmp_path, L30)
    write_hls(tmp_path, S30)
    cubes = hls.read(tmp_path, hls.Options(bands=("red", "nir08", "swir16")))
    assert cubes["coarse"].bands == ("B04", "B05", "B06")
    assert cubes["fine"].bands == ("B04", "B8A", "B11")
    scene = Scene(cubes)
    assert scene.size == (6, 6)
    assert scene["coarse"].dates == (date(2022, 1, 5),)
    assert scene["fine"].dates == (date(2022, 1, 10),)
    np.testing.assert_array_equal(scene["fine"].stored(0).values[1], S30.values("B8A"))
    everything = hls.read(tmp_path, WHOLE)
    assert list(everything) == ["coarse", "thermal", "fine"]
    assert len(everything["fine"].bands) == 11
    assert everything["fine"].native[0] == 2


def test_loose_files_of_a_series(tmp_path: Path) -> None:
    """As the download scripts leave them: all files in one folder."""
    for granule in (S30, FakeHls(kind="S30", time="2022015T105411"), FakeHls(kind="S30", time="2021364T105431")):
        for file in write_hls(tmp_path / "granules", granule).iterdir():
            file.rename(tmp_path / file.name)
    shutil.rmtree(tmp_path / "granules")
    assert hls.recognise(tmp_path)
    cube = hls.read(tmp_path, WHOLE)["coarse"]
    assert cube.dates == (date(2021, 12, 30), date(2022, 1, 10), date(2022, 1, 15))
    np.testing.assert_array_equal(cube.select(bands=["B08"]).stored(1).values[0], S30.values("B08"))


def test_bands_at_the_top_of_the_atmosphere_only_on_request(tmp_path: Path) -> None:
    folder = write_hls(tmp_path, L30)
    assert "B09" not in hls.read(folder, WHOLE)["coarse"].bands
    assert hls.read(folder, hls.Options(bands=("cirrus",)))["coarse"].bands == ("B09",)


def test_two_granules_of_a_day(tmp_path: Path) -> None:
    """Two rows of one pass that meet in a tile."""
    write_hls(tmp_path, L30)
    write_hls(tmp_path, FakeHls(time="2022005T105405"))
    with pytest.raises(DateError, match=r"105341.*105405"):
        hls.read(tmp_path, WHOLE)
    assert hls.read(tmp_path, hls.Options(duplicates="merge"))["coarse"].dates == (date(2022, 1, 5),)


def test_what_is_refused(tmp_path: Path) -> None:
    assert not hls.recognise(tmp_path)
    with pytest.raises(ReadError, match="holds no HLS granule"):
        hls.read(tmp_path, WHOLE)
    folder = write_hls(tmp_path, L30)
    write_hls(tmp_path, FakeHls(tile="31TDJ"))
    with pytest.raises(InputError, match=r"tile T31TCJ: HLS\.L30\.T31TCJ.*; tile T31TDJ: HLS\.L30\.T31TDJ"):
        hls.read(tmp_path, WHOLE)
    (folder / f"{L30.id}.Fmask.tif").unlink()
    with pytest.raises(MissingBandError, match="Fmask") as caught:
        hls.read(folder, WHOLE)
    assert hls.read(folder, hls.Options(**fix_of(caught.value)))["coarse"].stored(0).clear is None
