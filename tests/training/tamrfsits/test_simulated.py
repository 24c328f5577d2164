"""Training samples from simulated scenes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from sitsfusion.errors import InputError
from sitsfusion.samples import collate_samples
from sitsfusion.simulate import simulate_scene
from sitsfusion.strategies import Strategy, TrainingPool
from sitsfusion.training.tamrfsits import simulated
from sitsfusion.training.tamrfsits.simulated import SimulatedConfig, configure, datasets, draw_sample, simulated_arrays

CONFIG = SimulatedConfig(
    scenes=2, samples_per_scene=3, size=30, crop=24, truth_every=30, queries=4, validation_scenes=1
)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return simulated_arrays(simulate_scene(30, seed=3), 30)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, arrays: dict[str, np.ndarray]) -> None:
    """One scene stands for all seeds: simulating is tested elsewhere."""
    monkeypatch.setattr(simulated, "_simulate", lambda seed, size, every: arrays)
    monkeypatch.setattr(simulated, "_simulated", lambda seed, size, every: arrays)


def test_a_sample_holds_images_and_truth_on_one_place(arrays: dict[str, np.ndarray]) -> None:
    sample = draw_sample(arrays, CONFIG, random.Random(1))
    assert sample.truth is not None
    t_lr, t_hr = sample.lr.days.shape[1], sample.hr.days.shape[1]
    assert sample.lr.values.shape == (1, t_lr, 8, 8, 8)
    assert sample.hr.values.shape == (1, t_hr, 10, 24, 24)
    assert [one.values.shape for one in sample.truth] == [(1, 4, 8, 24, 24), (1, 4, 10, 24, 24)]
    assert torch.equal(sample.truth[0].days, sample.truth[1].days)
    assert t_lr + t_hr <= CONFIG.max_dates
    kelvin = sample.truth[0].values[:, :, 7]
    assert 230 < float(kelvin.min()) < float(kelvin.max()) < 345
    reflectance = sample.truth[1].values
    assert -0.01 < float(reflectance.min()) < float(reflectance.max()) < 1.3


def test_images_and_truth_are_turned_alike(arrays: dict[str, np.ndarray]) -> None:
    """Where the images are clear they show the truth of nearly the same day, whatever the turn and the mirror."""
    everything = TrainingPool(strategies=(Strategy.RANDOM,), rate=(0.0, 0.0))
    config = CONFIG.model_copy(update={"pool": everything, "queries": 13, "absent": 0.0, "max_dates": 500})
    for seed in range(4):
        sample = draw_sample(arrays, config, random.Random(seed))
        assert sample.truth is not None
        lag = (sample.hr.days[0][:, None] - sample.truth[1].days[0][None]).abs()
        t, q = divmod(int(lag.argmin()), lag.shape[1])
        clear = sample.hr.usable()[0, t]
        seen, true = sample.hr.values[0, t][:, clear], sample.truth[1].values[0, q][:, clear]
        if int(clear.sum()) > 100:
            together = torch.corrcoef(torch.stack([seen[6], true[6]]))[0, 1]
            assert together > 0.8


def test_the_same_epoch_gives_the_same_sample_and_another_epoch_another() -> None:
    train, validation, _ = datasets(CONFIG)
    assert (len(train), len(validation)) == (6, 3)
    first, again = train[4], train[4]
    assert torch.equal(first.hr.values.nan_to_num(), again.hr.values.nan_to_num())
    train.set_epoch(1)
    other = train[4]
    assert first.hr.days.shape != other.hr.days.shape or not torch.equal(first.hr.days, other.hr.days)


def test_products_are_missing_at_times_and_collation_works(arrays: dict[str, np.ndarray]) -> None:
    config = CONFIG.model_copy(update={"absent": 1.0})
    sample = draw_sample(arrays, config, random.Random(0))
    assert sample.lr.values.isnan().all()
    batch = collate_samples([draw_sample(arrays, CONFIG, random.Random(seed)) for seed in range(3)])
    assert len(batch) == 3


def test_the_cache_gives_back_what_was_simulated(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    config = CONFIG.model_copy(update={"cache": tmp_path})
    for _ in range(2):
        found = simulated._cached(config, 7)
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], values) for name, values in arrays.items())
    assert [path.suffix for path in tmp_path.rglob("*.*") if path.is_file()] == [".safetensors"]


def test_stored_numbers_are_the_images(arrays: dict[str, np.ndarray]) -> None:
    cube = simulate_scene(30, seed=3).scene["coarse"]
    values = cube.frame(5).values
    back = simulated._physical(torch.from_numpy(arrays["lr"][5:6]), "lr")[0].numpy()
    np.testing.assert_allclose(back[:7], values[:7], atol=6e-5)
    np.testing.assert_allclose(back[7], values[7], atol=6e-3)


def test_days_from_the_local_new_year(arrays: dict[str, np.ndarray]) -> None:
    config = SimulatedConfig(size=24, dt_orig="local_year")
    for seed in range(4):
        north, south = (draw_sample(arrays, config, random.Random(seed), southern=s) for s in (False, True))
        torch.testing.assert_close(south.hr.days, north.hr.days + 184)
        known = {float(day) for day in arrays["hr_days"]}
        years = {float(day) % 365 for day in north.hr.days[0]}
        assert years <= known


def test_bad_options_name_their_path() -> None:
    with pytest.raises(InputError, match=r"datamodule\.config\.crop"):
        configure({"crop": 25})
    with pytest.raises(InputError, match=r"datamodule\.config\.clouds: there is no such key"):
        configure({"clouds": 1})
