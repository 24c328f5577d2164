"""LS2S2 sites as series: which item is what, which dates are drawn, what a pixel is."""

from __future__ import annotations

import random
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sitsfusion.datasets.ls2s2 import SeriesPair, SiteParameters, SiteReader, SitesReader, collate
from sitsfusion.errors import GridError, InputError, ReadError
from sitsfusion.io.ls2s2_index import NoImageError
from sitsfusion.series import Series
from tests.fake.products import FakeDate, days, ls2s2_values, write_ls2s2
from tests.fake.rasters import write_tiff

S2 = days("2022-01-05", "2022-02-10", "2022-03-12", "2022-04-21", "2022-06-30", "2022-08-01")
LANDSAT = days("2022-01-01", "2022-02-10", "2022-03-20", "2022-04-21", "2022-07-02", "2022-08-07")
KEPT_ALL = SiteParameters(patch_size=60, exclude_last_date=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pan = [FakeDate("2022-02-10"), FakeDate("2022-03-20"), FakeDate("2022-04-21"), FakeDate("2022-07-02", valid=False)]
    return write_ls2s2(tmp_path_factory.mktemp("ls2s2"), S2, LANDSAT, pan)


def with_(parameters: SiteParameters, **changes: object) -> SiteParameters:
    return SiteParameters.model_validate({**parameters.model_dump(), **changes})


def test_patch_holds_the_stored_numbers(site: Path) -> None:
    reader = SiteReader(site, KEPT_ALL)
    assert len(reader) == 9
    lr, hr = reader[5]  # second row from the south, last column
    assert hr.values.dtype == torch.int16
    assert hr.days.dtype == torch.int64
    assert hr.values.shape == (1, 6, 10, 6, 6)
    np.testing.assert_array_equal(hr.values[0, 0], ls2s2_values("bandssentinel2", "20220105", 10, 18)[:, 6:12, 12:18])
    np.testing.assert_array_equal(lr.values[0, 1], ls2s2_values("bandslandsat", "20220210", 8, 6)[:, 2:4, 4:6])


def test_mask_file_and_zeros_are_not_valid(site: Path) -> None:
    lr, hr = SiteReader(site, with_(KEPT_ALL, patch_size=180))[0]
    assert hr.valid is not None
    assert lr.valid is not None
    for series in (lr, hr):
        masked_rows = (~series.usable()[0, :, :, :-1]).all(-1).sum(1)
        assert masked_rows.tolist() == [1] * 6
        assert not series.usable()[0, :, -1, -1].any()  # the pixel that is 0 in one band
    free_of_zeros = SiteReader(site, with_(KEPT_ALL, patch_size=180, hr_bands=[[0, 1]]))[0].hr
    assert free_of_zeros.usable()[0, :, -1, -1].any()  # only the bands read count


def test_last_date_is_left_out_as_in_the_reference(site: Path) -> None:
    reader = SiteReader(site, SiteParameters(patch_size=60))
    assert reader.slices == ((date(2022, 1, 1), date(2022, 8, 7)),)
    assert reader[0].lr.days.shape == (1, 5)
    assert SiteReader(site, KEPT_ALL)[0].lr.days.shape == (1, 6)


def test_slices_of_time(site: Path) -> None:
    parameters = SiteParameters(patch_size=90, dt_orig="2022-01-01", time_slices_in_days=109, min_nb_dates=1)
    first, second = (date(2022, 1, 1), date(2022, 4, 20)), (date(2022, 4, 20), date(2022, 8, 7))
    reader = SiteReader(site, parameters)
    assert reader.slices == (first, second)
    assert len(reader) == 4 * 2
    # the last Landsat date is day 218 = 2 x 109: it is in no slice
    assert reader[1].lr.days.tolist() == [[110, 182]]
    assert reader[1].hr.days.tolist() == [[110, 180, 212]]
    # item 3: second slice of the second patch
    np.testing.assert_array_equal(
        reader[3].hr.values[0, 0], ls2s2_values("bandssentinel2", "20220421", 10, 18)[:, 9:, 9:]
    )
    assert SiteReader(site, with_(parameters, min_nb_dates=2)).slices == (first,)
    # kept, the last date is alone in a third slice, where Sentinel-2 has none
    assert SiteReader(site, with_(parameters, min_nb_dates=0, exclude_last_date=False)).slices == (first, second)
    longer = with_(parameters, time_slices_in_days=218, exclude_last_date=False, min_nb_dates=0)
    assert SiteReader(site, longer)[0].lr.days.shape == (1, 5)


def test_day_zero(site: Path) -> None:
    assert SiteReader(site, KEPT_ALL)[0].hr.days[0, 0] == (date(2022, 1, 5) - date(2018, 1, 1)).days
    first = SiteReader(site, with_(KEPT_ALL, dt_orig=None))
    assert first.day_origin == date(2022, 1, 5)
    assert first[0].lr.days[0, 0] == -4


def test_conjunctions(site: Path) -> None:
    lr, hr = SiteReader(site, with_(KEPT_ALL, conjunctions_only=True, dt_orig="2022.01.01"))[0]
    assert lr.days.tolist() == hr.days.tolist() == [[40, 110]]


def test_panchromatic_index(site: Path) -> None:
    parameters = with_(
        KEPT_ALL, lr_index_files=["index.csv", "index_pan.csv"], lr_bands=[[1, 2], None], lr_resolution=15
    )
    lr = SiteReader(site, parameters)[0].lr
    assert lr.values.shape == (1, 3, 3, 4, 4)
    every_csv = SiteReader(site, with_(parameters, lr_index_files=None))[0].lr
    assert torch.equal(every_csv.values, lr.values)


def test_draws_follow_python_random(site: Path) -> None:
    rng = random.Random(5)
    reader = SiteReader(site, with_(KEPT_ALL, random_reduce_rate=0.5, dt_orig="2022-01-01"), rng=rng)
    found = reader[0]
    replay = random.Random(5)
    for series, dates in ((found.lr, LANDSAT), (found.hr, S2)):
        order = list(range(6))
        replay.shuffle(order)
        chosen = [(date.fromisoformat(dates[i].day) - date(2022, 1, 1)).days for i in sorted(order[:3])]
        assert series.days[0].tolist() == chosen


def test_state_of_the_random_numbers_comes_back(site: Path) -> None:
    reader = SitesReader([site], with_(KEPT_ALL, max_nb_dates=6), rng=random.Random(1))
    state = reader.state_dict()
    first = [reader[0].hr.days.tolist() for _ in range(4)]
    reader.load_state_dict(state)
    assert [reader[0].hr.days.tolist() for _ in range(4)] == first
    assert len({str(days) for days in first}) > 1


def test_global_random_numbers_by_default(site: Path) -> None:
    reader = SiteReader(site, with_(KEPT_ALL, random_reduce_rate=0.5))
    before = random.getstate()
    try:
        random.seed(3)
        state, first = reader.state_dict(), reader[0]
        reader.load_state_dict(state)
        assert reader[0].lr.days.tolist() == first.lr.days.tolist()
    finally:
        random.setstate(before)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(most=st.integers(3, 20), seed=st.integers(0, 1000))
def test_quota_is_shared_between_sensors(site: Path, most: int, seed: int) -> None:
    lr, hr = SiteReader(site, with_(KEPT_ALL, max_nb_dates=most), rng=random.Random(seed))[0]
    assert lr.days.shape[1] == hr.days.shape[1] == min(6, most // 2)
    assert bool((lr.days.diff() > 0).all())


@pytest.mark.parametrize(("patch", "columns"), [(60, 3), (90, 2), (75, 2), (180, 1)])
def test_patches_spread_evenly_from_the_south_west(site: Path, patch: float, columns: int) -> None:
    reader = SiteReader(site, with_(KEPT_ALL, patch_size=patch))
    assert len(reader.corners) == columns**2
    assert reader.corners[0] == (651360.0, 4870260.0)
    assert reader.corners[-1] == (651360.0 + 180 - 180 / columns, 4870260.0 + 180 - 180 / columns)


def test_coarser_resolution_by_any_factor(site: Path) -> None:
    for factor in (2, 3):
        parameters = with_(KEPT_ALL, patch_size=180, hr_resolution=10 * factor, lr_resolution=30 * factor)
        hr = SiteReader(site, with_(parameters, lr_resolution=30))[0].hr
        assert hr.values.shape[-1] == 18 // factor
        flat = hr.values.float().mean((-1, -2))
        full = SiteReader(site, with_(KEPT_ALL, patch_size=180))[0].hr.values.float()
        assert (flat - full.mean((-1, -2))).abs().max() < 600  # noise of 0..6000 averaged over the kernel
        assert hr.values.float().std() < full.std() / 2


def test_finer_resolution_keeps_a_constant(tmp_path: Path) -> None:
    site = write_ls2s2(tmp_path, S2, LANDSAT)
    for file in (site / "landsat").glob("*/*bands*.tif"):
        write_tiff(file, np.full((8, 6, 6), 1234, np.int16), 30, (651360.0, 4870440.0))
    lr = SiteReader(site, with_(KEPT_ALL, lr_resolution=10))[0].lr
    assert lr.values.shape[-2:] == (6, 6)
    assert set(lr.values.unique().tolist()) <= {1233, 1234}  # truncated


def test_images_off_by_part_of_a_pixel(tmp_path: Path) -> None:
    """A cube of a neighbouring zone: the window starts at the pixel that holds the corner, moved inside if needed."""
    site = write_ls2s2(tmp_path, S2, LANDSAT)
    for file in (site / "landsat").glob("*/*.tif"):
        kind = "mask" if "mask" in file.name else "bands"
        values = np.arange(36, dtype=np.int16).reshape(1, 6, 6) + 1
        image = np.zeros((1, 6, 6), np.uint8) if kind == "mask" else values.repeat(8, axis=0)
        write_tiff(file, image, 30, (651360.0 + 4.0, 4870440.0 + 4.0))
    lr = SiteReader(site, KEPT_ALL)[0].lr
    # left of the image by 4 m: column -1 becomes 0; below its top by 4 m: row 4
    assert lr.values[0, 0, 0].tolist() == [[25, 26], [31, 32]]
    for file in (site / "landsat").glob("*/*bands*.tif"):
        write_tiff(file, np.ones((8, 6, 6), np.int16), 30, (651360.0 + 300.0, 4870440.0))
    with pytest.raises(GridError, match="does not lie inside"):
        SiteReader(site, KEPT_ALL)[0]


def test_cache_gives_the_same_items_and_does_not_freeze_the_draw(site: Path, tmp_path: Path) -> None:
    parameters = with_(KEPT_ALL, random_reduce_rate=0.5)
    plain, cached = (
        SiteReader(site, parameters, cache_dir=folder, rng=random.Random(2)) for folder in (None, tmp_path)
    )
    for _ in range(3):
        for item in (0, 4):
            assert_same(plain[item], cached[item])
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    SiteReader(site, with_(parameters, hr_bands=[[0]]), cache_dir=tmp_path)[0]  # other pixels, other samples
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


def test_damaged_cache_is_an_error(site: Path, tmp_path: Path) -> None:
    reader = SiteReader(site, KEPT_ALL, cache_dir=tmp_path)
    reader[0]
    next(tmp_path.rglob("*.safetensors")).write_bytes(b"no tensors")
    with pytest.raises(ReadError, match="delete it"):
        reader[0]


def assert_same(first: SeriesPair, second: SeriesPair) -> None:
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.values, b.values)
        assert torch.equal(a.days, b.days)
        assert torch.equal(a.usable(), b.usable())


def test_sites_without_images_are_skipped_and_named(site: Path, tmp_path: Path) -> None:
    empty = write_ls2s2(tmp_path, [FakeDate("2022-01-05", valid=False)], LANDSAT)
    reader = SitesReader([empty, site, site], KEPT_ALL)
    assert len(reader) == 18
    assert list(reader.skipped) == [empty]
    assert "no image files" in reader.skipped[empty]
    assert_same(reader[9 + 4], SiteReader(site, KEPT_ALL)[4])
    with pytest.raises(NoImageError):
        SiteReader(empty, KEPT_ALL)
    with pytest.raises(InputError, match="none of 1 site"):
        SitesReader([empty], KEPT_ALL)


def test_collate_pads_in_time(site: Path) -> None:
    long, short = SiteReader(site, KEPT_ALL)[0], SiteReader(site, with_(KEPT_ALL, conjunctions_only=True))[0]
    batch = collate([long, short])
    assert batch.hr.values.shape == (2, 6, 10, 6, 6)
    assert not batch.hr.usable()[1, 2:].any()
    assert not batch.hr.values[1, 2:].any()
    assert batch.hr.days[1, 2:].tolist() == [0] * 4
    assert torch.equal(batch.lr.values[0], long.lr.values[0])
    everywhere = SeriesPair(*(Series(s.values, s.days) for s in long))
    assert collate([everywhere]).lr.valid is None


def test_items_end(site: Path) -> None:
    reader = SiteReader(site, KEPT_ALL)
    with pytest.raises(IndexError):
        reader[9]
    with pytest.raises(IndexError):
        SitesReader([site], KEPT_ALL)[-1]


def test_what_is_refused(site: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="multiple of"):
        SiteParameters(patch_size=512)
    with pytest.raises(InputError, match="band list"):
        SiteReader(site, with_(KEPT_ALL, lr_index_files=["index.csv", "index_pan.csv"]))
    with pytest.raises(InputError, match="no patch of 1200 m"):
        SiteReader(site)
    with pytest.raises(ReadError, match="not a folder"):
        SiteReader(tmp_path)
    with pytest.raises(InputError, match="kept of 6"):
        SiteReader(site, with_(KEPT_ALL, max_nb_dates=1))[0]
    uneven = with_(KEPT_ALL, lr_index_files=None, lr_bands=[None, None], lr_resolution=15, patch_size=75)
    with pytest.raises(InputError, match="whole number of pixels of every file"):
        SiteReader(site, uneven)[0]
