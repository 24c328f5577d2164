"""BreizhSR: made-up archives, their preparation, samples, and what is wrong with them."""

from __future__ import annotations

import datetime
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from typer.testing import CliRunner

from sitsfusion.cli.main import app
from sitsfusion.datasets.breizhsr import BreizhSr, closest_views, collate, cropped, make_sample
from sitsfusion.datasets.breizhsr_convert import _acquisitions, convert_breizhsr, list_prepared, prepare_site
from sitsfusion.datasets.breizhsr_pickle import read_table
from sitsfusion.datasets.breizhsr_radiometry import match_histogram
from sitsfusion.datasets.breizhsr_twin import fabricate_breizhsr
from sitsfusion.errors import CheckpointError, InputError, ReadError
from sitsfusion.weights.misr import BREIZHSR_MAXIMA

MAXIMA = tuple(BREIZHSR_MAXIMA.values())
SIDE = 44  # 40 after the cut to a multiple of 8


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up archive as distributed, not prepared."""
    return fabricate_breizhsr(tmp_path_factory.mktemp("breizhsr"), sites=(2, 1, 1), side=SIDE, most_views=3)


@pytest.fixture(scope="module")
def prepared(archive: Path) -> Path:
    assert convert_breizhsr(archive, max_views=4).sites == 4
    return archive


def images(side: int = 40, days: tuple[int, ...] = (-30, -4, 2, 9)) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (3, side, side), np.uint8)
    return hr, [(day, rng.integers(0, 3000, (3, side // 4, side // 4), np.uint16)) for day in days]


def test_made_up_archives_are_as_distributed(archive: Path) -> None:
    rows = read_table(archive / "dataset_train.pkl")
    assert [row["split"] for row in rows] == ["train", "train", "val"]
    for row in rows:
        assert len(row["dates_sen2"]) == len(row["sen2_acquisitions"])
        with rasterio.open(archive / row["spot6_image"]) as spot:
            assert (spot.count, spot.height, spot.dtypes[0], spot.crs.to_epsg()) == (3, SIDE, "uint8", 2154)
        for (key, path), day in zip(row["sen2_acquisitions"].items(), row["dates_sen2"], strict=True):
            assert key == abs((day - row["dates_spot6"]).days)
            with rasterio.open(archive / path) as view:
                assert view.height == SIDE // 4
                assert view.bounds == spot.bounds


def test_made_up_archives_are_made_once(archive: Path, tmp_path: Path) -> None:
    assert fabricate_breizhsr(archive, sites=(2, 1, 1), side=SIDE, most_views=3) == archive
    with pytest.raises(InputError, match="another made-up set"):
        fabricate_breizhsr(archive, sites=(2, 1, 1), side=SIDE, most_views=3, seed=1)


def test_samples_of_all_splits(prepared: Path) -> None:
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        sites = BreizhSr(prepared, split, views=4, maxima=MAXIMA)  # type: ignore[arg-type]
        assert len(sites) == count
        sample = sites[0]
        assert sample.views.shape == (4, 3, 10, 10)
        assert sample.hr.shape == sample.base.shape == (3, 40, 40)
        assert sample.present.tolist() == [1.0] * 3 + [0.0]
        assert sample.days[2] == sample.days[3]
        assert -1 <= float(sample.views.min()) <= float(sample.views.max()) <= 1
        single = BreizhSr(prepared, split, views=1, maxima=MAXIMA)[0]  # type: ignore[arg-type]
        assert abs(float(single.days[0])) == float(sample.days.abs().min())


def test_targets_have_the_radiometry_of_the_closest_image(prepared: Path) -> None:
    sample = BreizhSr(prepared, "train", views=4, maxima=MAXIMA)[0]
    closest = sample.views[int(sample.days.abs().argmin())]
    torch.testing.assert_close(sample.hr.mean((1, 2)), closest.mean((1, 2)), rtol=0, atol=0.05)
    assert float(sample.hr.max()) <= float(closest.max()) + 1e-6


def test_matching_an_image_to_itself_changes_nothing() -> None:
    image = torch.rand(3, 9, 7)
    torch.testing.assert_close(match_histogram(image, image), image)


def test_views_of_another_size_go_with_their_day() -> None:
    hr, views = images()
    views[1] = (-4, views[1][1][:, :7])
    site = prepare_site(hr, views, 4, "stored")
    assert site is not None
    assert site.days == (-30, 2, 9, 9)
    assert site.present == (1, 1, 1, 0)
    assert site.single_day == 2
    torch.testing.assert_close(site.views[1], torch.from_numpy(views[2][1] / np.float32(10_000)))
    assert prepare_site(hr, [(0, views[1][1])], 4) is None


def test_sites_that_are_not_square() -> None:
    hr, views = images()
    site = prepare_site(hr[:, :, :24], [(day, view[:, :, :6]) for day, view in views], 2)
    assert site is not None
    sample = make_sample(site, 2, MAXIMA)
    assert sample.views.shape == (2, 3, 10, 6)
    assert sample.hr.shape == (3, 40, 24)


def test_the_closest_views_or_the_first_ones() -> None:
    hr, views = images()
    closest, first = prepare_site(hr, views, 2, "closest"), prepare_site(hr, views, 2, "stored")
    assert closest is not None
    assert first is not None
    assert (closest.days, first.days) == ((-4, 2), (-30, -4))
    assert closest.single_day == first.single_day == 2
    assert closest_views([5, -5, 1], 2) == [0, 2]


def test_more_views_than_stored_are_refused() -> None:
    hr, views = images()
    site = prepare_site(hr, views, 3)
    assert site is not None
    with pytest.raises(InputError, match="--max-views 5"):
        make_sample(site, 5, MAXIMA)


def test_crops_keep_images_together() -> None:
    hr, views = images()
    site = prepare_site(hr, views, 2)
    assert site is not None
    whole = make_sample(site, 2, MAXIMA)
    part = cropped(whole, 4, 2, 5)
    torch.testing.assert_close(part.views, whole.views[..., 2:6, 5:9])
    torch.testing.assert_close(part.hr, whole.hr[:, 8:24, 20:36])
    with pytest.raises(InputError, match="different sizes"):
        collate([whole, part])
    assert collate([part, part])["views"].shape == (2, 2, 3, 4, 4)


def test_missing_and_damaged_files_are_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"dataset_train\.json is missing"):
        BreizhSr(tmp_path, "train", views=1, maxima=MAXIMA)
    with pytest.raises(ReadError, match=r"dataset_train\.pkl"):
        convert_breizhsr(tmp_path)
    for table in ("train", "test"):
        (tmp_path / f"dataset_{table}.pkl").write_bytes((archive / f"dataset_{table}.pkl").read_bytes())
    with pytest.raises(ReadError, match=r"site_00000\.tif"):
        convert_breizhsr(tmp_path)
    (tmp_path / "dataset_train.pkl").write_bytes(b"nothing")
    with pytest.raises((ReadError, CheckpointError), match="dataset_train"):
        convert_breizhsr(tmp_path)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("1 + 1",))


def test_tables_that_could_run_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset_train.pkl"
    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(CheckpointError, match=r"builtins\.eval"):
        read_table(path)


def test_tables_with_timestamps_and_the_older_column(tmp_path: Path, archive: Path) -> None:
    row = {
        "spot6_image": "a.tif",
        "dates_spot6": pd.Timestamp("2018-06-01"),
        "dates_sen2": [pd.Timestamp("2018-05-30"), datetime.datetime(2018, 6, 5)],
        "sen2_acquisitions": {2: "b.tif", 4: "c.tif"},
        "type_split": "val",
    }
    pd.DataFrame([row], index=[7]).to_pickle(tmp_path / "t.pkl")
    (found,) = read_table(tmp_path / "t.pkl")
    assert found["index"] == 7
    assert (found["dates_sen2"][0] - found["dates_spot6"]).days == -2


def test_images_as_far_before_as_after_share_a_key() -> None:
    day = datetime.date(2018, 6, 10)
    dates = [day + datetime.timedelta(n) for n in (-5, 2, 5)]
    row = {"index": 1, "dates_spot6": day, "dates_sen2": dates, "sen2_acquisitions": {5: "b.tif", 2: "a.tif"}}
    assert _acquisitions(row) == [(5, "b.tif"), (2, "a.tif")]
    row["sen2_acquisitions"] = {7: "a.tif"}
    with pytest.raises(InputError, match="7 days away"):
        _acquisitions(row)


def test_a_folder_prepared_by_the_published_code_is_listed(prepared: Path) -> None:
    """Its pickled tables name the same tensors that ours list."""
    for table in ("train", "test"):
        rows = read_table(prepared / f"dataset_{table}.pkl")
        for row in rows:
            number, days = row.pop("index"), [(d - row["dates_spot6"]).days for d in row["dates_sen2"]]
            sisr, misr = (f"preprocessed/{kind}/dataset_{table}" for kind in ("SISR", "MISR"))
            row |= {"path_hr": f"{sisr}/img_hr/{number}.pt", "path_lr_sisr": f"{sisr}/img_lr/{number}.pt"}
            row |= {"path_lr_up": f"{sisr}/img_lr_up/{number}.pt", "path_lr_misr": f"{misr}/img_lr/{number}.pt"}
            row |= {"alphas": [1] * 3 + [0], "dates_encoding": days, "index": number}
        numbers = [row.pop("index") for row in rows]
        pd.DataFrame(rows, index=numbers).to_pickle(prepared / f"preprocessed/dataset_{table}.pkl")
    before = BreizhSr(prepared, "train", views=4, maxima=MAXIMA)[1]
    assert list_prepared(prepared).sites == 4
    after = BreizhSr(prepared, "train", views=4, maxima=MAXIMA)[1]
    torch.testing.assert_close(after.views, before.views)
    torch.testing.assert_close(after.days, before.days)


def test_on_the_command_line(archive: Path) -> None:
    ran = CliRunner().invoke(app, ["convert", "breizhsr", str(archive), "--max-views", "4"])
    assert ran.exit_code == 0, ran.output
    assert "4 sites" in ran.output
