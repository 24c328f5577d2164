"""LS2S2 for training: which samples there are, what is drawn, physical units, presets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.utils.data import DataLoader

from sitsfusion.datasets import ls2s2_splits
from sitsfusion.datasets.ls2s2_module import (
    Ls2s2DataConfig,
    datasets,
    physical,
    preset,
    split,
    training_statistics,
)
from sitsfusion.errors import InputError
from sitsfusion.samples import Sample, collate_samples
from sitsfusion.series import Series
from tests.fake.products import FakeDate, days, ls2s2_values, write_ls2s2

FIRST_YEAR = [f"2022-{month:02d}-03" for month in range(1, 13)]
SECOND_YEAR = [f"2023-{month:02d}-{day:02d}" for month in range(1, 5) for day in (4, 19)]
S2 = days("2022-01-01", *FIRST_YEAR, *SECOND_YEAR)
LANDSAT = days(*FIRST_YEAR[::2], *SECOND_YEAR)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    places = (tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second"))
    one, two = (write_ls2s2(place, S2, LANDSAT, side=90, seed=seed) for seed, place in enumerate(places))
    return one, two


def config(sites: tuple[Path, ...], **fields: object) -> Ls2s2DataConfig:
    given = {"training_sites": sites, "patch_size": 30, "min_nb_dates": 2, "max_nb_dates": 8, **fields}
    return Ls2s2DataConfig.model_validate(given)


def test_samples_are_physical(sites: tuple[Path, Path]) -> None:
    train = datasets(config(sites, train_ratio=1, validation_ratio=0, max_nb_dates=None)).train
    sample = next(train[i] for i in range(len(train)) if train.items[i] == 18)  # second site, first patch and slice
    assert sample.hr.values.dtype == sample.lr.values.dtype == torch.float32
    stored = ls2s2_values("bandssentinel2", "20220101", 10, 9, seed=1)[:, 6:, :3]
    np.testing.assert_allclose(sample.hr.values[0, 0], stored / 1e4, rtol=1e-6)
    stored = ls2s2_values("bandslandsat", "20220103", 8, 3, seed=1)[:, 2:, :1]
    np.testing.assert_allclose(sample.lr.values[0, 0, :7], stored[:7] / 1e4, rtol=1e-6)
    np.testing.assert_allclose(sample.lr.values[0, 0, 7], stored[7] / 10, rtol=1e-6)  # kelvin
    assert sample.hr.days[0, 0] == 0
    assert sample.lr.days[0, 0] == 2


def test_thermal_band_is_found_among_chosen_bands(sites: tuple[Path, Path]) -> None:
    reader = datasets(config(sites, lr_bands=[[7, 1]], hr_bands=[[7, 8]])).train.reader
    lr, hr = reader.sites[0].scales
    assert lr.tolist() == pytest.approx([0.1, 1e-4])
    assert hr.tolist() == pytest.approx([1e-4, 1e-4])


def test_no_data_is_nan_and_not_valid() -> None:
    stored = Series(torch.tensor([5000, -10000], dtype=torch.int16).reshape(1, 1, 2, 1, 1), torch.zeros(1, 1))
    found = physical(stored, torch.tensor([1e-4, 0.1]))
    assert found.values[0, 0, 0] == 0.5
    assert found.values[0, 0, 1].isnan()
    assert not found.usable().any()


def test_split_in_shares(sites: tuple[Path, Path]) -> None:
    wanted = config(sites, train_ratio=0.5, validation_ratio=0.25)
    found = datasets(wanted)
    assert (len(found.train), len(found.validation), found.test) == (18, 9, None)
    assert not set(found.train.items) & set(found.validation.items)
    assert datasets(wanted).train.items == found.train.items
    assert datasets(config(sites, train_ratio=0.5, seed=1)).train.items != found.train.items


def test_validation_items_as_listed(sites: tuple[Path, Path]) -> None:
    found = datasets(config(sites, validation_indices=[7, 3, 30]))
    assert found.validation.items == (7, 3, 30)
    assert found.train.items == tuple(i for i in range(36) if i not in (3, 7, 30))
    with pytest.raises(InputError, match=r"\[36\] do not exist.*items 0 to 35"):
        datasets(config(sites, validation_indices=[36, 1]))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 500), train=st.floats(0.05, 1), share=st.floats(0, 1))
def test_shares_never_overlap(count: int, train: float, share: float) -> None:
    wanted = config((Path("a"),), train_ratio=train, validation_ratio=min(0.99, share * (1 - train)))
    if round(count * train) == 0:
        with pytest.raises(InputError, match="left to train on"):
            split(count, wanted)
        return
    training, validation = split(count, wanted)
    chosen = [*training, *validation]
    assert len(set(chosen)) == len(chosen) <= count
    assert all(0 <= item < count for item in chosen)


def test_dates_depend_on_seed_epoch_and_item_only(sites: tuple[Path, Path]) -> None:
    train, again = datasets(config(sites)).train, datasets(config(sites)).train
    first = [drawn(train[i]) for i in range(6)]
    assert [drawn(again[i]) for i in reversed(range(6))] == first[::-1]
    train.set_epoch(1)
    second = [drawn(train[i]) for i in range(6)]
    assert second != first
    train.set_epoch(0)
    assert [drawn(train[i]) for i in range(6)] == first
    assert [drawn(datasets(config(sites, seed=7)).train[i]) for i in range(6)] != first


def test_epoch_reaches_workers_that_live_on(sites: tuple[Path, Path]) -> None:
    train = datasets(config(sites[:1], train_ratio=0.3)).train
    loader = DataLoader(train, num_workers=1, persistent_workers=True, collate_fn=collate_samples)
    seen = []
    for epoch in range(2):
        train.set_epoch(epoch)
        seen.append([drawn(sample) for sample in loader])
    assert seen[1] == [drawn(train[i]) for i in range(len(train))]
    assert seen[0] != seen[1]


def drawn(sample: Sample) -> tuple[list[int], list[int]]:
    return sample.lr.days[0].tolist(), sample.hr.days[0].tolist()


def test_later_slices_get_their_share_of_dates(sites: tuple[Path, Path]) -> None:
    """Quirk of the reference: of 35 dates 8 are drawn, and those of the slice kept."""
    counts = {}
    for way in ("slice", "site"):
        train = datasets(config(sites[:1], draw_from=way, validation_ratio=0, train_ratio=1, max_nb_dates=10)).train
        later = [train[i] for i in range(len(train)) if train.items[i] % 2 == 1]
        counts[way] = {(s.lr.days.shape[1], s.hr.days.shape[1]) for s in later}
    assert counts["slice"] == {(5, 5)}
    assert all(lr + hr < 10 for lr, hr in counts["site"])


def test_every_sample_has_both_sensors(sites: tuple[Path, Path]) -> None:
    train = datasets(config(sites[:1], max_nb_dates=1, train_ratio=1, validation_ratio=0)).train
    assert {(s.lr.days.shape[1], s.hr.days.shape[1]) for s in (train[i] for i in range(len(train)))} == {(1, 1)}
    both = datasets(config(sites[:1], max_nb_dates=6, conjunctions_only=True, train_ratio=1, validation_ratio=0)).train
    for i in range(len(both)):
        lr, hr = drawn(both[i])
        assert lr == hr
        assert len(lr) == 3


def test_test_samples_have_all_dates(sites: tuple[Path, Path]) -> None:
    found = datasets(config(sites[:1], testing_sites=sites[1:])).test
    assert found is not None
    assert len(found) == 18
    assert found[0].hr.days.shape[1] == 13
    half = datasets(config(sites[:1], testing_sites=sites[1:], testing_random_reduce_rate=0.5)).test
    assert half is not None
    assert half[0].hr.days.shape[1] == 7


def test_cache_follows_the_index_files(tmp_path: Path) -> None:
    """A site extracted again is read again; other draws from the same dates are not."""
    site = write_ls2s2(tmp_path / "site", S2, LANDSAT, side=90)
    folder = tmp_path / "cache"
    datasets(config((site,), cache_dir=folder)).train[0]
    datasets(config((site,), cache_dir=folder, max_nb_dates=3)).train[0]
    assert len(list(folder.rglob("*.safetensors"))) == 1
    index = site / "landsat" / "index.csv"
    index.write_text(index.read_text() + "\n")
    datasets(config((site,), cache_dir=folder)).train[0]
    assert len(list(folder.rglob("*.safetensors"))) == 2
    assert not list(folder.rglob("*.part"))


def test_sites_without_items_are_named(sites: tuple[Path, Path], tmp_path: Path) -> None:
    empty = write_ls2s2(tmp_path / "empty", [FakeDate("2022-01-05", valid=False)], LANDSAT, side=90)
    few = write_ls2s2(tmp_path / "few", S2[:2], LANDSAT, side=90)
    reader = datasets(config((empty, few, sites[0]))).train.reader
    assert [len(site) for site in reader.sites] == [18]
    assert "no image files" in reader.skipped[empty]
    assert "more than 2 dates" in reader.skipped[few]
    assert reader.locate(17)[1] == 17


def test_published_preset(tmp_path: Path) -> None:
    for part, names in ls2s2_splits.content().sites["eu22"].items():
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
    for reference in (False, True):
        found = preset("ls2s2_2022", tmp_path, reference=reference)
        assert (len(found.training_sites), len(found.testing_sites)) == (60, 41)
        assert found.training_sites[0] == tmp_path / "train" / "30SUF_21"
        assert (found.patch_size, found.time_slices_in_days, found.max_nb_dates) == (1650, 365, 50)
        assert str(found.dt_orig) == "2022-01-01"
        assert len(found.validation_indices or ()) == 106
        assert (found.draw_from, found.exclude_last_date) == (("site", True) if reference else ("slice", False))
    training, validation = split(59 * 36, found)
    assert (len(training), len(validation)) == (2018, 106)  # the published epoch


def test_preset_with_changes(sites: tuple[Path, Path], tmp_path: Path) -> None:
    found = preset(
        "ls2s2_all", tmp_path, training_sites=sites, testing_sites=[], patch_size=30, validation_indices=None
    )
    assert found.dt_orig is None
    assert len(datasets(found).train) == round(36 * 0.95)
    with pytest.raises(ValidationError, match="patchsize"):
        preset("ls2s2_all", tmp_path, training_sites=sites, testing_sites=[], patchsize=30)


def test_what_is_refused(sites: tuple[Path, Path]) -> None:
    with pytest.raises(ValidationError, match="exceed 1"):
        config(sites, train_ratio=0.9, validation_ratio=0.2)
    with pytest.raises(ValidationError, match="twice"):
        config(sites, validation_indices=[1, 1])
    with pytest.raises(InputError, match="left to train on"):
        datasets(config(sites, validation_indices=range(36)))


def test_statistics_of_the_training_patches(sites: tuple[Path, Path]) -> None:
    wanted = config(sites, train_ratio=1, validation_ratio=0, patch_size=90)
    found = training_statistics(wanted)
    assert found.hr.batches == 4
    # the fake pixels are uniform in 1..6000
    np.testing.assert_allclose(found.hr.mean, 0.3, atol=0.02)
    np.testing.assert_allclose(found.lr.std("overall"), 0.6 / 12**0.5, atol=0.04)
    assert training_statistics(wanted, patches=3).hr.batches == 3
