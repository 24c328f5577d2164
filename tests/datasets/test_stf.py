"""The eight spatiotemporal fusion data sets: dates, splits, tiles, numbers."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from sitsfusion.datasets import stf_fabricate, stf_files, stf_sets, stf_tiles
from sitsfusion.errors import DateError, GridError, InputError, MissingBandError, ReadError

every_set = pytest.mark.parametrize("key", stf_sets.SETS)


@every_set
def test_names_tell_the_date(key: str) -> None:
    described, day = stf_sets.get(key), date(2020, 3, 7)
    for fine, example in ((True, stf_sets.EXAMPLES[key][0]), (False, stf_sets.EXAMPLES[key][1])):
        sensor = "fine" if fine else "coarse"
        assert described.day(stf_fabricate.file_name(described, day, fine), sensor) == day  # type: ignore[arg-type]
        described.day(example, sensor)  # type: ignore[arg-type]
    with pytest.raises(DateError, match=key):
        described.day("x.tif", "fine")


@every_set
def test_a_fabricated_copy_opens(key: str, tmp_path: Path) -> None:
    described = stf_sets.get(key)
    stf_fabricate.fabricate(described, tmp_path, dates=4, size=(20, 24))
    dates = stf_files.open_pairs(described, tmp_path)
    assert len(dates) == 4
    images = stf_tiles.StfImages(described, stf_tiles.Values(described.divisor))
    images.check(dates)
    tiles = stf_tiles.places((20, 24), 16, 16)
    parts = stf_files.chronological_split(described, dates)
    batch = stf_tiles.StfTiles(images, parts["train"], tiles)[1]
    assert batch.target.shape == (1, len(described.bands), 16, 16)
    assert 0 < float(batch.fine_ref.min()) <= float(batch.fine_ref.max()) < 1


def test_unpaired_dates_are_named(tmp_path: Path) -> None:
    described = stf_sets.get("WH")
    folder = stf_fabricate.fabricate(described, tmp_path, dates=4, size=(20, 24))
    first = sorted((folder / "MODIS").iterdir())[0]
    moved = first.with_name("L_20190118.tif")
    first.rename(moved)
    with pytest.raises(DateError, match="fine 2019-01-17, coarse 2019-01-18"):
        stf_files.open_pairs(described, tmp_path)
    assert len(stf_files.open_pairs(described, tmp_path, max_gap=1)) == 4
    assert len(stf_files.open_pairs(described, tmp_path, published=True)) == 4
    (folder / "MODIS" / "quicklook.jpg").write_text("")  # no image: left out
    shutil.copy(moved, folder / "MODIS" / "L_20190119.tif")
    with pytest.raises(DateError, match="2019-01-19"):
        stf_files.open_pairs(described, tmp_path, max_gap=1)


def test_too_few_dates_and_missing_folders(tmp_path: Path) -> None:
    described = stf_sets.get("IC")
    with pytest.raises(ReadError, match="data/IC"):
        stf_files.open_pairs(described, tmp_path)
    stf_fabricate.fabricate(described, tmp_path, dates=1, size=(20, 24))
    with pytest.raises(DateError, match="2 or more"):
        stf_files.open_pairs(described, tmp_path)
    with pytest.raises(InputError, match="CIA, LGC"):
        stf_sets.get("XX")


@given(count=st.integers(4, 30))
def test_no_held_out_image_is_seen_in_training(count: int) -> None:
    described = stf_sets.get("BC")
    days = [date(2020, 1, 1) + timedelta(9 * t) for t in range(count)]
    parts = stf_files.chronological_split(described, [stf_files.Dated(d, Path(f"f{d}"), Path(f"c{d}")) for d in days])
    targets = [p.target.day for part in ("train", "validation", "test") for p in parts[part]]  # type: ignore[index]
    assert targets == days[1:]
    assert all(parts[part] for part in ("train", "validation", "test"))  # type: ignore[index]
    seen = {d.day for p in stf_files.all_pairs(parts["train"]) for d in (p.reference, p.target)}
    assert not seen & {p.target.day for part in ("validation", "test") for p in parts[part]}  # type: ignore[index]


@given(height=st.integers(5, 90), width=st.integers(5, 90), side=st.integers(4, 40), share=st.floats(0.3, 1))
def test_tiles_cover_every_pixel_once(height: int, width: int, side: int, share: float) -> None:
    count = np.zeros((height, width), int)
    for place in stf_tiles.places((height, width), side, max(1, int(side * share))):
        (h, w), (own_h, own_w) = place.size, place.new
        assert place.row + h <= height
        assert place.col + w <= width
        count[place.row + h - own_h : place.row + h, place.col + w - own_w : place.col + w] += 1
    np.testing.assert_array_equal(count, 1)


def test_published_tiles_and_bad_strides() -> None:
    assert len(stf_tiles.places((1792, 1280), 512, 512, published=True)) == 6
    with pytest.raises(InputError, match="gaps"):
        stf_tiles.places((64, 64), 32, 33)
    with pytest.raises(InputError, match="no tile of 512"):
        stf_tiles.places((100, 100), 512, 512, published=True)


def test_gaps_are_masked_unless_published() -> None:
    stored = np.array([[[-5, 10_000], [0, 12_000]]], np.int16)
    found = stf_tiles.physical(stored, stf_tiles.Values(10_000, nodata=0))
    np.testing.assert_allclose(found, [[[np.nan, 1.0], [np.nan, 1.2]]])
    found = stf_tiles.physical(stored, stf_tiles.Values(10_000, published=True))
    np.testing.assert_allclose(found, [[[0.0, 1.0], [0.0, 1.2]]])


def test_both_axis_orders_and_missing_bands() -> None:
    image = np.zeros((7, 9, 6), np.int16)
    assert stf_tiles.bands_first(image, 6, "a.tif").shape == (6, 7, 9)
    assert stf_tiles.bands_first(image.transpose(2, 0, 1), 6, "a.tif").shape == (6, 7, 9)
    with pytest.raises(MissingBandError, match="expected 4 bands"):
        stf_tiles.bands_first(image, 4, "a.tif")


def test_other_sizes_and_units_are_refused(tmp_path: Path) -> None:
    described = stf_sets.get("WH")
    folder = stf_fabricate.fabricate(described, tmp_path, dates=2, size=(20, 24))
    dates = stf_files.open_pairs(described, tmp_path)
    for divisor in (1.0, 1e7):
        with pytest.raises(InputError, match=r"data\.divisor"):
            stf_tiles.StfImages(described, stf_tiles.Values(divisor)).check(dates)
    path = sorted((folder / "MODIS").iterdir())[1]
    with rasterio.open(path) as file:
        stored, profile = file.read(), file.profile
    with rasterio.open(path, "w", **profile | {"height": 19}) as file:
        file.write(stored[:, :19])
    with pytest.raises(GridError, match="19 x 24"):
        stf_tiles.StfImages(described, stf_tiles.Values(10_000.0)).check(dates)
    path.write_text("no image")
    with pytest.raises(ReadError, match="cannot be read"):
        stf_tiles.read_stored(path)


def test_overlapping_tiles_are_scored_once_and_turns_repeat(tmp_path: Path) -> None:
    described = stf_sets.get("WH")
    stf_fabricate.fabricate(described, tmp_path, dates=2, size=(20, 24))
    dates = stf_files.open_pairs(described, tmp_path)
    images = stf_tiles.StfImages(described, stf_tiles.Values(10_000.0))
    pairs = [stf_files.Pairing(*dates)]
    tiles = stf_tiles.places((20, 24), 16, 16)
    once = stf_tiles.StfTiles(images, pairs, tiles, once=True)
    counted = [16 * 16 if (v := once[i].valid) is None else int(v.sum()) for i in range(len(once))]
    assert sum(counted) == 20 * 24
    turned = stf_tiles.StfTiles(images, pairs, tiles, augment_seed=3)
    first = turned[0].target
    turned.set_epoch(1)
    different = [not np.array_equal(turned[i].target, once[i].target) for i in range(len(tiles))]
    turned.set_epoch(0)
    assert np.array_equal(turned[0].target, first)
    assert any(different)
