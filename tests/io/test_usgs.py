"""Landsat level-2 products: archives and folders, metadata, quality, frames, and what is refused."""

from __future__ import annotations

import pickle
import shutil
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from sitsfusion.errors import DateError, GridError, InputError, MissingBandError, ReadError
from sitsfusion.grid import Window
from sitsfusion.io import usgs
from sitsfusion.io.fixes import fix_of
from sitsfusion.scene import Scene
from tests.fake.products import FakeLandsat, pack_tar, write_landsat

JANUARY = FakeLandsat()
MARCH = FakeLandsat(id="LC09_L2SP_198029_20220318_20220320_02_T1", shift=(2, -1), height=9)
OLD = FakeLandsat(id="LE07_L2SP_198029_20010706_20200917_02_T1")
WHOLE = usgs.Options()


def reflectance(stored: np.ndarray) -> np.ndarray:
    return np.where(stored == 0, np.nan, stored * 2.75e-5 - 0.2)


def remove(folder: Path, ending: str) -> None:
    for file in folder.glob(f"*{ending}"):
        file.unlink()


@pytest.mark.parametrize("packed", [True, False])
def test_one_product(tmp_path: Path, packed: bool) -> None:
    place = write_landsat(tmp_path, JANUARY)
    if packed:
        archive = pack_tar(place)
        shutil.rmtree(place)
        place = archive
    assert usgs.recognise(place)
    cubes = usgs.read(place, WHOLE)
    coarse, thermal = cubes["coarse"], cubes["thermal"]
    assert coarse.bands == ("B01", "B02", "B03", "B04", "B05", "B06", "B07")
    assert thermal.bands == ("LST",)
    assert thermal.native == (3,)
    frame = coarse.frame(0)
    expected = np.stack([reflectance(JANUARY.values(f"SR_{band}")) for band in JANUARY.reflective])
    np.testing.assert_allclose(frame.values, expected, rtol=1e-6, atol=1e-7)
    assert frame.values.dtype == np.float32
    # first row cloud, last column fill, one pixel saturated, one with high aerosol
    clear = np.ones((8, 7), bool)
    clear[0] = clear[:, -1] = clear[1, 0] = clear[1, 1] = False
    np.testing.assert_array_equal(frame.valid, clear)


def test_temperature_has_gaps_of_its_own(tmp_path: Path) -> None:
    cubes = usgs.read(write_landsat(tmp_path, JANUARY), WHOLE)
    frame = cubes["thermal"].frame(0)
    stored = JANUARY.values("ST_B10")
    np.testing.assert_allclose(frame.values[0, 1:, :2], stored[1:, :2] * 0.00341802 + 149.0, rtol=1e-6, atol=1e-7)
    assert np.isnan(frame.values[0, 2, 2])
    assert not frame.valid[2, 2]
    assert cubes["coarse"].frame(0).valid[2, 2]
    # saturation and aerosol of reflective bands do not matter
    assert frame.valid[1, 0]
    assert frame.valid[1, 1]
    assert not frame.valid[0].any()


@pytest.mark.parametrize("kind", ["json", "xml", "txt"])
def test_metadata_in_three_formats(tmp_path: Path, kind: str) -> None:
    product = FakeLandsat(metadata=(kind,))
    item = usgs.read(write_landsat(tmp_path, product), WHOLE)["coarse"].items[0]
    assert item.id == product.id
    assert item.time == datetime(2022, 1, 5, 10, 40, 12, 345678)
    assert item.platform == "Landsat 8"
    assert item.clear_share == pytest.approx(0.875)
    assert item.sun_zenith == pytest.approx(68.5)
    assert item.sun_azimuth == pytest.approx(158.25)


def test_without_metadata_the_name_gives_date_and_platform(tmp_path: Path) -> None:
    coarse = usgs.read(write_landsat(tmp_path, FakeLandsat(metadata=())), WHOLE)["coarse"]
    assert coarse.dates == (date(2022, 1, 5),)
    assert coarse.items[0].platform == "Landsat 8"
    assert (coarse.items[0].time, coarse.items[0].sun_zenith, coarse.items[0].clear_share) == (None, None, None)


