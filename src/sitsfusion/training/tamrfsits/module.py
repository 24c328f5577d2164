"""The Lightning module of TAMRFSITS: samples in physical units to one optimisation step (Michel and Inglada)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.methods.tamrfsits.radiometry import standardise
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.samples import Sample
from sitsfusion.series import Series
from sitsfusion.training.config import OptimiserConfig
from sitsfusion.training.module import VALIDATION_SEED, Terms, TrainedModule, seeded_validation
from sitsfusion.training.tamrfsits.pictures import picture
from sitsfusion.weights.config import SensorInput, TamrfsitsWeights


class Task(Protocol):
    """What is trained (`tasks`): standardised samples, one generator per sample -> terms of the loss."""

    def __call__(self, net: TamrfsitsNet, sample: Sample, draws: Sequence[random.Random], /) -> Terms | None: ...


def standardised(sample: Sample, weights: TamrfsitsWeights) -> Sample:
    """Physical units to network units, float32; what was never observed is filled (`radiometry.standardise`).

    So is what is masked, for weights to which it is hidden; the masks stay.
    """

    def truth(series: Series, bands: SensorInput) -> Series:
        return replace(series, values=standardise(series.values, bands))

    def image(series: Series, bands: SensorInput) -> Series:
        if weights.cloudy == "seen":
            return truth(series, bands)
        clear = torch.where(series.usable()[:, :, None], series.values, torch.nan)
        return replace(series, values=standardise(clear, bands))

    truths = None if sample.truth is None else (truth(sample.truth[0], weights.lr), truth(sample.truth[1], weights.hr))
    return Sample(image(sample.lr, weights.lr), image(sample.hr, weights.hr), truths)


class TamrfsitsModule(TrainedModule):
    """Trains a `TamrfsitsNet`.

    The split of a sample follows from its place in the run, whatever the number of processes.

    Args:
        weights: architecture and both sensors, as they will be exported.
        task: what is trained.
        optimiser, seed, folder: as in `TrainedModule`.
    """

    family = "tamrfsits"
    net: TamrfsitsNet
    weights: TamrfsitsWeights

    def __init__(
        self, weights: TamrfsitsWeights, task: Task, optimiser: OptimiserConfig, *, seed: int, folder: Path
    ) -> None:
        super().__init__(TamrfsitsNet(weights.architecture), weights, optimiser, seed=seed, folder=folder)
        self.task = task
        self._validation_draws = random.Random(VALIDATION_SEED)  # noqa: S311  (not a secret)

    def training_step(self, batch: Sample, index: int) -> Tensor | None:
        self.seed_step()
        first = self.first_sample(len(batch))
        draws = [random.Random(f"{self.seed}/{first + i}") for i in range(len(batch))]  # noqa: S311
        terms = self._terms(batch, draws)
        if terms is None:
            # One process skips the step: no gradient, no change. Several must all exchange gradients.
            return None if self.trainer.world_size == 1 else self._zero()
        self.require_finite(terms, batch)
        self.log_terms("train", terms, len(batch))
        return terms["total_loss"]

    def on_validation_epoch_start(self) -> None:
        # The same splits at every validation.
        self._validation_draws = random.Random(VALIDATION_SEED)  # noqa: S311

    def validation_step(self, batch: Sample, index: int) -> None:
        with seeded_validation(index):
            terms = self._terms(batch, [self._validation_draws] * len(batch))
        if terms is not None:
            self.log_terms("validation", terms, len(batch))

    def picture(self, batch: Sample) -> NDArray[np.uint8]:
        """See `pictures.picture`."""
        return picture(self.net, self.weights, standardised(batch, self.weights))

    def saved_batch(self, batch: Sample) -> dict[str, Any]:
        series = {"lr": batch.lr, "hr": batch.hr} | dict(zip(("lr_truth", "hr_truth"), batch.truth or (), strict=False))
        return {"batch": {name: _tensors(one.to("cpu")) for name, one in series.items()}}

    def _terms(self, batch: Sample, draws: Sequence[random.Random]) -> Terms | None:
        return self.task(self.net, standardised(batch, self.weights), draws)

    def _zero(self) -> Tensor:
        return torch.stack([p.sum() for p in self.net.parameters() if p.requires_grad]).sum() * 0


def _tensors(series: Series) -> dict[str, Tensor]:
    return {"values": series.values, "days": series.days, "valid": series.usable()}
