"""The reader of LS2S2 sites, and the rules of their index files."""

from __future__ import annotations

import pickle
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from sitsfusion.errors import InputError, ReadError
from sitsfusion.grid import Window
from sitsfusion.io import ls2s2
from sitsfusion.io.ls2s2_index import NoImageError, acquisitions, conjunctions, read_index
from sitsfusion.scene import Scene
from tests.fake.products import FakeDate, days, ls2s2_values, write_ls2s2
from tests.fake.rasters import write_tiff

WHOLE = ls2s2.Options()
S2 = [FakeDate("2022-03-12", rate=0.5), FakeDate("2022-01-05", absolute=True), FakeDate("2022-02-10", valid=False)]
LANDSAT = days("2022-01-01", "2022-02-10", "2022-03-20")
PAN = [FakeDate("2022-01-01"), FakeDate("2022-02-10", valid=False), FakeDate("2022-03-20"), FakeDate("2022-03-28")]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_ls2s2(tmp_path, S2, LANDSAT, PAN)


def rewrite(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text()
    for find, replace in changes:
        assert find in text
        text = text.replace(find, replace)
    file.write_text(text)


def test_roles_grids_and_dates(site: Path) -> None:
    assert ls2s2.recognise(site)
    assert not ls2s2.recognise(site.parent)
    scene = Scene(ls2s2.read(site, WHOLE))
    assert scene.size == (6, 6)
    assert {role: scene.per_cell(role) for role in scene.cubes} == {"fine": 3, "coarse": 1, "pan": 2}
    # every valid date, the last one too; sorted although the index is not
    assert scene["fine"].dates == (date(2022, 1, 5), date(2022, 3, 12))
    assert scene["coarse"].dates == (date(2022, 1, 1), date(2022, 2, 10), date(2022, 3, 20))
    # pan images without a valid multispectral image have no cloud mask: left out
    assert scene["pan"].dates == (date(2022, 1, 1), date(2022, 3, 20))
    assert scene["fine"].native == (1, 1, 1, 2, 2, 2, 1, 2, 2, 2)
    assert scene["coarse"].native == (1,) * 7 + (3,)
    assert [item.clear_share for item in scene["fine"].items] == [0.8, 0.5]
    assert scene["fine"].items[0].id == "sentinel2_20220105"


def test_units(site: Path) -> None:
    cubes = ls2s2.read(site, WHOLE)
    coarse = cubes["coarse"].frame(1).values
    stored = ls2s2_values("bandslandsat", "20220210", 8, 6)
    np.testing.assert_allclose(coarse[:7], stored[:7] / 1e4, rtol=1e-6)
    np.testing.assert_allclose(coarse[7], stored[7] / 10, rtol=1e-6)
    assert cubes["coarse"].sensor.band("LST").unit == "kelvin"


def test_masks_and_zeros_are_unusable_and_keep_their_value(site: Path) -> None:
    fine = ls2s2.read(site, WHOLE)["fine"]
    frame = fine.frame(0)
    assert (~frame.valid[:, :-1]).all(1).sum() == 1  # a row of the mask file
    assert not frame.valid[-1, -1]  # a 0 in one band
    assert frame.values[5, -1, -1] == 0
    assert not np.isnan(frame.values).any()
    assert fine.select(bands=["B02"]).frame(0).valid[-1, -1] or (~frame.valid[-1]).all()


def test_nodata_is_nan(site: Path) -> None:
    file = site / "sentinel2" / "20220312" / "sentinel2_bands_20220312.tif"
    values = ls2s2_values("bandssentinel2", "20220312", 10, 18)
    values[:, 4, 5] = -10000
    write_tiff(file, values, 10, (651360.0, 4870440.0), nodata=-10000)
    frame = ls2s2.read(site, WHOLE)["fine"].frame(1)
    assert np.isnan(frame.values[:, 4, 5]).all()
    assert not frame.valid[4, 5]


def test_clouds_of_the_multispectral_image_count_for_the_panchromatic_one(site: Path) -> None:
    cubes = ls2s2.read(site, WHOLE)
    pan, mask = cubes["pan"], site / "landsat" / "20220320" / "landsat_mask_20220320.tif"
    own = np.zeros((12, 12), np.uint8)
    write_tiff(site / "landsat" / "20220320" / "landsat_pan_mask_20220320.tif", own, 15, (651360.0, 4870440.0))
    clouds = np.zeros((6, 6), np.uint8)
    clouds[2, 3] = 1
    write_tiff(mask, clouds, 30, (651360.0, 4870440.0))
    clear = np.ones((12, 12), bool)
    clear[4:6, 6:8] = False
    clear[-1, -1] = False  # stored 0
    np.testing.assert_array_equal(pan.frame(1).valid, clear)
    for window in (Window(3, 5, 4, 3), Window(5, 7, 1, 1), Window(0, 0, 12, 12)):
        np.testing.assert_array_equal(pan.window(window).frame(1).valid, clear[window.slices])


def test_pickled_window_reads_the_same(site: Path) -> None:
    fine = pickle.loads(pickle.dumps(ls2s2.read(site, WHOLE)["fine"]))
    part = fine.select(bands=["B11"]).window(Window(3, 4, 5, 6))
    np.testing.assert_array_equal(part.frame(1).values[0], fine.frame(1).values[8, 3:8, 4:10])


def test_fingerprint_does_not_depend_on_the_place(site: Path, tmp_path: Path) -> None:
    first = ls2s2.read(site, WHOLE)["pan"].fingerprint(0)
    assert [file["path"] for file in first["files"]] == [  # type: ignore[index, attr-defined]
        "landsat/20220101/landsat_mask_20220101.tif",
        "landsat/20220101/landsat_pan_20220101.tif",
        "landsat/20220101/landsat_pan_mask_20220101.tif",
    ]
    moved = site.rename(tmp_path / "elsewhere")
    assert ls2s2.read(moved, WHOLE)["pan"].fingerprint(0) == first
    (moved / "landsat" / "20220101" / "landsat_mask_20220101.tif").write_bytes(b"other")
    assert ls2s2.read(moved, WHOLE)["pan"].fingerprint(0) != first


def test_roles_wanted(site: Path, tmp_path: Path) -> None:
    assert list(ls2s2.read(site, ls2s2.Options(roles=("coarse",)))) == ["coarse"]
    bare = write_ls2s2(tmp_path / "bare", [FakeDate("2022-01-05", valid=False)], LANDSAT)
    with pytest.raises(NoImageError, match="none of 1 date"):
        ls2s2.read(bare, WHOLE)
    assert list(ls2s2.read(bare, ls2s2.Options(roles=("coarse",)))) == ["coarse"]
    with pytest.raises(ReadError, match="has no pan images; it has fine, coarse"):
        ls2s2.read(bare, ls2s2.Options(roles=("pan",)))


def test_files_that_are_not_what_they_should_be(site: Path) -> None:
    cubes = ls2s2.read(site, WHOLE)
    gone = site / "landsat" / "20220210" / "landsat_bands_20220210.tif"
    gone.unlink()
    with pytest.raises(ReadError, match="20220210"):
        cubes["coarse"].frame(1)
    write_tiff(
        site / "sentinel2" / "20220105" / "sentinel2_bands_20220105.tif", np.ones((4, 18, 18), np.int16), 10, (0, 0)
    )
    with pytest.raises(ReadError, match=r"has 4 band\(s\) of int16; expected int16 of B02"):
        ls2s2.read(site, WHOLE)


# -- index files ----------------------------------------------------------------------------------------------------


def test_dates_must_be_valid_in_all_index_files(site: Path) -> None:
    folder = site / "landsat"
    assert len(acquisitions(folder)) == 3
    both = acquisitions(folder, ("index.csv", "index_pan.csv"))
    assert [a.day for a in both] == [date(2022, 1, 1), date(2022, 3, 20)]
    assert acquisitions(folder, None) == both
    bands, mask = both[0].files(1)
    assert bands == folder / "20220101" / "landsat_pan_20220101.tif"
    assert mask.name == "landsat_pan_mask_20220101.tif"


def test_absolute_paths_keep_their_last_two_parts(site: Path) -> None:
    first = acquisitions(site / "sentinel2")[0]
    assert first.files(0)[0] == site / "sentinel2" / "20220105" / "sentinel2_bands_20220105.tif"


def test_columns_are_found_by_name(site: Path) -> None:
    """The columns of version 1.0.0, of 2.0.0, and after the cleaning step."""
    index = site / "landsat" / "index.csv"
    before = acquisitions(site / "landsat")
    rewrite(index, ("product_id\tproduct_id", "product_id\tproduct_id.1"))
    assert acquisitions(site / "landsat") == before
    rows = [line.split("\t")[::-1] for line in index.read_text().splitlines()]
    index.write_text("\n".join("\t".join(row) for row in rows) + "\n\n")
    assert acquisitions(site / "landsat") == before


def test_a_valid_date_without_file_is_not_valid(site: Path) -> None:
    """Version 1.0.0 calls a clear share of exactly 0.25 valid, but writes no image for it."""
    rewrite(site / "sentinel2" / "index.csv", ("False", "True"))
    assert len(read_index(site / "sentinel2" / "index.csv")) == 3
    assert len(acquisitions(site / "sentinel2")) == 2


def test_conjunctions(site: Path) -> None:
    landsat, pan = acquisitions(site / "landsat"), acquisitions(site / "landsat", ("index_pan.csv",))
    first, second = conjunctions(landsat, pan)
    assert [a.day for a in first] == [a.day for a in second] == [date(2022, 1, 1), date(2022, 3, 20)]
    with pytest.raises(NoImageError, match="no date in common"):
        conjunctions(landsat[:1], pan[1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("acquisition_date", "date")], "no column acquisition_date"),
        ([("2022-03-20", "2022-13-20")], r"line 4: '2022-13-20' is not a date"),
        ([("2022-03-20", "2022-02-10")], "line 4: 2022-02-10 occurs twice"),
        ([("True", "maybe")], "line 2: 'maybe' cannot be used"),
        ([("0.8", "many")], "line 2"),
    ],
)
def test_errors_in_an_index(site: Path, changes: list[tuple[str, str]], message: str) -> None:
    index = site / "landsat" / "index.csv"
    rewrite(index, *changes)
    with pytest.raises(InputError, match=message):
        read_index(index)


def test_missing_or_unreadable_index(site: Path) -> None:
    with pytest.raises(ReadError, match="cannot be read"):
        acquisitions(site / "landsat", ("other.csv",))
    (site / "landsat" / "index.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReadError, match="tab-separated"):
        acquisitions(site / "landsat")
    with pytest.raises(ReadError, match="not a folder"):
        acquisitions(site / "landsat8")


def test_line_without_a_mask_file(site: Path) -> None:
    rewrite(site / "landsat" / "index.csv", ("20220101/landsat_mask_20220101.tif", ""))
    with pytest.raises(InputError, match="has no bands or no mask file"):
        ls2s2.read(site, WHOLE)
