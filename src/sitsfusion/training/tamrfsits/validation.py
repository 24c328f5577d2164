"""Errors at hidden and at given dates, computed at validation."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

from sitsfusion.errors import InputError, MissingExtraError
from sitsfusion.losses.tamrfsits import TASKS, Judged
from sitsfusion.samples import Sample
from sitsfusion.training.module import VALIDATION_SEED
from sitsfusion.training.tamrfsits.module import TamrfsitsModule, standardised
from sitsfusion.training.tamrfsits.tasks import HiddenDates
from sitsfusion.weights.config import SensorInput

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise MissingExtraError("training", "train") from error


class ValidationMetrics(Callback):
    """At validation, the error of each date and band over its clear pixels, averaged per native resolution.

    Logged as `validation/rmse_{lr,hr}_{mae,clr}_{resolution}m`: root mean squared difference between an image and the
    prediction as its sensor would see it, without the border, in reflectance or kelvin; mae are hidden dates, clr given
    ones. The splits are those of the validation loss. Dates without a clear pixel do not count.

    Raises:
        InputError: another objective than tamrfsits, which hides no dates.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        _hidden_dates(pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draws = random.Random(VALIDATION_SEED)  # noqa: S311  (not a secret)
        module, _ = _hidden_dates(pl_module)
        sensors = (("lr", module.weights.lr), ("hr", module.weights.hr))
        names = [
            f"validation/rmse_{role}_{task}_{resolution:g}m"
            for role, bands in sensors
            for task in ("mae", "clr")
            for resolution in dict.fromkeys(band.resolution for band in bands.bands)
        ]
        self._sums = {name: torch.zeros(2, dtype=torch.float64, device=module.device) for name in names}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        module, task = _hidden_dates(pl_module)
        sample = standardised(batch, module.weights)
        splits = task.splits(sample, [self._draws] * len(sample))
        for place in task.objective.judged(module.net, sample.lr, sample.hr, splits):
            for role, judged in place.items():
                self._add(role, judged, module.weights.lr if role == "lr" else module.weights.hr)

    def _add(self, role: str, judged: Judged, bands: SensorInput) -> None:
        for task in TASKS:
            errors = rmse_per_date(judged.of(task), bands)  # [t c]
            for i, band in enumerate(bands.bands):
                known = errors[:, i][errors[:, i].isfinite()].double()
                self._sums[f"validation/rmse_{role}_{task}_{band.resolution:g}m"] += torch.stack(
                    [known.sum(), known.new_tensor(len(known))]
                )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, sums in self._sums.items():
            total, count = trainer.strategy.reduce(sums, reduce_op="sum").tolist()
            if count:
                pl_module.log(name, total / count, sync_dist=True)  # the same in all processes


def rmse_per_date(judged: Judged, bands: SensorInput) -> Tensor:
    """Root mean squared difference of each date and band over its valid pixels: `[t c]`, physical units, else NaN."""
    valid = judged.valid[:, None]  # [t 1 h w]
    squares = torch.where(valid, judged.prediction - judged.target, 0).square().sum((2, 3))  # [t c]
    unit = [band.std / band.scale for band in bands.bands]
    return (squares / valid.sum((2, 3))).sqrt() * squares.new_tensor(unit)


def _hidden_dates(module: LightningModule) -> tuple[TamrfsitsModule, HiddenDates]:
    if isinstance(module, TamrfsitsModule) and isinstance(module.task, HiddenDates):
        return module, module.task
    raise InputError(
        "training_module.validation_metrics compares hidden and given dates, which this training_module does not have: "
        "choose the objective tamrfsits, or training_module.validation_metrics=false"
    )
