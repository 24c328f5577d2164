"""The Lightning module of U-TILISE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import SGD, Optimizer, lr_scheduler

from sitsfusion.evaluation.gaps import network
from sitsfusion.evaluation.utilise_figures import gallery
from sitsfusion.losses.utilise import utilise_loss
from sitsfusion.methods.utilise.sequence import SequenceOptions
from sitsfusion.metrics.utilise import EVALUATION, MetricOptions, sequence_metrics
from sitsfusion.nets.utilise import UTILISE
from sitsfusion.training.module import TrainedModule
from sitsfusion.training.utilise.config import TrainingConfig
from sitsfusion.weights.utilise import UtiliseWeights

_METRICS_EVERY = 100  # training steps, as published
_IN_TRAINING = MetricOptions()  # SAM in radians, all pixels together, as published


class UtiliseModule(TrainedModule):
    """Training as published; see `TrainedModule`. Batches are those of `datasets.utilise_samples.collate`."""

    family = "utilise"
    net: UTILISE
    weights: UtiliseWeights

    def __init__(self, weights: UtiliseWeights, training: TrainingConfig, *, seed: int, folder: Path) -> None:
        net = UTILISE(weights.architecture)
        if not training.published_initialisation:
            for part in net.modules():
                if callable(reset := getattr(part, "reset_parameters", None)):
                    reset()
        super().__init__(net, weights, training.options(), seed=seed, folder=folder)
        self.training_options = training

    def configure_optimizers(self) -> OptimizerLRScheduler:
        options = self.training_options
        if options.schedule.name == "warm_restarts" and options.optimiser == "adam":
            return super().configure_optimizers()  # type: ignore[no-any-return]
        optimiser = self._optimiser()
        found = self._schedule(optimiser)
        return {"optimizer": optimiser} | ({} if found is None else {"lr_scheduler": found})  # type: ignore[return-value]

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        self.seed_step()
        filled, terms = self._judged_batch(batch)
        self.log_terms("train", terms, len(filled))
        if self.global_step % _METRICS_EVERY == 0:
            self._log_metrics("train", batch, filled, _IN_TRAINING)
        self.require_finite(terms, batch)
        return terms["total_loss"]

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        filled, terms = self._judged_batch(batch)
        self.log_terms("validation", terms, len(filled))
        self._log_metrics("validation", batch, filled, _IN_TRAINING)

    def test_step(self, batch: dict[str, Any], index: int) -> None:
        """The published evaluation: whole sequences in windows in time, SAM in degrees, sets of pixels apart."""
        options = SequenceOptions(self.weights.window)
        self._log_metrics("test", batch, network(self.net, options, self.device)(batch).to(self.device), EVALUATION)

    def picture(self, batch: dict[str, Any]) -> NDArray[np.uint8]:
        """Input, prediction and target of the first sequence, one row each."""
        filled = self.net(batch["x"], batch["position_days"].float()).images
        bands = self._rgb(batch)
        rows = [gallery(series[0][:, bands].float().cpu().numpy(), series.shape[1]) for series in
                (batch["x"], filled, batch["y"])]  # fmt: skip
        return (255 * np.concatenate(rows)).astype(np.uint8)

    def saved_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in batch.items() if isinstance(value, Tensor)}

    def _judged_batch(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        filled = self.net(batch["x"], batch["position_days"].float()).images
        real, clouds = batch.get("masks_valid_obs"), batch.get("cloud_mask")
        return filled, utilise_loss(self.training_options.loss, filled, batch["y"], batch["masks"], real, clouds)

    def _log_metrics(self, context: str, batch: dict[str, Any], filled: Tensor, options: MetricOptions) -> None:
        with torch.no_grad():
            found = sequence_metrics(
                filled.float(),
                batch["y"],
                batch["masks"],
                batch.get("masks_valid_obs"),
                batch.get("cloud_mask"),
                options,
            )
        self.log_dict({f"{context}/{name}": value for name, value in found.items()}, batch_size=len(filled))

    def _rgb(self, batch: dict[str, Any]) -> list[int]:
        """Channels to show as red, green and blue: those the data name, else B04, B03, B02, else the first."""
        given = batch.get("c_index_rgb")
        if isinstance(given, Tensor) and given.ndim == 2:
            return [int(i) for i in given[0]]
        bands = self.weights.bands
        wanted = ("B04", "B03", "B02")
        return [bands.index(key) for key in wanted] if set(wanted) <= set(bands) else [0, 0, 0]

    def _optimiser(self) -> Optimizer:
        options = self.training_options
        if options.optimiser == "adam":
            return self.adam(self.net)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        return SGD(trained, options.learning_rate, options.momentum, weight_decay=options.weight_decay)

    def _schedule(self, optimiser: Optimizer) -> dict[str, Any] | None:
        """What Lightning steps once per epoch; None for a constant rate."""
        one = self.training_options.schedule
        made: dict[str, lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau] = {}
        if one.name == "MultiStepLR":
            made = {"scheduler": lr_scheduler.MultiStepLR(optimiser, list(one.milestones), one.gamma)}
        elif one.name == "StepLR":
            made = {"scheduler": lr_scheduler.StepLR(optimiser, one.step_size, one.gamma)}
        elif one.name == "ExponentialLR":
            made = {"scheduler": lr_scheduler.ExponentialLR(optimiser, one.gamma)}
        elif one.name == "CosineAnnealingLR":
            made = {"scheduler": lr_scheduler.CosineAnnealingLR(optimiser, one.t_max, one.minimum)}
        elif one.name == "ReduceLROnPlateau":
            plateau = lr_scheduler.ReduceLROnPlateau(optimiser, factor=one.gamma, patience=one.patience)
            # an epoch without a validation leaves the rate alone
            return {"scheduler": plateau, "monitor": "validation/total_loss", "strict": False}
        return {**made, "interval": "epoch"} if made else None
