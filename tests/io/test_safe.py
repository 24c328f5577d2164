"""Sentinel-2 products: levels, archives, offsets per product, quality, and what is refused."""

from __future__ import annotations

import shutil
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from sitsfusion.errors import DateError, InputError, MissingBandError, ReadError
from sitsfusion.io import safe
from sitsfusion.io.fixes import fix_of
from tests.fake.products import FakeSafe, pack_zip, write_safe

FEBRUARY = FakeSafe()
OLD = FakeSafe(datatake="20211122T105331", baseline="0301", sensing="2021-11-22T10:56:30.5Z", offset=None)
L1C = FakeSafe(level="1C")
WHOLE = safe.Options()
TEN_METRES = safe.Options(bands=("blue", "green", "red", "nir"))


def edit(folder: Path, name: str, find: str, replace: str) -> None:
    file = next(folder.rglob(name))
    text = file.read_text()
    assert find in text
    file.write_text(text.replace(find, replace))


@pytest.mark.parametrize("packed", [True, False])
def test_one_product(tmp_path: Path, packed: bool) -> None:
    place = write_safe(tmp_path, FEBRUARY)
    if packed:
        archive = pack_zip(place)
        shutil.rmtree(place)
        place = archive
    assert safe.recognise(place)
    assert safe.recognise(tmp_path)
    cubes = safe.read(place, WHOLE)
    assert list(cubes) == ["fine"]
    cube = cubes["fine"]
    assert cube.bands == ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    assert cube.native == (1, 1, 1, 2, 2, 2, 1, 2, 2, 2)
    assert cube.shape == (1, 10, 12, 12)
    values, valid = cube.to_numpy()
    stored = FEBRUARY.values("B03", 10).astype(float)
    stored[-1, -1] = np.nan
    np.testing.assert_allclose(values[0, 1], (stored - 1000) / 10000, atol=1e-6)
    clear = np.ones((12, 12), bool)
    clear[:2, :2] = False  # a cloudy pixel of SCL, which has pixels of 20 m
    assert not valid[0][~clear].any()
    assert valid[0, :6, 2:8].all()
    assert not valid[0, -1, -1]


def test_bands_of_20_metres_alone_keep_their_pixels(tmp_path: Path) -> None:
    cube = safe.read(write_safe(tmp_path, FEBRUARY), safe.Options(bands=("B8A", "swir16")))["fine"]
    assert cube.grid.affine.a == 20
    assert cube.native == (1, 1)
    stored = FEBRUARY.values("B11", 20)
    assert cube.stored(0).values.dtype == np.uint16
    np.testing.assert_array_equal(cube.stored(0).values[1], stored)


def test_bands_of_20_metres_between_the_10_metre_pixels(tmp_path: Path) -> None:
    """The interpolated image, averaged over its own pixels, is the image as delivered (nearly: it is cubic)."""
    product = FakeSafe(side=240)
    cube = safe.read(write_safe(tmp_path, product), safe.Options(interpolation="bilinear"))["fine"]
    band = cube.select(bands=["B05"]).frame(0).values[0, 4:20, 4:20]
    delivered = (product.values("B05", 20)[2:10, 2:10] - 1000.0) / 10000
    # at the centre of a 20 m pixel, bilinear weights of its four 10 m pixels sum to 0.5625 for itself
    around = (product.values("B05", 20)[1:11, 1:11] - 1000.0) / 10000
    sides = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    corners = around[:-2, :-2] + around[2:, 2:] + around[2:, :-2] + around[:-2, 2:]
    expected = 0.5625 * delivered + 0.09375 * sides + 0.015625 * corners
    found = band.reshape(8, 2, 8, 2).mean((1, 3))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bands_of_60_metres(tmp_path: Path) -> None:
    cube = safe.read(write_safe(tmp_path, FEBRUARY), safe.Options(bands=("B01", "B09"), quality=()))["fine"]
    assert cube.grid.affine.a == 60
    np.testing.assert_array_equal(cube.stored(0).values[0], FEBRUARY.values("B01", 60))


