"""Samples to batches: an order that depends on the step alone, and the Lightning data module.

Nothing about the order of the data is saved: which samples step k uses follows from (seed, k, batch size, number of
processes). A run that goes on from step k therefore sees what it would have seen, and processes share one order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from sitsfusion.errors import CheckpointError, InputError, MissingExtraError
from sitsfusion.training.config import LoaderConfig
from sitsfusion.training.module import TrainedModule

try:
    from lightning.pytorch import LightningDataModule, Trainer
except ImportError as error:
    raise MissingExtraError("training", "train") from error


class Samples(Protocol):
    """What training asks of a data set: a sample depends on its index and the epoch, never on what was read before."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...
    def set_epoch(self, epoch: int, /) -> None: ...


Key = tuple[int, int]  # epoch, index


Collate = Callable[[Sequence[Any]], Any]


class _Epochs(Dataset[Any]):
    """A data set asked by epoch and index, so that worker processes need not be told the epoch."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, key: Key) -> Any:
        epoch, index = key
        self.samples.set_epoch(epoch)
        return self.samples[index]


class StepSampler(Sampler[list[Key]]):
    """Lists of (epoch, index), one per step, from the step that training is at to the end of its epoch.

    Args:
        samples: number of samples.
        batch_size: samples per step and process; what does not fill a batch of all processes is left out.
        seed: of the order, which is another one in each epoch; None for the order of the data set in epoch 0.
        step: says how many steps were done since training began.
        rank: number of this process, of `world` processes.

    Raises:
        InputError: fewer samples than one step needs.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        seed: int | None,
        step: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.samples, self.batch_size, self.seed, self.step = samples, batch_size, seed, step
        self.rank, self.world = rank, world
        if len(self) == 0:
            raise InputError(
                f"{samples} sample(s) are less than one step of {world} process(es) x {batch_size}: "
                "lower batch_size, or give more data"
            )

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self.samples // (self.batch_size * self.world)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, first = divmod(self.step(), len(self))
        order = [(epoch, index) for index in self.order(epoch)]
        for step in range(first, len(self)):
            start = (step * self.world + self.rank) * self.batch_size
            yield order[start : start + self.batch_size]

    def order(self, epoch: int) -> list[int]:
        """The order of all samples in an epoch, the same in every process."""
        if self.seed is None:
            return list(range(self.samples))
        order: list[int] = np.random.default_rng([self.seed, epoch]).permutation(self.samples).tolist()
        return order


class StepLoader(DataLoader[Any]):
    """A loader that Lightning may resume in mid-epoch: the sampler finds the place, here it is only checked."""

    def __init__(self, samples: Samples, sampler: StepSampler, collate: Collate, loader: LoaderConfig) -> None:
        super().__init__(
            _Epochs(samples),
            batch_sampler=sampler,
            num_workers=loader.num_workers,
            prefetch_factor=loader.prefetch_factor if loader.num_workers else None,
            persistent_workers=loader.num_workers > 0,
            collate_fn=collate,
        )

    def state_dict(self) -> dict[str, Any]:
        """What a run must have in common with the one that it goes on from."""
        sampler: Any = self.batch_sampler
        return {"samples": sampler.samples, "steps_per_epoch": len(sampler), "seed": sampler.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises CheckpointError if the checkpoint was made with other data, batches or processes."""
        own = self.state_dict()
        different = [f"{key}: checkpoint {state.get(key)}, now {own[key]}" for key in own if state.get(key) != own[key]]
        if different:
            raise CheckpointError(
                "the run cannot be resumed with other data or batches (" + "; ".join(different) + "): resume with the "
                "same options, or start a new run from the weights (training_module.start_from_checkpoint)"
            )


class SampleModule(LightningDataModule):
    """Training, validation and, where there are any, test samples for a Lightning trainer.

    Args:
        train, validation, test: the samples.
        collate: samples to a batch.
        loader: sizes of batches, worker processes.
        seed: of the order of the training samples.
    """

    def __init__(
        self,
        train: Samples,
        validation: Samples,
        collate: Collate,
        loader: LoaderConfig,
        seed: int,
        test: Samples | None = None,
    ) -> None:
        super().__init__()
        self.train, self.validation, self.test = train, validation, test
        self.collate, self.loader, self.seed = collate, loader, seed

    def train_dataloader(self) -> StepLoader:
        trainer = _attached(self)
        module = trainer.lightning_module
        sampler = StepSampler(
            len(self.train),
            self.loader.batch_size,
            self.seed,
            lambda: module.batches_done if isinstance(module, TrainedModule) else trainer.global_step,
            trainer.global_rank,
            trainer.world_size,
        )
        return StepLoader(self.train, sampler, self.collate, self.loader)

    def val_dataloader(self) -> StepLoader:
        return self._in_order(self.validation)

    def test_dataloader(self) -> StepLoader:
        if self.test is None:
            raise InputError("these data have no test samples: use --validate, or sitsfusion evaluate")
        return self._in_order(self.test)

    def _in_order(self, samples: Samples) -> StepLoader:
        trainer, size = _attached(self), self.loader.testing_validation_batch_size
        sampler = StepSampler(len(samples), size, None, rank=trainer.global_rank, world=trainer.world_size)
        return StepLoader(samples, sampler, self.collate, self.loader)


def _attached(module: LightningDataModule) -> Trainer:
    """The trainer, which Lightning attaches before it calls a hook."""
    if module.trainer is None:
        raise InputError("the data module is not attached to a trainer: pass it to Trainer.fit")
    return module.trainer