def test_solar_day_is_not_the_day_in_utc(tmp_path: Path) -> None:
    """At 178 degrees east a morning image has yesterday's UTC date."""
    product = FakeLandsat(id="LC08_L2SP_074072_20220104_20220114_02_T1", time="22:20:12.3456780Z", crs="EPSG:32660")
    assert usgs.read(write_landsat(tmp_path, product), WHOLE)["coarse"].dates == (date(2022, 1, 5),)


@pytest.mark.parametrize(
    ("kind", "text"), [("json", "{}"), ("json", "no json"), ("xml", "<a><b></a>"), ("xml", "<a/><b/>")]
)
def test_metadata_that_cannot_be_understood(tmp_path: Path, kind: str, text: str) -> None:
    folder = write_landsat(tmp_path, FakeLandsat(metadata=(kind,)))
    next(folder.glob("*_MTL.*")).write_text(text)
    with pytest.raises(ReadError, match="no Collection 2 metadata"):
        usgs.read(folder, WHOLE)


@pytest.mark.parametrize(("find", "replace"), [("21.50000000", "low"), ("10:40:12.3456780Z", "noon")])
def test_metadata_with_wrong_values(tmp_path: Path, find: str, replace: str) -> None:
    folder = write_landsat(tmp_path, JANUARY)
    file = next(folder.glob("*_MTL.json"))
    file.write_text(file.read_text().replace(find, replace))
    with pytest.raises(ReadError, match=replace):
        usgs.read(folder, WHOLE)