def test_metadata(tmp_path: Path) -> None:
    item = safe.read(write_safe(tmp_path, FEBRUARY), WHOLE)["fine"].items[0]
    assert item.id == FEBRUARY.name
    assert item.time == datetime(2022, 2, 5, 10, 56, 30, 123000)
    assert (item.platform, item.baseline) == ("Sentinel-2A", "04.00")
    assert item.clear_share == pytest.approx(0.8)
    assert (item.sun_zenith, item.sun_azimuth) == (62.5, 160.25)
    assert item.view_zenith == pytest.approx(6.1)
    assert item.view_azimuth == pytest.approx(5.0)  # of 355, 5 and 15 degrees


def test_offset_is_decided_per_product(tmp_path: Path) -> None:
    """A series across the change of January 2022 has no jump."""
    march = FakeSafe(datatake="20220302T105031", baseline="0510", sensing="2022-03-02T10:56:30.0Z")
    for product in (OLD, FEBRUARY, march):
        write_safe(tmp_path, product)
    cube = safe.read(tmp_path, TEN_METRES)["fine"]
    assert cube.dates == (date(2021, 11, 22), date(2022, 2, 5), date(2022, 3, 2))
    offsets = [cube.stored(t).encodings[0].offset for t in range(len(cube))]
    assert offsets == pytest.approx([0.0, -0.1, -0.1])
    assert [item.baseline for item in cube.items] == ["03.01", "04.00", "05.10"]
    np.testing.assert_allclose(cube.frame(0).values[0, 0, 2:], OLD.values("B02", 10)[0, 2:] / 1e4, atol=1e-6)


@pytest.mark.parametrize(
    ("product", "offset", "scale"),
    [
        # the metadata win over the baseline's rule
        (FakeSafe(baseline="0400", offset=-500), -0.05, 1e-4),
        (FakeSafe(baseline="0301", offset=-1000), -0.1, 1e-4),
        (FakeSafe(baseline="0510", offset=0), 0.0, 1e-4),
        # and the rule where they are silent
        (FakeSafe(baseline="0510", offset=None), -0.1, 1e-4),
        (FakeSafe(baseline="0214", offset=None), 0.0, 1e-4),
        (FakeSafe(level="1C", baseline="0400", offset=-1000), -0.1, 1e-4),
        (FakeSafe(quantification=5000), -0.2, 2e-4),
    ],
)
def test_metadata_win_over_the_baseline(tmp_path: Path, product: FakeSafe, offset: float, scale: float) -> None:
    cube = safe.read(write_safe(tmp_path, product), WHOLE)["fine"]
    encodings = cube.stored(0).encodings
    assert [e.offset for e in encodings] == pytest.approx([offset] * 10)
    assert [e.scale for e in encodings] == pytest.approx([scale] * 10)


def test_without_metadata_the_name_decides(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, FakeSafe(baseline="0509"))
    for file in folder.rglob("*.xml"):
        file.unlink()
    cube = safe.read(folder, TEN_METRES)["fine"]
    assert cube.dates == (date(2022, 2, 5),)
    assert cube.items[0].time == datetime(2022, 2, 5, 10, 52, 29)
    assert cube.items[0].baseline == "05.09"
    assert cube.stored(0).encodings[0].offset == pytest.approx(-0.1)


def test_level_1c(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, L1C)
    cube = safe.read(folder, WHOLE)["fine"]
    assert cube.sensor.name == "sentinel-2-l1c"
    np.testing.assert_array_equal(cube.select(bands=["red"]).stored(0).values[0], L1C.values("B04", 10))
    clear = cube.stored(0).clear
    assert clear is not None
    assert not clear[:6, :].any()  # opaque cloud and cirrus in the two upper pixels of 60 m
    assert clear[6:, :].all()  # snow is usable
    cirrus = safe.read(folder, safe.Options(bands=("cirrus",)))["fine"]
    np.testing.assert_array_equal(cirrus.stored(0).values[0], L1C.values("B10", 60))


