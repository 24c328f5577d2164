"""The order of samples depends on the step alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sitsfusion.errors import CheckpointError, InputError
from sitsfusion.samples import Sample, collate_samples
from sitsfusion.series import Series
from sitsfusion.training.config import LoaderConfig
from sitsfusion.training.data import StepLoader, StepSampler
from sitsfusion.training.tamrfsits.tasks import real_days

from .tiny import TinySamples


@given(st.integers(4, 30), st.integers(1, 3), st.integers(0, 60), st.integers(0, 5))
def test_going_on_gives_what_would_have_come(count: int, batch: int, step: int, seed: int) -> None:
    length = len(StepSampler(count, batch, seed))
    whole = list(StepSampler(count, batch, seed, lambda: step - step % length))  # from the epoch's start
    resumed = list(StepSampler(count, batch, seed, lambda: step))
    assert resumed == whole[step % length :]
    assert {epoch for keys in resumed for epoch, _ in keys} == {step // length}


@given(st.integers(4, 30), st.integers(0, 5))
def test_two_processes_share_the_batches_of_one(count: int, seed: int) -> None:
    one = list(StepSampler(count, 2, seed))
    two = [StepSampler(count, 1, seed, rank=rank, world=2) for rank in (0, 1)]
    assert one == [a + b for a, b in zip(*two, strict=True)]


def test_each_epoch_has_all_samples_in_another_order() -> None:
    sampler = StepSampler(20, 1, seed=3)
    first, second = sampler.order(0), sampler.order(1)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert StepSampler(4, 1, seed=None).order(9) == [0, 1, 2, 3]


def test_too_few_samples() -> None:
    with pytest.raises(InputError, match=r"3 sample\(s\) are less than one step of 2 process"):
        StepSampler(3, 2, 0, world=2)


def test_worker_processes_read_the_same() -> None:
    def batches(workers: int) -> list[Sample]:
        loader = LoaderConfig(batch_size=2, num_workers=workers)
        return list(StepLoader(TinySamples(4, 1), StepSampler(4, 2, 5, lambda: 3), collate_samples, loader))

    (here,), (there,) = batches(0), batches(1)  # step 3: the second of epoch 1
    assert torch.equal(here.hr.values, there.hr.values)
    assert torch.equal(here.lr.days, there.lr.days)


def test_other_data_are_refused() -> None:
    loader = StepLoader(TinySamples(4, 1), StepSampler(4, 1, 5), collate_samples, LoaderConfig())
    loader.load_state_dict(loader.state_dict())
    with pytest.raises(CheckpointError, match="samples: checkpoint 5, now 4"):
        loader.load_state_dict({**loader.state_dict(), "samples": 5})


def test_collated_dates_do_not_count() -> None:
    samples = [TinySamples(2, 0)[i] for i in (0, 1)]  # three and four dates
    batch = collate_samples(samples)
    assert len(batch) == 2
    assert [len(days) for days in real_days(batch.hr)] == [3, 4]
    assert real_days(batch.hr)[0] == tuple(samples[0].hr.days[0].tolist())
    assert batch.truth is not None
    dark = Series(torch.zeros(1, 2, 1, 3, 3), torch.tensor([[4, 9]]), torch.zeros(1, 2, 3, 3, dtype=torch.bool))
    assert real_days(dark) == [(4, 9)]  # wholly cloudy, but dates
    assert real_days(dark.pad_time(4)) == [(4, 9)]


def test_samples_must_agree(tmp_path: Path) -> None:
    one = TinySamples(1, 0)[0]
    with pytest.raises(InputError, match="1 of 2 samples have a truth"):
        collate_samples([one, Sample(one.lr, one.hr)])
    with pytest.raises(InputError, match="at least one"):
        collate_samples([])
    with pytest.raises(InputError, match="one batch size"):
        Sample(one.lr, collate_samples([one, one]).hr)