def test_series_of_shifted_frames(tmp_path: Path) -> None:
    """Frames of one path differ by whole pixels; the cube covers both."""
    write_landsat(tmp_path, JANUARY)
    pack_tar(write_landsat(tmp_path / "unpacked", MARCH)).rename(tmp_path / f"{MARCH.id}.tar")
    shutil.rmtree(tmp_path / "unpacked")
    assert usgs.recognise(tmp_path)
    coarse = usgs.read(tmp_path, WHOLE)["coarse"]
    assert coarse.dates == (date(2022, 1, 5), date(2022, 3, 18))
    assert coarse.shape == (2, 7, 9, 9)
    assert (coarse.grid.affine.c, coarse.grid.affine.f) == (JANUARY.corner[0], MARCH.corner[1])
    values, valid = coarse.to_numpy()
    np.testing.assert_allclose(values[0, 3, 1:, :7], reflectance(JANUARY.values("SR_B4")), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(values[1, 3, :, 2:], reflectance(MARCH.values("SR_B4")), rtol=1e-6, atol=1e-7)
    assert np.isnan(values[0, :, 0]).all()
    assert not valid[0, 0].any()
    assert valid[1, 1:, 2:8].sum() == 8 * 6 - 2


def test_a_window_holds_the_same_pixels(tmp_path: Path) -> None:
    write_landsat(tmp_path, JANUARY)
    write_landsat(tmp_path, MARCH)
    coarse = pickle.loads(pickle.dumps(usgs.read(tmp_path, WHOLE)["coarse"]))
    values, valid = coarse.to_numpy()
    for window in (Window(0, 0, 2, 3), Window(3, 4, 5, 5), Window(8, 0, 1, 9)):
        part = coarse.select(bands=["swir22", "red"]).window(window)
        rows, cols = window.slices
        np.testing.assert_array_equal(part.frame(1).values, values[1][[6, 3], rows, cols])
        np.testing.assert_array_equal(part.frame(0).valid, valid[0, rows, cols])


def test_rows_of_one_pass(tmp_path: Path) -> None:
    write_landsat(tmp_path, JANUARY)
    south = FakeLandsat(id="LC08_L2SP_198030_20220105_20220114_02_T1", time="10:40:36.0Z", shift=(0, 6))
    write_landsat(tmp_path, south)
    with pytest.raises(DateError, match=r"198029.*198030") as caught:
        usgs.read(tmp_path, WHOLE)
    assert fix_of(caught.value) == {"duplicates": "merge"}
    merged = usgs.read(tmp_path, usgs.Options(duplicates="merge"))["coarse"]
    assert merged.shape == (1, 7, 14, 7)
    blue = merged.frame(0).values[1]
    np.testing.assert_allclose(blue[1:6, 2:6], reflectance(JANUARY.values("SR_B2"))[1:6, 2:6], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(blue[8:, :], reflectance(south.values("SR_B2"))[2:], rtol=1e-6, atol=1e-7)


def test_etm_plus(tmp_path: Path) -> None:
    cubes = usgs.read(write_landsat(tmp_path, OLD), WHOLE)
    assert cubes["coarse"].bands == ("B01", "B02", "B03", "B04", "B05", "B07")
    assert cubes["coarse"].items[0].platform == "Landsat 7"
    assert cubes["thermal"].native == (4,)
    np.testing.assert_allclose(
        cubes["coarse"].frame(0).values[5], reflectance(OLD.values("SR_B7")), rtol=1e-6, atol=1e-7
    )
    assert cubes["coarse"].frame(0).valid[1, 1]  # no aerosol layer


def test_reflectance_only_products_have_no_temperature(tmp_path: Path) -> None:
    write_landsat(tmp_path, FakeLandsat(id="LC08_L2SR_198029_20220121_20220128_02_T1"))
    assert list(usgs.read(tmp_path, WHOLE)) == ["coarse"]
    write_landsat(tmp_path, JANUARY)
    cubes = usgs.read(tmp_path, WHOLE)
    assert len(cubes["coarse"]) == 2
    assert cubes["thermal"].dates == (date(2022, 1, 5),)


def test_non_square_pixels(tmp_path: Path) -> None:
    """Reduced copies of products have such; read alone they work."""
    product = FakeLandsat(step=(515.1, 516.9))
    cubes = usgs.read(write_landsat(tmp_path, product), WHOLE)
    scene = Scene(cubes)
    assert scene.size == (8, 7)
    assert scene["thermal"].native == (1,)
    np.testing.assert_allclose(
        scene["coarse"].frame(0).values[0], reflectance(product.values("SR_B1")), rtol=1e-6, atol=1e-7
    )


def test_bands_and_quality_wanted(tmp_path: Path) -> None:
    folder = write_landsat(tmp_path, JANUARY)
    cubes = usgs.read(folder, usgs.Options(bands=("nir", "red"), quality=("QA_PIXEL",)))
    assert list(cubes) == ["coarse"]
    assert cubes["coarse"].bands == ("B05", "B04")
    assert cubes["coarse"].frame(0).valid[1, :2].all()
    unmasked = usgs.read(folder, usgs.Options(bands=("red",), quality=()))["coarse"]
    assert unmasked.stored(0).clear is None
    assert unmasked.frame(0).valid[0, :-1].all()
    with pytest.raises(InputError, match="has no quality layer SCL; it knows QA_PIXEL"):
        usgs.read(folder, usgs.Options(quality=("SCL",)))
    with pytest.raises(MissingBandError, match="no band 'B8A'"):
        usgs.read(folder, usgs.Options(bands=("B8A",)))
    with pytest.raises(ValidationError):
        usgs.Options.model_validate({"band": ["red"]})


def test_missing_layers_are_named_with_the_way_out(tmp_path: Path) -> None:
    folder = write_landsat(tmp_path, JANUARY)
    remove(folder, "_SR_B4.TIF")
    with pytest.raises(MissingBandError, match=r"20220105.*B04") as caught:
        usgs.read(tmp_path, WHOLE)
    way_out = fix_of(caught.value)
    assert "LST" in way_out["bands"]
    assert usgs.read(tmp_path, usgs.Options(**way_out))["coarse"].bands == ("B01", "B02", "B03", "B05", "B06", "B07")
    remove(folder, "_QA_RADSAT.TIF")
    with pytest.raises(MissingBandError, match="QA_RADSAT") as caught:
        usgs.read(tmp_path, usgs.Options(**way_out))
    assert fix_of(caught.value) == {"quality": ("QA_PIXEL", "SR_QA_AEROSOL")}
    remove(folder, "_ST_B10.TIF")
    with pytest.raises(MissingBandError, match="LST"):
        usgs.read(tmp_path, usgs.Options(**way_out, quality=("QA_PIXEL",)))


def test_mixtures_are_refused_with_the_offenders(tmp_path: Path) -> None:
    write_landsat(tmp_path, JANUARY)
    write_landsat(tmp_path, OLD)
    with pytest.raises(InputError, match=r"sensor landsat-4-7-c2-l2: LE07_.*; sensor landsat-8-9-c2-l2: LC08_"):
        usgs.read(tmp_path, WHOLE)
    other_path = FakeLandsat(id="LC08_L2SP_197029_20220129_20220204_02_T1")
    write_landsat(tmp_path, other_path)
    with pytest.raises(InputError, match=r"WRS path 197: LC08_L2SP_197029.*; WRS path 198"):
        usgs.read(tmp_path, usgs.Options(exclude=("LE07*",)))
    assert len(usgs.read(tmp_path, usgs.Options(exclude=("LE07*", "*_197029_*")))["coarse"]) == 1


@pytest.mark.parametrize("change", [{"crs": "EPSG:32632"}, {"shift": (0.5, 0)}, {"step": (60.0, 60.0)}])
def test_frames_without_a_common_lattice(tmp_path: Path, change: dict[str, object]) -> None:
    write_landsat(tmp_path, JANUARY)
    write_landsat(tmp_path, FakeLandsat(id=MARCH.id, **change))  # type: ignore[arg-type]
    with pytest.raises(GridError, match="does not fit LC08") as caught:
        usgs.read(tmp_path, WHOLE)
    assert fix_of(caught.value) == {"exclude": (MARCH.id,)}


def test_product_twice(tmp_path: Path) -> None:
    pack_tar(write_landsat(tmp_path, JANUARY))
    with pytest.raises(InputError, match="more than once"):
        usgs.read(tmp_path, WHOLE)


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "LC08_L1TP_198029_20220105_20220114_02_T1_B8.TIF").touch()
    assert not usgs.recognise(tmp_path)
    with pytest.raises(ReadError, match="holds no Landsat"):
        usgs.read(tmp_path, WHOLE)


def test_damaged_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    folder = write_landsat(tmp_path, JANUARY)
    coarse = usgs.read(folder, WHOLE)["coarse"]
    (folder / f"{JANUARY.id}_SR_B3.TIF").write_bytes(b"II*\0 and no more")
    with pytest.raises(ReadError, match="SR_B3"):
        coarse.frame(0)
    assert coarse.select(bands=["blue"]).frame(0).valid.any()


def test_fingerprints(tmp_path: Path) -> None:
    folder = write_landsat(tmp_path / "a", JANUARY)
    loose = usgs.read(tmp_path / "a", WHOLE)["coarse"].fingerprint(0)
    assert {file["path"].split("/")[0] for file in loose["files"]} == {JANUARY.id}  # type: ignore[index, attr-defined]
    archive = pack_tar(folder)
    first = usgs.read(archive, WHOLE)["coarse"].fingerprint(0)
    assert [file["path"] for file in first["files"]] == [archive.name]  # type: ignore[attr-defined]
    moved = tmp_path / "b" / archive.name
    moved.parent.mkdir()
    archive.rename(moved)
    assert usgs.read(moved, WHOLE)["coarse"].fingerprint(0) == first
    assert usgs.read(moved, usgs.Options(bands=("red",)))["coarse"].fingerprint(0) != first