def test_old_level_1c_has_no_masks(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, FakeSafe(level="1C", baseline="0301", offset=None, masks=False))
    with pytest.raises(MissingBandError, match="MSK_CLASSI_OPAQUE") as caught:
        safe.read(folder, WHOLE)
    way_out = fix_of(caught.value)
    assert way_out == {"quality": ()}
    assert safe.read(folder, safe.Options(**way_out))["fine"].stored(0).clear is None


def test_solar_day_is_not_the_day_in_utc(tmp_path: Path) -> None:
    product = FakeSafe(tile="60KXF", crs="EPSG:32760", datatake="20220204T223211", sensing="2022-02-04T22:32:11.0Z")
    assert safe.read(write_safe(tmp_path, product), WHOLE)["fine"].dates == (date(2022, 2, 5),)


def test_two_images_of_a_day(tmp_path: Path) -> None:
    write_safe(tmp_path, FEBRUARY)
    write_safe(tmp_path, FakeSafe(baseline="0510"))
    with pytest.raises(DateError, match=r"N0400.*N0510") as caught:
        safe.read(tmp_path, TEN_METRES)
    assert fix_of(caught.value) == {"duplicates": "merge"}
    assert len(safe.read(tmp_path, safe.Options(exclude=("*_N0400_*",)))["fine"]) == 1


def test_mixtures_are_refused_with_the_offenders(tmp_path: Path) -> None:
    write_safe(tmp_path, FEBRUARY)
    write_safe(tmp_path, FakeSafe(tile="31TDJ"))
    with pytest.raises(InputError, match=r"tile 31TCJ: S2A_.*_T31TCJ_.*; tile 31TDJ: S2A_.*_T31TDJ_"):
        safe.read(tmp_path, WHOLE)
    write_safe(tmp_path, L1C)
    with pytest.raises(InputError, match=r"level 1C: .*; level 2A: "):
        safe.read(tmp_path, WHOLE)


def test_missing_band(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, FEBRUARY)
    next(folder.rglob("*_B8A_20m.jp2")).unlink()
    with pytest.raises(MissingBandError, match="B8A") as caught:
        safe.read(folder, WHOLE)
    assert "B8A" not in safe.read(folder, safe.Options(**fix_of(caught.value)))["fine"].bands


@pytest.mark.parametrize(
    ("file", "find", "replace", "message"),
    [
        ("MTD_MSIL2A.xml", 'band_id="1"', 'band_id="77"', "offset"),
        ("MTD_MSIL2A.xml", ">10000<", ">many<", "'many'"),
        ("MTD_TL.xml", "2022-02-05T10", "today 10", "today 10"),
        ("MTD_TL.xml", "</n1:General_Info>", "", "no XML"),
    ],
)
def test_metadata_that_cannot_be_used(tmp_path: Path, file: str, find: str, replace: str, message: str) -> None:
    folder = write_safe(tmp_path, FEBRUARY)
    edit(folder, file, find, replace)
    with pytest.raises(ReadError, match=message):
        safe.read(folder, WHOLE)


def test_damaged_image_and_archive(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, FEBRUARY)
    cube = safe.read(folder, TEN_METRES)["fine"]
    image = next(folder.rglob("*_B04_10m.jp2"))
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(ReadError, match="B04_10m"):
        cube.frame(0)
    broken = tmp_path / f"{OLD.name}.zip"
    broken.write_bytes(b"PK and nothing else")
    with pytest.raises(ReadError, match="download"):
        safe.read(broken, WHOLE)


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "S2A_20220205_T31TCJ.tif").touch()
    assert not safe.recognise(tmp_path)
    with pytest.raises(ReadError, match="holds no Sentinel-2 product"):
        safe.read(tmp_path, WHOLE)
